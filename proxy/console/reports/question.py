"""A question to the API as it stands in an address: its parameters, no more and no less.

Pure. What a form sends has fields that nobody filled in, and a group in each of several fields; a question
has neither, so that each question has one address.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from proxy.admin.api.comparisons import ComparisonParams
from proxy.admin.api.models import Input
from proxy.admin.api.problems import FieldError, Problem
from proxy.admin.api.reports import CostParams

GROUP_BY = "group_by"
PATH = "/reports"
_SHOWING = ("sort", "columns")  # how an answer is shown: not the API's


def params_of(model: type[Input]) -> tuple[str, ...]:
    """Return what the API calls the parameters of a route."""
    return tuple(one.alias or name for name, one in model.model_fields.items())


_ALWAYS = "quantities"  # pages show them
COSTS = tuple(name for name in params_of(CostParams) if name != _ALWAYS)
COMPARISON = params_of(ComparisonParams)


@dataclass(frozen=True, slots=True)
class Question:
    """Parameters by their names, none of them empty, and how the answer is shown."""

    given: Mapping[str, str] = field(default_factory=dict)
    showing: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> "Question":
        """Return the question that an address or a form asks.

        Raises:
            Problem: it says something twice, or what only the API can be told.
        """
        found: dict[str, str] = {}
        for name, value in pairs:
            if not (value := value.strip()):
                continue
            if name == _ALWAYS:
                raise _invalid(name, "leave it out: pages always show them")
            if name == GROUP_BY and name in found:
                found[name] += f",{value}"
            elif name in found:
                raise _invalid(name, "give it once")
            else:
                found[name] = value
        showing = {name: found.pop(name) for name in _SHOWING if name in found}
        return cls(found, showing)

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.get(GROUP_BY).split(",") if name.strip())

    def get(self, name: str) -> str:
        return self.given.get(name, "")

    def has(self, name: str) -> bool:
        return name in self.given

    def but(self, changes: Mapping[str, str | None]) -> "Question":
        """Return another question: with these parameters, without those that are None. Nothing is sorted."""
        kept: dict[str, str | None] = {**self.given, **changes}
        return Question(
            {name: value for name, value in kept.items() if value},
            {name: value for name, value in self.showing.items() if name != "sort"},
        )

    def by(self, groups: Sequence[str]) -> "Question":
        """Return the same question by other groups."""
        return self.but({GROUP_BY: ",".join(groups) or None})

    def shown(self, **changes: str | None) -> "Question":
        """Return the same question, whose answer is shown in another way."""
        kept: dict[str, str | None] = {**self.showing, **changes}
        return Question(self.given, {name: value for name, value in kept.items() if value})

    def only(self, names: Iterable[str]) -> "Question":
        """Return what of it is among `names`, to be asked of another route."""
        wanted = frozenset(names)
        return Question({name: value for name, value in self.given.items() if name in wanted})

    def href(self, path: str = PATH, **more: str) -> str:
        """Return its address."""
        said = {**self.given, **self.showing, **more}
        return path + (f"?{urlencode(said, errors='replace')}" if said else "")

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Return what a form has to carry for it."""
        return [*self.given.items(), *self.showing.items()]


def _invalid(name: str, what: str) -> Problem:
    return Problem("invalid", f"{name}: {what}", [FieldError("query", f"#/{name}", what)])
