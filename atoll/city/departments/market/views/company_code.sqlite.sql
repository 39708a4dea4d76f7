-- Every code of a company, and the company it stands for: the newest uscc of its 15-digit number.
-- A merger adds the survivor's uscc to the absorbed company's number; it is no code of its own there.
WITH numbers AS (
    SELECT
        upper(replace(nfkc(reg_no15), ' ', '')) AS reg_no15,
        upper(replace(nfkc(uscc), ' ', '')) AS uscc,
        valid_from,
        coalesce(valid_to, '9999-12-31') AS valid_to,
        reason
    FROM identity_map
),
ranked AS (
    SELECT reg_no15, uscc, row_number() OVER (PARTITION BY reg_no15 ORDER BY valid_from DESC) AS age
    FROM numbers
),
newest AS (
    SELECT reg_no15, uscc AS company FROM ranked WHERE age = 1
)
SELECT reg_no15 AS code, company, '1900-01-01' AS valid_from, '2017-12-31' AS valid_to
FROM newest
UNION ALL
SELECT n.uscc AS code, w.company, n.valid_from, n.valid_to
FROM numbers AS n
JOIN newest AS w ON w.reg_no15 = n.reg_no15
WHERE n.reason <> 'merger'
