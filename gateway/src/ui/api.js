// Calls of the public REST interface: the only way by which anything gets onto this page.

import { sentence } from "./format.js";
import { apiKey, end } from "./session.js";

/** The server's root, also where a proxy has put it below a path. */
const ROOT = new URL("../", import.meta.url);

const TIMEOUT_SECONDS = 20;

/** What went wrong, in a sentence for the person in front of the page. */
export class Problem extends Error {
  /** `status` is the HTTP status, 0 where there was no answer. */
  constructor(text, status = 0) {
    super(text);
    this.status = status;
  }
}

/** Tells "answered" and "silent": whether the server answers, whatever it answers. */
export const contact = new EventTarget();

/** A user that nobody is, for answers about all of them together without a list of each. */
export const NOBODY = "00000000-0000-0000-0000-000000000000";

/** The address of a path below the root. */
export function addressOf(path) {
  return new URL(path, ROOT).href;
}

/** Asks, and gives the answer's JSON. */
export async function ask(path, options = {}) {
  const response = await send(path, options);
  try {
    return await response.json();
  } catch {
    throw new Problem("The answer of the server cannot be read.", response.status);
  }
}

/** Asks, and gives the answer as a file. */
export async function askFile(path) {
  const response = await send(path, {});
  return response.blob();
}

/** Asks for a change; `body` goes along as JSON. */
export function change(method, path, body, timeoutSeconds) {
  return ask(path, { method, body, timeoutSeconds });
}

/** The path of a key. */
export function keyPath(key, rest = "") {
  return `api/keys/${encodeURIComponent(key.id)}${rest}`;
}

/** What keeps the agent from being ready, in sentences; that it is not is an answer like any other. */
export async function notReady() {
  const { problems } = await ask("readyz", { answers: [200, 503] });
  return problems;
}

async function send(path, { method = "GET", body, key = apiKey(), timeoutSeconds = TIMEOUT_SECONDS, answers = [200] }) {
  const headers = {};
  if (key) headers["X-API-Key"] = key;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(addressOf(path), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "omit",
      redirect: "error",
      cache: "no-store",
      signal: AbortSignal.timeout(timeoutSeconds * 1000),
    });
  } catch (error) {
    contact.dispatchEvent(new Event("silent"));
    throw new Problem(
      error.name === "TimeoutError"
        ? `The server has not answered within ${timeoutSeconds} seconds.`
        : "The server cannot be reached.",
    );
  }
  contact.dispatchEvent(new Event("answered"));
  if (answers.includes(response.status)) return response;
  const problem = new Problem(await sentenceOf(response), response.status);
  // An answer to a key that was given up meanwhile says nothing about the present one.
  if (response.status === 401 && key === apiKey()) end("The server does not accept this API key any more; sign in again.");
  throw problem;
}

/** What an error's answer says, of either family. */
async function sentenceOf(response) {
  let text = "";
  try {
    const body = await response.json();
    text = body.detail || body.error || "";
  } catch {
    // Somebody between may answer in words of its own.
  }
  if (response.status === 401) return "This is not the API key of this server.";
  if (typeof text !== "string" || text === "") return `The server answered with status ${response.status}.`;
  if (text === "Internal server error") return "Something failed in the server; its log says more.";
  return sentence(text);
}
