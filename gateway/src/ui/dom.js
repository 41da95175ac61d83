// Making and changing elements. Whatever comes from outside becomes text, never markup.

import { Problem } from "./api.js";
import { exactBytes, formatBytes, formatMoment, isoOf } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; a text among the children stays text. `on…` takes a listener. */
export function make(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same of a drawing. */
export function shape(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Changes a text where it is another one: what is selected stays selected, and nothing is read out again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Changes an attribute where it is another one. */
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Shows bytes, exactly for who points at them. Null is none. */
export function setBytes(element, bytes) {
  setText(element, bytes === null || bytes === undefined ? "–" : formatBytes(bytes));
  setAttribute(element, "title", bytes === null || bytes === undefined ? "" : exactBytes(bytes));
}

/** A moment in this place's time, with the ISO form for who points at it. */
export function momentElement(text) {
  const iso = isoOf(text);
  return make("time", { datetime: iso, title: iso }, formatMoment(iso));
}

/** A name within a text. Whatever way it is written in, the text around it keeps its own. */
export function nameElement(name) {
  return make("bdi", { title: name }, name);
}

/** Where a part of the page says what went wrong in it. */
export function problemPlace() {
  return make("p", { class: "problem", role: "alert" });
}

/** Does `work` and gives true; where the server fails it, says so at `place`, after `what`, and gives false. */
export async function telling(place, what, work) {
  try {
    await work();
    setText(place, "");
    return true;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    // Who has to sign in again is told there.
    setText(place, error.status === 401 ? "" : `${what} ${error.message}`.trim());
    return false;
  }
}

/** A part of a view with a heading. */
export function card(title, attributes, ...children) {
  return make("section", { ...attributes, class: `card ${attributes.class || ""}`.trim() }, make("h2", {}, title), ...children);
}

/** A button with what it does, which cannot be pressed again meanwhile. */
export function button(text, attributes, work) {
  const element = make("button", { type: "button", ...attributes }, text);
  element.addEventListener("click", async () => {
    if (element.getAttribute("aria-disabled") === "true") return;
    // Not `disabled`, which would take the focus away.
    element.setAttribute("aria-disabled", "true");
    try {
      await work(element);
    } finally {
      element.removeAttribute("aria-disabled");
    }
  });
  return element;
}

/** A word in a coloured frame; `kind` is good, warning, bad or quiet. */
export function badge(text, kind) {
  return make("span", { class: `badge ${kind}` }, text);
}
