// Two maps: packets of listeners over time, and who is at whom with the incidents in between.

import { byId, el, put, say, svg } from "./dom.js";
import { incidentsInOrder, state } from "./state.js";
import { clock, kindWords, number, plural, seconds, targetWords } from "./words.js";

const HEAT_EVERY_MS = 3_000;
let heatAt = 0;

/** Asks for the heat map, now and then. */
export async function drawHeat(isForced = false) {
  if (!isForced && Date.now() - heatAt < HEAT_EVERY_MS) return;
  heatAt = Date.now();
  let heat;
  try {
    const answer = await fetch("/api/heat");
    if (!answer.ok) return;
    heat = await answer.json();
  } catch {
    return;
  }
  const rows = [...heat.rows];
  if (heat.others) rows.push({ name: "all others", cells: heat.others });
  const most = Math.max(1, ...rows.flatMap((row) => row.cells));
  say(byId("heat-about"), rows.length
    ? `Each row is a listener, each column ${seconds(heat.column_s)}; the fuller the cell, the more packets, to ${number(Math.round(most / heat.column_s))} a second; each step is ten times more.`
    : "No listener was seen yet.");
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--heat").trim();
  const body = rows.map((row) => {
    const canvas = el("canvas", { width: heat.columns, height: 1, role: "img", "aria-label": `packets of ${row.name} over time` });
    const context = canvas.getContext("2d");
    context.fillStyle = ink;
    row.cells.forEach((cell, at) => {
      // In tenths of what is most, logarithmic: four steps.
      context.globalAlpha = cell <= 0 ? 0 : Math.max(0.12, 1 + Math.log10(cell / most) / 4);
      context.fillRect(at, 0, 1, 1);
    });
    return el("tr", {}, el("th", { scope: "row", text: row.name }), el("td", { class: "cells" }, canvas), el("td", { class: "n", text: number(Math.round(row.cells.reduce((sum, cell) => sum + cell, 0))) }));
  });
  const end = heat.start_s === null ? null : heat.start_s + heat.columns * heat.column_s;
  put(byId("heat"), el("table", { class: "heat" },
    el("caption", { class: "unseen", text: "Packets of listeners over time" }),
    el("thead", {}, el("tr", {}, el("th", { scope: "col", text: "listener" }), el("th", { scope: "col", class: "span" }, el("span", { text: clock(heat.start_s) }), el("span", { text: clock(end) })), el("th", { scope: "col", class: "n", text: "packets" }))),
    el("tbody", {}, body)));
}

/** At most so many of each. */
const NODES_MAX = 8;
const STEP = 40;

/** Draws who is at whom: networks that send, listeners that are asked, incidents at them, root causes in front. */
export function drawGraph() {
  const { open, closed } = incidentsInOrder();
  const incidents = [...open, ...closed].slice(0, NODES_MAX);
  const names = new Set(incidents.map((incident) => targetWords(incident.target)));
  for (const listener of state.window?.listeners ?? []) if (names.size < NODES_MAX) names.add(targetWords(listener.target));
  const networks = new Map();
  for (const incident of incidents) {
    for (const network of incident.sources?.prefixes?.slice(0, 3) ?? []) {
      if (networks.size < NODES_MAX) networks.set(network.addr, [...(networks.get(network.addr) ?? []), targetWords(incident.target)]);
    }
  }
  const targets = [...names];
  const height = Math.max(1, networks.size, targets.length, incidents.length) * STEP + 34;
  const place = (at, count) => 34 + ((at + 0.5) * (height - 34)) / count;
  const roots = new Set(incidents.map((incident) => incident.because_of?.id).filter(Boolean));
  const shapes = [["networks that send", 130], ["listeners and hosts", 480], ["incidents", 830]].map(([text, x]) => svg("text", { x, y: 16, class: "title", text }));
  const edge = (x1, y1, x2, y2, kind) => svg("path", { d: `M${x1} ${y1}C${(x1 + x2) / 2} ${y1} ${(x1 + x2) / 2} ${y2} ${x2} ${y2}`, class: `edge ${kind}` });
  [...networks.values()].forEach((asked, at) => {
    for (const name of asked) shapes.push(edge(240, place(at, networks.size), 370, place(targets.indexOf(name), targets.length), ""));
  });
  incidents.forEach((incident, at) => {
    const kind = roots.has(incident.id) ? "root" : "";
    shapes.push(edge(590, place(targets.indexOf(targetWords(incident.target)), targets.length), 700, place(at, incidents.length), kind));
    const cause = incidents.findIndex((other) => other.id === incident.because_of?.id);
    if (cause >= 0) {
      const [from, to] = [place(cause, incidents.length), place(at, incidents.length)];
      shapes.push(svg("path", { d: `M960 ${from}C${1000} ${from} ${1000} ${to} 964 ${to}`, class: "edge root", "marker-end": "url(#arrow)" }));
    }
  });
  const node = (x, y, width, text, kind, label) => svg("g", { class: `node ${kind}` },
    svg("title", { text: label ?? text }), svg("rect", { x: x - width / 2, y: y - 17, width, height: 34, rx: 5 }), svg("text", { x, y: y + 5, text: shorten(text, Math.floor(width / 8.8)) }));
  [...networks.keys()].forEach((name, at) => shapes.push(node(130, place(at, networks.size), 220, name, "")));
  targets.forEach((name, at) => shapes.push(node(480, place(at, targets.length), 220, name, "listener")));
  incidents.forEach((incident, at) => {
    const isRoot = roots.has(incident.id);
    const words = `${incident.severity} ${kindWords(incident.kind)}${isRoot ? " · root cause" : ""}`;
    const kind = `${incident.state === "closed" ? "closed" : "open"}${isRoot ? " root" : ""}`;
    shapes.push(svg("a", { href: `#/incident/${encodeURIComponent(incident.id)}`, "aria-label": `${words} on ${targetWords(incident.target)}` }, node(830, place(at, incidents.length), 260, words, kind)));
  });
  say(byId("graph-about"), targets.length
    ? `${plural(networks.size, "network")}, ${plural(targets.length, "listener")}, ${plural(incidents.length, "incident")}; dashed incidents are closed; a thick line leads to the root cause.`
    : "Nothing to draw yet.");
  const arrow = svg("defs", {}, svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 5, markerHeight: 5, orient: "auto" }, svg("path", { d: "M0 0L8 4L0 8z", class: "arrow" })));
  put(byId("graph"), svg("svg", { viewBox: `0 0 1010 ${height}`, preserveAspectRatio: "xMinYMin", role: "group", "aria-label": "Who is at whom" }, arrow, shapes));
}

const shorten = (text, letters) => (text.length > letters ? `${text.slice(0, letters - 1)}…` : text);
