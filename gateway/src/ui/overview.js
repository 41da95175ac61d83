// The first view: what moves now, what moved by day and month, and whose it is.

import { NOBODY, ask } from "./api.js";
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

/** The days of months change little: they are read anew so often, in seconds. */
const MONTHS_SECONDS = 600;

const TOP_KEYS = 8;

/** Draws the view into `place` and gives a function that ends it. */
export function open(place) {
  const live = new Live();
  const ledger = new Ledger();
  const top = new Top();
  place.append(
    make("h1", {}, title),
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
    new Poll(LEDGER_SECONDS, () => Promise.all([ledger.read(), top.read()])),
    new Poll(MONTHS_SECONDS, () => ledger.readMonths()),
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
    await telling(this.problem, "The live figures cannot be read.", async () => {
      const [{ rows, milliseconds }, series] = await Promise.all([readCounters(), this.#series()]);
      this.#rates.take(rows, milliseconds);
      this.#showNow(rows);
      this.#showChart(series || this.#ownSeries());
    });
  }

  #showNow(rows) {
    const { rx, tx } = this.#rates;
    setText(this.#received.value, rx === null ? "–" : formatRate(rx));
    setText(this.#sent.value, tx === null ? "–" : formatRate(tx));
    if (rx !== null) this.#measured = [...this.#measured, rx + tx].slice(-CHART_SECONDS / POINT_SECONDS);
    const open = rows.reduce((sum, row) => sum + row.connections, 0);
    setText(this.#connections.value, formatCount(open));
    const connected = rows.filter((row) => row.connections > 0).length;
    setText(this.#connections.about, `of ${plural(connected, "key")}`);
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
  #today = tile("today-bytes", "Today");
  #month = tile("month-bytes", "This month");
  #byDay = new Map();
  #date = "";

  days = new BarChart(`Bytes of all keys on each of the last ${DAYS} days`, "Day");
  months = new BarChart(`Bytes of all keys in each of the last ${MONTHS} months`, "Month");
  problem = problemPlace();
  monthsProblem = problemPlace();
  tiles = [this.#today.element, this.#month.element];

  async read() {
    await telling(this.problem, "The days cannot be read.", async () => {
      this.#take(await ask(`api/usage/dashboard?days=${DAYS}&user=${NOBODY}`));
      this.#show();
    });
  }

  async readMonths() {
    await telling(this.monthsProblem, "The months cannot be read.", async () => {
      this.#take(await ask(`api/usage/dashboard?days=${DAYS_OF_MONTHS}&user=${NOBODY}`));
      this.#show();
      this.#showMonths();
    });
  }

  #take({ global, meta }) {
    meta.prev_days.forEach((day, position) => this.#byDay.set(day, global.prev_daily_traffic_bytes[position]));
    meta.days.forEach((day, position) => this.#byDay.set(day, global.daily_traffic_bytes[position]));
    this.#date = meta.to;
  }

  #show() {
    const all = Array.from(this.#byDay).sort(([one], [other]) => (one < other ? -1 : 1));
    const days = all.slice(-DAYS);
    setBytes(this.#today.value, this.#byDay.get(this.#date) ?? 0);
    setText(this.#today.about, this.#date);
    const month = this.#date.slice(0, 7);
    setBytes(this.#month.value, sumOf(days.filter(([day]) => day.startsWith(month))));
    setText(this.#month.about, month);
    this.days.update(days.map(([day, bytes]) => ({ label: day, bytes })), {
      format: formatBytes,
      marks: [formatDay(days[0][0]), formatDay(this.#date)],
    });
    if (this.#hasMonths) this.#showMonths();
  }

  #hasMonths = false;

  #showMonths() {
    this.#hasMonths = true;
    const months = new Map(lastMonths(this.#date.slice(0, 7)).map((month) => [month, 0]));
    for (const [day, bytes] of this.#byDay) {
      const month = day.slice(0, 7);
      if (months.has(month)) months.set(month, months.get(month) + bytes);
    }
    const items = Array.from(months, ([label, bytes]) => ({ label, bytes }));
    this.months.update(items, {
      format: formatBytes,
      marks: [formatMonth(items[0].label), formatMonth(items.at(-1).label)],
    });
  }
}

function sumOf(days) {
  return days.reduce((sum, [, bytes]) => sum + bytes, 0);
}

/** The months up to `last`, oldest first. */
function lastMonths(last) {
  const [year, month] = last.split("-").map(Number);
  return Array.from({ length: MONTHS }, (_, position) => {
    const date = new Date(Date.UTC(year, month - MONTHS + position, 1));
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
    const rows = top.map(({ user, value, pct }) => {
      const bytes = make("span", { class: "number" });
      setBytes(bytes, value);
      const bar = make("span", { class: "share", "aria-hidden": "true" });
      bar.style.setProperty("--share", String(pct / 100));
      return make("li", {}, make("span", { class: "name" }, user), bytes, make("span", { class: "quiet number" }, `${pct.toFixed(0)} %`), bar);
    });
    if (rows.length === 0) rows.push(make("li", { class: "quiet nobody" }, "Nobody has moved anything in this time."));
    this.#list.replaceChildren(...rows);
    setAttribute(this.#list, "aria-busy", "false");
  }
}
