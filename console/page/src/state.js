// What is known of the run, kept up to date by server-sent events.

import { timeOf } from "./words.js";

const POINTS_MAX = 3600;

export const state = {
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
  untold: 0,
  isOver: false,
  isConnected: false,
  isLoaded: false,
};

/** The newest packet time, seconds. */
export function now() {
  const last = state.points.ts_s.at(-1) ?? null;
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
      state.isConnected = false;
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
      state.thresholds = data;
      changed("window");
    } else {
      load();
    }
  };
  const connect = () => {
    const events = new EventSource("/api/events");
    events.onopen = () => {
      state.isConnected = true;
      loading = true;
      load();
    };
    events.onerror = () => {
      state.isConnected = false;
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
  state.points = board.points;
  state.window = board.window;
  state.histograms = board.histograms;
  state.source = board.source;
  state.summary = board.summary;
  state.thresholds = board.thresholds;
  state.served = board.served;
  state.version = board.version;
  state.hasLogin = board.has_login;
  state.untold = board.incidents_untold + board.incidents_forgotten;
  state.isOver = board.is_over;
  state.isConnected = true;
  state.isLoaded = true;
  state.incidents = new Map(board.incidents.map((incident) => [incident.id, incident]));
}

function takeWindow(data) {
  state.window = data.window;
  state.histograms = data.histograms;
  state.served = data.served;
  const columns = state.points;
  for (const point of data.points) {
    if (point.ts_s <= (columns.ts_s.at(-1) ?? -Infinity)) continue;
    for (const [name, value] of Object.entries(point)) (columns[name] ??= []).push(value);
  }
  if (columns.ts_s.length > POINTS_MAX) {
    for (const column of Object.values(columns)) column.splice(0, column.length - POINTS_MAX);
  }
}

function takeIncident(incident) {
  const known = state.incidents.get(incident.id);
  const steps = known?.steps ?? [];
  const step = { ts_s: timeOf(incident.ts), state: incident.state, severity: incident.severity, measured: incident.measured };
  if (known && timeOf(known.ts) > step.ts_s) return;
  if (steps.at(-1)?.ts_s !== step.ts_s || steps.at(-1)?.state !== step.state) steps.push(step);
  state.incidents.set(incident.id, { ...incident, steps });
}
