-- Lines of the import documents that hold: each document in its highest version, once, unless another
-- document supersedes it.
-- Codes: full-width digits and letters become plain ones, blanks go, capitals stay.
WITH newest AS (
    SELECT doc_no, max(version) AS version
    FROM imports
    GROUP BY doc_no
),
void AS (
    SELECT DISTINCT supersedes AS doc_no
    FROM imports
    WHERE supersedes IS NOT NULL AND supersedes <> doc_no
)
SELECT DISTINCT
    p.doc_no,
    p.line,
    p.doc_date,
    CAST(year(p.doc_date) AS INTEGER) AS year,
    translate(upper(p.importer), '０１２３４５６７８９ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ　 ', '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ') AS importer,
    translate(upper(p.substance_code), '０１２３４５６７８９ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ　 ', '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ') AS substance_code,
    p.scheme,
    p.qty,
    p.unit,
    p.purity,
    p.density
FROM imports AS p
JOIN newest AS n ON n.doc_no = p.doc_no AND n.version = p.version
WHERE p.doc_no NOT IN (SELECT v.doc_no FROM void AS v)
