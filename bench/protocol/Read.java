import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.sql.DriverManager;

/** Reads answers with Trino's JDBC driver: a line `URL TAB SQL` in, the seconds until the last value was read out. */
public final class Read {
    public static void main(String[] arguments) throws Exception {
        var orders = new BufferedReader(new InputStreamReader(System.in));
        for (var line = orders.readLine(); line != null; line = orders.readLine()) {
            var order = line.split("\t", 2);
            var started = System.nanoTime();
            long rows = 0;
            try (var city = DriverManager.getConnection(order[0]);
                    var statement = city.createStatement();
                    var found = statement.executeQuery(order[1])) {
                int width = found.getMetaData().getColumnCount();
                while (found.next()) {
                    for (int at = 1; at <= width; at++) {
                        found.getObject(at);
                    }
                    rows++;
                }
            }
            System.out.println((System.nanoTime() - started) / 1e9 + " " + rows);
        }
        System.exit(0); // the driver's own threads would go on
    }
}
