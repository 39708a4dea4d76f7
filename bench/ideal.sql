-- q01
{q01};

-- q02
SELECT n_nationkey, n_name FROM {nation} JOIN {region} ON n_regionkey = r_regionkey WHERE r_name = 'EUROPE';

-- q02
SELECT 1 FROM {part}, {supplier}, {partsupp}, {nation}, {region}
WHERE p_partkey = ps_partkey AND s_suppkey = ps_suppkey AND p_size = 15 AND p_type LIKE '%BRASS'
AND s_nationkey = n_nationkey AND n_regionkey = r_regionkey AND r_name = 'EUROPE' AND ps_supplycost = (
SELECT min(ps_supplycost) FROM {partsupp}, {supplier}, {nation}, {region} WHERE p_partkey = ps_partkey
AND s_suppkey = ps_suppkey AND s_nationkey = n_nationkey AND n_regionkey = r_regionkey AND r_name = 'EUROPE');

-- q03
SELECT c_custkey FROM {customer} WHERE c_mktsegment = 'BUILDING';

-- q03
{q03};

-- q04
{q04};

-- q05
SELECT n_nationkey, n_name FROM {nation} JOIN {region} ON n_regionkey = r_regionkey WHERE r_name = 'ASIA';

-- q05
SELECT s_suppkey, s_nationkey FROM {supplier} JOIN {nation} ON s_nationkey = n_nationkey
JOIN {region} ON n_regionkey = r_regionkey WHERE r_name = 'ASIA';

-- q05
SELECT c_custkey, c_nationkey FROM {customer} JOIN {nation} ON c_nationkey = n_nationkey
JOIN {region} ON n_regionkey = r_regionkey WHERE r_name = 'ASIA';

-- q05
SELECT DISTINCT o_custkey, l_suppkey FROM {orders} JOIN {lineitem} ON l_orderkey = o_orderkey
JOIN {customer} ON c_custkey = o_custkey JOIN {supplier} ON s_suppkey = l_suppkey
JOIN {nation} cn ON c_nationkey = cn.n_nationkey JOIN {region} cr ON cn.n_regionkey = cr.r_regionkey
JOIN {nation} sn ON s_nationkey = sn.n_nationkey JOIN {region} sr ON sn.n_regionkey = sr.r_regionkey
WHERE cr.r_name = 'ASIA' AND sr.r_name = 'ASIA'
AND o_orderdate >= DATE '1994-01-01' AND o_orderdate < DATE '1995-01-01';

-- q06
{q06};

-- q07
SELECT n_nationkey, n_name FROM {nation} WHERE n_name IN ('FRANCE', 'GERMANY');

-- q07
SELECT s_suppkey, s_nationkey FROM {supplier} JOIN {nation} ON s_nationkey = n_nationkey
WHERE n_name IN ('FRANCE', 'GERMANY');

-- q07
SELECT c_custkey, n_name FROM {customer} JOIN {nation} ON c_nationkey = n_nationkey
WHERE n_name IN ('FRANCE', 'GERMANY');

-- q07
SELECT DISTINCT o_custkey, l_suppkey, extract(year FROM l_shipdate) FROM {orders}
JOIN {lineitem} ON l_orderkey = o_orderkey JOIN {customer} ON c_custkey = o_custkey
JOIN {supplier} ON s_suppkey = l_suppkey JOIN {nation} cn ON c_nationkey = cn.n_nationkey
JOIN {nation} sn ON s_nationkey = sn.n_nationkey
WHERE cn.n_name IN ('FRANCE', 'GERMANY') AND sn.n_name IN ('FRANCE', 'GERMANY')
AND l_shipdate BETWEEN DATE '1995-01-01' AND DATE '1996-12-31';

-- q08
SELECT p_partkey FROM {part} WHERE p_type = 'ECONOMY ANODIZED STEEL';

-- q08
SELECT 1 FROM {lineitem} JOIN {orders} ON l_orderkey = o_orderkey JOIN {part} ON p_partkey = l_partkey
WHERE p_type = 'ECONOMY ANODIZED STEEL' AND o_orderdate BETWEEN DATE '1995-01-01' AND DATE '1996-12-31';

-- q08
SELECT DISTINCT c_custkey FROM {lineitem} JOIN {orders} ON l_orderkey = o_orderkey
JOIN {part} ON p_partkey = l_partkey JOIN {customer} ON c_custkey = o_custkey
JOIN {nation} ON c_nationkey = n_nationkey JOIN {region} ON n_regionkey = r_regionkey
WHERE p_type = 'ECONOMY ANODIZED STEEL' AND o_orderdate BETWEEN DATE '1995-01-01' AND DATE '1996-12-31'
AND r_name = 'AMERICA';

-- q08
SELECT DISTINCT l_suppkey FROM {lineitem} JOIN {orders} ON l_orderkey = o_orderkey
JOIN {part} ON p_partkey = l_partkey
WHERE p_type = 'ECONOMY ANODIZED STEEL' AND o_orderdate BETWEEN DATE '1995-01-01' AND DATE '1996-12-31';

-- q08
SELECT n_nationkey, n_name FROM {nation};

-- q09
SELECT ps_partkey, ps_suppkey, ps_supplycost, s_nationkey FROM {part} JOIN {partsupp} ON ps_partkey = p_partkey
JOIN {supplier} ON s_suppkey = ps_suppkey WHERE p_name LIKE '%green%';

-- q09
SELECT n_nationkey, n_name FROM {nation};

-- q09
SELECT DISTINCT l_partkey, l_suppkey, extract(year FROM o_orderdate) FROM {lineitem}
JOIN {orders} ON o_orderkey = l_orderkey JOIN {part} ON p_partkey = l_partkey WHERE p_name LIKE '%green%';

-- q10
SELECT DISTINCT o_custkey FROM {orders} JOIN {lineitem} ON l_orderkey = o_orderkey
WHERE o_orderdate >= DATE '1993-10-01' AND o_orderdate < DATE '1994-01-01' AND l_returnflag = 'R';

-- q10
{q10};

-- q11
SELECT n_nationkey FROM {nation} WHERE n_name = 'GERMANY';

-- q11
{q11};

-- q12
{q12};

-- q13
SELECT c_custkey FROM {customer};

-- q13
SELECT DISTINCT o_custkey FROM {orders} WHERE o_comment NOT LIKE '%special%requests%';

-- q14
SELECT DISTINCT l_partkey FROM {lineitem}
WHERE l_shipdate >= DATE '1995-09-01' AND l_shipdate < DATE '1995-10-01';

-- q14
SELECT DISTINCT p_partkey FROM {lineitem} JOIN {part} ON p_partkey = l_partkey
WHERE l_shipdate >= DATE '1995-09-01' AND l_shipdate < DATE '1995-10-01';

-- q15
{q15};

-- q15
{q15};

-- q16
{q16};

-- q17
SELECT p_partkey FROM {part} WHERE p_brand = 'Brand#23' AND p_container = 'MED BOX';

-- q17
SELECT DISTINCT l_partkey FROM {lineitem}, {part} WHERE p_partkey = l_partkey AND p_brand = 'Brand#23'
AND p_container = 'MED BOX' AND l_quantity < (SELECT 0.2 * avg(l_quantity) FROM {lineitem} WHERE l_partkey = p_partkey);

-- q18
{q18};

-- q18
{q18};

-- q19
SELECT p_partkey FROM {part} WHERE (p_brand = 'Brand#12' AND p_container IN ('SM CASE', 'SM BOX', 'SM PACK', 'SM PKG')
AND p_size BETWEEN 1 AND 5) OR (p_brand = 'Brand#23' AND p_container IN ('MED BAG', 'MED BOX', 'MED PKG', 'MED PACK')
AND p_size BETWEEN 1 AND 10) OR (p_brand = 'Brand#34' AND p_container IN ('LG CASE', 'LG BOX', 'LG PACK', 'LG PKG')
AND p_size BETWEEN 1 AND 15);

-- q19
SELECT 1 FROM {lineitem}, {part} WHERE p_partkey = l_partkey AND l_quantity BETWEEN 1 AND 30
AND l_shipmode IN ('AIR', 'AIR REG') AND l_shipinstruct = 'DELIVER IN PERSON'
AND ((p_brand = 'Brand#12' AND p_container IN ('SM CASE', 'SM BOX', 'SM PACK', 'SM PKG')
AND p_size BETWEEN 1 AND 5) OR (p_brand = 'Brand#23' AND p_container IN ('MED BAG', 'MED BOX', 'MED PKG', 'MED PACK')
AND p_size BETWEEN 1 AND 10) OR (p_brand = 'Brand#34' AND p_container IN ('LG CASE', 'LG BOX', 'LG PACK', 'LG PKG')
AND p_size BETWEEN 1 AND 15));

-- q20
SELECT n_nationkey FROM {nation} WHERE n_name = 'CANADA';

-- q20
SELECT 1 FROM {partsupp}, {part}, {supplier}, {nation} WHERE p_partkey = ps_partkey AND p_name LIKE 'forest%'
AND s_suppkey = ps_suppkey AND s_nationkey = n_nationkey AND n_name = 'CANADA';

-- q20
SELECT DISTINCT l_partkey, l_suppkey FROM {lineitem}, {partsupp}, {part}, {supplier}, {nation}
WHERE p_partkey = ps_partkey AND p_name LIKE 'forest%' AND s_suppkey = ps_suppkey AND s_nationkey = n_nationkey
AND n_name = 'CANADA' AND l_partkey = ps_partkey AND l_suppkey = ps_suppkey
AND l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01';

-- q20
{q20};

-- q21
SELECT n_nationkey FROM {nation} WHERE n_name = 'SAUDI ARABIA';

-- q21
SELECT s_suppkey, s_name FROM {supplier} JOIN {nation} ON s_nationkey = n_nationkey WHERE n_name = 'SAUDI ARABIA';

-- q21
SELECT s_suppkey FROM {supplier} JOIN {nation} ON s_nationkey = n_nationkey WHERE n_name = 'SAUDI ARABIA';

-- q22
SELECT c_custkey FROM {customer}
WHERE substring(c_phone FROM 1 FOR 2) IN ('13', '31', '23', '29', '30', '18', '17')
AND c_acctbal > (SELECT avg(c_acctbal) FROM {customer} WHERE c_acctbal > 0.00
AND substring(c_phone FROM 1 FOR 2) IN ('13', '31', '23', '29', '30', '18', '17'));

-- q22
SELECT DISTINCT o_custkey FROM {orders} JOIN {customer} ON c_custkey = o_custkey
WHERE substring(c_phone FROM 1 FOR 2) IN ('13', '31', '23', '29', '30', '18', '17')
AND c_acctbal > (SELECT avg(c_acctbal) FROM {customer} WHERE c_acctbal > 0.00
AND substring(c_phone FROM 1 FOR 2) IN ('13', '31', '23', '29', '30', '18', '17'));
