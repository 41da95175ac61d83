// What needs somebody now, at the head of the first view. Where all is well there is nothing to read.

import { Problem, ask, notReady } from "./api.js";
import { make } from "./dom.js";
import { plural, sentence } from "./format.js";

/** Errors older than this have had their time. */
const EVENT_HOURS = 24;

/** The list of what is wrong, and what reads it anew. */
export class Attention {
  #drawn = "";

  element = make("ul", { class: "attention", id: "attention", role: "status", "aria-label": "What needs attention" });

  async read() {
    const asked = [notReady(), ask("api/system/status"), ask("api/collector/status"), ask(`api/events/stats?hours=${EVENT_HOURS}`)];
    // What cannot be had says so elsewhere on the page.
    const [problems, services, collector, events] = await Promise.all(asked.map((answer) => answer.catch(nothing)));
    this.#show([
      ...(problems || []).map((problem) => [sentence(problem), "system", "bad"]),
      ...ofServices(services),
      ...ofCollector(collector),
      ...ofEvents(events),
    ]);
  }

  #show(told) {
    const drawn = JSON.stringify(told);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.element.replaceChildren(...told.map(([text, view, kind]) => make("li", { class: kind }, make("a", { href: `#/${view}` }, text))));
  }
}

function nothing(error) {
  if (error instanceof Problem) return null;
  throw error;
}

function ofServices(answer) {
  if (!answer) return [];
  const { xray, nextjs: frontEnd } = answer;
  const told = [];
  if (xray.state === "failed" || xray.state === "inactive") told.push(["Xray does not run: nobody can connect.", "system", "bad"]);
  if (frontEnd.url && frontEnd.state === "failed") told.push(["The front end has failed.", "system"]);
  return told;
}

function ofCollector(answer) {
  return !answer || answer.enabled ? [] : [["The collector is paused: days and totals stand still, the kernel goes on counting.", "system"]];
}

function ofEvents(answer) {
  return answer?.errors ? [[`${plural(answer.errors, "error")} within the last ${EVENT_HOURS} hours.`, "events?severity=ERROR"]] : [];
}
