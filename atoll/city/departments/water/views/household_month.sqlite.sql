-- Water of households, a month, from meter readings.
-- (1) Estimated readings go, and those that a row of their unit corrects. (2) Each meter starts at 0 on the day
-- it was installed. (3) A step is what passed between two readings of a meter in one unit, in millilitres; a
-- counter that rolled over gets its 10^digits cubic metres. (4) A step is spread over its months by days, in
-- whole litres, so that the months of a step add up to it exactly. (5) Months add up, in t to June 2016, in L
-- since. A month is measured if every step in it begins and ends with the month, else apportioned.
-- Days are Julian day numbers; decimals are text here, in and out.
WITH RECURSIVE meters AS MATERIALIZED (
    SELECT
        m.meter_id,
        m.installed_on,
        CAST(CAST('1e' || m.digits AS REAL) AS INTEGER) * 1000000 AS round_ml,
        a.account_no,
        a.district_code
    FROM account AS a
    JOIN meter AS m ON m.account_no = a.account_no
    WHERE a.kind = 'H'
),
corrected AS MATERIALIZED (
    SELECT c.corrects_id, c.unit FROM reading AS c WHERE c.corrects_id IS NOT NULL
),
kept AS (
    SELECT
        r.meter_id,
        r.unit,
        r.read_on,
        r.reading_id,
        CAST(round(r.cum_value * 1000) AS INTEGER) * CASE r.unit WHEN 't' THEN 1000 ELSE 1 END AS ml
    FROM meters AS m
    JOIN reading AS r ON r.meter_id = m.meter_id
    LEFT JOIN corrected AS c ON c.corrects_id = r.reading_id AND c.unit = r.unit
    WHERE NOT r.estimated AND c.corrects_id IS NULL
    UNION ALL
    SELECT meter_id, CASE WHEN installed_on < '2016-07-01' THEN 't' ELSE 'L' END, installed_on, NULL, 0
    FROM meters
),
follow AS (
    SELECT
        meter_id,
        lag(read_on) OVER w AS read_before,
        read_on,
        ml - lag(ml) OVER w AS d
    FROM kept
    WINDOW w AS (PARTITION BY meter_id, unit ORDER BY read_on, reading_id)
),
step AS (
    SELECT
        m.account_no,
        m.district_code,
        f.read_before,
        CAST(julianday(f.read_before) AS INTEGER) AS t0,
        -- what two readings of one day differ by belongs to that day
        max(CAST(julianday(f.read_on) AS INTEGER), CAST(julianday(f.read_before) AS INTEGER) + 1) AS t1,
        CASE WHEN f.d < 0 THEN f.d + m.round_ml ELSE f.d END AS d
    FROM follow AS f
    JOIN meters AS m ON m.meter_id = f.meter_id
    WHERE f.read_before IS NOT NULL
),
-- a row per step and month [b, e)
part AS (
    SELECT
        account_no,
        district_code,
        t0,
        t1,
        d,
        date(read_before, 'start of month') AS month,
        CAST(julianday(read_before, 'start of month') AS INTEGER) AS b,
        CAST(julianday(read_before, 'start of month', '+1 month') AS INTEGER) AS e
    FROM step
    UNION ALL
    SELECT
        account_no,
        district_code,
        t0,
        t1,
        d,
        date(month, '+1 month') AS month,
        e AS b,
        CAST(julianday(month, '+2 months') AS INTEGER) AS e
    FROM part
    WHERE e < t1
),
summed AS (
    SELECT
        account_no,
        district_code,
        month,
        sum(d * (min(t1, e) - t0) / (1000 * (t1 - t0)) - d * (max(t0, b) - t0) / (1000 * (t1 - t0))) AS litres,
        min(t0 = b AND t1 = e) AS whole
    FROM part
    GROUP BY 1, 2, 3
)
SELECT
    account_no,
    district_code,
    month,
    CASE WHEN month < '2016-07-01' THEN 't' ELSE 'L' END AS unit,
    CASE WHEN month < '2016-07-01' THEN printf('%d.%03d', litres / 1000, litres % 1000) ELSE litres || '.000' END AS qty,
    CASE WHEN whole THEN 'measured' ELSE 'apportioned' END AS quality
FROM summed
