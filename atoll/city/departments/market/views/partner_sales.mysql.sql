-- Sales between two companies, a year: red letters count in the year of the invoice that they void.
-- Codes are cleaned as NFKC would: MariaDB has no such function, so full-width digits and letters
-- (U+FF10-FF3A) are moved to U+0030-005A by their hexadecimal form; only codes that hold any take that way.
-- They are cleaned after the first sum, because there are far fewer of them than invoices.
WITH invoiced AS (
    SELECT
        s.seller_uscc,
        s.buyer_uscc,
        s.product_code,
        YEAR(COALESCE(v.issued_on, s.issued_on)) AS year,
        s.unit,
        SUM(s.qty) AS qty
    FROM sales_invoice AS s
    LEFT JOIN sales_invoice AS v ON v.invoice_no = s.voids
    GROUP BY 1, 2, 3, 4, 5
)
SELECT
    CASE WHEN LENGTH(seller_uscc) = CHAR_LENGTH(seller_uscc) THEN UPPER(REPLACE(seller_uscc, ' ', ''))
        ELSE CONVERT(CONVERT(UNHEX(REPLACE(REPLACE(REPLACE(
            HEX(CONVERT(UPPER(REPLACE(REPLACE(seller_uscc, ' ', ''), '　', '')) USING ucs2)),
            'FF1', '003'), 'FF2', '004'), 'FF3', '005')) USING ucs2) USING utf8mb4)
    END AS seller,
    CASE WHEN LENGTH(buyer_uscc) = CHAR_LENGTH(buyer_uscc) THEN UPPER(REPLACE(buyer_uscc, ' ', ''))
        ELSE CONVERT(CONVERT(UNHEX(REPLACE(REPLACE(REPLACE(
            HEX(CONVERT(UPPER(REPLACE(REPLACE(buyer_uscc, ' ', ''), '　', '')) USING ucs2)),
            'FF1', '003'), 'FF2', '004'), 'FF3', '005')) USING ucs2) USING utf8mb4)
    END AS buyer,
    CASE WHEN LENGTH(product_code) = CHAR_LENGTH(product_code) THEN UPPER(REPLACE(product_code, ' ', ''))
        ELSE CONVERT(CONVERT(UNHEX(REPLACE(REPLACE(REPLACE(
            HEX(CONVERT(UPPER(REPLACE(REPLACE(product_code, ' ', ''), '　', '')) USING ucs2)),
            'FF1', '003'), 'FF2', '004'), 'FF3', '005')) USING ucs2) USING utf8mb4)
    END AS product,
    year,
    unit,
    CAST(SUM(qty) AS DECIMAL(18, 3)) AS qty
FROM invoiced
GROUP BY 1, 2, 3, 4, 5
