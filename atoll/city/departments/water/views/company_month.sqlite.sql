-- Water of companies, a month, from meter readings.
-- (1) Estimated readings go, and those that a row of their unit corrects. (2) Each meter starts at 0 on the day
-- it was installed. (3) A step is what passed between two readings of a meter in one unit, in millilitres; a
-- counter that turned over gets its 10^digits cubic metres. (4) A step is spread over its months by days, in
-- whole litres, so that the months of a step add up to it exactly. (5) Months add up, in t to June 2016, in L
-- since. A month is measured if every step in it begins and ends with the month, else apportioned.
-- Days are Julian day numbers; decimals are text here, in and out.
WITH RECURSIVE meters AS MATERIALIZED (
    SELECT
        m.meter_id,
        m.installed_on,
        CASE WHEN m.installed_on < '2016-07-01' THEN 't' ELSE 'L' END AS first_unit,
        CAST(CAST('1e' || m.digits AS REAL) AS INTEGER) * 1000000 AS round_ml,
        upper(replace(nfkc(a.org_no), ' ', '')) AS org_no,
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
        CAST(round(r.cum_value * 1000) AS INTEGER) * CASE r.unit WHEN 't' THEN 1000 ELSE 1 END AS ml
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
        ml - lag(ml, 1, 0) OVER w AS d
    FROM kept
    WINDOW w AS (PARTITION BY meter_id, unit ORDER BY read_on, reading_id)
),
step AS (
    SELECT
        org_no,
        district_code,
        read_before,
        CAST(julianday(read_before) AS INTEGER) AS t0,
        -- what two readings of one day differ by belongs to that day
        max(CAST(julianday(read_on) AS INTEGER), CAST(julianday(read_before) AS INTEGER) + 1) AS t1,
        CASE WHEN d < 0 THEN d + round_ml ELSE d END AS d
    FROM follow
    WHERE read_before IS NOT NULL
),
-- a row per step and month [b, e)
part AS (
    SELECT
        org_no,
        district_code,
        t0,
        t1,
        d,
        CAST(julianday(read_before, 'start of month') AS INTEGER) AS b,
        CAST(julianday(read_before, 'start of month', '+1 month') AS INTEGER) AS e
    FROM step
    UNION ALL
    SELECT org_no, district_code, t0, t1, d, e AS b, CAST(julianday(e + 0.5, '+1 month') AS INTEGER) AS e
    FROM part
    WHERE e < t1
),
summed AS (
    SELECT
        org_no,
        district_code,
        b,
        sum(d * (min(t1, e) - t0) / (1000 * (t1 - t0)) - d * (max(t0, b) - t0) / (1000 * (t1 - t0))) AS litres,
        min(t0 = b AND t1 = e) AS whole
    FROM part
    GROUP BY 1, 2, 3
),
dated AS (
    SELECT org_no, district_code, date(b + 0.5) AS month, litres, whole FROM summed
)
SELECT
    org_no,
    district_code,
    month,
    CASE WHEN month < '2016-07-01' THEN 't' ELSE 'L' END AS unit,
    CASE WHEN month < '2016-07-01' THEN printf('%d.%03d', litres / 1000, litres % 1000) ELSE litres || '.000' END AS qty,
    CASE WHEN whole THEN 'measured' ELSE 'apportioned' END AS quality
FROM dated
