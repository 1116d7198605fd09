"""The channels: how one attempt to reach a webhook, a Slack channel or an address is made."""

import asyncio
from collections.abc import Mapping
from datetime import datetime

import aiohttp
import msgspec

from proxy import __version__
from proxy.admin.mail import Mailer
from proxy.core.announced import Announcement, Channel
from proxy.core.letters import as_slack
from proxy.core.report_letters import letter_of
from proxy.core.signing import signed_headers
from proxy.store.deliveries import Claim, Outcome

ATTEMPT_S = 10.0
ANSWER_BYTES_MAX = 65_536  # read and thrown away, as far as it comes in ANSWER_S
ANSWER_S = 1.0
NO_MAIL = "there is no mail server: set TALKMETER_SMTP_URL and TALKMETER_SMTP_FROM"


def new_http() -> aiohttp.ClientSession:
    """Return a client that keeps no cookies, takes no proxy from the environment and says who it is."""
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Content-Type": "application/json", "User-Agent": f"talkmeter/{__version__}"},
        timeout=aiohttp.ClientTimeout(total=ATTEMPT_S),
        auto_decompress=False,
        trust_env=False,
    )


async def attempt(http: aiohttp.ClientSession, mailer: Mailer | None, claim: Claim, now: datetime) -> Outcome:
    """Make one attempt. What a webhook writes back is not kept."""
    match claim.channel:
        case Channel.WEBHOOK:
            return await _signed(http, claim, now)
        case Channel.SLACK:
            return await _post(http, claim, slack_body(claim.announcement), {})
        case Channel.EMAIL:
            if mailer is None:
                return Outcome(claim, None, NO_MAIL)
            sent = await mailer.send(claim.announcement, claim.url)
            return Outcome(claim, sent.status, sent.error, sent.is_final)


def slack_body(one: Announcement) -> bytes:
    """Return what a Slack-compatible webhook takes."""
    return msgspec.json.encode({"text": as_slack(letter_of(one))})


async def _signed(http: aiohttp.ClientSession, claim: Claim, now: datetime) -> Outcome:
    body = claim.announcement.body()
    try:
        headers = signed_headers(claim.secrets, claim.announcement.message_id, now, body)
    except ValueError:
        return Outcome(claim, None, "its secret cannot be used: give it a new one")
    return await _post(http, claim, body, headers)


async def _post(
    http: aiohttp.ClientSession, claim: Claim, body: bytes, headers: Mapping[str, str]
) -> Outcome:
    try:
        async with http.post(claim.url, data=body, headers=headers, allow_redirects=False) as answer:
            if not 200 <= answer.status < 300:
                return Outcome(claim, answer.status, _refused(answer.status))
            await _read_away(answer)
            return Outcome(claim, answer.status, None)
    except TimeoutError:
        return Outcome(claim, None, f"it did not answer within {ATTEMPT_S:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a host that is no name
        return Outcome(claim, None, f"it cannot be reached: {type(error).__name__}")


async def _read_away(answer: aiohttp.ClientResponse) -> None:
    """Read a short body, so that the connection can serve again. The status alone says how it went."""
    left = ANSWER_BYTES_MAX
    try:
        async with asyncio.timeout(ANSWER_S):
            while left > 0 and (chunk := await answer.content.read(left)):
                left -= len(chunk)
    except (TimeoutError, aiohttp.ClientError):
        left = 0
    if left <= 0:
        answer.close()


def _refused(status: int) -> str:
    return f"it answered {status}" + (": redirects are not followed" if 300 <= status < 400 else "")
