// What can be done with one key: made, given to a customer, renamed, begun anew, deleted.

import { addressOf, ask, askFile, change, keyPath } from "./api.js";
import { BarChart } from "./charts.js";
import { confirm, openDialog } from "./dialog.js";
import { button, make, momentElement, nameElement, problemPlace, setBytes, setText, telling } from "./dom.js";
import { formatBytes, formatCount, formatDay } from "./format.js";
import { Poll } from "./poll.js";

const NAME_CHARACTERS_MAX = 255;
const COUNTERS_SECONDS = 3;
const DAYS = 31;

/** A module of the code is eight pixels wide; as half of them all stay alike, and it has room on a phone. */
const QR_SCALE = 0.5;

/** A form with one field for a name; `work` is given what was typed. */
function nameForm({ name, action, id, place, failed, work }) {
  const field = make("input", { id, type: "text", required: true, maxlength: NAME_CHARACTERS_MAX, autocomplete: "off", spellcheck: "false", value: name });
  const send = make("button", { type: "submit", class: "main" }, action);
  const form = make("form", { class: "bar" }, make("label", { class: "grow" }, "Name", field), send);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (send.getAttribute("aria-disabled") === "true") return;
    send.setAttribute("aria-disabled", "true");
    await telling(place, failed, () => work(field.value.trim()));
    send.removeAttribute("aria-disabled");
  });
  return form;
}

/** Asks for a name, makes a key, and shows its link. */
export function openCreation(changed) {
  const place = problemPlace();
  const form = nameForm({
    name: "", action: "Create", id: "new-name", place, failed: "The key was not created.",
    work: async (name) => {
      const key = await change("POST", "api/keys", { name });
      dialog.close();
      changed();
      openLink(key);
    },
  });
  const about = make("p", { class: "quiet" }, "It gets the lowest free port. The name is for you, and stands in the link.");
  const dialog = openDialog("Create a key", [about, form, place], { isNarrow: true });
}

/** Shows what opens a connection with a key. */
export function openLink(key) {
  const place = problemPlace();
  const body = make("div", { "aria-busy": "true" });
  let picture = null;
  const dialog = openDialog(["Link of ", nameElement(key.name)], [place, body], {
    closed: () => picture && URL.revokeObjectURL(picture),
  });
  telling(place, "The link cannot be read.", async () => {
    const [links, code] = await Promise.all([ask(keyPath(key, "/config")), askFile(keyPath(key, "/qr.svg"))]);
    if (!dialog.open) return;
    picture = URL.createObjectURL(code);
    const subscription = links.subscription_url || (links.subscription_path && addressOf(links.subscription_path.slice(1)));
    const qr = make("img", { class: "qr", id: "qr", src: picture, alt: `QR code of the link of ${key.name}` });
    qr.addEventListener("load", () => {
      qr.width = qr.naturalWidth * QR_SCALE;
    });
    body.replaceChildren(
      key.is_active ? "" : make("p", { class: "notice" }, "This key is disabled. What is here opens nothing until it is enabled."),
      qr,
      copyField("Link", "link-text", links.vless_url),
      subscription ? copyField("Subscription, for apps that follow changes", "subscription-text", subscription) : "",
      make("p", { class: "quiet" }, "Whoever has either can use this key."),
    );
    body.setAttribute("aria-busy", "false");
  });
}

/** A text with a button that copies it. */
function copyField(label, id, text) {
  const field = make("textarea", { id, readonly: true, rows: 2, spellcheck: "false", onfocus: () => field.select() });
  field.value = text;
  const said = make("span", { role: "status", class: "quiet" });
  const copy = button("Copy", { "data-action": "copy" }, async () => {
    setText(said, (await copied(field)) ? "Copied." : "It could not be copied; it is selected, copy it by hand.");
  });
  return make("div", { class: "copy" }, make("div", { class: "bar" }, make("label", { class: "grow", for: id }, label), copy), field, said);
}

/** Browsers give the clipboard to pages over TLS alone; the others still have the command that came before it. */
async function copied(field) {
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {
    field.focus();
    field.select();
    return document.execCommand("copy");
  }
}

/** Shows everything about a key, and what changes it. */
export function openManagement(key, changed) {
  const parts = new Management(key, changed);
  const poll = new Poll(COUNTERS_SECONDS, () => parts.readCounters());
  parts.dialog = openDialog(nameElement(key.name), parts.elements, { closed: () => poll.stop() });
  parts.poll = poll.start();
  parts.readDays();
}

class Management {
  #key;
  #changed;
  #place = problemPlace();
  #countersProblem = problemPlace();
  #daysProblem = problemPlace();
  #values = new Map();
  #days = new BarChart(`Bytes of this key on each of the last ${DAYS} days`, "Day");

  constructor(key, changed) {
    this.#key = key;
    this.#changed = changed;
    const rename = nameForm({
      name: key.name, action: "Rename", id: "rename", place: this.#place, failed: "The key was not renamed.",
      work: (name) => this.#rename(name),
    });
    this.elements = [
      rename, this.#place,
      make("h3", {}, "Counters since it was made or last reset"),
      this.#figures([["rx_bytes", "From the client"], ["tx_bytes", "To the client"], ["rx_packets", "Packets from it"],
        ["tx_packets", "Packets to it"], ["connections", "Connections now"], ["connections_opened", "Connections opened"]]),
      this.#countersProblem,
      make("h3", {}, "History by day"), this.#days.element, this.#daysProblem,
      make("dl", { class: "facts" }, ...this.#facts()),
      make("div", { class: "buttons start" },
        button("Reset the counters", { "data-action": "reset-counters" }, () => this.#resetCounters()),
        button("Reset the history", { "data-action": "reset-history" }, () => this.#resetHistory()),
        button("Delete the key", { class: "danger", "data-action": "delete" }, () => this.#delete())),
    ];
  }

  #facts() {
    const { port, created_at: created, id, uuid } = this.#key;
    const facts = [["Port", port === null ? "none" : String(port)], ["Created", momentElement(created)],
      ["Id", make("code", {}, id)], ["UUID", make("code", {}, uuid)]];
    return facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
  }

  #figures(names) {
    const cells = names.flatMap(([field, name]) => {
      const value = make("dd", { class: "number", "data-figure": field }, "–");
      this.#values.set(field, value);
      return [make("dt", {}, name), value];
    });
    return make("dl", { class: "facts figures" }, ...cells);
  }

  async readCounters() {
    await telling(this.#countersProblem, "The counters cannot be read.", async () => {
      const { traffic } = await ask(keyPath(this.#key, "/traffic/simple"));
      for (const [field, element] of this.#values) {
        if (field.endsWith("_bytes")) setBytes(element, traffic[field]);
        else setText(element, formatCount(traffic[field]));
      }
    });
  }

  async readDays() {
    await telling(this.#daysProblem, "The days cannot be read.", async () => {
      const { users, meta } = await ask(`api/usage/dashboard?days=${DAYS}&user=${this.#key.uuid}`);
      const bytes = Object.values(users)[0]?.daily_traffic_bytes || [];
      const items = meta.days.map((day, position) => ({ label: day, bytes: bytes[position] ?? 0 }));
      this.#days.update(items, { format: formatBytes, marks: [formatDay(items[0].label), formatDay(items.at(-1).label)] });
    });
  }

  async #rename(name) {
    // The route asks whether the key is enabled, too: what it is now, not when this was opened.
    const { is_active: isActive } = await ask(keyPath(this.#key));
    this.#key = await change("PATCH", keyPath(this.#key), { is_active: isActive, name });
    this.dialog.querySelector("h2").replaceChildren(nameElement(this.#key.name));
    this.#changed();
  }

  #resetCounters() {
    confirm({
      title: ["Reset the counters of ", nameElement(this.#key.name), "?"],
      text: "They begin at zero again. The history stays as it is.",
      action: "Reset the counters",
      failed: "The counters were not reset.",
      work: async () => {
        await change("POST", keyPath(this.#key, "/traffic/simple/reset"));
        this.poll.now();
        this.#changed();
      },
    });
  }

  #resetHistory() {
    confirm({
      title: ["Reset the history of ", nameElement(this.#key.name), "?"],
      text: ["Its days, months and total begin at zero again, for good. The sums of all keys keep what it has moved.",
        "The counters stay as they are."],
      action: "Reset the history",
      failed: "The history was not reset.",
      work: async () => {
        await change("POST", keyPath(this.#key, "/traffic/history/reset"));
        this.readDays();
        this.#changed();
      },
    });
  }

  #delete() {
    confirm({
      title: ["Delete ", nameElement(this.#key.name), "?"],
      text: "Its connections end at once, its link opens nothing any more, and its port is given to the next key. This cannot be taken back.",
      action: "Delete the key",
      failed: "The key was not deleted.",
      work: async () => {
        await change("DELETE", keyPath(this.#key));
        this.dialog.close();
        this.#changed();
      },
    });
  }
}
