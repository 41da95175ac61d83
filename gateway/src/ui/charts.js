// Charts: a line that moves, and bars. Drawings stretch with their frame; texts lie beside them and do not.

import { make, setAttribute, setBytes, setText, shape } from "./dom.js";
import { scaleEnd, shortened } from "./format.js";

/** Shares of the scale at which lines are drawn. */
const LINES = [0.5, 1];

/** Height of the drawings in their own units. */
const HEIGHT = 100;

/** The least that a bar above zero is high, so that it is seen. */
const BAR_MIN = 1;

/** A frame with a scale on its left, marks below, and the figure below the pointer above. */
class Frame {
  constructor(label) {
    this.svg = shape("svg", { preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" });
    this.readout = make("span", { class: "readout" });
    this.scale = LINES.map((share) => make("span", { class: share === 1 ? "end" : "middle" }));
    this.marks = make("div", { class: "marks", "aria-hidden": "true" });
    this.plot = make("div", { class: "plot" }, this.svg, ...this.scale);
    this.element = make("figure", { class: "chart", role: "img", "aria-label": label }, this.readout, this.plot, this.marks);
    this.label = label;
    this.texts = [];
    const follow = (event) => this.point(event);
    this.plot.addEventListener("pointermove", follow);
    this.plot.addEventListener("pointerdown", follow);
    this.plot.addEventListener("pointerleave", () => this.show(-1));
  }

  point(event) {
    const { left, width } = this.plot.getBoundingClientRect();
    const share = Math.min(0.999, Math.max(0, (event.clientX - left) / width));
    this.show(Math.floor(share * this.texts.length));
  }

  show(position) {
    this.position = position;
    setText(this.readout, this.texts[position] || "");
  }

  /** What is said of each place, from left to right. */
  setTexts(texts) {
    this.texts = texts;
    this.show(this.position ?? -1);
  }

  setScale(end, format) {
    LINES.forEach((share, position) => setText(this.scale[position], shortened(format(end * share))));
  }

  setMarks(marks) {
    const old = Array.from(this.marks.children, (child) => child.textContent);
    if (old.join("\n") !== marks.join("\n")) this.marks.replaceChildren(...marks.map((mark) => make("span", {}, mark)));
  }

  setSummary(text) {
    setAttribute(this.element, "aria-label", `${this.label}. ${text}`);
  }
}

/** The lines of a scale. */
function gridLines(width) {
  return LINES.map((share) => {
    const y = HEIGHT * (1 - share);
    return shape("line", { class: "grid", x1: 0, x2: width, y1: y, y2: y });
  });
}

/** A line over time, filled below. */
export class LineChart {
  #frame;
  #area = shape("path", { class: "area" });
  #line = shape("path", { class: "line" });
  #width = 0;

  constructor(label) {
    this.#frame = new Frame(label);
    this.element = this.#frame.element;
  }

  /** Shows values from left to right; `format` writes one out, `textOf` says what it is. */
  update(values, { format, textOf, marks, summary }) {
    const end = scaleEnd(Math.max(1024, ...values));
    const width = Math.max(1, values.length - 1);
    if (width !== this.#width) {
      this.#width = width;
      setAttribute(this.#frame.svg, "viewBox", `0 0 ${width} ${HEIGHT}`);
      this.#frame.svg.replaceChildren(...gridLines(width), this.#area, this.#line);
    }
    const points = values.map((value, x) => `${x},${(HEIGHT * (1 - value / end)).toFixed(2)}`);
    const line = points.length ? `M${points.join("L")}` : "";
    setAttribute(this.#line, "d", line);
    setAttribute(this.#area, "d", line && `${line}V${HEIGHT}H0Z`);
    this.#frame.setScale(end, format);
    this.#frame.setTexts(values.map(textOf));
    this.#frame.setMarks(marks);
    this.#frame.setSummary(summary);
  }
}

/** Bars, the last of which is the present time, with the same as a table for who would rather read. */
export class BarChart {
  #frame;
  #rows = make("tbody");
  #drawn = "";

  constructor(label, unit) {
    this.#frame = new Frame(label);
    const table = make("table", { "aria-label": label }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, unit), make("th", { scope: "col" }, "Bytes"))), this.#rows);
    this.element = make("div", {}, this.#frame.element,
      make("details", { class: "figures" }, make("summary", {}, "The same as a table"), make("div", { class: "scroll" }, table)));
  }

  /** Shows `{ label, bytes }` from left to right. */
  update(items, { format, marks }) {
    const drawn = JSON.stringify(items);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const most = Math.max(0, ...items.map((item) => item.bytes));
    const end = scaleEnd(Math.max(1024, most));
    const bars = items.map(({ bytes }, position) => {
      const height = bytes > 0 ? Math.max(BAR_MIN, (HEIGHT * bytes) / end) : 0;
      const kind = position === items.length - 1 ? "bar current" : "bar";
      return shape("rect", { class: kind, x: position + 0.14, width: 0.72, y: HEIGHT - height, height });
    });
    setAttribute(this.#frame.svg, "viewBox", `0 0 ${Math.max(1, items.length)} ${HEIGHT}`);
    this.#frame.svg.replaceChildren(...gridLines(items.length), ...bars);
    this.#frame.setScale(end, format);
    this.#frame.setTexts(items.map((item) => `${item.label}: ${format(item.bytes)}`));
    this.#frame.setMarks(marks);
    const last = items.at(-1);
    this.#frame.setSummary(last ? `The most is ${format(most)}; ${last.label} has ${format(last.bytes)} so far` : "Nothing yet");
    this.#rows.replaceChildren(...items.toReversed().map(row));
  }
}

function row({ label, bytes }) {
  const cell = make("td");
  setBytes(cell, bytes);
  return make("tr", {}, make("th", { scope: "row" }, label), cell);
}
