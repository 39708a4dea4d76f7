-- The SQLAlchemy dialect: Superset, pandas. Each statement ends with `;` at the end of a line; `-- rows: N` says how many it answers.

-- rows: 3
SELECT catalog_name FROM "system"."metadata"."catalogs";

-- rows: 3
SELECT "table_cat" FROM "system"."jdbc"."catalogs";

-- rows: 2
SELECT "schema_name"
FROM "information_schema"."schemata";

-- rows: 4
SELECT "table_name"
FROM "information_schema"."tables"
WHERE "table_schema" = 'main' AND "table_type" = 'BASE TABLE';

-- rows: 4
SELECT "column_name", "data_type", "column_default", UPPER("is_nullable") AS "is_nullable"
FROM "information_schema"."columns"
WHERE "table_schema" = 'main' AND "table_name" = 'company_month'
ORDER BY "ordinal_position" ASC;

-- rows: 0
SELECT "view_definition" FROM "information_schema"."views" WHERE "table_schema" = 'main' AND "table_name" = 'x';

-- rows: 1
SELECT "comment" FROM "system"."metadata"."table_comments" WHERE "catalog_name" = 'water' AND "schema_name" = 'main' AND "table_name" = 'company_month';
