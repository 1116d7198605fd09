"""A form whose thing somebody else has changed meanwhile: what it is now, beside what was typed. Pure.

Such a form comes back with the ETag of what is there now: who sends it again replaces that, and knows it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from proxy.admin.api.problems import Problem

_KINDS = ("stale", "precondition-required")  # the second where somebody has set what was not set


class Differs(NamedTuple):
    """A field that is not what was typed."""

    label: str
    now: str
    typed: str


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """What somebody else did: `is_gone` where it is not there any more. `object` is it in the audit log."""

    object: str
    differs: Sequence[Differs]
    is_gone: bool = False


def is_stale(problem: Problem | None) -> bool:
    """Tell whether a change was refused since another one came before it."""
    return problem is not None and problem.kind in _KINDS


def differing(
    labels: Mapping[str, str],
    now: Mapping[str, str],
    typed: Mapping[str, str],
    words: Mapping[str, Mapping[str, str]] | None = None,
) -> list[Differs]:
    """Return the fields of `labels` that are not what was typed; `words` says what values of a field mean."""

    def text(name: str, fields: Mapping[str, str]) -> str:
        value = fields.get(name, "")
        return (words or {}).get(name, {}).get(value, value)

    both = ((label, text(name, now), text(name, typed)) for name, label in labels.items())
    return [Differs(*one) for one in both if one[1] != one[2]]
