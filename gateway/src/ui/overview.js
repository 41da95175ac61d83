// The first view: what moves now, what moved by day and month, and whose it is.

import { NOBODY, ask } from "./api.js";
import { Attention } from "./attention.js";
import { BarChart, LineChart } from "./charts.js";
import { card, make, problemPlace, setAttribute, setBytes, setText, telling } from "./dom.js";
import { formatBytes, formatClock, formatCount, formatDay, formatMonth, formatRate, plural } from "./format.js";
import { Poll } from "./poll.js";
import { Rates, readCounters } from "./rates.js";

export const title = "Overview";

const LIVE_SECONDS = 2;
const LEDGER_SECONDS = 10;

/** How far the moving chart reaches back, in seconds, and how far its points are apart. */
const CHART_SECONDS = 300;
const POINT_SECONDS = 2;

const DAYS = 31;
const MONTHS = 12;

/** Days that hold the months shown; the answer has as many again before them. */
const DAYS_OF_MONTHS = 365;

/** Days of months before the last two change little: they are read anew so often, in milliseconds. */
const MONTHS_MILLISECONDS = 600_000;

const TOP_KEYS = 8;

/** Draws the view into `place` and gives a function that ends it. */
export function open(place) {
  const live = new Live();
  const ledger = new Ledger();
  const top = new Top();
  const attention = new Attention();
  place.append(
    make("h1", {}, title),
    attention.element,
    make("div", { class: "tiles" }, live.tiles, ledger.tiles),
    live.problem,
    card("Traffic of the last five minutes", { class: "wide" }, live.chart.element),
    make("div", { class: "columns" },
      card("Days", {}, ledger.days.element, ledger.problem),
      card("Months", {}, ledger.months.element, ledger.monthsProblem)),
    top.element,
  );
  const polls = [
    new Poll(LIVE_SECONDS, () => live.read()),
    new Poll(LEDGER_SECONDS, () => Promise.all([attention.read(), ledger.read(), top.read()])),
  ];
  polls.forEach((poll) => poll.start());
  return () => polls.forEach((poll) => poll.stop());
}

/** A figure with what it is. */
function tile(id, label, note) {
  const value = make("strong", { id, class: "number" }, "–");
  const about = make("span", { class: "quiet" }, note || "");
  return { element: make("div", { class: "tile" }, make("span", { class: "label" }, label), value, about), value, about };
}

/** Rates and connections of this moment, and the line of the last minutes. */
class Live {
  #rates = new Rates();
  #received = tile("rate-rx", "From clients", "received per second");
  #sent = tile("rate-tx", "To clients", "sent per second");
  #connections = tile("connections", "Connections");
  /** What was measured here, for where the server's own series cannot be had. */
  #measured = [];

  chart = new LineChart("Bytes per second of all keys over the last five minutes");
  problem = problemPlace();
  tiles = [this.#received.element, this.#sent.element, this.#connections.element];

  async read() {
    const isRead = await telling(this.problem, "The live figures cannot be read.", async () => {
      const [{ rows, milliseconds }, series] = await Promise.all([readCounters(), this.#series()]);
      this.#rates.take(rows, milliseconds);
      this.#showNow(rows);
      this.#showChart(series || this.#ownSeries());
    });
    if (!isRead) this.#showNothing();
  }

  /** Figures of a moment that is over would pass for those of this one. */
  #showNothing() {
    this.#rates = new Rates();
    for (const { value } of [this.#received, this.#sent, this.#connections]) setText(value, "–");
    setText(this.#connections.about, "not known");
  }

  #showNow(rows) {
    const { rx, tx } = this.#rates;
    setText(this.#received.value, rx === null ? "–" : formatRate(rx));
    setText(this.#sent.value, tx === null ? "–" : formatRate(tx));
    if (rx !== null) this.#measured = [...this.#measured, rx + tx].slice(-CHART_SECONDS / POINT_SECONDS);
    const open = rows.reduce((sum, row) => sum + row.connections, 0);
    setText(this.#connections.value, formatCount(open));
    const connected = rows.filter((row) => row.connections > 0).length;
    setText(this.#connections.about, `on ${plural(connected, "key")}`);
  }

  /** Bytes per second, oldest first, of the samples that the agent takes each second; null where there are none. */
  async #series() {
    try {
      const answer = await ask(`api/live/series?metric=traffic&period=${CHART_SECONDS}&granularity=${POINT_SECONDS}`);
      // The last point is not over yet.
      return answer.series.slice(0, -1).map((point) => point.value / POINT_SECONDS);
    } catch (error) {
      // Where the server cannot be reached at all, the counters cannot be had either, and that is told.
      if (error.status === undefined) throw error;
      return null;
    }
  }

  #ownSeries() {
    const missing = CHART_SECONDS / POINT_SECONDS - this.#measured.length;
    return [...new Array(missing).fill(0), ...this.#measured];
  }

  #showChart(values) {
    const now = Date.now();
    const clockAt = (position) => formatClock(new Date(now - (values.length - position) * POINT_SECONDS * 1000));
    this.chart.update(values, {
      format: formatRate,
      textOf: (value, position) => `${clockAt(position)}: ${formatRate(value)}`,
      marks: ["5 min ago", "now"],
      summary: `Now ${formatRate(values.at(-1) || 0)}, at most ${formatRate(Math.max(0, ...values))}`,
    });
  }
}

/** Totals of today and this month, and the bars. Deleted keys are in all of them. */
class Ledger {
  #keys = tile("key-total", "Keys");
  #today = tile("today-bytes", "Today");
  #month = tile("month-bytes", "This month");
  #byDay = new Map();
  #date = "";
  #monthsReadAt = -Infinity;

  days = new BarChart(`Bytes of all keys on each of the last ${DAYS} days`, "Day");
  months = new BarChart(`Bytes of all keys in each of the last ${MONTHS} months`, "Month");
  problem = problemPlace();
  monthsProblem = problemPlace();
  tiles = [this.#keys.element, this.#today.element, this.#month.element];

  async read() {
    await telling(this.problem, "The days cannot be read.", async () => {
      const answer = await ask(`api/usage/dashboard?days=${DAYS}&user=${NOBODY}`);
      this.#take(answer);
      this.#show(answer.kpi);
    });
    if (performance.now() - this.#monthsReadAt >= MONTHS_MILLISECONDS) await this.#readMonths();
    if (this.#monthsReadAt >= 0) this.#showMonths();
  }

  async #readMonths() {
    await telling(this.monthsProblem, "The months cannot be read.", async () => {
      this.#take(await ask(`api/usage/dashboard?days=${DAYS_OF_MONTHS}&user=${NOBODY}`));
      this.#monthsReadAt = performance.now();
    });
  }

  #take({ global, meta }) {
    meta.prev_days.forEach((day, position) => this.#byDay.set(day, global.prev_daily_traffic_bytes[position]));
    meta.days.forEach((day, position) => this.#byDay.set(day, global.daily_traffic_bytes[position]));
    this.#date = meta.to;
  }

  #show(kpi) {
    setText(this.#keys.value, formatCount(kpi.total_users));
    setText(this.#keys.about, `${formatCount(kpi.active_users)} in use`);
    setAttribute(this.#keys.about, "title", `with traffic in the last ${DAYS} days`);
    setBytes(this.#today.value, kpi.today_bytes);
    setText(this.#today.about, `yesterday ${formatBytes(kpi.yesterday_bytes)}`);
    // The last days and as many before them hold this month and all of the one before.
    const [before, month] = this.#sumsOf(lastMonths(this.#date.slice(0, 7), 2));
    setBytes(this.#month.value, month.bytes);
    setText(this.#month.about, `last month ${formatBytes(before.bytes)}`);
    const days = Array.from(this.#byDay, ([label, bytes]) => ({ label, bytes }))
      .sort((one, other) => (one.label < other.label ? -1 : 1))
      .slice(-DAYS);
    const marks = [days[0], days[Math.floor(days.length / 2)], days.at(-1)].map(({ label }) => formatDay(label));
    this.days.update(days, { format: formatBytes, marks });
  }

  /** What each of some months has moved. */
  #sumsOf(months) {
    const sums = new Map(months.map((month) => [month, 0]));
    for (const [day, bytes] of this.#byDay) {
      const month = day.slice(0, 7);
      if (sums.has(month)) sums.set(month, sums.get(month) + bytes);
    }
    return Array.from(sums, ([label, bytes]) => ({ label, bytes }));
  }

  #showMonths() {
    const items = this.#sumsOf(lastMonths(this.#date.slice(0, 7), MONTHS));
    this.months.update(items, {
      format: formatBytes,
      marks: [formatMonth(items[0].label), formatMonth(items.at(-1).label)],
    });
  }
}

/** So many months up to `last`, oldest first. */
function lastMonths(last, length) {
  const [year, month] = last.split("-").map(Number);
  return Array.from({ length }, (_, position) => {
    const date = new Date(Date.UTC(year, month - length + position, 1));
    return date.toISOString().slice(0, 7);
  });
}

/** Keys by what they moved lately. */
class Top {
  #period = make("select", { id: "top-period" },
    make("option", { value: "300" }, "5 minutes"),
    make("option", { value: "3600", selected: true }, "hour"),
    make("option", { value: "86400" }, "24 hours"));
  #list = make("ol", { class: "top", id: "top-keys" });
  /** None before the first answer, which may be of nobody. */
  #rows = null;
  #problem = problemPlace();

  element = card("Top keys", { class: "wide" },
    make("label", { class: "corner" }, "of the last ", this.#period), this.#list, this.#problem);

  constructor() {
    this.#period.addEventListener("change", () => this.read());
  }

  async read() {
    const period = this.#period.value;
    await telling(this.#problem, "The top keys cannot be read.", async () => {
      const { top } = await ask(`api/live/top?metric=traffic&period=${period}&limit=${TOP_KEYS}`);
      if (period === this.#period.value) this.#show(top);
    });
  }

  #show(top) {
    if (top.length !== this.#rows?.length) {
      this.#rows = top.map(() => new TopRow());
      const nobody = make("li", { class: "quiet nobody" }, "Nobody has moved anything in this time.");
      this.#list.replaceChildren(...(top.length ? this.#rows.map((row) => row.element) : [nobody]));
    }
    top.forEach((key, position) => this.#rows[position].show(key));
  }
}

/** A place among the top keys; whoever has it is changed in it, so that the focus stays. */
class TopRow {
  #name = make("a", { class: "name" });
  #bytes = make("span", { class: "number" });
  #percent = make("span", { class: "quiet number" });
  #bar = make("span", { class: "share", "aria-hidden": "true" });

  element = make("li", {}, this.#name, this.#bytes, this.#percent, this.#bar);

  show({ user, value, pct: percent }) {
    setText(this.#name, user);
    setAttribute(this.#name, "title", user);
    setAttribute(this.#name, "href", `#/keys?${new URLSearchParams({ search: user })}`);
    setBytes(this.#bytes, value);
    setText(this.#percent, `${percent.toFixed(0)} %`);
    this.#bar.style.setProperty("--share", String(percent / 100));
  }
}
