// Shows openapi.json: groups, operations, parameters, schemas, and a form to try each operation.
//
// Everything that comes from the document or from an answer is put in as text, never as markup. The API key stays in
// the field it was typed into: it is stored nowhere and goes nowhere but into the header of a request.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete", "options", "head", "trace"];
const DEPTH_MAX = 8;
let openapi = null;

/** An element with attributes and children; a text among the children stays text. */
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== false) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** What a schema refers to, and the name it has there. */
function resolve(schema) {
  if (!schema || !schema.$ref) return { schema: schema || {}, name: "" };
  const name = schema.$ref.split("/").pop();
  return { schema: openapi.components.schemas[name] || {}, name };
}

/** A schema without null, and whether null was among what it allows. */
function withoutNull(given) {
  const isNull = (part) => part.type === "null";
  if (Array.isArray(given.type)) {
    const types = given.type.filter((type) => type !== "null");
    return { schema: { ...given, type: types[0] }, nullable: types.length < given.type.length };
  }
  const parts = given.oneOf || [];
  if (parts.some(isNull)) {
    const others = parts.filter((part) => !isNull(part));
    return { schema: others.length === 1 ? others[0] : { ...given, oneOf: others }, nullable: true };
  }
  return { schema: given, nullable: false };
}

/** The schemas of which one holds, if that is what it says. */
function alternatives(schema) {
  return schema.oneOf || schema.anyOf;
}

/** A schema in a few words. */
function typeOf(given) {
  const { schema: bare, nullable } = withoutNull(given);
  const { schema, name } = resolve(bare);
  let text = schema.type || (alternatives(schema) ? "one of" : "any");
  if (schema.allOf || schema.properties) text = "object";
  if (schema.type === "array") text = `list of ${typeOf(schema.items || {})}`;
  if (schema.additionalProperties) text = `map of ${typeOf(schema.additionalProperties)}`;
  if (schema.format) text += ` (${schema.format})`;
  if (name && text !== "object") text = `${name}: ${text}`;
  else if (name) text = name;
  return nullable ? `${text} or null` : text;
}

/** What a value has to be beside its type. */
function boundsOf(given) {
  const { schema } = resolve(withoutNull(given).schema);
  const bounds = [];
  if (schema.enum) bounds.push(schema.enum.map((word) => JSON.stringify(word)).join(", "));
  if (schema.minimum !== undefined && schema.minimum !== 0) bounds.push(`from ${schema.minimum}`);
  if (schema.maximum !== undefined) bounds.push(`up to ${schema.maximum}`);
  if (schema.minLength !== undefined) bounds.push(`at least ${schema.minLength} characters`);
  if (schema.maxLength !== undefined) bounds.push(`at most ${schema.maxLength} characters`);
  if (schema.pattern) bounds.push(schema.pattern);
  return bounds.join("; ");
}

/** The fields of a schema, those of its parts included. */
function fieldsOf(given) {
  const { schema } = resolve(withoutNull(given).schema);
  const parts = (schema.allOf || []).map(fieldsOf);
  return Object.assign({}, ...parts, schema.properties || {});
}

/** The names that must be there. */
function requiredOf(given) {
  const { schema } = resolve(withoutNull(given).schema);
  return [...(schema.allOf || []).flatMap(requiredOf), ...(schema.required || [])];
}

/** A schema as a tree. */
function tree(given, depth = 0) {
  const { schema } = resolve(withoutNull(given).schema);
  if (depth > DEPTH_MAX) return make("span", { class: "quiet" }, "…");
  if (alternatives(schema)) {
    const parts = alternatives(schema).map((part) => make("li", {}, ...line(part, depth)));
    return make("ul", { class: "fields" }, ...parts);
  }
  if (schema.type === "array") return tree(schema.items || {}, depth + 1);
  if (schema.additionalProperties) return tree(schema.additionalProperties, depth + 1);
  const required = requiredOf(schema);
  const rows = Object.entries(fieldsOf(schema)).map(([name, field]) =>
    make("li", {}, make("code", {}, name), required.includes(name) ? " " : " (optional) ", ...line(field, depth)));
  return rows.length ? make("ul", { class: "fields" }, ...rows) : null;
}

/** A type, what it has to be, what it means, and what is in it. */
function line(schema, depth) {
  const { schema: found } = resolve(withoutNull(schema).schema);
  const text = [boundsOf(schema), schema.description || found.description].filter(Boolean).join(". ");
  return [make("span", { class: "type" }, typeOf(schema)), " ", make("span", { class: "quiet" }, text), tree(schema, depth + 1)];
}

/** A value that fits a schema, to begin with. */
function exampleOf(given, depth = 0) {
  const { schema } = resolve(withoutNull(given).schema);
  if (depth > DEPTH_MAX) return null;
  if (schema.example !== undefined) return schema.example;
  if (schema.examples && schema.examples.length) return schema.examples[0];
  if (schema.enum) return schema.enum[0];
  if (alternatives(schema)) return exampleOf(alternatives(schema)[0], depth + 1);
  if (schema.type === "array") return [];
  if (schema.type === "boolean") return true;
  if (schema.type === "integer" || schema.type === "number") return schema.minimum || 0;
  if (schema.type === "string") return "";
  const required = requiredOf(schema);
  const fields = Object.entries(fieldsOf(schema));
  const shown = required.length ? fields.filter(([name]) => required.includes(name)) : fields;
  return Object.fromEntries(shown.map(([name, field]) => [name, exampleOf(field, depth + 1)]));
}

/** The parameters of an operation as a table, each with a field to fill in. */
function parameterRows(parameters, fields) {
  const row = (parameter) => {
    const { schema } = resolve(withoutNull(parameter.schema || {}).schema);
    const field = schema.enum
      ? make("select", {}, make("option", { value: "" }, ""), ...schema.enum.map((word) => make("option", { value: word }, word)))
      : make("input", { autocomplete: "off", spellcheck: "false" });
    field.setAttribute("aria-label", parameter.name);
    fields.push({ parameter, field });
    const about = [parameter.description, boundsOf(parameter.schema || {})].filter(Boolean).join(" ");
    return make("tr", {},
      make("td", {}, make("code", {}, parameter.name), make("div", { class: "quiet" }, parameter.required ? "in the path" : parameter.in)),
      make("td", {}, make("span", { class: "type" }, typeOf(parameter.schema || {})), make("div", { class: "quiet" }, about)),
      make("td", {}, field));
  };
  return make("table", {}, make("tbody", {}, ...parameters.map(row)));
}

/** The address of an operation with what was filled in; a path on this host. */
function addressOf(path, fields) {
  const query = new URLSearchParams();
  for (const { parameter, field } of fields) {
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, () => encodeURIComponent(field.value));
    else if (field.value !== "") query.append(parameter.name, field.value);
  }
  const root = new URL(".", document.baseURI).href.replace(/\/api\/$/, "");
  return root + path + (query.size ? `?${query}` : "");
}

/** Sends what was filled in and shows what comes back. */
async function send(method, path, fields, body, isGuarded, place) {
  const headers = {};
  const key = document.getElementById("api-key").value;
  if (isGuarded && key) headers["X-API-Key"] = key;
  const request = { method: method.toUpperCase(), headers, credentials: "omit", redirect: "manual", cache: "no-store" };
  if (body && body.value.trim() !== "") {
    request.body = body.value;
    headers["Content-Type"] = "application/json";
  }
  place.replaceChildren(make("p", { class: "quiet" }, "…"));
  const started = performance.now();
  try {
    const response = await fetch(addressOf(path, fields), request);
    const milliseconds = Math.round(performance.now() - started);
    const kind = response.headers.get("content-type") || "";
    const shown = kind.startsWith("image/") ? await image(response, kind) : text(await response.text(), kind);
    place.replaceChildren(make("p", {}, `${response.status} in ${milliseconds} ms, ${kind}`), shown);
  } catch (error) {
    place.replaceChildren(make("p", {}, `No answer: ${error.message}`));
  }
}

async function image(response, kind) {
  const bytes = new Uint8Array(await response.arrayBuffer());
  const characters = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return make("img", { src: `data:${kind};base64,${btoa(characters)}`, alt: "the answer" });
}

function text(answer, kind) {
  if (kind.startsWith("application/json")) {
    try {
      return make("pre", {}, JSON.stringify(JSON.parse(answer), null, 2));
    } catch {
      // Shown as it is.
    }
  }
  return make("pre", {}, answer);
}

/** All that is inside an operation, made when it is opened. */
function inside(method, path, operation) {
  const fields = [];
  const parts = [];
  for (const paragraph of (operation.description || "").split("\n\n").filter(Boolean)) parts.push(make("p", {}, paragraph));
  if (operation.security) parts.push(make("p", { class: "quiet" }, "Needs the API key."));
  const parameters = operation.parameters || [];
  if (parameters.length) parts.push(make("h4", {}, "Parameters"), parameterRows(parameters, fields));
  let body = null;
  if (operation.requestBody) {
    const { schema } = operation.requestBody.content["application/json"];
    body = make("textarea", { spellcheck: "false", "aria-label": "body" });
    body.value = JSON.stringify(exampleOf(schema), null, 2);
    parts.push(make("h4", {}, "Body"), make("div", {}, ...line(schema, 0)), body);
  }
  const answer = make("div", { class: "answer" });
  const button = make("button", { type: "button" }, "Send");
  button.addEventListener("click", () => send(method, path, fields, body, Boolean(operation.security), answer));
  parts.push(make("h4", {}, "Try it"), button, answer, make("h4", {}, "Answers"));
  for (const [status, response] of Object.entries(operation.responses)) {
    parts.push(make("p", {}, make("strong", {}, status), " ", response.description || ""));
    if (!status.startsWith("2")) continue;
    for (const [kind, { schema }] of Object.entries(response.content || {})) {
      parts.push(make("div", {}, make("code", {}, kind), " ", ...line(schema || {}, 0)));
    }
  }
  return make("div", {}, ...parts);
}

function operationElement(method, path, operation) {
  const element = make("details", { id: operation.operationId },
    make("summary", {}, make("span", { class: `method ${method}` }, method.toUpperCase()),
      make("span", { class: "path" }, path), make("span", { class: "short" }, operation.summary || "")));
  element.addEventListener("toggle", () => {
    if (element.open && element.children.length === 1) element.append(inside(method, path, operation));
  });
  return element;
}

/** Hides what does not have the words, and groups with nothing left. */
function find(words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of document.querySelectorAll("section")) {
    let shown = 0;
    for (const element of section.querySelectorAll("details")) {
      const text = element.firstChild.textContent.toLowerCase();
      const isShown = wanted.every((word) => text.includes(word));
      element.classList.toggle("hidden", !isShown);
      shown += isShown ? 1 : 0;
    }
    section.classList.toggle("hidden", shown === 0);
  }
}

function show() {
  const byGroup = new Map(openapi.tags.map((tag) => [tag.name, []]));
  for (const [path, item] of Object.entries(openapi.paths)) {
    for (const method of METHODS.filter((method) => item[method])) {
      byGroup.get(item[method].tags[0]).push(operationElement(method, path, item[method]));
    }
  }
  const sections = openapi.tags.map((tag, position) =>
    make("section", { id: `group-${position}` }, make("h2", {}, tag.name), make("p", { class: "about" }, tag.description || ""),
      ...byGroup.get(tag.name)));
  const links = openapi.tags.map((tag, position) => make("a", { href: `#group-${position}` }, tag.name));
  const about = (openapi.info.description || "").split("\n\n").map((paragraph) => make("p", {}, paragraph));
  document.getElementById("version").textContent = openapi.info.version;
  document.getElementById("groups").replaceChildren(...links);
  document.getElementById("operations").replaceChildren(...about, ...sections);
}

async function start() {
  try {
    const response = await fetch("openapi.json", { credentials: "omit" });
    openapi = await response.json();
    show();
    document.getElementById("find").addEventListener("input", (event) => find(event.target.value));
  } catch (error) {
    document.getElementById("operations").replaceChildren(make("p", {}, `openapi.json cannot be read: ${error.message}`));
  }
}

start();
