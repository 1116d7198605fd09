"""What the API did not accept of a form, by the field that it is about."""

from collections.abc import Mapping

from proxy.admin.api.problems import Problem


def errors_of(problem: Problem | None) -> Mapping[str, str]:
    """Return what is wrong with each value, by its name; empty where nothing is, or nothing by name."""
    if problem is None:
        return {}
    return {error.pointer.removeprefix("#/"): error.detail for error in problem.errors}


def raise_unless_told(problem: Problem) -> None:
    """Raise what no form can put right: somebody who may not ask, or a server that does not answer."""
    if problem.status >= 500 or problem.kind in ("unauthorized", "forbidden"):
        raise problem
