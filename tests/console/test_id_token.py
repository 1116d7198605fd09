"""ID tokens and the keys that they are signed with."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import Key, OctKey, OKPKey

from proxy.console.id_token import BadToken, Expected, UnknownKey, checked_claims, keys_in
from tests.console.identity_provider import ec_key, encoded, rsa_key

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
AT = int(NOW.timestamp())
EXPECTED = Expected("https://login.example.com", "talkmeter", "n0nce", NOW)
GOOD = {
    "iss": "https://login.example.com",
    "aud": "talkmeter",
    "sub": "ada",
    "exp": AT + 300,
    "iat": AT,
    "nonce": "n0nce",
}


def test_only_public_keys_that_sign_are_taken() -> None:
    """A set may hold others; they are left out, and so is what is no key at all."""
    good, private = rsa_key("one"), rsa_key("two")
    listed = [
        good.as_dict(private=False),
        private.as_dict(private=True),
        ec_key("three").as_dict(private=False),
        OctKey.import_key("shared secret of some length").as_dict(),
        OKPKey.generate_key("Ed25519").as_dict(private=False),
        {**good.as_dict(private=False), "use": "enc"},
        {"kty": "RSA", "n": f"{'g' * 169}AQ", "e": "AQAB"},  # 1,024 bits are too few
        {"kty": "RSA"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": 7},
        "no key",
    ]
    found = keys_in({"keys": listed})
    assert [one.kid for one in found] == ["one", "two", "three"]
    assert not any(one.is_private for one in found)
    assert keys_in({}) == keys_in({"keys": {}}) == []


@pytest.mark.parametrize(
    "claims", [{}, {"aud": ["talkmeter"]}, {"aud": ["a", "talkmeter"], "azp": "talkmeter"}]
)
@pytest.mark.parametrize("algorithm", ["RS256", "PS384"])
def test_what_is_as_it_should_be(algorithm: str, claims: dict[str, object]) -> None:
    given = GOOD | claims
    token = jwt.encode({"alg": algorithm, "kid": "one"}, dict(given), rsa_key("one"), algorithms=[algorithm])
    assert (
        checked_claims(token, keys_in({"keys": [rsa_key("one").as_dict(private=False)]}), EXPECTED) == given
    )


def test_a_key_without_a_name() -> None:
    """Where only one key fits the algorithm a token need not say which; of two it has to."""
    token = jwt.encode({"alg": "ES256"}, dict(GOOD), ec_key("three"))
    keys: list[Key] = [rsa_key("one"), ec_key("three")]
    assert checked_claims(token, keys, EXPECTED)["sub"] == "ada"
    with pytest.raises(UnknownKey):
        checked_claims(token, [*keys, ec_key("four")], EXPECTED)


@pytest.mark.parametrize(("exp", "iat"), [(AT - 59, AT), (AT + 300, AT + 60)])
def test_clocks_may_differ_by_a_minute(exp: int, iat: int) -> None:
    token = jwt.encode({"alg": "RS256", "kid": "one"}, {**GOOD, "exp": exp, "iat": iat}, rsa_key("one"))
    assert checked_claims(token, [rsa_key("one")], EXPECTED)["exp"] == exp


@given(
    st.text()
    | st.builds(
        lambda a, b, c: f"{a.decode()}.{b}.{c}", st.builds(encoded, st.just({})), st.text(), st.text()
    )
)
def test_whatever_comes_is_refused_and_breaks_nothing(token: str) -> None:
    with pytest.raises(BadToken):
        checked_claims(token, [rsa_key("one")], EXPECTED)


@pytest.mark.parametrize(
    "header", [{"alg": 7}, {"alg": None}, {"alg": "RS256", "kid": 7}, {"alg": "RS256", "crit": 7}]
)
def test_odd_headers(header: dict[str, object]) -> None:
    token = b".".join((encoded(header), encoded(GOOD), b"AA")).decode()
    with pytest.raises(BadToken):
        checked_claims(token, [rsa_key("one")], EXPECTED)
    listed = b".".join((b"WyJhbGciXQ", encoded(GOOD), b"AA")).decode()  # ["alg"]
    with pytest.raises(BadToken):
        checked_claims(listed, [rsa_key("one")], EXPECTED)
