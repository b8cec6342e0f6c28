// What is known of the run, kept up to date by server-sent events.

import { timeOf } from "./words.js";

const POINTS_MAX = 3600;

/** What is now; it goes on while something past is shown. */
export const live = {
  /** An interval of history, if that is shown: its own state. */
  past: null,
  /** Columns by name, one place for each window. */
  points: { ts_s: [] },
  incidents: new Map(),
  window: null,
  /** Round trips and receive windows of the last minute. */
  histograms: null,
  source: null,
  summary: null,
  thresholds: null,
  served: null,
  version: "",
  hasLogin: false,
  hasHistory: false,
  untold: 0,
  isOver: false,
  isConnected: false,
  isLoaded: false,
};

/** What is shown. */
export let state = live;

/** Shows an interval of history (`/api/history`), or with `null` what is now. */
export function show(interval) {
  state = interval
    ? { ...live, past: interval, points: interval.points, window: interval.window, histograms: null, source: interval.source, summary: null, isOver: false, isLoaded: true,
        untold: interval.incidents_untold + interval.incidents_forgotten, incidents: new Map(interval.incidents.map((incident) => [incident.id, incident])) }
    : live;
}

/** Where an incident is shown. */
export const hrefOf = (incident) => `#${state.past ? `/past/${state.past.from_s}-${state.past.to_s}` : ""}/incident/${encodeURIComponent(incident.id)}`;

/** The newest packet time, seconds. */
export function now() {
  const last = state.points.ts_s.at(-1) ?? null;
  if (state.past) return state.past.to_s;
  return state.isOver ? (timeOf(state.summary?.last_ts) ?? last) : last;
}

const severity = (incident) => incident.severity ?? "P9";

/** Open ones, worst first, causes before what follows from them; then the closed, newest first. */
export function incidentsInOrder() {
  const all = [...state.incidents.values()];
  const order = (one, other) =>
    severity(one).localeCompare(severity(other)) ||
    Number(Boolean(one.because_of)) - Number(Boolean(other.because_of)) ||
    timeOf(other.opened_ts) - timeOf(one.opened_ts);
  const open = all.filter((incident) => incident.state !== "closed").sort(order);
  const closed = all.filter((incident) => incident.state === "closed").sort((one, other) => timeOf(other.opened_ts) - timeOf(one.opened_ts));
  return { open, closed };
}

/** Keeps the state; `changed(what)` is called with `board`, `window`, `connection` or an incident's id. */
export function follow(changed) {
  let early = [];
  let loading = false;
  const load = async () => {
    loading = true;
    try {
      const answer = await fetch("/api/board");
      if (answer.status === 401) return location.assign("/login");
      if (!answer.ok) throw new Error(`board: ${answer.status}`);
      takeBoard(await answer.json());
      const waiting = early;
      early = [];
      loading = false;
      waiting.forEach(({ kind, data }) => take(kind, data));
      changed("board");
    } catch {
      loading = false;
      live.isConnected = false;
      changed("connection");
      setTimeout(load, 2000);
    }
  };
  const take = (kind, data) => {
    if (loading) return void early.push({ kind, data });
    if (kind === "window") {
      if (data.ask_again) return load();
      takeWindow(data);
      changed("window");
    } else if (kind === "incident") {
      takeIncident(data);
      changed(data.id);
    } else if (kind === "thresholds") {
      live.thresholds = data;
      changed("window");
    } else {
      load();
    }
  };
  const connect = () => {
    const events = new EventSource("/api/events");
    events.onopen = () => {
      live.isConnected = true;
      loading = true;
      load();
    };
    events.onerror = () => {
      live.isConnected = false;
      changed("connection");
      if (events.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
    };
    for (const kind of ["window", "incident", "thresholds", "over"]) {
      events.addEventListener(kind, (event) => take(kind, JSON.parse(event.data)));
    }
  };
  connect();
}

function takeBoard(board) {
  live.points = board.points;
  live.window = board.window;
  live.histograms = board.histograms;
  live.source = board.source;
  live.summary = board.summary;
  live.thresholds = board.thresholds;
  live.served = board.served;
  live.version = board.version;
  live.hasLogin = board.has_login;
  live.hasHistory = board.has_history;
  live.untold = board.incidents_untold + board.incidents_forgotten;
  live.isOver = board.is_over;
  live.isConnected = true;
  live.isLoaded = true;
  live.incidents = new Map(board.incidents.map((incident) => [incident.id, incident]));
}

function takeWindow(data) {
  live.window = data.window;
  live.histograms = data.histograms;
  live.served = data.served;
  const columns = live.points;
  for (const point of data.points) {
    if (point.ts_s <= (columns.ts_s.at(-1) ?? -Infinity)) continue;
    for (const [name, value] of Object.entries(point)) (columns[name] ??= []).push(value);
  }
  if (columns.ts_s.length > POINTS_MAX) {
    for (const column of Object.values(columns)) column.splice(0, column.length - POINTS_MAX);
  }
}

function takeIncident(incident) {
  const known = live.incidents.get(incident.id);
  const steps = known?.steps ?? [];
  const step = { ts_s: timeOf(incident.ts), state: incident.state, severity: incident.severity, measured: incident.measured };
  if (known && timeOf(known.ts) > step.ts_s) return;
  if (steps.at(-1)?.ts_s !== step.ts_s || steps.at(-1)?.state !== step.state) steps.push(step);
  live.incidents.set(incident.id, { ...incident, steps });
}
