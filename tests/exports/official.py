"""The official validator of FOCUS 1.2, in an environment of its own: it wants CPython 3.12.

It ends with 0 whatever it finds, reads its tables relative to where it is started, and does not import with
the newest pyarrow. Two of its rules say that an invoice's id must and must not be null, each for all rows.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.trust import trusting_as_given

REQUIREMENTS = ("focus-validator==2.2.1", "pyarrow<26")
CONTRADICTIONS = frozenset({"InvoiceId-C-004-C", "InvoiceId-C-005-C"})  # one always fails, for each row
INSTALL_S = 300
VALIDATE_S = 300
_CRITERIA = (
    *("ACCOUNT_NAMING_SUPPORTED", "MULTIPLE_BILLING_ACCOUNT_TYPES_SUPPORTED", "SUB_ACCOUNT_SUPPORTED"),
    *("MULTIPLE_SUB_ACCOUNT_TYPES_SUPPORTED", "MULTIPLE_PRICING_CATEGORIES_SUPPORTED", "TAGGING_SUPPORTED"),
    *("NEGOTIATED_PRICING_SUPPORTED", "PUBLIC_PRICE_LIST_SUPPORTED", "UNIT_PRICING_SUPPORTED"),
    "USAGE_MEASUREMENT_SUPPORTED",
)
_FAILURE = re.compile(r"^- (\S+?): ", re.MULTILINE)


class NoValidator(Exception):
    """There is no validator, and none can be had; says how to get one."""


def installed(cache: Path) -> Path:
    """Return the folder of an environment with the validator, made in `cache` when it is not there yet.

    Raises:
        NoValidator: no CPython 3.12, or no package index.
    """
    place = cache / "focus-validator-2.2.1"
    if (place / "bin/focus-validator").exists():
        return place
    python = next(_pythons(), None)
    if python is None:
        raise NoValidator(f"no CPython 3.12 in PATH or ~/.pyenv. With one: {_recipe('python3.12', place)}")
    cache.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        for command in _commands(str(python), part):
            subprocess.run(
                command, check=True, capture_output=True, timeout=INSTALL_S, env=trusting_as_given()
            )
        part.rename(place)
    except (subprocess.SubprocessError, OSError) as problem:
        raise NoValidator(f"{problem}. By hand: {_recipe(str(python), place)}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return place


def _pythons() -> Iterator[Path]:
    for found in (shutil.which("python3.12"), *sorted(Path.home().glob(".pyenv/versions/3.12*/bin/python"))):
        if found is not None and _is_3_12(Path(found)):
            yield Path(found)


def _is_3_12(python: Path) -> bool:
    """A shim may lie in PATH for a version that is not activated."""
    code = "import sys; sys.exit(sys.version_info[:2] != (3, 12))"
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


def _commands(python: str, place: Path) -> list[list[str]]:
    return [
        [python, "-m", "venv", "--without-pip", str(place)],
        [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(place), *REQUIREMENTS],
    ]


def _recipe(python: str, place: Path) -> str:
    return " && ".join(
        " ".join(f"'{word}'" if "<" in word else word for word in c) for c in _commands(python, place)
    )


def failures(place: Path, file: Path) -> set[str]:
    """Return the ids of the rules that a file of version 1.2 fails.

    Raises:
        AssertionError: the validator did not come to an end.
    """
    (packages,) = place.glob("lib/python3.12/site-packages")
    command = [str(place / "bin/python"), str(place / "bin/focus-validator")]
    command += ["--data-file", str(file), "--validate-version", "1.2.0.1", "--block-download"]
    command += ["--focus-dataset", "CostAndUsage", "--applicability-criteria", ",".join(_CRITERIA)]
    done = subprocess.run(
        command, cwd=packages, capture_output=True, text=True, timeout=VALIDATE_S, check=False
    )
    assert done.returncode == 0 and "Total:" in done.stdout, done.stdout[-2_000:] + done.stderr[-2_000:]
    _, _, failed = done.stdout.partition("--- Failures")
    return set(_FAILURE.findall(failed))
