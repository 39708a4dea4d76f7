SELECT lower('ABC'), upper('abc'), length('abc'), reverse('abc'), replace('abcabc', 'b', 'x'), strpos('abcabc', 'c'), position('c' IN 'abcabc'), substr('abcdef', 2, 3), substring('abcdef', 2, 3), substring('abcdef' FROM 3 FOR 2);
SELECT lower(NULL), upper(NULL), length(NULL), replace(NULL, 'a', 'b'), strpos('a', NULL), position(NULL IN 'a'), substr(CAST(NULL AS varchar), 1), substr('a', NULL), substring(CAST(NULL AS varchar), 1, 2), substring('abc', 1, NULL);
-- edge: empty
SELECT lower(''), upper(''), length(''), reverse(''), replace('', ''), replace('', '', 'x'), strpos('', ''), strpos('', 'a'), position('' IN 'abc'), substr('', 1), substring('', 1, 1);
-- edge: beyond ASCII
SELECT lower('ÀÉÎ İ ẞ Σ'), upper('àéî ı ß ﬁ'), length('e😀中'), reverse('e😀中'), replace('é中é', 'é', '😀'), strpos('a😀b', 'b'), position('中' IN 'é中'), substr('a😀b', 2, 1), substring('日本語', 2), upper('ǆ'), lower('ǅ');
-- edge: places before the first and behind the last
SELECT substr('abc', 0), substr('abc', -2), substr('abc', -4), substr('abc', 4), substr('abc', 2, 0), substr('abc', 2, -1), substr('abc', -2, 1), substring('abc', 1, 9223372036854775807), substring('abc', -9223372036854775808), strpos('abc', 'b', 9223372036854775807), strpos('abab', 'ab', -2);
-- edge: no instance
SELECT strpos('abc', 'b', 0);
-- edge: not a text
SELECT lower(1);
-- edge: not a text
SELECT position(1 IN 'a');
-- edge: not a text
SELECT reverse(12);
-- edge: not a text
SELECT length(12);
SELECT trim('  a  '), ltrim('  a'), rtrim('a  '), lpad('a', 3, '-'), rpad('a', 3, '-'), concat('a', 'b'), concat_ws('-', 'a', 'b'), translate('abc', 'ab', 'xy'), starts_with('abc', 'a'), split('a-b', '-'), split_part('a-b', '-', 2);
SELECT trim(NULL), ltrim(NULL), rtrim(NULL), lpad(NULL, 3, '-'), lpad('a', NULL, '-'), rpad('a', 3, NULL), concat('a', CAST(NULL AS varchar)), concat_ws(NULL, 'a'), concat_ws('-', NULL, NULL), translate('abc', NULL, 'x'), starts_with('a', NULL), split('a', NULL), split_part('a', '-', NULL);
-- edge: blanks of every kind
SELECT trim(U&'\0009a\000A'), trim(U&'\00A0a\3000'), ltrim(U&'\2003a'), rtrim(U&'a\000B\000C\000D'), length(trim(U&' \2007a\0085 ')), trim(''), ltrim('   '), rtrim('   '), trim(U&'\001Ca\001F');
-- edge: empty, and nothing to pad
SELECT lpad('abc', 0, '-'), rpad('abc', 3, '-'), rpad('', 3, 'xy'), lpad('日', 3, '本語'), concat('', ''), concat_ws('', 'a', 'b'), concat_ws(',', CAST(ARRAY[] AS array(varchar))), concat_ws(',', ARRAY['a', NULL, '']), translate('', 'a', 'b'), translate('日本', '本', '木'), translate('abc', 'aa', 'xy'), starts_with('', ''), starts_with('日本', '日'), split('', '-'), split('--', '-'), split('a😀b', '😀'), split_part('', '-', 1), split_part('a-b', 'x', 1), split_part('a-b', '-', 3);
-- edge: a negative width
SELECT rpad('a', -1, 'x');
-- edge: nothing to pad with
SELECT rpad('a', 3, '');
-- edge: nothing to split by
SELECT split_part('a', '-', 0);
-- edge: not a text
SELECT trim(1);
-- edge: not a text
SELECT ltrim(1);
-- edge: not a text
SELECT rtrim(1);
-- edge: not a text
SELECT concat('a', 1);
-- edge: not a text
SELECT concat_ws(',', 1, 2);
SELECT chr(65), codepoint('a'), hamming_distance('abc', 'abd'), levenshtein_distance('kitten', 'sitting'), soundex('Miller'), luhn_check('4242424242424242'), normalize('é'), normalize('é', NFD);
SELECT chr(NULL), codepoint(NULL), hamming_distance(NULL, 'a'), levenshtein_distance('a', NULL), soundex(NULL), luhn_check(NULL), normalize(NULL), normalize(CAST(NULL AS varchar), NFD);
-- edge: beyond ASCII and empty
SELECT chr(128512), chr(0), codepoint('😀'), codepoint('é'), hamming_distance('日本', '日木'), hamming_distance('', ''), levenshtein_distance('', ''), levenshtein_distance('日本', ''), soundex(''), soundex('a'), soundex('1a'), soundex('Ashcraft'), soundex('O''Hara'), luhn_check('0'), luhn_check('00'), normalize(''), normalize('ﬁ①', NFKC), normalize('Å', NFC), length(normalize('각', NFD)), normalize('ẛ̣', NFKD);
-- edge: no character
SELECT chr(55296);
-- edge: no character
SELECT chr(1114112);
-- edge: two characters
SELECT codepoint('ab');
-- edge: no character
SELECT codepoint('');
-- edge: of another length
SELECT hamming_distance('a', '');
-- edge: not a text
SELECT levenshtein_distance('a', 1);
-- edge: a letter beyond ASCII
SELECT soundex('é');
-- edge: no number
SELECT luhn_check('1 2');
-- edge: no number
SELECT luhn_check('');
-- edge: no such form
SELECT normalize('a', NFX);
SELECT word_stem('jumping'), word_stem('happily'), word_stem('nations'), word_stem('running', 'en'), word_stem('generously');
SELECT word_stem(NULL), word_stem(NULL, 'en'), word_stem('a', NULL);
-- edge: capitals, short words and letters beyond ASCII
SELECT word_stem(''), word_stem('a'), word_stem('Running'), word_stem('skies'), word_stem('dying'), word_stem('news'), word_stem('café'), word_stem('ÉTUDES'), word_stem('it''s'), word_stem('yyy'), word_stem('added'), word_stem('upped'), word_stem('agreed'), word_stem('hopping'), word_stem('hoping'), word_stem('communism');
-- refused: other languages
SELECT word_stem('chevaux', 'fr');
-- edge: no such language
SELECT word_stem('a', 'xx');
SELECT regexp_like('abc', 'b'), regexp_extract('a1b22', '[0-9]+'), regexp_extract('a1b22', '([a-z])([0-9]+)', 2), regexp_extract_all('a1b22', '[0-9]+'), regexp_extract_all('a1b22', '([a-z])([0-9]+)', 1), regexp_replace('a1b2', '[0-9]'), regexp_replace('a1b2', '([a-z])', '<$1>'), regexp_split('a1b2c', '[0-9]'), regexp_count('a1b22', '[0-9]+'), regexp_position('a1b22', '[0-9]'), regexp_position('a1b22', '[0-9]+', 3);
SELECT regexp_like(NULL, 'b'), regexp_like('a', NULL), regexp_extract(NULL, 'a'), regexp_extract_all(NULL, 'a'), regexp_replace(NULL, 'a'), regexp_replace('a', 'a', NULL), regexp_split(NULL, 'a'), regexp_count(NULL, 'a'), regexp_position(NULL, 'a'), regexp_position('a', 'a', NULL);
-- edge: the empty text and the empty pattern
SELECT regexp_like('', ''), regexp_like('abc', ''), regexp_extract('', 'a*'), regexp_extract('abc', ''), regexp_extract_all('', 'a'), regexp_extract_all('abc', ''), regexp_replace('abc', ''), regexp_replace('abc', '', '-'), regexp_replace('', '^', 'x'), regexp_count('abc', ''), regexp_count('', 'a');
-- edge: beyond ASCII
SELECT regexp_like('日本', '日.'), regexp_extract('a😀b', '😀.'), regexp_extract_all('é中é', 'é'), regexp_replace('é中é', '[^é]', '$0$0'), regexp_split('日、本', '、'), regexp_count('😀😀', '.'), regexp_position('é中', '中'), regexp_like('É', '(?i)é'), regexp_like('é', '\w'), regexp_like('٣', '\d');
-- edge: a group that takes no part
SELECT regexp_extract('b', '(a)?b', 1), regexp_extract_all('ab b', '(a)?b', 1), regexp_replace('b', '(a)?b', '[$1]'), regexp_extract('abc', '(b)|(c)', 2);
-- edge: no such group
SELECT regexp_extract_all('abc', '(b)', 2);
-- edge: no such group
SELECT regexp_extract('abc', 'b', 1);
-- edge: no pattern
SELECT regexp_like('abc', '(');
-- edge: no pattern
SELECT regexp_split('abc', '[');
-- edge: no pattern
SELECT regexp_count('abc', '*');
-- edge: before the first character
SELECT regexp_position('abc', 'b', 0);
-- edge: behind the last character, and not so many
SELECT regexp_position('abc', 'b', 4), regexp_position('abc', 'b', 100), regexp_position('abab', 'b', 1, 3), regexp_position('abab', 'b', 2, 2);
-- edge: the group does not exist
SELECT regexp_replace('abc', 'b', '$1');
SELECT url_encode('a b&c'), url_decode('a+b%26c'), url_extract_protocol('http://h.com/p'), url_extract_host('http://h.com:80/p'), url_extract_port('http://h.com:80/p'), url_extract_path('http://h.com/p/q'), url_extract_query('http://h.com/p?a=1&b=2'), url_extract_fragment('http://h.com/p#frag'), url_extract_parameter('http://h.com/p?a=1&b=2', 'b');
SELECT url_encode(NULL), url_decode(NULL), url_extract_protocol(NULL), url_extract_host(NULL), url_extract_port(NULL), url_extract_path(NULL), url_extract_query(NULL), url_extract_fragment(NULL), url_extract_parameter(NULL, 'b'), url_extract_parameter('http://h.com', NULL);
-- edge: empty
SELECT url_encode(''), url_decode(''), url_extract_protocol(''), url_extract_host(''), url_extract_port(''), url_extract_path(''), url_extract_query(''), url_extract_fragment(''), url_extract_parameter('', '');
-- edge: beyond ASCII, escapes and parts that are missing
SELECT url_encode('é😀~*'), url_decode('%E4%B8%AD'), url_decode('a%00b'), url_extract_protocol('mailto:a@b.c'), url_extract_host('http://user:pw@h.com/'), url_extract_host('http://[::1]:8080/'), url_extract_port('http://h.com/'), url_extract_path('http://h.com/a%20b'), url_extract_query('http://h.com/?a=%26'), url_extract_fragment('http://h.com/#a%20b'), url_extract_parameter('http://h.com/?a=1&a=2', 'a'), url_extract_parameter('http://h.com/?a', 'a'), url_extract_parameter('http://h.com/?a=x%20y', 'a'), url_extract_path('a/b'), url_extract_host('h.com');
-- edge: no URL
SELECT url_extract_protocol('a b'), url_extract_host('http://a b/'), url_extract_port('http://h:x/'), url_extract_path('%'), url_extract_query('http://h/?a b'), url_extract_fragment('http://h/#a b'), url_extract_parameter('http://h/?a b=1', 'a');
-- edge: half an escape
SELECT url_decode('%4');
-- edge: no escape
SELECT url_decode('%zz');
-- edge: not a text
SELECT url_encode(1);
SELECT split_to_map('a=1,b=2', ',', '='), split_to_multimap('a=1,b=2,a=3', ',', '='), format('%s %d %.2f', 'a', 1, 2.5e0), to_utf8('abc'), from_utf8(X'616263'), strpos('abcb', 'b', 2);
SELECT split_to_map(NULL, ',', '='), split_to_map('a=1', NULL, '='), split_to_multimap(NULL, ',', '='), format(CAST(NULL AS varchar), 1), format('%s', NULL), to_utf8(NULL), from_utf8(NULL), from_utf8(X'61', NULL);
-- edge: empty
SELECT split_to_map('', ',', '='), split_to_multimap('', ',', '='), split_to_map('=', ',', '='), split_to_multimap('=,=1', ',', '='), split_to_map('a=1,', ',', '='), to_utf8(''), from_utf8(X''), format('%s', ''), regexp_split('', 'a'), regexp_position('', 'a');
-- refused: matches of nothing are at other places in RE2
SELECT regexp_split('abc', ''), regexp_position('abc', 'x*');
-- edge: no values
SELECT format('%%');
-- edge: beyond ASCII and not UTF-8
SELECT split_to_map('é→1、中→2', '、', '→'), split_to_multimap('é→1、é→2', '、', '→'), to_utf8('😀'), from_utf8(X'F09F9880'), from_utf8(X'C328'), from_utf8(X'E4B8'), from_utf8(X'EDA080'), from_utf8(X'F8888080'), from_utf8(X'80', ''), from_utf8(X'C328', '?'), format('%s', '日'), format('%5s|', '日');
-- edge: a pair without a value
SELECT split_to_map('a', ',', '=');
-- edge: a pair with two values
SELECT split_to_multimap('a=1=2', ',', '=');
-- edge: one delimiter for both
SELECT split_to_map('a=1', '=', '=');
-- edge: one delimiter for both
SELECT split_to_multimap('a', ',', ',');
-- edge: a replacement of two characters
SELECT from_utf8(X'80', 'xy');
-- edge: a value too few
SELECT format('%s %s', 'a');
-- edge: another conversion
SELECT format('%d', 1.5e0);
-- edge: not a text
SELECT to_utf8(1);
-- edge: extreme numbers
SELECT format('%d', -9223372036854775808), format('%,d', 1234567890123), format('%08.3f', -3.14159e0), format('%.0f', 2.5e0), format('%.0f', 0.5e0), format('%e', 0e0), format('%s', nan()), format('%s', infinity()), format('%s', 1e10), format('%s', REAL '1.1'), format('%x', -1), format('%b', FALSE), format('%S', 'abc'), format('%-6d|', 42), format('%2$s %1$s', 'a', 'b');
-- edge: what is opaque, has no host, or breaks a rule of URLs
SELECT u, url_extract_protocol(u), url_extract_host(u), url_extract_port(u), url_extract_path(u), url_extract_query(u), url_extract_fragment(u), url_extract_parameter(u, 'a') FROM (VALUES 'mailto:a@b.c', 'http:u@127.0.0.1:99999/a?a=1#f', 'HTTP:/[::1:80/a', '1a:///x?a=1', 'http://a_b.com/p', 'http://-a.com/', 'http://256.1.1.1/', 'http://1.2.3/', 'http://h.com:/', 'http://h.com:x/', 'http://h.com:4294967296/', 'http://u:p@h.com/', 'http://@h.com/', 'http://[::1]:80/', 'http://[::1', 'http:///p', 'http://', 'http:', ':', '#', '?a=1', '//h.com/p', 'a/b:c', 'http://é.com/é?a=é#é', 'http://h/a[1]', 'http://h/?a=[1]', 'http://h/%zz', 'http://h/?a=b?c', 'http://h/?a=+x+', 'http://h/?&&a=1', 'http://h/#a#b') AS t(u);
-- edge: entries without text
SELECT split_to_map('a=1;', ';', '='), split_to_multimap('a=;', ';', '='), split_to_multimap('=', ';', '='), try(split_to_map(';a=', ';', '=')), try(split_to_multimap('a=;;', ';', '=')), try(split_to_map(';', ';', '=')), try(split_to_multimap('a=1;;b=2', ';', '='));
-- edge: digits in all
SELECT format('%g', 1e10), format('%g', 0.05e0), format('%g', -2.5e0), format('%.3g', 1234.5e0), format('%g', 0e0), format('%G', 1e-10), format('%.0g', 15e0), format('%10.4g|', 99999.5e0), format('%08.2f', nan()), format('%+f', infinity()), format('%e', -infinity()), format('%s', REAL '16777216');
-- edge: of one
SELECT concat('a');
-- edge: the number of the replacement
SELECT from_utf8(X'41FF', 63), from_utf8(X'41FF', 128512);
