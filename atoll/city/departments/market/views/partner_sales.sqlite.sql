-- Sales between two companies, a year: red letters count in the year of the invoice that they void.
-- Decimals are text here: sums are taken in whole thousandths. Codes are cleaned after the first sum,
-- because there are far fewer of them than invoices.
WITH invoiced AS (
    SELECT
        s.seller_uscc,
        s.buyer_uscc,
        s.product_code,
        CAST(substr(coalesce(v.issued_on, s.issued_on), 1, 4) AS INTEGER) AS year,
        s.unit,
        sum(CAST(round(s.qty * 1000) AS INTEGER)) AS milli
    FROM sales_invoice AS s
    LEFT JOIN sales_invoice AS v ON v.invoice_no = s.voids
    GROUP BY 1, 2, 3, 4, 5
),
summed AS (
    SELECT
        upper(replace(nfkc(seller_uscc), ' ', '')) AS seller,
        upper(replace(nfkc(buyer_uscc), ' ', '')) AS buyer,
        upper(replace(nfkc(product_code), ' ', '')) AS product,
        year,
        unit,
        sum(milli) AS milli
    FROM invoiced
    GROUP BY 1, 2, 3, 4, 5
)
SELECT
    seller,
    buyer,
    product,
    year,
    unit,
    CASE WHEN milli < 0 THEN '-' ELSE '' END || printf('%d.%03d', abs(milli) / 1000, abs(milli) % 1000) AS qty
FROM summed
