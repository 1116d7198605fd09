"""What a browser keeps while its person is at the identity provider, sealed so that nobody can change it."""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

ATTEMPT = timedelta(minutes=10)  # for a person to sign in there
SEALED_CHARS_MAX = 1_000
RANDOM_BYTES = 32
_SEALED_AS = b"talkmeter sign-in attempt v1\n"  # nothing else that this key signs looks like one


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is made up for one sign-in. All of it is random."""

    state: str
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)

    @property
    def code_challenge(self) -> str:
        """Return what the provider is told of the verifier (RFC 7636, S256)."""
        return to_base64(hashlib.sha256(self.code_verifier.encode()).digest())


def new_attempt() -> Attempt:
    """Return one that nobody can guess."""
    return Attempt(*(secrets.token_urlsafe(RANDOM_BYTES) for _ in range(3)))


def seal(attempt: Attempt, key: bytes, now: datetime) -> str:
    """Return an attempt as a cookie's value, which cannot be changed, and lasts for `ATTEMPT`.

    It can be read: the cookie is for the browser that began, and for no script in it.
    """
    ends_at = int((now + ATTEMPT).timestamp())
    body = msgspec.json.encode([attempt.state, attempt.nonce, attempt.code_verifier, ends_at])
    return f"{to_base64(body)}.{to_base64(_signature(key, body))}"


def unseal(text: str, key: bytes, now: datetime) -> Attempt | None:
    """Return the attempt, None for anything that `seal` did not make with this key in the last minutes."""
    if len(text) > SEALED_CHARS_MAX or not text.isascii():
        return None
    try:
        body, signature = (_from_base64(part) for part in text.split("."))
    except ValueError:  # binascii.Error is one, and so are too many parts
        return None
    if not hmac.compare_digest(signature, _signature(key, body)):
        return None
    state, nonce, code_verifier, ends_at = msgspec.json.decode(body, type=tuple[str, str, str, int])
    return Attempt(state, nonce, code_verifier) if now.timestamp() < ends_at else None


def to_base64(data: bytes) -> str:
    """Return URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_base64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _signature(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, _SEALED_AS + body, hashlib.sha256)
