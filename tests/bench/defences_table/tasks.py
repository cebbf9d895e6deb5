"""Defences of the shipped tasks: of their graders, and of their tools."""

from __future__ import annotations

from tests.bench.defences_table.defence import (
    AUDIT_IMBALANCE,
    AUDIT_ONNX,
    DATA,
    GRADER,
    HOSTILE,
    IMBALANCE,
    MODEL,
    ONNX,
    REFUSALS,
    RESULTS,
    START,
    Defence,
)

ONNX_EXPORT = (
    Defence(
        "the model runs isolated",
        ((f"{ONNX}grader.py", 'Sandbox(limits, prefix="rltask-grade-")', 'Sandbox(limits, backend="none")'),),
        (f"{HOSTILE}test_a_taken_over_worker_reads_nothing_of_ours",),
    ),
    Defence(
        "no label where the model runs",
        (
            (
                f"{ONNX}grader.py",
                '        box.write_file("worker.py", _WORKER.read_bytes())\n',
                '        box.write_file("worker.py", _WORKER.read_bytes())\n        box.write_file("y.npy", b"0")\n',
            ),
        ),
        (f"{GRADER}test_the_grading_sandbox_holds_features_and_the_model_but_no_label",),
    ),
    Defence(
        "what the worker leaves is checked",
        ((f"{ONNX}grader.py", 'if kind not in ("float64", "int64") or columns not in (1, 2):', "if False:"),),
        (f"{HOSTILE}test_nothing_that_a_taken_over_worker_leaves_is_believed",),
    ),
    Defence(
        "only weights are taken along",
        ((f"{ONNX}grader.py", " and not name.endswith(_NO_WEIGHTS)}", "}"),),
        (f"{HOSTILE}test_code_and_tables_are_never_taken_for_weights",),
    ),
    Defence(
        "number of weight files",
        ((f"{ONNX}grader.py", "    if len(names) > MAX_WEIGHT_FILES:\n", "    if False:\n"),),
        (f"{HOSTILE}test_a_model_has_only_so_many_weight_files",),
    ),
    Defence(
        "outputs are finite",
        ((f"{ONNX}grader.py", 'if values.dtype.kind == "f" and not np.isfinite(values).all():', "if False:"),),
        (f"{GRADER}test_it_rejects_in_words[NaN]", f"{GRADER}test_it_rejects_in_words[infinite]"),
    ),
    Defence(
        "outputs are classes",
        ((f"{ONNX}grader.py", "        if not np.isin(values, (0, 1)).all():\n", "        if False:\n"),),
        (f"{GRADER}test_it_rejects_in_words[class ids 1 and 2]",),
    ),
    Defence(
        "exported by torch.onnx",
        ((f"{ONNX}grade_worker.py", '    if producer not in (PRODUCER, ""):', "    if False:"),),
        (f"{GRADER}test_it_rejects_in_words[not from torch]",),
    ),
    Defence(
        "accuracies printed are true",
        ((f"{ONNX}grader.py", "abs(said - accuracy[name]) > PRINT_TOLERANCE + 1e-9", "False"),),
        (f"{GRADER}test_a_wrong_printed_accuracy_costs_the_score",),
    ),
    Defence(
        "fresh rows tell who trained on test.csv",
        ((f"{ONNX}grader.py", "test - fresh > LEAK_GAP", "False"),),
        (AUDIT_ONNX.format("canary_floor-cheat_train_on_test"),),
    ),
    Defence(
        "a floor on unseen rows",
        ((f"{ONNX}grader.py", "if fresh < (floor := unseen_floor(min_accuracy)):", "if False:"),),
        (AUDIT_ONNX.format("canary_floor-cheat_patches"),),
    ),
    Defence(
        "noise tells who looks rows up",
        ((f"{ONNX}grader.py", "test - jittered > JITTER_GAP", "False"),),
        (f"{GRADER}test_a_model_that_looks_up_test_rows_is_called_cheated",),
    ),
    Defence(
        "the noise cannot be foreseen",
        ((f"{ONNX}grader.py", "np.random.default_rng(unknown)", "np.random.default_rng(0)"),),
        (f"{GRADER}test_nobody_can_foresee_the_noise",),
    ),
    Defence(
        "the secret in the data's seed",
        (
            (
                f"{ONNX}data.py",
                "np.random.SeedSequence([*key, *words])",
                "np.random.SeedSequence([*words])",
            ),
        ),
        (f"{DATA}test_every_bit_of_the_secret_matters",),
    ),
)

IMBALANCED = (
    Defence(
        "budget, tau and data are not the model's to choose",
        (
            (
                f"{IMBALANCE}task.py",
                "            if value is not None and value != fixed.get(name):\n",
                "            if False:\n",
            ),
        ),
        (f"{START}test_a_configuration_of_ones_own_is_refused_with_a_reason",),
    ),
    Defence(
        "strict types of arguments",
        (("pytest_rltask/tools.py", "validate_json(given, strict=True)", "validate_json(given, strict=False)"),),
        ("tests/test_tools.py::test_a_call_that_does_not_fit_is_told_what_does",),
    ),
    Defence(
        "no further arguments",
        (("pytest_rltask/tools.py", 'extra="forbid", ', ""),),
        (f"{START}test_an_unknown_argument_is_refused",),
    ),
    Defence(
        "nothing before the start",
        (
            (
                f"{IMBALANCE}task.py",
                '        if not self._is_started:\n            raise ToolError("Call imbalance_start first.")\n',
                "",
            ),
        ),
        (f"{START}test_a_tool_before_the_start_is_refused_and_free",),
    ),
    Defence(
        "one start",
        (
            (
                f"{IMBALANCE}task.py",
                "        if self._is_started:\n            raise",
                "        if False:\n            raise",
            ),
        ),
        (f"{START}test_a_second_start_is_refused_and_keeps_the_session",),
    ),
    Defence(
        "the budget of paid actions",
        ((f"{IMBALANCE}session.py", "        if len(self.actions) >= self._max_steps:\n", "        if False:\n"),),
        (AUDIT_IMBALANCE.format("canary_floor-cheat_overrun"),),
    ),
    Defence(
        "nothing after the submission, which is one",
        ((f"{IMBALANCE}session.py", "        if self.is_submitted:\n", "        if False:\n"),),
        (f"{RESULTS}test_nothing_changes_after_the_submission",),
    ),
    Defence(
        "free epochs",
        ((f"{IMBALANCE}session.py", "        if not 1 <= epochs <= left:\n", "        if not 1 <= epochs:\n"),),
        (f"{REFUSALS}test_more_epochs_than_are_left_are_refused_not_cut[11-10]",),
        "not with 10**9 epochs, which only this check keeps from filling the memory",
    ),
    Defence(
        "learning rate",
        ((f"{IMBALANCE}session.py", "        if not 0.0 < lr <= MAX_LR:\n", "        if not 0.0 < lr:\n"),),
        (f"{REFUSALS}test_a_learning_rate_out_of_range_is_refused",),
    ),
    Defence(
        "a new configuration begins anew",
        ((f"{IMBALANCE}session.py", "    return model.configuration == key.configuration and ", "    return "),),
        (f"{MODEL}test_another_configuration_does_not_train_on_a_model_that_was_looked_at",),
    ),
)
