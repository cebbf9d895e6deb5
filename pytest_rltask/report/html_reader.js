// One trial to read: its facts and its conversation, alone or beside another one.

const LONG = 20000; // characters of a text above which its rest is shown on demand, since a browser lays it out slowly

class Reader {
  constructor(report, list, go) {
    this.report = report;
    this.list = list;
    this.go = go;
    this.element = document.getElementById("reader");
  }

  async show(state) {
    const trial = this.report.byId.get(state.trial);
    const mine = (this.current = {});
    const beside = trial && besideOf(this.report, trial, state.beside);
    const sides = trial ? [{ report: this.report, trial }, ...(beside ? [beside] : [])] : [];
    const read = await Promise.all(sides.map((side) => side.report.read(side.trial).catch((error) => error)));
    if (mine !== this.current) return;
    const title = make("h1", { id: "reading", tabIndex: -1 }, this.titleOf(trial, sides.length));
    const columns = sides.map((side, index) => this.column(side, read[index], patternOf(state.q), sides.length > 1));
    this.element.replaceChildren(
      this.bar(state, trial),
      title,
      ...(trial ? [] : [make("p", {}, state.trial)]),
      ...(state.beside && trial && !beside ? [make("p", { className: "muted" }, whyNotBeside(state.beside))] : []),
      make("div", { className: sides.length > 1 ? "columns" : "" }, ...columns),
    );
    this.marks = [...this.element.querySelectorAll("mark")];
    this.marked = -1;
    if (this.marks.length) this.offerMatches();
  }

  titleOf(trial, sides) {
    if (!trial) return "There is no such trial in this run";
    if (sides > 1) return `${trial.name}, two trials side by side`;
    const score = trial.score ? `, ${trial.score === "no score" ? "" : "score "}${trial.score}` : "";
    return `${trial.name} of ${this.report.models.get(trial.group)}: ${trial.outcome}${score}`;
  }

  bar(state, trial) {
    const place = this.list.shown.indexOf(trial);
    const step = (text, other) =>
      make("a", other ? { href: hashOf({ ...state, trial: other.id }) } : { "aria-disabled": "true", role: "link" }, text);
    const bar = make(
      "nav",
      { "aria-label": "trials" },
      make("a", { href: hashOf({ ...state, trial: "", beside: "" }), id: "back" }, "\u2190 all trials"),
      step("previous", this.list.shown[place - 1]),
      step("next", place < 0 ? undefined : this.list.shown[place + 1]),
    );
    if (trial) bar.append(besideField(this.report, trial, state.beside, (beside) => this.go({ beside })));
    return bar;
  }

  offerMatches() {
    const button = make("button", { type: "button", id: "match" }, `first of ${plural(this.marks.length, "match")}`);
    button.addEventListener("click", () => {
      this.marks[this.marked]?.removeAttribute("class");
      this.marked = (this.marked + 1) % this.marks.length;
      const mark = this.marks[this.marked];
      mark.className = "current";
      for (let fold = mark.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
      mark.scrollIntoView({ block: "center" });
      button.textContent = `next match (${this.marked + 1} of ${this.marks.length})`;
    });
    this.element.querySelector("nav").append(button);
  }

  column({ report, trial }, read, pattern, isOneOfTwo) {
    const article = make("article", { "aria-label": `${trial.name}, ${trial.outcome}` });
    if (isOneOfTwo) {
      const where = report === this.report ? "" : ` in ${report.name}`;
      const score = trial.score ? `, ${trial.score}` : "";
      article.append(make("h2", {}, `${trial.name} of ${report.models.get(trial.group)}${where}: ${trial.outcome}${score}`));
    }
    if (trial.why) article.append(make("p", { className: "reason" }, ...marked(trial.why, pattern)));
    if (read === null || read instanceof Error) {
      const why = read === null ? "This page has no room for its conversation" : `This browser cannot open its conversation (${read.message})`;
      article.append(make("p", { className: "bad" }, `${why}: read ${trial.transcript || "its transcript"}, beside this page.`));
      return article;
    }
    const terms = read.facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, ...marked(value, pattern))));
    if (trial.transcript && report === this.report) {
      const link = make("a", { href: trial.transcript }, decodeURI(trial.transcript));
      terms.push(make("div", {}, make("dt", {}, "transcript"), make("dd", {}, link)));
    }
    article.append(make("dl", {}, ...terms));
    if (trial.goesOn && trial.transcript) {
      article.append(make("p", { className: "muted" }, "What it has said so far stands in its transcript; a later page has it too."));
    }
    if (read.details) article.append(make("pre", { className: "details" }, ...marked(read.details, pattern)));
    article.append(...read.said.map((part) => said(part, pattern)));
    return article;
  }
}

function said({ kind, title, text, pictures }, pattern) {
  let body = make("pre", {});
  fill(body, text, pattern);
  if (kind === "thinking") {
    body = make("details", { open: Boolean(pattern && text.match(pattern)) }, make("summary", {}, plural(text.length, "character")), body);
  }
  if (pictures.length) {
    const shown = pictures.map((src, place) => make("img", { src, alt: `image ${place + 1} of this result`, loading: "lazy" }));
    body = make("div", {}, body, ...shown);
  }
  return make("div", { className: `said ${kind}` }, make("div", { className: "who" }, ...marked(title, pattern)), body);
}

// A long text shows its beginning, and the rest once that is asked for, printed or searched for.
function fill(pre, text, pattern) {
  if (text.length <= LONG || (pattern && text.match(pattern))) {
    pre.replaceChildren(...marked(text, pattern));
    return;
  }
  const rest = text.length - LONG / 2;
  const button = make("button", { type: "button", className: "rest" }, `show the other ${plural(rest, "character")}`);
  button.addEventListener("click", () => pre.replaceChildren(text));
  pre.replaceChildren(text.slice(0, LONG / 2), button);
}

function marked(text, pattern) {
  if (!pattern) return [text];
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    nodes.push(text.slice(end, match.index), make("mark", {}, match[0]));
    end = match.index + match[0].length;
  }
  return [...nodes, text.slice(end)];
}

addEventListener("beforeprint", () => {
  for (const button of document.querySelectorAll(".rest")) button.click();
  for (const fold of document.querySelectorAll("#reader details")) fold.open = true;
});
