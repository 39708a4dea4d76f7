-- Metabase with the Starburst driver. Each statement ends with `;` at the end of a line; `-- rows: N` says how many it answers.

-- rows: 2
SHOW SCHEMAS FROM "water";

-- rows: 4
SHOW TABLES FROM "water"."main";

-- rows: 1
SHOW TABLES FROM "main" LIKE 'big';

-- rows: 4
DESCRIBE "water"."main"."company_month";

-- rows: 1
SELECT current_timezone() as "time-zone";
