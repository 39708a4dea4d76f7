-- What Superset asks beside SQLAlchemy. Each statement ends with `;` at the end of a line; `-- rows: N` says how many it answers.

-- rows: 1
SHOW CREATE TABLE water.main.company_month;

-- rows: 1
SHOW FUNCTIONS LIKE 'ab%';

-- rows: 1
EXPLAIN SELECT * FROM tax.main.firm;
