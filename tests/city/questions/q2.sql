-- title: Water against output
-- purpose: mass-balance
-- user: lin
--
-- What an industry makes takes water: so much per unit, and not less in honest books. Where a company's water
-- lies outside the band of its industry, the meter lies or the declaration does. Only leaks run on in February.
WITH
water AS (
    SELECT
        company,
        CAST(year(month) AS integer) AS year,
        sum(litres) AS litres,
        sum(CASE WHEN month(month) = 2 THEN litres ELSE 0 END) AS feb
    FROM city.water.company_month
    GROUP BY company, CAST(year(month) AS integer)
),
made AS (
    SELECT company, year, unit, CAST(sum(qty) AS decimal(18, 3)) AS qty
    FROM city.trade.output
    WHERE role = 'G' AND substance IS NULL
    GROUP BY company, year, unit
)
SELECT
    w.company,
    w.year,
    CAST(CASE
        WHEN w.litres * 20 < b.lo_l * m.qty THEN 'W2' -- ghost factory
        WHEN w.litres < b.lo_l * m.qty THEN 'W1' -- tampered meter
        WHEN w.feb * 1000 > 47 * w.litres THEN 'W4' -- leak
        ELSE 'W3' -- hidden production
    END AS varchar) AS kind,
    w.litres,
    m.qty
FROM water AS w
JOIN made AS m ON m.company = w.company AND m.year = w.year
JOIN city.org.company AS c ON c.company = w.company
JOIN city.std.water_band AS b
    ON b.industry_std = c.industry_std AND b.industry_code = c.industry_code AND b.unit = m.unit
WHERE w.litres < b.lo_l * m.qty OR w.litres > b.hi_l * m.qty
ORDER BY w.company, w.year
