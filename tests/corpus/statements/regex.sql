SELECT regexp_like('1a 2b 14m', '\d+b'), regexp_like('abc', '^b'), regexp_like(NULL, 'a'), regexp_like('', ''), regexp_like('ABC', '(?i)abc');
SELECT regexp_extract('1a 2b 14m', '\d+'), regexp_extract('1a 2b 14m', '(\d+)([a-z]+)', 2), regexp_extract('abc', 'z'), regexp_extract('abc', '(z)?', 1), regexp_extract(NULL, 'a'), regexp_extract('abc', '');
SELECT regexp_extract('abc', '(a)', 2);
SELECT regexp_extract_all('1a 2b 14m', '\d+'), regexp_extract_all('1a 2b 14m', '(\d+)([a-z]+)', 2), regexp_extract_all('abc', 'z'), regexp_extract_all('aab', 'a*'), regexp_extract_all('ab', '(a)|(b)', 1);
SELECT regexp_replace('1a 2b 14m', '\d+[ab] '), regexp_replace('1a 2b 14m', '(\d+)([ab]) ', '3c$2 '), regexp_replace('abc', 'b', ''), regexp_replace('abc', '', '-'), regexp_replace('abc', 'b', '\$');
-- refused: a lambda for each match
SELECT regexp_replace('new york', '(\w)(\w*)', x -> upper(x[1]) || lower(x[2])), regexp_replace('abc', '(z)?b', x -> coalesce(x[1], '*'));
SELECT regexp_replace('abc', '(b)', '$2');
SELECT regexp_split('1a 2b 14m', '\s*[a-z]+\s*'), regexp_split('abc', 'z'), regexp_split('a,b', ','), regexp_split('', ','), regexp_split(NULL, 'a'), regexp_split('aXbXc', 'X');
SELECT regexp_count('1a 2b 14m', '\d+'), regexp_count('abc', 'z'), regexp_count('', ''), regexp_count('aaa', 'a'), regexp_count('aaa', 'aa'), regexp_count(NULL, 'a');
SELECT regexp_position('I have 23 apples, 5 pears', '\b\d+\b'), regexp_position('a1b2', '\d', 3), regexp_position('a1b2c3', '\d', 1, 3), regexp_position('abc', 'z'), regexp_position(NULL, 'a'), regexp_position('é中1', '\d');
SELECT id, regexp_like(s, '[A-Z]'), regexp_extract(s, '[a-z]+'), regexp_replace(s, '[^a-zA-Z]', '_'), regexp_count(s, '.') FROM a.main.cell;
SELECT id, regexp_like(s, '.*c$'), regexp_extract_all(s, '\w'), regexp_split(s, ',') FROM a.main.cell;
SELECT regexp_like('abc', '(');
-- refused: RE2 cannot look around, refer to groups or match possessively
SELECT regexp_like('abc', 'a(?=b)'), regexp_like('abc', '(?<!a)c'), regexp_like('aa', '(a)\1'), regexp_like('abc', 'a++b'), regexp_like('a.c', 'a\.c');
SELECT regexp_like('é', '\w'), regexp_like('中', '\p{L}'), regexp_like('A', '\p{Lu}'), regexp_like('٣', '\d'), regexp_like('a b', '\s'), regexp_like('foo_bar', '\bfoo\b');
SELECT regexp_like(E, '^a.b$'), regexp_like(E, '(?s)^a.b$'), regexp_like(E, '(?m)^b$') FROM (VALUES 'a
b') AS t(E);
SELECT regexp_extract('a\b', 'a\\b'), regexp_replace('a/b', '/', '\\'), regexp_like('x', '[[:alpha:]]'), regexp_like('-', '[\w-]'), regexp_like('x', '[^\d\s]');
SELECT regexp_like('aaa', 'a{2,}'), regexp_like('ab', 'a|b'), regexp_extract('foobar', 'o+?'), regexp_extract('foobar', '(?:o)(b)', 1), regexp_extract('foobar', '(?<n>b)', 1);
SELECT regexp_like('é', '\w'), regexp_like('٣', '\d'), regexp_like(U&'\00a0', '\s'), regexp_like('É', '(?i)é'), regexp_like('ſ', '(?i)s'), regexp_extract('été x', '\w+'), regexp_like('a', '[[:alpha:]]');
-- refused: word boundaries beside letters that are not ASCII
SELECT regexp_like('é', '\bé\b');
