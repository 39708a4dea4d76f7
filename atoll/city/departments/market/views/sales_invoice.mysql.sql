-- Invoices as they are, with clean codes and the year in which they count: red letters in that of the invoice
-- that they void.
-- Codes are cleaned as NFKC would: MariaDB has no such function, so full-width digits and letters
-- (U+FF10-FF3A) are moved to U+0030-005A by their hexadecimal form; only codes that hold any take that way.
SELECT
    s.invoice_no,
    CASE WHEN LENGTH(s.seller_uscc) = CHAR_LENGTH(s.seller_uscc) THEN UPPER(REPLACE(s.seller_uscc, ' ', ''))
        ELSE CONVERT(CONVERT(UNHEX(REPLACE(REPLACE(REPLACE(
            HEX(CONVERT(UPPER(REPLACE(REPLACE(s.seller_uscc, ' ', ''), '　', '')) USING ucs2)),
            'FF1', '003'), 'FF2', '004'), 'FF3', '005')) USING ucs2) USING utf8mb4)
    END AS seller_uscc,
    CASE WHEN LENGTH(s.buyer_uscc) = CHAR_LENGTH(s.buyer_uscc) THEN UPPER(REPLACE(s.buyer_uscc, ' ', ''))
        ELSE CONVERT(CONVERT(UNHEX(REPLACE(REPLACE(REPLACE(
            HEX(CONVERT(UPPER(REPLACE(REPLACE(s.buyer_uscc, ' ', ''), '　', '')) USING ucs2)),
            'FF1', '003'), 'FF2', '004'), 'FF3', '005')) USING ucs2) USING utf8mb4)
    END AS buyer_uscc,
    CASE WHEN LENGTH(s.product_code) = CHAR_LENGTH(s.product_code) THEN UPPER(REPLACE(s.product_code, ' ', ''))
        ELSE CONVERT(CONVERT(UNHEX(REPLACE(REPLACE(REPLACE(
            HEX(CONVERT(UPPER(REPLACE(REPLACE(s.product_code, ' ', ''), '　', '')) USING ucs2)),
            'FF1', '003'), 'FF2', '004'), 'FF3', '005')) USING ucs2) USING utf8mb4)
    END AS product_code,
    YEAR(COALESCE(v.issued_on, s.issued_on)) AS year,
    s.qty,
    s.unit,
    s.amount_yuan,
    s.issued_on,
    s.voids
FROM sales_invoice AS s
LEFT JOIN sales_invoice AS v ON v.invoice_no = s.voids
