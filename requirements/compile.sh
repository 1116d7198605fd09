#!/bin/sh
# In a fresh clone, compiles the tests and all that they load, in two jobs: `sh requirements/compile.sh`. Otherwise each
# job of a run would do all of it for itself, which takes longer than anything else that they do.
set -eu

if [ -d tests/core/__pycache__ ]; then exit; fi

collect() { # what is wrong with a test is said by the run that follows
    .venv/bin/python -m pytest --collect-only -qq "$@" >/dev/null 2>&1 || :
}

collect tests/admin tests/bench tests/cli tests/console tests/exports &
collect tests/core tests/dashboards tests/deploy tests/e2e tests/faults tests/relay tests/simulator tests/store &
wait
