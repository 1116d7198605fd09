"""Asking an identity provider over HTTP: limits on each answer, and what a person hears if it is no good."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import aiohttp
import msgspec

from proxy import __version__

ANSWER_BYTES_MAX = 256 * 1024
ANSWER_S = 10.0
KEPT = timedelta(minutes=10)  # for what a provider says of itself, and for its keys
FAILED = timedelta(seconds=2)  # a failure is remembered so long: who waited meanwhile hears of it at once
SAID_CHARS_MAX = 200  # of the provider's own words
START_AGAIN = "Start again from the sign-in page, in one browser, and within ten minutes."
ASK = "ask whoever administers Talkmeter"

T = TypeVar("T")


class Unusable(Exception):
    """The provider, or what it says, cannot be used. The text is for the person who signs in."""


def new_http() -> aiohttp.ClientSession:
    """Return a client that keeps no cookies, unpacks nothing, and takes no proxy from the environment."""
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"talkmeter/{__version__}",
        },
        auto_decompress=False,
        trust_env=False,
    )


async def ask(
    http: aiohttp.ClientSession, answer_s: float, what: str, method: str, url: str, **request: Any
) -> Mapping[str, Any]:
    """Return the JSON object that the provider answers.

    Raises:
        Unusable: it answered something else, or too much, or nothing in time.
    """
    try:
        async with (
            asyncio.timeout(answer_s),
            http.request(method, url, allow_redirects=False, **request) as answer,
        ):
            status, body = answer.status, await _body(answer, what)
    except TimeoutError as error:
        raise _away(what, f"it did not answer within {answer_s:g} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a host that is no name
        raise _away(what, f"it cannot be reached ({type(error).__name__})") from error
    found = _object(body)
    if status != 200:
        raise _refused(what, status, found)
    if found is None:
        raise Unusable(f"Your identity provider's {what} is no JSON object: {ASK}.")
    return found


async def _body(answer: aiohttp.ClientResponse, what: str) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(65_536):
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise Unusable(f"Your identity provider's {what} has more than {ANSWER_BYTES_MAX} bytes: {ASK}.")
    return bytes(body)


def _object(body: bytes) -> Mapping[str, Any] | None:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _away(what: str, why: str) -> Unusable:
    return Unusable(f"Your identity provider's {what} is not there: {why}. Try again in a minute, or {ASK}.")


def _refused(what: str, status: int, found: Mapping[str, Any] | None) -> Unusable:
    if 300 <= status < 400:
        return Unusable(
            f"Your identity provider's {what} is elsewhere ({status}), and redirects are not followed: {ASK}."
        )
    error = found.get("error") if found else None
    said = in_its_words(error, found.get("error_description") if found else None)
    match error:
        case "invalid_grant":
            return Unusable(f"Your identity provider does not take its code back ({said}). {START_AGAIN}")
        case "invalid_client" | "unauthorized_client":
            return Unusable(
                f"Your identity provider does not know Talkmeter ({said}): {ASK}. TALKMETER_OIDC_CLIENT_ID"
                " or TALKMETER_OIDC_CLIENT_SECRET is wrong."
            )
    detail = f"{status}, {said}" if isinstance(error, str) else str(status)
    return Unusable(f"Your identity provider's {what} answered {detail}. Try again in a minute, or {ASK}.")


def in_its_words(error: object, description: object) -> str:
    """Return a provider's own error, as it is shown."""
    return printable(f"{error}: {description}" if description else str(error), SAID_CHARS_MAX)


def for_administrators(refused: str) -> str:
    """Return why a provider cannot be used without whom else to ask: it is read by whoever administers it."""
    return refused.replace(f" Try again in a minute, or {ASK}.", "").replace(f": {ASK}", "")


def printable(text: str, chars_max: int) -> str:
    """Return a text that others wrote on one line, and not longer than that."""
    shown = "".join(one if one.isprintable() else " " for one in text[: 4 * chars_max])
    return " ".join(shown.split())[:chars_max]


class Kept(Generic[T]):
    """What was fetched last, for a while; asked for by one at a time."""

    def __init__(self, fetch: Callable[[], Awaitable[T]], clock: Callable[[], datetime]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = asyncio.Lock()
        self._last: tuple[datetime, T] | None = None
        self._failed: tuple[datetime, str] | None = None

    async def get(self, lasts: timedelta = KEPT) -> T:
        """Return what is at most so old, fetched now if need be.

        Raises:
            Unusable: it cannot be had.
        """
        async with self._lock:
            if self._last is not None and self._clock() - self._last[0] < lasts:
                return self._last[1]
            if self._failed is not None and self._clock() - self._failed[0] < FAILED:
                raise Unusable(self._failed[1])
            try:
                found = await self._fetch()
            except Unusable as error:
                self._failed = (self._clock(), str(error))
                raise
            self._last = (self._clock(), found)
            return found
