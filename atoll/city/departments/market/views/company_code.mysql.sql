-- Every code of a company, and the company it stands for: the newest uscc of its 15-digit number.
-- A merger adds the survivor's uscc to the absorbed company's number; it is no code of its own there.
-- Codes are cleaned as NFKC would: MariaDB has no such function, so full-width digits and letters
-- (U+FF10-FF3A) are moved to U+0030-005A by their hexadecimal form; only codes that hold any take that way.
WITH numbers AS (
    SELECT
        CASE WHEN LENGTH(reg_no15) = CHAR_LENGTH(reg_no15) THEN UPPER(REPLACE(reg_no15, ' ', ''))
            ELSE CONVERT(CONVERT(UNHEX(REPLACE(REPLACE(REPLACE(
                HEX(CONVERT(UPPER(REPLACE(REPLACE(reg_no15, ' ', ''), '　', '')) USING ucs2)),
                'FF1', '003'), 'FF2', '004'), 'FF3', '005')) USING ucs2) USING utf8mb4)
        END AS reg_no15,
        CASE WHEN LENGTH(uscc) = CHAR_LENGTH(uscc) THEN UPPER(REPLACE(uscc, ' ', ''))
            ELSE CONVERT(CONVERT(UNHEX(REPLACE(REPLACE(REPLACE(
                HEX(CONVERT(UPPER(REPLACE(REPLACE(uscc, ' ', ''), '　', '')) USING ucs2)),
                'FF1', '003'), 'FF2', '004'), 'FF3', '005')) USING ucs2) USING utf8mb4)
        END AS uscc,
        valid_from,
        COALESCE(valid_to, CAST('9999-12-31' AS DATE)) AS valid_to,
        reason
    FROM identity_map
),
ranked AS (
    SELECT reg_no15, uscc, ROW_NUMBER() OVER (PARTITION BY reg_no15 ORDER BY valid_from DESC) AS age
    FROM numbers
),
newest AS (
    SELECT reg_no15, uscc AS company FROM ranked WHERE age = 1
)
SELECT
    reg_no15 AS code,
    company,
    CAST('1900-01-01' AS DATE) AS valid_from,
    CAST('2017-12-31' AS DATE) AS valid_to
FROM newest
UNION ALL
SELECT n.uscc AS code, w.company, n.valid_from, n.valid_to
FROM numbers AS n
JOIN newest AS w ON w.reg_no15 = n.reg_no15
WHERE n.reason <> 'merger'
