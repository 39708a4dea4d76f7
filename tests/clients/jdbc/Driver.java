import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Time;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;

/**
 * Trino's JDBC driver against a running city. Each check prints one line of JSON; see tests/clients/programs.py.
 *
 * <p>Arguments: `smoke` or `all`. Environment: URL (as the page shows it), TYPES (a server that answers SELECT every_type), TLS
 * (an https address as jdbc URL without password), CERTIFICATE, TOKEN (of lin), QUESTION, ANSWER (files: SQL; rows, one a line,
 * fields parted by tabs).
 */
public final class Driver {
    private interface Body {
        void run() throws Exception;
    }

    private static final String URL = System.getenv("URL");
    private static int failed;

    public static void main(String[] arguments) throws Exception {
        smoke();
        if (arguments[0].equals("all")) {
            metadata();
            values();
            parameters();
            statements();
            login();
            tools();
        }
        System.exit(failed == 0 ? 0 : 1);
    }

    // -- what makes `make test` too --------------------------------------------------------------------

    private static void smoke() {
        check("flagship answer", () -> {
            var expected = read("ANSWER").strip();
            try (var city = connect(); var rows = city.createStatement().executeQuery(read("QUESTION"))) {
                equal(expected, text(rows));
            }
        });
        check("catalogs, schemas and tables", () -> {
            try (var city = connect()) {
                var data = city.getMetaData();
                var catalogs = column(data.getCatalogs(), "TABLE_CAT");
                equal(List.of("chemicals", "city", "environment", "health", "housing", "market", "system", "water"), catalogs);
                equal(true, column(data.getSchemas("city", null), "TABLE_SCHEM").containsAll(List.of("org", "env")));
                equal(List.of("company", "company_code"), column(data.getTables("city", "org", "%", null), "TABLE_NAME"));
            }
        });
        check("columns with their types", () -> {
            try (var city = connect(); var columns = city.getMetaData().getColumns("city", "org", "company", "%")) {
                var found = new TreeMap<String, String>();
                while (columns.next()) {
                    found.put(columns.getString("COLUMN_NAME"), columns.getInt("DATA_TYPE") + " " + columns.getString("TYPE_NAME"));
                }
                equal("12 varchar", found.get("company"));
                equal("91 date", found.get("registered_on"));
                equal(8, found.size());
            }
        });
        check("a parameter filters", () -> {
            try (var city = connect(); var asked = city.prepareStatement("SELECT count(*) FROM company WHERE district_code = ?")) {
                asked.setString(1, "449901");
                var some = number(asked.executeQuery());
                asked.setString(1, "none");
                equal(true, some > 0);
                equal(0L, number(asked.executeQuery()));
            }
        });
        check("an error has its code", () -> {
            try (var city = connect(); var statement = city.createStatement()) {
                var error = raised(() -> statement.executeQuery("SELECT nope FROM company"));
                equal(47, error.getErrorCode());
                equal(true, error.getMessage().matches("(?s)Query failed \\(#\\w+\\): line 1:8: Column 'nope' cannot be resolved.*"));
            }
        });
    }

    // -- DatabaseMetaData ------------------------------------------------------------------------------

    private static void metadata() {
        check("product and driver", () -> {
            try (var city = connect()) {
                var data = city.getMetaData();
                equal("Trino", data.getDatabaseProductName());
                equal("476", data.getDatabaseProductVersion());
                equal("476", data.getDriverVersion());
                equal("lin", data.getUserName());
                equal("\"", data.getIdentifierQuoteString());
                equal(false, city.isReadOnly());
                equal(true, city.isValid(10));
                equal("city", city.getCatalog());
                equal("org", city.getSchema());
            }
        });
        check("schemas of all catalogs and by pattern", () -> {
            try (var city = connect()) {
                var data = city.getMetaData();
                var all = column(data.getSchemas(), "TABLE_CATALOG");
                equal(true, all.containsAll(List.of("city", "market", "system")));
                equal(List.of("org"), column(data.getSchemas("city", "or%"), "TABLE_SCHEM"));
                equal(List.of("information_schema"), column(data.getSchemas("city", "information\\_schema"), "TABLE_SCHEM"));
                equal(List.of(), column(data.getSchemas("nowhere", "%"), "TABLE_SCHEM"));
            }
        });
        check("tables by type and by pattern", () -> {
            try (var city = connect()) {
                var data = city.getMetaData();
                equal(List.of("company", "company_code"),
                        column(data.getTables("city", "org", null, new String[] {"TABLE", "VIEW"}), "TABLE_NAME"));
                equal(List.of(), column(data.getTables("city", "org", null, new String[] {"VIEW"}), "TABLE_NAME"));
                equal(List.of("company_code"), column(data.getTables("city", "org", "company\\_code", null), "TABLE_NAME"));
                equal(List.of(), column(data.getTables("city", "org", "COMPANY", null), "TABLE_NAME"));
                try (var tables = data.getTables("city", "org", "company", null)) {
                    equal(10, tables.getMetaData().getColumnCount());
                    equal(true, tables.next());
                    equal("TABLE", tables.getString("TABLE_TYPE"));
                    equal(true, tables.getString("REMARKS").contains("newest valid code"));
                }
                equal(List.of("TABLE", "VIEW"), column(data.getTableTypes(), "TABLE_TYPE"));
            }
        });
        check("all 24 facts of a column", () -> {
            try (var city = connect(); var columns = city.getMetaData().getColumns("market", "main", "company", "legal%")) {
                equal(24, columns.getMetaData().getColumnCount());
                equal(true, columns.next());
                equal("market", columns.getString("TABLE_CAT"));
                equal("main", columns.getString("TABLE_SCHEM"));
                equal("company", columns.getString("TABLE_NAME"));
                equal("legal_person_id", columns.getString("COLUMN_NAME"));
                equal(Types.VARCHAR, columns.getInt("DATA_TYPE"));
                equal("varchar(32)", columns.getString("TYPE_NAME"));
                equal(32, columns.getInt("COLUMN_SIZE"));
                equal(DatabaseMetaData.columnNullable, columns.getInt("NULLABLE"));
                equal("YES", columns.getString("IS_NULLABLE"));
                equal(true, columns.getInt("ORDINAL_POSITION") >= 1);
                equal(false, columns.next());
            }
        });
        check("numbers and dates tell their size", () -> {
            try (var city = connect(); var columns = city.getMetaData().getColumns("city", null, null, "grams")) {
                equal(true, columns.next());
                equal(true, columns.getInt("COLUMN_SIZE") > 0);
                equal(10, columns.getInt("NUM_PREC_RADIX"));
            }
        });
        check("the columns of everything", () -> {
            try (var city = connect(); var columns = city.getMetaData().getColumns(null, null, null, null)) {
                var tables = new TreeSet<String>();
                while (columns.next()) {
                    tables.add(columns.getString(1) + "." + columns.getString(2) + "." + columns.getString(3));
                }
                equal(true, tables.containsAll(List.of("city.org.company", "market.main.company", "system.jdbc.columns")));
                equal(false, tables.contains("health.main.admission"));
            }
        });
        check("keys and procedures are empty", () -> {
            try (var city = connect()) {
                var data = city.getMetaData();
                empty(data.getPrimaryKeys("city", "org", "company"));
                empty(data.getImportedKeys("city", "org", "company"));
                empty(data.getProcedures(null, null, null));
                empty(data.getProcedureColumns(null, null, null, null));
                empty(data.getUDTs(null, null, null, null));
                empty(data.getSuperTables(null, null, null));
                empty(data.getSuperTypes(null, null, null));
                empty(data.getAttributes(null, null, null, null));
                empty(data.getPseudoColumns(null, null, null, null));
            }
        });
        check("types and client properties", () -> {
            try (var city = connect()) {
                try (var types = city.getMetaData().getTypeInfo()) {
                    equal(18, types.getMetaData().getColumnCount());
                    text(types);
                }
                text(city.getMetaData().getClientInfoProperties());
            }
        });
    }

    // -- values ----------------------------------------------------------------------------------------

    private static void values() {
        check("every type as text, as object and as its own", () -> everyType(System.getenv("TYPES")));
        check("every type, encoded json", () -> everyType(System.getenv("TYPES") + "&encoding=json"));
        check("every type, encoded json+lz4", () -> everyType(System.getenv("TYPES") + "&encoding=json%2Blz4"));
        check("every type, encoded json+zstd", () -> everyType(System.getenv("TYPES") + "&encoding=json%2Bzstd"));
        check("NULL of every type", () -> {
            try (var server = DriverManager.getConnection(System.getenv("TYPES"));
                    var rows = server.createStatement().executeQuery("SELECT every_type")) {
                rows.next();
                rows.next();
                for (int at = 1; at <= rows.getMetaData().getColumnCount(); at++) {
                    equal(null, rows.getObject(at));
                    equal(true, rows.wasNull());
                    equal(null, rows.getString(at));
                }
            }
        });
        check("what the city itself makes", () -> {
            try (var city = connect(); var rows = city.createStatement().executeQuery(
                    "SELECT 1 AS Foo, DECIMAL '1.50', 1.5e0, true, 'x', DATE '2024-02-29', TIMESTAMP '2024-01-02 03:04:05.678',"
                    + " TIME '01:02:03.456', TIMESTAMP '2024-01-02 03:04:05.678 UTC', ARRAY[1, NULL], X'00ff', NULL")) {
                var data = rows.getMetaData();
                equal("Foo", data.getColumnLabel(1));
                equal("_col1", data.getColumnLabel(2));
                equal(Types.DECIMAL, data.getColumnType(2));
                equal(3, data.getPrecision(2));
                equal(2, data.getScale(2));
                rows.next();
                equal(new BigDecimal("1.50"), rows.getBigDecimal(2));
                equal(Date.valueOf("2024-02-29"), rows.getDate(6));
                equal(Timestamp.valueOf("2024-01-02 03:04:05.678"), rows.getTimestamp(7));
                equal("01:02:03.456", rows.getString(8));
                equal(1704164645678L, rows.getTimestamp(9).getTime());
                equal(List.of("1", "null"), texts((Object[]) rows.getArray(10).getArray()));
                equal(1, rows.getInt("foo"));
            }
        });
    }

    private static void everyType(String url) throws SQLException {
        try (var server = DriverManager.getConnection(url); var rows = server.createStatement().executeQuery("SELECT every_type")) {
            equal(true, rows.next());
            var data = rows.getMetaData();
            var seen = new TreeMap<String, Object>();
            for (int at = 1; at <= data.getColumnCount(); at++) {
                seen.put(data.getColumnTypeName(at), rows.getObject(at));
            }
            equal(true, seen.get("boolean"));
            equal((byte) -128, seen.get("tinyint"));
            equal((short) 32767, seen.get("smallint"));
            equal(-2147483648, seen.get("integer"));
            equal(9007199254740993L, seen.get("bigint"));
            equal(1.1f, seen.get("real"));
            equal(1e100, seen.get("double"));
            equal(new BigDecimal("12345678901234567890.12"), seen.get("decimal(22,2)"));
            equal("it's \"é\" 水", seen.get("varchar"));
            equal("a\tb", seen.get("varchar(5)"));
            equal("é  ", seen.get("char(3)"));
            equal(List.of("0", "-1"), bytes((byte[]) seen.get("varbinary")));
            equal(Date.valueOf("2024-02-29"), seen.get("date"));
            equal("01:02:03", seen.get("time(3)").toString());
            equal(Timestamp.valueOf("2024-01-02 03:04:05"), seen.get("timestamp(0)"));
            equal(Timestamp.valueOf("2024-01-02 03:04:05.123456"), seen.get("timestamp(6)"));
            equal(1704164645123L, ((Timestamp) seen.get("timestamp(3) with time zone")).getTime());
            equal("{\"a\":[1,2.5],\"b\":1}", seen.get("json"));
            equal("12151fd2-7586-11e9-8f9e-2a86e4085a59", seen.get("uuid").toString());
            equal("10.0.0.1", seen.get("ipaddress"));
            equal(Map.of("k", 1.0), seen.get("map(varchar,double)"));
            equal("{a=1, b=x}", seen.get("row(a integer,b varchar)").toString());
            equal(List.of("1", "null"), texts((Object[]) ((java.sql.Array) seen.get("array(integer)")).getArray()));
        }
    }

    // -- parameters ------------------------------------------------------------------------------------

    private static void parameters() {
        check("parameters of every type, prepared", () -> everyParameter(URL + "&explicitPrepare=true"));
        check("parameters of every type, immediate", () -> everyParameter(URL + "&explicitPrepare=false"));
        check("a prepared statement knows its columns and parameters", () -> {
            try (var city = connect(); var asked = city.prepareStatement("SELECT company AS Name, count(*) FROM company WHERE status = ? GROUP BY 1")) {
                var data = asked.getMetaData();
                equal(2, data.getColumnCount());
                equal("Name", data.getColumnLabel(1));
                equal(Types.BIGINT, data.getColumnType(2));
                equal(1, asked.getParameterMetaData().getParameterCount());
            }
        });
        check("a prepared statement is used again", () -> {
            try (var city = connect(); var asked = city.prepareStatement("SELECT count(*) FROM company WHERE status IN (?, ?)")) {
                var counts = new ArrayList<Long>();
                for (var status : List.of("active", "none", "active")) {
                    asked.setString(1, status);
                    asked.setString(2, "x");
                    counts.add(number(asked.executeQuery()));
                }
                equal(counts.get(0), counts.get(2));
                equal(0L, counts.get(1));
                equal(true, counts.get(0) > 0);
            }
        });
    }

    private static void everyParameter(String url) throws Exception {
        try (var city = DriverManager.getConnection(url)) {
            back(city, (p) -> p.setBoolean(1, true), true);
            back(city, (p) -> p.setByte(1, (byte) -7), (byte) -7);
            back(city, (p) -> p.setShort(1, (short) 7), (short) 7);
            back(city, (p) -> p.setInt(1, -7), -7);
            back(city, (p) -> p.setLong(1, 9007199254740993L), 9007199254740993L);
            back(city, (p) -> p.setFloat(1, 1.1f), 1.1f);
            back(city, (p) -> p.setDouble(1, 2.5), 2.5);
            back(city, (p) -> p.setBigDecimal(1, new BigDecimal("1.10")), new BigDecimal("1.10"));
            back(city, (p) -> p.setString(1, "it's ? -- 水"), "it's ? -- 水");
            back(city, (p) -> p.setDate(1, Date.valueOf("2024-02-29")), Date.valueOf("2024-02-29"));
            back(city, (p) -> p.setTime(1, Time.valueOf("01:02:03")), Time.valueOf("01:02:03"));
            back(city, (p) -> p.setTimestamp(1, Timestamp.valueOf("2024-01-02 03:04:05.678")), Timestamp.valueOf("2024-01-02 03:04:05.678"));
            back(city, (p) -> p.setObject(1, java.time.LocalDate.of(2024, 2, 29)), Date.valueOf("2024-02-29"));
            back(city, (p) -> p.setNull(1, Types.VARCHAR), null);
            back(city, (p) -> p.setNull(1, Types.BIGINT), null);
            try (var asked = city.prepareStatement("SELECT ?")) {
                asked.setBytes(1, new byte[] {0, -1});
                try (var rows = asked.executeQuery()) {
                    rows.next();
                    equal(List.of("0", "-1"), bytes(rows.getBytes(1)));
                }
            }
        }
    }

    private interface Setter {
        void set(PreparedStatement asked) throws SQLException;
    }

    private static void back(Connection city, Setter setter, Object expected) throws SQLException {
        try (var asked = city.prepareStatement("SELECT ?")) {
            setter.set(asked);
            try (var rows = asked.executeQuery()) {
                rows.next();
                equal(expected, rows.getObject(1));
            }
        }
    }

    // -- statements ------------------------------------------------------------------------------------

    private static void statements() {
        check("cancel from another thread", () -> {
            try (var city = connect(); var statement = city.createStatement()) {
                var mark = "mark" + System.nanoTime();
                var rows = statement.executeQuery("SELECT '" + mark + "', a.company FROM company a CROSS JOIN company b CROSS JOIN company c");
                rows.next();
                var cancelled = CompletableFuture.runAsync(() -> {
                    try {
                        statement.cancel();
                    } catch (SQLException failure) {
                        throw new IllegalStateException(failure);
                    }
                });
                raised(() -> {
                    while (rows.next()) {
                        cancelled.join();
                    }
                });
                equal(1L, number(connect().createStatement().executeQuery(
                        "SELECT count(*) FROM system.runtime.queries WHERE state = 'FAILED' AND query LIKE '%" + mark + "%'")));
            }
        });
        check("a result closed early is cancelled", () -> {
            try (var city = connect(); var statement = city.createStatement()) {
                var rows = statement.executeQuery("SELECT b.company FROM company a CROSS JOIN company b CROSS JOIN company c");
                rows.next();
                rows.close();
                equal(1L, number(statement.executeQuery("SELECT 1")));
            }
        });
        check("setMaxRows", () -> {
            try (var city = connect(); var statement = city.createStatement()) {
                statement.setMaxRows(3);
                equal(3, column(statement.executeQuery("SELECT company FROM company"), "company").size());
            }
        });
        check("a long answer arrives whole in every encoding", () -> {
            for (var encoding : List.of("", "&encoding=json", "&encoding=json%2Blz4", "&encoding=json%2Bzstd")) {
                try (var city = DriverManager.getConnection(URL + encoding); var statement = city.createStatement()) {
                    var companies = number(statement.executeQuery("SELECT count(*) FROM company"));
                    long rows = 0;
                    try (var found = statement.executeQuery("SELECT a.company, b.company FROM company a CROSS JOIN company b")) {
                        while (found.next()) {
                            rows++;
                        }
                    }
                    equal(companies * companies, rows);
                }
            }
        });
        check("execute tells queries from updates", () -> {
            try (var city = connect(); var statement = city.createStatement()) {
                equal(true, statement.execute("SELECT 1"));
                equal(-1, statement.getUpdateCount());
                equal(false, statement.execute("USE city.env"));
                equal(0, statement.getUpdateCount());
                equal("env", city.getSchema());
                equal(false, statement.execute("SET SESSION allow_partial = true"));
                equal(true, text(statement.executeQuery("SHOW SESSION")).contains("allow_partial\ttrue"));
            }
        });
        check("what limits an answer is a warning", () -> {
            try (var city = connect(); var statement = city.createStatement()) {
                text(statement.executeQuery(read("QUESTION")));
                equal(true, statement.getWarnings() != null);
                equal(true, statement.getWarnings().getMessage().contains("no mapping covers"));
            }
        });
        check("a transaction commits and rolls back", () -> {
            try (var city = connect()) {
                city.setReadOnly(true);
                city.setAutoCommit(false);
                equal(1L, number(city.createStatement().executeQuery("SELECT 1")));
                city.commit();
                equal(2L, number(city.createStatement().executeQuery("SELECT 2")));
                city.rollback();
                city.setAutoCommit(true);
                equal(3L, number(city.createStatement().executeQuery("SELECT 3")));
            }
        });
        check("writing is refused with a clear message", () -> {
            try (var city = connect(); var statement = city.createStatement()) {
                for (var sql : List.of("CREATE TABLE x (a integer)", "INSERT INTO company VALUES (1)", "DROP TABLE company", "DELETE FROM company")) {
                    var error = raised(() -> statement.execute(sql));
                    equal(13, error.getErrorCode());
                    equal(true, error.getMessage().contains("atoll only reads"));
                }
            }
        });
        check("a purpose is named in the address", () -> {
            var other = URL.replace("user=lin", "user=mei");
            try (var city = DriverManager.getConnection(other + "&sessionProperties=purpose:inspection")) {
                equal(true, number(city.createStatement().executeQuery("SELECT count(*) FROM environment.main.discharge")) > 0);
            }
            try (var city = DriverManager.getConnection(other + "&clientTags=purpose%3Ainspection")) {
                equal(true, number(city.createStatement().executeQuery("SELECT count(*) FROM environment.main.discharge")) > 0);
            }
        });
        check("the session's time zone", () -> {
            try (var city = DriverManager.getConnection(URL + "&timezone=Asia/Tokyo")) {
                equal("Asia/Tokyo", text(city.createStatement().executeQuery("SELECT current_timezone()")));
            }
        });
    }

    // -- login -----------------------------------------------------------------------------------------

    private static void login() {
        check("a token is a password over TLS", () -> {
            try (var city = secure("lin", "password", System.getenv("TOKEN"))) {
                equal("lin", text(city.createStatement().executeQuery("SELECT current_user")));
            }
        });
        check("a token is an access token", () -> {
            try (var city = secure(null, "accessToken", System.getenv("TOKEN"))) {
                equal("lin", text(city.createStatement().executeQuery("SELECT current_user")));
            }
        });
        check("a wrong password is said in one line", () -> {
            try (var city = secure("lin", "password", "wrong")) {
                var error = raised(() -> city.createStatement().executeQuery("SELECT 1"));
                equal(true, error.getMessage().startsWith("Authentication failed: "));
                equal(false, error.getMessage().contains("\n"));
            }
        });
        check("nobody acts as somebody else", () -> {
            try (var city = secure("mei", "password", System.getenv("TOKEN"))) {
                raised(() -> city.createStatement().executeQuery("SELECT 1"));
            }
        });
        check("isValid sees a wrong login", () -> {
            var options = properties("lin", "password", "wrong");
            options.setProperty("validateConnection", "true");
            raised(() -> DriverManager.getConnection(System.getenv("TLS"), options));
        });
    }

    private static Properties properties(String user, String kind, String secret) {
        var options = new Properties();
        options.setProperty("SSL", "true");
        options.setProperty("SSLTrustStorePath", System.getenv("CERTIFICATE"));
        options.setProperty(kind, secret);
        if (user != null) {
            options.setProperty("user", user);
        }
        return options;
    }

    private static Connection secure(String user, String kind, String secret) throws SQLException {
        return DriverManager.getConnection(System.getenv("TLS"), properties(user, kind, secret));
    }

    // -- what tools ask through JDBC -------------------------------------------------------------------

    private static void tools() {
        check("DBeaver's navigator", () -> {
            try (var city = connect()) {
                var data = city.getMetaData();
                data.getDatabaseMajorVersion();
                data.supportsTransactions();
                data.getSQLKeywords();
                data.getSearchStringEscape();
                for (var catalog : column(data.getCatalogs(), "TABLE_CAT")) {
                    for (var schema : column(data.getSchemas(catalog, null), "TABLE_SCHEM")) {
                        for (var table : column(data.getTables(catalog, schema, "%", null), "TABLE_NAME")) {
                            if (schema.equals("org")) {
                                equal(true, column(data.getColumns(catalog, schema, table, "%"), "COLUMN_NAME").size() > 0);
                                empty(data.getPrimaryKeys(catalog, schema, table));
                                empty(data.getImportedKeys(catalog, schema, table));
                            }
                        }
                    }
                }
                var sheet = city.createStatement();
                sheet.setMaxRows(200);
                sheet.setFetchSize(200);
                equal(120, lines(text(sheet.executeQuery("SELECT * FROM city.org.company"))));
            }
        });
        check("Metabase's synchronisation", () -> {
            try (var city = connect()) {
                city.setReadOnly(true);
                var statement = city.createStatement();
                equal(true, column(statement.executeQuery("SHOW SCHEMAS FROM \"city\""), "Schema").contains("org"));
                equal(List.of("company", "company_code"), column(statement.executeQuery("SHOW TABLES FROM \"city\".\"org\""), "Table"));
                equal(List.of("company"), column(statement.executeQuery("SHOW TABLES FROM \"org\" LIKE 'company'"), "Table"));
                var described = statement.executeQuery("DESCRIBE \"city\".\"org\".\"company\"");
                equal(List.of("Column", "Type", "Extra", "Comment"), labels(described.getMetaData()));
                equal(8, lines(text(described)));
                equal("time-zone", statement.executeQuery("SELECT current_timezone() as \"time-zone\"").getMetaData().getColumnLabel(1));
                equal(120L, number(statement.executeQuery("SELECT count(*) AS \"count\" FROM \"city\".\"org\".\"company\"")));
                equal(5, lines(text(statement.executeQuery("SELECT \"source\".\"district_code\" AS \"district_code\", COUNT(*) AS \"n\" FROM"
                        + " (SELECT \"city\".\"org\".\"company\".\"district_code\" AS \"district_code\" FROM \"city\".\"org\".\"company\") AS \"source\""
                        + " GROUP BY \"source\".\"district_code\" ORDER BY \"source\".\"district_code\" ASC LIMIT 5"))));
            }
        });
        check("Tableau's and Power BI's statements", () -> {
            try (var city = connect()) {
                var statement = city.createStatement();
                equal(1L, number(statement.executeQuery("SELECT 1")));
                equal(6, lines(text(statement.executeQuery("SELECT \"company\".\"district_code\" AS \"district_code\","
                        + " SUM(1) AS \"sum:Number of Records:ok\" FROM \"city\".\"org\".\"company\" \"company\" GROUP BY 1"))));
                equal(0, lines(text(statement.executeQuery("SELECT * FROM \"city\".\"org\".\"company\" LIMIT 0"))));
                equal(3, lines(text(statement.executeQuery("SELECT * FROM (SELECT * FROM \"city\".\"org\".\"company\") \"Custom SQL Query\" LIMIT 3"))));
                equal(8, labels(statement.executeQuery("SELECT * FROM company WHERE 1 = 0").getMetaData()).size());
            }
        });
    }

    // -- small tools -----------------------------------------------------------------------------------

    private static Connection connect() throws SQLException {
        return DriverManager.getConnection(URL);
    }

    private static void check(String name, Body body) {
        try {
            body.run();
            System.out.println("{\"check\": " + json(name) + ", \"ok\": true}");
        } catch (Exception | AssertionError problem) {
            failed++;
            var place = problem.getStackTrace();
            var line = "";
            for (var frame : place) {
                if (frame.getClassName().equals("Driver") && !frame.getMethodName().equals("equal")) {
                    line = " (line " + frame.getLineNumber() + ")";
                    break;
                }
            }
            System.out.println("{\"check\": " + json(name) + ", \"ok\": false, \"detail\": " + json(problem + line) + "}");
        }
    }

    private static String json(String text) {
        return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r") + "\"";
    }

    private static void equal(Object expected, Object found) {
        if (!Objects.equals(expected, found)) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }

    private static SQLException raised(Body body) throws Exception {
        try {
            body.run();
        } catch (SQLException error) {
            return error;
        }
        throw new AssertionError("no error was raised");
    }

    private static void empty(ResultSet rows) throws SQLException {
        equal("", text(rows));
    }

    private static List<String> column(ResultSet rows, String label) throws SQLException {
        var found = new ArrayList<String>();
        try (rows) {
            while (rows.next()) {
                found.add(rows.getString(label));
            }
        }
        return found;
    }

    private static List<String> labels(ResultSetMetaData data) throws SQLException {
        var found = new ArrayList<String>();
        for (int at = 1; at <= data.getColumnCount(); at++) {
            found.add(data.getColumnLabel(at));
        }
        return found;
    }

    private static long number(ResultSet rows) throws SQLException {
        try (rows) {
            equal(true, rows.next());
            long found = rows.getLong(1);
            equal(false, rows.next()); // to the end: a result that is closed before is cancelled
            return found;
        }
    }

    private static String text(ResultSet rows) throws SQLException {
        var lines = new ArrayList<String>();
        try (rows) {
            int width = rows.getMetaData().getColumnCount();
            while (rows.next()) {
                var fields = new ArrayList<String>();
                for (int at = 1; at <= width; at++) {
                    fields.add(rows.getString(at));
                }
                lines.add(String.join("\t", fields.stream().map(String::valueOf).toList()));
            }
        }
        return String.join("\n", lines);
    }

    private static int lines(String text) {
        return text.isEmpty() ? 0 : text.split("\n").length;
    }

    private static List<String> texts(Object[] values) {
        var found = new ArrayList<String>();
        for (var value : values) {
            found.add(String.valueOf(value));
        }
        return found;
    }

    private static List<String> bytes(byte[] values) {
        var found = new ArrayList<String>();
        for (var value : values) {
            found.add(String.valueOf(value));
        }
        return found;
    }

    private static String read(String variable) throws Exception {
        return java.nio.file.Files.readString(java.nio.file.Path.of(System.getenv(variable)));
    }
}
