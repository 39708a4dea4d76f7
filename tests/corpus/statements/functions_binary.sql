SELECT to_hex(X'0AFF'), from_hex('0aFF'), to_base64(X'616263'), from_base64('YWJj'), to_base64url(X'FBFF'), from_base64url('-_8='), to_base32(X'616263'), from_base32('MFRGG==='), crc32(X'616263'), md5(X'616263'), sha1(X'616263'), sha256(X'616263'), sha512(X'616263'), xxhash64(X'616263'), murmur3(X'616263'), spooky_hash_v2_32(X'616263'), spooky_hash_v2_64(X'616263');
SELECT to_hex(NULL), from_hex(CAST(NULL AS varchar)), to_base64(NULL), from_base64(CAST(NULL AS varchar)), to_base64url(NULL), from_base64url(CAST(NULL AS varchar)), to_base32(NULL), from_base32(CAST(NULL AS varchar)), crc32(NULL), md5(NULL), sha1(NULL), sha256(NULL), sha512(NULL), xxhash64(NULL), murmur3(NULL), spooky_hash_v2_32(NULL), spooky_hash_v2_64(NULL);
-- edge: empty
SELECT to_hex(X''), from_hex(''), to_base64(X''), from_base64(''), to_base64url(X''), from_base64url(''), to_base32(X''), from_base32(''), crc32(X''), md5(X''), sha1(X''), sha256(X''), sha512(X''), xxhash64(X''), murmur3(X''), spooky_hash_v2_32(X''), spooky_hash_v2_64(X'');
-- edge: every length around a block
SELECT n, to_hex(xxhash64(to_utf8(substr(t, 1, n)))), to_hex(murmur3(to_utf8(substr(t, 1, n)))), to_hex(spooky_hash_v2_32(to_utf8(substr(t, 1, n)))), to_hex(spooky_hash_v2_64(to_utf8(substr(t, 1, n)))), crc32(to_utf8(substr(t, 1, n))) FROM (SELECT rpad('The quick brown fox', 500, ' jumps over the lazy dog') AS t) CROSS JOIN UNNEST(ARRAY[1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 18, 31, 32, 33, 48, 63, 64, 95, 96, 127, 190, 191, 192, 193, 287, 288, 289, 384, 500]) AS u(n);
-- edge: padding that is left out, and none
SELECT from_base64('YQ'), from_base64('YQ=='), from_base64url('YQ'), from_base32('ME'), from_base32('ME======'), to_base64(X'61'), to_base64url(X'61'), to_base32(X'61'), to_base64(X'FBEF'), from_base64('--__');
-- edge: no digits
SELECT from_base64('!');
-- edge: digits of the other alphabet
SELECT from_base64url('+/8=');
-- edge: no digits
SELECT from_base32('1');
-- edge: small letters
SELECT from_base32('mfrgg===');
-- edge: half a byte
SELECT from_hex('abc');
-- edge: a blank
SELECT from_hex('0a 0b');
-- edge: not bytes
SELECT to_hex('abc');
-- edge: not bytes
SELECT md5('abc');
-- edge: not bytes
SELECT to_base64('abc');
-- edge: not bytes
SELECT crc32('abc');
-- edge: not bytes
SELECT spooky_hash_v2_32('abc');
SELECT from_hex(X'3061'), from_base64(X'59513D3D'), from_base32(X'4D453D3D3D3D3D3D'), from_base64url(X'59513D3D');
SELECT hmac_md5(X'61', X'6B'), hmac_sha1(X'61', X'6B'), hmac_sha256(X'61', X'6B'), hmac_sha512(X'61', X'6B');
SELECT hmac_md5(NULL, X'6B'), hmac_md5(X'61', NULL), hmac_sha1(NULL, X'6B'), hmac_sha1(X'61', NULL), hmac_sha256(NULL, X'6B'), hmac_sha512(X'61', NULL);
-- edge: nothing to sign, and a key longer than a block
SELECT hmac_md5(X'', X'6B'), hmac_sha1(X'', X'6B'), hmac_sha256(X'', X'6B'), hmac_sha512(X'', X'6B'), hmac_md5(X'61', to_utf8(rpad('k', 200, 'k'))), hmac_sha1(X'61', to_utf8(rpad('k', 200, 'k'))), hmac_sha256(X'61', to_utf8(rpad('k', 200, 'k'))), hmac_sha512(X'61', to_utf8(rpad('k', 200, 'k')));
SELECT to_big_endian_32(258), to_big_endian_64(258), from_big_endian_32(X'00000102'), from_big_endian_64(X'0000000000000102'), to_ieee754_32(REAL '1.5'), to_ieee754_64(1.5e0), from_ieee754_32(X'3FC00000'), from_ieee754_64(X'3FF8000000000000');
SELECT to_big_endian_32(NULL), to_big_endian_64(NULL), from_big_endian_32(NULL), from_big_endian_64(NULL), to_ieee754_32(NULL), to_ieee754_64(NULL), from_ieee754_32(NULL), from_ieee754_64(NULL);
-- edge: the limits, signs of zero and no numbers
SELECT to_big_endian_32(-2147483648), to_big_endian_32(2147483647), to_big_endian_64(-9223372036854775808), from_big_endian_32(X'80000000'), from_big_endian_64(X'7FFFFFFFFFFFFFFF'), to_ieee754_32(REAL '-0.0'), to_ieee754_32(REAL 'NaN'), to_ieee754_64(-0e0), to_ieee754_64(nan()), to_ieee754_64(-infinity()), to_ieee754_64(4.9e-324), from_ieee754_32(X'80000000'), from_ieee754_32(X'7FC00000'), from_ieee754_64(X'FFF0000000000000'), from_ieee754_64(X'0000000000000001');
-- edge: too many bytes
SELECT from_big_endian_32(X'0000000001');
-- edge: too few bytes
SELECT from_big_endian_64(X'01');
-- edge: no bytes
SELECT from_ieee754_32(X'');
-- edge: no bytes
SELECT from_ieee754_64(X'');
-- edge: more than an integer
SELECT to_big_endian_32(2147483648);
-- edge: not a number
SELECT to_big_endian_64('a');
-- edge: not a real
SELECT to_ieee754_32(1.5e0);
-- edge: a decimal and an integer
SELECT to_ieee754_64(1.5), to_ieee754_64(1), to_ieee754_32(1), to_big_endian_64(TINYINT '1');
-- edge: padding that is wrong
SELECT try(from_base64('BC=')), try(from_base64('a/+1CC=')), try(from_base64('====')), try(from_base64url('9--a==')), try(from_base64('B')), try(from_base32('==')), try(from_base32('6Y')), try(from_base32('A')), try(from_base32('M=FR')), from_base64('BC'), from_base64url('__');
-- edge: broken characters of every length
SELECT from_utf8(X'41C341'), from_utf8(X'E4B841'), from_utf8(X'F09F9841'), from_utf8(X'F0808080'), from_utf8(X'C080'), from_utf8(X'F4908080'), from_utf8(X'FC80808080'), from_utf8(X'FF'), from_utf8(X'80C3A9'), from_utf8(X'E4F09F9880', '?'), from_utf8(X'EDA080', '');
