// Where it all begins: who is signed in, which view is open, whether the server answers.

import { Problem, ask, contact } from "./api.js";
import { closeDialogs } from "./dialog.js";
import { make, problemPlace, setAttribute, setText } from "./dom.js";
import * as events from "./events.js";
import { formatClock } from "./format.js";
import * as keys from "./keys.js";
import * as overview from "./overview.js";
import { apiKey, begin, end, session } from "./session.js";
import * as system from "./system.js";

const VIEWS = { overview, keys, events, system };

const content = document.getElementById("content");
const views = document.getElementById("views");
const signOut = document.getElementById("sign-out");
const status = document.getElementById("contact");

/** Ends the view that is open. */
let close = () => {};

/** When the server answered last. */
let answeredAt = null;

function start() {
  window.addEventListener("hashchange", () => show(true));
  signOut.addEventListener("click", () => end());
  session.addEventListener("ended", (event) => show(true, event.detail));
  contact.addEventListener("answered", () => showContact(true));
  contact.addEventListener("silent", () => showContact(false));
  document.querySelector("a.skip").addEventListener("click", (event) => {
    // The address says which view is open.
    event.preventDefault();
    content.focus();
  });
  for (const kind of ["error", "unhandledrejection"]) {
    window.addEventListener(kind, () => {
      document.getElementById("trouble").hidden = false;
    });
  }
  followTheme();
  show(false);
}

/** Shows what the address and the session ask for. */
function show(isMoving, why = "") {
  close();
  closeDialogs();
  content.replaceChildren();
  const isSignedIn = apiKey() !== null;
  for (const element of [views, signOut, status]) element.hidden = !isSignedIn;
  if (isSignedIn) close = openView();
  else close = openSignIn(why);
  if (isMoving && isSignedIn) content.focus();
  window.scrollTo(0, 0);
}

function openView() {
  const [asked, query] = location.hash.slice(2).split("?");
  const name = Object.hasOwn(VIEWS, asked) ? asked : "overview";
  for (const link of views.children) {
    if (link.hash === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${VIEWS[name].title} · Portmeter`;
  return VIEWS[name].open(content, new URLSearchParams(query));
}

function openSignIn(why) {
  document.title = "Sign in · Portmeter";
  const place = problemPlace();
  const field = make("input", { id: "api-key", type: "password", required: true, autocomplete: "off", spellcheck: "false", autocapitalize: "off" });
  const press = make("button", { type: "submit", class: "main" }, "Sign in");
  const form = make("form", { id: "sign-in" }, make("label", {}, "API key", field), press);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (press.getAttribute("aria-disabled") === "true") return;
    press.setAttribute("aria-disabled", "true");
    setText(place, "");
    const refused = await signIn(field.value.trim());
    press.removeAttribute("aria-disabled");
    if (refused === null) return;
    setText(place, refused);
    field.focus();
    field.select();
  });
  content.append(make("section", { class: "card sign-in" },
    make("h1", {}, "Sign in"),
    why ? make("p", { class: "notice" }, why) : null,
    form, place,
    make("p", { class: "quiet" }, "It is the key of the configuration, or of the file api.key in the data folder. This tab keeps it until you sign out or close it; nobody else is told."),
    window.isSecureContext ? null : make("p", { class: "notice" }, "This connection is not encrypted: whoever is on the way can read the key. Use HTTPS or an SSH tunnel.")));
  field.focus();
  return () => {};
}

/** Tries a key; gives null where it opens the door, or why it does not. */
async function signIn(key) {
  // Nothing else can be sent as a header.
  if (!/^[\x21-\x7e]+$/.test(key)) return "This is not the API key of this server.";
  try {
    await ask("api/keys", { key });
  } catch (error) {
    if (error instanceof Problem) return error.message;
    throw error;
  }
  begin(key);
  show(true);
  return null;
}

function showContact(isAnswering) {
  if (isAnswering) answeredAt = new Date();
  setAttribute(status, "class", isAnswering ? "good" : "bad");
  const since = answeredAt ? ` since ${formatClock(answeredAt)}` : "";
  setText(status, isAnswering ? "connected" : `no answer${since}`);
}

function followTheme() {
  const choice = document.getElementById("theme");
  choice.value = document.documentElement.dataset.theme || "auto";
  choice.addEventListener("change", () => {
    if (choice.value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice.value;
    try {
      localStorage.setItem("portmeter-theme", choice.value);
    } catch {
      // It holds for this page, then.
    }
  });
}

start();
