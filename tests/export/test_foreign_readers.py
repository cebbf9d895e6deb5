"""What others make of our exports, by their own libraries: `make compat` installs them, else this is skipped."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.export.atif import no_conversation, write_trajectories
from pytest_rltask.export.jsonl import select_lines, write_lines
from pytest_rltask.export.selection import select
from pytest_rltask.export.target import new_file
from pytest_rltask.report.summary import summarise
from pytest_rltask.run.load import Run
from tests.export.exported import HOSTILE, hostile_run, written

RUNS = {"claude": written("claude"), "policies": written("policies"), "hostile": hostile_run()}
TEMPLATE = """
{%- if tools %}{{ '<tools>' + (tools | tojson) + '</tools>' }}{% endif -%}
{%- for message in messages %}{{ '<' + message.role + '>' + (message.content or '') -}}
{%- for call in message.tool_calls or [] %}{{ '<call>' + call.function.name + (call.function.arguments | tojson) }}
{%- endfor %}{% endfor -%}
{%- if add_generation_prompt %}{{ '<assistant>' }}{% endif -%}
"""


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Run:
    return RUNS[request.param]


def dataset_of(run: Run, tmp_path: Path, *, strings: bool = False) -> Any:
    datasets = pytest.importorskip("datasets")
    path = tmp_path / "lines.jsonl"
    with new_file(path) as file:
        write_lines(select_lines(run, include=("errored", "cheated")), file, strings=strings)
    return datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))


@pytest.mark.parametrize("strings", [False, True])
def test_datasets_loads_the_lines_and_counts_as_we_do(run: Run, strings: bool, tmp_path: Path):
    data = dataset_of(run, tmp_path, strings=strings)

    for row in summarise(run, "point").rows:
        own = [line for line in data if line["test"] == row.test and line["model"] == row.model]
        judged = [line for line in own if line["outcome"] != "errored"]
        silent = select_lines(run).left_out["without a reply"]  # a refusal teaches nothing, though it counts
        assert row.judged - len(judged) in (0, silent)
        assert sum(line["label"] for line in own) == row.passed
        rewards = {line["trial_id"]: line["score"] for line in own}
        assert rewards == {trial: run.records[trial].score for trial in rewards}


def test_trl_renders_the_lines_as_chats_with_tools(run: Run, tmp_path: Path):
    data = dataset_of(run, tmp_path)
    transformers = pytest.importorskip("transformers")
    apply = pytest.importorskip("trl.data_utils").apply_chat_template
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, chat_template=TEMPLATE)

    for line in data:
        told = {name: line[name] for name in ("prompt", "completion", "label")}
        text = apply(told, tokenizer, tools=line["tools"])
        assert text["prompt"].startswith("<tools>[")
        assert text["prompt"].endswith("<assistant>")
        assert text["label"] == line["label"]
        assert "null" not in text["completion"] or run.plan[0].task == "a"  # nothing was filled in
        record = run.records[line["trial_id"]]
        uses = [block for m in record.messages for block in m["content"] if block["type"] == "tool_use"]
        assert text["completion"].count("<call>") == len(uses)
        assert all(f"<call>{use['name']}" in text["completion"] for use in uses)


@pytest.mark.parametrize(
    ("module", "name"), [("harbor.models.trajectories", "Trajectory"), ("nemo_gym.atif_v1_7", "AtifTrajectoryV1_7")]
)
def test_the_models_of_others_validate_our_trajectories(run: Run, module: str, name: str, tmp_path: Path):
    pytest.importorskip(module)
    model = getattr(importlib.import_module(module), name)
    selection = select(run, unusable=no_conversation)
    write_trajectories(selection, tmp_path)

    found = [model.model_validate(json.loads(path.read_text())) for path in tmp_path.iterdir()]

    assert len(found) == len(selection.trials)
    for one in found:
        record = run.records[one.trajectory_id]
        told = (one.extra["outcome"], one.extra["score"], one.extra["seed"])
        assert told == (record.outcome, record.score, record.seed)
        assert one.final_metrics.total_completion_tokens == record.usage.output_tokens
        assert sum(len(step.tool_calls or ()) for step in one.steps) == sum(
            block["type"] == "tool_use" for message in record.messages for block in message["content"]
        )


def test_inspect_reads_our_logs_and_their_numbers_are_ours(run: Run, tmp_path: Path):
    log = pytest.importorskip("inspect_ai.log")
    from pytest_rltask.export.inspect_log import write_logs

    paths = write_logs(select(run), tmp_path / "logs")

    listed = log.list_eval_logs(str(tmp_path / "logs"))
    assert len(listed) == len(paths) > 0
    rows = {row.test: row for row in summarise(run, "point").rows}
    for info in listed:
        found = log.read_eval_log(info)
        row = rows[found.eval.metadata["test"]]
        assert (found.status, found.eval.task, found.eval.model) == ("success", row.name, row.model)
        assert found.results.completed_samples == row.judged
        means = {score.name: score.metrics["mean"].value for score in found.results.scores}
        assert means.get("passed") == row.verdict.rate
        metadata = found.eval.metadata
        assert (metadata["verdict"], metadata["pass_rate"]) == (row.verdict.word, row.verdict.rate)
        assert tuple(metadata["interval"]) == (row.verdict.interval or ())
        for sample in found.samples:
            record = run.records[sample.metadata["trial_id"]]
            assert (sample.id, sample.epoch) == (f"seed {record.seed}", record.run + 1)
            assert (sample.error is not None) == (record.outcome == "errored")
            if record.outcome != "errored":
                assert (sample.scores["passed"].value == "C") == (record.outcome == "passed")
                assert sample.scores["score"].value == record.score
            tokens = sum(usage.total_tokens for usage in sample.model_usage.values())
            assert tokens == record.usage.total


def test_inspect_keeps_what_a_model_wrote(tmp_path: Path):
    log = pytest.importorskip("inspect_ai.log")
    from pytest_rltask.export.inspect_log import write_logs

    (path,) = write_logs(select(hostile_run()), tmp_path)

    (sample,) = log.read_eval_log(str(path)).samples
    reply = next(message for message in sample.messages if message.role == "assistant")
    assert reply.text == HOSTILE.replace("\ud800", "?")
    assert [call.function for call in reply.tool_calls] == ["run", "run"]
