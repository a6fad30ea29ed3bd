// Behavior of the trace page: the tree, the pane, stepping through marks, zoom.
// Without scripts each of these is a link.
"use strict";

const here = location.pathname;
const strip = find("#minimap");
const pane = find("#pane");
const table = find("table.tree");
const isNarrow = () => matchMedia("(max-width: 900px)").matches;

// -- parts of the page ----------------------------------------------------------------------------------

//: fetches the markup at an address; the thrown error's message gives the reason for a failure
async function part(address) {
  let answer;
  try {
    answer = await fetch(address);
  } catch {
    throw new Error("the server did not respond");
  }
  if (answer.status === 401) location.reload();
  if (!answer.ok) throw new Error(answer.status === 404 ? "it is no longer in the store" : "the store could not be read");
  return answer.text();
}

//: marks `element` as busy while the part at `address` is fetched, then calls `put` with the markup or `failed`
//: with the reason, unless a newer request replaced this one; resolves to whether the markup was put in place
async function busy(element, address, put, failed) {
  const turn = element.turn = (element.turn ?? 0) + 1;
  element.ariaBusy = "true";
  find(".fault", element)?.remove();
  try {
    const markup = await part(address);
    if (element.turn === turn) put(markup);
    return element.turn === turn;
  } catch (error) {
    if (element.turn === turn) failed(error.message);
    return false;
  } finally {
    if (element.turn === turn) element.removeAttribute("aria-busy");
  }
}

// -- the tree -------------------------------------------------------------------------------------------

const level = (row) => Number(row.getAttribute("aria-level"));

function* below(row) {
  for (let next = row.nextElementSibling; next && level(next) > level(row); next = next.nextElementSibling) yield next;
}

//: inserts the rows that `link` loads after `row`
function load(row, link) {
  const address = new URL(link.href);
  address.pathname = `${here}/rows`;
  return busy(row, address, (markup) => {
    row.insertAdjacentHTML("afterend", markup);
    showZoom();
  }, (why) => showFault(find("td div", row), `not loaded: ${why}`));
}

async function setBranch(row, open) {
  const toggle = find("a.toggle", row);
  if (!toggle || row.ariaBusy) return;
  if (open && !("loaded" in toggle.dataset)) {
    if (!await load(row, toggle)) return;
    toggle.dataset.loaded = "";
  }
  row.setAttribute("aria-expanded", String(open));
  toggle.setAttribute("aria-label", open ? "Collapse branch" : "Expand branch");
  const inside = find(".inside", row);
  if (inside) inside.hidden = open;
  let closed = Infinity;
  for (const child of below(row)) {
    if (level(child) <= closed) closed = Infinity;
    child.hidden = !open || closed < Infinity;
    if (child.getAttribute("aria-expanded") === "false" && closed === Infinity) closed = level(child);
  }
}

async function showMore(row) {
  if (row.ariaBusy || !await load(row, find("a", row))) return;
  const hadFocus = row.contains(document.activeElement);
  const first = row.nextElementSibling;
  row.remove();
  if (hadFocus) focusRow(first);
  else rove();
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

// -- the chosen span ------------------------------------------------------------------------------------

function choose(row) {
  const id = row.id.slice(2);
  return busy(pane, `${here}/span/${id}`, (markup) => {
    pane.innerHTML = markup;
    pane.scrollTop = 0;
    all('[aria-selected="true"]', table).forEach((other) => other.removeAttribute("aria-selected"));
    row.setAttribute("aria-selected", "true");
    keep({ span: id });
    localize(pane);
    showMark();
    if (isNarrow()) pane.scrollIntoView({ block: "start" });
  }, (why) => {
    const line = showFault(pane, `“${find(".label", row).textContent}” was not loaded: ${why}`);
    pane.prepend(line);
    if (isNarrow()) line.scrollIntoView({ block: "nearest" });
  });
}

// -- the address: it contains the selected span and the view, as do links that keep them ------------------

function changed(address, change) {
  const url = new URL(address, location.href);
  for (const [name, value] of Object.entries(change)) {
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  }
  return url;
}

function keep(change) {
  history.replaceState(history.state, "", changed(location.href, change));
  for (const link of all("a[data-keep]")) {
    // a step link keeps its own span
    const { span, ...others } = change;
    link.href = changed(link.href, "step" in link.dataset ? others : change);
  }
  for (const [name, value] of Object.entries(change)) {
    const field = find(`#within input[name="${name}"]`);
    if (field) [field.value, field.disabled] = [value, !value];
  }
}

// -- marks: failed spans, or the matches of a search ------------------------------------------------------

function marks() {
  const { ids, first, total } = find("#marks").dataset;
  const list = ids.split(" ");
  return { ids: list, first: Number(first), total: Number(total), place: list.indexOf(find("[data-span]", pane)?.dataset.span) };
}

function showMark() {
  if (!find("#marks")) return;
  const { first, place } = marks();
  find("#mark").textContent = place < 0 ? "–" : (first + place + 1).toLocaleString("en");
}

function nextMark(by) {
  if (!find("#marks")) {
    announce("no span failed");
    return;
  }
  const { ids, first, total, place } = marks();
  const next = place < 0 && by < 0 ? ids.length - 1 : place + by;
  // of many marks, the page has only those around the chosen span
  if (total > ids.length && !ids[next]) {
    announce(by > 0 ? "this is the last one" : "this is the first one");
    return;
  }
  const id = ids[(next + ids.length) % ids.length];
  const row = document.getElementById(`s-${id}`);
  const isEdge = (next === 0 && first > 0) || (next === ids.length - 1 && first + ids.length < total);
  if (row && row.offsetParent !== null && !isEdge) {
    focusRow(row);
    choose(row);
  } else location.assign(changed(location.href, { span: id, under: "", part: "" }));
}

// -- zoom: percent of the trace, in the address -----------------------------------------------------------

const stretch = () => (strip.dataset.zoom || "0-100").split("-").map(Number);

function zoom(how) {
  const [from, to] = stretch();
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
  const text = from <= 0 && to >= 100 ? "" : `${from.toFixed(3)}-${to.toFixed(3)}`;
  strip.dataset.zoom = text;
  keep({ zoom: text });
  showZoom();
}

//: bars are positioned in the whole trace, and each SVG shows a part of it, so only the view box changes
function showZoom() {
  const [from, to] = stretch();
  const text = strip.dataset.zoom;
  for (const bar of all(".time svg", table ?? pane)) bar.setAttribute("viewBox", `${from} 0 ${to - from} 12`);
  find(".outside", strip).setAttribute("d", text ? `M0 0H${from * 6}V6H0zM${to * 6} 0H600V6H${to * 6}z` : "");
  find("#whole").hidden = !text;
  find("#whole span").textContent = text;
  const shares = [from, (from + to) / 2, to];
  all("#ticks span").forEach((tick, place) => { tick.textContent = shares[place] ? duration(table.dataset.length * shares[place] / 100) : "0"; });
}

//: formatted as on the server
function duration(nanoseconds) {
  for (const [unit, size] of [["µs", 1e3], ["ms", 1e6], ["s", 1e9]]) {
    const amount = nanoseconds / size;
    if (amount < (unit === "s" ? 60 : 999.5)) {
      return `${unit === "µs" || amount >= 99.95 ? amount.toFixed(0) : Number(amount.toPrecision(3))} ${unit}`;
    }
  }
  const seconds = Math.round(nanoseconds / 1e9);
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, "0")} s`;
}

function dragStrip() {
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

// -- wiring ---------------------------------------------------------------------------------------------

function showRemoved() {
  const box = find("#removed");
  if (!box) return announce("nothing was removed from this span");
  box.open = true;
  box.scrollIntoView({ block: "nearest" });
  return find("summary", box).focus();
}

//: goes back to the list as it was left, if the reader came from there, otherwise to the list with this filter
function leave() {
  if (document.referrer && new URL(document.referrer).pathname === "/traces" && history.length > 1) history.back();
  else go("#back");
}

Object.assign(KEYS, {
  n: () => nextMark(1), N: () => nextMark(-1), e: () => go('[data-key="e"]'), c: () => go('[data-key="c"]'),
  w: () => zoom("w"), s: () => zoom("s"), a: () => zoom("a"), d: () => zoom("d"), 0: () => zoom("0"), g: showRemoved,
  y: () => { const id = find("[data-span]", pane)?.dataset.span ?? table?.dataset.trace; if (id) copy(id, `ID ${id}`); },
});
Object.assign(ALWAYS, { ArrowLeft: arrow, ArrowRight: arrow, Escape: leave });

document.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  const link = event.target.closest("a");
  const row = event.target.closest("table.tree [data-row]");
  if (link?.matches("#reload")) location.reload();
  else if (link?.matches("#whole")) zoomTo(0, 100);
  else if (link?.matches("[data-step]")) nextMark(Number(link.dataset.step));
  else if (link?.matches(".toggle")) setBranch(row, row.getAttribute("aria-expanded") !== "true");
  else if (row?.matches(".more")) showMore(row);
  // anywhere in the row, unless the reader is selecting text to copy
  else if (row && find("[data-open]", row) && (link || getSelection().isCollapsed)) choose(row);
  else return;
  event.preventDefault();
});

dragStrip();
// the height of the sticky header above the tree depends on the width
new ResizeObserver(([{ target }]) => document.documentElement.style.setProperty("--held-height", `${target.offsetHeight}px`)).observe(find("#held"));
if (new URLSearchParams(location.search).get("span")) find('tr[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
