-- Declared output, a year: the highest version of each (company code, month, product), summed.
-- Decimals are text here: sums are taken in whole thousandths.
WITH declared AS (
    SELECT
        upper(replace(nfkc(uscc), ' ', '')) AS company_code,
        upper(replace(nfkc(product_code), ' ', '')) AS product,
        period,
        unit,
        CAST(round(qty * 1000) AS INTEGER) AS milli,
        version
    FROM output_declaration
),
ranked AS (
    SELECT
        company_code,
        product,
        period,
        unit,
        milli,
        row_number() OVER (PARTITION BY company_code, period, product ORDER BY version DESC) AS age
    FROM declared
),
summed AS (
    SELECT company_code, product, CAST(substr(period, 1, 4) AS INTEGER) AS year, unit, sum(milli) AS milli
    FROM ranked
    WHERE age = 1
    GROUP BY 1, 2, 3, 4
)
SELECT
    company_code,
    product,
    year,
    unit,
    CASE WHEN milli < 0 THEN '-' ELSE '' END || printf('%d.%03d', abs(milli) / 1000, abs(milli) % 1000) AS qty
FROM summed
