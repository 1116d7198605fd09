"""What a client asks for: its key, its tags and its user, read from an upgrade request.

`Talkmeter-*` headers and query parameters are for us: they are read, and never sent upstream. A
browser cannot set headers, so each may stand in the query instead; the header wins.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import unquote_plus

from multidict import MultiMapping

from proxy.core.refusal import BAD_REQUEST, KEY_MISSING, Refusal

SUBPROTOCOL = "realtime"
KEY_ITEM = "openai-insecure-api-key."
OURS = "talkmeter-"
TAGS = "talkmeter-tags"
USER = "talkmeter-user"
SAFETY_IDENTIFIER = "OpenAI-Safety-Identifier"

KEY_CHARS_MAX = 512
TAGS_MAX = 8
TAG_NAME_CHARS_MAX = 40
TAG_VALUE_CHARS_MAX = 100
USER_CHARS_MAX = 200
MODEL_CHARS_MAX = 256

_ONCE = ("Authorization", "api-key", "Talkmeter-Tags", "Talkmeter-User", SAFETY_IDENTIFIER)

_TAG_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for a session. `query` is what goes upstream, raw."""

    secret: str = field(repr=False)
    query: str = ""
    model: str | None = None
    end_user: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def read_ask(headers: MultiMapping[str], raw_query: str, subprotocols: Sequence[str]) -> Ask | Refusal:
    """Return what is asked for, or what is wrong with it. `raw_query` is as on the wire, without `?`."""
    secret = read_secret(headers, subprotocols)
    if isinstance(secret, Refusal):
        return secret
    theirs, ours = split_query(raw_query)
    tags = read_tags(headers.get(TAGS) or ours.get(TAGS, ""))
    if isinstance(tags, Refusal):
        return tags
    end_user = read_user(headers, ours)
    if isinstance(end_user, Refusal):
        return end_user
    return Ask(secret, theirs, _model(theirs), end_user, tags)


def read_secret(headers: MultiMapping[str], subprotocols: Sequence[str] = ()) -> str | Refusal:
    """Return the Talkmeter key that a request shows, wherever its client can put it.

    A header that stands there twice is refused: what stands before us may have looked at the other one.
    """
    for name in _ONCE:
        if len(headers.getall(name, ())) > 1:
            return _bad(f"The header {name} stands there twice.")
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    items = [item.removeprefix(KEY_ITEM) for item in subprotocols if item.startswith(KEY_ITEM)]
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    secret = bearer or headers.get("api-key", "").strip() or "".join(items[:1])
    return secret if secret.isascii() and 0 < len(secret) <= KEY_CHARS_MAX else KEY_MISSING


def read_user(headers: MultiMapping[str], ours: Mapping[str, str]) -> str | None | Refusal:
    """Return the end user that a request names, if it names one; `ours` are its parameters for us."""
    user = headers.get(USER) or ours.get(USER) or headers.get(SAFETY_IDENTIFIER)
    if user is not None and not _is_text(user, USER_CHARS_MAX):
        return _bad(f"Talkmeter-User must be 1 to {USER_CHARS_MAX} printable characters.")
    return user


def split_query(raw_query: str) -> tuple[str, dict[str, str]]:
    """Return what goes upstream, byte for byte, and our own parameters by their name in small letters.

    `api-key` is taken out too: it could only be a key of ours, which the upstream must not see.
    """
    theirs, ours = [], {}
    for part in raw_query.split("&"):
        name, _, value = part.partition("=")
        name = unquote_plus(name).lower()
        if name.startswith(OURS):
            ours[name] = unquote_plus(value)
        elif part and name != "api-key":
            theirs.append(part)
    return "&".join(theirs), ours


def read_tags(text: str) -> dict[str, str] | Refusal:
    """Return the tags that `team=a, call=42` stands for."""
    tags: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not _TAG_NAME.fullmatch(name) or len(name) > TAG_NAME_CHARS_MAX:
            return _bad(
                "Talkmeter-Tags must look like `team=a, call=42`: names of letters, digits, `_`, `-`"
                f" and `.`, at most {TAG_NAME_CHARS_MAX} characters."
            )
        if not _is_text(value, TAG_VALUE_CHARS_MAX):
            return _bad(
                f"Talkmeter-Tags: the value of {name!r} must be 1 to {TAG_VALUE_CHARS_MAX}"
                " printable characters."
            )
        if name in tags:
            return _bad(f"Talkmeter-Tags: {name!r} stands there twice.")
        tags[name] = value
    return tags if len(tags) <= TAGS_MAX else _bad(f"Talkmeter-Tags: at most {TAGS_MAX} tags.")


def _model(query: str) -> str | None:
    """Return the model that the URL names, if any. What no model is called is left to the upstream."""
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name == "model" and value:
            model = unquote_plus(value)
            return model if _is_text(model, MODEL_CHARS_MAX) else None
    return None


def _is_text(value: str, chars_max: int) -> bool:
    return 0 < len(value) <= chars_max and value.isprintable()  # which lone surrogates are not


def _bad(message: str) -> Refusal:
    return replace(BAD_REQUEST, message=message)
