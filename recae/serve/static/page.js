// The page: ratings on one side, what a model makes of them on the other.

import * as api from "./api.js";
import { at, called, element, later } from "./dom.js";
import { LatentMap } from "./map.js";
import { DEFAULTS, remember, remembered } from "./memory.js";
import { line, side } from "./results.js";
import { search } from "./search.js";
import { starsInput } from "./stars.js";

const KNOWN = 6;
const EXPLAINED = 200;
const SKIPPED = 500;

const state = { ...remembered(), models: [], compared: false, known: [], skipped: [], questioned: null, drawn: null };
let asking;

// --- ratings

const rows = new Map();

function row(item) {
  if (rows.has(item.item)) return rows.get(item.item);
  const rating = state.ratings.find(each => each.item === item.item);
  const stars = starsInput({
    name: called(item), stars: rating?.stars, model: state.models[0], onrate: given => rate(item, given),
  });
  const remove = element("button", {
    type: "button", class: "remove", "aria-label": `Remove ${called(item)}`, onclick: () => drop(item),
  }, "×");
  const node = element("li", {}, element("span", { class: "name" }, item.name,
    item.year ? element("span", { class: "year" }, ` ${item.year}`) : null), stars.node, remove);
  rows.set(item.item, { node, stars });
  return rows.get(item.item);
}

function rate(item, stars) {
  const rating = state.ratings.find(each => each.item === item.item);
  if (rating?.stars === stars) return;
  if (rating) rating.stars = stars;
  else state.ratings.unshift(kept(item, stars));
  showRatings();
  changed();
}

const kept = ({ item, name, year }, stars) => ({ item, name, year, stars });

function add(item) {
  if (!state.ratings.some(each => each.item === item.item)) state.ratings.unshift(kept(item, null));
  showRatings();
  row(item).stars.input.focus();
}

function drop(item) {
  state.ratings = state.ratings.filter(each => each.item !== item.item);
  rows.get(item.item)?.stars.show(null);
  showRatings();
  at("search").focus();
  changed();
}

function clear() {
  for (const each of state.ratings) rows.get(each.item)?.stars.show(null);
  state.ratings = [];
  showRatings();
  at("search").focus();
  changed();
}

// Only what is not in its place is moved: what moves loses the focus, and is given it back.
function place(list, nodes) {
  const focused = document.activeElement;
  nodes.forEach((node, here) => {
    if (list.children[here] !== node) list.insertBefore(node, list.children[here] ?? null);
  });
  while (list.children.length > nodes.length) list.lastChild.remove();
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
}

function showRatings() {
  const rated = new Set(state.ratings.map(each => each.item));
  place(at("rated"), state.ratings.map(each => row(each).node));
  place(at("known"), state.known.filter(each => !rated.has(each.item)).map(each => row(each).node));
  at("unrated").hidden = rated.size > 0;
  at("clear").hidden = rated.size === 0;
}

// --- what is proposed

async function propose() {
  const deny = [...state.skipped, ...state.ratings.filter(each => each.stars == null).map(each => each.item)];
  const whom = { model: state.models[0].name, ratings: stated(given()), n: KNOWN, deny };
  const questioned = JSON.stringify(whom);
  if (questioned === state.questioned) return;
  state.questioned = questioned;
  try {
    const { by, items } = await api.questions(whom);
    if (state.questioned !== questioned) return;
    if (!items.length && state.skipped.length) {
      state.skipped = [];
      await propose();
    } else showProposals(by, items);
  } catch (trouble) {
    if (state.questioned === questioned) state.questioned = null;
    throw trouble;
  }
}

// What is proposed again stays where it is being read.
function showProposals(by, items) {
  const again = new Set(items.map(each => each.item));
  const stay = state.known.filter(each => again.has(each.item));
  const before = new Set(stay.map(each => each.item));
  state.known = [...stay, ...items.filter(each => !before.has(each.item))];
  at("known-title").textContent = by === "gain" ? "Most telling to rate next" : "Well known, to you too?";
  showRatings();
}

function skip() {
  state.skipped = [...state.skipped, ...state.known.map(each => each.item)].slice(-SKIPPED);
  propose().catch(failed);
}

// --- what is asked

const given = () => state.ratings.filter(each => each.stars != null);

const stated = ratings => ratings.map(({ item, stars }) => ({ item, stars }));

function wish(model) {
  const { by, popularity, diversity, n, genres, from, to } = state.choices;
  const ratings = stated(given());
  return {
    model: model.name,
    ratings,
    n,
    by: model.orders.includes(by) ? by : null,
    popularity,
    diversity: model.diversity ? diversity : 0,
    genres: genres.length ? genres : null,
    years: from || to ? [from, to] : null,
    explain: ratings.length <= EXPLAINED && !state.compared,
    place: model.map && !state.compared,
  };
}

const changed = () => {
  remember(state.ratings, state.choices);
  showFilters();
  refresh();
};

const refresh = later(120, async () => {
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  const models = state.compared ? state.models : state.models.slice(0, 1);
  at("answers").setAttribute("aria-busy", "true");
  try {
    const lists = Promise.all(models.map(model => api.recommend(wish(model), signal)));
    const [answers] = await Promise.all([lists, propose()]);
    show(answers);
    at("trouble").hidden = true;
    if (answers.some((answer, place) => answer.version !== models[place].version)) await meet();
  } catch (trouble) {
    if (trouble.name === "AbortError") return;
    failed(trouble);
  }
  if (!signal.aborted) at("answers").removeAttribute("aria-busy");
});

// --- what is shown

function show(answers) {
  const [first] = answers;
  if (state.compared) showSides(answers);
  else {
    at("list").replaceChildren(...first.items.map(item => line(item, state.models[0], add)));
    state.drawn?.show(first.place, first.items, given());
  }
  at("status").textContent = told(answers);
}

function told([{ items }, other]) {
  if (!items.length) return "Nothing is left to recommend: loosen the filters";
  const count = `${items.length} recommendation${items.length === 1 ? "" : "s"}`;
  const theirs = new Set(other?.items.map(item => item.item));
  if (other) return `${count} each, ${items.filter(item => theirs.has(item.item)).length} of them in both`;
  return given().length ? count : `${count}, not yet yours: nothing is rated`;
}

function showSides(answers) {
  const [left, right] = answers;
  at("panel-compare").replaceChildren(
    side(state.models[0], left, right), side(state.models[1], right, left));
}

function failed(trouble) {
  at("trouble").hidden = false;
  at("trouble").querySelector("p").textContent = trouble.message;
  at("status").textContent = "";
  at("answers").removeAttribute("aria-busy");
}

// --- choices

const WORDS = {
  stars: "predicted stars", liked: "likely to be liked", blend: "a blend of both", "lower-bound": "sure to please",
};

function showOrders() {
  const orders = [...new Set(state.models.flatMap(model => model.orders))];
  at("orders").hidden = orders.length < 2;
  const current = orders.includes(state.choices.by) ? state.choices.by : orders[0];
  at("orders").replaceChildren(element("legend", {}, "Order by"), ...orders.map(name =>
    element("label", {}, element("input", {
      type: "radio", name: "by", value: name, checked: name === current,
      onchange: () => { state.choices.by = name; changed(); },
    }), element("span", {}, WORDS[name] ?? name))));
}

function showGenres(model) {
  at("genres").hidden = !model.genres.length;
  state.choices.genres = state.choices.genres.filter(name => model.genres.includes(name));
  at("genres").replaceChildren(element("legend", {}, "Genres, any of"), ...model.genres.map(name =>
    element("label", {}, element("input", {
      type: "checkbox", value: name, checked: state.choices.genres.includes(name),
      onchange: event => {
        const others = state.choices.genres.filter(each => each !== name);
        state.choices.genres = event.target.checked ? [...others, name] : others;
        changed();
      },
    }), element("span", {}, name))));
}

function showYears(model) {
  at("years").hidden = !model.years;
  for (const end of ["from", "to"]) {
    at(end).value = state.choices[end] ?? "";
    if (model.years) at(end).placeholder = model.years[end === "from" ? 0 : 1];
  }
}

function showFilters() {
  const { genres, from, to } = state.choices;
  const said = [...genres, from || to ? `${from ?? "…"} – ${to ?? "…"}` : null].filter(Boolean);
  at("filtered").hidden = !said.length;
  at("filtered").textContent = said.length > 2 ? `${said.length} chosen` : said.join(", ");
  for (const name of ["popularity", "diversity"]) {
    const value = state.choices[name];
    const input = at(name);
    input.value = value;
    const words = { popularity: value < 0 ? "towards obscure" : "towards popular", diversity: "diverse" }[name];
    input.setAttribute("aria-valuetext", value === 0 ? "off" : `${Math.round(Math.abs(value) * 100)} % ${words}`);
  }
  at("n").value = state.choices.n;
}

function listen() {
  const choose = (name, read) => event => { state.choices[name] = read(event.target.value); changed(); };
  for (const name of ["popularity", "diversity"]) at(name).addEventListener("input", choose(name, Number));
  at("n").addEventListener("change", choose("n", Number));
  const year = text => (/^\d{1,4}$/.test(text) ? Number(text) : null);
  for (const end of ["from", "to"]) at(end).addEventListener("input", choose(end, year));
  at("controls").addEventListener("submit", event => event.preventDefault());
  at("unfilter").addEventListener("click", () => {
    Object.assign(state.choices, { genres: [], from: DEFAULTS.from, to: DEFAULTS.to });
    showGenres(state.models[0]);
    showYears(state.models[0]);
    changed();
  });
  at("clear").addEventListener("click", clear);
  at("others").addEventListener("click", skip);
  at("trouble").querySelector("button").addEventListener("click", begin);
  search(add, failed);
  tabs();
}

function tabs() {
  const both = [at("tab-list"), at("tab-compare")];
  const choose = compared => {
    state.compared = compared;
    both.forEach((tab, place) => {
      const chosen = compared === Boolean(place);
      tab.setAttribute("aria-selected", chosen);
      tab.tabIndex = chosen ? 0 : -1;
      at(tab.getAttribute("aria-controls")).hidden = !chosen;
    });
    refresh();
  };
  both.forEach((tab, place) => {
    tab.addEventListener("click", () => choose(Boolean(place)));
    tab.addEventListener("keydown", event => {
      if (!["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
      event.preventDefault();
      both[1 - place].focus();
      both[1 - place].click();
    });
  });
}

// --- the beginning

async function meet() {
  state.models = await api.models();
  const [first] = state.models;
  at("models").textContent = state.models.map(model => `${model.name}: ${model.kind}`).join(" · ")
    + ` · ${first.users.toLocaleString("en")} people, ${first.items.toLocaleString("en")} titles`;
  at("models").title = state.models.map(model => `${model.name} ${model.version}`).join("\n");
  at("tabs").hidden = state.models.length < 2;
  at("variety").hidden = !first.diversity;
  at("filters").hidden = !first.genres.length && !first.years;
  showOrders();
  showGenres(first);
  showYears(first);
  Object.assign(state, { skipped: [], questioned: null });
  showRatings();
  await propose();
  state.drawn = first.map ? new LatentMap(await api.atlas(first.name)) : null;
}

async function begin() {
  try {
    await meet();
    at("trouble").hidden = true;
    showFilters();
    refresh();
  } catch (trouble) {
    failed(trouble);
  }
}

listen();
begin();
