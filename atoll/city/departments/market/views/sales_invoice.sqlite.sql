-- Invoices as they are, with clean codes and the year in which they count: red letters in that of the invoice
-- that they void.
SELECT
    s.invoice_no,
    upper(replace(nfkc(s.seller_uscc), ' ', '')) AS seller_uscc,
    upper(replace(nfkc(s.buyer_uscc), ' ', '')) AS buyer_uscc,
    upper(replace(nfkc(s.product_code), ' ', '')) AS product_code,
    CAST(substr(coalesce(v.issued_on, s.issued_on), 1, 4) AS INTEGER) AS year,
    s.qty,
    s.unit,
    s.amount_yuan,
    s.issued_on,
    s.voids
FROM sales_invoice AS s
LEFT JOIN sales_invoice AS v ON v.invoice_no = s.voids
