SELECT year(DATE '2024-05-06'), quarter(DATE '2024-05-06'), month(DATE '2024-05-06'), week(DATE '2024-05-06'), week_of_year(DATE '2024-05-06'), day(DATE '2024-05-06'), day_of_month(DATE '2024-05-06'), day_of_week(DATE '2024-05-06'), dow(DATE '2024-05-06'), day_of_year(DATE '2024-05-06'), doy(DATE '2024-05-06'), year_of_week(DATE '2024-05-06'), yow(DATE '2024-05-06');
SELECT year(NULL), quarter(CAST(NULL AS date)), month(CAST(NULL AS date)), week(CAST(NULL AS date)), week_of_year(CAST(NULL AS date)), day(CAST(NULL AS date)), day_of_month(CAST(NULL AS date)), day_of_week(CAST(NULL AS date)), dow(CAST(NULL AS date)), day_of_year(CAST(NULL AS date)), doy(CAST(NULL AS date)), year_of_week(CAST(NULL AS date)), yow(CAST(NULL AS date)) FROM (VALUES 1) AS t(x);
-- edge: weeks that belong to another year, leap days, the first and the last day
SELECT d, year(d), quarter(d), month(d), week(d), week_of_year(d), day(d), day_of_month(d), day_of_week(d), dow(d), day_of_year(d), doy(d), year_of_week(d), yow(d), last_day_of_month(d) FROM (VALUES DATE '0001-01-01', DATE '1582-10-15', DATE '1900-02-28', DATE '1969-12-31', DATE '2000-02-29', DATE '2020-12-31', DATE '2021-01-03', DATE '2021-01-04', DATE '2024-12-30', DATE '2026-12-31', DATE '9999-12-31') AS t(d);
SELECT hour(TIMESTAMP '2024-05-06 07:08:09.123'), minute(TIMESTAMP '2024-05-06 07:08:09.123'), second(TIMESTAMP '2024-05-06 07:08:09.123'), millisecond(TIMESTAMP '2024-05-06 07:08:09.123'), hour(TIME '07:08:09'), millisecond(TIME '07:08:09.5');
SELECT hour(CAST(NULL AS timestamp)), minute(CAST(NULL AS time)), second(CAST(NULL AS timestamp)), millisecond(CAST(NULL AS timestamp));
-- edge: other zones, the last microsecond and before 1970
SELECT hour(TIMESTAMP '2024-05-06 23:30:00 +05:30'), minute(TIMESTAMP '2024-05-06 23:30:00 +05:45'), hour(TIMESTAMP '2024-07-01 12:00:00 Europe/Berlin'), day(TIMESTAMP '2024-05-06 23:30:00 America/New_York'), millisecond(TIMESTAMP '1969-12-31 23:59:59.999999'), second(TIMESTAMP '1969-12-31 23:59:59.999999'), year(TIMESTAMP '1969-12-31 23:59:59.999'), minute(TIMESTAMP '0001-01-01 00:59:00'), week(TIMESTAMP '2021-01-01 00:00:00 Asia/Tokyo');
-- edge: of an interval
SELECT year(INTERVAL '14' MONTH), month(INTERVAL '14' MONTH), day(INTERVAL '36' HOUR), hour(INTERVAL '36' HOUR), minute(INTERVAL '90' SECOND), second(INTERVAL '90' SECOND), millisecond(INTERVAL '1.5' SECOND), month(INTERVAL '-14' MONTH), hour(INTERVAL '-36' HOUR);
-- edge: a date has no hours
SELECT hour(DATE '2024-01-01');
-- edge: a date has no minutes
SELECT minute(DATE '2024-01-01');
-- edge: a date has no seconds
SELECT second(DATE '2024-01-01');
-- edge: a date has no milliseconds
SELECT millisecond(DATE '2024-01-01');
-- edge: a time has no year
SELECT year(TIME '01:02:03');
-- edge: a text is no date
SELECT month('2024-01-01');
-- edge: a text is no date
SELECT day('2024-01-01');
-- edge: a number is no date
SELECT week(1);
SELECT extract(YEAR FROM DATE '2024-05-06'), extract(QUARTER FROM DATE '2024-05-06'), extract(DAY_OF_WEEK FROM DATE '2024-05-06'), extract(DOW FROM DATE '2024-05-06'), extract(DOY FROM DATE '2024-05-06'), extract(YOW FROM DATE '2024-05-06'), extract(WEEK FROM DATE '2024-05-06'), extract(HOUR FROM TIMESTAMP '2024-05-06 07:08:09'), extract(DAY FROM INTERVAL '2' DAY);
SELECT extract(YEAR FROM CAST(NULL AS date)), extract(HOUR FROM CAST(NULL AS timestamp)), extract(SECOND FROM CAST(NULL AS time));
-- edge: of a zone and of a week of another year
SELECT extract(TIMEZONE_HOUR FROM TIMESTAMP '2024-05-06 07:08:09 +05:30'), extract(TIMEZONE_MINUTE FROM TIMESTAMP '2024-05-06 07:08:09 -05:30'), extract(YEAR_OF_WEEK FROM DATE '2021-01-01'), extract(DAY_OF_MONTH FROM DATE '2024-02-29'), extract(DAY_OF_YEAR FROM DATE '2024-12-31');
-- edge: a date has no hours
SELECT extract(HOUR FROM DATE '2024-01-01');
-- edge: no such part
SELECT extract(CENTURY FROM DATE '2024-01-01');
SELECT date('2024-05-06'), date(TIMESTAMP '2024-05-06 07:08:09'), last_day_of_month(DATE '2024-02-01'), date_add('day', 3, DATE '2024-05-06'), date_add('month', 1, DATE '2024-01-31'), date_add('hour', 5, TIMESTAMP '2024-05-06 20:00:00'), date_diff('day', DATE '2024-01-01', DATE '2024-03-01'), date_diff('hour', TIMESTAMP '2024-01-01 00:00:00', TIMESTAMP '2024-01-02 01:30:00'), date_trunc('month', DATE '2024-05-06'), date_trunc('hour', TIMESTAMP '2024-05-06 07:08:09.123');
SELECT date(CAST(NULL AS varchar)), last_day_of_month(CAST(NULL AS date)), date_add('day', NULL, DATE '2024-05-06'), date_add('day', 1, CAST(NULL AS date)), date_diff('day', NULL, DATE '2024-05-06'), date_diff('day', DATE '2024-05-06', CAST(NULL AS date)), date_trunc('month', CAST(NULL AS timestamp));
-- edge: leap days and ends of months
SELECT date_add('year', 1, DATE '2024-02-29'), date_add('month', -1, DATE '2024-03-31'), date_add('quarter', 1, DATE '2023-11-30'), date_add('week', -1, DATE '2024-01-01'), date_add('millisecond', -1, TIMESTAMP '2024-01-01 00:00:00.000'), date_add('second', 1, TIMESTAMP '2023-12-31 23:59:59'), last_day_of_month(TIMESTAMP '2023-02-10 11:12:13'), date(TIMESTAMP '2024-05-06 23:30:00 -05:00');
-- edge: whole units only, in both directions
SELECT date_diff('month', DATE '2024-01-31', DATE '2024-02-29'), date_diff('month', DATE '2024-02-29', DATE '2024-01-31'), date_diff('month', DATE '2024-03-31', DATE '2024-02-29'), date_diff('year', DATE '2024-02-29', DATE '2025-02-28'), date_diff('year', DATE '2023-02-28', DATE '2024-02-29'), date_diff('quarter', DATE '2024-01-15', DATE '2024-04-14'), date_diff('week', DATE '2024-01-01', DATE '2024-01-07'), date_diff('day', TIMESTAMP '2024-01-01 12:00:00', TIMESTAMP '2024-01-02 11:59:59'), date_diff('millisecond', TIMESTAMP '2024-01-02 00:00:00.001', TIMESTAMP '2024-01-01 00:00:00.000'), date_diff('second', TIMESTAMP '1969-12-31 23:59:59.5', TIMESTAMP '1970-01-01 00:00:00.4'), date_diff('minute', TIMESTAMP '2024-01-01 00:00:59', TIMESTAMP '2024-01-01 00:01:58'), date_diff('month', TIMESTAMP '2024-01-31 12:00:00', TIMESTAMP '2024-02-29 11:00:00');
-- edge: a day with another number of hours
SELECT date_add('day', 1, TIMESTAMP '2024-03-30 12:00:00 Europe/Berlin'), date_add('hour', 24, TIMESTAMP '2024-03-30 12:00:00 Europe/Berlin'), date_diff('hour', TIMESTAMP '2024-03-30 12:00:00 Europe/Berlin', TIMESTAMP '2024-03-31 12:00:00 Europe/Berlin'), date_diff('day', TIMESTAMP '2024-03-30 12:00:00 Europe/Berlin', TIMESTAMP '2024-03-31 12:00:00 Europe/Berlin'), date_trunc('day', TIMESTAMP '2024-03-31 12:00:00 Europe/Berlin'), date_trunc('hour', TIMESTAMP '2024-10-27 02:30:00 Europe/Berlin');
-- edge: every unit, before 1970
SELECT u, date_trunc('year', t), date_trunc('quarter', t), date_trunc('month', t), date_trunc('week', t), date_trunc('day', t), date_trunc('hour', t), date_trunc('minute', t), date_trunc('second', t), date_trunc('millisecond', t) FROM (VALUES (1, TIMESTAMP '1969-12-31 23:59:59.999999'), (2, TIMESTAMP '0001-01-01 00:00:00.000001'), (3, TIMESTAMP '2024-02-29 12:34:56.789012')) AS v(u, t);
-- edge: of a time
SELECT date_trunc('hour', TIME '12:34:56.789'), date_trunc('second', TIME '12:34:56.789'), date_add('hour', 13, TIME '12:00:00'), date_add('millisecond', -1, TIME '00:00:00.000'), date_diff('minute', TIME '12:00:00', TIME '11:00:30'), date_diff('second', TIME '00:00:00.9', TIME '00:00:01.8');
-- edge: a date has no hours
SELECT date_trunc('hour', DATE '2024-01-01');
-- edge: a date has no hours
SELECT date_add('hour', 1, DATE '2024-01-01');
-- edge: a date has no hours
SELECT date_diff('hour', DATE '2024-01-01', DATE '2024-01-02');
-- edge: no such unit
SELECT date_trunc('century', DATE '2024-01-01');
-- edge: no such unit
SELECT date_add('days', 1, DATE '2024-01-01');
-- edge: no such unit
SELECT date_diff('', DATE '2024-01-01', DATE '2024-01-02');
-- edge: no date
SELECT date('2024-02-30');
-- edge: no date
SELECT date('');
-- edge: not a date
SELECT last_day_of_month('2024-01-01');
SELECT date_format(TIMESTAMP '2024-05-06 07:08:09.123', '%Y-%m-%d %H:%i:%s.%f'), date_format(DATE '2024-05-06', '%W %M %e'), date_parse('2024-05-06 07:08:09', '%Y-%m-%d %H:%i:%s'), date_parse('06/05/24', '%d/%m/%y'), format_datetime(TIMESTAMP '2024-05-06 07:08:09.123', 'yyyy-MM-dd HH:mm:ss.SSS'), format_datetime(DATE '2024-05-06', 'EEE, d MMM yyyy'), parse_datetime('2024-05-06 07:08', 'yyyy-MM-dd HH:mm'), from_iso8601_date('2024-05-06'), from_iso8601_timestamp('2024-05-06T07:08:09Z'), to_iso8601(DATE '2024-05-06'), to_iso8601(TIMESTAMP '2024-05-06 07:08:09.123');
SELECT date_format(CAST(NULL AS timestamp), '%Y'), date_format(DATE '2024-05-06', NULL), date_parse(NULL, '%Y'), format_datetime(CAST(NULL AS timestamp), 'yyyy'), parse_datetime(NULL, 'yyyy'), from_iso8601_date(NULL), from_iso8601_timestamp(NULL), to_iso8601(CAST(NULL AS date));
-- edge: each code
SELECT date_format(t, '%a %b %c %d %e'), date_format(t, '%f %H %h %I %i'), date_format(t, '%j %k %l %M %m'), date_format(t, '%p %r %S %s %T'), date_format(t, '%W %Y %y %%'), date_format(t, '%v %x') FROM (VALUES TIMESTAMP '2024-01-01 00:05:09.007', TIMESTAMP '2021-01-03 13:59:59.999999', TIMESTAMP '1969-12-31 12:00:00.000') AS v(t);
-- edge: other letters and none
SELECT date_format(DATE '2024-05-06', '年%Y'), date_format(DATE '2024-05-06', '%%Y%z'), format_datetime(DATE '2024-05-06', '''o''''clock'''), format_datetime(TIMESTAMP '2024-05-06 00:08:09', 'h:mm a'), format_datetime(DATE '2021-01-01', 'xxxx-''W''ww-e'), format_datetime(DATE '2024-05-06', 'yy MMMM EEEE D');
-- refused: the parser reads it as None
SELECT date_format(DATE '2024-05-06', '');
-- refused: the hours of these letters are not DuckDB's
SELECT format_datetime(TIMESTAMP '2024-05-06 12:08:09', 'K k');
-- refused: their century depends on the day
SELECT parse_datetime('24', 'yy');
-- edge: a code that is none
SELECT date_format(DATE '2024-05-06', '%D');
-- edge: a code that is none
SELECT date_parse('1', '%w');
-- edge: another form
SELECT date_parse('2024-5', '%Y-%m-%d');
-- edge: no such day
SELECT date_parse('2023-02-29', '%Y-%m-%d');
-- edge: empty
SELECT date_parse('', '%Y');
-- edge: another form
SELECT parse_datetime('2024', 'yyyy-MM');
-- edge: no such day
SELECT parse_datetime('2023-02-29', 'yyyy-MM-dd');
-- edge: no such letter
SELECT format_datetime(DATE '2024-05-06', 'b');
-- edge: parts that are left out, and halves of a day
SELECT date_parse('12', '%H'), date_parse('2024', '%Y'), date_parse('12:30 AM', '%h:%i %p'), date_parse('70', '%y'), date_parse('69', '%y'), date_parse('2024-05-06 07:08:09.123456', '%Y-%m-%d %H:%i:%s.%f'), parse_datetime('12', 'HH'), parse_datetime('06.05.2024', 'dd.MM.yyyy'), parse_datetime('2024-366', 'yyyy-DDD');
-- edge: weeks, days of a year, parts alone and zones
SELECT from_iso8601_date('2020-W53-5'), from_iso8601_date('2020-W01'), from_iso8601_date('2024-366'), from_iso8601_date('2024'), from_iso8601_timestamp('2024-05-06'), from_iso8601_timestamp('2024-05-06T07'), from_iso8601_timestamp('2024-05-06T07:08:09.123456Z'), to_iso8601(DATE '0001-01-01'), to_iso8601(TIMESTAMP '1969-12-31 23:59:59.999999');
SELECT from_iso8601_timestamp('2024-05-06T07:08:09+02:00');
SELECT from_iso8601_timestamp('2024-W10-1T01:02');
SELECT to_iso8601(TIMESTAMP '2024-05-06 07:08:09.123 +02:00');
-- edge: no date
SELECT from_iso8601_date('2024-13-01');
-- edge: no timestamp
SELECT from_iso8601_timestamp('2024-05-06 07:08:09');
-- edge: no timestamp
SELECT from_iso8601_timestamp('');
-- edge: not a date
SELECT to_iso8601('2024-01-01');
-- edge: not a date
SELECT date_format('2024-01-01', '%Y');
SELECT from_unixtime(0), from_unixtime(1.5e9), from_unixtime(1.5e9, 'Asia/Tokyo'), from_unixtime(1.5e9, 2, 30), to_unixtime(TIMESTAMP '2024-05-06 07:08:09.123'), to_unixtime(TIMESTAMP '2024-05-06 07:08:09.123 +02:00'), at_timezone(TIMESTAMP '2024-05-06 07:08:09 UTC', 'Europe/Berlin'), with_timezone(TIMESTAMP '2024-05-06 07:08:09', 'Asia/Tokyo'), timezone(TIMESTAMP '2024-05-06 07:08:09 Europe/Berlin'), timezone_hour(TIMESTAMP '2024-05-06 07:08:09 +05:30'), timezone_minute(TIMESTAMP '2024-05-06 07:08:09 +05:30');
SELECT from_unixtime(NULL), from_unixtime(NULL, 'UTC'), to_unixtime(CAST(NULL AS timestamp)), at_timezone(CAST(NULL AS timestamp with time zone), 'UTC'), with_timezone(CAST(NULL AS timestamp), 'UTC'), timezone(CAST(NULL AS timestamp with time zone)), timezone_hour(CAST(NULL AS timestamp with time zone)), timezone_minute(CAST(NULL AS timestamp with time zone));
-- edge: halves of a millisecond, before 1970
SELECT from_unixtime(0.0005e0), from_unixtime(-0.0005e0), from_unixtime(-1.5e0), from_unixtime(1e0, '-08:00'), from_unixtime(1e0, -8, 0), from_unixtime(253402300799), to_unixtime(TIMESTAMP '1969-12-31 23:59:59.999999'), to_unixtime(TIMESTAMP '0001-01-01 00:00:00'), to_unixtime(TIMESTAMP '9999-12-31 23:59:59.999');
-- edge: hours that there are twice or never
SELECT with_timezone(TIMESTAMP '2024-10-27 02:30:00', 'Europe/Berlin'), with_timezone(TIMESTAMP '2024-03-31 02:30:00', 'Europe/Berlin'), at_timezone(TIMESTAMP '2024-10-27 01:30:00 UTC', 'Europe/Berlin'), at_timezone(TIMESTAMP '1969-12-31 23:59:59.999 UTC', '+14:00'), timezone(TIMESTAMP '2024-05-06 07:08:09 -05:30'), timezone_hour(TIMESTAMP '2024-05-06 07:08:09 -05:30'), timezone_minute(TIMESTAMP '2024-05-06 07:08:09 -05:30'), timezone_hour(TIMESTAMP '2024-01-01 00:00:00 America/St_Johns'), timezone_minute(TIMESTAMP '2024-01-01 00:00:00 America/St_Johns');
-- edge: no such zone
SELECT at_timezone(TIMESTAMP '2024-05-06 07:08:09 UTC', 'Nowhere');
-- edge: a date has no zone
SELECT timezone(DATE '2024-01-01');
-- edge: without a zone
SELECT timezone_hour(TIMESTAMP '2024-05-06 07:08:09');
-- edge: without a zone
SELECT timezone_minute(TIMESTAMP '2024-05-06 07:08:09');
-- edge: not a number
SELECT from_unixtime('0');
-- edge: a date is no timestamp
SELECT to_unixtime(DATE '1970-01-02');
-- edge: not a timestamp
SELECT at_timezone(DATE '2024-01-01', 'UTC');
SELECT now() > TIMESTAMP '2020-01-01 00:00:00 UTC', current_date = CAST(now() AS date), current_timestamp = now(), CAST(localtimestamp AS date) = current_date;
SELECT now() > NULL, current_date = NULL, nullif(now(), now());
-- edge: of one statement all alike, and with what type
SELECT now() = now(), typeof(now()), typeof(current_date), typeof(current_timestamp), typeof(localtimestamp), date_diff('second', now(), current_timestamp), year(now()) > 2020, to_unixtime(now()) > 0;
-- edge: blanks that the format has not
SELECT try(date_parse(' 2024-02-29', '%Y-%m-%d')), try(date_parse('2024-02-29 ', '%Y-%m-%d')), try(date_parse('2024-02-29  10', '%Y-%m-%d %H')), try(date_parse('2024-02-29x', '%Y-%m-%d')), date_parse('2024-2-9', '%Y-%m-%d'), try(parse_datetime(' 2024', 'yyyy'));
-- edge: clocks that end early, and zones of every form
SELECT from_iso8601_timestamp('2024-05-06T'), from_iso8601_timestamp('T10:00'), from_iso8601_timestamp('2024-05-06T7:8'), from_iso8601_timestamp('2024-05-06T07:08:09,5Z'), from_iso8601_timestamp('2024-05-06T07:08:09+0200'), from_iso8601_timestamp('2024-05-06T07:08:09-05:30'), from_iso8601_date('2024-1-2'), try(from_iso8601_date('2024-W53')), to_iso8601(TIMESTAMP '2024-01-06 07:08:09 America/St_Johns');
-- edge: no such hour
SELECT from_iso8601_timestamp('2024-05-06T24:00');
-- edge: a clock without colons
SELECT from_iso8601_timestamp('2024-05-06T070809');
