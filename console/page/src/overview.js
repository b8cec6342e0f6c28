// The overview: a verdict in words, what is open, health, who is asked, who asks, quality.

import { byId, el, put, say, table } from "./dom.js";
import { hrefOf, incidentsInOrder, live, now, state } from "./state.js";
import { bytes, featureWords, incidentWords, kindWords, number, plural, seconds, share, targetWords, timeOf, clock } from "./words.js";

const LAYERS = ["link", "network", "transport", "application", "resource"];
const CLOSED_SHOWN = 20;

/** All of it. */
export function drawOverview() {
  drawVerdict();
  drawIncidents();
  drawHealth();
  drawFunnel();
  drawListeners();
  drawSources();
  drawFooter();
}

/** The first line: what is wrong, or that nothing is. */
export function drawVerdict() {
  const { open, closed } = incidentsInOrder();
  const verdict = byId("verdict");
  const worst = open[0];
  const [kind, words, more] = !state.isLoaded
    ? ["wait", "Waiting for the run", ""]
    : state.past
      ? ["past", `Past: ${open.length + closed.length ? plural(open.length + closed.length, "incident") : "quiet"}`, (worst ?? closed[0]) ? incidentWords(worst ?? closed[0], now()) : "no incident in this time"]
      : worst
      ? ["wrong", incidentWords(worst, now()), others(open, worst)]
      : state.isOver
        ? ["over", `Run is over: ${closed.length ? plural(closed.length, "incident") : "quiet"}`, closed.length ? incidentWords(closed[0], now()) : ""]
        : ["quiet", "Quiet", closed.length ? `last: ${incidentWords(closed[0], now())}` : "no incident so far"];
  const old = verdict.dataset.kind;
  verdict.dataset.kind = kind;
  verdict.dataset.severity = worst?.severity ?? "";
  say(byId("verdict-words"), words);
  say(byId("verdict-more"), [more, doubts()].filter(Boolean).join(" · "));
  // Said aloud when it turns, not each second.
  if (old !== kind) say(byId("verdict-aloud"), words);
  document.title = `${worst ? `${worst.severity} ${kindWords(worst.kind)}` : words} – tidegauge`;
}

function others(open, worst) {
  const follow = open.filter((incident) => incident.because_of?.id === worst.id).length;
  const rest = open.length - 1 - follow;
  return [worst.cause, follow ? `${plural(follow, "incident")} because of it` : null, rest ? `${number(rest)} more open` : null].filter(Boolean).join(" · ");
}

/** What makes all else less sure. */
function doubts() {
  const verdict = (state.isOver ? state.summary : state.window)?.quality?.verdict;
  const doubts = [];
  if (verdict && verdict !== "complete") doubts.push(`capture is ${verdict}: not everything was seen`);
  if (!live.isConnected) doubts.push("no connection to tidegauge: this is old");
  return doubts.join(" · ");
}

export function incidentLink(incident) {
  return el("a", { href: hrefOf(incident), text: `${kindWords(incident.kind)} on ${targetWords(incident.target)}` });
}

export const severityMark = (severity, isOpen = true) => el("span", { class: `severity ${severity}${isOpen ? "" : " closed"}`, text: severity });

function drawIncidents() {
  const { open, closed } = incidentsInOrder();
  const row = (incident) => {
    const isOpen = incident.state !== "closed";
    const opened = timeOf(incident.opened_ts);
    const lasted = isOpen ? Math.max(0, (now() ?? opened) - opened) : (incident.lasted_s ?? timeOf(incident.closed_ts) - opened);
    const because = state.incidents.get(incident.because_of?.id);
    return el(
      "li",
      { class: isOpen ? "open" : "closed" },
      severityMark(incident.severity, isOpen),
      el("div", {},
        incidentLink(incident),
        el("p", { class: "soft", text: [isOpen ? `open for ${seconds(lasted)}` : `closed, lasted ${seconds(lasted)}`, `since ${clock(opened)}`, `${number(incident.measured)} ${incident.unit ?? ""} (limit ${number(incident.limit)})`].join(" · ") }),
        because ? el("p", { class: "soft" }, "because of ", incidentLink(because)) : null,
      ),
    );
  };
  say(byId("incidents-count"), state.isLoaded ? `${open.length} open, ${closed.length} closed${state.untold ? `, ${number(state.untold)} older not shown` : ""}` : "");
  const rows = [...open, ...closed.slice(0, CLOSED_SHOWN)].map(row);
  put(byId("incidents"), rows.length ? rows : el("li", { class: "none", text: "None." }));
}

function drawHealth() {
  const health = (state.isOver ? state.summary : state.window)?.health;
  const tile = (name, score) => {
    const word = score === null || score === undefined ? "unknown" : score >= 80 ? "fine" : score >= 50 ? "fair" : "bad";
    const meter = el("span", { class: `meter ${word}` });
    const bar = el("span", {});
    bar.style.width = `${score ?? 0}%`;
    meter.append(bar);
    return el("div", { class: "tile" }, el("dt", { text: name }), el("dd", {}, el("b", { text: score === null || score === undefined ? "–" : String(Math.round(score)) }), ` ${word}`, meter));
  };
  put(byId("health"), tile("whole", health?.score), LAYERS.map((layer) => tile(layer, health?.layers?.[layer])));
  const worst = health?.feature ? `worst: ${featureWords(health.feature)} (${health.layer})` : "";
  const next = (state.isOver ? null : state.window)?.forecast?.healthy_next;
  say(byId("health-why"), [worst, next === null || next === undefined ? "" : `chance that the next second is healthy: ${share(next)}`].filter(Boolean).join(" · ") || "0 is anomalous, 100 is healthy");
}

function drawFunnel() {
  const handshake = (state.isOver ? state.summary : state.window)?.handshake;
  const asked = handshake?.attempted;
  const step = (name, value) => {
    const bar = el("span", { class: "bar" });
    bar.style.width = `${asked && value ? Math.min(100, (100 * value) / asked) : 0}%`;
    const part = asked && value !== null && value !== undefined ? ` (${share(value / asked)})` : "";
    return el("li", {}, el("span", { class: "name", text: name }), el("span", { class: "value", text: `${number(value)}${part}` }), el("span", { class: "track" }, bar));
  };
  put(byId("funnel"), step("asked", asked), step("answered", handshake?.answered), step("completed", handshake?.completed), step("refused", handshake?.refused));
  say(byId("funnel-when"), state.isOver ? "whole run" : state.past ? "its last window" : "newest window");
}

function drawListeners() {
  const listeners = state.window?.listeners ?? [];
  const rows = listeners.slice(0, 12).map((listener) => [
    targetWords(listener.target), number(listener.conn_rate), number(listener.completed), number(listener.distinct_sources), number(listener.packets), bytes(listener.bytes), listener.rtt_listener_ms === null ? "unknown" : `${number(listener.rtt_listener_ms)} ms`,
  ]);
  const more = Math.max(0, listeners.length - 12) + (state.window?.listeners_untold ?? 0);
  say(byId("listeners-more"), more ? `${number(more)} more with fewer packets` : "");
  put(byId("listeners"), table("Top listeners of the newest window", [["listener", ""], ["asked/s", "n"], ["completed", "n"], ["sources", "n"], ["packets", "n"], ["bytes", "n"], ["RTT", "n"]], rows, "No listener was seen in the newest window."));
}

function drawSources() {
  const { open, closed } = incidentsInOrder();
  const of = open.find((incident) => incident.sources?.top?.length) ?? (state.isOver ? null : closed.find((incident) => incident.sources?.top?.length));
  const sources = of?.sources ?? (state.isOver ? state.summary?.sources : null);
  const rows = (sources?.top ?? []).slice(0, 8).map((source) => [source.addr, number(source.syn_per_s)]);
  const about = of ? `of ${kindWords(of.kind)} on ${targetWords(of.target)}: about ${number(sources.distinct)}` : sources ? `of the whole run: about ${number(sources.distinct)}` : "";
  const forged = sources?.spoofed_estimate ? `, ${share(sources.spoofed_estimate)} probably forged` : "";
  say(byId("sources-of"), about + forged);
  put(byId("sources"), table("Top sources", [["source", ""], ["per s", "n"]], rows, "Told while an incident has sources, and when the run is over."));
}

/** How well it sees, and what it costs. */
export function drawFooter() {
  const quality = (state.isOver ? state.summary : state.window)?.quality;
  const source = state.window?.source ?? state.source?.source;
  say(byId("source"), source ? `${source.kind} ${source.name}${source.mode ? ` (${source.mode})` : ""}` : "");
  say(byId("connection"), !live.isConnected ? "no connection" : live.isOver ? "run is over" : "live");
  byId("connection").dataset.kind = !live.isConnected ? "lost" : live.isOver ? "over" : "live";
  const lost = Object.entries(quality?.dropped ?? {}).filter(([, count]) => count > 0).map(([where, count]) => `${number(count)} lost at ${where}`);
  const sampled = quality?.sampled_one_in > 1 ? `one in ${quality.sampled_one_in} flows followed` : null;
  const thresholds = state.thresholds && `thresholds ${state.thresholds.state} at ${clock(timeOf(state.thresholds.ts))}${state.thresholds.why ? `: ${state.thresholds.why}` : ""}`;
  say(byId("quality"), quality ? [`capture ${quality.verdict}`, `${number(quality.captured)} of ${number(quality.seen)} frames`, ...lost, sampled, ...(quality.why ?? []), thresholds].filter(Boolean).join(" · ") : "");
  say(byId("cost"), costWords(state.window?.cost));
  const served = live.served ?? {};
  const refused = Object.entries(served).filter(([name, count]) => name !== "clients" && count > 0).map(([name, count]) => `${featureWords(name)} ${number(count)}`);
  say(byId("served"), [`${number(served.clients ?? 0)} browser${served.clients === 1 ? "" : "s"} listening`, ...refused, `tidegauge ${state.version}`].join(" · "));
}

function costWords(cost) {
  if (!cost) return state.isLoaded ? "not measured (files have none)" : "";
  const words = [];
  if (cost.bpf) words.push(cost.bpf.ns_per_packet === null ? `programs in the kernel unknown (${cost.bpf.why_unknown ?? "not measured yet"})` : `programs in the kernel ${number(cost.bpf.ns_per_packet)} ns a packet, ${share(cost.bpf.cpu_share)} of one CPU`);
  if (cost.process) words.push(`threads ${share(cost.process.cpu_share)} of one CPU`);
  if (cost.memory) words.push(`memory ${bytes(cost.memory.rss_bytes)}`, `tables in the kernel ${bytes(cost.memory.map_bytes)}`);
  return words.join(" · ");
}
