"""Signing what is sent to webhooks: the symmetric scheme of Standard Webhooks.

The signature is `v1,` and the base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`, the timestamp in whole
seconds since the epoch. Several, for a secret that is being replaced, stand in one header with
spaces between. Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

SECRET_PREFIX = "whsec_"
SECRET_BYTES_MIN = 24  # the scheme's own bounds
SECRET_BYTES_MAX = 64


def secret_from(random: bytes) -> str:
    """Return the secret that `random`, 24 to 64 random bytes, is written as."""
    if not SECRET_BYTES_MIN <= len(random) <= SECRET_BYTES_MAX:
        raise ValueError(f"a secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes, not {len(random)}")
    return SECRET_PREFIX + base64.b64encode(random).decode()


def signature(secret: str, message_id: str, at: datetime, body: bytes) -> str:
    """Return the signature of one message with one secret.

    Raises:
        ValueError: the secret is not `whsec_` and base64.
    """
    signed = b".".join((message_id.encode(), str(_seconds(at)).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()


def signed_headers(secrets: Sequence[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the three headers of a message that is sent at `at`, signed with each of `secrets`.

    Raises:
        ValueError: a secret is not `whsec_` and base64.
    """
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(_seconds(at)),
        "webhook-signature": " ".join(signature(secret, message_id, at, body) for secret in secrets),
    }


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a webhook's secret is not base64") from None  # never quoted
