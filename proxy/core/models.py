"""Which models a tenant or an API key may use."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from proxy.core.rating import without_date
from proxy.core.refusal import Refusal, model_not_allowed

ANY_END = "*"


@dataclass(frozen=True, slots=True)
class ModelRule:
    """One rule. `model` is a name, or the beginning of names if it ends in `*`."""

    model: str
    allowed: bool

    def covers(self, names: Iterable[str]) -> bool:
        if self.model.endswith(ANY_END):
            return any(name.startswith(self.model[: -len(ANY_END)]) for name in names)
        return any(name == self.model for name in names)


@dataclass(frozen=True, slots=True)
class ModelRules:
    """The rules of all owners that enclose a session: every one of them has to agree.

    Of one owner's rules a denial that covers the model wins. Where there are rules that allow, only
    what one of them covers is allowed. A rule for a model covers its dated snapshots too, and the
    deployments that stand for it (`aliases`: deployment to model).
    """

    owners: tuple[tuple[ModelRule, ...], ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)

    def refusal(self, model: str | None) -> Refusal | None:
        """Return why `model` may not be used; None for one that is not named yet."""
        if model is None or not self.owners:
            return None
        names = {model, self.aliases.get(model, model)}
        names |= {without_date(name) for name in names}
        return None if all(_agrees(rules, names) for rules in self.owners) else model_not_allowed(model)


ALL_MODELS = ModelRules()


def _agrees(rules: Iterable[ModelRule], names: Iterable[str]) -> bool:
    covering = [rule for rule in rules if rule.covers(names)]
    if any(not rule.allowed for rule in covering):
        return False
    return bool(covering) or not any(rule.allowed for rule in rules)
