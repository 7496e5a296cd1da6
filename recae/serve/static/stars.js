// Stars to be given: a slider that looks like stars where the scale is one of stars.

import { drawn, element } from "./dom.js";

const STAR = "M12 2.6l2.9 6 6.5.9-4.7 4.6 1.1 6.5-5.8-3.1-5.8 3.1 1.1-6.5L2.6 9.5l6.5-.9z";
const MOST = 10;

export function starsInput({ name, stars, model, onrate }) {
  const [low, high] = model.scale;
  const looks = low >= 0 && high <= MOST && Number.isInteger(high);
  // From nothing, so that what is pointed at is where the stars are.
  const bottom = looks ? 0 : low;
  const input = element("input", {
    type: "range", min: bottom, max: high, step: model.step, "aria-label": `Stars for ${name}`,
  });
  const value = element("span", { class: "value", "aria-hidden": "true" });
  const box = element("span", { class: looks ? "stars" : "stars plain-scale" });
  if (looks) box.append(sky(high, "empty"), sky(high, "full"));
  box.append(input);

  const show = given => {
    input.value = given ?? bottom;
    input.setAttribute("aria-valuetext", given == null ? "not rated" : `${given} of ${high} stars`);
    box.style.setProperty("--share", given == null ? "0%" : `${((given - bottom) / (high - bottom)) * 100}%`);
    value.textContent = given == null ? "" : given;
  };
  const give = given => {
    const kept = Math.min(high, Math.max(low, given));
    show(kept);
    onrate(kept);
  };
  const pointed = event => {
    const { left, width } = input.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - left) / width));
    return Math.ceil((share * (high - bottom)) / model.step - 0.001) * model.step + bottom;
  };
  input.addEventListener("input", () => give(Number(input.value)));
  input.addEventListener("pointerdown", event => {
    if (event.button) return;
    event.preventDefault();
    input.focus({ preventScroll: true });
    input.setPointerCapture(event.pointerId);
    give(pointed(event));
  });
  input.addEventListener("pointermove", event => {
    if (input.hasPointerCapture(event.pointerId)) give(pointed(event));
  });
  show(stars);
  return { node: element("span", { class: "give" }, box, value), input, show };
}

function sky(count, kind) {
  const stars = Array.from({ length: count }, (_, place) =>
    drawn("path", { d: STAR, transform: `translate(${place * 24} 0)` }));
  const svg = drawn("svg", { viewBox: `0 0 ${count * 24} 24`, width: count * 24, height: 24 }, ...stars);
  return element("span", { class: `sky ${kind}`, "aria-hidden": "true" }, svg);
}
