"""Reading the provider's bill: OpenAI's costs and usage of an organisation, with an admin key."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import aiohttp

from proxy import __version__
from proxy.core.bill import Charge, Count
from proxy.core.money import AMOUNT_NANOUSD_MAX, NANOUSD_PER_USD
from proxy.core.usage import Meter
from proxy.store import StoreError
from proxy.store.reconciliations import Scope, TheirSide

COSTS, TOKENS, HEARD = "costs", "usage/completions", "usage/audio_transcriptions"
BUCKETS = {COSTS: 180, TOKENS: 31, HEARD: 31}  # of a day each, in one answer
GROUPS = {
    COSTS: ("project_id", "line_item", "api_key_id"),
    TOKENS: ("project_id", "api_key_id", "model"),
    HEARD: ("project_id", "api_key_id", "model"),
}
TOKEN_FIELDS = {  # a modality's input is without what was cached
    Meter.TEXT_IN: "input_text_tokens",
    Meter.TEXT_IN_CACHED: "input_cached_text_tokens",
    Meter.AUDIO_IN: "input_audio_tokens",
    Meter.AUDIO_IN_CACHED: "input_cached_audio_tokens",
    Meter.IMAGE_IN: "input_image_tokens",
    Meter.IMAGE_IN_CACHED: "input_cached_image_tokens",
    Meter.TEXT_OUT: "output_text_tokens",
    Meter.AUDIO_OUT: "output_audio_tokens",
}
PAGES_MAX = 200  # of one report
BYTES_MAX = 32 * 1024 * 1024  # of one page
ATTEMPTS_MAX = 5
PAUSE_S_MAX = 30.0
REQUEST_S = 30.0
ALL_S = 180.0
_SECONDS_MAX = 10**11  # since 1970: the year 5138
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class BillSource:
    """Where the bill is read, and by which key. `pause_s` is the first wait before another attempt."""

    url: str  # of the API, such as https://api.openai.com/v1
    admin_key: str = field(repr=False)
    organization: str | None = None
    pause_s: float = 1.0
    attempts_max: int = ATTEMPTS_MAX


class BillError(StoreError):
    """The bill could not be read: the text says why, and what to do."""


def read_bill(source: BillSource, scope: Scope, now: datetime) -> TheirSide:
    """Return what the provider says of these days, one more at either end. Blocks.

    Raises:
        BillError: it could not be read.
    """
    return asyncio.run(_read(source, scope, now))


def check_bill(source: BillSource, now: datetime) -> None:
    """Ask for a day's costs, and take only the first answer. Blocks.

    Raises:
        BillError: it would not be read.
    """
    asyncio.run(_check(replace(source, attempts_max=1), now))


async def _check(source: BillSource, now: datetime) -> None:
    today = now.astimezone(UTC).date()
    async with _http(source) as http:
        await _Reader(http, source, Scope(today, today + _DAY), now).ask(COSTS, None)


async def _read(source: BillSource, scope: Scope, now: datetime) -> TheirSide:
    try:
        async with asyncio.timeout(ALL_S), _http(source) as http:
            reader = _Reader(http, source, scope, now)
            charges = [one async for one in reader.charges()]
            counts = [one async for one in reader.counts()]
    except TimeoutError:
        raise BillError(
            f"The provider's bill could not be read within {ALL_S:g} s: try fewer days."
        ) from None
    return TheirSide(charges, counts, now)


def _http(source: BillSource) -> aiohttp.ClientSession:
    headers = {"Authorization": f"Bearer {source.admin_key}", "User-Agent": f"talkmeter/{__version__}"}
    if source.organization:
        headers["OpenAI-Organization"] = source.organization
    if not all(value.isprintable() for value in headers.values()):
        raise BillError(
            "The provider's bill cannot be asked for: TALKMETER_UPSTREAM_ADMIN_KEY or"
            " TALKMETER_UPSTREAM_ORGANIZATION has a line break or another control character in it."
        )
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=REQUEST_S),
        trust_env=False,
    )


class _Reader:
    """Reads the reports for one scope."""

    def __init__(self, http: aiohttp.ClientSession, source: BillSource, scope: Scope, now: datetime) -> None:
        self._http = http
        self._source = source
        self._scope = scope
        tomorrow = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + _DAY
        self._start, self._end = scope.read.start, min(scope.read.end, tomorrow)

    async def charges(self) -> AsyncIterator[Charge]:
        async for on, one in self._results(COSTS):
            yield _charge(on, one)

    async def counts(self) -> AsyncIterator[Count]:
        for report, counted in ((TOKENS, _tokens), (HEARD, _heard)):
            async for on, one in self._results(report):
                model = one.get("model")
                if isinstance(model, str):
                    yield Count(on, _text(one, "project_id"), model, counted(one))

    async def _results(self, report: str) -> AsyncIterator[tuple[date, Mapping[str, Any]]]:
        """Yield the day and the fields of each result, of the projects and keys that are meant."""
        page: str | None = None
        for _ in range(PAGES_MAX):
            answer = await self.ask(report, page)
            for bucket in _list(answer, "data"):
                on = _day(bucket)
                for one in _list(bucket, "results"):
                    if self._is_meant(one):
                        yield on, one
            if not answer.get("has_more"):
                return
            page = _text(answer, "next_page")
            if not page:
                raise _misread("more to come, and no name of the next page")
        raise BillError(f"The provider's {report} have more than {PAGES_MAX} pages: compare fewer days.")

    def _is_meant(self, one: Mapping[str, Any]) -> bool:
        projects, keys = self._scope.projects, self._scope.keys
        return (not projects or one.get("project_id") in projects) and (
            not keys or one.get("api_key_id") in keys
        )

    async def ask(self, report: str, page: str | None) -> Mapping[str, Any]:
        """Return one page; what may pass by itself is tried again."""
        pause_s = self._source.pause_s
        for attempt in range(1, self._source.attempts_max + 1):
            try:
                async with self._http.get(
                    f"{self._source.url}/organization/{report}",
                    params=self._query(report, page),
                    allow_redirects=False,
                ) as answer:
                    if answer.status == 200:
                        return _object(await _body(answer))
                    problem = _refused(answer.status)
                    again = answer.status == 429 or answer.status >= 500
                    wait_s = _retry_after(answer.headers.get("Retry-After"), pause_s)
            except (aiohttp.ClientError, TimeoutError) as error:
                problem, again, wait_s = f"it cannot be reached ({type(error).__name__})", True, pause_s
            if not again or attempt == self._source.attempts_max:
                break
            await asyncio.sleep(wait_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)
        raise BillError(f"The provider's {report} could not be read from {self._source.url}: {problem}.")

    def _query(self, report: str, page: str | None) -> list[tuple[str, str]]:
        start, end = (str(int(at.timestamp())) for at in (self._start, self._end))
        query = [("start_time", start), ("end_time", end), ("bucket_width", "1d")]
        query.append(("limit", str(BUCKETS[report])))
        query += [("group_by", name) for name in GROUPS[report]]
        query += [("project_ids", one) for one in self._scope.projects]
        return query if page is None else [*query, ("page", page)]


def _refused(status: int) -> str:
    match status:
        case 401:
            return "it does not know the key (401): TALKMETER_UPSTREAM_ADMIN_KEY should be an admin key"
        case 403:
            return (
                "the key may not read it (403): TALKMETER_UPSTREAM_ADMIN_KEY should be an admin key of the"
                " organisation, not one for the voice API"
            )
        case 404:
            return "it has no such report (404): it is read where TALKMETER_UPSTREAM_URL says"
        case 429:
            return "it asks for fewer requests (429): try again later"
    return f"it answered {status}"


def _retry_after(header: str | None, pause_s: float) -> float:
    seconds = float(header) if header is not None and header.isascii() and header.isdigit() else pause_s
    return min(seconds, PAUSE_S_MAX)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(65_536):
        body += chunk
        if len(body) > BYTES_MAX:
            raise BillError(
                f"A page of the provider's bill has more than {BYTES_MAX} bytes: compare fewer days."
            )
    return bytes(body)


# --- What it says


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _misread("no JSON object")
    return found


def _list(one: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    found = one.get(name)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise _misread(f"no list of objects in {name!r}")
    return found


def _whole(one: Mapping[str, Any], name: str) -> int:
    found = one.get(name) or 0
    if isinstance(found, bool) or not isinstance(found, int | Decimal) or not 0 <= found <= 10**15:
        raise _misread(f"no number in {name!r}")
    return int(found)


def _day(bucket: Mapping[str, Any]) -> date:
    seconds = _whole(bucket, "start_time")
    if not 0 < seconds < _SECONDS_MAX:
        raise _misread("no day in 'start_time'")
    return datetime.fromtimestamp(seconds, UTC).date()


def _text(one: Mapping[str, Any], name: str) -> str | None:
    found = one.get(name)
    return found if isinstance(found, str) else None


def _charge(on: date, one: Mapping[str, Any]) -> Charge:
    amount = one.get("amount")
    if not isinstance(amount, dict) or str(amount.get("currency")).lower() != "usd":
        raise _misread("an amount that is not in US dollars")
    value = _decimal(amount.get("value"))
    if value is None:
        raise _misread("an amount that is no number")
    nanousd = int((value * NANOUSD_PER_USD).to_integral_value(ROUND_HALF_EVEN))
    if abs(nanousd) > AMOUNT_NANOUSD_MAX:
        raise _misread("an amount that no ledger can hold")
    return Charge(
        on,
        _text(one, "project_id"),
        _text(one, "api_key_id"),
        _text(one, "line_item"),
        nanousd,
        _decimal(one.get("quantity")),
        _text(one, "quantity_unit"),
    )


def _decimal(value: object) -> Decimal | None:
    """Return a number as it was written; it may stand in a string."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        return None
    try:
        found = Decimal(value)
    except ArithmeticError:
        return None
    return found if found.is_finite() and found.copy_abs() < 10**15 else None


def _tokens(one: Mapping[str, Any]) -> Mapping[Meter, int]:
    return {meter: _whole(one, name) for meter, name in TOKEN_FIELDS.items() if one.get(name) is not None}


def _heard(one: Mapping[str, Any]) -> Mapping[Meter, int]:
    return {Meter.DURATION_MS: _whole(one, "seconds") * 1_000}


def _misread(what: str) -> BillError:
    return BillError(f"The provider's bill cannot be understood: it has {what}.")
