-- ibis. Each statement ends with `;` at the end of a line; `-- rows: N` says how many it answers.

-- rows: 3
SHOW CATALOGS;

-- rows: 2
SHOW SCHEMAS FROM tax;

-- rows: 2
SHOW TABLES IN tax.main;

-- rows: 1
SELECT VERSION();

-- rows: 1
SELECT current_schema;

-- rows: 2
SELECT column_name, data_type, is_nullable = 'YES' AS nullable FROM "water".information_schema.columns WHERE table_schema = 'main' AND table_name = 'big' ORDER BY ordinal_position;
