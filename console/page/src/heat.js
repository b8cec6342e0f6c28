// Heat maps over time: packets by listener, and who asks by address space and by country.

import { byId, el, put, say } from "./dom.js";
import { state } from "./state.js";
import { clock, number, seconds } from "./words.js";

const EVERY_MS = 3_000;
/** What can be chosen: name of the map, what its cells are, and what they are made of. */
const MAPS = {
  listener: ["listener", "packets", ""],
  net16: ["network", "attempts", "At least so many: made of what the run names, its busiest networks every ten seconds and those of incidents. IPv6 by /32."],
  net8: ["network", "attempts", "At least so many: made of what the run names, its busiest networks every ten seconds and those of incidents. IPv6 by /32."],
  country: ["country", "attempts", "At least so many: made of what the run names, its busiest networks every ten seconds and those of incidents, by the operator's MMDB file. Forged addresses have countries, too."],
};
let askedAt = 0;
let chosen = "listener";
let newest = null;

/** Makes the choice work. */
export function makeHeat() {
  for (const button of document.querySelectorAll("[data-heat]")) {
    button.addEventListener("click", () => {
      chosen = button.dataset.heat;
      if (newest) draw(newest);
    });
  }
}

/** Asks for the maps, now and then. */
export async function drawHeat(isForced = false) {
  if (!isForced && Date.now() - askedAt < EVERY_MS) return;
  askedAt = Date.now();
  const { past } = state;
  let heat = past?.heat;
  if (!heat) {
    try {
      const answer = await fetch("/api/heat");
      if (!answer.ok) return;
      heat = await answer.json();
    } catch {
      return;
    }
  }
  if (past === state.past) draw(heat);
}

function draw(heat) {
  newest = heat;
  if (chosen === "country" && !heat.by.country) chosen = "listener";
  for (const button of document.querySelectorAll("[data-heat]")) {
    button.setAttribute("aria-pressed", String(button.dataset.heat === chosen));
    if (button.dataset.heat === "country") button.hidden = !heat.by.country;
  }
  const map = chosen === "listener" ? heat : heat.by[chosen];
  const [name, what, of] = MAPS[chosen];
  const rows = [...map.rows];
  if (map.others) rows.push({ name: "all others", cells: map.others });
  const most = Math.max(1, ...rows.flatMap((row) => row.cells));
  say(byId("h-heat"), `${what === "packets" ? "Packets" : "Who asks"} by ${name} and time`);
  say(byId("heat-about"), rows.length
    ? `Each row is a ${name}, each column ${seconds(map.column_s)}; the fuller the cell, the more ${what}, to ${number(Math.round(most / map.column_s))} a second; each step is ten times more. ${of}`
    : what === "packets" ? "No listener was seen yet." : `Nobody was named yet. ${of}`);
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--heat").trim();
  const end = map.start_s === null ? null : map.start_s + map.columns * map.column_s;
  put(byId("heat"), el("table", { class: "heat" },
    el("caption", { class: "unseen", text: `${what} by ${name} over time` }),
    el("thead", {}, el("tr", {}, el("th", { scope: "col", text: name }), el("th", { scope: "col", class: "span" }, el("span", { text: clock(map.start_s) }), el("span", { text: clock(end) })), el("th", { scope: "col", class: "n", text: what }))),
    el("tbody", {}, rows.map((row) => rowOf(row, map.columns, most, what, ink)))));
}

function rowOf(row, columns, most, what, ink) {
  const canvas = el("canvas", { width: columns, height: 1, role: "img", "aria-label": `${what} of ${row.name} over time` });
  const context = canvas.getContext("2d");
  context.fillStyle = ink;
  row.cells.forEach((cell, at) => {
    // In tenths of what is most, logarithmic: four steps.
    context.globalAlpha = cell <= 0 ? 0 : Math.max(0.12, 1 + Math.log10(cell / most) / 4);
    context.fillRect(at, 0, 1, 1);
  });
  return el("tr", {}, el("th", { scope: "row", text: row.name }), el("td", { class: "cells" }, canvas), el("td", { class: "n", text: number(Math.round(row.cells.reduce((sum, cell) => sum + cell, 0))) }));
}
