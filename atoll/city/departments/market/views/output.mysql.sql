-- Declared output, a year: the highest version of each (company code, month, product), summed.
-- Codes are cleaned as NFKC would: MariaDB has no such function, so full-width digits and letters
-- (U+FF10-FF3A) are moved to U+0030-005A by their hexadecimal form; only codes that hold any take that way.
WITH declared AS (
    SELECT
        CASE WHEN LENGTH(uscc) = CHAR_LENGTH(uscc) THEN UPPER(REPLACE(uscc, ' ', ''))
            ELSE CONVERT(CONVERT(UNHEX(REPLACE(REPLACE(REPLACE(
                HEX(CONVERT(UPPER(REPLACE(REPLACE(uscc, ' ', ''), '　', '')) USING ucs2)),
                'FF1', '003'), 'FF2', '004'), 'FF3', '005')) USING ucs2) USING utf8mb4)
        END AS company_code,
        CASE WHEN LENGTH(product_code) = CHAR_LENGTH(product_code) THEN UPPER(REPLACE(product_code, ' ', ''))
            ELSE CONVERT(CONVERT(UNHEX(REPLACE(REPLACE(REPLACE(
                HEX(CONVERT(UPPER(REPLACE(REPLACE(product_code, ' ', ''), '　', '')) USING ucs2)),
                'FF1', '003'), 'FF2', '004'), 'FF3', '005')) USING ucs2) USING utf8mb4)
        END AS product,
        period,
        unit,
        qty,
        version
    FROM output_declaration
),
ranked AS (
    SELECT
        company_code,
        product,
        period,
        unit,
        qty,
        ROW_NUMBER() OVER (PARTITION BY company_code, period, product ORDER BY version DESC) AS age
    FROM declared
)
SELECT
    company_code,
    product,
    CAST(SUBSTRING(period, 1, 4) AS INTEGER) AS year,
    unit,
    CAST(SUM(qty) AS DECIMAL(18, 3)) AS qty
FROM ranked
WHERE age = 1
GROUP BY 1, 2, 3, 4
