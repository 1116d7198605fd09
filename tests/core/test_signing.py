"""Signatures, against the published vector and against an HMAC of our own."""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.signing import secret_from, signature, signed_headers

PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"

# From the tests of the scheme's own libraries, and Svix's before them.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = datetime.fromtimestamp(1_614_265_330, UTC)
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_vector() -> None:
    assert signature(SECRET, MESSAGE_ID, AT, BODY) == SIGNATURE


@given(st.binary(min_size=24, max_size=64), st.binary(max_size=200), st.integers(0, 4_000_000_000))
def test_any_implementation_of_hmac_agrees(key: bytes, body: bytes, seconds: int) -> None:
    at = datetime.fromtimestamp(seconds, UTC).replace(microsecond=999_999)
    headers = signed_headers([secret_from(key)], "msg_1", at, body)
    mac = hmac.new(key, f"msg_1.{seconds}.".encode() + body, hashlib.sha256).digest()
    assert headers == {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def test_a_secret_that_is_being_replaced_signs_too() -> None:
    newer = secret_from(b"n" * 24)
    both = signed_headers([newer, SECRET], MESSAGE_ID, AT, BODY)["webhook-signature"].split(" ")
    assert both == [signature(newer, MESSAGE_ID, AT, BODY), SIGNATURE]


def test_a_secret_that_is_none_is_not_quoted() -> None:
    with pytest.raises(ValueError, match="not base64") as raised:
        signature("whsec_canary!", MESSAGE_ID, AT, BODY)
    assert "canary" not in str(raised.value) and raised.value.__cause__ is None


@pytest.mark.parametrize("size", [0, 23, 65])
def test_a_secret_has_the_schemes_length(size: int) -> None:
    with pytest.raises(ValueError, match="24 to 64"):
        secret_from(b"x" * size)


def test_the_pages_way_to_verify_works() -> None:
    """The example in docs/webhooks.md takes what is genuine and fresh, and nothing else."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    is_genuine: Callable[..., bool] = names["is_genuine"]
    now = datetime.now(UTC)
    headers = signed_headers([secret_from(b"n" * 24), SECRET], MESSAGE_ID, now, BODY)
    assert is_genuine(SECRET, headers, BODY)
    assert not is_genuine(SECRET, headers, BODY + b" ")
    assert not is_genuine(secret_from(b"x" * 24), headers, BODY)
    assert not is_genuine(SECRET, signed_headers([SECRET], MESSAGE_ID, AT, BODY), BODY)
