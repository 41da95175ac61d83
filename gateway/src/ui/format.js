// Numbers and times as people read them.

const UNITS = ["B", "KB", "MB", "GB", "TB"];
const SCALE = 100n;

const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
// Days and months are the ledger's, whatever the time is here.
const days = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: "UTC" });
const months = new Intl.DateTimeFormat(undefined, { month: "short", year: "numeric", timeZone: "UTC" });
const counts = new Intl.NumberFormat();

/** Bytes as the REST interface writes them: base 1024, two decimals from 1 KB on, the unit chosen before rounding, ties to even. */
export function formatBytes(bytes) {
  const whole = BigInt(Math.round(bytes));
  let exponent = 0;
  while (exponent < UNITS.length - 1 && whole >= 1n << BigInt(10 * (exponent + 1))) exponent += 1;
  if (exponent === 0) return `${whole} B`;
  const hundredths = divideToEven(whole * SCALE, BigInt(10 * exponent));
  return `${hundredths / SCALE}.${String(hundredths % SCALE).padStart(2, "0")} ${UNITS[exponent]}`;
}

/** `value` divided by 2 to the power of `bits`, rounded to the nearest whole number, ties to even. */
function divideToEven(value, bits) {
  const quotient = value >> bits;
  const remainder = value & ((1n << bits) - 1n);
  const half = 1n << (bits - 1n);
  return remainder > half || (remainder === half && quotient % 2n === 1n) ? quotient + 1n : quotient;
}

/** Bytes to the last one. */
export function exactBytes(bytes) {
  return `${Math.round(bytes)} bytes`;
}

export function formatRate(bytesPerSecond) {
  return `${formatBytes(bytesPerSecond)}/s`;
}

export function formatCount(count) {
  return counts.format(count);
}

/** A time of the interface with its zone: those without one are UTC. */
export function isoOf(text) {
  return /(Z|[+-]\d\d:\d\d)$/.test(text) ? text : `${text}Z`;
}

export function formatMoment(iso) {
  return moments.format(new Date(iso));
}

export function formatClock(date) {
  return clock.format(date);
}

/** How long ago a moment was, in words. */
export function formatAgo(iso, now = Date.now()) {
  const seconds = Math.max(0, Math.round((now - new Date(iso).getTime()) / 1000));
  if (seconds < 5) return "now";
  for (const [unit, length] of [["d", 86_400], ["h", 3_600], ["min", 60]]) {
    if (seconds >= length) return `${formatCount(Math.floor(seconds / length))} ${unit} ago`;
  }
  return `${seconds} s ago`;
}

/** `2025-11-26` as a short day. */
export function formatDay(date) {
  return days.format(new Date(`${date}T00:00:00Z`));
}

/** `2025-11` as a short month. */
export function formatMonth(month) {
  return months.format(new Date(`${month}-01T00:00:00Z`));
}

/** The end of a scale that holds `bytes`: a number of a unit whose half is one that people like, too. */
export function scaleEnd(bytes) {
  let unit = 1;
  while (bytes >= unit * 1024) unit *= 1024;
  const steps = [1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40, 50, 60, 80, 100, 150, 200, 300, 400, 500, 600, 800, 1024];
  return unit * steps.find((step) => bytes <= step * unit);
}

/** A text as a sentence of its own. The name of a setting that it begins with stays as it is. */
export function sentence(text) {
  const begun = /^\w+\.\w/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** A number of a scale without the decimals that say nothing: `10.00 GB` is `10 GB`. */
export function shortened(text) {
  return text.replace(/\.00(?= )/, "").replace(/(\.[1-9])0(?= )/, "$1");
}

/** "1 key", "2 keys". */
export function plural(count, one, many = `${one}s`) {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}
