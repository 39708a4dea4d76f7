-- What lay in store on 31 December: each filing in its highest version, once.
-- Codes: full-width digits and letters become plain ones, blanks go, capitals stay.
SELECT
    translate(upper(s.org_no), '０１２３４５６７８９ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ　 ', '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ') AS org_no,
    CAST(year(s.filed_for) AS INTEGER) AS year,
    translate(upper(s.substance_code), '０１２３４５６７８９ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ　 ', '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ') AS substance_code,
    s.scheme,
    s.qty,
    s.unit
FROM stock AS s
QUALIFY row_number() OVER (PARTITION BY s.filing_no ORDER BY s.version DESC) = 1
