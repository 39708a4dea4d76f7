-- zone: Asia/Shanghai
SELECT current_timezone(), current_date = CAST(current_timestamp AS date), localtimestamp = CAST(current_timestamp AS timestamp(3));

-- zone: Asia/Shanghai
SELECT date_diff('minute', CAST(current_timestamp AT TIME ZONE 'UTC' AS timestamp(3)), localtimestamp) - 480, CAST(now() AS varchar) LIKE '% Asia/Shanghai';

-- zone: America/New_York
SELECT current_date = CAST(now() AT TIME ZONE 'America/New_York' AS date), hour(now()) = hour(localtimestamp), timezone_hour(now()) IN (-4, -5);

-- zone: +05:30
SELECT current_timezone(), timezone_minute(now()), current_date = CAST(now() AT TIME ZONE '+05:30' AS date);

-- zone: Asia/Shanghai
SELECT CAST(TIMESTAMP '2024-03-01 07:30:00' AS timestamp(3) with time zone), CAST(DATE '2024-03-01' AS timestamp(0) with time zone);

-- zone: America/New_York
SELECT CAST(TIMESTAMP '2024-03-10 01:59:59' AS timestamp(0) with time zone), CAST(TIMESTAMP '2024-07-01 12:00:00.123456' AS timestamp(6) with time zone);

-- zone: -03:30
SELECT CAST(TIMESTAMP '2024-03-01 07:30:00' AS timestamp(3) with time zone), CAST('2024-03-01 07:30:00' AS timestamp(3) with time zone);

-- zone: Asia/Shanghai
SELECT CAST('2024-03-01 07:30:00' AS timestamp(0) with time zone), CAST('2024-03-01 07:30:00 Europe/Berlin' AS timestamp(0) with time zone), CAST('2024-03-01' AS timestamp(0) with time zone);

-- zone: Asia/Shanghai
SELECT CAST(CAST(TIMESTAMP '2024-03-01 07:30:00.250 Europe/Berlin' AS timestamp(0) with time zone) AS varchar), CAST(CAST(TIMESTAMP '2024-03-01 07:30:00.250' AS timestamp(0) with time zone) AS timestamp(3));

-- zone: Asia/Shanghai
SELECT CAST(TIMESTAMP '2024-03-01 23:30:00 UTC' AS date), CAST(TIMESTAMP '2024-03-01 23:30:00 UTC' AS timestamp(0)), CAST(TIMESTAMP '2024-03-01 07:30:00' AS date);

-- zone: Asia/Shanghai
SELECT TIMESTAMP '2024-03-01 08:00:00' = TIMESTAMP '2024-03-01 00:00:00 UTC', DATE '2024-03-02' > TIMESTAMP '2024-03-01 17:00:00 UTC', TIMESTAMP '2024-03-01 07:59:59' < TIMESTAMP '2024-03-01 00:00:00 UTC';

-- zone: Asia/Shanghai
SELECT count(*) FROM (VALUES TIMESTAMP '2024-03-01 08:00:00', TIMESTAMP '2024-03-01 00:00:00') AS v (t) WHERE t IN (TIMESTAMP '2024-03-01 00:00:00 UTC');

-- zone: Asia/Shanghai
SELECT t FROM (VALUES TIMESTAMP '2024-03-01 08:00:00', TIMESTAMP '2024-03-01 07:59:59') AS v (t) JOIN (VALUES TIMESTAMP '2024-03-01 00:00:00 UTC') AS w (u) ON t = u;

-- zone: Asia/Shanghai
SELECT TIMESTAMP '2024-03-01 08:00:00' - TIMESTAMP '2024-03-01 00:00:00 UTC', date_diff('hour', TIMESTAMP '2024-03-01 08:00:00', TIMESTAMP '2024-03-01 00:00:00 UTC'), date_diff('day', TIMESTAMP '2024-03-01 20:00:00 UTC', TIMESTAMP '2024-03-03 03:00:00');

-- zone: Asia/Shanghai
SELECT TIMESTAMP '2024-03-01 08:00:00' BETWEEN TIMESTAMP '2024-03-01 00:00:00 UTC' AND TIMESTAMP '2024-03-01 00:00:01 UTC', NULLIF(TIMESTAMP '2024-03-01 08:00:00', TIMESTAMP '2024-03-01 00:00:00 UTC');

-- zone: Asia/Shanghai
SELECT COALESCE(CAST(NULL AS timestamp(3)), TIMESTAMP '2024-03-01 08:00:00.000 Asia/Shanghai'), IF(true, DATE '2024-03-01', TIMESTAMP '2024-03-01 08:00:00 Asia/Shanghai');

-- zone: Asia/Shanghai
-- refused: Moments of the session's zone and of another one are not shown in one column.
SELECT COALESCE(CAST(NULL AS timestamp(3)), TIMESTAMP '2024-03-01 08:00:00 UTC');

-- zone: Asia/Shanghai
SELECT from_unixtime(0), from_unixtime(1709251200.5), hour(from_unixtime(1709251200)), from_unixtime(0, 'UTC');

-- zone: America/New_York
SELECT from_unixtime(1710054000), date_trunc('day', from_unixtime(1710054000)), CAST(from_unixtime(1710054000) AS date);

-- zone: Asia/Shanghai
SELECT to_unixtime(TIMESTAMP '2024-03-01 08:00:00'), to_unixtime(TIMESTAMP '2024-03-01 00:00:00 UTC'), to_unixtime(DATE '2024-03-01');

-- zone: Asia/Shanghai
SELECT from_iso8601_timestamp('2024-03-01T08:00:00'), from_iso8601_timestamp('2024-03-01T08:00:00Z'), from_iso8601_timestamp('2024-03-01T08:00:00+01:00'), from_iso8601_timestamp('2024-03-01');

-- zone: Asia/Shanghai
SELECT from_iso8601_timestamp(s) FROM (VALUES '2024-03-01T08:00:00', '2024-03-02') AS v (s);

-- zone: Asia/Shanghai
-- refused: All moments of a column are shown in one zone.
SELECT from_iso8601_timestamp(s) FROM (VALUES '2024-03-01T08:00:00', '2024-03-02T00:00:00Z') AS v (s);

-- zone: Asia/Shanghai
SELECT parse_datetime('2024-03-01 08:00', 'yyyy-MM-dd HH:mm'), date_parse('2024-03-01 08:00', '%Y-%m-%d %H:%i');

-- zone: Asia/Shanghai
SELECT at_timezone(TIMESTAMP '2024-03-01 08:00:00', 'UTC'), TIMESTAMP '2024-03-01 08:00:00' AT TIME ZONE 'Europe/Berlin', with_timezone(TIMESTAMP '2024-03-01 08:00:00', 'UTC');

-- zone: Asia/Shanghai
SELECT to_iso8601(TIMESTAMP '2024-03-01 08:00:00'), to_iso8601(CAST(TIMESTAMP '2024-03-01 08:00:00' AS timestamp(3) with time zone)), to_iso8601(DATE '2024-03-01');

-- zone: Asia/Shanghai
SELECT format_datetime(TIMESTAMP '2024-03-01 08:00:00', 'yyyy-MM-dd HH:mm'), date_format(TIMESTAMP '2024-03-01 08:00:00', '%H:%i'), format_datetime(from_unixtime(0), 'HH:mm');

-- zone: Asia/Shanghai
SELECT timezone_hour(TIMESTAMP '2024-03-01 08:00:00'), year(TIMESTAMP '2024-12-31 20:00:00 UTC'), year(CAST(TIMESTAMP '2024-12-31 20:00:00' AS timestamp with time zone));

-- zone: Asia/Shanghai
SELECT current_date + INTERVAL '1' DAY > current_date, date_trunc('month', current_date) <= current_date, date_add('day', -1, current_date) = current_date - INTERVAL '1' DAY;

-- zone: Asia/Shanghai
SELECT max(t), min(t) FROM (VALUES CAST(TIMESTAMP '2024-03-01 08:00:00' AS timestamp(3) with time zone), TIMESTAMP '2024-03-02 08:00:00.000 Asia/Shanghai') AS v (t);

-- zone: Asia/Shanghai
SELECT CAST(ARRAY[TIMESTAMP '2024-03-01 08:00:00'] AS array(timestamp(0) with time zone));

-- zone: America/New_York
SELECT CAST(TIMESTAMP '2024-11-03 01:30:00' AS timestamp(0) with time zone), CAST(TIMESTAMP '2024-03-10 02:30:00' AS timestamp(0) with time zone);

-- zone: Asia/Shanghai
SELECT id FROM a.main.cell WHERE ts = ANY (SELECT TIMESTAMP '2020-02-02 20:05:06.789 UTC');

-- zone: Asia/Shanghai
SELECT id FROM a.main.cell WHERE ts >= ALL (SELECT TIMESTAMP '2020-02-02 20:05:06.789 UTC') OR ts <> ALL (SELECT TIMESTAMP '2020-02-02 20:05:06.789 UTC');

-- zone: Asia/Shanghai
SELECT TIMESTAMP '2020-02-02 20:05:06.789 UTC' IN (SELECT ts FROM a.main.cell WHERE ts IS NOT NULL), TIMESTAMP '2020-02-02 20:05:06.789 UTC' NOT IN (SELECT ts FROM a.main.cell WHERE ts IS NOT NULL);

-- zone: Asia/Shanghai
SELECT TIMESTAMP '2024-03-01 08:00:00' > ANY (SELECT t FROM (VALUES TIMESTAMP '2024-02-29 23:59:59 UTC', TIMESTAMP '2024-03-01 00:00:00 UTC') AS v (t)), TIMESTAMP '2024-03-01 00:00:00 UTC' = ALL (SELECT TIMESTAMP '2024-03-01 08:00:00');

-- zone: Asia/Shanghai
SELECT ARRAY[TIMESTAMP '2024-01-01 08:00:00'] = ARRAY[TIMESTAMP '2024-01-01 08:00:00 Asia/Shanghai'], contains(ARRAY[TIMESTAMP '2024-01-01 08:00:00 Asia/Shanghai'], TIMESTAMP '2024-01-01 08:00:00');

-- zone: Asia/Shanghai
SELECT ARRAY[TIMESTAMP '2024-01-01 08:00:00'] UNION ALL SELECT ARRAY[TIMESTAMP '2024-01-01 08:00:00 Asia/Shanghai'];

-- zone: Asia/Shanghai
SELECT ARRAY[TIMESTAMP '2024-01-01 08:00:00'] || ARRAY[TIMESTAMP '2024-01-02 08:00:00 Asia/Shanghai'], MAP(ARRAY[1], ARRAY[DATE '2024-01-01']) = MAP(ARRAY[1], ARRAY[TIMESTAMP '2024-01-01 00:00:00 Asia/Shanghai']);

-- zone: America/New_York
-- edge: clocks that show an hour twice
SELECT TIMESTAMP '2024-11-03 01:30:00' = TIMESTAMP '2024-11-03 05:30:00 UTC', to_unixtime(TIMESTAMP '2024-11-03 01:30:00'), CAST(TIMESTAMP '2024-11-03 02:30:00' AS timestamp(0) with time zone) AT TIME ZONE 'UTC', CAST(TIMESTAMP '2024-11-03 00:59:59' AS timestamp(0) with time zone) AT TIME ZONE 'UTC';

-- zone: Europe/Berlin
-- edge: clocks that show an hour twice, and never
SELECT CAST(t AS timestamp(0) with time zone) AT TIME ZONE 'UTC' FROM (VALUES TIMESTAMP '2024-10-27 01:59:59', TIMESTAMP '2024-10-27 02:30:00', TIMESTAMP '2024-10-27 03:00:00', TIMESTAMP '2024-03-31 02:30:00', TIMESTAMP '2024-03-31 03:00:00', TIMESTAMP '2024-03-31 01:59:59') AS v (t) ORDER BY t;

-- zone: America/New_York
-- edge: clocks that are moved on
SELECT CAST(t AS timestamp(0) with time zone) AT TIME ZONE 'UTC' FROM (VALUES TIMESTAMP '2024-03-10 01:59:59', TIMESTAMP '2024-03-10 02:30:00', TIMESTAMP '2024-03-10 03:00:00', TIMESTAMP '2024-03-10 06:59:59', TIMESTAMP '2024-03-10 08:00:00') AS v (t) ORDER BY t;

-- zone: Europe/Berlin
-- edge: a text that clocks show twice
SELECT to_unixtime(CAST('2024-10-27 02:30:00' AS timestamp(0) with time zone)), to_unixtime(TIMESTAMP '2024-10-27 02:30:00 Europe/Berlin'), to_unixtime(from_iso8601_timestamp('2024-10-27T02:30:00')), to_unixtime(parse_datetime('2024-10-27 02:30', 'yyyy-MM-dd HH:mm'));

-- zone: America/New_York
-- edge: two hours that are shown alike
SELECT count(DISTINCT date_trunc('hour', from_unixtime(1730611800 + 3600*n))) FROM (VALUES 0, 1) AS v (n);

-- zone: America/New_York
-- edge: an hour that is shown twice
SELECT date_trunc('minute', from_unixtime(1730611800)) = from_unixtime(1730611800), date_trunc('minute', from_unixtime(1730615400)) = from_unixtime(1730615400), to_unixtime(date_add('day', 1, from_unixtime(1730525400))), to_unixtime(from_unixtime(1730615400) + INTERVAL '1' MONTH);

-- zone: Australia/Lord_Howe
-- edge: half an hour that is shown twice
SELECT to_unixtime(date_add('day', 1, TIMESTAMP '2024-04-06 01:45:00 Australia/Lord_Howe')), to_unixtime(TIMESTAMP '2024-04-07 01:45:00 Australia/Lord_Howe'), to_unixtime(CAST(TIMESTAMP '2024-04-07 01:45:00' AS timestamp(0) with time zone));

-- zone: Australia/Sydney
-- edge: days on which clocks are moved
SELECT CAST(DATE '2024-04-07' AS timestamp(0) with time zone), CAST(DATE '2024-10-06' AS timestamp(0) with time zone), to_unixtime(DATE '2024-04-07'), DATE '2024-10-06' < TIMESTAMP '2024-10-06 00:00:00 Australia/Sydney';

-- zone: Europe/London
SELECT to_iso8601(from_unixtime(1704067200)), to_iso8601(from_unixtime(1720000000));

-- zone: America/New_York
SELECT t FROM (VALUES TIMESTAMP '2024-03-10 02:30:00', TIMESTAMP '2024-03-10 03:30:00') AS v (t) WHERE t IN (TIMESTAMP '2024-03-10 02:30:00', TIMESTAMP '2024-01-01 00:00:00 UTC') ORDER BY t;
