// Who is at whom: networks that ask, listeners, hosts and services, and the incidents at them, root causes in front.
//
// By the run's own graph (`graph` lines) where there is one; of history, and before the first, by windows and incidents.

import { byId, put, say, svg } from "./dom.js";
import { hrefOf, incidentsInOrder, state } from "./state.js";
import { kindWords, number, plural, targetWords } from "./words.js";

/** At most so many of each. */
const NODES_MAX = 8;
const STEP = 40;
const TOP = 34;
const EVERY_MS = 5_000;
/** Middle and width of each column. */
const COLUMNS = { network: [120, 200], listener: [410, 210], host: [680, 180], incident: [970, 300] };
const WIDTH = 1170;
let askedAt = 0;
let told = null;

/** Asks for the run's graph now and then, and draws what is known. */
export async function drawGraph() {
  draw();
  if (state.past || Date.now() - askedAt < EVERY_MS) return;
  askedAt = Date.now();
  try {
    const answer = await fetch("/api/graph");
    if (answer.ok) told = await answer.json();
  } catch {
    return;
  }
  draw();
}

/** As the graph names it. */
function nodeOf(target) {
  if (!target?.addr) return null;
  if (target.port === null || target.port === undefined) return target.addr;
  return target.addr.includes(":") ? `[${target.addr}]:${target.port}` : `${target.addr}:${target.port}`;
}

const weight = (sums) => (sums.asked ?? 0) + (sums.connections ?? 0);

/** What there is to draw: names by column, edges with their weights. */
function model(incidents) {
  const graph = state.past ? null : told;
  const columns = { network: new Map(), listener: new Map(), host: new Map() };
  const columnOf = (node) => (node.type === "service" ? "host" : node.type);
  for (const incident of incidents) {
    const name = nodeOf(incident.target);
    if (name) columns[name === incident.target.addr ? "host" : "listener"].set(name, Infinity);
  }
  const edges = [];
  if (graph) {
    const asks = new Set(graph.edges.map((edge) => edge.to));
    for (const node of graph.nodes) {
      // Hosts that only ask are in their networks.
      if (node.type === "host" && !asks.has(node.id)) continue;
      columns[columnOf(node)].set(node.id, node.incidents.length ? Infinity : weight(node));
    }
    edges.push(...graph.edges.map((edge) => [edge.from, edge.to, weight(edge)]));
  } else {
    for (const listener of state.window?.listeners ?? []) columns.listener.set(nodeOf(listener.target), columns.listener.get(nodeOf(listener.target)) ?? listener.packets ?? 0);
    for (const incident of incidents) {
      for (const network of incident.sources?.prefixes?.slice(0, 3) ?? []) {
        columns.network.set(network.addr, (columns.network.get(network.addr) ?? 0) + network.syn_per_s);
        edges.push([network.addr, nodeOf(incident.target), network.syn_per_s]);
      }
    }
  }
  const kept = {};
  let left = 0;
  for (const [name, nodes] of Object.entries(columns)) {
    kept[name] = [...nodes].sort((one, other) => (other[1] > one[1]) - (other[1] < one[1]) || (one[0] < other[0] ? -1 : 1)).slice(0, NODES_MAX).map(([id]) => id);
    left += nodes.size - kept[name].length;
  }
  return { kept, edges, left: left + (graph?.nodes_untold ?? 0), isWhole: Boolean(graph) };
}

function draw() {
  const { open, closed } = incidentsInOrder();
  const incidents = [...open, ...closed].slice(0, NODES_MAX);
  const { kept, edges, left, isWhole } = model(incidents);
  const most = Math.max(1, incidents.length, ...Object.values(kept).map((names) => names.length));
  const height = most * STEP + TOP;
  const y = (at, count) => TOP + ((at + 0.5) * (height - TOP)) / count;
  const places = new Map();
  for (const [column, names] of Object.entries(kept)) names.forEach((id, at) => places.set(id, { x: COLUMNS[column][0], half: COLUMNS[column][1] / 2, y: y(at, names.length) }));
  const roots = new Set(incidents.map((incident) => incident.because_of?.id).filter(Boolean));
  const rootNodes = new Set(incidents.filter((incident) => roots.has(incident.id)).map((incident) => nodeOf(incident.target)));
  const shapes = [["networks that ask", "network"], ["listeners", "listener"], ["hosts and services", "host"], ["incidents", "incident"]].map(([text, column]) => svg("text", { x: COLUMNS[column][0], y: 16, class: "title", text }));
  shapes.push(...edges.map(([from, to, sum]) => edge(places.get(from), places.get(to), sum)).filter(Boolean));
  incidents.forEach((incident, at) => shapes.push(...ties(incident, at, incidents, places, roots, y)));
  for (const [column, names] of Object.entries(kept)) names.forEach((id) => shapes.push(box(places.get(id), id, `${column}${rootNodes.has(id) ? " root" : ""}`)));
  incidents.forEach((incident, at) => {
    const isRoot = roots.has(incident.id);
    const words = `${incident.severity} ${kindWords(incident.kind)}${isRoot ? " · root cause" : ""}`;
    const kind = `${incident.state === "closed" ? "closed" : "open"}${isRoot ? " root" : ""}`;
    const place = { x: COLUMNS.incident[0], half: COLUMNS.incident[1] / 2, y: y(at, incidents.length) };
    shapes.push(svg("a", { href: hrefOf(incident), "aria-label": `${words} on ${targetWords(incident.target)}` }, box(place, words, kind)));
  });
  const count = kept.network.length + kept.listener.length + kept.host.length;
  say(byId("graph-about"), count + incidents.length
    ? `${isWhole ? "Since the start of the run" : "By windows and incidents"}: ${plural(kept.network.length, "network")}, ${plural(kept.listener.length, "listener")}, ${plural(incidents.length, "incident")}${left ? `, ${number(left)} less busy not drawn` : ""}; the thicker a line, the more is asked; dashed incidents are closed; the root cause and what leads to it is framed thick.`
    : "Nothing to draw yet.");
  const arrow = svg("defs", {}, svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 5, markerHeight: 5, orient: "auto" }, svg("path", { d: "M0 0L8 4L0 8z", class: "arrow" })));
  put(byId("graph"), svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "xMinYMin", role: "group", "aria-label": "Who is at whom" }, arrow, shapes));
}

const curve = (x1, y1, x2, y2) => `M${x1} ${y1}C${(x1 + x2) / 2} ${y1} ${(x1 + x2) / 2} ${y2} ${x2} ${y2}`;

function edge(from, to, sum) {
  if (!from || !to) return null;
  const isBack = from.x > to.x;
  const path = svg("path", { d: curve(from.x + (isBack ? -from.half : from.half), from.y, to.x + (isBack ? to.half : -to.half), to.y), class: `edge${isBack ? " back" : ""}` });
  path.style.strokeWidth = (1 + Math.min(4, Math.log10(1 + sum))).toFixed(1);
  return path;
}

/** From an incident to where it is, and to its cause. */
function ties(incident, at, incidents, places, roots, y) {
  const own = y(at, incidents.length);
  const [x, width] = COLUMNS.incident;
  const shapes = [];
  const place = places.get(nodeOf(incident.target));
  if (place) shapes.push(svg("path", { d: curve(place.x + place.half, place.y, x - width / 2, own), class: `edge tie ${roots.has(incident.id) ? "root" : ""}` }));
  const cause = incidents.findIndex((other) => other.id === incident.because_of?.id);
  if (cause >= 0) {
    const [right, from] = [x + width / 2, y(cause, incidents.length)];
    shapes.push(svg("path", { d: `M${right} ${from}C${right + 40} ${from} ${right + 40} ${own} ${right + 4} ${own}`, class: "edge root", "marker-end": "url(#arrow)" }));
  }
  return shapes;
}

const box = ({ x, half, y }, text, kind) => svg("g", { class: `node ${kind}` },
  svg("title", { text }), svg("rect", { x: x - half, y: y - 17, width: 2 * half, height: 34, rx: 5 }), svg("text", { x, y: y + 5, text: shorten(text, Math.floor((2 * half) / 8.6)) }));

const shorten = (text, letters) => (text.length > letters ? `${text.slice(0, letters - 1)}…` : text);
