// Trino's Go client against a running city. Each check prints one line of JSON; see tests/clients/programs.py.
// Environment: DSN (as the page shows it), TYPES, TLS (https DSN with TOKEN for lin), WRONG (the same with a wrong
// password), QUESTION and ANSWER (files: the SQL; rows, one a line, fields parted by tabs).
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/trinodb/trino-go-client/trino"
)

var failed int

func check(name string, body func() error) {
	said := map[string]any{"check": name, "ok": true}
	if problem := body(); problem != nil {
		failed++
		said["ok"], said["detail"] = false, problem.Error()
	}
	line, _ := json.Marshal(said)
	// Go sorts keys; the reader wants the line to begin with the check.
	fmt.Printf("{\"check\": %s, %s\n", quoted(name), strings.Replace(string(line[1:]), fmt.Sprintf("\"check\":%s,", quoted(name)), "", 1))
}

func quoted(text string) string {
	line, _ := json.Marshal(text)
	return string(line)
}

func differ(expected, found any) error {
	if fmt.Sprint(expected) != fmt.Sprint(found) {
		return fmt.Errorf("expected %v, found %v", expected, found)
	}
	return nil
}

func texts(rows *sql.Rows, problem error) (string, error) {
	if problem != nil {
		return "", problem
	}
	defer rows.Close()
	columns, problem := rows.Columns()
	if problem != nil {
		return "", problem
	}
	var lines []string
	for rows.Next() {
		values, places := make([]any, len(columns)), make([]any, len(columns))
		for at := range values {
			places[at] = &values[at]
		}
		if problem := rows.Scan(places...); problem != nil {
			return "", problem
		}
		var fields []string
		for _, value := range values {
			fields = append(fields, fmt.Sprint(value))
		}
		lines = append(lines, strings.Join(fields, "\t"))
	}
	return strings.Join(lines, "\n"), rows.Err()
}

func read(variable string) string {
	found, problem := os.ReadFile(os.Getenv(variable))
	if problem != nil {
		panic(problem)
	}
	return strings.TrimSpace(string(found))
}

func open(dsn string) *sql.DB {
	city, problem := sql.Open("trino", dsn)
	if problem != nil {
		panic(problem)
	}
	return city
}

func main() {
	dsn := os.Getenv("DSN")
	city := open(dsn)
	defer city.Close()

	check("flagship answer", func() error {
		found, problem := texts(city.Query(read("QUESTION")))
		return errors.Join(problem, differ(read("ANSWER"), found))
	})
	check("ping and listings", func() error {
		if problem := city.Ping(); problem != nil {
			return problem
		}
		found, problem := texts(city.Query("SHOW TABLES"))
		return errors.Join(problem, differ("company\ncompany_code", found))
	})
	check("types of columns", func() error {
		rows, problem := city.Query("SELECT company, count(*) AS n, DECIMAL '1.50' AS d FROM company GROUP BY company LIMIT 1")
		if problem != nil {
			return problem
		}
		defer rows.Close()
		types, problem := rows.ColumnTypes()
		if problem != nil {
			return problem
		}
		precision, scale, _ := types[2].DecimalSize()
		return errors.Join(
			differ("company n d", types[0].Name()+" "+types[1].Name()+" "+types[2].Name()),
			differ("VARCHAR BIGINT DECIMAL", types[0].DatabaseTypeName()+" "+types[1].DatabaseTypeName()+" "+types[2].DatabaseTypeName()),
			differ("3 2", fmt.Sprint(precision, " ", scale)),
		)
	})
	check("values of the city", func() error {
		var yes bool
		var whole int64
		var part float64
		var exact, text string
		var day, moment time.Time
		var nothing sql.NullString
		problem := city.QueryRow("SELECT true, 9007199254740993, 2.5e0, DECIMAL '12345678901234567890.12', 'it''s 水', DATE '2024-02-29',"+
			" TIMESTAMP '2024-01-02 03:04:05.123456', CAST(NULL AS varchar)").Scan(&yes, &whole, &part, &exact, &text, &day, &moment, &nothing)
		if problem != nil {
			return problem
		}
		return errors.Join(differ(true, yes), differ(int64(9007199254740993), whole), differ(2.5, part),
			differ("12345678901234567890.12", exact), differ("it's 水", text), differ("2024-02-29", day.Format("2006-01-02")),
			differ("2024-01-02 03:04:05.123456", moment.Format("2006-01-02 15:04:05.000000")), differ(false, nothing.Valid))
	})
	check("every type is decoded", func() error {
		server := open(os.Getenv("TYPES"))
		defer server.Close()
		rows, problem := server.Query("SELECT every_type")
		if problem != nil {
			return problem
		}
		defer rows.Close()
		types, _ := rows.ColumnTypes()
		values, places := make([]any, len(types)), make([]any, len(types))
		for at := range values {
			places[at] = &values[at]
		}
		if !rows.Next() {
			return fmt.Errorf("no row: %v", rows.Err())
		}
		if problem := rows.Scan(places...); problem != nil {
			return problem
		}
		byType := map[string]any{}
		for at, kind := range types {
			byType[kind.DatabaseTypeName()] = values[at]
		}
		if problem := errors.Join(differ(true, byType["BOOLEAN"]), differ(9007199254740993, byType["BIGINT"]), differ(1e100, byType["DOUBLE"]),
			differ("é  ", byType["CHAR"]), differ("[0 255]", byType["VARBINARY"]), differ("{\"a\":[1,2.5],\"b\":1}", byType["JSON"]),
			differ("10.0.0.1", byType["IPADDRESS"]), differ("map[k:1.0]", byType["MAP(VARCHAR, DOUBLE)"])); problem != nil {
			return problem
		}
		if !rows.Next() {
			return fmt.Errorf("no second row: %v", rows.Err())
		}
		if problem := rows.Scan(places...); problem != nil {
			return problem
		}
		for at := range values {
			if values[at] != nil {
				return fmt.Errorf("column %d: %v in place of NULL", at, values[at])
			}
		}
		return nil
	})
	check("lists are scanned", func() error {
		var numbers trino.NullSlice[sql.NullInt64]
		problem := city.QueryRow("SELECT ARRAY[1, NULL, 3]").Scan(&numbers)
		return errors.Join(problem, differ("[{1 true} {0 false} {3 true}]", fmt.Sprint(numbers.Slice)))
	})
	check("parameters, prepared by header alone", func() error { return parameters(city) })
	check("parameters, in one statement", func() error {
		other := open(dsn + "&explicitPrepare=false")
		defer other.Close()
		return parameters(other)
	})
	check("a prepared statement is used again", func() error {
		asked, problem := city.Prepare("SELECT count(*) FROM company WHERE status = ?")
		if problem != nil {
			return problem
		}
		defer asked.Close()
		var active, none int64
		if problem := errors.Join(asked.QueryRow("active").Scan(&active), asked.QueryRow("none").Scan(&none)); problem != nil {
			return problem
		}
		return errors.Join(differ(true, active > 0), differ(0, none))
	})
	check("a long answer arrives whole", func() error {
		var companies int64
		if problem := city.QueryRow("SELECT count(*) FROM company").Scan(&companies); problem != nil {
			return problem
		}
		rows, problem := city.Query("SELECT a.company, b.company FROM company a CROSS JOIN company b")
		if problem != nil {
			return problem
		}
		defer rows.Close()
		var n int64
		for rows.Next() {
			n++
		}
		return errors.Join(rows.Err(), differ(companies*companies, n))
	})
	check("a long answer arrives whole, not encoded", func() error {
		other := open(dsn + "&disableQueryDataEncoding=true")
		defer other.Close()
		found, problem := texts(other.Query("SELECT company FROM company ORDER BY 1"))
		same, again := texts(city.Query("SELECT company FROM company ORDER BY 1"))
		return errors.Join(problem, again, differ(same, found))
	})
	check("a cancelled context cancels the statement", func() error {
		// This client forgets to tell the server when its own workers end before it closes the rows: not every time.
		for attempt := 0; attempt < 6; attempt++ {
			state, problem := cancelled(city)
			if problem != nil || state == "FAILED" {
				return problem
			}
		}
		return errors.New("six statements went on after their contexts were cancelled")
	})
	check("an error has its name", func() error {
		_, problem := texts(city.Query("SELECT nope FROM company"))
		if problem == nil {
			return errors.New("no error was raised")
		}
		var failure *trino.ErrQueryFailed
		if !errors.As(problem, &failure) {
			return fmt.Errorf("another error: %T %v", problem, problem)
		}
		return differ(true, strings.Contains(problem.Error(), "Column 'nope' cannot be resolved"))
	})
	check("writing is refused with a clear message", func() error {
		_, problem := city.Exec("CREATE TABLE scratch AS SELECT 1 AS one")
		return differ(true, problem != nil && strings.Contains(problem.Error(), "atoll only reads"))
	})
	check("a purpose is a property of the session", func() error {
		other := open(strings.Replace(dsn, "lin@", "mei@", 1) + "&session_properties=purpose%3Ainspection")
		defer other.Close()
		var rows int64
		problem := other.QueryRow("SELECT count(*) FROM environment.main.discharge").Scan(&rows)
		return errors.Join(problem, differ(true, rows > 0))
	})
	check("a token is a password over TLS", func() error {
		secure := open(os.Getenv("TLS"))
		defer secure.Close()
		var user string
		problem := secure.QueryRow("SELECT current_user").Scan(&user)
		return errors.Join(problem, differ("lin", user))
	})
	check("a wrong password is refused", func() error {
		wrong := open(os.Getenv("WRONG"))
		defer wrong.Close()
		problem := wrong.QueryRow("SELECT 1").Scan(new(int64))
		return differ(true, problem != nil && strings.Contains(problem.Error(), "401"))
	})
	if failed > 0 {
		os.Exit(1)
	}
}

// What the gateway says of a statement whose context was cancelled in the middle of its rows, after five seconds at most.
func cancelled(city *sql.DB) (string, error) {
	context, cancel := context.WithCancel(context.Background())
	defer cancel()
	mark := fmt.Sprintf("mark%d", time.Now().UnixNano())
	rows, problem := city.QueryContext(context, "SELECT '"+mark+"', a.company FROM company a CROSS JOIN company b CROSS JOIN company c")
	if problem != nil {
		return "", problem
	}
	defer rows.Close()
	rows.Next()
	cancel()
	for rows.Next() {
	}
	if rows.Err() == nil {
		return "", errors.New("it ended without an error")
	}
	state := ""
	for deadline := time.Now().Add(5 * time.Second); state != "FAILED" && time.Now().Before(deadline); {
		asked := city.QueryRow("SELECT state FROM system.runtime.queries WHERE query LIKE '%" + mark + "%' AND query NOT LIKE '%runtime%'")
		if problem := asked.Scan(&state); problem != nil {
			return "", problem
		}
	}
	return state, nil
}

func parameters(city *sql.DB) error {
	var whole int64
	var text, exact, day, moment string
	var yes bool
	var nothing sql.NullString
	problem := city.QueryRow("SELECT ?, ?, ?, CAST(? AS varchar), CAST(? AS varchar), CAST(? AS varchar), CAST(? AS varchar)",
		int64(9007199254740993), "it's ? -- 水", true, trino.Numeric("1.10"), trino.Date(2024, 2, 29),
		trino.Timestamp(2024, 1, 2, 3, 4, 5, 678000000), nil).Scan(&whole, &text, &yes, &exact, &day, &moment, &nothing)
	if problem != nil {
		return problem
	}
	return errors.Join(differ(int64(9007199254740993), whole), differ("it's ? -- 水", text), differ(true, yes), differ("1.10", exact),
		differ("2024-02-29", day), differ("2024-01-02 03:04:05.678", moment), differ(false, nothing.Valid))
}
