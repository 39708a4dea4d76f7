-- Water of companies, a month, from meter readings.
-- (1) Estimated readings go, and those that a row of their unit corrects. (2) Each meter starts at 0 on the day
-- it was installed. (3) A step is what passed between two readings of a meter in one unit, in millilitres; a
-- counter that turned over gets its 10^digits cubic metres. (4) A step is spread over its months by days, in
-- whole litres, so that the months of a step add up to it exactly. (5) Months add up, in t to June 2016, in L
-- since. A month is measured if every step in it begins and ends with the month, else apportioned.
WITH meters AS MATERIALIZED (
    SELECT
        m.meter_id,
        m.installed_on,
        CASE WHEN m.installed_on < DATE '2016-07-01' THEN 't' ELSE 'L' END AS first_unit,
        CAST(10 ^ m.digits AS bigint) * 1000000 AS round_ml,
        upper(replace(normalize(a.org_no, NFKC), ' ', '')) AS org_no,
        a.district_code
    FROM account AS a
    JOIN meter AS m ON m.account_no = a.account_no
    WHERE a.kind = 'C'
),
corrected AS MATERIALIZED (
    SELECT c.corrects_id, c.unit FROM reading AS c WHERE c.corrects_id IS NOT NULL
),
kept AS (
    SELECT
        m.org_no,
        m.district_code,
        m.meter_id,
        m.round_ml,
        CASE WHEN r.unit = m.first_unit THEN m.installed_on END AS installed_on,
        r.unit,
        r.read_on,
        r.reading_id,
        CAST(r.cum_value * CASE r.unit WHEN 't' THEN 1000000 ELSE 1000 END AS bigint) AS ml
    FROM meters AS m
    JOIN reading AS r ON r.meter_id = m.meter_id
    LEFT JOIN corrected AS c ON c.corrects_id = r.reading_id AND c.unit = r.unit
    WHERE NOT r.estimated AND c.corrects_id IS NULL
),
follow AS (
    SELECT
        org_no,
        district_code,
        round_ml,
        lag(read_on, 1, installed_on) OVER w AS read_before,
        read_on,
        ml - lag(ml, 1, CAST(0 AS bigint)) OVER w AS d
    FROM kept
    WINDOW w AS (PARTITION BY meter_id, unit ORDER BY read_on, reading_id)
),
step AS (
    SELECT
        org_no,
        district_code,
        read_before AS t0,
        -- what two readings of one day differ by belongs to that day
        greatest(read_on, read_before + 1) AS t1,
        CASE WHEN d < 0 THEN d + round_ml ELSE d END AS d
    FROM follow
    WHERE read_before IS NOT NULL
),
-- a row per step and month [b, e)
part AS (
    SELECT
        s.org_no,
        s.district_code,
        s.t0,
        s.t1,
        s.d,
        CAST(g.b AS date) AS b,
        CAST(g.b + INTERVAL '1 month' AS date) AS e
    FROM step AS s
    CROSS JOIN LATERAL generate_series(
        date_trunc('month', CAST(s.t0 AS timestamp)), CAST(s.t1 - 1 AS timestamp), INTERVAL '1 month'
    ) AS g (b)
),
summed AS (
    SELECT
        org_no,
        district_code,
        b AS month,
        sum(d * (least(t1, e) - t0) / (1000 * (t1 - t0)) - d * (greatest(t0, b) - t0) / (1000 * (t1 - t0))) AS litres,
        bool_and(t0 = b AND t1 = e) AS whole
    FROM part
    GROUP BY 1, 2, 3
)
SELECT
    org_no,
    district_code,
    month,
    CASE WHEN month < DATE '2016-07-01' THEN 't' ELSE 'L' END AS unit,
    CAST(CASE WHEN month < DATE '2016-07-01' THEN litres * 0.001 ELSE litres END AS numeric(18, 3)) AS qty,
    CASE WHEN whole THEN 'measured' ELSE 'apportioned' END AS quality
FROM summed
