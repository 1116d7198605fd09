# `make run` and `make test` set everything up by themselves; `make help` says the rest.
# Only relative paths and `python -m`, so that the clone may lie anywhere, spaces included.

PY := .venv/bin/python
# Where Python must not keep what it compiled, each of the hundreds of processes that the tests start
# compiles everything again: that is half of what a run takes.
unexport PYTHONDONTWRITEBYTECODE
ARGS ?=
# More than there are cores: many tests wait for sockets and processes.
JOBS ?= 4
# In the order of files as tests/conftest.py has it, not the largest files first.
TESTS := -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
LOCK := $(PY) -m uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
	--no-emit-find-links --python-version 3.11 --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help run test check format bench faults soak shots lock venv-run venv-dev clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 @/p' Makefile | awk -F@ '{ printf "%-16s %s\n", $$1, $$2 }'

run: venv-run ## a demonstration that needs nothing: conversations through the proxy, with their cost
	@$(PY) -m proxy demo $(ARGS)

test: venv-dev ## all tests (ARGS="-k money" for some, JOBS=0 for one after the other)
	@sh requirements/debian.sh
	@sh requirements/compile.sh
	@$(PY) $(TESTS) $(ARGS)

check: venv-dev ## format, lint, types, tests
	@$(PY) -m ruff format --check
	@$(PY) -m ruff check
	@$(PY) -m mypy --strict
	@sh requirements/debian.sh
	@sh requirements/compile.sh
	@$(PY) $(TESTS) $(ARGS)

format: venv-dev ## format and fix what ruff can fix
	@$(PY) -m ruff format
	@$(PY) -m ruff check --fix

bench: venv-dev ## what a relayed message costs, budgets, a ledger of ten million lines, all pages, scaling (hours)
	@$(PY) -m tests.bench $(ARGS)

# Each may be set: `make faults TEST_KILLS_SERVE=3000 TEST_SEED=1`.
faults: export TEST_KILLS_SERVE ?= 300
faults: export TEST_KILLS ?= 300
faults: export TEST_UNKNOWN_KEYS ?= 100000
faults: venv-dev ## crash and fault tests at length: 600 times kill -9, 100,000 unknown keys (15 minutes)
	@$(PY) -m pytest -q -s tests/faults $(ARGS)

soak: export TEST_SHARING_RUNS ?= 300
soak: export TEST_LEDGER_LINES ?= 1000000
soak: export TEST_CONVERSATIONS ?= 200
soak: venv-dev ## instances share a budget, are killed and cut off: 300 runs; 200 conversations while they restart; a million lines (two hours)
	@$(PY) -m pytest -q -s --timeout 7200 tests/store/test_generated_ledger.py tests/faults/test_sharing.py tests/e2e/test_fleet.py $(ARGS)

shots: venv-dev ## pictures of every page of the console, light and dark, at three widths, in shots/ (ARGS=--readme: the README's)
	@sh requirements/debian.sh chromium
	@$(PY) -m tests.console.shots $(ARGS)

# Development first, running second and held to the same versions, so that what was tested is what
# runs. The extra `postgres` is in both: DATABASE_URL=postgresql://… then works in any checkout.
lock: venv-dev ## lock the dependencies again (ARGS=--upgrade for newer ones)
	@$(LOCK) $(ARGS) --extra postgres --group dev pyproject.toml -o requirements/dev.txt
	@$(LOCK) --upgrade --extra postgres -c requirements/dev.txt pyproject.toml -o requirements/run.txt
	@echo uv | $(LOCK) $(ARGS) - -o requirements/uv.txt

venv-run:
	@sh requirements/venv.sh run

venv-dev:
	@sh requirements/venv.sh dev

clean: ## remove .venv and what the tools left behind
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
