-- Water by the district where its users are registered: two departments, through the city's own tables.
SELECT c.district_code, count(DISTINCT w.company) AS companies, sum(w.litres) AS litres
FROM city.water.company_month AS w
JOIN city.org.company AS c ON c.company = w.company
WHERE w.month >= DATE '2015-01-01'
GROUP BY c.district_code
ORDER BY c.district_code
