"""Which of the models that are used, or may be, have no price now. Pure: what is in the database is given."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from proxy.checks.findings import Finding, failed, ok, warning
from proxy.core.models import ANY_END
from proxy.core.rating import CONTRACT, PUBLIC, CardBook, RateCard
from proxy.core.usage import Meter
from proxy.store.our_side import PROVIDER

LATELY = timedelta(days=30)
SOON = timedelta(days=30)
NAMES_MAX = 10  # shown
_TO_DO = "give it prices: `talkmeter prices import FILE`, or `talkmeter prices set`"


def rate_cards(cards: Sequence[RateCard], now: datetime) -> Finding:
    """Return how many cards there are, and which models get other prices soon."""
    if not cards:
        text = "there is no rate card, so nothing would have a price"
        return failed("rate cards", text, "run `talkmeter migrate`: it adds those that this version has")
    coming = [card for card in cards if now < card.effective_from <= now + SOON]
    changes = [f"{card.model} on {card.effective_from:%Y-%m-%d}" for card in coming]
    return ok("rate cards", f"{len(cards):,}" + (f"; new prices: {_some(changes)}" if changes else ""))


def models(
    cards: Sequence[RateCard],
    aliases: Mapping[str, str],
    used: Mapping[str, frozenset[Meter]],
    allowed: Iterable[str],
    now: datetime,
) -> Finding:
    """Return whether everything used lately has a price now, and what rules and aliases name."""
    book = CardBook(cards, aliases)
    unpriced = [text for model in sorted(used) if (text := _unpriced(book, model, used[model], now))]
    named = sorted({*allowed, *aliases} - used.keys())
    unknown = [model for model in named if not _has_card(book, cards, model, now)]
    if unpriced:
        text = f"used in the last {LATELY.days} days and without a price now: {_some(unpriced)}"
        why = "what it costs is unknown until then, and where a budget has an amount it is refused"
        return failed("models", text, f"{_TO_DO}; {why}")
    if unknown:
        text = f"named in a rule or in TALKMETER_MODEL_ALIASES, and without a price now: {_some(unknown)}"
        return warning("models", text, f"{_TO_DO}, or correct the name")
    return ok(
        "models", f"{len(used)} used in the last {LATELY.days} days, {len(named)} more named: all priced"
    )


def _unpriced(book: CardBook, model: str, meters: frozenset[Meter], now: datetime) -> str | None:
    """Return the model, and the meters that its card lacks; None where it has all."""
    card = book.cost_card(PROVIDER, model, now)
    if card is None:
        return model
    lacking = sorted(meters - card.prices.keys())
    return f"{model} ({', '.join(lacking)})" if lacking else None


def _has_card(book: CardBook, cards: Iterable[RateCard], model: str, now: datetime) -> bool:
    """Return whether a model has a card, or any model that a pattern covers."""
    if not model.endswith(ANY_END):
        return book.cost_card(PROVIDER, model, now) is not None
    begins = model[: -len(ANY_END)]
    return any(
        card.model.startswith(begins) and card.effective_from <= now and card.owner in (PUBLIC, CONTRACT)
        for card in cards
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return ", ".join(names[:NAMES_MAX]) + more
