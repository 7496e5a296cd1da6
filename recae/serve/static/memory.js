// Ratings and choices, kept in this browser.

const KEY = "recae";

export const DEFAULTS = {
  by: null, popularity: 0, diversity: 0, n: 10, genres: [], from: null, to: null,
};

export function remembered() {
  try {
    const { ratings = [], choices = {} } = JSON.parse(localStorage.getItem(KEY)) ?? {};
    return { ratings, choices: { ...DEFAULTS, ...choices } };
  } catch {
    return { ratings: [], choices: { ...DEFAULTS } };
  }
}

export function remember(ratings, choices) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ratings, choices }));
  } catch {
    // Without storage a reload forgets, and nothing else is lost.
  }
}
