"""Runs that are forked from a preloaded interpreter: what differs from a cold start, and what must not."""

from __future__ import annotations

import sys
from textwrap import dedent

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxLimits
from tests.sandbox.preload.preloaded import MODULE
from tests.sandbox.runs import test_sandbox_ends as ends
from tests.sandbox.runs import test_sandbox_limits as limits
from tests.sandbox.runs import test_sandbox_run as of_cold_runs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="preloads on Linux only")

# The promises of every run hold, with the fixtures of this folder


test_arguments = of_cold_runs.test_it_passes_arguments
test_names = of_cold_runs.test_a_script_may_have_any_name
test_many_at_once = of_cold_runs.test_many_runs_at_once_do_not_disturb_each_other
test_descriptors = of_cold_runs.test_no_other_file_descriptor_reaches_it
test_bad_arguments = of_cold_runs.test_an_argument_that_cannot_be_passed_is_refused
test_time_limit = limits.test_an_endless_loop_that_ignores_all_signals_is_timed_out
test_suspended = limits.test_a_suspended_script_is_timed_out
test_memory = limits.test_an_allocation_past_the_limit_is_a_memory_error_in_the_script
test_shared_memory = limits.test_shared_memory_counts_as_memory
test_shared_pages = limits.test_pages_that_forked_children_share_count_once
test_fork_bomb = limits.test_a_fork_bomb_is_stopped
test_cpu = limits.test_cpu_time_is_limited
test_file_size = limits.test_a_file_past_the_limit_is_an_error_in_the_script
test_flood = limits.test_a_flood_of_output_ends_the_run
test_much_output = limits.test_much_output_below_the_flood_is_drained
test_daemon = ends.test_it_kills_a_daemon_that_left_the_session_and_holds_the_output
test_child_of_the_group = ends.test_it_kills_a_child_of_the_same_group
test_closing = ends.test_closing_from_another_thread_ends_the_run_promptly
test_closed = ends.test_a_closed_sandbox_may_be_closed_again_but_runs_nothing

# A script cannot tell


SCRIPTS = {
    "identity": """
        import os, sys
        print(sys.argv, sys.orig_argv, sys.path, sys.flags, sys.executable)
        print({name: value for name, value in globals().items() if name not in ("__loader__", "__builtins__")})
        print(__loader__.name, __loader__.path, __builtins__, sys.modules["__main__"].__dict__ is globals())
        print(sorted(os.environ.items()), os.getcwd(), os.nice(0))
        print(sys.stdin, sys.stdout, sys.stderr, sys.stdout.line_buffering, sys.stdout.write_through)
    """,
    "limits": """
        import resource, signal
        # That on processes counts, where no user is the sandbox's own, what else of the user runs at this moment.
        names = [name for name in dir(resource) if name[:7] == "RLIMIT_" and name != "RLIMIT_NPROC"]
        print({name: resource.getrlimit(getattr(resource, name)) for name in names})
        print({number: signal.getsignal(number) for number in signal.valid_signals()})
    """,
    "exit code": "import sys; sys.exit(3)",
    "exit text": "import sys; sys.exit('no such column')",
    "exit at once": "import os; print('kept', flush=True); os._exit(4)",
    "error": "def f(): 1 / 0\ntry: f()\nexcept ZeroDivisionError as error: raise RuntimeError('so') from error",
    "error in an import": "import helper",
    "syntax error": "print('a')\nx = = 3",
    "not text": "x = '\udcff'",
    "interrupt": "raise KeyboardInterrupt",
    "signal": "import os; os.kill(os.getpid(), 15)",
    "own excepthook": "import sys; sys.excepthook = lambda *what: print('mine', what[1]); 1 / 0",
    "at exit": """
        import atexit, threading, time
        class Last:
            def __del__(self): print("collected")
        last, file = Last(), open("unflushed.txt", "w")
        file.write("text")
        atexit.register(print, "at exit")
        threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
        print("main")
    """,
    "after the exit before": "print(open('unflushed.txt').read())",
    "pickle": """
        import pickle
        class Net: pass
        print(pickle.dumps(Net()), type(pickle.loads(pickle.dumps(Net()))) is Net)
    """,
    "processes": """
        import multiprocessing
        def square(x): return x * x
        if __name__ == "__main__":
            for method in ("fork", "spawn"):
                with multiprocessing.get_context(method).Pool(2) as pool: print(method, pool.map(square, range(4)))
    """,
    "hash seed": "print(hash('text'), {'a', 'b', 'c'})",
    "warning": "import warnings; warnings.warn('deprecated'); warnings.warn('deep', stacklevel=9)",
}


@pytest.mark.parametrize("backend", ["bwrap", "landlock", "none"], indirect=True)
def test_a_script_finds_what_a_cold_start_would_give_it(backend: str) -> None:
    with Sandbox(backend=backend) as cold, Sandbox(backend=backend, preload=[MODULE]) as preloaded:
        told: list[dict[str, tuple[object, ...]]] = []
        for sandbox in (cold, preloaded):
            sandbox.write_file("helper.py", "import missing_module")
            told.append({name: observe(sandbox, name) for name in SCRIPTS})

    for name in SCRIPTS:
        assert told[1][name] == told[0][name], name


def observe(sandbox: Sandbox, name: str) -> tuple[object, ...]:
    sandbox.write_file("script.py", dedent(SCRIPTS[name]).encode("utf-8", "surrogateescape"))
    result = sandbox.run_python("script.py", "--epochs", "3", "naïve ✓")
    texts = [text.replace(str(sandbox.path.parent), "BASE") for text in (result.stdout, result.stderr)]
    return result.status, result.exit_code, *texts


def test_modules_are_imported_once_and_runs_are_forked_from_one_interpreter(sandbox: Sandbox) -> None:
    sandbox.write_file("script.py", f"import os, sys; print({MODULE!r} in sys.modules, os.getppid())")

    first, second = (sandbox.run_python("script.py").stdout for _ in range(2))

    assert first.startswith("True")
    assert first == second


def test_nothing_is_started_before_a_script_is_written() -> None:
    with Sandbox(preload=[MODULE]) as sandbox:
        sandbox.write_file("train.csv", "1,2")

        assert sandbox._runner.server is None


def test_generators_of_random_numbers_start_anew_in_each_run() -> None:
    with Sandbox(preload=["numpy.random"]) as sandbox:
        sandbox.write_file("script.py", "import numpy, random; print(numpy.random.rand(), random.random())")

        first, second = (sandbox.run_python("script.py").stdout.split() for _ in range(2))

    assert first[0] != second[0]
    assert first[1] != second[1]


@pytest.mark.slow
def test_torch_trains_in_each_run_and_draws_anew() -> None:
    pytest.importorskip("torch")
    with Sandbox(preload=["torch"]) as sandbox:
        sandbox.write_file(
            "script.py",
            """if True:
            import torch
            net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
            optimizer = torch.optim.Adam(net.parameters())
            x = torch.randn(256, 64)
            for _ in range(5):
                optimizer.zero_grad()
                (net(x) ** 2).mean().backward()
                optimizer.step()
            print(torch.initial_seed())
            torch.onnx.export(net.eval(), (x,), "model.onnx", dynamo=False)
            """,
        )

        runs = [sandbox.run_python("script.py") for _ in range(2)]

        assert [run.ok for run in runs] == [True, True], runs
        assert runs[0].stdout != runs[1].stdout
        assert "model.onnx" in sandbox.files()


@pytest.mark.parametrize("name", [f"{MODULE}.py", f"{MODULE}/__init__.py"])
def test_a_module_next_to_the_script_goes_before_a_preloaded_one(sandbox: Sandbox, name: str) -> None:
    sandbox.write_file(f"folder/{name}", "WORD = 'mine'")
    sandbox.write_file("folder/script.py", f"import {MODULE}; print({MODULE}.WORD)")

    assert sandbox.run_python("folder/script.py").stdout == "mine\n"


def test_what_lies_in_the_working_directory_is_not_run_by_the_interpreter(sandbox: Sandbox) -> None:
    plant = "open('planted', 'w').close()"
    for name in ("sitecustomize", "usercustomize", MODULE, "numbers", "json", "site", "_preload"):
        (sandbox.path / f"{name}.py").write_text(plant)
    (sandbox.path / "plant.pth").write_text(f"import sys; {plant}")
    sandbox.write_file("elsewhere/script.py", f"import sys; print({MODULE!r} in sys.modules)")

    result = sandbox.run_python("elsewhere/script.py")

    assert (result.stdout, result.stderr) == ("True\n", "")
    assert "planted" not in sandbox.files()


def test_each_run_has_all_of_the_cpu_time(sandbox: Sandbox) -> None:
    sandbox.limits = SandboxLimits(cpu_s=1)
    sandbox.write_file("script.py", "import time\nwhile time.process_time() < 0.5: pass")

    assert [sandbox.run_python("script.py").status for _ in range(3)] == ["exit"] * 3
