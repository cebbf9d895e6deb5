// The parts of the page's script are read by html.py and share one scope. Whatever a model or a task wrote is data:
// it goes into the page as text nodes and attributes, never as markup.

// An element; children are elements and texts, properties those of the DOM ("class" aside).
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : word.endsWith("h") ? "es" : "s"}`;
}

// A line of the table of trials.
class Trial {
  constructor(row, number, tests) {
    this.row = row;
    this.number = number; // its place among all trials, by which the blocks know it
    this.id = row.id.replace(/^trial=/, "");
    this.group = row.dataset.group;
    this.run = row.dataset.run;
    this.outcome = row.dataset.outcome;
    this.label = row.dataset.label ?? "";
    const link = row.cells[1].querySelector("a");
    this.name = (link ?? row.cells[1].firstChild).textContent;
    this.transcript = link?.getAttribute("href") ?? "";
    this.score = row.cells[2].textContent;
    this.test = tests.get(this.group); // its node id without model and run
  }

  key(name) {
    const value = this.row.dataset[name];
    return value === undefined ? null : Number(value);
  }

  // Whether a later page has more to read of it.
  get goesOn() {
    return this.outcome === "in flight" || this.outcome === "waiting";
  }

  get why() {
    return this.row.cells[3].textContent;
  }
}

// The trials of one report: this page, or that of another run, which was parsed and not run.
class Report {
  constructor(source) {
    this.source = source;
    this.name = source.body.dataset.run ?? "";
    const sections = [...source.querySelectorAll("section.row")];
    this.models = new Map(sections.map((one) => [one.dataset.group, one.querySelector("h2").textContent]));
    const tests = new Map(sections.map((one) => [one.dataset.group, one.dataset.test]));
    const rows = [...source.querySelectorAll("table.trials tbody tr")];
    this.trials = rows.map((row, number) => new Trial(row, number, tests));
    this.byId = new Map(this.trials.map((trial) => [trial.id, trial]));
    this.opened = new Map();
    this.whole = new Promise((resolve) => {
      if (source.readyState !== "loading") resolve();
      else source.addEventListener("DOMContentLoaded", resolve);
    });
  }

  // What there is to read of a trial: {facts, details, said}; null if the page has no room for it.
  async read(trial) {
    const block = (await this.blocks()).find(({ first, count }) => trial.number >= first && trial.number < first + count);
    if (!block) return null;
    const { texts, trials, pictures = [] } = await this.inflate(block);
    const { facts, details, said } = trials[trial.number - block.first];
    return {
      facts,
      details: details === null ? "" : texts[details],
      said: said.map(([kind, title, text, shown = []]) => ({
        kind,
        title: texts[title],
        text: texts[text],
        pictures: shown.map((place) => pictures[place]),
      })),
    };
  }

  async blocks() {
    await this.whole;
    this.found ??= [...this.source.querySelectorAll("script.block")].map((element) => ({
      element,
      first: Number(element.dataset.first),
      count: Number(element.dataset.count),
    }));
    return this.found;
  }

  async inflate(block) {
    if (!this.opened.has(block.first)) {
      const stream = new Blob([bytesOf(block.element.textContent)]).stream().pipeThrough(new DecompressionStream("deflate"));
      this.opened.set(block.first, JSON.parse(await new Response(stream).text()));
      if (this.opened.size > 4) this.opened.delete(this.opened.keys().next().value);
    }
    return this.opened.get(block.first);
  }

  // How often a pattern is in what there is to read of each trial, by the trial's number; null once it is outdated.
  async search(pattern, { isOutdated, progress }) {
    const found = new Map();
    const blocks = await this.blocks();
    for (const [index, block] of blocks.entries()) {
      const { texts, trials } = await this.inflate(block);
      if (isOutdated()) return null;
      const hits = texts.map((text) => text.match(pattern)?.length ?? 0);
      trials.forEach(({ facts, details, said }, place) => {
        let count = details === null ? 0 : hits[details];
        for (const [, title, text] of said) count += hits[title] + hits[text];
        for (const [, value] of facts) count += value.match(pattern)?.length ?? 0;
        if (count) found.set(block.first + place, count);
      });
      progress((index + 1) / blocks.length);
    }
    return found;
  }
}

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) bytes[index] = text.charCodeAt(index);
  return bytes;
}

function patternOf(query) {
  return query ? new RegExp(query.replace(/[.*+?^${}()|[\]\\\/-]/g, "\\$&"), "gi") : null;
}
