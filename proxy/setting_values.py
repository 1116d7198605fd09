"""What settings may hold: from the text of an environment variable to a value, or to what it should be."""

import json
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec
from pydantic import SecretStr
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from proxy.admin.config import Grant
from proxy.core.mail_relay import is_loopback, parse_relay

ISSUER_CHARS_MAX = 200
TOKEN_CHARS_MIN = 16
IDS_MAX = 100
HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
DEFAULT_PORTS = {"http": 80, "https": 443}
OIDC_CHARS_MAX = 300  # of an issuer, an id, scopes or the name of a claim
GRANTS_BYTES_MAX = 32_768  # written as JSON: they travel to the control plane
GROUP_CHARS_MAX = 200
GRANTS_SHAPE = (
    'it should be a JSON object that gives groups a role, such as {"Platform": "admin",'
    ' "Acme support": {"role": "viewer", "tenants": ["acme"]}}'
)


class Address(NamedTuple):
    """Where to listen. Port 0 lets the system choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(value: object) -> Address:
    """Return the address that `HOST:PORT` or `[IPv6]:PORT` names.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, Address):
        return value
    host, _, port = str(value).strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    good_host = bool(host.strip("[]")) and (bracketed or ":" not in host) and " " not in host
    if not good_host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError("it should be HOST:PORT, such as 127.0.0.1:8080 or 0.0.0.0:8080")
    return Address(host.strip("[]"), int(port))


def parse_database_url(value: object) -> URL:
    if isinstance(value, URL):
        return value
    shape = "it should be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
    try:
        url = make_url(str(value).strip())
    except (ArgumentError, ValueError):
        raise ValueError(shape) from None
    if url.drivername == "postgres":  # as some hosts still write it
        url = url.set(drivername="postgresql")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise ValueError(shape)
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ValueError("it should name a file, since two processes share it: sqlite:///FILE")
    return url


def parse_upstream_url(value: object) -> str:
    url = str(value).strip().rstrip("/")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https", "ws", "wss") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.username or parts.query or parts.fragment:
        raise ValueError("it should be a URL without a query, such as https://api.openai.com/v1")
    return url


def parse_public_url(value: object) -> str:
    """Return scheme, host and port as browsers write them where they say where a page is from."""
    try:
        parts = urlsplit(str(value).strip())
        host, port = parts.hostname, parts.port
        rest = parts.path.rstrip("/") or parts.query or parts.fragment or "@" in parts.netloc
    except ValueError:
        host, port, rest = None, None, ""
    if not host or not HOST.fullmatch(host) or port == 0 or rest or parts.scheme not in DEFAULT_PORTS:
        raise ValueError("it should be https://HOST or http://HOST without a path, with :PORT if need be")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (
        f":{port}" if port not in (None, DEFAULT_PORTS[parts.scheme]) else ""
    )


def parse_timezone(value: object) -> str:
    try:
        ZoneInfo(str(value))
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError("it should be an IANA time zone, such as UTC or Europe/Berlin") from None
    return str(value)


def parse_aliases(value: object) -> Mapping[str, str]:
    shape = 'it should be a JSON object of strings, such as {"my-deployment": "gpt-realtime"}'
    try:
        aliases = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(shape) from None
    if not isinstance(aliases, dict) or not all(isinstance(v, str) and v for v in aliases.values()):
        raise ValueError(shape)
    return {str(name): model for name, model in aliases.items()}


def parse_issuer(value: object) -> str:
    name = str(value).strip()
    if len(name) > ISSUER_CHARS_MAX or not name.isprintable():
        raise ValueError(f"it should have at most {ISSUER_CHARS_MAX} printable characters")
    return name


def good_relay(url: SecretStr) -> SecretStr:
    parse_relay(url.get_secret_value())
    return url


def strip(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def long_enough(token: SecretStr) -> SecretStr:
    if not token.get_secret_value().isascii() or len(token.get_secret_value()) < TOKEN_CHARS_MIN:
        raise ValueError(
            f"it should have at least {TOKEN_CHARS_MIN} ASCII characters, as `openssl rand -hex 32` prints"
        )
    return token


def lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def parse_ids(value: object) -> tuple[str, ...]:
    """Return the ids that stand in a list with commas."""
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, list | tuple) else ()
    found = tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    if len(found) > IDS_MAX or not all(one.isprintable() and " " not in one for one in found):
        raise ValueError(f"it should be at most {IDS_MAX} ids with commas between them")
    return found


def parse_oidc_issuer(value: object) -> str:
    """Return an issuer as it is written: a slash at its end belongs to its name."""
    url = str(value).strip()
    try:
        parts = urlsplit(url)
        good = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        good = good and bool(parts.hostname) and parts.port != 0 and len(url) <= OIDC_CHARS_MAX
    except ValueError:
        good = False
    if not good or parts.username or parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise ValueError(
            "it should be your identity provider's issuer, an https:// URL without a query, such as"
            " https://login.example.com/realms/staff"
        )
    return url


def parse_scopes(value: object) -> str:
    scopes = str(value).split()
    if "openid" not in scopes or not good_text(value):
        raise ValueError("it should be scopes with spaces between them, openid among them")
    return " ".join(scopes)


def parse_oidc_text(value: object) -> str:
    if not good_text(value):
        raise ValueError(f"it should have 1 to {OIDC_CHARS_MAX} printable characters")
    return str(value).strip()


def good_text(value: object) -> bool:
    return 0 < len(str(value).strip()) <= OIDC_CHARS_MAX and str(value).strip().isprintable()


def parse_grants(value: object) -> dict[str, Grant]:
    """Return what each group may do.

    Raises:
        ValueError: it is no such object, a role is unknown, or a viewer has no tenants.
    """
    try:
        given = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        raise ValueError(GRANTS_SHAPE) from None
    if not isinstance(given, dict):
        raise ValueError(GRANTS_SHAPE)
    grants = {str(group): _grant(str(group), one) for group, one in given.items()}
    if len(msgspec.json.encode(grants)) > GRANTS_BYTES_MAX:
        raise ValueError(f"it should have at most {GRANTS_BYTES_MAX} bytes: name fewer groups")
    return grants


def _grant(group: str, given: object) -> Grant:
    from proxy.store.tenants import NAME_CHARS_MAX
    from proxy.store.tokens import TENANTS_MAX, TokenRole

    if isinstance(given, Grant):
        given = {"role": given.role, "tenants": list(given.tenants)}
    shown = repr(group[:60])
    if not 0 < len(group) <= GROUP_CHARS_MAX or not group.isprintable():
        raise ValueError(f"the group {shown} should have 1 to {GROUP_CHARS_MAX} printable characters")
    facts = {"role": given} if isinstance(given, str) else given
    if not isinstance(facts, dict) or not {"role"} <= facts.keys() <= {"role", "tenants"}:
        raise ValueError(GRANTS_SHAPE)
    role, tenants = facts["role"], facts.get("tenants", [])
    if role not in tuple(TokenRole):
        raise ValueError(f"the group {shown} should have one of the roles {', '.join(TokenRole)}")
    is_list = isinstance(tenants, list) and all(isinstance(one, str) for one in tenants)
    names = [one.strip() for one in tenants] if is_list else [""]
    if not all(0 < len(one) <= NAME_CHARS_MAX for one in names):
        raise ValueError(f"the tenants of the group {shown} should be a list of their names or ids")
    if len(names) > TENANTS_MAX:
        raise ValueError(f"the group {shown} should have at most {TENANTS_MAX} tenants")
    if "tenants" in facts and not names:
        raise ValueError(
            f"the group {shown} should name its tenants, or have no list of them: then it is all"
        )
    if role == TokenRole.VIEWER and not names:
        raise ValueError(
            f"the group {shown} should have tenants, since a viewer sees the costs of its own:"
            ' {"role": "viewer", "tenants": ["acme"]}'
        )
    return Grant(str(role), tuple(dict.fromkeys(names)))
