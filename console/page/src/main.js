// The page: what is shown when.

import { drawAlerts } from "./alerts.js";
import { drawCharts, makeCharts, recolourCharts } from "./charts.js";
import { byId } from "./dom.js";
import { drawFlows, makeFlows } from "./flows.js";
import { drawHistograms, makeHistograms } from "./histograms.js";
import { drawPast, goTo, makePast } from "./history.js";
import { drawIncident } from "./incident.js";
import { drawGraph } from "./graph.js";
import { drawHeat, makeHeat } from "./heat.js";
import { drawFooter, drawOverview } from "./overview.js";
import { follow, state } from "./state.js";

const FLOWS_EVERY = 5;
let route = null;
let drawing = false;
let flowsIn = 0;

/** An interval of history, and an incident in it or in what is now. */
function whereTo() {
  const found = location.hash.match(/^#(?:\/past\/(\d+)-(\d+))?(?:\/incident\/(.+))?/) ?? [];
  const interval = found[1] ? [Number(found[1]), Number(found[2])] : null;
  try {
    return { interval, id: found[3] ? decodeURIComponent(found[3]) : null };
  } catch {
    return { interval, id: null };
  }
}

async function go() {
  const before = route;
  const { interval, id } = whereTo();
  if (!(await goTo(interval))) return drawPast();
  route = id;
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
  if (state.past && what === "window") return void (drawPast(), drawFooter());
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawPast();
    drawOverview();
    drawCharts();
    if (route) return;
    drawHistograms();
    drawAlerts();
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
makePast();
makeHeat();
addEventListener("hashchange", go);
go();
follow((what) => {
  byId("logout").hidden = !state.hasLogin;
  draw(what);
});
