// Who is told of incidents, and how that fares.

import { byId, put, say, table } from "./dom.js";
import { live } from "./state.js";
import { number, plural } from "./words.js";

const HEADINGS = [["receiver", ""], ["by", ""], ["state", ""], ["told", "n"], ["waiting", "n"], ["tried again", "n"], ["lost", "n"], ["last", "n"], ["latest error", ""]];

const lost = (receiver) => receiver.refused + receiver.dropped_full + receiver.dropped_old + receiver.torn;

/** The panel is there where somebody is told. */
export function drawAlerts() {
  const alerts = live.served?.alerts;
  byId("alerts-panel").hidden = !alerts;
  if (!alerts) return;
  const rows = alerts.receivers.map((receiver) => [
    receiver.name, receiver.type, receiver.is_down ? "down" : receiver.delivered ? "hears" : "nothing told yet", number(receiver.delivered), number(receiver.waiting), number(receiver.retried),
    number(lost(receiver)), receiver.delivered ? `${number(receiver.latest_ms)} ms` : "–", receiver.latest_fault ? (receiver.is_down ? receiver.latest_fault : `${receiver.latest_fault} (over)`) : "none",
  ]);
  put(byId("alerts"), table("Receivers of alerts", HEADINGS, rows, "Nobody is told."));
  const untold = [[alerts.quiet, "held back in quiet hours"], [alerts.consequences, "because of others"], [alerts.summed, "in a sum"], [alerts.forgotten + alerts.not_understood + alerts.lines_lost, "lost"]];
  const down = alerts.receivers.filter((receiver) => receiver.is_down).length;
  say(byId("alerts-about"), [down ? `${plural(down, "receiver")} down: what is to be told waits` : "", ...untold.filter(([count]) => count).map(([count, why]) => `${number(count)} ${why}`)].filter(Boolean).join(" · "));
}
