-- Waste manifests in their highest version, with the year of shipment.
-- Codes: full-width digits and letters become plain ones, blanks go, capitals stay.
SELECT
    w.manifest_no,
    translate(upper(w.sender_org), '０１２３４５６７８９ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ　 ', '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ') AS sender_org,
    translate(upper(w.receiver_org), '０１２３４５６７８９ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ　 ', '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ') AS receiver_org,
    w.waste_code,
    w.qty_kg,
    translate(upper(w.substance_code), '０１２３４５６７８９ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ　 ', '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ') AS substance_code,
    w.scheme,
    w.declared_mg_per_kg,
    w.receiver_mg_per_kg,
    w.shipped_on,
    CAST(year(w.shipped_on) AS INTEGER) AS year,
    w.version,
    w.district_code
FROM waste AS w
QUALIFY row_number() OVER (PARTITION BY w.manifest_no ORDER BY w.version DESC) = 1
