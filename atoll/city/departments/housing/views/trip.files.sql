-- Bus trips by month.
SELECT t.card, t.line, CAST(date_trunc('month', t.started_at) AS DATE) AS month, t.fare_cents
FROM trip AS t
