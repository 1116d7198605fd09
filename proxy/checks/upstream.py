"""The voice API: whether it is reached, whether it knows the key, and what time it says that it is."""

import asyncio
import os
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp

from proxy.checks.findings import Finding, compared_clock, failed, not_asked, ok, warning
from proxy.checks.names import look_up
from proxy.console.asking import new_http
from proxy.plane import upstream_config
from proxy.processes.control_config import bill_config
from proxy.settings import Settings, SettingsError
from proxy.store import StoreError

ANSWER_S = 8.0
CLOCK_S_WARNED = 5.0  # a Date header has whole seconds, and was made on the way
_MODELS = "/models"


@dataclass(frozen=True, slots=True)
class _Answer:
    """What it answered: a status, its clock if it says, and ours meanwhile."""

    status: int
    date: str | None
    at: float


def ask_upstream(settings: Settings) -> Iterator[Finding]:
    """Yield what is found of "upstream", "upstream key" and "upstream clock": one request tells all."""
    url = bill_config(settings).url + _MODELS
    headers, problem = _identity(settings)
    try:
        look_up(url)
        answer = asyncio.run(_get(url, headers))
    except StoreError as error:
        if problem is None:
            raise
        yield failed("upstream", str(error), "see that TALKMETER_UPSTREAM_URL is right")
        yield problem
        yield not_asked("upstream clock", "'upstream' has to be right first")
        return
    yield _reached(url, answer.status)
    yield problem or key(answer.status, settings.upstream_url)
    yield _clock(answer)


def _identity(settings: Settings) -> tuple[dict[str, str], Finding | None]:
    try:
        return upstream_config(settings).headers, None
    except SettingsError as error:
        return {}, failed("upstream key", str(error), "`talkmeter serve` does not start without it")


async def _get(url: str, headers: dict[str, str]) -> _Answer:
    """Return the answer.

    Raises:
        StoreError: there is none; the text says how far it came.
    """
    parts = urlsplit(url)
    host = parts.netloc
    tls = ssl.create_default_context() if parts.scheme == "https" else True
    begun = time.time()
    try:
        async with (
            asyncio.timeout(ANSWER_S),
            new_http() as http,
            http.get(url, headers=headers, allow_redirects=False, ssl=tls) as answer,
        ):
            return _Answer(answer.status, answer.headers.get("Date"), (begun + time.time()) / 2)
    except TimeoutError:
        raise StoreError(f"{host} does not answer within {ANSWER_S:g} s") from None
    except aiohttp.ClientConnectorCertificateError as error:
        said = getattr(error.certificate_error, "verify_message", error.certificate_error)
        raise StoreError(f"{host} shows a certificate that is not trusted: {said}") from None
    except aiohttp.ClientConnectorSSLError as error:
        raise StoreError(f"{host} is reached, and speaks no TLS: {_said(error.os_error)}") from None
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, ConnectionResetError):
            raise StoreError(f"{host} is reached, and hangs up before anything was asked") from None
        raise StoreError(f"{host} cannot be reached: {_said(error.os_error)}") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise StoreError(f"{host} is reached, and speaks no HTTP ({type(error).__name__})") from None


def _said(error: OSError) -> str:
    """Return the system's words; asyncio puts its own in their place."""
    known = error.errno is not None and error.errno > 0 and not isinstance(error, ssl.SSLError)
    return os.strerror(error.errno or 0) if known else error.strerror or type(error).__name__


def _reached(url: str, status: int) -> Finding:
    host = urlsplit(url).netloc
    secure = " with TLS" if url.startswith("https:") else ""
    if 300 <= status < 400:
        text = f"{host} answers{secure}, and says that it is elsewhere ({status})"
        return failed("upstream", text, "set TALKMETER_UPSTREAM_URL to where the API is: it is not followed")
    if status >= 500:
        text = f"{host} answers{secure}, with status {status}"
        return warning("upstream", text, "look at the provider's status page, and check again")
    return ok("upstream", f"{host} answers{secure}")


def key(status: int, url: str) -> Finding:
    """Return what an answer to a list of models says about the key that asked for it."""
    name = "upstream key"
    if status == 200:
        return ok(name, "the voice API knows it")
    if status == 401:
        text = "the voice API does not know it (401)"
        return failed(
            name, text, "set TALKMETER_UPSTREAM_API_KEY to a key of this provider that is not revoked"
        )
    if status == 403:
        text = "it may not list models (403); sessions it may perhaps open"
        return warning(
            name, text, "let it use /v1/realtime, in this organisation and project; then try a session"
        )
    if status == 404:
        text = f"{url} has no list of models (404) to try it with"
        return warning(name, text, "see that TALKMETER_UPSTREAM_URL ends as the provider says; try a session")
    return not_asked(name, f"the voice API answered with status {status}: it shows with the first session")


def _clock(answer: _Answer) -> Finding:
    try:
        theirs = parsedate_to_datetime(answer.date or "")
    except ValueError:
        return not_asked("upstream clock", "the voice API does not say what time it is")
    aware = theirs if theirs.tzinfo is not None else theirs.replace(tzinfo=UTC)
    ahead_s = answer.at - aware.timestamp() - 0.5  # it cut off half a second, in the middle
    return compared_clock("upstream clock", "the voice API's", ahead_s, CLOCK_S_WARNED)
