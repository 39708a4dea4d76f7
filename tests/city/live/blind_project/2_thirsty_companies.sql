-- The ten companies that use most, by name, and what each uses in an average month.
WITH used AS (
    SELECT c.company, avg(w.qty) AS average, max(w.month) AS last_month
    FROM water.main.company_month AS w
    JOIN market.main.company_code AS c ON c.code = w.org_no
    WHERE w.unit = 'L'
    GROUP BY c.company
)
SELECT r.uscc, r.name, r.legal_person_id, u.average, u.last_month
FROM used AS u
JOIN market.main.company AS r ON r.uscc = u.company
ORDER BY u.average DESC, r.uscc
LIMIT 10
