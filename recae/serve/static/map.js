// The latent map: items as points, the person as a way from the middle, said in words too.

import { at, called, drawn, element } from "./dom.js";

const SIZE = 320;
const COLOURS = 6;

export class LatentMap {
  constructor(atlas) {
    this.points = atlas.items;
    const reach = axis => Math.max(...this.points.map(point => Math.abs(point[axis]))) || 1;
    this.scale = (SIZE / 2 - 10) / Math.max(reach("x"), reach("y") / 1.5);
    this.height = 2 * (reach("y") * this.scale + 14);
    this.colours = common(this.points.map(point => point.genre));
    this.marks = drawn("g");
    const dots = this.points.map(point => drawn("circle", {
      cx: this.x(point.x), cy: this.y(point.y), r: 1.8, class: `dot c${this.colour(point)}`,
    }));
    this.svg = drawn("svg", { viewBox: `0 0 ${SIZE} ${this.height.toFixed(1)}`, role: "img" }, ...dots, this.marks);
    this.svg.addEventListener("pointermove", event => this.point(event));
    this.svg.addEventListener("pointerleave", () => { at("pointed").textContent = ""; });
    at("plot").replaceChildren(this.svg);
    at("legend").replaceChildren(...this.legend());
    at("atlas").hidden = false;
  }

  x(value) { return Number((SIZE / 2 + value * this.scale).toFixed(1)); }

  y(value) { return Number((this.height / 2 - value * this.scale).toFixed(1)); }

  colour(point) { return this.colours.indexOf(point.genre) + 1; }

  legend() {
    const names = this.colours.map((name, place) => [name, place + 1]);
    if (names.length) names.push(["other", 0]);
    return names.map(([name, place]) =>
      element("li", {}, element("span", { class: `swatch c${place}`, "aria-hidden": "true" }), name));
  }

  show(place, recommended, rated) {
    const known = new Map(this.points.map(point => [point.item, point]));
    const marked = (items, kind, r) => items.map(item => known.get(item.item)).filter(Boolean)
      .map(point => drawn("circle", { cx: this.x(point.x), cy: this.y(point.y), r, class: kind }));
    this.marks.replaceChildren(...marked(rated, "mine", 3.2), ...marked(recommended, "theirs", 4.5), ...this.you(place));
    const near = place ? this.nearest(place, new Set(rated.map(item => item.item))) : [];
    const text = near.length ? `Closest to you on it: ${near.join(", ")}.` : "Rate something, and you are on it.";
    at("nearest").textContent = `The ${this.points.length} best known titles; alike ones are near each other. ${text}`;
    this.svg.setAttribute("aria-label", `Map of ${this.points.length} titles. ${text}`);
  }

  you(place) {
    if (!place) return [];
    const [across, up] = place.map(value => Math.abs(value) * this.scale || 1);
    const kept = Math.min(1, (SIZE / 2 - 14) / across, (this.height / 2 - 24) / up);
    const [x, y] = [this.x(place[0] * kept), this.y(place[1] * kept)];
    const text = drawn("text", { x, y: y - 11, class: "you-name" }, "you");
    return [drawn("line", { x1: this.x(0), y1: this.y(0), x2: x, y2: y, class: "way" }),
      drawn("circle", { cx: x, cy: y, r: 6.5, class: "you" }), text];
  }

  nearest([x, y], without) {
    const far = point => Math.hypot(point.x - x, point.y - y);
    return this.points.filter(point => !without.has(point.item)).sort((a, b) => far(a) - far(b))
      .slice(0, 3).map(point => point.name);
  }

  point(event) {
    const { left, top, width } = this.svg.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top].map(v => (v / width) * SIZE);
    const far = point => Math.hypot(this.x(point.x) - x, this.y(point.y) - y);
    const near = this.points.reduce((a, b) => (far(a) <= far(b) ? a : b));
    at("pointed").textContent = far(near) < 12 ? called(near) : "";
  }
}

function common(genres) {
  const counts = new Map();
  for (const genre of genres) if (genre) counts.set(genre, (counts.get(genre) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).slice(0, COLOURS).map(([genre]) => genre);
}
