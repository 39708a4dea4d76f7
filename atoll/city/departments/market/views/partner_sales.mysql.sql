-- Sales between two companies, a year: red letters count in the year of the invoice that they void.
-- Codes are cleaned as NFKC would: MariaDB has no such function, so full-width digits and letters
-- (U+FF10-FF3A) are moved to U+0030-005A by their hexadecimal form; only codes that hold any take that way.
-- The casts keep the sums' temporary table narrow.
SELECT
    CAST(CASE WHEN LENGTH(s.seller_uscc) = CHAR_LENGTH(s.seller_uscc) THEN UPPER(REPLACE(s.seller_uscc, ' ', ''))
        ELSE CONVERT(CONVERT(UNHEX(REPLACE(REPLACE(REPLACE(
            HEX(CONVERT(UPPER(REPLACE(REPLACE(s.seller_uscc, ' ', ''), '　', '')) USING ucs2)),
            'FF1', '003'), 'FF2', '004'), 'FF3', '005')) USING ucs2) USING utf8mb4)
    END AS CHAR(32)) AS seller,
    CAST(CASE WHEN LENGTH(s.buyer_uscc) = CHAR_LENGTH(s.buyer_uscc) THEN UPPER(REPLACE(s.buyer_uscc, ' ', ''))
        ELSE CONVERT(CONVERT(UNHEX(REPLACE(REPLACE(REPLACE(
            HEX(CONVERT(UPPER(REPLACE(REPLACE(s.buyer_uscc, ' ', ''), '　', '')) USING ucs2)),
            'FF1', '003'), 'FF2', '004'), 'FF3', '005')) USING ucs2) USING utf8mb4)
    END AS CHAR(32)) AS buyer,
    CAST(CASE WHEN LENGTH(s.product_code) = CHAR_LENGTH(s.product_code) THEN UPPER(REPLACE(s.product_code, ' ', ''))
        ELSE CONVERT(CONVERT(UNHEX(REPLACE(REPLACE(REPLACE(
            HEX(CONVERT(UPPER(REPLACE(REPLACE(s.product_code, ' ', ''), '　', '')) USING ucs2)),
            'FF1', '003'), 'FF2', '004'), 'FF3', '005')) USING ucs2) USING utf8mb4)
    END AS CHAR(32)) AS product,
    YEAR(COALESCE(v.issued_on, s.issued_on)) AS year,
    s.unit,
    CAST(SUM(s.qty) AS DECIMAL(18, 3)) AS qty
FROM sales_invoice AS s
LEFT JOIN sales_invoice AS v ON v.invoice_no = s.voids
GROUP BY 1, 2, 3, 4, 5
