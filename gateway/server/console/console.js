// The page: who asks, departments, example questions, one statement, its answer. It is a client of
// /api like any other and knows nothing that the asking user may not know. Text from elsewhere enters
// the page as text, never as markup.
"use strict";

const SHOWN_ROWS = 500;
const $ = id => document.getElementById(id);
const state = { language: "en", byName: false, purposes: [], questions: [], running: null, last: null };

// ------------------------------------------------------------------ words and elements

function say(key, ...values) {
  const word = WORDS[state.language][key];
  return word === undefined ? key : typeof word === "function" ? word(...values) : word;
}

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") made.addEventListener("click", value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter(child => child !== null && child !== undefined && child !== ""));
  return made;
}

function speak() {
  document.documentElement.lang = state.language;
  for (const place of document.querySelectorAll("[data-say]")) place.textContent = say(place.dataset.say);
  for (const place of document.querySelectorAll("[data-hint]")) place.placeholder = say(place.dataset.hint);
  for (const place of document.querySelectorAll("[data-label]")) {
    place.setAttribute("aria-label", say(place.dataset.label));
    place.title = say(place.dataset.label);
  }
  $("language").textContent = state.language === "en" ? "中文" : "English";
}

// ------------------------------------------------------------------ the API

class Refusal extends Error {
  constructor(error) { super(error.message); this.error = error; }
}

function login() {
  const token = $("token").value.trim();
  return state.byName ? { "X-Trino-User": $("user").value.trim() } : token ? { Authorization: `Bearer ${token}` } : {};
}

async function call(path, { method = "GET", body, signal } = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      method, signal, cache: "no-store",
      headers: { ...login(), ...(body ? { "Content-Type": "application/json" } : {}) },
      body: body ? JSON.stringify(body) : undefined,
    });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new Refusal({ who: "gateway", message: say("unreachable"), hint: say("unreachable_next"), error_type: "EXTERNAL" });
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  const error = said.error || { who: "gateway", message: `HTTP ${answer.status}`, hint: "" };
  if (answer.status === 401 && !error.hint) error.hint = say("login_next");
  throw new Refusal(error);
}

const json = async (path, options) => (await call(path, options)).json();

// ------------------------------------------------------------------ who asks

async function setUp() {
  const known = localStorage.getItem("atoll-language") || (navigator.language.startsWith("zh") ? "zh" : "en");
  state.language = known === "zh" ? "zh" : "en";
  const theme = localStorage.getItem("atoll-theme");
  if (theme) document.documentElement.dataset.theme = theme;
  speak();
  $("trino").textContent = `trino --server ${location.origin}`;
  $("curl").textContent = `curl ${location.origin}/api/questions`;
  if (!await showQuestions()) return;
  const users = [...new Set(state.questions.map(question => question.user).filter(Boolean))];
  $("users").replaceChildren(...users.map(name => make("option", { value: name })));
  // A demo takes a bare name; every other gateway answers 401 and gets a token.
  state.byName = true;
  $("user").value = users[0] || "";
  state.byName = Boolean(users.length) && await json("/api/me").then(() => true, () => false);
  $("user-field").hidden = !state.byName;
  $("token-field").hidden = state.byName;
  await changeUser();
}

async function changeUser(purpose = "") {
  try {
    state.purposes = (await json("/api/me")).purposes;
  } catch (problem) {
    state.purposes = [];
    $("purpose").replaceChildren();
    showRefusal(problem, $("departments"));
    return;
  }
  $("purpose").replaceChildren(...state.purposes.map(name => make("option", { value: name }, name)));
  if (state.purposes.includes(purpose)) $("purpose").value = purpose;
  $("purpose").disabled = state.purposes.length < 2;
  $("purpose").title = state.purposes.length === 1 ? say("only_purpose") : "";
  await showDepartments();
}

// ------------------------------------------------------------------ departments and questions

async function showDepartments() {
  const place = $("departments");
  try {
    const found = await json(`/api/departments?purpose=${encodeURIComponent($("purpose").value)}`);
    const cards = found.map(departmentCard);
    place.replaceChildren(...(cards.length ? cards : [make("p", { class: "empty" },
      say(state.purposes.length ? "no_departments" : "no_purpose"))]));
  } catch (problem) {
    showRefusal(problem, place);
  }
}

function departmentCard(one) {
  const tables = one.relations;
  return make("article", { class: "card", "data-department": one.name },
    make("h3", {}, one.name, stateWord(one.state)),
    make("p", {}, one.title || ""),
    make("p", {}, tables ? say("tables", tables) : say("no_tables")));
}

const stateWord = name => make("span", { class: `state ${name}` }, say(`state_${name}`));

async function showQuestions() {
  const place = $("questions");
  try {
    state.questions = await json("/api/questions");
  } catch (problem) {
    showRefusal(problem, place);
    return false;
  }
  const cards = state.questions.map((question, at) => make("button",
    { type: "button", class: "card", "data-question": question.id, onclick: () => askQuestion(at) },
    make("strong", {}, question.id.toUpperCase()),
    make("span", {}, question.title),
    make("small", {}, question.user ? say("user_for", question.user) : "")));
  place.replaceChildren(...(cards.length ? cards : [make("p", { class: "empty" }, say("no_questions"))]));
  return true;
}

async function askQuestion(at) {
  if (state.running) return;
  const question = state.questions[at];
  $("sql").value = question.sql;
  if (state.byName && question.user) {
    $("user").value = question.user;
    await changeUser(question.purpose);
  }
  await ask();
}

// ------------------------------------------------------------------ asking

async function ask() {
  const sql = $("sql").value.trim();
  if (!sql || state.running) return;
  await ready;
  const stopper = new AbortController(), started = performance.now();
  state.running = stopper;
  state.last = null;
  setRunning(true);
  $("lanes").replaceChildren();
  $("result").replaceChildren();
  $("answer").scrollIntoView({ behavior: "smooth", block: "nearest" });
  const clock = setInterval(() => {
    $("clock").textContent = `${((performance.now() - started) / 1000).toFixed(1)} s`;
  }, 100);
  let watch = 0;
  try {
    const body = { sql, purpose: $("purpose").value, format: "json", async: true };
    const id = (await json("/api/query", { method: "POST", body })).query_id;
    stopper.signal.addEventListener("abort", () => call(`/api/query/${id}`, { method: "DELETE" }).catch(() => undefined));
    watch = setInterval(() => watchProgress(id), 300);
    const answer = await json(`/api/query/${id}/result`, { signal: stopper.signal });
    clearInterval(watch);
    state.last = { sql, answer };
    showAnswer(answer);
  } catch (problem) {
    clearInterval(watch);
    if (problem.name === "AbortError") {
      $("lanes").replaceChildren();
      $("result").replaceChildren(make("p", { class: "empty" }, say("stopped")));
    } else {
      showRefusal(problem, $("result"), sql);
    }
  } finally {
    clearInterval(clock);
    state.running = null;
    setRunning(false);
  }
}

function setRunning(on) {
  $("run").disabled = on;
  $("explain").disabled = on;
  // Who asks must not change under a running question.
  $("user").disabled = $("token").disabled = on;
  for (const card of document.querySelectorAll("[data-question]")) card.disabled = on;
  $("stop").hidden = !on;
  if (on) $("clock").textContent = "";
}

async function watchProgress(id) {
  try {
    const found = await json(`/api/query/${id}/progress`);
    if (state.running) showLanes(found.departments || []);
  } catch { /* Progress is a courtesy: the answer or its refusal is what counts. */ }
}

function showLanes(departments) {
  const longest = Math.max(...departments.map(one => one.seconds || 0));
  $("lanes").replaceChildren(...departments.map(one => lane(one, longest)));
}

function lane(one, longest) {
  const made = make("div", { class: "lane", "data-lane": one.name },
    make("b", {}, one.name),
    stateWord(one.state || "done"),
    make("span", { class: "number" }, say("rows", one.rows || 0)),
    make("span", { class: "number" }, one.seconds === undefined ? "" : `${Number(one.seconds).toFixed(2)} s`),
    make("span", {}, ...(one.masks && one.masks.length
      ? one.masks.map(mask => make("span", { class: "mask" }, mask))
      : [["done", "kept", undefined].includes(one.state) ? say("no_masks") : ""])));
  // The line under a department: how long it took, beside the one that took longest.
  made.style.setProperty("--share", longest ? (one.seconds || 0) / longest : 0);
  return made;
}

function showAnswer(answer) {
  const departments = answer.departments || [];
  showLanes(departments);
  const absent = departments.reduce((sum, one) => sum + (one.suppressed || 0), 0);
  const receipts = departments.flatMap(one => one.receipts || []);
  const facts = [say("rows", answer.rows.length), say("departments_asked", departments.length),
    `${Number(answer.seconds || 0).toFixed(1)} s`, absent ? say("absent", absent) : "",
    receipts.length === 1 ? `${say("receipt")} ${receipts[0]}` : say("receipts", receipts.length, answer.query_id)].filter(Boolean);
  const bar = make("div", { class: "bar" }, make("span", { class: "summary" }, facts.join(" · ")));
  if (answer.rows.length) bar.append(make("button", { type: "button", onclick: download }, say("download")));
  const asked = state.questions.find(question => question.sql === state.last.sql);
  $("result").replaceChildren(
    ...(answer.warnings || []).map(text => make("p", { class: "warning" }, text)), bar,
    make("p", { class: "legend", hidden: !(asked && asked.legend) }, asked ? asked.legend : ""),
    answer.rows.length ? answerTable(answer) : make("p", { class: "empty" }, say("no_rows")));
  if (answer.rows.length > SHOWN_ROWS) {
    $("result").append(make("p", { class: "summary" }, say("shown", SHOWN_ROWS, answer.rows.length.toLocaleString())));
  }
}

const isNumber = type => /^(tinyint|smallint|integer|bigint|real|double|decimal)/.test(type);

function answerTable(answer) {
  const heads = answer.columns.map(column => make("th", { scope: "col", class: isNumber(column.type) ? "n" : "" },
    column.name, make("small", {}, column.type)));
  const rows = answer.rows.slice(0, SHOWN_ROWS).map(row => make("tr", {}, ...row.map((value, at) => cell(value, answer.columns[at].type))));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "answer-title" },
    make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows)));
}

function cell(value, type) {
  if (value === null) return make("td", { class: isNumber(type) ? "n null" : "null" }, "NULL");
  return make("td", { class: isNumber(type) ? "n" : "" }, typeof value === "object" ? JSON.stringify(value) : String(value));
}

async function explain() {
  const sql = $("sql").value.trim();
  if (!sql) return;
  await ready;
  $("lanes").replaceChildren();
  try {
    const found = await json("/api/explain", { method: "POST", body: { sql, purpose: $("purpose").value, analyze: false } });
    $("result").replaceChildren(make("pre", { tabindex: "0" }, found.text));
  } catch (problem) {
    showRefusal(problem, $("result"), sql);
  }
}

async function download() {
  try {
    const body = { sql: state.last.sql, purpose: $("purpose").value, format: "csv" };
    const file = await (await call("/api/query", { method: "POST", body })).blob();
    const link = make("a", { href: URL.createObjectURL(file), download: "answer.csv" });
    link.click();
    URL.revokeObjectURL(link.href);
  } catch (problem) {
    showRefusal(problem, $("result"), state.last.sql);
  }
}

// ------------------------------------------------------------------ refusals

function showRefusal(problem, place, sql = "") {
  if (!(problem instanceof Refusal)) throw problem;
  const error = problem.error, who = error.who || "gateway";
  const title = error.error_type === "USER_ERROR" ? say("refused_by", who) : say("failed_at", who);
  const facts = [["rule", error.rule], ["next", error.hint], ["wait", error.retry_after ? `${Math.ceil(error.retry_after)} s` : ""]];
  place.replaceChildren(make("div", { class: "error", role: "alert" },
    make("h3", {}, title), make("p", {}, error.message), caret(error.location, sql),
    make("dl", {}, ...facts.filter(([, text]) => text).flatMap(([key, text]) => [make("dt", {}, say(key)), make("dd", {}, text)]))));
}

function caret(location, sql) {
  const line = location && sql.split("\n")[location.line - 1];
  if (line === undefined || line === null || line === "") return null;
  const word = (line.slice(location.column - 1).match(/^(\w+(\.\w+)*|"[^"]*"|.)/) || [" "])[0];
  return make("pre", {}, `${line}\n${" ".repeat(location.column - 1)}${"^".repeat(word.length)}`);
}

// ------------------------------------------------------------------ events

$("user").addEventListener("change", () => changeUser());
$("token").addEventListener("change", () => changeUser());
$("purpose").addEventListener("change", showDepartments);
$("ask-form").addEventListener("submit", event => { event.preventDefault(); ask(); });
$("who").addEventListener("submit", event => event.preventDefault());
$("explain").addEventListener("click", explain);
$("stop").addEventListener("click", () => state.running && state.running.abort());
$("sql").addEventListener("keydown", event => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); ask(); }
});
$("language").addEventListener("click", () => {
  state.language = state.language === "en" ? "zh" : "en";
  localStorage.setItem("atoll-language", state.language);
  speak();
  showDepartments();
  showQuestions();
  if (state.last && !state.running) showAnswer(state.last.answer);
});
$("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("atoll-theme", document.documentElement.dataset.theme);
});
const ready = setUp();
setInterval(() => { if (!state.running && !document.hidden) showDepartments(); }, 15000);
