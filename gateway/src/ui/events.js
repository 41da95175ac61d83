// What happened: newest first, by time, type, severity and service, page by page.

import { ask } from "./api.js";
import { badge, make, momentElement, problemPlace, setText, telling } from "./dom.js";
import { formatCount, plural } from "./format.js";
import { Poll } from "./poll.js";

export const title = "Events";

const SECONDS = 10;
const PAGE_ROWS = 50;

/** The most that the interface gives at once. */
const ROWS_MAX = 10_000;

const TIMES = [["24", "24 hours"], ["168", "7 days"], ["720", "30 days"], ["8760", "year"], ["87600", "ten years"]];
const TYPES = ["USER", "SYSTEM", "SETTINGS", "XRAY", "CONNECTION", "COLLECTOR", "SERVICE_HEALTH", "APP_ERROR", "PERFORMANCE", "UPDATE"];
const SEVERITIES = [["INFO", "quiet"], ["WARN", "warning"], ["ERROR", "bad"]];

/** Draws the view into `place`, of one severity where the address says so, and gives a function that ends it. */
export function open(place, query) {
  const view = new Events(query.get("severity"));
  place.append(...view.elements);
  const poll = new Poll(SECONDS, () => view.read());
  view.poll = poll.start();
  return () => poll.stop();
}

class Events {
  #page = 0;
  #shown = "";
  #hours = choice("event-hours", TIMES);
  #type = choice("event-type", [["", "all types"], ...TYPES.map((type) => [type, words(type)])]);
  #severity = choice("event-severity", [["", "all severities"], ...SEVERITIES.map(([severity]) => [severity, words(severity)])]);
  #service = choice("event-service", [["", "all services"]]);
  #counts = make("p", { class: "quiet", id: "event-counts" });
  #problem = problemPlace();
  #list = make("tbody", { role: "rowgroup" });
  #nothing = make("p", { class: "nothing" });
  #newer = make("button", { type: "button", class: "plain", onclick: () => this.#turn(-1) }, "Newer");
  #older = make("button", { type: "button", class: "plain", onclick: () => this.#turn(1) }, "Older");
  #where = make("span", { role: "status" });

  constructor(severity) {
    if (SEVERITIES.some(([known]) => known === severity)) this.#severity.value = severity;
    const filters = [["Time", this.#hours], ["Type", this.#type], ["Severity", this.#severity], ["Service", this.#service]];
    for (const [, field] of filters) field.addEventListener("change", () => this.#begin());
    const headers = ["Time", "Severity", "What", "Service"].map((text) => make("th", { role: "columnheader", scope: "col" }, text));
    this.elements = [
      make("h1", {}, title),
      make("div", { class: "bar" }, ...filters.map(([name, field]) => make("label", {}, name, field))),
      this.#counts, this.#problem,
      make("table", { class: "events", role: "table", "aria-label": "Events" },
        make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...headers)), this.#list),
      this.#nothing,
      make("nav", { class: "pages", "aria-label": "Pages" }, this.#newer, this.#where, this.#older),
    ];
  }

  #begin() {
    this.#page = 0;
    this.poll.now();
  }

  #turn(step) {
    this.#page = Math.max(0, this.#page + step);
    this.poll.now();
  }

  async read() {
    const [page, hours] = [this.#page, this.#hours.value];
    await telling(this.#problem, "The events cannot be read.", async () => {
      // One more than is shown says whether there is another page.
      const limit = Math.min(ROWS_MAX, (page + 1) * PAGE_ROWS + 1);
      const query = new URLSearchParams({ hours, limit, type: this.#type.value, severity: this.#severity.value, service: this.#service.value });
      const [{ events }, stats] = await Promise.all([ask(`api/events?${query}`), ask(`api/events/stats?hours=${hours}`)]);
      this.#showCounts(stats);
      this.#showPage(page, events);
    });
  }

  #showCounts({ total, errors, warnings, stats }) {
    setText(this.#counts, `${plural(total, "event")} in this time, ${plural(errors, "error")}, ${plural(warnings, "warning")}.`);
    const services = Object.keys(stats.by_service).filter(Boolean).sort();
    const chosen = this.#service.value;
    if (chosen && !services.includes(chosen)) services.push(chosen);
    const listed = Array.from(this.#service.options, (option) => option.value).slice(1);
    if (services.join() === listed.join()) return;
    this.#service.replaceChildren(make("option", { value: "" }, "all services"), ...services.map((service) => make("option", { value: service }, service)));
    this.#service.value = chosen;
  }

  #showPage(page, events) {
    const rows = events.slice(page * PAGE_ROWS, (page + 1) * PAGE_ROWS);
    const isLast = events.length <= (page + 1) * PAGE_ROWS;
    const shown = JSON.stringify([page, rows]);
    if (shown !== this.#shown) {
      this.#shown = shown;
      this.#list.replaceChildren(...rows.map(row));
    }
    setText(this.#nothing, rows.length === 0 ? "Nothing of this kind has happened." : "");
    setText(this.#where, rows.length === 0 ? "" : `${formatCount(page * PAGE_ROWS + 1)} to ${formatCount(page * PAGE_ROWS + rows.length)}`);
    this.#newer.disabled = page === 0;
    this.#older.disabled = isLast;
  }
}

/** One event. What is not known of it is not there. */
function row(event) {
  const [, kind] = SEVERITIES.find(([severity]) => severity === event.severity) || ["", "quiet"];
  const about = [event.email, event.alias].filter(Boolean).join(", ");
  const what = make("td", { role: "cell", class: "what" },
    make("strong", {}, `${words(event.type)}: ${words(event.action)}`),
    event.message ? make("span", { class: "message" }, event.message) : null,
    about ? make("span", { class: "quiet" }, about) : null,
    event.result ? make("span", { class: "quiet" }, event.result) : null);
  return make("tr", { role: "row" },
    make("td", { role: "cell", class: "time" }, momentElement(event.ts)),
    make("td", { role: "cell" }, badge(words(event.severity), kind)),
    what,
    make("td", { role: "cell", class: "quiet" }, event.service));
}

function choice(id, options) {
  return make("select", { id }, ...options.map(([value, text]) => make("option", { value }, text)));
}

/** `SERVICE_HEALTH` as a person writes it. */
function words(word) {
  const text = word.toLowerCase().replaceAll("_", " ");
  return { xray: "Xray", warn: "warning", "app error": "program error" }[text] || text;
}
