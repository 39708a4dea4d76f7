-- title: What goes in must come out
-- purpose: mass-balance
-- user: lin
-- legend: F1 dumping, F2 shell buyer, F3 relabelled waste, F4 paper sales, F5 unit slip, F6 dead number; u_g = grams unaccounted for
--
-- A regulated substance that a company bought, imported or made must be in its store, in what it sold, in its
-- waste or in its discharges. Which balances do not close by more than a twentieth of the input, and which
-- trick would close them? Three departments know a part; none of them knows a balance.
WITH
flow AS (
    SELECT company, partner, substance, year, kind, code_expired, sum(grams) AS grams
    FROM city.chem.flow
    GROUP BY company, partner, substance, year, kind, code_expired
),
sales AS (
    SELECT seller, buyer, substance, year, sum(grams) AS grams
    FROM city.trade.sales
    GROUP BY seller, buyer, substance, year
),
made AS (
    SELECT company, substance, year, sum(grams) AS grams
    FROM city.trade.output
    WHERE role = 'M'
    GROUP BY company, substance, year
),
waste AS (
    SELECT company, substance, year, sum(grams) AS grams, sum(received_grams - grams) AS miss
    FROM city.env.waste
    GROUP BY company, substance, year
),
quarter AS (
    SELECT company, substance, year, quarter, sum(grams) AS grams
    FROM city.env.discharge
    GROUP BY company, substance, year, quarter
),
-- what the chemicals register says of those who filed their store on both 31 Decembers
register AS (
    SELECT
        company,
        substance,
        year,
        sum(CASE WHEN kind IN ('bought', 'imported') THEN grams ELSE 0 END) AS received,
        sum(CASE WHEN kind = 'bought' AND code_expired THEN grams ELSE 0 END) AS dead,
        sum(CASE kind WHEN 'stock_begin' THEN grams WHEN 'stock_end' THEN -grams ELSE 0 END) AS from_stock
    FROM flow
    GROUP BY company, substance, year
    HAVING count(CASE WHEN kind = 'stock_begin' THEN 1 END) > 0
        AND count(CASE WHEN kind = 'stock_end' THEN 1 END) > 0
),
sold AS (
    SELECT seller AS company, substance, year, sum(grams) AS grams
    FROM sales
    GROUP BY seller, substance, year
),
discharge AS (
    SELECT company, substance, year, sum(grams) AS grams, min(grams) AS low
    FROM quarter
    GROUP BY company, substance, year
),
-- sales to a company that was gone by then, or that never recorded the purchase
purchase AS (
    SELECT company, partner, substance, year
    FROM flow
    WHERE kind = 'bought'
    GROUP BY company, partner, substance, year
),
paper AS (
    SELECT s.seller AS company, s.substance, s.year, sum(s.grams) AS grams
    FROM sales AS s
    LEFT JOIN city.org.company AS b ON b.company = s.buyer
    LEFT JOIN purchase AS p
        ON p.company = s.buyer AND p.partner = s.seller AND p.substance = s.substance AND p.year = s.year
    WHERE p.company IS NULL OR year(b.deregistered_on) < s.year
    GROUP BY s.seller, s.substance, s.year
),
bal AS (
    SELECT
        r.company,
        r.substance,
        r.year,
        r.received + coalesce(m.grams, 0) AS input,
        r.received + coalesce(m.grams, 0) + r.from_stock
            - coalesce(s.grams, 0) - coalesce(w.grams, 0) - coalesce(d.grams, 0) AS u,
        r.dead,
        coalesce(w.miss, 0) AS miss,
        coalesce(d.low, 0) AS low,
        coalesce(d.grams - d.low, 0) AS rest,
        coalesce(p.grams, 0) AS paper,
        -- another company of the same legal person deals in the same substance
        count(c.legal_person_token) OVER (PARTITION BY c.legal_person_token, r.substance, r.year) > 1 AS sister
    FROM register AS r
    LEFT JOIN city.org.company AS c ON c.company = r.company
    LEFT JOIN made AS m ON m.company = r.company AND m.substance = r.substance AND m.year = r.year
    LEFT JOIN sold AS s ON s.company = r.company AND s.substance = r.substance AND s.year = r.year
    LEFT JOIN waste AS w ON w.company = r.company AND w.substance = r.substance AND w.year = r.year
    LEFT JOIN discharge AS d ON d.company = r.company AND d.substance = r.substance AND d.year = r.year
    LEFT JOIN paper AS p ON p.company = r.company AND p.substance = r.substance AND p.year = r.year
)
SELECT
    company,
    substance,
    year,
    CAST(CASE
        WHEN abs(u) * 20 <= input THEN 'F4' -- paper sales: the balance closes on paper alone
        WHEN dead * 20 > input AND abs(u - dead) * 50 <= input THEN 'F6' -- bought under a dead number
        WHEN miss * 20 > input AND abs(u - miss) * 50 <= input THEN 'F3' -- waste labelled too thin
        WHEN low * 30 < rest AND abs(u - 999 * low) * 50 <= input THEN 'F5' -- tonnes filed as kilograms
        WHEN sister THEN 'F2' -- a shell buys or sells for it
        WHEN u > 0 THEN 'F1' -- dumped
        ELSE 'unexplained'
    END AS varchar) AS kind,
    u AS u_g
FROM bal
WHERE abs(u) * 20 > input OR paper * 20 > input
ORDER BY company, substance, year
