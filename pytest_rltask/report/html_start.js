// Puts the parts together: the address says what is shown, and what is chosen goes into the address.

const report = new Report(document);
const parts = [document.querySelector("header"), document.getElementById("list")];
let state = stateOf("#", Object.fromEntries(CHOICES.map((name) => [name, ""])));
let listScroll = 0;

const list = new List(report, go);
const reader = new Reader(report, list, go);
offerOther(report, go);
const live = keepFresh({ isReading: () => state.trial && !report.byId.get(state.trial)?.goesOn });

// Changes what is chosen, in the same entry of the history: going back leads out of a trial, not through every letter.
function go(changes) {
  state = { ...state, ...changes };
  history.replaceState(history.state, "", hashOf(state));
  return show();
}

async function show() {
  const wasReading = !reader.element.hidden;
  await list.show(state);
  if (state.trial) await reader.show(state);
  reader.element.hidden = !state.trial;
  for (const part of parts) part.hidden = Boolean(state.trial);
  document.querySelector(".skip").hidden = Boolean(state.trial);
  return wasReading;
}

async function arrive() {
  const before = state;
  if (reader.element.hidden) listScroll = scrollY;
  state = stateOf(location.hash, state);
  if (state.trial) history.replaceState(history.state, "", hashOf(state));
  if (live && !history.state?.live) remember({ live });
  const wasReading = await show();
  if (state.trial) {
    scrollTo(0, 0);
    document.getElementById("reading").focus({ preventScroll: true });
  } else if (wasReading) {
    const row = report.byId.get(before.trial)?.row;
    scrollTo(0, listScroll);
    row?.querySelector("a")?.focus({ preventScroll: Boolean(listScroll) });
  }
}

// Where the browser scrolls to a place on its own, the place of the list is the one that was left.
document.addEventListener("click", (event) => {
  if (event.target.closest("a[href^='#trial=']")) listScroll = scrollY;
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && state.trial && !event.target.matches("input, select")) document.getElementById("back").click();
});
addEventListener("hashchange", arrive);

(async () => {
  if (location.hash.includes("=")) state = stateOf(location.hash, state);
  const place = history.state?.place;
  await show();
  if (place) goToPlace(place);
  remember({ place: null });
  performance.mark("usable");
})();
