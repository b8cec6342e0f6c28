// The time picker: an interval of what the run's history keeps, shown in place of what is now.

import { showAll } from "./charts.js";
import { byId, say } from "./dom.js";
import { live, show, state } from "./state.js";
import { dateAndClock, incidentWords, number, plural, timeOf } from "./words.js";

/** What the server reads at once. */
const SPAN_S_MAX = 86_400;
let wanted = null;

const fieldOf = (second) => new Date(second * 1000).toISOString().slice(0, 19);
const secondOf = (field) => Date.parse(`${byId(field).value}Z`) / 1000;
const newest = () => live.points.ts_s.at(-1) ?? Date.now() / 1000;

/** The address of an interval: it can be kept, sent, and left by going back. */
export const hashOf = (from, to) => `#/past/${Math.floor(from)}-${Math.ceil(to)}`;

/** Makes the picker work. */
export function makePast() {
  byId("past").addEventListener("submit", (event) => {
    event.preventDefault();
    const [from, to] = [secondOf("past-from"), secondOf("past-to")];
    if (!(to > from)) say(byId("past-about"), "The end must be after the beginning.");
    else if (to - from > SPAN_S_MAX) say(byId("past-about"), "No more than a day at once; tidegauge history tells longer times.");
    else location.hash = hashOf(from, to);
  });
  for (const button of document.querySelectorAll("[data-past]")) {
    button.addEventListener("click", () => (location.hash = hashOf(newest() - Number(button.dataset.past), newest() + 1)));
  }
  byId("past-live").addEventListener("click", toLive);
  byId("past-open").addEventListener("click", () => (byId("past").hidden ? open(true) : state.past ? toLive() : open(false)));
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && (state.past || wanted)) toLive();
  });
}

function toLive() {
  location.hash = "#/";
  byId("past-open").focus();
}

async function open(isOpen) {
  byId("past").hidden = !isOpen;
  byId("past-open").setAttribute("aria-expanded", String(isOpen));
  if (!isOpen) return;
  fill(newest() - 3600, newest());
  byId("past-from").focus();
  try {
    const { kept_s: kept } = await (await fetch("/api/history")).json();
    if (!state.past) say(byId("past-about"), kept ? `kept since ${dateAndClock(kept[0]).slice(0, 16)} UTC` : "nothing is kept yet");
  } catch {
    // The next interval says so.
  }
}

function fill(from, to) {
  byId("past-from").value = fieldOf(from);
  byId("past-to").value = fieldOf(to);
}

/** Goes to an interval `[from, to]`, or with `null` back to what is now; `true` once it is shown. */
export async function goTo(interval) {
  wanted = interval;
  if (!interval) {
    if (state.past) {
      show(null);
      showAll();
      byId("past").hidden = true;
      byId("past-open").setAttribute("aria-expanded", "false");
    }
    return true;
  }
  const [from, to] = interval;
  if (state.past?.from_s === from && state.past?.to_s === to) return true;
  byId("past").hidden = false;
  byId("past-open").setAttribute("aria-expanded", "true");
  fill(from, to);
  say(byId("past-about"), "Reading …");
  let told = null;
  let why = "no connection to tidegauge";
  try {
    const answer = await fetch(`/api/history?from=${from}&to=${to}`);
    if (answer.ok) told = await answer.json();
    else why = (await answer.text()).trim();
  } catch {
    // Said below.
  }
  if (wanted !== interval) return false;
  if (!told) {
    say(byId("past-about"), why);
    return false;
  }
  show(told);
  showAll();
  return true;
}

/** What is shown of which time; and what is wrong now, which nobody must miss meanwhile. */
export function drawPast() {
  byId("past-open").classList.toggle("away", !live.hasHistory);
  const { past } = state;
  byId("past-live").disabled = !past;
  document.documentElement.dataset.time = past ? "past" : "now";
  if (!past) return say(byId("past-now"), "");
  const joined = past.windows_per_point > 1 ? `, ${number(past.windows_per_point)} windows a point: rates are means, of the rest the worst` : "";
  const cut = past.read_until_s ? `, read until ${dateAndClock(past.read_until_s)} only` : "";
  const torn = past.lines_unreadable ? `, ${plural(past.lines_unreadable, "line")} unreadable` : "";
  say(byId("past-about"), `${dateAndClock(past.from_s).slice(0, 19)} to ${dateAndClock(past.to_s).slice(0, 19)} UTC, ${plural(past.windows, "window")}${joined}${cut}${torn}`);
  const [worst] = [...live.incidents.values()].filter((incident) => incident.state !== "closed").sort((one, other) => (one.severity ?? "").localeCompare(other.severity ?? "") || timeOf(other.opened_ts) - timeOf(one.opened_ts));
  say(byId("past-now"), worst ? `Now: ${incidentWords(worst, newest())}` : "Now: nothing open");
}
