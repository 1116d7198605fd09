"""The mail server that a URL names, and addresses that mail can be sent to. Nothing of them is quoted."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

SHAPE = "it should be smtp://USER:PASSWORD@HOST:587 or smtps://USER:PASSWORD@HOST:465"
ADDRESS_CHARS_MAX = 254

# An address as HTML forms take it: no comments, no quotes, ASCII. It can hold neither a line end nor a comma.
_ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@"
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)


class Security(StrEnum):
    """How the way to the server is kept secret."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


_PORTS = {Security.NONE: 25, Security.STARTTLS: 587, Security.TLS: 465}


@dataclass(frozen=True, slots=True)
class MailRelay:
    """A mail server that takes our mail."""

    host: str
    port: int
    security: Security
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_relay(url: str) -> MailRelay:
    """Return the server that a URL names.

    `smtps:` speaks TLS from the start. `smtp:` has to switch to it (STARTTLS), unless the server is on this
    machine or the URL ends in `?starttls=no`; then no password is sent to another machine.

    Raises:
        ValueError: it names none; the text quotes nothing of it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(SHAPE) from None
    if parts.scheme not in ("smtp", "smtps") or not host or port == 0 or parts.path not in ("", "/"):
        raise ValueError(SHAPE)
    if parts.fragment or not url.isprintable() or (parts.username is None) != (parts.password is None):
        raise ValueError(f"{SHAPE}, with % before what is special in a password (%40 for @)")
    security = _security(parts, host)
    user, password = (unquote(one) if one is not None else None for one in (parts.username, parts.password))
    if user is not None and security is Security.NONE and not is_loopback(host):
        raise ValueError("a password is not sent over the network as it is: leave out ?starttls=no")
    return MailRelay(host, port or _PORTS[security], security, user, password)


def _security(parts: SplitResult, host: str) -> Security:
    asked = parse_qs(parts.query, keep_blank_values=True)
    starttls = asked.pop("starttls", ["no" if is_loopback(host) else "yes"])
    if asked or starttls not in (["yes"], ["no"]):
        raise ValueError(f"{SHAPE}; nothing but ?starttls=yes or ?starttls=no can follow")
    if parts.scheme == "smtps":
        return Security.TLS
    return Security.STARTTLS if starttls == ["yes"] else Security.NONE


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def parse_mail_address(text: str) -> str:
    """Return `text` if mail can be sent there; raises ValueError."""
    text = text.strip()
    if len(text) > ADDRESS_CHARS_MAX or not _ADDRESS.fullmatch(text):
        raise ValueError(f"{text[:60]!r} is no e-mail address: write NAME@HOST, in ASCII")
    return text
