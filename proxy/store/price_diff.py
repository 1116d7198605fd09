"""Published prices beside our rate cards: what would change, before anything does."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from proxy.core.rating import PUBLIC, CardBook, Price
from proxy.core.usage import Meter
from proxy.store import StoreError
from proxy.store.card_files import NewCard
from proxy.store.published_prices import Published


class What(StrEnum):
    """How a published price stands to ours."""

    SAME = "same"
    CHANGED = "changed"
    NEW = "new"
    KEPT = "kept"  # ours, which the file does not have


@dataclass(frozen=True, slots=True)
class MeterDiff:
    """One price: `ours` as it holds now, `published` by the file; None where there is none."""

    meter: Meter
    what: What
    ours: Price | None
    published: Price | None


@dataclass(frozen=True, slots=True)
class ModelDiff:
    """One model. `card` is what to add for it; None if nothing differs, or nothing can be taken."""

    model: str
    meters: tuple[MeterDiff, ...]
    left_out: tuple[str, ...]
    card: NewCard | None


def diff(
    published: Iterable[Published],
    book: CardBook,
    *,
    provider: str,
    models: Collection[str],
    effective_from: datetime,
    source: str,
    owner: str = PUBLIC,
) -> tuple[ModelDiff, ...]:
    """Return what the file says of `models`; of none named, of those that speak, transcribe or have a card.

    Raises:
        StoreError: a model that was named is not in the file.
    """
    found = {one.model: one for one in published}
    if missing := sorted(set(models) - found.keys()):
        raise StoreError(f"The file has no model {missing[0][:100]!r}: nothing was compared.")
    wanted = [found[name] for name in dict.fromkeys(models)] if models else found.values()
    compared = []
    for one in wanted:
        ours = book.find(provider, one.model, effective_from, owner)
        if models or one.is_voice or ours:
            prices: Mapping[Meter, Price] = ours.prices if ours else {}
            meters = tuple(_meters(one, prices))
            is_news = any(each.what in (What.NEW, What.CHANGED) for each in meters)
            card = NewCard(provider, one.model, effective_from, source, {**prices, **one.prices}, owner)
            compared.append(ModelDiff(one.model, meters, one.left_out, card if is_news else None))
    return tuple(sorted(compared, key=lambda each: each.model))


def _meters(one: Published, ours: Mapping[Meter, Price]) -> Iterator[MeterDiff]:
    for meter in Meter:
        mine, theirs = ours.get(meter), one.prices.get(meter)
        if mine is None and theirs is None:
            continue
        if theirs is None:
            what = What.KEPT
        elif mine is None:
            what = What.NEW
        else:
            what = What.SAME if mine == theirs else What.CHANGED
        yield MeterDiff(meter, what, mine, theirs)
