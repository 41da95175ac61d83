// What is asked again and again: never twice at once, never while nobody looks, less often where answers take long.

/** Of the time, at most one part in so many is spent waiting for answers. */
const SHARE = 8;

/** How many times longer pauses are where the browser is to save data. */
const SAVING = 6;

/** Runs `run` every so many seconds while the page is in view. */
export class Poll {
  #seconds;
  #run;
  #timer = 0;
  #isStopped = true;
  #isRunning = false;
  #isWanted = false;
  #seen = () => {
    if (document.hidden) clearTimeout(this.#timer);
    else this.now();
  };

  constructor(seconds, run) {
    this.#seconds = seconds;
    this.#run = run;
  }

  /** Begins, at once. */
  start() {
    this.#isStopped = false;
    document.addEventListener("visibilitychange", this.#seen);
    this.now();
    return this;
  }

  /** Ends; what is under way is left to itself. */
  stop() {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    document.removeEventListener("visibilitychange", this.#seen);
  }

  /** Runs now, or once more where it is running. */
  async now() {
    clearTimeout(this.#timer);
    this.#isWanted = true;
    if (this.#isStopped || this.#isRunning || document.hidden) return;
    this.#isRunning = true;
    const began = performance.now();
    try {
      while (this.#isWanted && !this.#isStopped) {
        this.#isWanted = false;
        await this.#run();
      }
    } finally {
      this.#isRunning = false;
      const pause = this.#pauseAfter(performance.now() - began);
      if (!this.#isStopped && !document.hidden) this.#timer = setTimeout(() => this.now(), pause);
    }
  }

  #pauseAfter(milliseconds) {
    const factor = navigator.connection?.saveData ? SAVING : 1;
    return Math.max(this.#seconds * 1000, milliseconds * SHARE) * factor;
  }
}
