// Numbers over time, with incidents as bands behind them. All charts share one time: what is zoomed in one is in all.

import uPlot from "uplot";
import { byId, el, say } from "./dom.js";
import { state } from "./state.js";
import { bytes, kindWords, number, timeOf } from "./words.js";

const HEIGHT = 170;
/** Room above the highest value, for the names of incidents. */
const HEADROOM = 1.18;
const perSecond = (name) => () => state.points[name]?.map((value, at) => (value === null ? null : value / (state.points.window_s[at] || 1))) ?? [];
const column = (name) => () => state.points[name] ?? [];
const percent = (value) => (value === null || value === undefined ? "unknown" : `${number(value)} %`);
const ms = (value) => (value === null || value === undefined ? "unknown" : `${number(value)} ms`);
const score = (value) => (value === null || value === undefined ? "unknown" : String(Math.round(value)));

// Lines differ by their dashes, not by colour alone.
const CHARTS = [
  ["Connection attempts per second", number, [["asked", "conn_rate", 1], ["usual", "conn_rate_usual", 2, [6, 4]]]],
  ["Handshakes per second", number, [["asked", perSecond("attempted"), 1], ["answered", perSecond("answered"), 2, [6, 4]], ["completed", perSecond("completed"), 3, [2, 3]]]],
  ["Health", score, [["worst", "health", 1], ["network", "layer_network", 2, [6, 4]], ["transport", "layer_transport", 3, [2, 3]], ["application", "layer_application", 4, [8, 3, 2, 3]], ["resource", "layer_resource", 5, [1, 5]]], [0, 100 * HEADROOM]],
  ["Round trip", ms, [["half below", "rtt_p50_ms", 1], ["99 % below", "rtt_p99_ms", 3, [6, 4]]]],
  ["Receive window", bytes, [["half below", "rwnd_p50_bytes", 1], ["1 % below", "rwnd_p1_bytes", 3, [6, 4]]]],
  ["Payload sent again", percent, [["of all", () => (state.points.loss_ratio ?? []).map((value) => (value === null ? null : value * 100)), 3]]],
  ["Packets per second", number, [["packets", perSecond("packets"), 1]]],
  ["Bytes per second", bytes, [["bytes", perSecond("bytes"), 1]]],
];

/** Steps of an axis of bytes. */
const POWERS = Array.from({ length: 45 }, (_, at) => 2 ** at);

const charts = [];
/** Seconds that are shown; `null` is all. */
let range = null;
/** What was zoomed to; `null` follows the run. */
let held = null;
let isSetting = false;

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Makes the charts. */
export function makeCharts() {
  const place = byId("charts");
  for (const [at, [title, format, lines, limits]] of CHARTS.entries()) {
    const canvas = el("div", { class: "plot", role: "img", "aria-label": `${title} over time` });
    const caption = el("figcaption", {}, el("strong", { text: title }), " ", el("span", { class: "now" }));
    // Their places are in the page from its first paint on.
    place.children[at].append(caption, legend(lines), canvas);
    charts.push({ title, format, lines, limits, canvas, said: caption.lastChild, plot: null });
  }
  for (const button of document.querySelectorAll("[data-range]")) {
    button.addEventListener("click", () => {
      range = button.dataset.range === "all" ? null : Number(button.dataset.range);
      held = null;
      pressed();
      drawCharts();
    });
  }
  for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => zoom(button.dataset.zoom));
  const resized = new ResizeObserver(() => {
    for (const { plot, canvas } of charts) plot?.setSize({ width: canvas.clientWidth, height: HEIGHT });
  });
  for (const { canvas } of charts) resized.observe(canvas);
  pressed();
}

/** All there is, not zoomed: it is another time. */
export function showAll() {
  range = null;
  held = null;
  pressed();
}

function legend(lines) {
  const sample = (dash, colour) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    line.setAttribute("viewBox", "0 0 28 6");
    line.setAttribute("class", `sample line-${colour}`);
    line.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", "M0 3H28");
    if (dash) path.setAttribute("stroke-dasharray", dash.join(" "));
    line.append(path);
    return line;
  };
  return el("p", { class: "legend" }, lines.map(([name, , colour, dash]) => el("span", {}, sample(dash, colour), ` ${name}`)));
}

function pressed() {
  for (const button of document.querySelectorAll("[data-range]")) {
    const is = !held && (button.dataset.range === "all" ? range === null : Number(button.dataset.range) === range);
    button.setAttribute("aria-pressed", String(is));
  }
}

/** What is to be seen now. */
function span() {
  if (held) return held;
  const times = state.points.ts_s;
  const last = times.at(-1) ?? Date.now() / 1000;
  const first = times.length ? times[0] - (state.points.window_s[0] ?? 1) : last - 60;
  return [range === null ? first : Math.max(first, last - range), Math.max(last, first + 1)];
}

function zoom(how) {
  const [from, to] = span();
  const length = to - from;
  const times = state.points.ts_s;
  if (how === "reset") held = null;
  else if (how === "in") held = [from + length / 4, to - length / 4];
  else if (how === "out") held = [from - length / 2, to + length / 2];
  else held = how === "back" ? [from - length / 2, to - length / 2] : [from + length / 2, to + length / 2];
  if (held && (held[1] < times[0] || held[0] > times.at(-1))) held = [from, to];
  pressed();
  drawCharts();
}

function make(chart) {
  const axis = { stroke: style("--text-soft"), grid: { stroke: style("--grid"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const series = chart.lines.map(([label, , colour, dash]) => ({
    label, dash, stroke: style(`--line-${colour}`), width: 2, spanGaps: false,
    points: { show: (plot, at) => plot.data[at].length < 3 || (isAlone(plot.data[at]) && plot.data[at].length < 40), size: 5 },
  }));
  return new uPlot(
    {
      width: chart.canvas.clientWidth || 300,
      height: HEIGHT,
      tzDate: (ts) => uPlot.tzDate(new Date(ts * 1000), "Etc/UTC"),
      fmtDate: undefined,
      legend: { show: false },
      cursor: { sync: { key: "time" }, drag: { x: true, y: false, setScale: true }, points: { size: 6 } },
      scales: {
        x: { time: true },
        y: { range: (_, low, high) => chart.limits ?? [Math.min(0, low ?? 0), high > 0 ? high * HEADROOM : 1] },
      },
      axes: [
        { ...axis, size: 30, space: 70, values: (_, ticks) => ticks.map((second) => timeLabel(second, ticks)) },
        { ...axis, size: 68, space: 34, ...(chart.format === bytes ? { incrs: POWERS } : {}), values: (_, ticks) => ticks.map((tick) => chart.format(tick)) },
      ],
      series: [{}, ...series],
      hooks: {
        // Bands lie behind the grid, their names before it.
        drawClear: [(plot) => bands(plot)],
        draw: [(plot) => names(plot)],
        setScale: [(plot, key) => key === "x" && !isSetting && hold(plot)],
        setCursor: [(plot) => tell(chart, plot.cursor.idx)],
      },
    },
    data(chart),
    chart.canvas,
  );
}

const isAlone = (values) => values.filter((value) => value !== null).length < 3;

function timeLabel(second, ticks) {
  const time = new Date(second * 1000).toISOString();
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : 1;
  return step >= 60 ? time.slice(11, 16) : step >= 1 ? time.slice(11, 19) : time.slice(14, 21);
}

/** A zoom by hand in one chart is a zoom in all. */
function hold(plot) {
  const { min, max } = plot.scales.x;
  if (min === null || max === null) return;
  held = max - min < 0.2 ? null : [min, max];
  pressed();
  requestAnimationFrame(drawCharts);
}

/** Incidents of the time that is shown, first ones first: from where to where, and what they are called. */
function shownIncidents(plot) {
  const { left, width } = plot.bbox;
  const place = (incident) => ({
    from: plot.valToPos(timeOf(incident.opened_ts), "x", true),
    to: incident.closed_ts ? plot.valToPos(timeOf(incident.closed_ts), "x", true) : left + width,
    name: `${incident.severity} ${kindWords(incident.kind)}`,
    rank: `${incident.closed_ts ? 1 : 0}${incident.severity}`,
  });
  return [...state.incidents.values()].map(place).filter(({ from, to }) => to >= left && from <= left + width).sort((one, other) => one.from - other.from);
}

/** Draws within the plot. */
function within(plot, drawn) {
  const { ctx } = plot;
  const { left, top, width, height } = plot.bbox;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  drawn(ctx, plot.bbox);
  ctx.restore();
}

function bands(plot) {
  within(plot, (ctx, { left, top, height }) => {
    const shown = shownIncidents(plot);
    // Where bands overlap there is one of them.
    let filled = left;
    ctx.fillStyle = style("--band");
    for (const { from, to } of shown) {
      const start = Math.max(from, filled);
      if (to > start) ctx.fillRect(start, top, Math.max(2, to - start), height);
      filled = Math.max(filled, to);
    }
    ctx.fillStyle = style("--band-edge");
    for (const { from } of shown) ctx.fillRect(from, top, devicePixelRatio, height);
  });
}

function names(plot) {
  within(plot, (ctx, { left, top, width }) => {
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.fillStyle = style("--text-soft");
    const taken = [];
    // Those that are open come first, then the worst: not all may find room.
    for (const { from, name } of shownIncidents(plot).sort((one, other) => one.rank.localeCompare(other.rank))) {
      // Right of the edge; where there is no room, as far left as it takes.
      const length = ctx.measureText(name).width + 4 * devicePixelRatio;
      const at = Math.min(Math.max(from, left) + 4 * devicePixelRatio, left + width - length);
      if (at < left || taken.some(([start, end]) => at < end && at + length > start)) continue;
      ctx.fillText(name, at, top + 12 * devicePixelRatio);
      taken.push([at, at + length]);
    }
  });
}

function data(chart) {
  const times = state.points.ts_s;
  const lines = chart.lines.map(([, from]) => (typeof from === "string" ? column(from)() : from()));
  return [times, ...lines.map((line) => (line.length === times.length ? line : times.map(() => null)))];
}

/** In words: at the cursor, else at the newest window. */
function tell(chart, at) {
  if (!chart.plot) return;
  const index = at ?? chart.plot.data[0].length - 1;
  const known = chart.lines.map(([name], line) => [name, chart.plot.data[line + 1][index]]).filter(([, value]) => value !== null && value !== undefined);
  const values = known.length ? known.map(([name, value]) => `${name} ${chart.format(value)}`) : ["unknown"];
  say(chart.said, index < 0 ? "no window yet" : values.join(", "));
}

/** Draws all of them anew. */
export function drawCharts() {
  if (byId("overview").hidden) return;
  isSetting = true;
  const [min, max] = span();
  for (const chart of charts) {
    if (!chart.plot) chart.plot = make(chart);
    chart.plot.setData(data(chart), false);
    chart.plot.setScale("x", { min, max });
    chart.plot.cursor.idx ?? tell(chart, null);
    chart.canvas.setAttribute("aria-label", `${chart.title} over time; newest: ${chart.said.textContent}`);
  }
  // Scales are set in a microtask.
  queueMicrotask(() => queueMicrotask(() => (isSetting = false)));
}

/** Other colours: all anew. */
export function recolourCharts() {
  for (const chart of charts) {
    chart.plot?.destroy();
    chart.plot = null;
  }
  drawCharts();
}
