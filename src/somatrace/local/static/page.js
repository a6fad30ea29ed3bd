// What a page does by itself: times, polling, keys, the tree, zoom, copying, opening a file.
// Nothing is evaluated and nothing from a span becomes markup here.
"use strict";

const find = (selector, from = document) => from.querySelector(selector);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const say = (text) => { find("#said").textContent = text; };
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

function localise(root = document) {
  for (const time of all("time[datetime]", root)) {
    const stamp = time.getAttribute("datetime");
    const moment = new Date(stamp);
    if (!stamp || Number.isNaN(moment.valueOf())) continue;
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
  localise();
  say(isLocal() ? "times are local" : "times are UTC");
  document.dispatchEvent(new Event("zone"));
}

// -- polling: while visible, not paused, and nobody is in the middle of something ---------------------

const isPaused = () => find("#pause")?.getAttribute("aria-pressed") === "true";
let seconds = 0;

function poll() {
  seconds += 1;
  if (document.visibilityState !== "visible" || isPaused()) return;
  for (const element of all('[hx-trigger="poll"]')) {
    const every = Number(element.closest("[data-every]")?.dataset.every ?? 5);
    const busy = ["overview", "services"].includes(element.id)
      && (element.contains(document.activeElement) || element.matches(":active") || find(".plot:hover", element));
    if (seconds % every === 0 && element.dataset.live !== "false" && !busy) htmx.trigger(element, "poll");
  }
}

function togglePause() {
  const button = find("#pause");
  if (!button) return;
  button.setAttribute("aria-pressed", String(!isPaused()));
  button.textContent = isPaused() ? "go on" : "pause";
  say(isPaused() ? "paused" : "live again");
}

// -- copying ------------------------------------------------------------------------------------------

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`copied ${what}`);
    return true;
  } catch {
    say("the browser did not allow copying");
    return false;
  }
}

async function copyFrom(button) {
  const text = button.dataset.copy ?? location.href;
  const name = button.dataset.copy ? "copy id" : "copy link";
  const worked = await copy(text, button.getAttribute("aria-label").replace("copy ", ""));
  button.textContent = worked ? "copied" : "not allowed";
  setTimeout(() => { button.textContent = name; }, 1500);
}

// -- rows: one of them takes part in the order of tabs -------------------------------------------------

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

// -- the tree --------------------------------------------------------------------------------------------

const level = (row) => Number(row.getAttribute("aria-level"));

function* below(row) {
  for (let next = row.nextElementSibling; next && level(next) > level(row); next = next.nextElementSibling) yield next;
}

function setBranch(row, open) {
  const button = find("button.toggle", row);
  if (!button) return;
  row.setAttribute("aria-expanded", String(open));
  button.setAttribute("aria-label", open ? "Close branch" : "Open branch");
  const inside = find(".inside", row);
  if (inside) inside.hidden = open;
  if (open && !("loaded" in button.dataset)) {
    button.dataset.loaded = "";
    htmx.trigger(button, "branch");
    return;
  }
  let closed = Infinity;
  for (const child of below(row)) {
    if (level(child) <= closed) closed = Infinity;
    child.hidden = !open || closed < Infinity;
    if (child.getAttribute("aria-expanded") === "false" && closed === Infinity) closed = level(child);
  }
}

function arrow(key) {
  const row = document.activeElement?.closest("tr[aria-level]");
  if (!row) return false;
  const expanded = row.getAttribute("aria-expanded");
  if (key === "ArrowRight") {
    if (expanded === "false") setBranch(row, true);
    else if (expanded === "true") step(1);
  } else if (expanded === "true") setBranch(row, false);
  else {
    let up = row.previousElementSibling;
    while (up && level(up) >= level(row)) up = up.previousElementSibling;
    focusRow(up);
  }
  return true;
}

function select(row) {
  all('[aria-selected="true"]').forEach((other) => other.removeAttribute("aria-selected"));
  row?.setAttribute("aria-selected", "true");
}

function changeAddress(change, go) {
  const address = new URL(location.href);
  for (const [name, value] of Object.entries(change)) {
    if (value) address.searchParams.set(name, value);
    else address.searchParams.delete(name);
  }
  if (go) location.assign(address);
  else history.replaceState(history.state, "", address);
}

function nextFailed(by) {
  const ids = find("#failures")?.dataset.failures.trim().split(" ") ?? [];
  if (!ids.length) return say("no span failed");
  const place = ids.indexOf(find("#pane [data-span]")?.dataset.span);
  const id = ids[(place + by + ids.length) % ids.length];
  const row = document.getElementById(`s-${id}`);
  if (row && row.offsetParent !== null) {
    focusRow(row);
    openRow(row);
  } else changeAddress({ span: id }, true);
  return undefined;
}

// -- zoom: percent of the trace, in the address -------------------------------------------------------------

function zoom(how) {
  const strip = find("#minimap");
  if (!strip) return;
  const [from, to] = (strip.dataset.zoom || "0-100").split("-").map(Number);
  const width = to - from;
  const [begin, end] = {
    w: [from + width / 4, to - width / 4], s: [from - width / 2, to + width / 2],
    a: [from - width / 4, to - width / 4], d: [from + width / 4, to + width / 4], 0: [0, 100],
  }[how];
  const kept = Math.min(end - begin, 100);
  const left = Math.min(Math.max(begin, 0), 100 - kept);
  zoomTo(left, left + kept);
}

function zoomTo(from, to) {
  if (to - from < 0.001) return;
  const whole = from <= 0 && to >= 100;
  changeAddress({ zoom: whole ? "" : `${from.toFixed(3)}-${to.toFixed(3)}` }, true);
}

function dragStrip(strip) {
  let from = null;
  const share = (event) => {
    const box = strip.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1) * 100;
  };
  strip.addEventListener("pointerdown", (event) => { from = share(event); strip.setPointerCapture(event.pointerId); });
  strip.addEventListener("pointerup", (event) => {
    const to = share(event);
    if (from !== null && Math.abs(to - from) > 0.5) zoomTo(Math.min(from, to), Math.max(from, to));
    from = null;
  });
  strip.addEventListener("dblclick", () => zoomTo(0, 100));
}

// -- a file, and a look without leaving ------------------------------------------------------------------------

async function openFile(file) {
  say("opening the file");
  let answer;
  try {
    const response = await fetch("/import", { method: "POST", body: file, headers: { "Content-Type": "application/json" } });
    answer = await response.json();
  } catch {
    answer = { message: "The server did not answer." };
  }
  if (answer.open) location.assign(answer.open);
  else fault(`The file was not opened: ${answer.message}`);
}

function fault(text) {
  const line = find("#status");
  line.textContent = `✕ ${text}`;
  line.classList.add("error");
  say(text);
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
  n: () => nextFailed(1), N: () => nextFailed(-1), e: () => go('[data-key="e"]'), c: () => go('[data-key="c"]'),
  w: () => zoom("w"), s: () => zoom("s"), a: () => zoom("a"), d: () => zoom("d"), 0: () => zoom("0"),
  y: () => { const id = find("#pane [data-span]")?.dataset.span ?? find("table.tree")?.dataset.trace; if (id) copy(id, `id ${id}`); },
  Y: () => copy(location.href, "link"), u: switchZone, p: togglePause, "?": () => find("#help").showModal(),
  g: () => { const box = find("#removed"); if (box) { box.open = true; box.scrollIntoView({ block: "nearest" }); find("summary", box).focus(); } else say("nothing was removed from this span"); },
};

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
  } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    if (!arrow(event.key)) return;
  } else if (event.key === "Enter" && onRow) openRow(row);
  else if (event.key === "Enter" && event.target === document.body && find("table.list")) openRow(rows()[0]);
  else if (event.key === " " && onRow && row.dataset.peek) peek(row);
  else if (event.key === "Escape") {
    if (find("table.tree")) history.length > 1 ? history.back() : location.assign("/traces");
    else return;
  } else if (KEYS[event.key] && stored.get("keys") !== "off") KEYS[event.key]();
  else return;
  event.preventDefault();
}

// -- wiring ----------------------------------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const target = event.target;
  const toggle = target.closest("button.toggle");
  if (toggle) {
    const row = toggle.closest("tr");
    setBranch(row, row.getAttribute("aria-expanded") !== "true");
  } else if (target.closest("[data-copy], [data-copy-link]")) copyFrom(target.closest("[data-copy], [data-copy-link]"));
  else if (target.closest("#zone")) switchZone();
  else if (target.closest("#pause")) togglePause();
  else if (target.closest("#help-open")) find("#help").showModal();
  else if (target.closest("tr[id] [data-open]") && !(event.ctrlKey || event.metaKey || event.shiftKey)) {
    // by hand: htmx makes a node of every attribute it finds, and a trace has hundreds of such rows
    event.preventDefault();
    const row = target.closest("tr");
    htmx.ajax("GET", `/trace/${row.closest("table").dataset.trace}/span/${row.id.slice(2)}`, { target: "#pane", swap: "innerHTML" });
    select(row);
    changeAddress({ span: row.id.slice(2) }, false);
  }
});
document.addEventListener("change", (event) => {
  // a name and "no name" exclude each other; before the form is sent, which is later in the same event
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
  const asked = new URLSearchParams(location.search).get("zoom");
  if (asked && request.action.includes("/rows?")) request.action += `&zoom=${encodeURIComponent(asked)}`;
  if (request.action.startsWith("/traces/new?")) {
    const shown = all("tr[data-id]").map((row) => row.dataset.id).join("-");
    request.action += `&shown=${shown}&at=${find("#polled")?.dataset.at ?? ""}`;
  }
  // a form's empty fields would make its address longer than what it says
  for (const [name, value] of [...(request.body ?? [])]) if (value === "") request.body.delete(name);
  if (request.body?.has?.("range")) ["from", "to"].forEach((name) => request.body.delete(name));
});
document.addEventListener("htmx:before:swap", (event) => {
  const status = event.detail.ctx.response?.status ?? 200;
  if (status === 401) location.reload();
  if (status >= 500) fault("The store could not be read; the figures below are from before. somatrace doctor says more.");
  if (status >= 400) event.preventDefault();
  opened = all("#overview details[open]").map((details) => [details.id, find(".scroll", details).scrollTop]);
  focused = document.activeElement?.closest("tr[data-id]")?.dataset.id;
});
let announced = "";
let focused;
let opened = [];
document.addEventListener("htmx:after:swap", (event) => {
  localise();
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
  if (news && news !== announced) say(news);
  announced = news;
  const target = event.detail.ctx.target;
  if (target?.id === "pane" && matchMedia("(max-width: 900px)").matches) find("#pane").scrollIntoView({ block: "start" });
  document.dispatchEvent(new Event("swapped"));
});
document.addEventListener("htmx:error", () => fault("The server did not answer; the figures below are from before."));

find("#keys-on").checked = stored.get("keys") !== "off";
if (find("#minimap")) dragStrip(find("#minimap"));
localise();
rove();
find('tr[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
setInterval(poll, 1000);
