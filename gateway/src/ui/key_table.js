// The table of keys: sorted, cut to what a page can bear, and changed in place, so that neither focus nor selection is lost.

import { button, make, setAttribute, setBytes, setText } from "./dom.js";
import { formatAgo, formatCount, formatMoment, formatRate, isoOf, plural } from "./format.js";

/** Rows shown at first, and more each time that more are asked for. */
const PAGE_ROWS = 100;

/** Each column: what it is called, what it sorts by, and whether most comes first. */
const COLUMNS = [
  { id: "name", title: "Name", value: ({ key }) => key.name.toLowerCase() },
  { id: "port", title: "Port", value: ({ key }) => key.port ?? Infinity },
  { id: "enabled", title: "Enabled", value: ({ key }) => Number(key.is_active), isMostFirst: true },
  { id: "rate", title: "Rate", value: ({ rate }) => (rate ? rate.rx + rate.tx : 0), isMostFirst: true },
  { id: "today", title: "Today", value: ({ today }) => today ?? 0, isMostFirst: true },
  { id: "month", title: "Month", value: ({ month }) => month ?? 0, isMostFirst: true },
  { id: "total", title: "Total", value: ({ total }) => total ?? 0, isMostFirst: true },
  { id: "connections", title: "Connections", value: ({ connections }) => connections ?? 0, isMostFirst: true },
  { id: "seen", title: "Last seen", value: (row) => (row.isConnected ? "now" : row.lastSeen || ""), isMostFirst: true },
];

/** Columns of numbers, which stand at the right. */
const NUMBERS = ["port", "rate", "today", "month", "total", "connections"];

export class KeyTable {
  #actions;
  #rows = [];
  #byId = new Map();
  #limit = PAGE_ROWS;
  #column = "port";
  #isDescending = false;
  #body = make("tbody", { role: "rowgroup" });
  #nothing = make("p", { class: "nothing" });
  #more = button("", { class: "plain", hidden: true }, () => this.#showMore());
  #headers = new Map();
  #select = make("select", {});

  /** `actions` are what the rows' buttons do: link, manage, toggle. */
  constructor(actions) {
    this.#actions = actions;
    const headers = COLUMNS.map(({ id, title }) => {
      const press = make("button", { type: "button", class: "sort", onclick: () => this.#sortBy(id) }, title);
      const header = make("th", { role: "columnheader", scope: "col", class: NUMBERS.includes(id) ? "number" : null }, press);
      this.#headers.set(id, header);
      this.#select.append(make("option", { value: id }, title));
      return header;
    });
    headers.push(make("th", { role: "columnheader", scope: "col" }, make("span", { class: "unseen" }, "Actions")));
    this.#select.addEventListener("change", () => this.#sortBy(this.#select.value));
    /** For narrow screens, which have no headers to press. */
    this.order = make("label", { class: "order" }, "Sort by ", this.#select);
    // Roles, because a table that is laid out as cards is none to some browsers.
    this.element = make("div", {},
      make("table", { class: "keys", role: "table", "aria-label": "Keys" },
        make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...headers)), this.#body),
      this.#nothing, this.#more);
    this.#showOrder();
  }

  /** Shows rows, or `nothing` where there are none. */
  show(rows, nothing) {
    this.#rows = rows;
    setText(this.#nothing, rows.length === 0 ? nothing : "");
    this.#draw();
  }

  #sortBy(id) {
    const column = COLUMNS.find((candidate) => candidate.id === id);
    this.#isDescending = id === this.#column ? !this.#isDescending : Boolean(column.isMostFirst);
    this.#column = id;
    this.#showOrder();
    this.#draw();
  }

  #showOrder() {
    for (const [id, header] of this.#headers) {
      const order = this.#isDescending ? "descending" : "ascending";
      if (id === this.#column) header.setAttribute("aria-sort", order);
      else header.removeAttribute("aria-sort");
    }
    this.#select.value = this.#column;
  }

  #showMore() {
    this.#limit += PAGE_ROWS;
    this.#draw();
  }

  #draw() {
    const { value } = COLUMNS.find(({ id }) => id === this.#column);
    const sign = this.#isDescending ? -1 : 1;
    // Equal ones stay in the order in which they were made.
    const sorted = this.#rows.toSorted((one, other) => sign * compare(value(one), value(other)));
    const shown = sorted.slice(0, this.#limit);
    const left = sorted.length - shown.length;
    setText(this.#more, `Show ${formatCount(Math.min(left, PAGE_ROWS))} more of ${plural(left, "key")}`);
    this.#more.hidden = left === 0;
    const before = this.#byId;
    this.#byId = new Map();
    const elements = shown.map((row) => {
      const drawn = before.get(row.key.id) || new Row(this.#actions);
      drawn.show(row);
      this.#byId.set(row.key.id, drawn);
      return drawn.element;
    });
    // A row that stays where it is keeps its focus.
    const isSame = elements.length === this.#body.children.length && elements.every((element, position) => element === this.#body.children[position]);
    if (!isSame) this.#place(elements);
  }

  #place(elements) {
    const focused = document.activeElement;
    this.#body.replaceChildren(...elements);
    if (focused !== document.activeElement && this.#body.contains(focused)) focused.focus({ preventScroll: true });
  }
}

function compare(one, other) {
  if (typeof one === "string") return one < other ? -1 : Number(one > other);
  return one === other ? 0 : one - other;
}

/** One key's row. */
class Row {
  #row = null;
  #name = make("button", { type: "button", class: "name", "data-action": "manage" });
  #switch = make("button", { type: "button", class: "switch", role: "switch", "data-action": "toggle" });
  #port = cell("Port", "number");
  #rate = cell("Rate", "number");
  #today = cell("Today", "number");
  #month = cell("Month", "number");
  #total = cell("Total", "number");
  #connections = cell("Connections", "number");
  #seen = cell("Seen");
  #time = make("time");

  constructor(actions) {
    const act = (name) => () => actions[name](this.#row.key);
    this.#name.addEventListener("click", act("manage"));
    this.#switch.addEventListener("click", act("toggle"));
    const nameCell = make("th", { role: "rowheader", scope: "row", class: "named" }, this.#name);
    const enabled = cell("Enabled");
    enabled.append(this.#switch);
    this.#seen.append(this.#time);
    const link = make("button", { type: "button", class: "plain", "data-action": "link", onclick: act("link") }, "Link");
    const manage = make("button", { type: "button", class: "plain", onclick: act("manage") }, "Manage");
    this.element = make("tr", { role: "row" }, nameCell, this.#port, enabled, this.#rate, this.#today, this.#month, this.#total,
      this.#connections, this.#seen, make("td", { role: "cell", class: "actions" }, link, manage));
    this.#labels = [[link, "Link of"], [manage, "Manage"]];
  }

  #labels;

  show(row) {
    const { key, rate } = row;
    this.#row = row;
    setAttribute(this.element, "data-key", key.id);
    setText(this.#name, key.name);
    setAttribute(this.#name, "title", key.name);
    setAttribute(this.element, "class", key.is_active ? "" : "off");
    for (const [element, verb] of this.#labels) setAttribute(element, "aria-label", `${verb} ${key.name}`);
    setAttribute(this.#switch, "aria-label", `${key.name} is enabled`);
    setAttribute(this.#switch, "aria-checked", String(key.is_active));
    setText(this.#port, key.port === null ? "–" : String(key.port));
    setText(this.#rate, rate ? formatRate(rate.rx + rate.tx) : "–");
    setAttribute(this.#rate, "title", rate ? `from the client ${formatRate(rate.rx)}, to it ${formatRate(rate.tx)}` : "");
    setBytes(this.#today, row.today);
    setBytes(this.#month, row.month);
    setBytes(this.#total, row.total);
    setText(this.#connections, row.connections === null ? "–" : formatCount(row.connections));
    this.#showSeen(row);
  }

  #showSeen({ isConnected, lastSeen }) {
    const iso = lastSeen ? isoOf(lastSeen) : "";
    setText(this.#time, isConnected ? "now" : iso ? formatAgo(iso) : "never");
    setAttribute(this.#time, "title", iso ? `${formatMoment(iso)} (${iso})` : "");
    if (iso) setAttribute(this.#time, "datetime", iso);
  }
}

function cell(label, kind) {
  return make("td", { role: "cell", "data-label": label, class: kind || null });
}
