-- Discharge declarations as they are, with the year of their quarter.
-- Codes: full-width digits and letters become plain ones, blanks go, capitals stay.
SELECT
    translate(upper(d.org_no), '０１２３４５６７８９ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ　 ', '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ') AS org_no,
    d.outlet,
    d.period,
    CAST(substr(d.period, 1, 4) AS INTEGER) AS year,
    translate(upper(d.substance_code), '０１２３４５６７８９ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ　 ', '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ') AS substance_code,
    d.scheme,
    d.qty,
    d.unit,
    d.medium,
    d.district_code
FROM discharge AS d
