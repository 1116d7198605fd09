#!/bin/sh
# Builds `.venv` from the lock files, or brings it up to date: `sh requirements/venv.sh run|dev`.
#
# `run` is what Talkmeter needs, `dev` is that and the tools for its tests. A `.venv` that already has
# the tools keeps them when `run` is asked for. What was installed is kept as a copy of its lock file
# in `.venv`, so that a fresh clone, a `git pull` and a copied folder are all told apart by content.
set -eu

want=$1
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

new_enough() { # a Python that is there, runs, and is 3.11 or newer
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        new_enough "$PYTHON" && { printf '%s\n' "$PYTHON"; return; }
        say "PYTHON=$PYTHON is not Python 3.11 or newer."
        return 1
    fi
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
        new_enough "$candidate" && { printf '%s\n' "$candidate"; return; }
    done
    say "Talkmeter needs Python 3.11 or newer. None was found: install one, or name it:"
    say "    make PYTHON=/path/to/python3.13 …"
    return 1
}

build() {
    python=$(find_python)
    say "Building .venv with $("$python" --version)"
    rm -rf .venv
    if ! "$python" -m venv .venv; then
        rm -rf .venv
        say ""
        say "This Python cannot make virtual environments. On Debian and Ubuntu the part is a package"
        say "of its own: apt install python3-venv. Then run make again."
        return 1
    fi
}

install_uv() {
    cmp -s requirements/uv.txt .venv/.installed-uv.txt && return
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --require-hashes --no-deps -r requirements/uv.txt
    cp requirements/uv.txt .venv/.installed-uv.txt
}

sync() { # exactly what the lock file says, nothing more
    rm -f .venv/.installed-run.txt .venv/.installed-dev.txt
    .venv/bin/python -m uv pip sync --quiet --python .venv/bin/python --require-hashes "requirements/$1.txt"
    cp requirements/run.txt .venv/.installed-run.txt # the development lock holds all of it
    if [ "$1" = dev ]; then cp requirements/dev.txt .venv/.installed-dev.txt; fi
}

add_command() { # `.venv/bin/talkmeter` runs this checkout, wherever it lies and from any folder
    cat >.venv/bin/talkmeter <<'COMMAND'
#!/bin/sh
root=$(cd "$(dirname "$0")/../.." && pwd)
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "$root/.venv/bin/python" -m proxy "$@"
COMMAND
    chmod +x .venv/bin/talkmeter
}

installed() { cmp -s "requirements/$1.txt" ".venv/.installed-$1.txt"; }

# pip comes last in a build. It is not found when the system's Python was replaced by another version since.
if ! { new_enough .venv/bin/python && [ -x .venv/bin/pip ] && .venv/bin/python -c 'import pip' 2>/dev/null; }; then build; fi
if [ -f .venv/.installed-dev.txt ]; then want=dev; fi
if ! { installed run && installed "$want"; }; then
    say "Installing what requirements/$want.txt locks"
    install_uv
    sync "$want"
    add_command
fi
