// A list of recommendations, and two of them side by side.

import { called, element } from "./dom.js";

export function line(item, model, onrate) {
  return element("li", { class: "line" },
    element("span", { class: "rank", "aria-hidden": "true" }, String(item.rank)),
    element("div", { class: "what" },
      element("p", { class: "title" }, item.name, year(item)),
      item.genres.length ? element("p", { class: "quiet" }, item.genres.join(" · ")) : null,
      item.because ? because(item.because) : null),
    element("div", { class: "verdict" },
      model.stars ? predicted(item, model) : null,
      element("button", {
        type: "button", class: "plain", "aria-label": `Rate ${called(item)}`, onclick: () => onrate(item),
      }, "Seen it")));
}

export function side(model, answer, other) {
  const theirs = new Map(other.items.map(item => [item.item, item.rank]));
  const lines = answer.items.map(item =>
    element("li", { class: theirs.has(item.item) ? "line both" : "line" },
      element("span", { class: "rank", "aria-hidden": "true" }, String(item.rank)),
      element("div", { class: "what" }, element("p", { class: "title" }, item.name, year(item)),
        moved(item.rank, theirs.get(item.item))),
      element("div", { class: "verdict" }, model.stars ? predicted(item, model) : null)));
  return element("section", { class: "side" },
    element("h3", {}, model.name, element("span", { class: "quiet" }, ` ${model.kind}`)),
    element("ol", { class: "list", "aria-label": `Recommendations of ${model.name}` }, ...lines));
}

function year(item) {
  return item.year ? element("span", { class: "year" }, ` ${item.year}`) : null;
}

function because(reason) {
  const said = `because you gave ${reason.name} ${reason.stars}`;
  if (reason.effect == null) return element("p", { class: "because" }, said);
  return element("p", { class: "because" }, `${said}: `, element("strong", {}, `+${reason.effect.toFixed(2)}`));
}

function predicted(item, model) {
  const [low, high] = model.scale;
  const place = stars => `${((stars - low) / (high - low)) * 100}%`;
  const between = item.low == null ? "" : `, probably ${item.low.toFixed(1)} to ${item.high.toFixed(1)}`;
  const bar = element("span", { class: "bar", "aria-hidden": "true" },
    item.low == null ? null : element("span", { class: "band" }), element("span", { class: "dot" }));
  bar.style.setProperty("--at", place(item.stars));
  if (item.low != null) {
    bar.style.setProperty("--low", place(item.low));
    bar.style.setProperty("--high", place(item.high));
  }
  const range = item.low == null ? null
    : element("span", { class: "range", "aria-hidden": "true" }, `${item.low.toFixed(1)} – ${item.high.toFixed(1)}`);
  return element("div", { class: "predicted" },
    element("span", { class: "number", "aria-hidden": "true" }, item.stars.toFixed(1)),
    element("span", { class: "unseen" }, `${item.stars.toFixed(1)} of ${high} stars${between}`), bar, range);
}

function moved(here, there) {
  if (there == null) return element("p", { class: "move only" }, "only here");
  const [sign, kind] = here < there ? ["▲", "up"] : here > there ? ["▼", "down"] : ["=", "same"];
  const by = here === there ? "" : ` ${Math.abs(here - there)}`;
  const said = here === there ? "same place" : `${kind} by${by}, number ${there} there`;
  return element("p", { class: `move ${kind}` }, element("span", { "aria-hidden": "true" }, `${sign}${by}`),
    element("span", { class: "unseen" }, said),
    element("span", { class: "quiet", "aria-hidden": "true" }, here === there ? " same place" : ` number ${there} there`));
}
