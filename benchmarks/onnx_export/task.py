"""The task: train a PyTorch network on train.csv and export it as model.onnx, in four tool calls.

Its parts: ``data.py`` draws a certified dataset for each seed, ``grader.py`` verifies what the prompt demands, and
``policies.py`` holds the scripted players that show the task to be sound.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.onnx_export import data, grader, secret
from benchmarks.onnx_export.policies import POLICIES
from pytest_rltask import Episode, Grade, Limits, Policy, Sandbox, SandboxLimits, Task, ToolError, tool

__all__ = ["OnnxEpisode", "OnnxExport"]

_STREAM_CHARS = 8_000
"""What run_python returns of each stream at most, as JSON: both then fit into one tool result."""

_PROMPT = """\
Train a PyTorch network for binary classification and export it to ONNX.

The working directory holds train.csv ({train_rows} rows) and test.csv ({test_rows} rows), comma-separated, with a \
line of names first: numeric columns feature_0 to feature_9 and the column label (0 or 1). Train on train.csv only: \
test.csv is for evaluation, never for training, and a model that was trained on it or looks its rows up counts as \
cheated.

Leave the network in the working directory as model.onnx:
- It classifies at least {percent:g} % of the rows of test.csv correctly (accuracy >= {min_accuracy:g}), \
and at least {unseen_percent:g} % of {unseen_rows:,} rows of the same source that you do not see \
(accuracy >= {min_unseen:g}).
- torch.onnx.export writes it (torch.save writes no ONNX); a file that names another exporter is refused. It may keep \
its weights in a file beside it, as torch.onnx.export does by default, or in up to {max_files}; {max_mb} MB together \
at most.
- Its one input takes the ten raw feature columns in the order of the file: float32, float64 or float16, shape \
(batch, 10) with a fixed or dynamic batch, or (10,). Scaling and any other preprocessing must therefore be part of \
the exported network.
- Its first output is finite and tells the class of each row: one value, shape (batch,) or (batch, 1), which is a \
class id, a probability of class 1 (if all values lie in [0, 1]; class 1 above 0.5) or else a logit (class 1 above 0); \
or two floating-point scores, shape (batch, 2), of which the larger tells the class. Further outputs are ignored.
- onnxruntime loads it and runs it over {rows:,} rows within {worker_s:g} s of CPU time, on one thread with \
{worker_gb:g} GB of memory.

Your code must also print the accuracy of the exported network on both files, as fractions, on lines of their own:
train accuracy: 0.xxxx
test accuracy: 0.xxxx
The last such lines on the standard output of your runs count. Each must lie within {tolerance:g} of what model.onnx \
reaches.

You have at most {max_tool_calls} tool calls in all: write_file creates a file, run_python runs one. Each run may take \
{run_timeout_s:g} s and has {run_gb:g} GB of memory and one CPU thread. Installed are torch, onnx, onnxscript, \
onnxruntime, scikit-learn, pandas and numpy. You see results only once your reply has ended: run one program, and keep \
calls to mend it.

When the results show that you are done, reply with the line TASK COMPLETE and without a call: it is no tool."""


@dataclass(frozen=True)
class OnnxExport(Task):
    """Train a PyTorch network and export it to ONNX."""

    min_accuracy: float = 0.875
    """Test accuracy that passes."""
    max_tool_calls: int = 4
    """Calls of write_file and run_python together."""
    run_timeout_s: float = 60.0
    """Seconds one run_python may take."""
    class_sep: float = 0.70
    """Distance of the data's clusters from the origin. Draws are certified, so it moves the difficulty little."""

    policies: ClassVar[Mapping[str, Policy]] = POLICIES
    needs_sandbox: ClassVar[bool] = True

    @property
    def min_unseen_accuracy(self) -> float:
        """What a model that passes must reach on rows that the agent does not see."""
        return grader.unseen_floor(self.min_accuracy)

    @property
    def limits(self) -> Limits:
        """The default limits, with the prompt's number of tool calls."""
        return Limits(tool_calls=self.max_tool_calls)

    @property
    def thresholds(self) -> Mapping[str, float]:
        """What the grader and its worker enforce."""
        return {
            "accuracy on unseen rows": self.min_unseen_accuracy,
            "largest model in MB": grader.MAX_MODEL_BYTES / 2**20,
            "tolerance of the printed accuracies": grader.PRINT_TOLERANCE,
            "seconds of the grading worker": grader.WORKER_LIMITS.wall_s,
            "GB of the grading worker": grader.WORKER_LIMITS.memory_bytes / 2**30,
            "tool calls": self.max_tool_calls,
            "seconds of a run": self.run_timeout_s,
        }

    @property
    def carried_environment(self) -> Mapping[str, str]:
        """This machine's secret: with another one, a seed draws other data elsewhere."""
        return {secret.SECRET_VARIABLE: secret.load_secret().hex()}

    def open(self, seed: int) -> OnnxEpisode:
        """Make a fresh sandbox for the data of a seed."""
        return OnnxEpisode(self, seed)


class OnnxEpisode(Episode):
    """One dataset, and a working directory with its train.csv and test.csv."""

    def __init__(self, task: OnnxExport, seed: int) -> None:
        self._task = task
        self._seed = seed
        self._secret = secret.load_secret()
        self._printed: list[str] = []
        self._delivered: dict[str, bytes] | grader.UndeliveredError | None = None
        self._complete = False
        self._calls = 0
        # Far more output is kept than is shown, since the accuracies may stand anywhere in it.
        self._limits = SandboxLimits(wall_s=task.run_timeout_s, cpu_s=2 * task.run_timeout_s, output_bytes=2**20)
        self._box = Sandbox(self._limits, preload=("torch", "torch._dynamo", "onnxscript", "pandas"))

    def lay_out(self) -> None:
        """Draw the data and write the agent's part of it, which takes seconds."""
        self._data = data.draw(self._secret, self._seed, class_sep=self._task.class_sep)
        self._box.write_file("train.csv", self._data.train.csv())
        self._box.write_file("test.csv", self._data.test.csv())

    @property
    def prompt(self) -> str:
        """What is to be delivered, and all that is demanded of it."""
        return _PROMPT.format(
            train_rows=data.TRAIN_ROWS,
            test_rows=data.TEST_ROWS,
            rows=data.TRAIN_ROWS + 2 * data.TEST_ROWS + data.FRESH_ROWS,
            percent=100 * self._task.min_accuracy,
            min_accuracy=self._task.min_accuracy,
            unseen_percent=100 * self._task.min_unseen_accuracy,
            unseen_rows=data.FRESH_ROWS,
            min_unseen=self._task.min_unseen_accuracy,
            max_files=grader.MAX_WEIGHT_FILES,
            max_mb=grader.MAX_MODEL_BYTES // 2**20,
            worker_s=grader.WORKER_LIMITS.cpu_s,
            worker_gb=grader.WORKER_LIMITS.memory_bytes / 2**30,
            tolerance=grader.PRINT_TOLERANCE,
            max_tool_calls=self._task.max_tool_calls,
            run_timeout_s=self._task.run_timeout_s,
            run_gb=self._limits.memory_bytes / 2**30,
        )

    @property
    def info(self) -> Mapping[str, float | int | str | bool | None]:
        """How hard the draw is, and which secret it comes from; neither a label nor the secret."""
        return {
            "secret_fingerprint": secret.fingerprint(self._secret),
            "attempt": self._data.attempt,
            "svc_accuracy": self._data.certificate.svc_accuracy,
            "svc_fresh_accuracy": self._data.certificate.svc_fresh_accuracy,
            "mixture_accuracy": self._data.certificate.mixture_accuracy,
        }

    @property
    def hidden(self) -> Mapping[str, object]:
        """The rows that only the grader has, and what the data are made from."""
        return {
            "the secret": self._secret,
            "labels of the fresh rows": self._data.fresh.labels,
            "features of the fresh rows": self._data.fresh.features,
        }

    @property
    def done(self) -> bool:
        """Whether a reply said TASK COMPLETE; tools that the same reply calls still run."""
        return self._complete

    def observe(self, reply: str) -> None:
        """Look for the line TASK COMPLETE; to announce it in a sentence ends nothing."""
        self._complete |= bool(re.search(r"^[^\w\n]*TASK COMPLETE[^\w\n]*$", reply, re.MULTILINE))

    def remind(self) -> str | None:
        """Say how to end once no tool can be called any more: a call that is refused costs a request."""
        if self._calls < self._task.max_tool_calls:
            return None
        return "Call no further tool. Reply with the line TASK COMPLETE: that ends the trial."

    @tool
    def write_file(self, path: str, content: str) -> dict[str, object]:
        """Create or replace a text file of yours in the working directory, such as a program; the data are there.

        Args:
            path: Path relative to the working directory, such as train.py.
            content: The whole content of the file.
        """
        if posixpath.normpath(path) in ("train.csv", "test.csv"):
            raise ToolError(
                f"{path} is not written: train.csv and test.csv are there already, with the data, for your program to "
                "read. Write that, such as train.py."
            )
        self._box.write_file(path, content)
        self._calls += 1  # as the harness counts: a refused call is none
        return {"written": path, "bytes": len(content.encode())}

    @tool
    def run_python(self, path: str) -> dict[str, object]:
        """Run a Python script in the working directory and return its exit code, stdout and stderr.

        Long output loses its beginning.

        Args:
            path: Path of the script relative to the working directory.
        """
        result = self._box.run_python(path)
        self._calls += 1
        self._printed.append(result.stdout)
        return {
            "exit_code": result.exit_code,
            "status": result.summary,
            "stdout": _tail(result.stdout),
            "stderr": _tail(result.stderr),
        }

    def artifacts(self) -> Mapping[str, bytes | str]:
        """What is graded: model.onnx with its weights, or why there is none, and what the scripts printed."""
        delivery = self._delivery()
        kept: dict[str, bytes | str] = {"printed.json": json.dumps(self._printed)}
        if isinstance(delivery, grader.UndeliveredError):
            return kept | {"undelivered.json": json.dumps([delivery.label, str(delivery)])}
        return kept | {f"model/{name}": content for name, content in delivery.items()}

    def regrade(self, artifacts: Mapping[str, bytes]) -> Grade:
        """Grade what was kept, on the data of this seed."""
        printed = json.loads(artifacts["printed.json"])
        if "undelivered.json" in artifacts:
            return self._graded(grader.UndeliveredError(*json.loads(artifacts["undelivered.json"])), printed)
        own = {name.removeprefix("model/"): artifacts[name] for name in artifacts if name.startswith("model/")}
        return self._graded(own, printed)

    def grade(self) -> Grade:
        """Verify all that the prompt demands, on the grader's own copy of the data."""
        return self._graded(self._delivery(), self._printed)

    def _delivery(self) -> dict[str, bytes] | grader.UndeliveredError:
        """Copy the model once; nothing of the agent's runs any more."""
        if self._delivered is None:
            try:
                self._delivered = grader.snapshot(self._box)
            except grader.UndeliveredError as error:
                self._delivered = error
        return self._delivered

    def _graded(self, delivery: dict[str, bytes] | grader.UndeliveredError, outputs: list[str]) -> Grade:
        printed = grader.printed_accuracies(outputs)
        try:
            if isinstance(delivery, grader.UndeliveredError):
                raise delivery
            reading = grader.predict(delivery, grader.questions(self._data))
        except grader.UndeliveredError as error:
            return Grade(0.0, self._task.min_accuracy, label=error.label, reason=str(error), metrics=printed.metrics)
        return grader.judge(self._data, reading, printed, min_accuracy=self._task.min_accuracy)

    def close(self) -> None:
        """Remove the working directory."""
        self._box.close()


def _tail(text: str) -> str:
    """Cut the beginning of a text that is too long once written as JSON."""
    kept = text[-_STREAM_CHARS:]
    while (length := len(json.dumps(kept, ensure_ascii=False))) > _STREAM_CHARS:
        kept = kept[len(kept) * (length - _STREAM_CHARS) // length + 1 :]
    cut = len(text) - len(kept)
    return f"[{cut:,} characters cut]\n{kept}" if cut else kept
