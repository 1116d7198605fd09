"""What a browser keeps while its person signs in elsewhere: nobody can change it, and it does not last."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from proxy.console.attempt import ATTEMPT, Attempt, new_attempt, seal, unseal

KEY = b"k" * 32
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
MOMENT = timedelta(seconds=1)


def test_it_lasts_for_ten_minutes() -> None:
    attempt = new_attempt()
    text = seal(attempt, KEY, NOW)
    assert unseal(text, KEY, NOW) == attempt
    assert unseal(text, KEY, NOW + ATTEMPT - MOMENT) == attempt
    assert unseal(text, KEY, NOW + ATTEMPT) is None


def test_another_key_does_not_open_it() -> None:
    assert unseal(seal(new_attempt(), KEY, NOW), b"l" * 32, NOW) is None


@given(st.integers(min_value=0), st.characters(max_codepoint=126, min_codepoint=45))
def test_a_changed_one_is_none(at: int, character: str) -> None:
    """Whichever character it is that somebody changes, it never becomes another attempt."""
    attempt = Attempt("s", "n", "v")
    text = seal(attempt, KEY, NOW)
    at %= len(text)
    assert unseal(text[:at] + character + text[at + 1 :], KEY, NOW) in (None, attempt)
    assert unseal(text[:at], KEY, NOW) is None


@given(st.text())
def test_anything_else_is_none(text: str) -> None:
    assert unseal(text, KEY, NOW) is None
    assert unseal(f"{text}.{text}", KEY, NOW) is None


def test_attempts_are_told_apart_and_do_not_show() -> None:
    one, other = new_attempt(), new_attempt()
    assert len({one.state, one.nonce, one.code_verifier, other.state, other.nonce, other.code_verifier}) == 6
    assert len(one.code_verifier) >= 43  # as RFC 7636 has it
    assert one.code_verifier not in repr(one) and one.nonce not in repr(one)


def test_a_challenge_is_the_one_of_the_standard() -> None:
    """RFC 7636, appendix B."""
    attempt = Attempt("s", "n", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert attempt.code_challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
