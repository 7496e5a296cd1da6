// The API as /openapi.json has it, readable without anything from elsewhere.

import { at, element } from "./dom.js";

const described = await (await fetch("/openapi.json")).json();

const named = schema => described.components.schemas[schema.$ref.split("/").pop()];

function kind(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return [...new Set(schema.anyOf.map(kind))].join(" or ");
  if (schema.type === "array") return schema.items ? `list of ${kind(schema.items)}` : "list";
  return schema.type ?? "any";
}

function limits(schema) {
  const parts = (schema.anyOf ?? [schema]).flatMap(({ minimum, maximum, maxLength, maxItems }) => [
    minimum != null && Math.abs(minimum) < 1e9 ? `from ${minimum}` : null,
    maximum != null && maximum < 1e9 ? `to ${maximum}` : null,
    maxLength != null ? `at most ${maxLength} characters` : null,
    maxItems > 2 ? `at most ${maxItems}` : null,
  ]);
  const first = schema.default != null ? `default ${JSON.stringify(schema.default)}` : null;
  return [...parts, first].filter(Boolean).join(", ");
}

function table(rows) {
  return element("table", {}, element("tbody", {}, ...rows.map(([name, schema, needed, said]) =>
    element("tr", {}, element("th", { scope: "row" }, element("code", {}, name), needed ? " *" : ""),
      element("td", {}, [`${kind(schema)}`, limits(schema)].filter(Boolean).join("; "),
        said ? element("div", { class: "quiet" }, said) : null)))));
}

function fields(schema) {
  return table(Object.entries(schema.properties).map(([name, field]) =>
    [name, field, schema.required?.includes(name), field.description]));
}

function example(path, verb) {
  const start = `curl ${location.origin}${path}`;
  if (verb === "get") return path === "/api/items" ? `${start}?q=heat` : start;
  const wanted = path === "/api/recommend" ? '"n": 3, "explain": true' : '"n": 3';
  return `${start} -H 'content-type: application/json' \\\n  -d '{"ratings": [{"item": "Heat (1995)", "stars": 5}], ${wanted}}'`;
}

function operation(path, verb, { description, parameters = [], requestBody, responses }) {
  const body = requestBody && named(requestBody.content["application/json"].schema);
  const answer = responses["200"].content["application/json"].schema;
  return element("section", { class: "card" },
    element("h2", {}, element("span", { class: "verb" }, verb.toUpperCase()), element("code", {}, path)),
    element("p", {}, description),
    parameters.length ? table(parameters.map(p => [p.name, p.schema, p.required, p.schema.description])) : null,
    body ? fields(body) : null,
    element("p", { class: "quiet" }, `Answers with ${kind(answer)}; a mistake with 4xx and {"error": one sentence}.`),
    element("pre", { tabindex: "0", role: "region", "aria-label": `How to ask ${path}` }, element("code", {}, example(path, verb))));
}

function shape([name, schema]) {
  return element("section", { class: "card" }, element("h2", {}, element("code", {}, name)),
    element("p", { class: "quiet" }, schema.description), schema.properties ? fields(schema) : null);
}

const hidden = ["HTTPValidationError", "ValidationError", "Interviewed", "Wish"];
at("paths").replaceChildren(
  ...Object.entries(described.paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).map(([verb, about]) => operation(path, verb, about))),
  ...Object.entries(described.components.schemas).filter(([name]) => !hidden.includes(name)).map(shape));
