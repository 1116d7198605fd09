"""Price data that others publish: what LiteLLM's and genai-prices' files say about models that we can meter.

Pure: text in, prices out. Numbers are read as decimals, never as floats, and what is not whole in
nano-dollars is not rounded: that price is left out, and the reason told. Both files are under the MIT licence
and are not part of Talkmeter; an operator downloads the one that is wanted.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, get_args

from proxy.core.rating import PER_MINUTE, Price
from proxy.core.usage import Meter
from proxy.store import StoreError
from proxy.store.card_files import FILE_CHARS_MAX, NAME_CHARS_MAX, parse_price

Source = Literal["litellm", "genai-prices"]
SOURCES: Sequence[Source] = get_args(Source)
MODELS_MAX = 20_000
MODES = ("realtime", "audio_transcription")  # what LiteLLM calls the models that converse or transcribe

_PER_TOKEN = {  # LiteLLM: dollars a token
    "input_cost_per_token": Meter.TEXT_IN,
    "cache_read_input_token_cost": Meter.TEXT_IN_CACHED,
    "input_cost_per_audio_token": Meter.AUDIO_IN,
    "cache_read_input_audio_token_cost": Meter.AUDIO_IN_CACHED,
    "input_cost_per_image_token": Meter.IMAGE_IN,
    "cache_read_input_image_token_cost": Meter.IMAGE_IN_CACHED,
    "output_cost_per_token": Meter.TEXT_OUT,
    "output_cost_per_audio_token": Meter.AUDIO_OUT,
}
_PER_MILLION = {  # genai-prices: dollars a million tokens
    "input_mtok": Meter.TEXT_IN,
    "cache_read_mtok": Meter.TEXT_IN_CACHED,
    "input_audio_mtok": Meter.AUDIO_IN,
    "cache_audio_read_mtok": Meter.AUDIO_IN_CACHED,
    "input_image_mtok": Meter.IMAGE_IN,
    "cache_image_read_mtok": Meter.IMAGE_IN_CACHED,
    "output_mtok": Meter.TEXT_OUT,
    "output_audio_mtok": Meter.AUDIO_OUT,
}
_PER_SECOND = "input_cost_per_second"
_DIGITS_MAX = 20  # of a number: more is no price, and arithmetic would round it
_PLACES_MAX = 30


@dataclass(frozen=True, slots=True)
class Published:
    """What a file says of one model. `left_out` tells which of its prices cannot be taken, and why."""

    model: str
    is_voice: bool  # it converses in speech or transcribes
    prices: Mapping[Meter, Price]
    left_out: tuple[str, ...] = ()


def source_of(text: str) -> Source | None:
    """Return which of the published files this looks like; None if it is neither."""
    begin = text[:20_000].lstrip()
    if begin.startswith("{") and '"sample_spec"' in begin:
        return "litellm"
    return "genai-prices" if begin.startswith("[") and '"pricing_urls"' in begin else None


def read_published(text: str, source: Source, provider: str) -> tuple[Published, ...]:
    """Return the models of one provider, each once.

    Raises:
        StoreError: this is not the file that `source` names.
    """
    raw = _json(text)
    found = tuple(_litellm(raw, provider) if source == "litellm" else _genai(raw, provider))
    if not found:
        raise StoreError(f"This file has no models of {provider!r}: see --provider and --source.")
    if len(found) > MODELS_MAX:
        raise StoreError(f"This file has more than {MODELS_MAX:,} models of {provider!r}.")
    once: dict[str, Published] = {}
    for one in found:
        once.setdefault(one.model, one)
    return tuple(once.values())


def _json(text: str) -> Any:
    if len(text) > FILE_CHARS_MAX:
        raise StoreError(f"The file has more than {FILE_CHARS_MAX:,} characters.")
    try:
        return json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"This is not JSON that can be read: {str(error)[:200]}.") from None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


# --- LiteLLM: one object, a model a member


def _litellm(raw: Any, provider: str) -> Iterator[Published]:
    if not isinstance(raw, dict) or not all(isinstance(one, dict) for one in raw.values()):
        raise StoreError("This is not LiteLLM's file: that is one object, with an object for each model.")
    for name, facts in raw.items():
        model = name.removeprefix(f"{provider}/")
        if facts.get("litellm_provider") == provider and _is_name(model):
            yield _from_litellm(model, facts)


def _from_litellm(model: str, facts: Mapping[str, Any]) -> Published:
    taken = _Taken()
    for member, meter in _PER_TOKEN.items():
        taken.per_million(meter, member, facts.get(member), times=1_000_000)
    if not taken.prices:  # of a model that has both, the seconds are only what its tokens come to
        taken.per_second(_PER_SECOND, facts.get(_PER_SECOND))
    tiers = sorted(name for name in facts if "_above_" in str(name) and "cost" in str(name))
    if tiers:
        taken.leave_out(f"{', '.join(tiers[:3])}: a card has one price for each meter")
    return Published(model, facts.get("mode") in MODES, taken.prices, tuple(taken.left_out))


# --- genai-prices: a list of providers, each with a list of models


def _genai(raw: Any, provider: str) -> Iterator[Published]:
    if not isinstance(raw, list) or not all(isinstance(one, dict) for one in raw):
        raise StoreError("This is not genai-prices' file: that is a list, with an object for each provider.")
    for one in raw:
        models = one.get("models")
        if one.get("id") == provider and isinstance(models, list):
            for facts in models:
                yield from _from_genai(facts)


def _from_genai(facts: Any) -> Iterator[Published]:
    if not isinstance(facts, dict):
        raise StoreError("This is not genai-prices' file: a model of it is no object.")
    taken = _Taken()
    prices = facts.get("prices")
    if isinstance(prices, Mapping):
        for member, meter in _PER_MILLION.items():
            taken.per_million(meter, member, prices.get(member), times=1)
    else:
        taken.leave_out("prices: they depend on the time, and a card has one price for each meter")
    names = [facts.get("id"), *_equals(facts.get("match"))]
    for name in dict.fromkeys(name for name in names if isinstance(name, str) and _is_name(name)):
        is_voice = Meter.AUDIO_OUT in taken.prices or "transcribe" in name
        yield Published(name, is_voice, taken.prices, tuple(taken.left_out))


def _equals(match: Any) -> Iterator[str]:
    """Yield the other names that the model goes by; patterns could match what nobody has seen yet."""
    if isinstance(match, Mapping):
        if isinstance(name := match.get("equals"), str):
            yield name
        either = match.get("or")
        for one in either if isinstance(either, list) else ():
            if isinstance(one, Mapping) and isinstance(name := one.get("equals"), str):
                yield name


# --- Prices


@dataclass(slots=True)
class _Taken:
    """The prices of one model that can be taken, and why others cannot."""

    prices: dict[Meter, Price] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def leave_out(self, why: str) -> None:
        self.left_out.append(why)

    def per_million(self, meter: Meter, member: str, value: Any, *, times: int) -> None:
        """Take dollars for so many tokens, of which a million is `times` as many."""
        if value is None:
            return
        if isinstance(value, Mapping):
            return self.leave_out(f"{member}: it has tiers, and a card has one price for each meter")
        if not _is_amount(value):
            return self.leave_out(f"{member}: {str(value)[:30]!r} is not an amount in dollars")
        try:
            self.prices[meter] = parse_price(meter, f"{(value * times).normalize():f}", "million")
        except ValueError as problem:
            self.leave_out(f"{member}: {problem}")

    def per_second(self, member: str, value: Any) -> None:
        """Take dollars a second, as a price a minute."""
        if value is None:
            return
        minute = _minute(value) if _is_amount(value) else None
        if minute is None:
            return self.leave_out(f"{member}: {str(value)[:30]!r} is not whole in nano-dollars a minute")
        self.prices[Meter.DURATION_MS] = minute


def _is_amount(value: Any) -> bool:
    if not isinstance(value, Decimal) or not value.is_finite():
        return False
    _, digits, exponent = value.as_tuple()
    return len(digits) <= _DIGITS_MAX and int(exponent) >= -_PLACES_MAX and value.adjusted() < _DIGITS_MAX


def _minute(second: Decimal) -> Price | None:
    """Return the price a minute that is written as `second` for a second: 0.000283333333333 is $0.017."""
    if not 0 <= second <= 1:
        return None
    minute = (second * 60).quantize(Decimal("0.000000001"))
    if (minute / 60).quantize(second) != second or minute > 1:
        return None
    return Price(int(minute.scaleb(9)), PER_MINUTE)


def _is_name(name: str) -> bool:
    return 0 < len(name.strip()) <= NAME_CHARS_MAX and name.isprintable()
