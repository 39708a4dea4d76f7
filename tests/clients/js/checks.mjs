// trino-client against a running city. Each check prints one line of JSON; see tests/clients/programs.py.
// Environment: SERVER, USER_NAME, TYPES (a server that answers SELECT every_type), TLS, CERTIFICATE, TOKEN,
// QUESTION and ANSWER (JSON files: the SQL, the rows).

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { BasicAuth, Trino } from "trino-client";

const { SERVER, TYPES, TLS, CERTIFICATE, TOKEN, QUESTION, ANSWER } = process.env;
let failed = 0;

async function check(name, body) {
  try {
    await body();
    console.log(JSON.stringify({ check: name, ok: true }));
  } catch (problem) {
    failed += 1;
    console.log(JSON.stringify({ check: name, ok: false, detail: String(problem.stack ?? problem).slice(0, 1500) }));
  }
}

function connect(options = {}) {
  return Trino.create({ server: SERVER, catalog: "city", schema: "org", auth: new BasicAuth("lin"), ...options });
}

/** All of an answer: columns, rows, the last page. Throws a statement's error. */
async function ask(client, query) {
  const found = { columns: [], rows: [], last: null };
  for await (const page of await client.query(query)) {
    if (page.error) throw Object.assign(new Error(page.error.message), { info: page.error });
    if (page.columns) found.columns = page.columns;
    found.rows.push(...(page.data ?? []));
    found.last = page;
  }
  return found;
}

const error = (client, query) => ask(client, query).then(
  () => assert.fail("no error was raised"),
  (raised) => raised.info ?? raised,
);

await check("flagship answer", async () => {
  const expected = JSON.parse(readFileSync(ANSWER, "utf8"));
  const found = await ask(connect(), readFileSync(QUESTION, "utf8"));
  assert.deepEqual(found.rows, expected);
  assert.equal(found.last.stats.state, "FINISHED");
});

await check("values of every type, with three digits of a second", async () => {
  const found = await ask(connect({ server: TYPES }), "SELECT every_type");
  const byType = Object.fromEntries(found.columns.map((c, at) => [`${at} ${c.type}`, found.rows[0][at]]));
  const value = (type) => Object.entries(byType).find(([key]) => key.slice(key.indexOf(" ") + 1) === type)[1];
  assert.equal(value("boolean"), true);
  assert.equal(value("integer"), -2147483648);
  assert.equal(value("double"), 1e100);
  assert.equal(value("decimal(22, 2)"), "12345678901234567890.12");
  assert.equal(value("varchar"), "it's \"é\" 水");
  assert.equal(value("char(3)"), "é  ");
  assert.equal(value("varbinary"), "AP8=");
  assert.equal(value("date"), "2024-02-29");
  assert.equal(value("timestamp with time zone"), "2024-01-02 03:04:05.123 UTC");
  assert.deepEqual(found.columns.filter((c) => c.type.startsWith("timestamp(")), []);
  assert.equal(value("json"), "{\"a\":[1,2.5],\"b\":1}");
  assert.deepEqual(value("array(integer)"), [1, null]);
  assert.deepEqual(value("map(varchar, double)"), { k: 1 });
  assert.deepEqual(value("row(a integer, b varchar)"), [1, "x"]);
  assert.deepEqual(found.rows[1], found.columns.map(() => null));
});

await check("columns of a page have names and types", async () => {
  const found = await ask(connect(), "SELECT company AS Name, count(*) FROM company GROUP BY company LIMIT 1");
  assert.deepEqual(found.columns.map((c) => [c.name, c.type]), [["Name", "varchar"], ["_col1", "bigint"]]);
});

await check("a long answer arrives whole", async () => {
  const [[companies]] = (await ask(connect(), "SELECT count(*) FROM company")).rows;
  const found = await ask(connect(), "SELECT a.company, b.company FROM company a CROSS JOIN company b");
  assert.equal(found.rows.length, companies ** 2);
});

await check("the session changes with USE and SET SESSION", async () => {
  const client = connect();
  await ask(client, "USE city.env");
  assert.ok((await ask(client, "SHOW TABLES")).rows.flat().includes("discharge"));
  await ask(client, "SET SESSION allow_partial = true");
  const row = (await ask(client, "SHOW SESSION")).rows.find(([name]) => name === "allow_partial");
  assert.equal(row[1], "true");
});

await check("listings", async () => {
  assert.deepEqual((await ask(connect(), "SHOW TABLES FROM city.org")).rows, [["company"], ["company_code"]]);
  assert.equal((await ask(connect(), "DESCRIBE company")).rows.length, 8);
});

await check("an error has its name and place", async () => {
  const found = await error(connect(), "SELECT nope FROM company");
  assert.equal(found.errorName, "COLUMN_NOT_FOUND");
  assert.deepEqual(found.errorLocation, { lineNumber: 1, columnNumber: 8 });
  assert.equal((await error(connect(), "DROP TABLE company")).errorName, "NOT_SUPPORTED");
});

await check("a statement is described while it runs and cancelled", async () => {
  const client = connect();
  const pages = await client.query("SELECT a.company FROM company a CROSS JOIN company b CROSS JOIN company c");
  const first = await pages.next();
  const info = await client.queryInfo(first.value.id);
  assert.equal(info.queryId, first.value.id);
  assert.ok(info.query.startsWith("SELECT a.company"));
  await client.cancel(first.value.id);
  const after = await client.queryInfo(first.value.id);
  assert.equal(after.state, "FAILED");
  assert.equal(after.errorCode.name, "USER_CANCELED");
});

await check("a purpose is a property of the session", async () => {
  const mei = { auth: new BasicAuth("mei"), session: { purpose: "inspection" } };
  const [[rows]] = (await ask(connect(mei), "SELECT count(*) FROM environment.main.discharge")).rows;
  assert.ok(rows > 0);
});

await check("a token is a password over TLS", async () => {
  const ssl = { ca: readFileSync(CERTIFICATE) };
  const client = connect({ server: TLS, auth: new BasicAuth("lin", TOKEN), ssl });
  assert.deepEqual((await ask(client, "SELECT current_user")).rows, [["lin"]]);
});

await check("a wrong password is refused", async () => {
  const ssl = { ca: readFileSync(CERTIFICATE) };
  const found = await error(connect({ server: TLS, auth: new BasicAuth("lin", "wrong"), ssl }), "SELECT 1");
  assert.match(String(found.message), /401/);
});

process.exit(failed === 0 ? 0 : 1);
