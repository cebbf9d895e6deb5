// What stands beside a trial: the same run of its task by another model, or the same trial of another run, whose
// report.html was picked. That file is parsed, not run: nothing in it can act, and only texts are taken from it.

let otherRun = null;
let counterparts = new Map();

async function openOther(report, file) {
  const parsed = new DOMParser().parseFromString(await file.text(), "text/html");
  const opened = new Report(parsed);
  if (!opened.trials.length) throw new Error(`${file.name} is no report.html of pytest-rltask with trials`);
  opened.name ||= file.name;
  otherRun = opened;
  counterparts = paired(report.trials, opened.trials);
}

// The same trial elsewhere, of each trial that has one: by its id; or, where one model played a test here and another one
// there, by test and run.
function paired(here, there) {
  const [mine, theirs] = [here, there].map((trials) => grouped(trials));
  const found = new Map();
  for (const trial of here) {
    const [own, alike] = [mine.get(placeOf(trial)), theirs.get(placeOf(trial)) ?? []];
    const other = alike.find((one) => one.id === trial.id) ?? (own.length === 1 && alike.length === 1 ? alike[0] : null);
    if (other) found.set(trial, other);
  }
  return found;
}

function placeOf(trial) {
  return `${trial.run} ${trial.test}`;
}

function grouped(trials) {
  const groups = new Map();
  for (const trial of trials) groups.set(placeOf(trial), [...(groups.get(placeOf(trial)) ?? []), trial]);
  return groups;
}

function counterpart(trial) {
  return counterparts.get(trial);
}

function othersByModel(report, trial) {
  return report.trials.filter((one) => one !== trial && one.run === trial.run && one.test === trial.test);
}

function besideOf(report, trial, beside) {
  if (beside === "other") {
    const other = counterpart(trial);
    return other && { report: otherRun, trial: other };
  }
  const other = beside && othersByModel(report, trial).find((one) => report.models.get(one.group) === beside);
  return other && { report, trial: other };
}

function whyNotBeside(beside) {
  if (beside !== "other") return `Nothing stands beside it: ${beside} has no such run.`;
  if (otherRun) return `Nothing stands beside it: ${otherRun.name} has no such trial.`;
  return "Nothing stands beside it: the other run's report is not open any more. Pick it again under \u201call trials\u201d.";
}

function besideField(report, trial, beside, choose) {
  const options = othersByModel(report, trial).map((one) => {
    const model = report.models.get(one.group);
    return make("option", { value: model }, `${model}: ${one.outcome}`);
  });
  const other = counterpart(trial);
  if (other) options.push(make("option", { value: "other" }, `${otherRun.name}: ${other.outcome}`));
  if (!options.length) return "";
  const field = make("select", { id: "beside" }, make("option", { value: "" }, "nothing"), ...options);
  field.value = beside;
  field.addEventListener("change", () => choose(field.value));
  return labelled("Beside it", field);
}

const VERSUS = ["the same outcome", "passed in both", "passed here only", "passed there only", "another outcome"];

// How the outcomes of a trial here and in the other run compare, in one of these words; empty without a counterpart.
function versus(trial) {
  const other = counterpart(trial);
  if (!other) return "";
  const [here, there] = [trial.outcome === "passed", other.outcome === "passed"];
  if (here && there) return "passed in both";
  if (here || there) return here ? "passed here only" : "passed there only";
  return trial.outcome === other.outcome ? "the same outcome" : "another outcome";
}

// Offers to open another run's report; once that is done, the table has a column for it.
function offerOther(report, go) {
  const input = make("input", { type: "file", accept: ".html,text/html", id: "other" });
  const field = labelled("Another run\u2019s report.html", input);
  const told = make("p", { className: "muted", role: "status" });
  input.addEventListener("change", async () => {
    if (!input.files.length) return;
    try {
      await openOther(report, input.files[0]);
      showOther(report, field, go);
      told.textContent =
        `${otherRun.name}: ${counterparts.size.toLocaleString("en")} of ${plural(report.trials.length, "trial")} have a counterpart ` +
        "(the same test, model and run; another model where one alone played the test in each). Open a trial to read both.";
    } catch (error) {
      told.textContent = error.message;
    }
  });
  document.getElementById("controls").append(field);
  document.getElementById("found").after(told);
}

function showOther(report, field, go) {
  for (const old of document.querySelectorAll("table.trials .other, .field.versus")) old.remove();
  const head = make("th", { scope: "col", className: "other" }, `in ${otherRun.name}`);
  document.querySelector("table.trials thead tr").append(head);
  for (const trial of report.trials) {
    const other = counterpart(trial);
    trial.row.append(make("td", { className: "other", "data-label": `in ${otherRun.name}` }, other ? `${other.outcome} ${other.score}` : "-"));
  }
  const counts = VERSUS.map((word) => [word, report.trials.filter((trial) => versus(trial) === word).length]);
  const choice = select("versus", "all", counts.filter(([, count]) => count));
  choice.addEventListener("change", () => go({ versus: choice.value }));
  const box = labelled("In both runs", choice);
  box.classList.add("versus");
  field.after(box);
}
