# Two commands for a fresh machine with Python >= 3.11 and pip: `make bench` and `make test`. No API key is needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Versions that CI installs; `make bench CONSTRAINTS=` takes the newest instead.
CONSTRAINTS ?= constraints.txt
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
# On Linux, pip's own index has torch for GPUs (several GB). The index for CPU builds stands on PyTorch's install
# page: make bench TORCH_INDEX=<that address>
TORCH_INDEX ?=
TORCH := torch==2.13.0 $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
# Of each task in `make bench`: enough for two more or fewer to leave either in the band.
RUNS ?= 20
# Of `make honest`; those that do not work here are left out.
BACKENDS ?= bwrap,landlock,docker,none
COMMA := ,
# A folder in which it keeps what programs do outside of sandboxes, and finds it again.
BARE ?=
KEPT = $(if $(BARE),--bare $(BARE)/bare-$(1).json)
# Without isolation an ordinary user's processes differ in nothing from root's.
OF_USER = $(patsubst %$(COMMA)none,%,$(BACKENDS))
# A published secret and this seed fix the data that the baseline sees, so that the run ends alike on every machine.
BENCH_DATA := RLTASK_SECRET=00000000000000000000000000000000
SEED ?= 282
# What `make bench-scale` measures against, in an environment of its own.
INSPECT_AI := inspect-ai==0.3.285 anthropic==2.12.0
# What `make bench-answers` compares its statistics with, in an environment of its own.
STATSMODELS := statsmodels==0.15.0 scipy==1.17.1
# What makes the environments of `make compat`.
UV := uv==0.13.9
# What makes the mutants of `make mutants`, in an environment of its own.
COSMIC_RAY := cosmic-ray==8.7.0
# Of each module in `make mutants`; which ones, the seed decides.
MUTANTS ?= 25
MUTANTS_SEED ?= 1
# A folder for results in JUnit XML, which CI reads.
REPORTS ?=
# The checks of the audit whose cheats the suite plays as well, without preloading the torch that none of them imports.
SUITE_HAS := onnx_export and cheat_ and not train_on_test
JUNIT = $(if $(REPORTS),--junitxml=$(REPORTS)/$(1)$(if $(AGAIN),~again).xml)
# `make test AGAIN=1` plays what failed once more, by itself.
HOW = $(if $(AGAIN),--last-failed --last-failed-no-failures=none,-n 2 --dist worksteal)

# The tests start hundreds of interpreters, each of which would compile the plugin anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: bench test test-slow lint honest compat mutants clean $(addprefix bench-,startup overhead interrupt imbalance sandbox preload storm scale kills defences capabilities fixtures proof three-ways first-contact money large page answers ray ray-kills long)

bench: $(VENV)/.benchmarks  ## play every task with its built-in baseline policy and check the pass rates
	$(BENCH_DATA) $(BIN)/pytest benchmarks --model policy:baseline --runs $(RUNS) --seed $(SEED) -n 2

test: $(VENV)/.dev  ## run the test suite, and check that the shipped tasks are sound; the rest is `make test-slow`
	$(BIN)/pytest tests -m "not slow" $(HOW) $(call JUNIT,tests)
	$(BENCH_DATA) $(BIN)/pytest benchmarks --audit -k "not ($(SUITE_HAS))" -n 2 $(call JUNIT,audit)

test-slow: $(VENV)/.dev  ## what `make test` leaves out: stress, scale, and what its tests guard in a shorter way
	$(BIN)/pytest tests -m slow $(HOW) $(call JUNIT,slow)
	$(BENCH_DATA) $(BIN)/pytest benchmarks --audit -k "$(SUITE_HAS)" -n 2 $(call JUNIT,slow-audit)

lint: $(VENV)/.dev  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict pytest_rltask

honest: $(VENV)/.dev  ## what honest programs do in each sandbox and outside, as root and as an ordinary user
	$(BIN)/python -m tests.sandbox.honest --backends $(BACKENDS) $(call KEPT,own)
	@test "$$(id -u)" != 0 || $(BIN)/python -m tests.as_user python -m tests.sandbox.honest --backends $(OF_USER) $(call KEPT,user)

compat: $(VENV)-compat/uv/.done  ## the plugin's own tests on each declared Python, with the lowest versions, and beside plugins of others
	$(PYTHON) -m tests.compat --folder $(VENV)-compat --constraints '$(CONSTRAINTS)' --reports '$(REPORTS)'

mutants: $(VENV)/.dev $(VENV)-mutants/.done  ## change an operator here and there: is there a test that notices? (30 minutes or more)
	$(VENV)-mutants/bin/python -m tests.bench.mutants --python $(BIN)/python --each $(MUTANTS) --seed $(MUTANTS_SEED)

bench-startup: $(VENV)/.dev  ## what the plugin costs a suite without tasks, and seconds to the first request
	$(BIN)/python -m tests.bench.startup

bench-overhead: $(VENV)/.dev  ## what the trial loop costs over the bare SDK
	$(BIN)/python -m tests.bench.overhead

bench-interrupt: $(VENV)/.dev  ## how long a run takes to end after Ctrl-C (10 minutes or more)
	$(BIN)/python -m tests.bench.interrupt

bench-imbalance: $(VENV)/.dev  ## what the task imbalance gains over writing it straight away (8 minutes)
	$(BIN)/python -m tests.bench.imbalance

bench-preload: $(VENV)/.dev  ## what preloading torch gains a run
	$(BIN)/python -m tests.bench.preload

bench-storm: $(VENV)/.dev  ## 200 runs, 20 of them hostile, with each sandbox: nothing may leak
	$(BIN)/python -m tests.bench.storm

bench-scale: $(VENV)/.dev $(VENV)-inspect/.done  ## many trials in one process: wall, CPU and memory, beside the bare SDK and Inspect AI
	$(BIN)/python -m tests.bench.scale --inspect $(VENV)-inspect/bin/python

bench-fixtures: $(VENV)/.dev  ## what fixtures of each test cost a suite: wall time with and without
	$(BIN)/python -m tests.bench.fixtures

bench-first-contact: $(VENV)/.dev  ## refused connections, a wrong key, an empty account, ...: how soon the user knows
	$(BIN)/python -m tests.bench.first_contact

bench-page: $(VENV)/.dev  ## report.html of 100, 1,000 and 3,000 trials: size, first view, opening a trial, in Chromium
	$(BIN)/python -m tests.bench.page

bench-money: $(VENV)/.dev  ## what runs say they cost, beside what the server was paid, however they end (5 minutes)
	$(BIN)/python -m tests.bench.money

bench-judged: $(VENV)/.dev  ## what judged runs say player and judges cost, beside what the server was paid (2 minutes)
	$(BIN)/python -m tests.bench.judged

bench-large: $(VENV)/.dev  ## seconds of each command of rltask, and of --resume, on runs of 5,000 trials (4 minutes)
	$(BIN)/python -m tests.bench.large_run

bench-ray: $(VENV)/.dev $(VENV)/.ray  ## four nodes of Ray: CPU of the driver, wall, and an account's quota (15 minutes)
	$(BIN)/python -m tests.bench.ray_nodes

bench-ray-kills: $(VENV)/.dev $(VENV)/.ray  ## kill workers, nodes and the driver at 20 random moments, then resume (15 minutes)
	$(BIN)/python -m tests.bench.ray_kills

bench-long: $(VENV)/.dev $(VENV)/.ray  ## 20,000 trials on four nodes, and a run of 100,000: memory, resume, report (an hour)
	$(BIN)/python -m tests.bench.long_run

bench-kills: $(VENV)/.dev  ## kill -9 at 30 random moments, then resume: what is lost, and what is paid twice
	$(BIN)/python -m tests.bench.kills

bench-defences: $(VENV)/.dev  ## remove each defence in turn: which test or audit goes red? (5 minutes)
	$(BIN)/python -m tests.bench.defences

$(VENV)-compat/uv/.done:
	$(PYTHON) -m venv $(VENV)-compat/uv
	$(VENV)-compat/uv/bin/python -m pip install --quiet --disable-pip-version-check $(UV)
	touch $@

bench-capabilities: $(VENV)/.dev  ## the baseline on several CPU capabilities: all trials must end alike (20 minutes or more)
	$(BIN)/python -m tests.bench.capability --seed $(SEED) --runs $(RUNS)

$(VENV)-inspect/.done:
	$(PYTHON) -m venv $(VENV)-inspect
	$(VENV)-inspect/bin/python -m pip install --quiet --disable-pip-version-check $(INSPECT_AI)
	touch $@

$(VENV)-mutants/.done:
	$(PYTHON) -m venv $(VENV)-mutants
	$(VENV)-mutants/bin/python -m pip install --quiet --disable-pip-version-check $(COSMIC_RAY)
	touch $@

bench-proof: $(VENV)/.dev  ## what the rule of proof risks, for several bands, and what it costs in runs (4 minutes)
	$(BIN)/python -m tests.bench.proof

bench-answers: $(VENV)-statsmodels/.done  ## how often `rltask compare` and `calibrate` are right, by simulation (5 minutes)
	$(VENV)-statsmodels/bin/python -m tests.bench.answers

$(VENV)-statsmodels/.done:
	$(PYTHON) -m venv $(VENV)-statsmodels
	$(VENV)-statsmodels/bin/python -m pip install --quiet --disable-pip-version-check $(STATSMODELS) --editable .
	touch $@

bench-three-ways: $(VENV)/.dev  ## the same trials by hand, by a policy and through the Messages API: equal? (10 minutes)
	for task in imbalance onnx_export; do $(BIN)/python -m tests.bench.three_ways --task $$task || exit 1; done

bench-sandbox: $(VENV)/.dev  ## what isolation adds to each run of an agent's code
	$(BIN)/python -m tests.bench.sandbox

$(VENV)/.venv:
	$(PYTHON) -m venv $(VENV)
	touch $@

# torch first: whatever depends on it would otherwise pull in the build for GPUs.
$(VENV)/.benchmarks: $(VENV)/.venv pyproject.toml benchmarks/requirements.txt $(CONSTRAINTS)
	$(PIP) $(TORCH)
	$(PIP) --editable . -r benchmarks/requirements.txt
	touch $@

$(VENV)/.dev: $(VENV)/.benchmarks tests/requirements.txt
	$(PIP) -r tests/requirements.txt
	touch $@

$(VENV)/.ray: $(VENV)/.dev
	$(PIP) --editable '.[ray]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-inspect $(VENV)-compat $(VENV)-mutants $(VENV)-statsmodels build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
