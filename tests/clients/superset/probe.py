"""Superset's own database layer against a running city. Each check prints one line of JSON (tests/clients/programs.py).

Runs in an environment of its own, which has apache-superset. Arguments: the SQLAlchemy URI that the page shows, and one
with another user. What Superset's server does for the pages *Connect a database* and *SQL Lab* is called here directly.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

URI, FLAGSHIP, ANSWER = sys.argv[1:4]
failed = 0


def check(name: str, body: Callable[[], None]) -> None:
    global failed
    said: dict[str, Any] = {"check": name, "ok": True}
    try:
        body()
    except Exception:  # noqa: BLE001 - a check that fails is told and the next one made
        failed += 1
        said |= {"ok": False, "detail": traceback.format_exc()[-1500:]}
    print(json.dumps(said), flush=True)


def application() -> Any:
    folder = tempfile.mkdtemp(prefix="superset-")
    config = os.path.join(folder, "superset_config.py")
    with open(config, "w", encoding="utf-8") as file:
        file.write("SECRET_KEY = 'only for this check of a client, kept nowhere'\n")
        file.write(f"SQLALCHEMY_DATABASE_URI = 'sqlite:///{folder}/superset.db'\n")
        for cache in ("CACHE", "DATA_CACHE", "FILTER_STATE_CACHE", "EXPLORE_FORM_DATA_CACHE"):
            file.write(f"{cache}_CONFIG = {{'CACHE_TYPE': 'SimpleCache'}}\n")
    os.environ["SUPERSET_CONFIG_PATH"] = config
    from superset.app import create_app

    return create_app()


app = application()
with app.app_context():
    from flask_appbuilder import Model
    from superset import db
    from superset.db_engine_specs.trino import TrinoEngineSpec
    from superset.models.core import Database
    from superset.sql.parse import SQLScript, Table

    Model.metadata.create_all(db.engine)
    database = Database(database_name="city", sqlalchemy_uri=URI)
    db.session.add(database)
    db.session.commit()

    def the_connection() -> None:
        assert database.db_engine_spec is TrinoEngineSpec
        with database.get_sqla_engine() as engine, engine.connect() as connection:
            assert engine.dialect.do_ping(connection.connection)

    def the_lists() -> None:
        assert {"city", "market", "water"} <= set(database.get_all_catalog_names())
        assert database.get_default_catalog() == "city"
        schemas = database.get_all_schema_names(catalog="city")
        assert {"org", "env"} <= set(schemas), schemas
        tables = {name for name, *_ in database.get_all_table_names_in_schema("city", "org")}
        assert tables == {"company", "company_code"}, tables
        assert not set(database.get_all_view_names_in_schema("city", "org"))

    def the_columns() -> None:
        table = Table("company", "org", "city")
        columns = {c["column_name"]: c for c in database.get_columns(table)}
        assert str(columns["registered_on"]["type"]).upper() == "DATE", columns["registered_on"]
        assert len(columns) == 8
        assert not database.get_indexes(table)
        assert not database.get_pk_constraint(table).get("constrained_columns")
        assert "newest valid code" in (database.get_table_comment(table) or "")

    def the_metadata() -> None:
        TrinoEngineSpec.get_extra_table_metadata(database, Table("company", "org", "city"))
        assert "company" in (database.get_df("SHOW CREATE TABLE city.org.company").iloc[0, 0])

    def the_preview() -> None:
        sql = database.select_star(Table("company", "org", "city"), limit=10, show_cols=True)
        assert len(database.get_df(sql, catalog="city", schema="org")) == 10

    def the_answer() -> None:
        with open(FLAGSHIP, encoding="utf-8") as file:
            frame = database.get_df(file.read(), catalog="city", schema="org")
        with open(ANSWER, encoding="utf-8") as file:
            assert frame.values.tolist() == json.load(file)

    def the_chart() -> None:
        sql = (
            'SELECT DATE_TRUNC(\'year\', CAST("registered_on" AS TIMESTAMP)) AS "year", COUNT(*) AS "count" '
            'FROM "city"."org"."company" WHERE "registered_on" >= DATE \'1900-01-01\' '
            'GROUP BY DATE_TRUNC(\'year\', CAST("registered_on" AS TIMESTAMP)) ORDER BY "count" DESC LIMIT 10000'
        )
        assert database.get_df(sql)["count"].sum() > 0
        for grain in ("P1D", "P1W", "P1M", "P3M", "P1Y"):
            expression = TrinoEngineSpec.get_time_grain_expressions()[grain].format(col='"registered_on"')
            assert len(database.get_df(f"SELECT {expression} AS t, count(*) AS n FROM city.org.company GROUP BY 1")), (
                grain
            )

    def the_estimate() -> None:
        (cost,) = TrinoEngineSpec.estimate_query_cost(
            database, "city", "org", "SELECT district_code, count(*) FROM company GROUP BY 1"
        )
        assert isinstance(cost, dict)
        TrinoEngineSpec.query_cost_formatter([cost])

    def the_functions() -> None:
        assert {"count", "sum", "date_trunc"} <= set(TrinoEngineSpec.get_function_names(database))

    def the_cancel() -> None:
        with database.get_raw_connection() as connection:
            cursor = connection.cursor()
            cursor.execute(
                "SELECT a.company FROM city.org.company a CROSS JOIN city.org.company b CROSS JOIN city.org.company c"
            )
            cursor.fetchone()
            with database.get_raw_connection() as other:
                assert TrinoEngineSpec.cancel_query(other.cursor(), None, cursor.query_id)
            assert "ADMINISTRATIVELY_KILLED" in str(_error(cursor.fetchall))

    def the_refusal() -> None:
        refused = _error(lambda: database.get_df("CREATE TABLE city.org.scratch AS SELECT 1 AS one"))
        assert "atoll only reads" in TrinoEngineSpec.extract_error_message(refused), refused
        (error,) = TrinoEngineSpec.extract_errors(_error(lambda: database.get_df("SELECT nope FROM city.org.company")))
        assert "Column 'nope' cannot be resolved" in error.message, error

    def _error(body: Callable[[], Any]) -> Exception:
        try:
            body()
        except Exception as raised:  # noqa: BLE001 - what the page would show
            return raised
        raise AssertionError("no error was raised")

    def the_script() -> None:
        script = SQLScript("SELECT company FROM city.org.company LIMIT 5", "trino")
        (statement,) = script.statements
        assert not statement.is_mutating()
        assert len(database.get_df(statement.format())) == 5

    check("the page's address connects", the_connection)
    check("catalogs, schemas and tables are listed", the_lists)
    check("columns with types, keys and comments", the_columns)
    check("what the table panel asks", the_metadata)
    check("the preview of a table", the_preview)
    check("the flagship answer", the_answer)
    check("a chart over time, by every grain", the_chart)
    check("the cost estimate", the_estimate)
    check("names of functions for completion", the_functions)
    check("a statement of SQL Lab", the_script)
    check("stop", the_cancel)
    check("errors as Superset knows them", the_refusal)

sys.exit(1 if failed else 0)
