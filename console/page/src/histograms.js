// Round trips and receive windows of the last minute: a bar for each bucket, and the same in words.

import { byId, el, put, say, svg } from "./dom.js";
import { state } from "./state.js";
import { number, plural, seconds, share } from "./words.js";

const METHODS = {
  handshake_listener: "SYN to SYN-ACK (to listeners)",
  handshake_peer: "SYN-ACK to ACK (to their peers)",
  ack_listener: "payload to ACK (to listeners)",
  ack_peer: "payload to ACK (to their peers)",
  timestamps_listener: "timestamp to echo (to listeners)",
  timestamps_peer: "timestamp to echo (to their peers)",
  icmp_echo: "ICMP echo",
};
/** Of the drawing, pixels: bars, and room for words under them. */
const HEIGHT = 150;
const BELOW = 22;
/** A bound in words takes so much. */
const LABEL_WIDE = 60;
/** Every so many bounds have words: the model's, 10 K and 58 K and the one next to 100 ms, are among them. */
const STEPS = [1, 3, 6];
const FIRST = 2;
/** The last byte of windows that are low. */
const LOW_BYTES = 10_239;

const ms = (le) => (le < 1 ? `${number(le * 1000)} µs` : le < 1000 ? `${number(le < 10 ? Math.round(le * 10) / 10 : Math.round(le))} ms` : `${number(Math.round(le / 100) / 10)} s`);
const size = (le) => (le + 1 < 1 << 20 ? `${(le + 1) / 1024} KiB` : `${(le + 1) / (1 << 20)} MiB`);

/** Fills the list of methods; all of them, so that nothing moves when one is measured. */
export function makeHistograms() {
  const choice = byId("rtt-method");
  choice.append(...Object.entries(METHODS).map(([value, text]) => el("option", { value, text })));
  choice.addEventListener("change", drawHistograms);
  const resized = new ResizeObserver(drawHistograms);
  for (const id of ["rtt-histogram", "rwnd-histogram"]) resized.observe(byId(id));
}

/** Draws both. */
export function drawHistograms() {
  const told = state.histograms;
  for (const lately of document.querySelectorAll(".lately")) say(lately, told?.length_s ? `last ${seconds(told.length_s)}` : "");
  const method = byId("rtt-method").value;
  const rtt = told?.rtt_ms;
  draw("rtt-histogram", `round trip, ${METHODS[method]}`, rtt && { le: rtt.le, ...rtt.by_method[method] }, ms, () => "");
  draw("rwnd-histogram", "receive window", told?.rwnd_bytes, size, (le) => (le <= LOW_BYTES ? "low" : ""));
}

function draw(id, what, histogram, label, kind) {
  const counts = histogram?.counts;
  const all = counts?.reduce((sum, count) => sum + count, 0);
  if (!all) return put(byId(id), el("figcaption", { class: "none", text: `None was measured lately: ${what}.` }));
  const { le } = histogram;
  const name = (at) => (at === 0 ? `below ${label(le[0])}` : at === le.length ? `${label(le.at(-1))} and more` : `${label(le[at - 1])} to ${label(le[at])}`);
  const most = Math.max(...counts);
  const width = byId(id).clientWidth || 600;
  const wide = width / counts.length;
  const step = STEPS.find((each) => each * wide >= LABEL_WIDE) ?? STEPS.at(-1);
  const parts = counts.map((count, at) => (count ? `${name(at)}: ${number(count)}` : null)).filter(Boolean);
  const bars = counts.map((count, at) => {
    // What is there at all is to be seen.
    const height = count ? Math.max(2, (count / most) * HEIGHT) : 0;
    return svg("rect", { class: `bar ${kind(le[at] ?? Infinity)}`, x: at * wide + 1, y: HEIGHT - height, width: wide - 2, height },
      svg("title", { text: `${name(at)}: ${number(count)} (${share(count / all)})` }));
  });
  const labelled = le.map((bound, at) => [bound, at]).filter(([, at]) => at % step === FIRST % step);
  put(
    byId(id),
    el("figcaption", { class: "soft", text: `${plural(all, what.startsWith("receive") ? "window" : "round trip")}; most (${share(most / all)}) ${name(counts.indexOf(most))}` }),
    svg("svg", { viewBox: `0 0 ${width} ${HEIGHT + BELOW}`, height: HEIGHT + BELOW, role: "img", "aria-label": `Histogram: ${parts.join("; ")}` },
      svg("line", { class: "ground", x1: 0, x2: width, y1: HEIGHT, y2: HEIGHT }),
      bars,
      labelled.map(([bound, at]) => svg("text", { x: (at + 1) * wide, y: HEIGHT + 16, text: label(bound) }))),
  );
}
