"""What Talkmeter is deployed with, read: compose file, image, manifests, systemd units, and what they set."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from proxy.children import END_S
from proxy.plane import FLUSH_S
from proxy.ports import SHUTDOWN_S
from proxy.relay.gateway import ENDING_S, SPREAD_S
from proxy.settings import PREFIX, Settings
from proxy.store.poster import HALT_S

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SCHEMAS = Path(__file__).parent / "schemas"
SETTINGS = {PREFIX + name.upper() for name in Settings.model_fields}
UNITS = ("talkmeter.service", "talkmeter-migrate.service")


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def schema(name: str) -> dict[str, Any]:
    """Return one of the published schemas."""
    loaded: dict[str, Any] = json.loads(read(SCHEMAS / name))
    return loaded


@cache
def compose() -> dict[str, Any]:
    """Return the compose file, its anchors resolved and its variables as they stand."""
    loaded: dict[str, Any] = yaml.safe_load(read(ROOT / "docker-compose.yml"))
    return loaded


@cache
def manifests() -> tuple[dict[str, Any], ...]:
    """Return all Kubernetes manifests."""
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    return tuple(one for file in files for one in yaml.safe_load_all(read(file)))


def manifest(kind: str, name: str = "talkmeter") -> dict[str, Any]:
    """Return the one manifest of this kind and name."""
    (found,) = (one for one in manifests() if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return found


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    """Return what a StatefulSet or a Job says of its pods."""
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def container(workload: dict[str, Any]) -> dict[str, Any]:
    """Return the only container of a StatefulSet's or a Job's pods."""
    (only,) = pod(workload)["containers"]
    assert isinstance(only, dict)
    return only


@dataclass(frozen=True, slots=True)
class Directive:
    """One line of a unit."""

    section: str
    name: str
    value: str


@cache
def unit(name: str) -> tuple[Directive, ...]:
    """Return the directives of a systemd unit, in their order."""
    found, section = [], ""
    for line in read(DEPLOY / "systemd" / name).splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.append(Directive(section, key, value))
    return tuple(found)


def directive(unit_name: str, name: str) -> str:
    """Return the value of a directive that stands once in a unit."""
    (value,) = (one.value for one in unit(unit_name) if one.name == name)
    return value


def variables(name: str) -> dict[str, str]:
    """Return what a template of an EnvironmentFile sets."""
    lines = read(DEPLOY / "systemd" / name).splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {key: value for key, _, value in pairs}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of the Dockerfile, its lines joined."""

    word: str
    rest: str


@cache
def image() -> tuple[tuple[Instruction, ...], ...]:
    """Return the Dockerfile's stages, the last of which is the image."""
    text = re.sub(r"^\s*#.*\n", "", read(ROOT / "Dockerfile"), flags=re.MULTILINE)
    stages: list[list[Instruction]] = []
    for line in text.replace("\\\n", "").splitlines():
        if line:
            word, _, rest = line.partition(" ")
            if word == "FROM":
                stages.append([])
            stages[-1].append(Instruction(word, rest.strip()))
    return tuple(map(tuple, stages))


def instructions(word: str) -> list[str]:
    """Return what follows this word in the image's own stage, in order."""
    return [one.rest for one in image()[-1] if one.word == word]


def image_environment() -> dict[str, str]:
    """Return the variables that the image sets."""
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(instructions("ENV"))))


def health_check() -> list[str]:
    """Return the image's health check: a program and its arguments."""
    (check,) = instructions("HEALTHCHECK")
    parsed: list[str] = json.loads(check.partition("CMD ")[2])
    return parsed


def default(name: str) -> Any:
    """Return what a setting is when nobody sets it."""
    return Settings.model_fields[name].default


def stop_s_max() -> float:
    """Return how long a stop can take with the settings that nobody set, in seconds.

    Sessions go on for `drain_s`; they are closed over `SPREAD_S`; their responses go on for up to twice
    `linger_s`; then come the last closes, once more if something had to be dropped. After that the control
    plane and what asks over HTTP are ended, and what the journal still holds is posted, or given up.
    """
    sessions_s = default("drain_s") + SPREAD_S + 2 * default("linger_s") + 2 * ENDING_S
    return float(sessions_s + END_S + 2 * SHUTDOWN_S + FLUSH_S + HALT_S)


def seconds(text: str) -> float:
    """Return a duration as compose and systemd write it, in seconds."""
    return float(text.removesuffix("s"))
