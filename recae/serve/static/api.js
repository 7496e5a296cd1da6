// What the server is asked. Every failure is an Error with one sentence.

async function asked(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (trouble) {
    if (trouble.name === "AbortError") throw trouble;
    throw new Error("The server does not answer. Is recae serve still running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `The server answered ${response.status}.`);
  return answer;
}

export const models = async () => (await asked("/api/model")).models;

export const items = async (q, n, signal) =>
  (await asked(`/api/items?${new URLSearchParams({ q, n })}`, { signal })).items;

export const atlas = model => asked(`/api/map?${new URLSearchParams({ model })}`);

export const recommend = (wish, signal) => told("/api/recommend", wish, signal);

export const questions = whom => told("/api/questions", whom);

const told = (path, body, signal) =>
  asked(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
