"""Rate cards in files: our own JSON, and CSV with one price a row.

`docs/rate-cards.md` describes both. A file is read whole or not at all: every fault is told with
its place and what is expected there, so that one round of corrections is enough.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import msgspec

from proxy.core.money import NANOUSD_PER_USD
from proxy.core.rating import PER_MINUTE, PER_TOKEN, PUBLIC, Price
from proxy.core.usage import Meter
from proxy.store import StoreError
from proxy.store.instants import parse_instant

FORMAT = "talkmeter-rate-cards/1"
DOLLAR_DIGITS_MAX = 30  # before or after the point: what has more neither overflows nor becomes 0
FILE_CHARS_MAX = 8 * 1024 * 1024
CARDS_MAX = 50_000
FAULTS_SHOWN_MAX = 20
NAME_CHARS_MAX = 200
SOURCE_CHARS_MAX = 2_000
# A line is at most a milliard units: at this price its amount still fits a BIGINT, and so does an entry's.
PRICE_NANOUSD_MAX = NANOUSD_PER_USD

METERS = tuple(m for m in Meter if m not in (Meter.UNTOLD_IN, Meter.UNTOLD_OUT))
COLUMNS = ("provider", "model", "effective_from", "meter", "usd", "per", "source")
_FIELDS = ("provider", "model", "effective_from", "checked_on", "source", "prices")

FileFormat = Literal["json", "csv"]


@dataclass(frozen=True, slots=True)
class NewCard:
    """A rate card that is not in the database yet."""

    provider: str
    model: str
    effective_from: datetime
    source: str
    prices: Mapping[Meter, Price]
    owner: str = PUBLIC  # or CONTRACT, or a tenant's id

    @property
    def name(self) -> str:
        whose = "" if self.owner == PUBLIC else f" ({self.owner})"
        return f"{self.provider}/{self.model} from {self.effective_from:%Y-%m-%dT%H:%M:%SZ}{whose}"


def parse_cards(text: str, format: FileFormat) -> tuple[NewCard, ...]:
    """Return the cards of a file.

    Raises:
        StoreError: anything in it is wrong; a line for each fault (the first twenty).
    """
    if len(text) > FILE_CHARS_MAX:
        raise StoreError(f"The file has more than {FILE_CHARS_MAX:,} characters: split it.")
    reading = _Reading()
    cards = tuple(reading.from_json(text) if format == "json" else reading.from_csv(text))
    reading.refuse_faults()
    if not cards:
        raise StoreError("The file has no rate cards.")
    return cards


def parse_price(meter: Meter, usd: str, per: str) -> Price:
    """Return the price of `usd` dollars per million tokens, per minute, or for each token.

    Raises:
        ValueError: not a price, or one that is not whole in nano-dollars.
    """
    if (meter is Meter.DURATION_MS) != (per == "minute"):
        raise ValueError(f"{meter} is priced per {'minute' if per != 'minute' else 'million or each'}")
    units = {"million": 1_000_000, "minute": 1, "each": 1}.get(per)
    if units is None:
        raise ValueError(f"{per[:20]!r} is not one of million, minute, each")
    nanousd = _dollars(usd) * NANOUSD_PER_USD / units
    if nanousd != nanousd.to_integral_value():
        finest = "0.001 per million" if per == "million" else "nine decimals"
        raise ValueError(f"{usd!r} is finer than a nano-dollar for each unit ({finest})")
    if not 0 <= nanousd <= PRICE_NANOUSD_MAX:
        raise ValueError(f"{usd!r} is not between 0 and one dollar for each token or minute")
    return Price(int(nanousd), PER_MINUTE if per == "minute" else PER_TOKEN)


def _dollars(text: str) -> Decimal:
    try:
        value = Decimal(text) if len(text) <= 30 else None
    except InvalidOperation:
        value = None
    if value is None or not value.is_finite() or abs(value.adjusted()) > DOLLAR_DIGITS_MAX:
        raise ValueError(f"{text[:30]!r} is not an amount in dollars, such as 32.00")
    return value


def price_text(price: Price) -> tuple[str, str]:
    """Return a price as people write it: dollars, and `million` or `minute`."""
    if price.per == PER_MINUTE:
        return _plain(Decimal(price.nanousd) / NANOUSD_PER_USD), "minute"
    return _plain(Decimal(price.nanousd * 1_000_000) / NANOUSD_PER_USD), "million"


def _plain(value: Decimal) -> str:
    """Return a decimal with at least two places and no superfluous zeros."""
    text = f"{value:f}"
    whole, _, places = text.partition(".")
    return f"{whole}.{places.rstrip('0').ljust(2, '0')}"


class _Reading:
    """A file on its way to cards, with the faults found so far."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def fault(self, place: str, problem: str) -> None:
        self.faults.append(f"{place}: {problem}" if place else problem)

    def refuse_faults(self) -> None:
        if not self.faults:
            return
        shown = self.faults[:FAULTS_SHOWN_MAX]
        more = len(self.faults) - len(shown)
        if more:
            shown.append(f"… and {more} more")
        raise StoreError("Nothing was imported:\n" + "\n".join(f"  {line}" for line in shown))

    # --- JSON

    def from_json(self, text: str) -> Iterator[NewCard]:
        try:
            document = msgspec.json.decode(text.encode("utf-8", "replace"))
        except (msgspec.DecodeError, RecursionError) as error:
            self.fault("", f"This is not JSON: {error}")
            return
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            self.fault("format", f'expected {{"format": "{FORMAT}", "cards": […]}} at the top')
            return
        cards = document.get("cards")
        if not isinstance(cards, list) or len(cards) > CARDS_MAX:
            self.fault("cards", f"expected a list of at most {CARDS_MAX:,} cards")
            return
        yield from self._distinct((f"cards[{i}]", card) for i, card in enumerate(cards))

    def _distinct(self, cards: Iterator[tuple[str, object]]) -> Iterator[NewCard]:
        seen: dict[tuple[str, str, datetime], str] = {}
        for place, raw in cards:
            card = self._card(place, raw)
            if card is None:
                continue
            first = seen.setdefault((card.provider, card.model, card.effective_from), place)
            if first != place:
                self.fault(place, f"the same provider, model and instant as {first}")
            else:
                yield card

    def _card(self, place: str, raw: object) -> NewCard | None:
        if not isinstance(raw, dict):
            self.fault(place, f"expected an object with {', '.join(_FIELDS)}")
            return None
        before = len(self.faults)
        for name in raw.keys() - set(_FIELDS):
            self.fault(f"{place}.{name[:40]}", f"unknown; expected one of {', '.join(_FIELDS)}")
        provider = self._text(f"{place}.provider", raw.get("provider"))
        model = self._text(f"{place}.model", raw.get("model"))
        effective_from = self._instant(f"{place}.effective_from", raw.get("effective_from"))
        source = self._source(place, raw)
        prices = self._prices(f"{place}.prices", raw.get("prices"))
        if len(self.faults) > before or effective_from is None:
            return None
        return NewCard(provider, model, effective_from, source, prices)

    def _source(self, place: str, raw: Mapping[str, Any]) -> str:
        source = self._text(f"{place}.source", raw.get("source"), SOURCE_CHARS_MAX)
        if "checked_on" not in raw:
            return source
        checked = self._instant(f"{place}.checked_on", raw["checked_on"])
        return f"{source} (checked on {checked:%Y-%m-%d})" if checked else source

    def _prices(self, place: str, raw: object) -> dict[Meter, Price]:
        if not isinstance(raw, dict) or not raw:
            self.fault(place, f"expected prices by meter: {', '.join(METERS)}")
            return {}
        prices: dict[Meter, Price] = {}
        for name, value in raw.items():
            at = f"{place}.{name[:40]}"
            meter = self._meter(at, name)
            if not isinstance(value, dict) or value.keys() != {"usd", "per"}:
                self.fault(at, 'expected {"usd": "32.00", "per": "million"}')
            elif not isinstance(value["usd"], str):
                self.fault(
                    f"{at}.usd", 'expected dollars in quotes, such as "32.00": a number could lose digits'
                )
            elif meter is not None:
                prices |= self._price(at, meter, value["usd"], str(value["per"]))
        return prices

    # --- CSV

    def from_csv(self, text: str) -> Iterator[NewCard]:
        rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
        try:
            if tuple(rows.fieldnames or ()) != COLUMNS:
                self.fault("row 1", f"expected the columns {','.join(COLUMNS)}")
                return
            yield from self._grouped(rows)
        except csv.Error as error:
            self.fault(f"row {rows.reader.line_num}", f"this is not CSV: {error}")

    def _grouped(self, rows: "csv.DictReader[str]") -> Iterator[NewCard]:
        """Join rows of one provider, model and instant to a card, wherever in the file they stand."""
        cards: dict[tuple[str, str, datetime], NewCard] = {}
        for row in rows:
            card = self._row(f"row {rows.line_num}", row)
            if card is None:
                continue
            key = (card.provider, card.model, card.effective_from)
            known = cards.setdefault(key, card)
            if known is card:
                continue
            (meter,) = card.prices
            if meter in known.prices:
                self.fault(f"row {rows.line_num}, column meter", f"{meter} of {card.name} stands there twice")
            else:
                cards[key] = NewCard(*key, known.source, {**known.prices, **card.prices})
        yield from cards.values()

    def _row(self, place: str, row: Mapping[str | None, Any]) -> NewCard | None:
        """Return a card with the one price of this row."""
        if None in row or None in row.values():
            self.fault(place, f"expected {len(COLUMNS)} columns: {','.join(COLUMNS)}")
            return None
        before = len(self.faults)
        provider = self._text(f"{place}, column provider", row["provider"])
        model = self._text(f"{place}, column model", row["model"])
        effective_from = self._instant(f"{place}, column effective_from", row["effective_from"])
        meter = self._meter(f"{place}, column meter", row["meter"])
        source = self._text(f"{place}, column source", row["source"], SOURCE_CHARS_MAX)
        prices = self._price(f"{place}, column usd", meter, row["usd"], row["per"]) if meter else {}
        if len(self.faults) > before or effective_from is None:
            return None
        return NewCard(provider, model, effective_from, source, prices)

    # --- Values

    def _text(self, place: str, value: object, chars_max: int = NAME_CHARS_MAX) -> str:
        text = value.strip() if isinstance(value, str) else ""
        if not 0 < len(text) <= chars_max or not text.isprintable():
            self.fault(place, f"expected 1 to {chars_max:,} printable characters")
        return text

    def _instant(self, place: str, value: object) -> datetime | None:
        try:
            return parse_instant(value if isinstance(value, str) else "")
        except ValueError as error:
            self.fault(place, str(error))
            return None

    def _meter(self, place: str, name: str) -> Meter | None:
        if name in METERS:
            return Meter(name)
        self.fault(place, f"{name[:40]!r} is not a meter; expected one of {', '.join(METERS)}")
        return None

    def _price(self, place: str, meter: Meter, usd: str, per: str) -> dict[Meter, Price]:
        try:
            return {meter: parse_price(meter, usd.strip(), per.strip())}
        except ValueError as error:
            self.fault(place, str(error))
            return {}
