// Titles found while they are typed: a combobox with a listbox, as ARIA's practices have it.

import * as api from "./api.js";
import { at, element, later } from "./dom.js";

const SHOWN = 8;

export function search(onpick, ontrouble) {
  const input = at("search");
  const list = at("found");
  let found = [];
  let active = -1;
  let asking;

  const close = () => {
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const mark = place => {
    active = place;
    [...list.children].forEach((each, here) => each.setAttribute("aria-selected", here === place));
    if (place < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", list.children[place].id);
      list.children[place].scrollIntoView({ block: "nearest" });
    }
  };
  const pick = place => {
    const item = found[place];
    input.value = "";
    close();
    onpick(item);
  };
  const show = () => {
    const none = element("li", { role: "option", class: "quiet", "aria-disabled": "true" }, "No title holds these words");
    list.replaceChildren(...(found.length ? found.map(option) : [none]));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    mark(-1);
  };
  const option = (item, place) =>
    element("li", {
      role: "option", id: `found-${place}`, "aria-selected": "false",
      onpointerdown: event => event.preventDefault(),
      onclick: () => pick(place),
    }, element("span", {}, item.name), element("span", { class: "quiet" }, item.year ?? ""));
  const ask = async () => {
    asking?.abort();
    if (!input.value.trim()) return close();
    asking = new AbortController();
    try {
      found = await api.items(input.value.slice(0, 200), SHOWN, asking.signal);
      if (document.activeElement === input) show();
    } catch (trouble) {
      if (trouble.name !== "AbortError") ontrouble(trouble);
    }
  };

  input.addEventListener("input", later(80, ask));
  input.addEventListener("blur", close);
  input.addEventListener("keydown", event => {
    const open = !list.hidden && found.length > 0;
    if (event.key === "Escape") {
      if (list.hidden) input.value = "";
      close();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!open) return void ask();
      const step = event.key === "ArrowDown" ? 1 : -1;
      mark(active < 0 && step < 0 ? found.length - 1 : (active + step + found.length) % found.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (open) pick(Math.max(active, 0));
    }
  });
}

