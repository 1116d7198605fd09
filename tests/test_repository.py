"""What lies at the top of the repository: lock files, Makefile, container files, no machine's paths."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from proxy.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

VARIABLES = {PREFIX + name.upper() for name in Settings.model_fields}


def pins(lock: Path) -> dict[str, str]:
    """Return the locked versions, each with its marker; a package may be there once a marker."""
    lines = re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==(\S+)( ;[^\\]+)?", lock.read_text(), re.MULTILINE)
    return {name + marker.strip(): version for name, version, marker in lines}


def requirements(lock: Path) -> list[str]:
    """Return the lock's entries, each with its continuation lines, comments left out."""
    lines = [line for line in lock.read_text().splitlines() if not line.lstrip().startswith("#")]
    return [entry for entry in re.split(r"\n(?=\S)", "\n".join(lines)) if entry.strip()]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=;! ]", text, maxsplit=1)[0].lower() for text in requirements}


def test_the_lock_files_are_there() -> None:
    assert [lock.name for lock in LOCKS] == ["dev.txt", "run.txt", "uv.txt"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_locks_name_no_index_and_no_place(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text and " @ " not in text
    options = [line for line in text.splitlines() if line.startswith("-")]
    assert options == []
    assert not re.search(r"(?<![\w.])/(?!/)", text), "a path"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_locked_package_has_hashes(lock: Path) -> None:
    entries = requirements(lock)
    assert entries
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert [entry.split()[0] for entry in entries if "==" not in entry.splitlines()[0]] == []


def test_what_runs_is_what_was_tested() -> None:
    run, dev = (pins(ROOT / "requirements" / name) for name in ("run.txt", "dev.txt"))
    versions = {name.partition(";")[0]: version for name, version in dev.items()}
    assert {n: v for n, v in run.items() if versions.get(n.partition(";")[0]) != v} == {}


def test_the_locks_hold_what_the_project_asks_for() -> None:
    run, dev = (
        {name.partition(";")[0] for name in pins(ROOT / "requirements" / name)}
        for name in ("run.txt", "dev.txt")
    )
    runtime = names(PROJECT["project"]["dependencies"])
    postgres = names(PROJECT["project"]["optional-dependencies"]["postgres"])
    tools = names(PROJECT["dependency-groups"]["dev"])
    assert runtime | postgres <= run
    assert {name.lower() for name in tools} <= dev
    assert not run & (tools - runtime - postgres), "tools have no place in what runs"


@pytest.mark.parametrize(
    "target", ["run", "test", "check", "format", "bench", "faults", "lock", "clean", "help"]
)
def test_makefile_targets(target: str) -> None:
    assert re.search(rf"^{target}:.*## \w", MAKEFILE, re.MULTILINE)
    assert target in re.findall(r"^\.PHONY:(.*)$", MAKEFILE, re.MULTILINE)[0].split()


def test_every_module_that_make_runs_exists() -> None:
    for module in re.findall(r"\$\(PY\) -m (tests\S*)", MAKEFILE):
        path = ROOT.joinpath(*module.split("."))
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_make_says_what_there_is() -> None:
    said = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "make run" in said and "make test" in said


def test_ci_runs_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text()


def test_compose_names_settings_that_exist() -> None:
    services: dict[str, Any] = COMPOSE["services"]
    for name in ("talkmeter-1", "talkmeter-2", "migrate"):
        given = {n for n in services[name]["environment"] if n.startswith(PREFIX)}
        assert given and given <= VARIABLES
    assert "healthcheck" in services["postgres"]


def test_compose_serves_as_a_role_that_owns_nothing() -> None:
    services: dict[str, Any] = COMPOSE["services"]
    owner, app = (
        urlsplit(services[name]["environment"]["TALKMETER_DATABASE_URL"].partition(":${")[0]).netloc
        for name in ("migrate", "talkmeter-1")
    )
    assert owner == services["postgres"]["environment"]["POSTGRES_USER"] != app
    assert services["migrate"]["command"] == ["migrate", "--app-role", app]
    assert COMPOSE["configs"]["role"]["content"].startswith(f"CREATE ROLE {app} LOGIN ")


def test_compose_needs_the_secrets_that_have_no_default() -> None:
    environment = COMPOSE["services"]["talkmeter-1"]["environment"]
    assert environment["TALKMETER_KEY_PEPPER"].startswith("${TALKMETER_KEY_PEPPER:?")


def test_the_image_names_settings_that_exist() -> None:
    assert set(re.findall(rf"{PREFIX}[A-Z_]+", DOCKERFILE)) <= VARIABLES


def test_the_image_is_made_from_the_lock_and_runs_as_a_user_of_its_own() -> None:
    assert "sh requirements/venv.sh run" in DOCKERFILE
    assert re.search(r"^USER (?!root)\w+", DOCKERFILE, re.MULTILINE)


def test_the_images_health_check_is_a_program() -> None:
    joined = DOCKERFILE.replace("\\\n", "")
    (line,) = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", joined, re.MULTILINE)
    python, option, program = json.loads(line)
    assert (python, option) == ("python", "-c")
    ast.parse(program)


def test_the_versions_agree() -> None:
    from proxy import __version__

    assert PROJECT["project"]["version"] == __version__


def test_the_wheel_holds_the_code_and_the_migrations(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(path.relative_to(ROOT)) for path in sources_in("proxy")}
    migrations = {f"proxy/{path.relative_to(ROOT)}" for path in sources_in("migrations")}
    assert sources | migrations <= held
    assert "proxy/store/rate_cards.json" in held


def sources_in(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_no_machines_paths_in_the_tree() -> None:
    """Nothing in the tree may know where it was written."""
    homes = re.compile(r"/(?:work|root|Users|home)/[\w.-]+")
    found = []
    for path in tracked():
        if not path.is_file() or path == Path(__file__):
            continue
        text = path.read_bytes().decode(errors="ignore")
        found += [f"{path.relative_to(ROOT)}: {match}" for match in homes.findall(text)]
    assert found == []


def test_a_venv_of_a_python_that_was_replaced_is_built_anew(tmp_path: Path) -> None:
    """An upgrade of the system replaces `python3`: what was installed lies in the old version's folder."""
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("run", "dev"):
        shutil.copy(ROOT / "requirements" / f"{name}.txt", tmp_path / ".venv" / f".installed-{name}.txt")
    programs = {
        ".venv/bin/python": f'exec "{sys.executable}" -S -I "$@"',  # it finds nothing that is installed
        ".venv/bin/pip": "exit 0",
        "python": f'[ "$2" = venv ] && echo "$@" > built && exit 1; exec "{sys.executable}" "$@"',
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    settings = {**os.environ, "PYTHON": str(tmp_path / "python")}
    command = ["sh", "requirements/venv.sh", "run"]
    subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, check=False)
    assert (tmp_path / "built").read_text(encoding="utf-8") == "-m venv .venv\n"
