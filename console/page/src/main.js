// The page: what is shown when.

import { drawCharts, makeCharts, recolourCharts } from "./charts.js";
import { byId } from "./dom.js";
import { drawFlows, makeFlows } from "./flows.js";
import { drawHistograms, makeHistograms } from "./histograms.js";
import { drawIncident } from "./incident.js";
import { drawGraph, drawHeat } from "./maps.js";
import { drawOverview } from "./overview.js";
import { follow, state } from "./state.js";

const FLOWS_EVERY = 5;
let route = null;
let drawing = false;
let flowsIn = 0;

function idOfRoute() {
  const found = location.hash.match(/^#\/incident\/(.+)$/);
  if (!found) return null;
  try {
    return decodeURIComponent(found[1]);
  } catch {
    return null;
  }
}

function go() {
  const before = route;
  route = idOfRoute();
  byId("overview").hidden = route !== null;
  byId("incident").hidden = route === null;
  if (route) {
    drawIncident(route, true);
    scrollTo(0, 0);
  } else {
    draw("board");
    if (before) byId("verdict-words").focus({ preventScroll: false });
  }
}

/** At most once per frame. */
function draw(what) {
  if (route && what === route) drawIncident(route, false);
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawOverview();
    drawCharts();
    if (route) return;
    drawHistograms();
    drawGraph();
    drawHeat(what === "board");
    flowsIn -= 1;
    if (what === "board" || flowsIn <= 0) {
      flowsIn = FLOWS_EVERY;
      drawFlows();
    }
  });
}

const THEMES = ["auto", "light", "dark"];

function theme() {
  const button = byId("theme");
  const set = (name) => {
    document.documentElement.dataset.theme = name;
    button.textContent = `Theme: ${name}`;
    try {
      localStorage.setItem("tidegauge-theme", name);
    } catch {
      // Not kept then.
    }
  };
  let kept = null;
  try {
    kept = localStorage.getItem("tidegauge-theme");
  } catch {
    // Not kept.
  }
  set(THEMES.includes(kept) ? kept : "auto");
  const recolour = () => {
    recolourCharts();
    if (state.isLoaded) drawHeat(true);
  };
  button.addEventListener("click", () => {
    set(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]);
    recolour();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
}

theme();
makeCharts();
makeFlows();
makeHistograms();
addEventListener("hashchange", go);
go();
follow((what) => {
  byId("logout").hidden = !state.hasLogin;
  draw(what);
});
