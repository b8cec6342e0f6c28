// The newest connections, searched by the server.

import { byId, el, put, say, table } from "./dom.js";
import { state } from "./state.js";
import { bytes, clock, featureWords, number, seconds, timeOf } from "./words.js";

let waiting = 0;

/** Makes the search field work. */
export function makeFlows() {
  byId("flows-search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(drawFlows, 250);
  });
}

/** Asks for them. */
export async function drawFlows() {
  if (state.past) {
    say(byId("flows-about"), "History keeps no connections.");
    return put(byId("flows"), el("p", { class: "none", text: "No connections." }));
  }
  let told;
  try {
    const answer = await fetch(`/api/flows?q=${encodeURIComponent(byId("flows-search").value)}`);
    if (!answer.ok) return;
    told = await answer.json();
  } catch {
    return;
  }
  say(byId("flows-about"), told.seen
    ? `${number(told.found)} of the newest ${number(told.kept)} fit${told.found > told.rows.length ? `, ${told.rows.length} shown` : ""}; ${number(told.seen)} seen in all`
    : "The run tells no connections: they come with read --flows.");
  const rows = told.rows.map((flow) => [
    flow.from, flow.to, clock(timeOf(flow.first_ts)), seconds(Math.max(0, timeOf(flow.last_ts) - timeOf(flow.first_ts))),
    [flow.state, flow.close].filter(Boolean).map(featureWords).join(", "), number(flow.packets), bytes(flow.bytes), number(flow.retransmission),
    flow.rtt_ms === null ? "unknown" : `${number(flow.rtt_ms)} ms`, flow.app ?? "unknown",
  ]);
  put(byId("flows"), told.seen ? table("Connections", [["from", ""], ["to", ""], ["start", ""], ["lasted", "n"], ["end", ""], ["packets", "n"], ["bytes", "n"], ["sent again", "n"], ["RTT", "n"], ["protocol", ""]], rows, "None fits.") : el("p", { class: "none", text: "No connections." }));
}
