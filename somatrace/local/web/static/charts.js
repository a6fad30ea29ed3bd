// The overview's charts, drawn from the table below them.
"use strict";

const CHARTS = {
  traces: [["Traces", 1, "--llm", [], "bars"], ["Failed", 2, "--error", [], "bars"]],
  tokens: [["In", 3, "--llm", []], ["Out", 4, "--tool", [6, 4]]],
  latency: [["p50", 5, "--tool", []], ["p95", 6, "--llm", [8, 4]], ["p99", 7, "--other", [2, 3]]],
};
/** The sort order of the trace list that a point links to. */
const LIST_ORDER = { latency: { sort: "duration" }, tokens: { sort: "tokens" } };
let drawn = [];

function readPoints(box) {
  const step = Number(box.dataset.step);
  const found = new Map(all("#points [data-point]").map((row) => {
    const numbers = row.dataset.point.split(",").map(Number);
    return [numbers[0], numbers];
  }));
  const columns = [[], [], [], [], [], [], [], []];
  for (let at = Number(box.dataset.since); at < Number(box.dataset.until); at += step) {
    const point = found.get(at);
    columns[0].push(at);
    // without traces, counts are zero and durations are a gap
    for (let column = 1; column < 8; column += 1) columns[column].push(point ? point[column] : column < 5 ? 0 : null);
  }
  return columns;
}

function duration(nanoseconds) {
  if (nanoseconds >= 1.728e14) return `${+(nanoseconds / 8.64e13).toPrecision(3)} d`;
  if (nanoseconds >= 3.6e12) return `${+(nanoseconds / 3.6e12).toPrecision(3)} h`;
  if (nanoseconds >= 6e10) return `${+(nanoseconds / 6e10).toPrecision(3)} min`;
  if (nanoseconds >= 1e9) return `${+(nanoseconds / 1e9).toPrecision(3)} s`;
  return nanoseconds >= 1e6 ? `${+(nanoseconds / 1e6).toPrecision(3)} ms` : `${Math.round(nanoseconds / 1e3)} µs`;
}

const count = (number) => (number >= 1e6 ? `${+(number / 1e6).toPrecision(3)} M` : number >= 1e4 ? `${+(number / 1e3).toPrecision(3)} k` : `${number}`);

/** Axis labels: the hour, with the date below the first label and wherever it changes. */
function clock(u, ticks) {
  let before = "";
  return ticks.map((at) => {
    const shifted = isLocal() ? at - new Date(at * 1000).getTimezoneOffset() * 60 : at;
    const iso = new Date(shifted * 1000).toISOString();
    const day = iso.slice(5, 10);
    const text = day === before ? iso.slice(11, 16) : `${iso.slice(11, 16)}\n${day}`;
    before = day;
    return text;
  });
}

function follow(link, from, to, more = {}) {
  const address = new URL(link, location.href);
  for (const [name, value] of Object.entries(more)) address.searchParams.set(name, value);
  address.searchParams.set("from", Math.round(from * 1000));
  address.searchParams.set("to", Math.round(to * 1000));
  location.assign(address);
}

function draw(figure, box, columns) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const name = figure.dataset.chart;
  const lines = CHARTS[name];
  const format = name === "latency" ? duration : count;
  const step = Number(box.dataset.step);
  const axis = { stroke: () => color("--muted"), grid: { stroke: () => color("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  const plot = find(".plot", figure);
  const few = columns[0].length < 3 || columns[1].filter(Boolean).length < 3;
  const chart = new uPlot({
    width: plot.clientWidth || 320, height: 160, padding: [8, 24, 0, 0],
    tzDate: (seconds) => (isLocal() ? new Date(seconds * 1000) : uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC")),
    cursor: { drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
    legend: { live: true },
    scales: { x: { range: () => [columns[0][0] - step / 2, columns[0].at(-1) + step / 2] }, y: { range: (u, low, high) => [0, Math.max(high * 1.1, 1)] } },
    axes: [{ ...axis, size: 40, space: 56, values: clock }, { ...axis, size: 58, values: (u, ticks) => ticks.map(format) }],
    series: [{ value: (u, at) => (at === null ? "" : new Date(isLocal() ? at * 1000 - new Date(at * 1000).getTimezoneOffset() * 60000 : at * 1000).toISOString().slice(5, 16).replace("T", " ")) },
      ...lines.map(([label, , paint, dash, kind]) => ({
        label, dash, width: 2, stroke: () => color(paint), value: (u, value) => (value === null ? "–" : format(value)),
        ...(kind === "bars" ? { fill: () => color(paint), paths: uPlot.paths.bars({ size: [0.8, 24] }), points: { show: false }, width: 0 } : { points: { show: few || undefined, size: 6 } }),
      }))],
    hooks: {
      setSelect: [(u) => {
        if (u.select.width < 4) return;
        follow(box.dataset.zoom, u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"));
      }],
    },
  }, [columns[0], ...lines.map(([, column]) => columns[column])], plot);
  chart.over.addEventListener("click", () => {
    const at = columns[0][chart.cursor.idx];
    if (at === undefined || !columns[1][chart.cursor.idx] || chart.select.width > 4) return;
    follow(box.dataset.link, at, at + step, LIST_ORDER[name]);
  });
  chart.over.addEventListener("dblclick", () => location.assign(new URL(box.dataset.zoom, location.href)));
  plot.dataset.drawn = String(columns[0].length);
  return chart;
}

let round = 0;

/** Draws each chart in its own task, so that the page stays responsive. */
async function drawAll() {
  round += 1;
  const mine = round;
  drawn.forEach((chart) => chart.destroy());
  drawn = [];
  const box = find(".charts");
  if (!box) return;
  const columns = readPoints(box);
  for (const figure of all("figure[data-chart]", box)) {
    drawn.push(draw(figure, box, columns));
    await new Promise((next) => setTimeout(next));
    if (mine !== round) return;
  }
}

let wide = 0;
new ResizeObserver(() => {
  if (document.documentElement.clientWidth !== wide) {
    wide = document.documentElement.clientWidth;
    drawn.forEach((chart) => chart.setSize({ width: chart.root.parentElement.clientWidth, height: 160 }));
  }
}).observe(document.documentElement);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach((chart) => chart.redraw(false)));
document.addEventListener("swapped", () => { if (find(".plot:not([data-drawn])")) drawAll(); });
document.addEventListener("zone", drawAll);
drawAll();
