// An incident's own page: what was measured, why, who, and what to do.

import { byId, copyButton, el, put, table } from "./dom.js";
import { incidentLink, severityMark } from "./overview.js";
import { now, state } from "./state.js";
import { clock, dateAndClock, featureWords, forgedWords, incidentWords, kindWords, number, seconds, share, timeOf } from "./words.js";

let shown = null;

/** Shows an incident; again when something is told of it. */
export async function drawIncident(id, isNew) {
  shown = id;
  const place = byId("incident");
  if (isNew) place.replaceChildren(heading("Incident", id), el("p", { class: "none", text: "Asking …" }));
  let told;
  try {
    const { past } = state;
    const answer = await fetch(past ? `/api/history?from=${past.from_s}&to=${past.to_s}&incident=${encodeURIComponent(id)}` : `/api/incident/${encodeURIComponent(id)}`);
    told = answer.ok ? await answer.json() : { error: (await answer.text()).trim() };
  } catch {
    told = { error: "no connection to tidegauge" };
  }
  if (shown !== id) return;
  put(place, told.error ? [heading("Incident", id), el("p", { class: "panel", text: told.error })] : page(told));
  if (isNew) byId("incident-heading")?.focus();
}

const heading = (text, id) =>
  el("div", { class: "heading" }, el("a", { href: state.past ? `#/past/${state.past.from_s}-${state.past.to_s}` : "#/", class: "back", text: state.past ? "← Interval" : "← Overview" }), el("h1", { id: "incident-heading", tabindex: "-1", text }), el("p", { class: "soft", text: id }));

const panel = (title, ...content) => el("section", { class: "panel" }, el("h2", { text: title }), ...content);

function page({ incident, target, steps, evidence }) {
  const head = heading(`${kindWords(incident.kind)} on ${target}`, incidentWords(incident, now()).split(", ").slice(1).join(", "));
  return [
    head,
    el("div", { class: "columns" },
      measured(incident),
      causes(incident),
      timeline(incident, steps),
      sources(incident),
      relations(incident),
      commands(incident),
      mitigation(incident),
      packets(incident, evidence),
      facts(incident),
    ),
  ];
}

function measured(incident) {
  const pair = (name, value) => el("div", { class: "tile" }, el("dt", { text: name }), el("dd", {}, el("b", { text: number(value) }), value === null || value === undefined ? "" : ` ${incident.unit ?? ""}`));
  const isOpen = incident.state !== "closed";
  return panel("What was measured",
    el("p", {}, severityMark(incident.severity, isOpen), ` ${isOpen ? "open" : "closed"}, opened ${dateAndClock(timeOf(incident.opened_ts))}${incident.closed_ts ? `, closed ${clock(timeOf(incident.closed_ts))}` : ""} UTC`),
    el("dl", { class: "tiles" }, pair("measured", incident.measured), pair("limit", incident.limit), pair("usual", incident.baseline)),
    el("p", { class: "soft", text: `rule: ${incident.rule}, over ${seconds(incident.window_s)}` }),
    incident.summary ? el("p", { class: "soft", text: `in all: peak ${number(incident.summary.peak)}, mean ${number(incident.summary.mean)} ${incident.unit ?? ""} over ${seconds(incident.summary.duration_s)}${incident.summary.volume ? `, ${number(incident.summary.volume.count)} ${incident.summary.volume.unit}` : ""}${incident.summary.share_served === null || incident.summary.share_served === undefined ? "" : `, ${share(incident.summary.share_served)} served`}` }) : null,
  );
}

function causes(incident) {
  const reasons = (title, list) => list?.length ? [el("h4", { text: title }), el("ul", {}, list.map((reason) => el("li", { text: `${reason.what}: ${number(reason.measured)}` })))] : [];
  const likely = (incident.causes ?? []).slice(0, 5).map((cause) =>
    el("details", { open: cause === incident.causes[0] },
      el("summary", {}, el("b", { text: featureWords(cause.cause) }), ` ${cause.layer ?? ""}, ${share(cause.score)} of the evidence is for it`),
      ...reasons("For", cause.for), ...reasons("Against", cause.against)));
  return panel("Why", el("ul", {}, (incident.cause ?? []).map((text) => el("li", { text }))), ...(likely.length ? [el("h3", { text: "Likely causes" }), ...likely] : []));
}

function timeline(incident, steps) {
  return panel("Timeline", el("ol", { class: "timeline", tabindex: "0", "aria-label": "Timeline" }, steps.map((step) =>
    el("li", { class: step.state }, el("time", { text: clock(step.ts_s) }), ` ${step.state} ${step.severity}, measured ${number(step.measured)} ${incident.unit ?? ""}`))));
}

function sources(incident) {
  const { sources } = incident;
  if (!sources) return null;
  const forged = forgedWords(sources);
  const rows = (list, name = (source) => source.addr) => (list ?? []).map((source) => [name(source), number(source.syn_per_s)]);
  const network = ({ addr }) => `${addr}/${addr.includes(":") ? 48 : 24}`;
  return panel("Who",
    el("p", { text: `about ${number(sources.distinct)} sources${sources.spoofed_estimate === null || sources.spoofed_estimate === undefined ? "" : `, ${share(sources.spoofed_estimate)} forged by estimate`}${forged ? `: ${forged}` : ""}, ${number(sources.ttl_classes)} TTL classes` }),
    el("div", { class: "side" }, el("div", { class: "wide" }, table("Busiest sources", [["source", ""], ["per s", "n"]], rows(sources.top), "none told")), el("div", { class: "wide" }, table("Busiest networks", [["network", ""], ["per s", "n"]], rows(sources.prefixes, network), "none told"))));
}

function relations(incident) {
  const because = incident.because_of;
  const known = because && state.incidents.get(because.id);
  const follow = [...state.incidents.values()].filter((other) => other.because_of?.id === incident.id);
  if (!because && !follow.length) return null;
  return panel("What belongs together",
    because ? el("p", {}, "because of ", known ? incidentLink(known) : because.id, `: ${because.why}`) : null,
    follow.length ? el("p", { text: "root cause of" }) : null,
    follow.length ? el("ul", {}, follow.map((other) => el("li", {}, incidentLink(other)))) : null);
}

const code = (text, what) => el("div", { class: "code" }, el("pre", { tabindex: "0", "aria-label": what }, el("code", { text })), copyButton(what));

function commands(incident) {
  return incident.next?.length ? panel("What to run next", incident.next.map((command, at) => code(command, `command ${at + 1}`))) : null;
}

function mitigation(incident) {
  const { mitigation } = incident;
  if (!mitigation) return null;
  const ways = [["nftables", mitigation.nftables], ["BGP flowspec", mitigation.flowspec], ["XDP", mitigation.xdp]].filter(([, text]) => text);
  return panel("What would hold it off", el("p", { text: mitigation.why }), el("p", { class: "soft", text: "Read before use: tidegauge applies nothing." }), ...ways.flatMap(([name, text]) => [el("h3", { text: name }), code(text, `${name} rules`)]));
}

function packets(incident, hasFile) {
  const { evidence } = incident;
  if (!hasFile) return panel("Packets", el("p", { text: typeof evidence === "string" ? `in ${evidence}` : "None were kept: give the run --evidence DIR." }));
  return panel("Packets",
    el("p", { text: `${number(evidence.packets)} packets, ${evidence.first_ts ? `${clock(timeOf(evidence.first_ts))} to ${clock(timeOf(evidence.last_ts))}` : ""}${evidence.packets_not_kept ? `, ${number(evidence.packets_not_kept)} not kept` : ""}${evidence.anonymised ? ", addresses replaced" : ""}` }),
    el("p", {}, el("a", { class: "button", href: `/api/evidence/${encodeURIComponent(incident.id)}`, download: "", text: "Download evidence (pcapng)" })),
    evidence.fault ? el("p", { class: "soft", text: String(evidence.fault) }) : null);
}

function facts(incident) {
  const rows = Object.entries(incident.facts ?? {}).map(([name, value]) => [featureWords(name), typeof value === "number" ? number(value) : value === null ? "unknown" : String(value)]);
  const why = incident.quality?.why?.length ? ` (${incident.quality.why.join("; ")})` : "";
  const quality = incident.quality ? `capture ${incident.quality.verdict}: ${number(incident.quality.captured)} of ${number(incident.quality.seen)} frames${why}` : "";
  return panel("Facts", el("div", { class: "wide" }, table("Facts", [["fact", ""], ["value", "n"]], rows, "none")), el("p", { class: "soft", text: quality }));
}
