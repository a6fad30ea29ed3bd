// Behavior of every page: times, polling, keys, copying, opening a file. trace.js extends it.
// No code is evaluated, and no span content becomes markup here.
"use strict";

const find = (selector, from = document) => from.querySelector(selector);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const announce = (text) => { find("#announcement").textContent = text; };
const stored = {
  get: (name) => { try { return localStorage.getItem(name); } catch { return null; } },
  set: (name, value) => { try { localStorage.setItem(name, value); } catch { /* private window */ } },
};

// -- times ------------------------------------------------------------------------------------

const zoned = (moment) => (isLocal() ? new Date(moment - moment.getTimezoneOffset() * 60000) : moment).toISOString().replace("T", " ").slice(0, 23);
const isLocal = () => stored.get("zone") === "local";

function period(from, to) {
  const [begin, end] = [from, to].map((at) => at && zoned(new Date(Number(at))).slice(5, 16));
  if (!begin || !end) return begin ? `from ${begin}` : `until ${end}`;
  return `${begin} to ${begin.slice(0, 5) === end.slice(0, 5) ? end.slice(6) : end}`;
}

function localize(root = document) {
  for (const time of all("time[datetime]", root)) {
    const given = time.getAttribute("datetime");
    const moment = new Date(given);
    if (!given || Number.isNaN(moment.valueOf())) continue;
    const text = zoned(moment);
    time.textContent = time.dataset.form === "short" ? text.slice(5, 16) : text;
  }
  for (const option of all("option[data-from]", root)) option.textContent = period(option.dataset.from, option.dataset.to);
  const button = find("#zone");
  button.textContent = isLocal() ? "local" : "UTC";
  button.setAttribute("aria-label", isLocal() ? "local times. Switch to UTC" : "UTC times. Switch to local");
}

function switchZone() {
  stored.set("zone", isLocal() ? "utc" : "local");
  localize();
  announce(isLocal() ? "showing local times" : "showing UTC times");
  document.dispatchEvent(new Event("zone"));
}

// -- polling: while the page is visible, not paused and not in use ------------------------------------

const isPaused = () => find("#pause")?.getAttribute("aria-pressed") === "true";
let seconds = 0;

//: a refresh would replace what the reader is clicking, and the click would be lost; in large parts also what has
//: the focus, or the chart under the mouse
const isInUse = (element) => find("body :active") !== null || (["overview", "services"].includes(element.id)
  && (element.contains(document.activeElement) || find(".plot:hover", element) !== null));

function poll() {
  seconds += 1;
  if (document.visibilityState !== "visible" || isPaused()) return;
  for (const element of all('[hx-trigger="poll"]')) {
    const every = Number(element.closest("[data-every]")?.dataset.every ?? 5);
    if (seconds % every === 0 && element.dataset.live !== "false" && !isInUse(element)) htmx.trigger(element, "poll");
  }
}

function togglePause() {
  const button = find("#pause");
  if (!button) return;
  button.setAttribute("aria-pressed", String(!isPaused()));
  button.textContent = isPaused() ? "resume" : "pause";
  announce(isPaused() ? "updates paused" : "updates resumed");
}

// -- copying ------------------------------------------------------------------------------------------

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    announce(`copied ${what}`);
    return true;
  } catch {
    announce("the browser did not allow copying");
    return false;
  }
}

async function copyFrom(button) {
  const text = button.dataset.copy ?? location.href;
  const name = button.dataset.copy ? "copy ID" : "copy link";
  const worked = await copy(text, button.getAttribute("aria-label").replace("copy ", ""));
  button.textContent = worked ? "copied" : "copy failed";
  setTimeout(() => { button.textContent = name; }, 1500);
}

// -- rows: one of them is in the tab order -------------------------------------------------------------

const rows = () => all("[data-row]").filter((row) => row.offsetParent !== null);
const current = () => document.activeElement?.closest("[data-row]") ?? find('[data-row][tabindex="0"]');

function focusRow(row) {
  if (!row) return;
  all('[data-row][tabindex="0"]').forEach((other) => { other.tabIndex = -1; });
  row.tabIndex = 0;
  row.focus();
  row.scrollIntoView({ block: "nearest" });
}

function step(by) {
  const shown = rows();
  const place = shown.indexOf(current());
  const onRow = document.activeElement?.closest("[data-row]");
  focusRow(onRow ? shown[Math.min(Math.max(place + by, 0), shown.length - 1)] : shown[Math.max(place, 0)]);
}

function openRow(row) {
  const link = row && (find("[data-open]", row) ?? find("a", row));
  link?.click();
}

function rove() {
  const first = find('[data-row][aria-selected="true"]') ?? find("[data-row]");
  if (first && !find('[data-row][tabindex="0"]')) first.tabIndex = 0;
}

// -- opening a file, previewing a trace ------------------------------------------------------------------------

async function openFile(file) {
  announce("opening the file");
  let answer;
  try {
    const response = await fetch("/import", { method: "POST", body: file, headers: { "Content-Type": "application/json" } });
    answer = await response.json();
  } catch {
    answer = { message: "The server did not respond." };
  }
  // not in the status line, which the next refresh replaces
  const box = find("#file").closest(".titled");
  find(".fault", box)?.remove();
  if (answer.open) location.assign(answer.open);
  else showFault(box, `Could not open the file: ${answer.message}`);
}

function showFault(box, text) {
  const line = document.createElement("span");
  line.className = "error fault";
  line.textContent = `✕ ${text}`;
  box.append(line);
  announce(text);
  return line;
}

function showError(text) {
  const line = find("#status");
  line.textContent = `✕ ${text}`;
  line.classList.add("error");
  announce(text);
}

async function peek(row) {
  if (!row?.dataset.peek) return;
  await htmx.ajax("GET", row.dataset.peek, { target: "#peek-body", swap: "innerHTML" });
  find("#peek-open").href = find("[data-open]", row).href;
  if (!find("#peek").open) find("#peek").showModal();
}

// -- keys ------------------------------------------------------------------------------------------------------

const typing = (element) => element?.matches("input, select, textarea") && element.type !== "checkbox";
const go = (selector) => find(selector)?.click();
const KEYS = {
  "/": () => find("#find").focus(), f: () => (find("#find-within") ?? find("#filter-q") ?? find("#find")).focus(),
  1: () => location.assign("/"), 2: () => location.assign("/traces"), 3: () => location.assign("/services"),
  j: () => step(1), k: () => step(-1), "[": () => go("#newer"), "]": () => go("#older"),
  Y: () => copy(location.href, "link"), u: switchZone, p: togglePause, "?": () => find("#help").showModal(),
};
//: keys that cannot be turned off; each handler returns false when the key had no effect
const ALWAYS = {};

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (find("dialog[open]")) return;
  const row = event.target.closest?.("[data-row]");
  const onRow = row === event.target;
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    if (!row) return;
    step(event.key === "ArrowDown" ? 1 : -1);
  } else if (ALWAYS[event.key]) {
    if (ALWAYS[event.key](event.key) === false) return;
  } else if (event.key === "Enter" && onRow) openRow(row);
  else if (event.key === "Enter" && event.target === document.body && find("table.list")) openRow(rows()[0]);
  else if (event.key === " " && onRow && row.dataset.peek) peek(row);
  else if (KEYS[event.key] && stored.get("keys") !== "off") KEYS[event.key]();
  else return;
  event.preventDefault();
}

// -- wiring ----------------------------------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const target = event.target;
  if (target.closest("[data-copy], [data-copy-link]")) copyFrom(target.closest("[data-copy], [data-copy-link]"));
  else if (target.closest("#zone")) switchZone();
  else if (target.closest("#pause")) togglePause();
  else if (target.closest("#help-open")) find("#help").showModal();
});
document.addEventListener("change", (event) => {
  // "tenant" and "no tenant" exclude each other; this runs before the form is sent in the same event
  const { form, name, checked, dataset } = event.target;
  if (dataset.instead && checked) form.elements[dataset.instead].value = "";
  const none = form?.elements[`no_${name}`];
  if (none && event.target.value) none.checked = false;
  if (event.target.id === "file" && event.target.files[0]) openFile(event.target.files[0]);
  if (event.target.id === "keys-on") stored.set("keys", event.target.checked ? "on" : "off");
}, true);
document.addEventListener("keydown", pressed);
document.addEventListener("htmx:config:request", (event) => {
  const request = event.detail.ctx.request;
  if (request.action.startsWith("/traces/new?")) {
    const shown = all("tr[data-id]").map((row) => row.dataset.id).join("-");
    request.action += `&shown=${shown}&at=${find("#polled")?.dataset.at ?? ""}`;
  }
  // leave empty form fields out of the address
  for (const [name, value] of [...(request.body ?? [])]) if (value === "") request.body.delete(name);
  if (request.body?.has?.("range")) ["from", "to"].forEach((name) => request.body.delete(name));
});
document.addEventListener("htmx:before:swap", (event) => {
  const status = event.detail.ctx.response?.status ?? 200;
  if (status === 401) location.reload();
  if (status >= 500) showError("The store could not be read. The data below may be out of date. Run somatrace doctor for details.");
  const source = event.detail.ctx.sourceElement;
  // the next poll brings what this one leaves out
  if (status >= 400 || (source?.matches('[hx-trigger="poll"]') && isInUse(source))) event.preventDefault();
  all("#overview details[open]").forEach((details) => opened.set(details.id, find(".scroll", details).scrollTop));
  focused = document.activeElement?.closest("tr[data-id]")?.dataset.id;
});
let lastNews = "";
let focused;
//: the open tables, each with its scroll position: kept here, because a second swap may begin before the tables
//: of the first are open again
const opened = new Map();
document.addEventListener("toggle", (event) => {
  const details = event.target;
  if (!details.matches("#overview details")) return;
  if (!details.open) opened.delete(details.id);
  else if (!opened.has(details.id)) opened.set(details.id, 0);
}, true);
document.addEventListener("htmx:after:swap", () => {
  localize();
  for (const [id, top] of opened) {
    const details = document.getElementById(id);
    if (details && !details.open) {
      details.open = true;
      find(".scroll", details).scrollTop = top;
    }
  }
  const row = focused && find(`tr[data-id="${focused}"]`);
  if (row && document.activeElement === document.body) {
    row.tabIndex = 0;
    row.focus({ preventScroll: true });
  }
  rove();
  const news = find("#new")?.textContent ?? "";
  if (news && news !== lastNews) announce(news);
  lastNews = news;
  document.dispatchEvent(new Event("swapped"));
});
document.addEventListener("htmx:error", () => showError("The server did not respond. The data below may be out of date."));

find("#keys-on").checked = stored.get("keys") !== "off";
localize();
rove();
setInterval(poll, 1000);
