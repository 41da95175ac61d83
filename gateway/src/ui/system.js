// The state of the system: its services, its host, what books the counters, whether the core has the keys, self-checks.

import { addressOf, ask, change, notReady } from "./api.js";
import { confirm } from "./dialog.js";
import { badge, button, card, make, momentElement, problemPlace, setAttribute, setText, telling } from "./dom.js";
import { formatBytes, plural, sentence } from "./format.js";
import { Poll } from "./poll.js";

export const title = "System";

const SECONDS = 5;

/** What reads configurations and runs through checks is asked less often. */
const SLOW_SECONDS = 15;

/** Self-checks look at every program and map. */
const CHECKS_SECONDS = 120;

/** What the gateway's program calls itself. */
const version = document.querySelector('meta[name="portmeter-version"]').content;

/** Draws the view into `place` and gives a function that ends it. */
export function open(place) {
  const [services, host, collector, core, checks] = [new Services(), new Host(), new Collector(), new Core(), new Checks()];
  place.append(make("h1", {}, title), make("div", { class: "columns" },
    services.element, host.element, collector.element, core.element), checks.element, about());
  const polls = [
    new Poll(SECONDS, () => Promise.all([services.read(), host.read(), collector.read()])),
    new Poll(SLOW_SECONDS, () => Promise.all([core.read(), checks.read()])),
  ];
  polls.forEach((poll) => poll.start());
  return () => polls.forEach((poll) => poll.stop());
}

function about() {
  return card("About", { class: "wide" },
    make("p", { id: "version" }, `Portmeter ${version}`),
    make("p", {}, make("a", { href: addressOf("api/docs") }, "The REST interface"), ", on which this page is built."));
}

/** A line of what is looked at: its name, a word, and more about it. */
class Line {
  #badge = make("span");
  #about = make("span", { class: "quiet" });

  constructor(name, id) {
    this.element = make("li", { id }, make("span", {}, name), this.#badge, this.#about);
  }

  show(word, kind, text = "") {
    setText(this.#badge, word);
    setAttribute(this.#badge, "class", `badge ${kind}`);
    setText(this.#about, text);
  }
}

const KINDS = { active: "good", failed: "bad", inactive: "warning", unknown: "quiet" };

class Services {
  #agent = new Line("Agent", "service-agent");
  #gateway = new Line("Gateway", "service-gateway");
  #core = new Line("Xray", "service-xray");
  #frontEnd = new Line("Front end", "service-front-end");
  #problems = make("ul", { class: "problems" });
  #problem = problemPlace();

  element = card("Services", {},
    make("ul", { class: "lines" }, ...[this.#agent, this.#gateway, this.#core, this.#frontEnd].map((line) => line.element)),
    this.#problems, this.#problem,
    make("div", { class: "buttons start" }, button("Restart Xray", { "data-action": "restart-xray" }, () => this.#restart())));

  async read() {
    await telling(this.#problem, "The services cannot be read.", async () => {
      const asked = performance.now();
      const ping = ask("api/ping").then(() => Math.round(performance.now() - asked));
      const [milliseconds, status, problems] = await Promise.all([ping, ask("api/system/status"), notReady()]);
      this.#gateway.show("active", "good", `answers in ${milliseconds} ms`);
      this.#agent.show(status.ui.state, problems.length ? "warning" : KINDS[status.ui.state] || "quiet", status.ui.service);
      this.#core.show(status.xray.state, KINDS[status.xray.state] || "quiet", status.xray.service);
      this.#showFrontEnd(status.nextjs);
      const told = problems.map((problem) => make("li", {}, sentence(problem)));
      this.#problems.replaceChildren(...told);
    });
  }

  #showFrontEnd({ url, state, status_code: code }) {
    this.#frontEnd.element.hidden = !url;
    this.#frontEnd.show(state, KINDS[state] || "quiet", code ? `${url} answers ${code}` : `${url} does not answer`);
  }

  #restart() {
    confirm({
      title: "Restart Xray?",
      text: "All connections of all keys end. Clients connect again by themselves.",
      action: "Restart Xray",
      failed: "Xray was not restarted.",
      work: async () => {
        await change("POST", "api/xray/restart");
        this.read();
      },
    });
  }
}

class Host {
  #cpu = meter("Processors", "host-cpu");
  #memory = meter("Memory", "host-memory");
  #disk = meter("Disk", "host-disk");
  #problem = problemPlace();

  element = card("Host", {}, this.#cpu.element, this.#memory.element, this.#disk.element, this.#problem);

  async read() {
    await telling(this.#problem, "The host cannot be looked at.", async () => {
      const { cpu, memory, disk } = await ask("api/system/resources");
      this.#cpu.show(cpu.percent, plural(cpu.count, "processor"));
      this.#memory.show(memory.percent, `${formatBytes(memory.used)} of ${formatBytes(memory.total)}`);
      this.#disk.show(disk.percent, `${formatBytes(disk.used)} of ${formatBytes(disk.total)}, ${formatBytes(disk.free)} free`);
    });
  }
}

/** A share of a whole as a bar. */
function meter(name, id) {
  const value = make("span", { class: "number" }, "–");
  const text = make("span", { class: "quiet" });
  const bar = make("span", { class: "share" });
  const element = make("div", { id, class: "meter", role: "meter", "aria-label": name, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": 0 },
    make("span", {}, name), value, text, bar);
  const show = (percent, about) => {
    setText(value, `${percent.toFixed(1)} %`);
    setText(text, about);
    setAttribute(element, "aria-valuenow", String(percent));
    setAttribute(element, "aria-valuetext", `${percent.toFixed(1)} %, ${about}`);
    bar.style.setProperty("--share", String(percent / 100));
    bar.classList.toggle("full", percent >= 90);
  };
  return { element, show };
}

class Collector {
  #line = new Line("Booking", "collector");
  #problem = problemPlace();
  #failure = problemPlace();
  #said = make("p", { role: "status", class: "quiet" });
  #isEnabled = true;
  #toggle = button("Pause", { "data-action": "collector-toggle" }, () => this.#press());

  element = card("Collector", {},
    make("ul", { class: "lines" }, this.#line.element),
    make("p", { class: "quiet" }, "It brings the kernel's counters into days and totals. While it is paused they go on counting, and nothing is lost."),
    this.#problem, this.#failure, this.#said,
    make("div", { class: "buttons start" }, this.#toggle, button("Run now", { "data-action": "collector-run" }, () => this.#run())));

  async read() {
    await telling(this.#problem, "The collector cannot be looked at.", async () => {
      const { status } = await ask("api/collector/status");
      this.#isEnabled = status.enabled;
      setText(this.#toggle, status.enabled ? "Pause" : "Resume");
      const newest = status.newest_date ? `last traffic on ${status.newest_date}` : "no traffic yet";
      this.#line.show(status.enabled ? "running" : "paused", status.enabled ? "good" : "warning", newest);
    });
  }

  async #press() {
    const failed = this.#isEnabled ? "The collector was not paused." : "The collector was not resumed.";
    await telling(this.#failure, failed, async () => {
      const { message } = await change("POST", "api/collector/toggle", { enabled: !this.#isEnabled });
      setText(this.#said, `${message}.`);
      await this.read();
    });
  }

  async #run() {
    await telling(this.#failure, "The collector did not run.", async () => {
      const { output } = await change("POST", "api/collector/run", { include_today: true });
      setText(this.#said, `${output}.`);
      await this.read();
    });
  }
}

class Core {
  #line = new Line("Keys in Xray", "synchronization");
  #problem = problemPlace();
  #failure = problemPlace();
  #said = make("p", { role: "status", class: "quiet" });
  #differences = make("ul", { class: "problems" });

  element = card("Synchronization", {},
    make("ul", { class: "lines" }, this.#line.element), this.#differences, this.#problem, this.#failure, this.#said,
    make("div", { class: "buttons start" }, button("Synchronize now", { "data-action": "synchronize" }, () => this.#synchronize())));

  async read() {
    await telling(this.#problem, "The core's configuration cannot be compared.", async () => {
      const { validation } = await ask("api/system/xray/validate-sync");
      const { synchronized, missing_in_config: missing, extra_in_config: extra } = validation;
      const about = `${plural(validation.total_keys, "key")}, ${plural(validation.total_config_clients, "client")} configured`;
      this.#line.show(synchronized ? "as wanted" : "drifted", synchronized ? "good" : "warning", about);
      this.#differences.replaceChildren(
        ...missing.map((uuid) => make("li", {}, "Missing in Xray: ", make("code", {}, uuid))),
        ...extra.map((uuid) => make("li", {}, "Not wanted in Xray: ", make("code", {}, uuid))),
      );
    });
  }

  async #synchronize() {
    await telling(this.#failure, "The core was not synchronized.", async () => {
      const { message } = await change("POST", "api/system/sync-config");
      setText(this.#said, `${message}.`);
      await this.read();
    });
  }
}

const RESULTS = { passed: "good", failed: "bad", error: "bad", not_run: "quiet" };

class Checks {
  #last = make("p", { class: "quiet", id: "checks-last" });
  #list = make("ul", { class: "lines checks", id: "checks" });
  #problem = problemPlace();
  #failure = problemPlace();
  /** What the run of this page has found, by name. */
  #outputs = new Map();
  #drawn = "";

  element = card("Self-checks", { class: "wide" },
    this.#last, this.#list, this.#problem, this.#failure,
    make("div", { class: "buttons start" }, button("Run all", { "data-action": "run-checks" }, () => this.#run())));

  async read() {
    await telling(this.#problem, "The self-checks cannot be read.", async () => {
      const [state, { tests }] = await Promise.all([ask("api/tests/status"), ask("api/tests/list")]);
      const running = state.status === "running" ? "They are running now. " : "";
      this.#last.replaceChildren(running, ...(state.last_run ? ["Last run ", momentElement(state.last_run)] : ["They have not run yet."]));
      this.#show(tests);
    });
  }

  async #run() {
    setText(this.#last, "They are running now.");
    await telling(this.#failure, "The self-checks did not run.", async () => {
      const { tests } = await ask("api/tests/run?verbose=true", { timeoutSeconds: CHECKS_SECONDS });
      this.#outputs = new Map(tests.map((test) => [test.name, test.output]));
    });
    await this.read();
  }

  #show(tests) {
    const drawn = JSON.stringify([tests, ...this.#outputs]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.#list.replaceChildren(...tests.map(({ name, status }) => {
      const output = this.#outputs.get(name);
      return make("li", {}, make("span", {}, name.replaceAll("_", " ")), badge(status.replace("_", " "), RESULTS[status] || "quiet"),
        output ? make("span", { class: "quiet output" }, output) : null);
    }));
  }
}
