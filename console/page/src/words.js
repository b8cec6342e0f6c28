// Numbers, times and names as people read them.

const UPPER = new Set(["syn", "ack", "rst", "fin", "udp", "icmp", "http", "arp", "tls", "dns", "rtt", "mtu"]);

/** `syn_flood` is "SYN flood". */
export function kindWords(kind) {
  const words = String(kind).split("_").map((word) => (UPPER.has(word) ? word.toUpperCase() : word === "conn" ? "connection" : word));
  const text = words.join(" ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function targetWords(target) {
  if (!target?.addr) return "everything";
  if (target.port === null || target.port === undefined || !target.proto) return target.addr;
  return target.addr.includes(":") ? `[${target.addr}]:${target.port}/${target.proto}` : `${target.addr}:${target.port}/${target.proto}`;
}

/** At most four digits that mean something, thousands apart; "unknown" is not zero. */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "unknown";
  const size = Math.abs(value);
  const digits = size >= 100 || Number.isInteger(value) ? 0 : size >= 1 ? 2 : 3;
  return value.toLocaleString("en-GB", { maximumFractionDigits: size !== 0 && size < 0.001 ? 6 : digits });
}

export const plural = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;

export function share(value) {
  return value === null || value === undefined ? "unknown" : `${number(Math.round(value * 1000) / 10)} %`;
}

export function bytes(value) {
  if (value === null || value === undefined) return "unknown";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${number(at && value < 100 ? Math.round(value * 10) / 10 : Math.round(value))} ${units[at]}`;
}

export function seconds(value) {
  if (value === null || value === undefined) return "unknown";
  if (value > 0 && value < 1) return `${number(Math.round(value * 10_000) / 10)} ms`;
  if (value < 10) return `${number(Math.round(value * 10) / 10)} s`;
  if (value < 120) return `${Math.round(value)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  return value < 172800 ? `${number(Math.round(value / 360) / 10)} h` : `${Math.round(value / 86400)} days`;
}

export const timeOf = (ts) => (ts ? Date.parse(ts) / 1000 : null);

/** `15:41:28.5`, UTC. */
export function clock(second) {
  if (second === null || second === undefined) return "unknown";
  return new Date(second * 1000).toISOString().slice(11, 21);
}

export const dateAndClock = (second) =>
  second === null || second === undefined ? "unknown" : `${new Date(second * 1000).toISOString().slice(0, 10)} ${clock(second)}`;

/** How it is known that addresses are forged. */
export function forgedWords(sources) {
  const share = sources?.spoofed_estimate;
  if (share === null || share === undefined) return null;
  return share >= 0.8 ? "probably forged" : share >= 0.3 ? "partly forged" : null;
}

/** One incident in one line. */
export function incidentWords(incident, now) {
  const parts = [`${kindWords(incident.kind)} on ${targetWords(incident.target)}`, incident.severity];
  const forged = forgedWords(incident.sources);
  if (forged) parts.push(forged);
  const opened = timeOf(incident.opened_ts);
  const closed = timeOf(incident.closed_ts);
  if (closed) parts.push(`lasted ${seconds(incident.lasted_s ?? closed - opened)}`);
  else if (opened && now) parts.push(`since ${seconds(Math.max(0, now - opened))}`);
  return parts.join(", ");
}

export const featureWords = (name) => String(name).replaceAll("_", " ");
