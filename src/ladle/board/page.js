// Runs once in the browser, with `board` and `common` of page.py. It draws the tables from what the server tells, and
// tells the server what was chosen. Text from files is only ever set as text.
const $ = (name) => document.getElementById(name);
const make = (tag, text, kind) => {
  const one = document.createElement(tag);
  if (text !== undefined && text !== null) one.textContent = text;
  if (kind) one.className = kind;
  return one;
};
const PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#4d4d4d", "#8c564b", "#b5a900"];
const DARK = ["#4aa8e0", "#ff8a3d", "#2fc79b", "#e39fc4", "#8fd0ff", "#ffc04d", "#b4bac0", "#c99a8e", "#d8cf3e"];

// Numbers, as in reports.
const three = (x) => Number(x.toPrecision(3)).toLocaleString("en", {maximumSignificantDigits: 3});
const units = (x, some) => { for (const [size, name] of some) if (Math.abs(x) >= size) return `${three(x / size)} ${name}`; return three(x); };
const FORMS = {
  count: (x) => Math.round(x).toLocaleString("en"),
  number: (x) => x !== 0 && (Math.abs(x) < 1e-3 || Math.abs(x) >= 1e4) ? x.toPrecision(3) : x.toFixed(4),
  short: (x) => units(x, [[1e9, "G"], [1e6, "M"], [1e4, "k"]].map(([a, b]) => [a === 1e4 ? 1e3 : a, b]).filter(([a]) => a !== 1e3 || Math.abs(x) >= 1e4)),
  rate: (x) => Number(x.toPrecision(3)).toString(),
  share: (x) => `${Math.round(100 * x)} %`,
  seconds: (x) => x < 1e-3 ? `${three(x * 1e6)} µs` : x < 1 ? `${three(x * 1e3)} ms` : x < 120 ? `${three(x)} s`
    : x < 7200 ? `${Math.floor(x / 60)} min ${Math.floor(x % 60)} s` : `${Math.floor(x / 3600)} h ${Math.floor(x % 3600 / 60)} min`,
  bytes: (x) => units(x, [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [0, "B"]]),
  joules: (x) => units(x, [[1e6, "MJ"], [1e3, "kJ"], [0, "J"]]),
  ago: (x) => { const s = Math.max(Date.now() / 1000 - x, 0); return s < 90 ? `${Math.round(s)} s ago` : s < 5400 ? `${Math.round(s / 60)} min ago` : s < 129600 ? `${Math.round(s / 3600)} h ago` : `${Math.round(s / 86400)} days ago`; },
};
const show = (value, form) => value === null || value === undefined ? "-" : typeof value === "number" && FORMS[form] ? FORMS[form](value) : String(value);
const unit = (value, name) => {
  const [base, per] = name.split("/");
  if (value === null || value === undefined) return "-";
  const text = base === "bytes" ? FORMS.bytes(value) : base === "s" || base === "seconds" ? FORMS.seconds(value) : `${FORMS.short(value)} ${base}`.trim();
  return per ? `${text}/${per}` : text;
};

// The table of runs: sorted and filtered here, so that it answers at once.
const COLUMNS = [
  ["name", "run", null, "words"], ["status", "status", null, "words"], ["data", "data", null, "words wide"], ["model", "model", null, "words wide"],
  ["seed", "seed", "count", "wide"], ["size", "size", "count", ""], ["lr", "rate", "rate", "wide"], ["updates", "updates", "count", "wide"],
  ["examples", "examples", "short", "wide"], ["loss", "loss", "number", ""], ["value", "metric", "number", "wide"],
  ["speed", "examples/s", "short", "wide"], ["seconds", "time", "seconds", "wide"], ["changed", "changed", "ago", "wide"],
];
const FIRST = 150;
let rows = new Map(), drawn = new Map(), sort = ["changed", -1], all = false;
let chosen = new Set(JSON.parse(board.chosen));

function compare(a, b) {
  const [key, way] = sort, x = a[key], y = b[key];
  if (x === null || x === undefined) return y === null || y === undefined ? 0 : 1;
  if (y === null || y === undefined) return -1;
  return way * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", {numeric: true}));
}
function fits(row) {
  const status = $("status").value;
  if (status && row.status !== status) return false;
  const text = [row.name, row.status, row.data, row.model, row.kind, row.metric].join(" ").toLowerCase();
  return $("filter").value.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}
function fill(tr, row) {
  tr.replaceChildren();
  tr.classList.toggle("chosen", chosen.has(row.name));
  for (const [key, , form, kind] of COLUMNS) {
    const td = make("td", undefined, key === "name" ? "name" : kind);
    if (key === "name") {
      const label = make("label"), box = make("input");
      box.type = "checkbox"; box.checked = chosen.has(row.name); box.dataset.run = row.name;
      box.addEventListener("change", () => choose(row.name, box.checked));
      label.append(box, make("span", row.kind === "search" ? `${row.name} (search)` : row.name));
      td.append(label);
      if (["broken", "empty", "silent", "diverged", "failed"].includes(row.status) && row.why) td.append(make("small", row.why));
    } else if (key === "status") {
      const chip = make("span", row.status, "chip"); chip.classList.add(row.status.replace(/\W/g, "-")); td.append(chip);
    } else {
      td.textContent = show(row[key], form);
      if (key === "loss" && row.loss !== null) td.title = `${row.loss_of} loss`;
      if (key === "value" && row.metric) td.title = row.metric;
    }
    tr.append(td);
  }
}
function table() {
  const shown = [...rows.values()].filter(fits).sort(compare);
  const part = all ? shown : shown.slice(0, FIRST);
  const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.run : null;
  drawn = new Map();
  const made = part.map((row) => { const tr = make("tr"); fill(tr, row); drawn.set(row.name, tr); return tr; });
  $("runs").tBodies[0].replaceChildren(...made);
  if (focused && drawn.has(focused)) drawn.get(focused).querySelector("input").focus();
  $("more").hidden = part.length === shown.length;
  $("more").textContent = `Show all ${shown.length.toLocaleString("en")}`;
  $("count").textContent = shown.length === rows.size ? `${rows.size.toLocaleString("en")} in all` : `${shown.length.toLocaleString("en")} of ${rows.size.toLocaleString("en")}`;
  $("none").hidden = rows.size > 0;
  $("runs").hidden = rows.size === 0;
  for (const th of $("runs").tHead.rows[0].cells) {
    if (th.dataset.key === sort[0]) th.setAttribute("aria-sort", sort[1] > 0 ? "ascending" : "descending"); else th.removeAttribute("aria-sort");
  }
}
function statuses() {
  const now = $("status").value, names = [...new Set([...rows.values()].map((row) => row.status))].sort();
  $("status").replaceChildren(...["", ...names].map((name) => { const one = make("option", name || "all"); one.value = name; return one; }));
  $("status").value = names.includes(now) ? now : "";
}
function choose(name, yes) {
  if (yes) chosen.add(name); else chosen.delete(name);
  if (drawn.has(name)) drawn.get(name).classList.toggle("chosen", yes);
  board.chosen = JSON.stringify([...chosen]);
}
for (const [key, title, , kind] of COLUMNS) {
  const th = make("th", undefined, kind), button = make("button", title);
  th.scope = "col"; th.dataset.key = key; button.type = "button";
  button.addEventListener("click", () => { sort = [key, sort[0] === key ? -sort[1] : ["changed", "value", "speed"].includes(key) ? -1 : 1]; table(); });
  th.append(button); $("runs").tHead.rows[0].append(th);
}
$("filter").addEventListener("input", table);
$("status").addEventListener("change", table);
$("more").addEventListener("click", () => { all = true; table(); });
$("clear").addEventListener("click", () => { chosen.clear(); board.chosen = "[]"; table(); });

// What the server tells.
function whole() { rows = new Map(JSON.parse(board.rows).map((row) => [row.name, row])); statuses(); table(); }
function news() {
  let others = false;
  for (const row of JSON.parse(board.news)) {
    others = others || rows.get(row.name)?.status !== row.status;
    rows.set(row.name, row);
    if (drawn.has(row.name) && document.activeElement?.dataset?.run !== row.name) fill(drawn.get(row.name), row);
  }
  if (others) { statuses(); table(); }
}
function rowsOf(about) {
  const box = make("div", undefined, "about");
  box.append(make("h3", about.name));
  const list = make("dl");
  for (const [name, value, form] of about.facts) { const one = make("div"); one.append(make("dt", name), make("dd", show(value, form))); list.append(one); }
  box.append(list);
  if (about.outcome.length) {
    box.append(make("h4", "Plan against outcome"), outcome(about.outcome, about.name));
  }
  box.append(make("h4", about.decisions.length ? `Decisions (${about.decisions.length}), newest first` : "Decisions: none"));
  if (about.decisions.length) {
    const some = make("ol"); some.tabIndex = 0; some.setAttribute("aria-label", `Decisions of ${about.name}`);
    for (const one of about.decisions) { const li = make("li"); li.append(make("b", `at ${FORMS.count(one.examples)} examples: `), make("span", one.text)); some.append(li); }
    box.append(some);
  }
  return box;
}
function outcome(some, name) {
  const scroll = make("div", undefined, "scroll"), table = make("table"), head = table.createTHead().insertRow();
  scroll.tabIndex = 0; scroll.setAttribute("role", "region"); scroll.setAttribute("aria-label", `Plan against outcome of ${name}`);
  for (const [at, title] of ["", "plan", "outcome", "outcome / plan", "how"].entries()) {
    const th = make(title ? "th" : "td", title, at === 0 || at === 4 ? "words" : ""); if (title) th.scope = "col"; head.append(th);
  }
  const body = table.createTBody();
  for (const one of some) {
    const tr = body.insertRow(), measured = make("td", unit(one.actual, one.unit)), [low, high] = one.ends;
    if (low !== null || high !== null) measured.append(make("small", high === null ? `at least ${unit(low, one.unit)}` : `${unit(low, one.unit)} to ${unit(high, one.unit)}`, "ends"));
    tr.append(make("td", one.name, "words"), make("td", unit(one.predicted, one.unit)), measured, make("td", one.ratio === null ? "-" : `${three(one.ratio)} x`), make("td", one.how, "words why"));
  }
  scroll.append(table);
  return scroll;
}
function search(found) {
  $("search").hidden = !found;
  if (!found) return;
  $("search-title").textContent = `Search: ${found.name}`;
  $("search-lead").textContent = `${found.status}; mean of ${found.metric || "the metric"} over folds and seeds. "chosen" is the cheapest within a standard error of "best".`;
  const head = make("tr");
  for (const title of ["size", "rate", "mean", "+- se", "updates", "time a fit", ""]) { const th = make(title ? "th" : "td", title); if (title) th.scope = "col"; head.append(th); }
  $("tried").tHead.replaceChildren(head);
  $("tried").tBodies[0].replaceChildren(...found.rows.map((one) => {
    const tr = make("tr", undefined, one.chosen ? "chosen" : "");
    for (const [key, form] of [["size", "count"], ["lr", "rate"], ["mean", "number"], ["se", "number"], ["updates", "count"], ["seconds", "seconds"]]) tr.append(make("td", show(one[key], form)));
    tr.append(make("td", [one.best ? "best" : "", one.chosen ? "chosen" : "", one.state, one.why].filter(Boolean).join(", "), "words why"));
    return tr;
  }));
}
function told() {
  const found = JSON.parse(board.told), palette = board.dark ? DARK : PALETTE;
  if (!found.panels) return;
  const absent = [];
  for (const section of document.querySelectorAll("[data-panel]")) {
    const one = found.panels[section.dataset.panel];
    section.hidden = one.empty;
    section.querySelector("h3").textContent = one.title;
    const ends = one.ends.map(([name, value]) => `${name} ${FORMS.number(value)}`).join("; ");
    section.querySelector(".plot").setAttribute("aria-label", `${one.title} against ${found.axis}. Newest: ${ends || "nothing"}`);
    if (one.empty) absent.push(one.title);
  }
  $("curve-section").hidden = found.groups.length === 0;
  $("about-section").hidden = found.runs.length === 0;
  $("absent").textContent = absent.length ? `Not in these records: ${absent.join("; ")}.` : "";
  $("legend").replaceChildren(...found.groups.map((group, at) => {
    const li = make("li"), swatch = make("i"); swatch.style.borderColor = palette[at % palette.length];
    li.append(swatch, make("span", group.seeds > 1 ? `${group.name}: mean and range of ${group.seeds} seeds` : group.name)); return li;
  }), ...(found.groups.length ? [make("li", "points: evaluations; dashed: training; triangles down: decisions; up: at least so much", "note")] : []));
  $("trouble").replaceChildren(...[...found.runs.flatMap((run) => run.trouble.map((text) => `${run.name}: ${text}`)), ...found.nothing.map((one) => `${one.name}: ${one.why}`)].map((text) => make("p", text, "trouble")));
  $("trouble").parentElement.hidden = found.groups.length === 0 && !$("trouble").children.length;
  const kept = document.activeElement;
  $("about").replaceChildren(...found.runs.map(rowsOf));
  if (kept && !kept.isConnected) $("about").focus?.();
  search(found.search);
}
function notice() { $("notice").hidden = !board.notice; $("notice").textContent = board.notice; }

// Light or dark: as the system has it, until the button says otherwise.
function theme(dark) {
  document.documentElement.classList.toggle("dark", dark);
  $("theme").textContent = dark ? "Light" : "Dark";
  $("theme").setAttribute("aria-label", dark ? "Change to a light page" : "Change to a dark page");
  if (board.dark !== dark) board.dark = dark;
}
let kept = null;
try { kept = localStorage.getItem("ladle-board"); } catch (error) { /* Storage may be off. */ }
const system = matchMedia("(prefers-color-scheme: dark)");
theme(kept ? kept === "dark" : system.matches);
system.addEventListener("change", () => { if (!kept) theme(system.matches); });
$("theme").addEventListener("click", () => {
  kept = board.dark ? "light" : "dark"; theme(kept === "dark"); told();
  try { localStorage.setItem("ladle-board", kept); } catch (error) { /* As above. */ }
});

$("axis").value = board.axis;
$("axis").addEventListener("change", () => { board.axis = $("axis").value; });
$("log").addEventListener("change", () => { board.log = $("log").checked; });
for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => {
  const {start, end} = common, wide = end - start, middle = (start + end) / 2, last = Math.max(common.reset_end ?? end, end);
  const to = {in: [middle - wide / 4, middle + wide / 4], out: [Math.max(middle - wide, 0), middle + wide], earlier: [Math.max(start - wide / 2, 0), Math.max(start - wide / 2, 0) + wide], later: [start + wide / 2, end + wide / 2], whole: [0, 1e300]}[button.dataset.zoom];
  if (button.dataset.zoom === "whole") board.span = String(Date.now()); else common.setv({start: to[0], end: to[1]});
});
for (const plot of document.querySelectorAll(".plot")) plot.addEventListener("dblclick", () => { board.span = String(Date.now()); });

board.properties.rows.change.connect(whole);
board.properties.news.change.connect(news);
board.properties.told.change.connect(told);
board.properties.notice.change.connect(notice);
board.properties.dark.change.connect(told);
whole(); told(); notice();
const root = document.querySelectorAll(".root");
for (const one of root) one.textContent = `${board.folder.replace(/\/$/, "")}/`;
$("state").textContent = board.folder;
board.document.on_event?.("connection_lost", () => { $("state").textContent = "the board has ended: start ladle board again, and reload"; $("state").classList.add("lost"); });
setInterval(() => { for (const [name, tr] of drawn) tr.lastElementChild.textContent = show(rows.get(name)?.changed, "ago"); }, 10000);
document.body.dataset.ready = "yes";
