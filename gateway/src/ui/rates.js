// What moves per second, told from two readings of the same counters.

import { ask } from "./api.js";

/** Readings closer together than this say little: an answer's way takes some of it. */
const SECONDS_MIN = 0.5;

/** A reading older than this is none to compare with: nobody was looking in between. */
const SECONDS_MAX = 60;

/** The counters of all keys as they were read last, and what they have moved per second before. */
export class Rates {
  #before = null;
  #byUuid = new Map();
  /** Bytes per second of all keys together; null before a second reading. */
  rx = null;
  tx = null;

  /** Takes the rows of a reading at `milliseconds` of any clock that does not jump. */
  take(rows, milliseconds) {
    const counters = new Map(rows.map((row) => [row.uuid, { rx: row.rx_bytes, tx: row.tx_bytes }]));
    const seconds = this.#before ? (milliseconds - this.#before.milliseconds) / 1000 : Infinity;
    if (seconds < SECONDS_MIN) return;
    this.#byUuid = new Map();
    [this.rx, this.tx] = seconds > SECONDS_MAX ? [null, null] : [0, 0];
    if (this.rx !== null) this.#compare(counters, seconds);
    this.#before = { counters, milliseconds };
  }

  #compare(counters, seconds) {
    for (const [uuid, now] of counters) {
      const before = this.#before.counters.get(uuid);
      // A key that is new, or was reset: its counter began anew in between.
      if (!before || now.rx < before.rx || now.tx < before.tx) continue;
      const rate = { rx: (now.rx - before.rx) / seconds, tx: (now.tx - before.tx) / seconds };
      this.#byUuid.set(uuid, rate);
      this.rx += rate.rx;
      this.tx += rate.tx;
    }
  }

  /** Bytes per second of one key, or null where that is not known yet. */
  of(uuid) {
    return this.#byUuid.get(uuid) || null;
  }
}

/** The rows of `/api/traffic/ports/exact` with the moment at which they came. */
export async function readCounters() {
  const asked = performance.now();
  const answer = await ask("api/traffic/ports/exact");
  const rows = Object.values(answer.ports_traffic.ports_traffic).map((row) => row.traffic);
  // The counters were read somewhere between.
  return { rows, milliseconds: (asked + performance.now()) / 2 };
}
