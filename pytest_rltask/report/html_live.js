// While a run goes on, its page is written anew now and then, and loads itself again: the reader's place is kept. No
// network is asked, so the page cannot know whether there is a later one; where there was none, it waits longer.

const LONGEST_S = 600;
const every = Number(document.body.dataset.refresh ?? 0);
const written = document.body.dataset.written ?? "";

// What the browser keeps for this entry of its history, across loading the page again.
function remember(changes) {
  history.replaceState({ ...history.state, ...changes }, "");
}

function placeNow() {
  const places = [...document.querySelectorAll("h2[id], table.trials tbody tr:not([hidden])")];
  const element = places.find((one) => one.offsetHeight && one.getBoundingClientRect().top >= 0);
  const focus = document.activeElement?.closest("[id]")?.id ?? "";
  return { scroll: scrollY, anchor: element ? [element.id, element.getBoundingClientRect().top] : null, focus };
}

function goToPlace(place) {
  const anchor = place?.anchor && document.getElementById(place.anchor[0]);
  if (anchor) scrollBy(0, anchor.getBoundingClientRect().top - place.anchor[1]);
  else if (place) scrollTo(0, place.scroll);
  const focus = place?.focus && document.getElementById(place.focus);
  if (focus) (focus.matches("tr") ? focus.querySelector("a") ?? focus : focus).focus({ preventScroll: true });
}

function keepFresh({ isReading }) {
  if (!every) return;
  const before = history.state?.live ?? { written: "", unchanged: 0, paused: false };
  const live = { ...before, written, unchanged: before.written === written ? before.unchanged + 1 : 0 };
  const seconds = Math.min(every * 2 ** live.unchanged, LONGEST_S);
  const line = document.getElementById("live");
  const button = make("button", { type: "button", id: "pause" });
  const told = make("span", {});
  line.append(told, " ", button);
  const show = () => {
    told.textContent = live.paused ? "It does not load itself again." : `It loads itself again every ${Math.round(seconds)} s, but not while a trial is read.`;
    button.textContent = live.paused ? "go on loading it" : "stop that";
  };
  button.addEventListener("click", () => {
    live.paused = !live.paused;
    remember({ live });
    show();
  });
  show();
  const isBusy = () =>
    live.paused || document.hidden || otherRun || isReading() || !getSelection().isCollapsed || document.activeElement.matches("input, select");
  const tick = () => {
    if (isBusy()) return setTimeout(tick, 1000);
    remember({ live, place: placeNow() });
    location.reload();
  };
  setTimeout(tick, 1000 * seconds);
  return live;
}
