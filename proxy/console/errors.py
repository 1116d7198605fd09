"""What the API did not accept of a form, by the field that it is about."""

from collections.abc import Iterable, Mapping
from typing import Any

from proxy.admin.api.problems import Problem

_FILTERS = "filters"  # the body of a saved report has those fields of its form within


def errors_of(problem: Problem | None, called: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what is wrong with which field, by its name; of what is within a list, by the list's.

    `called` has what the form calls things that the API calls otherwise.
    """
    found: dict[str, str] = {}
    for error in () if problem is None else problem.errors:
        first, _, rest = error.pointer.removeprefix("#").strip("/").partition("/")
        name = rest.partition("/")[0] if first == _FILTERS and rest else first
        if name:
            found.setdefault((called or {}).get(name, name), error.detail)
    return found


def unplaced(
    problem: Problem | None, fields: Iterable[str], called: Mapping[str, str] | None = None
) -> Mapping[str, Any] | None:
    """Return a problem that no field of a form can show."""
    if problem is None:
        return None
    is_placed = problem.errors and set(errors_of(problem, called)) <= frozenset(fields)
    return None if is_placed else problem.as_json()


def raise_unless_told(problem: Problem) -> None:
    """Raise what no form can put right: somebody who may not ask, or a server that does not answer."""
    if problem.status >= 500 or problem.kind in ("unauthorized", "forbidden"):
        raise problem
