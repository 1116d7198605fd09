"""Expositions of several workers as one: each family once, each series with the worker that it is of.

Works on the text, in Prometheus's format and in OpenMetrics', as `prometheus_client` writes them: lines of
comments that begin a family, lines of samples that follow them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

END = "# EOF"  # the last line of OpenMetrics


@dataclass(slots=True)
class _Family:
    """What describes a family, and its samples."""

    comments: dict[str, None] = field(default_factory=dict)  # in order, each once
    samples: list[str] = field(default_factory=list)


def joined(bodies: Mapping[str, bytes]) -> bytes:
    """Return one exposition of those in `bodies`, by worker; without the line that ends OpenMetrics."""
    families: dict[str, _Family] = {}
    for worker, body in bodies.items():
        family = _Family()
        for line in body.decode().split("\n"):
            if line.startswith("# ") and line != END:
                family = families.setdefault(line.split(" ", 3)[2], _Family())
                family.comments[line] = None
            elif line and line != END:
                family.samples.append(labelled(line, worker))
    lines = [line for family in families.values() for line in (*family.comments, *family.samples)]
    return "".join(f"{line}\n" for line in lines).encode()


def labelled(sample: str, worker: str) -> str:
    """Return the line of a sample with the label `worker`; an exemplar behind it keeps its own labels."""
    name, space, value = sample.partition(" ")
    name, brace, label = name.partition("{")
    if not brace:
        return f'{name}{{worker="{worker}"}} {value}'
    comma = "" if label.startswith("}") else ","
    return f'{name}{{worker="{worker}"{comma}{label}{space}{value}'
