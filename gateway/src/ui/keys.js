// The keys: all of them in one table, what each moves, and everything that can be done with one.

import { ask, change, keyPath } from "./api.js";
import { confirm } from "./dialog.js";
import { button, make, nameElement, problemPlace, setText, telling } from "./dom.js";
import { formatCount, plural } from "./format.js";
import { openCreation, openLink, openManagement } from "./key_dialogs.js";
import { KeyTable } from "./key_table.js";
import { Poll } from "./poll.js";
import { Rates, readCounters } from "./rates.js";

export const title = "Keys";

const LIVE_SECONDS = 2;
const LEDGER_SECONDS = 5;

/** Keys whose day is asked for one by one, because another key has their name. */
const TWINS_MAX = 20;

/** Draws the view into `place`, with what is looked for where the address says so, and gives a function that ends it. */
export function open(place, query) {
  const view = new Keys(query.get("search") || "");
  place.append(...view.elements);
  view.start();
  return () => view.stop();
}

class Keys {
  #keys = [];
  #rates = new Rates();
  #connections = new Map();
  #total = new Map();
  #month = new Map();
  #today = new Map();
  #count = make("p", { class: "quiet", id: "key-count" });
  #listProblem = problemPlace();
  #liveProblem = problemPlace();
  #ledgerProblem = problemPlace();
  #actionProblem = problemPlace();
  #search = make("input", { type: "search", id: "key-search", autocomplete: "off", spellcheck: "false", placeholder: "name, port or uuid" });
  #table = new KeyTable({
    link: (key) => openLink(key),
    manage: (key) => openManagement(key, () => this.refresh()),
    toggle: (key) => this.#toggle(key),
  });
  #live = new Poll(LIVE_SECONDS, () => this.#readLive());
  #ledger = new Poll(LEDGER_SECONDS, () => this.#readLedger());

  constructor(wanted) {
    this.#search.value = wanted;
    this.#search.addEventListener("input", () => this.#show());
    const create = button("Create a key", { class: "main", "data-action": "create" }, () => openCreation(() => this.refresh()));
    this.elements = [
      make("h1", {}, title),
      make("div", { class: "bar" },
        make("label", { class: "grow" }, make("span", { class: "unseen" }, "Search keys"), this.#search),
        this.#table.order, create),
      this.#listProblem, this.#liveProblem, this.#ledgerProblem, this.#actionProblem,
      this.#count,
      this.#table.element,
    ];
  }

  start() {
    this.#live.start();
    this.#ledger.start();
  }

  stop() {
    this.#live.stop();
    this.#ledger.stop();
  }

  /** Reads everything anew: something was changed. */
  refresh() {
    this.#live.now();
    this.#ledger.now();
  }

  async #readLive() {
    const isRead = await telling(this.#liveProblem, "The rates cannot be read.", async () => {
      const { rows, milliseconds } = await readCounters();
      this.#rates.take(rows, milliseconds);
      this.#connections = new Map(rows.map((row) => [row.uuid, row.connections]));
    });
    // Figures of a moment that is over would pass for those of this one.
    if (!isRead) [this.#rates, this.#connections] = [new Rates(), new Map()];
    this.#show();
  }

  async #readLedger() {
    await Promise.all([
      telling(this.#listProblem, "The keys cannot be read.", async () => {
        this.#keys = await ask("api/keys");
      }),
      telling(this.#ledgerProblem, "The totals cannot be read.", () => this.#readTotals()),
    ]);
    this.#show();
  }

  async #readTotals() {
    const [totals, month, today] = await Promise.all([
      ask("api/traffic/history"),
      ask("api/traffic/monthly"),
      ask("api/usage/dashboard?days=1"),
    ]);
    this.#total = new Map(totals.data.keys.map((row) => [row.key_uuid, row]));
    this.#month = new Map(month.data.keys.map((row) => [row.key_uuid, row.monthly_traffic.total_bytes]));
    const users = Object.values(today.users);
    const days = new Map(users.map((user) => [user.uuid, user.daily_traffic_bytes.at(-1)]));
    // The answer goes by name, and of several keys with one name it has the first.
    const twins = this.#keys.filter((key) => !days.has(key.uuid)).slice(0, TWINS_MAX);
    const read = twins.map(async (key) => [key.uuid, await dayOf(key, today.meta.to)]);
    for (const [uuid, bytes] of await Promise.all(read)) days.set(uuid, bytes);
    this.#today = days;
  }

  #show() {
    const wanted = this.#search.value.trim().toLowerCase();
    const rows = this.#keys.map((key) => this.#row(key));
    const found = rows.filter(({ key }) => [key.name, String(key.port), key.uuid].some((text) => text.toLowerCase().includes(wanted)));
    const enabled = this.#keys.filter((key) => key.is_active).length;
    const all = `${plural(this.#keys.length, "key")}, ${formatCount(enabled)} enabled`;
    setText(this.#count, wanted ? `${formatCount(found.length)} of ${all}` : all);
    this.#table.show(found, wanted ? "No key is like this." : "There are no keys yet.");
  }

  /** What is known of a key; null is not known. */
  #row(key) {
    const total = this.#total.get(key.uuid);
    const connections = this.#connections.get(key.uuid) ?? (key.is_active ? null : 0);
    return {
      key,
      rate: this.#rates.of(key.uuid),
      today: this.#today.get(key.uuid) ?? null,
      month: this.#month.get(key.uuid) ?? null,
      total: total ? total.total_traffic.total_bytes : null,
      connections,
      isConnected: connections > 0,
      lastSeen: total ? total.last_activity : null,
    };
  }

  async #toggle(key) {
    const connections = this.#connections.get(key.uuid) || 0;
    if (key.is_active && connections > 0) {
      confirm({
        title: ["Disable ", nameElement(key.name), "?"],
        text: `${plural(connections, "connection ends", "connections end")} at once. The port and the history stay.`,
        action: "Disable the key",
        failed: "The key was not disabled.",
        work: () => this.#setActive(key, false),
      });
      return;
    }
    const failed = key.is_active ? "The key was not disabled." : "The key was not enabled.";
    await telling(this.#actionProblem, failed, () => this.#setActive(key, !key.is_active));
  }

  async #setActive(key, isActive) {
    const changed = await change("PATCH", keyPath(key), { is_active: isActive });
    this.#keys = this.#keys.map((other) => (other.id === changed.id ? changed : other));
    this.#show();
    this.refresh();
  }
}

/** What a key has moved on a day. */
async function dayOf(key, date) {
  try {
    const { data } = await ask(keyPath(key, `/traffic/monthly?year_month=${date.slice(0, 7)}`));
    return data.daily_breakdown[date]?.total_bytes ?? 0;
  } catch (error) {
    // Deleted meanwhile.
    if (error.status === 404) return 0;
    throw error;
  }
}
