// The table of trials: sorted, filtered and searched. What is chosen stands in the address, so that it can be kept.

const CHOICES = ["outcome", "label", "group", "versus", "q", "sort"];

// What the address says; one that names a place in the page, or a trial alone, leaves what was chosen before.
function stateOf(hash, before) {
  if (!hash.includes("=")) return { ...before, trial: "", beside: "" };
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  const names = [...said.keys()];
  if (names.length === 1 && names[0] === "trial") return { ...before, beside: "", trial: said.get("trial") };
  return Object.fromEntries([...CHOICES, "trial", "beside"].map((name) => [name, said.get(name) ?? ""]));
}

function hashOf(state) {
  const said = Object.entries(state).filter(([, value]) => value);
  return `#${new URLSearchParams(said)}`;
}

// A column's heads become buttons; the one it is sorted by says how.
function sortable(table, choose) {
  for (const head of table.querySelectorAll("thead th[data-key]")) {
    const button = make("button", { type: "button" }, ...head.childNodes);
    button.addEventListener("click", () => choose(head.dataset.key, head.getAttribute("aria-sort")));
    head.replaceChildren(button);
  }
}

function showSorting(table, sort) {
  const key = sort.replace(/^-/, "");
  for (const head of table.querySelectorAll("thead th[data-key]")) {
    if (head.dataset.key === key) head.setAttribute("aria-sort", sort.startsWith("-") ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
}

// Sorts by numbers or texts; what has none comes last either way.
function sorted(items, keyOf, descending) {
  const place = new Map(items.map((item, index) => [item, [keyOf(item), index]]));
  const isEmpty = (key) => key === null || key === "";
  return [...items].sort((one, other) => {
    const [a, i] = place.get(one);
    const [b, j] = place.get(other);
    if (isEmpty(a) !== isEmpty(b)) return isEmpty(a) ? 1 : -1;
    const order = a === b || isEmpty(a) ? 0 : a < b ? -1 : 1;
    return (descending ? -order : order) || i - j;
  });
}

const TRIAL_KEYS = {
  outcome: (trial) => trial.outcome,
  trial: (trial) => Number(trial.group) * 1e6 + Number(trial.run),
  why: (trial) => trial.why,
};

class List {
  constructor(report, go) {
    this.report = report;
    this.go = go; // takes what is to change of the state
    this.body = document.querySelector("table.trials tbody");
    this.table = this.body.parentElement;
    this.shown = report.trials;
    this.searched = { query: "", found: null };
    this.order = "";
    this.searches = 0;
    for (const trial of report.trials) {
      trial.row.querySelector("a")?.setAttribute("href", `#${new URLSearchParams({ trial: trial.id })}`);
    }
    sortable(this.table, (key, now) => go({ sort: now === "ascending" ? `-${key}` : now === "descending" ? "" : key }));
    this.controls();
    this.linkReasons();
    const overview = document.querySelector("table.overview");
    sortable(overview, (key, now) => sortOverview(overview, now === "descending" ? key : `-${key}`));
  }

  controls() {
    const counted = (values) => [...values.reduce((map, value) => map.set(value, (map.get(value) ?? 0) + 1), new Map())];
    const { trials, models } = this.report;
    const labels = counted(trials.map((trial) => trial.label).filter(Boolean)).sort((a, b) => b[1] - a[1]);
    this.fields = {
      outcome: select("outcome", "all", counted(trials.map((trial) => trial.outcome))),
      label: select("label", "all", labels),
      group: select("task and model", "all", counted(trials.map((trial) => trial.group)), (group) => models.get(group)),
      q: make("input", { type: "search", id: "query", autocomplete: "off" }),
    };
    this.status = make("p", { id: "found", role: "status" });
    const box = document.getElementById("controls");
    box.append(
      labelled("Outcome", this.fields.outcome),
      ...(labels.length ? [labelled("Label", this.fields.label)] : []),
      ...(models.size > 1 ? [labelled("Task and model", this.fields.group)] : []),
      labelled("Search conversations", this.fields.q),
    );
    box.after(this.status);
    box.hidden = false;
    for (const name of ["outcome", "label", "group"]) {
      this.fields[name].addEventListener("change", (event) => this.go({ [name]: event.target.value }));
    }
    let waiting;
    this.fields.q.addEventListener("input", (event) => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.go({ q: event.target.value }), 250);
    });
  }

  // A reason that was counted leads to the trials that ended by it.
  linkReasons() {
    for (const cell of document.querySelectorAll(".counted td[data-label]")) {
      const { group } = cell.closest("section").dataset;
      const label = cell.dataset.label;
      const outcome = cell.closest("table").classList.contains("cheated") ? "cheated" : "missed";
      const button = make("button", { type: "button", className: "link" }, ...cell.childNodes);
      button.addEventListener("click", () => {
        this.go({ outcome, group: this.report.models.size > 1 ? group : "", label, q: "", trial: "" });
        document.getElementById("trials").focus();
      });
      cell.replaceChildren(button);
    }
  }

  async show(state) {
    for (const [name, field] of Object.entries(this.fields)) {
      if (field.value !== state[name] && !(name === "q" && document.activeElement === field)) field.value = state[name];
    }
    this.sort(state.sort);
    const found = await this.search(state.q);
    if (found === undefined) return; // a later search is under way
    const pass = (trial) =>
      (!state.outcome || trial.outcome === state.outcome) &&
      (!state.label || trial.label === state.label) &&
      (!state.group || trial.group === state.group) &&
      (!state.versus || versus(trial) === state.versus) &&
      (!found || found.has(trial.number));
    this.shown = this.ordered.filter(pass);
    const isShown = new Set(this.shown);
    for (const trial of this.report.trials) trial.row.hidden = !isShown.has(trial);
    const all = this.report.trials.length;
    const hits = found ? this.shown.reduce((sum, trial) => sum + found.get(trial.number), 0) : 0;
    this.status.textContent =
      (this.shown.length === all ? plural(all, "trial") : `${this.shown.length.toLocaleString("en")} of ${plural(all, "trial")}`) +
      (found ? `, ${plural(hits, "match")} of \u201c${state.q}\u201d` : "");
  }

  sort(sort) {
    if (this.ordered && sort === this.order) return;
    const key = sort.replace(/^-/, "");
    const keyOf = TRIAL_KEYS[key] ?? ((trial) => trial.key(key));
    this.ordered = key ? sorted(this.report.trials, keyOf, sort.startsWith("-")) : this.report.trials;
    if (this.order || sort) this.body.append(...this.ordered.map((trial) => trial.row));
    this.order = sort;
    showSorting(this.table, sort);
  }

  // Which trials a query is in, by number; null without a query, undefined if another search began meanwhile.
  async search(query) {
    const mine = ++this.searches;
    if (!query) return null;
    if (this.searched.query === query) return this.searched.found;
    let told = performance.now();
    const progress = (share) => {
      if (performance.now() - told < 500) return; // each change lays the page out anew
      told = performance.now();
      this.status.textContent = `searching: ${Math.floor(100 * share)} %`;
    };
    const found = await this.report.search(patternOf(query), { isOutdated: () => mine !== this.searches, progress });
    if (found === null || mine !== this.searches) return undefined;
    this.searched = { query, found };
    return found;
  }
}

function labelled(text, field) {
  return make("div", { className: "field" }, make("label", { htmlFor: field.id }, text), field);
}

function select(name, all, counts, text = (value) => value) {
  const options = counts.map(([value, count]) => make("option", { value }, `${text(value)} (${count.toLocaleString("en")})`));
  return make("select", { id: `by-${name.replaceAll(" ", "-")}` }, make("option", { value: "" }, all), ...options);
}

function sortOverview(table, sort) {
  const key = sort.replace(/^-/, "");
  const body = table.tBodies[0];
  const keyOf = (row) => (key === "name" ? row.cells[0].textContent : key in row.dataset ? Number(row.dataset[key]) : null);
  body.append(...sorted([...body.rows], keyOf, sort.startsWith("-")));
  showSorting(table, sort);
}
