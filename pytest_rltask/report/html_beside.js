// What stands beside a trial: the same run of its task by another model, or the same trial of another run, whose
// report.html was picked. That file is parsed, not run: nothing in it can act, and only texts are taken from it.

let otherRun = null;

async function openOther(file) {
  const parsed = new DOMParser().parseFromString(await file.text(), "text/html");
  const report = new Report(parsed);
  if (!report.trials.length) throw new Error(`${file.name} is no report.html of pytest-rltask with trials`);
  report.name ||= file.name;
  otherRun = report;
}

// The same trial elsewhere: by its id, or, where the models differ, the same run of the same test if one model played it.
function counterpart(trial) {
  const same = otherRun?.byId.get(trial.id);
  if (same || !otherRun) return same;
  const alike = otherRun.trials.filter((one) => one.run === trial.run && one.test === trial.test);
  return alike.length === 1 ? alike[0] : undefined;
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
  const field = labelled("Compare with another run\u2019s report.html", input);
  const told = make("p", { className: "muted", role: "status" });
  input.addEventListener("change", async () => {
    if (!input.files.length) return;
    try {
      await openOther(input.files[0]);
      showOther(report, field, go);
      const paired = report.trials.filter(counterpart).length;
      told.textContent =
        `${otherRun.name}: ${paired.toLocaleString("en")} of ${plural(report.trials.length, "trial")} have a counterpart ` +
        "(the same test, model and run; another model if it alone played that run). Open a trial to read both side by side.";
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
    trial.row.append(make("td", { className: "other" }, other ? `${other.outcome} ${other.score}` : "-"));
  }
  const counts = VERSUS.map((word) => [word, report.trials.filter((trial) => versus(trial) === word).length]);
  const choice = select("versus", "all", counts.filter(([, count]) => count));
  choice.addEventListener("change", () => go({ versus: choice.value }));
  const box = labelled("In both runs", choice);
  box.classList.add("versus");
  field.after(box);
}
