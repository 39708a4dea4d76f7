SELECT
    c.uscc AS company,
    c.district_code,
    c.industry_code,
    c.industry_std,
    c.status,
    c.legal_person_id AS legal_person_token,
    c.registered_on,
    c.deregistered_on
FROM market.main.company AS c
JOIN (
    SELECT k.company
    FROM market.main.company_code AS k
    GROUP BY k.company
) AS n ON n.company = c.uscc
