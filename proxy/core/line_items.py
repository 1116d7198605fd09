"""What the provider calls the lines of its bill, and which model and meter each of them is.

The names are free text, so rules say what they mean. A rule is a line's name in which one `*` may stand for
the model, or, where the rule says which model it is or that the line is not compared, for anything.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.core.rating import without_date
from proxy.core.usage import Meter

NAME_CHARS_MAX = 200
ANY = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """What lines of this name are. Without a meter they are not compared: nothing of ours."""

    name: str
    meter: Meter | None
    model: str | None = None  # None: what the `*` stands for

    def model_of(self, line_item: str) -> str | None:
        """Return the model of a line that this rule is about, "" where it is none; None if it is not."""
        front, star, back = self.name.casefold().partition(ANY)
        text = line_item.casefold()
        if not star:
            return (self.model or "") if text == front else None
        if len(text) <= len(front) + len(back) or not (text.startswith(front) and text.endswith(back)):
            return None
        return self.model or line_item[len(front) : len(line_item) - len(back)].strip()


@dataclass(frozen=True, slots=True)
class Meant:
    """What a line is about. Without a meter it is not compared."""

    model: str
    meter: Meter | None


class LineItems:
    """Rules, of which the most particular one that fits decides: `gpt-4o*` before `*, text input`."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = sorted(rules, key=_generality)

    def find(self, line_item: str) -> Meant | None:
        """Return what a line is; None where no rule is about it."""
        for rule in self._rules:
            model = rule.model_of(line_item)
            if model is not None:
                return Meant(without_date(model) if rule.meter else "", rule.meter)
        return None


def _generality(rule: Rule) -> tuple[int, int, str]:
    """Return what puts a rule behind others: little text before the star, then little text at all."""
    front, _, _ = rule.name.partition(ANY)
    return -len(front), -len(rule.name), rule.name


def rule_problem(rule: Rule) -> str | None:
    """Return why a rule cannot be used; None if it can."""
    if not rule.name.strip() or len(rule.name) > NAME_CHARS_MAX or not rule.name.isprintable():
        return f"A line's name has 1 to {NAME_CHARS_MAX} printable characters."
    if rule.name.count(ANY) > 1:
        return "A line's name has one * at most: it stands for the model."
    if rule.meter is not None and rule.model is None and ANY not in rule.name:
        return "Say which model it is: by a * in the line's name, or by its name."
    if rule.meter is None and rule.model is not None:
        return "A line that is not compared has no model."
    return None
