"""ID tokens: whether a provider signed one, for us, for this sign-in, and lately. Pure.

Source: OpenID Connect Core 1.0, section 3.1.3.7; RFC 7515 and 7517 for signatures and keys.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from joserfc import jwt
from joserfc.errors import ClaimError, ExpiredTokenError, JoseError
from joserfc.jwk import JWKRegistry, Key
from joserfc.jws import JWSRegistry, extract_compact

LEEWAY_S = 60  # by which clocks may differ
SUBJECT_CHARS_MAX = 255  # as the standard has it
KEYS_MAX = 100
RSA_BITS_MIN = 2_048
# Only what a provider signs with a key of its own: never `none`, never a secret that it shares with us.
KEY_TYPES = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
}
_PUBLIC = ("kty", "kid", "alg", "use", "n", "e", "crv", "x", "y")
_BITS_PER_CHARACTER = 6  # of base64
_SIGNATURES = JWSRegistry(algorithms=tuple(KEY_TYPES), strict_check_header=False)

Claims = Mapping[str, Any]


class BadToken(Exception):
    """A token that proves nothing. The text ends a sentence: what is wrong with it."""


class UnknownKey(BadToken):
    """None of the keys signed it: newer ones may have."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token has to say."""

    issuer: str
    client_id: str
    nonce: str
    at: datetime


def keys_in(answer: Mapping[str, Any]) -> Sequence[Key]:
    """Return the public keys of a JWK set that may sign; others, and what is no key, are left out."""
    found = answer.get("keys")
    listed = found[:KEYS_MAX] if isinstance(found, list) else []
    return [key for one in listed if isinstance(one, dict) and (key := _key(one)) is not None]


def _key(given: Mapping[str, Any]) -> Key | None:
    public = {name: given[name] for name in _PUBLIC if isinstance(given.get(name), str)}
    if public.get("kty") not in KEY_TYPES.values() or public.get("use", "sig") != "sig":
        return None
    if public["kty"] == "RSA" and len(public.get("n", "")) * _BITS_PER_CHARACTER < RSA_BITS_MIN:
        return None
    try:
        return JWKRegistry.import_key(public)
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def checked_claims(token: str, keys: Sequence[Key], expected: Expected) -> Claims:
    """Return what a token says, once everything about it is as it should be.

    Raises:
        UnknownKey: none of these keys is the one that signed it.
        BadToken: something else is wrong.
    """
    key = _key_of(token, keys)
    try:
        claims = jwt.decode(token, key, registry=_SIGNATURES).claims
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise BadToken("its signature is wrong") from error
    _check(claims, expected)
    return claims


def _key_of(token: str, keys: Sequence[Key]) -> Key:
    """Return the one key that a token can be signed with, by what its header says."""
    try:
        header: object = extract_compact(token.encode(), registry=_SIGNATURES).headers()
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise BadToken("it is no signed token") from error
    if not isinstance(header, dict):
        raise BadToken("it is no signed token")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in KEY_TYPES:
        raise BadToken(f"it is signed by {str(algorithm)[:20]!r}, and not with a key that only it has")
    fitting = [one for one in keys if one.key_type == KEY_TYPES[algorithm] and one.alg in (None, algorithm)]
    mine = fitting if kid is None else [one for one in fitting if one.kid == kid]
    if len(mine) != 1:
        raise UnknownKey("it is signed with a key that the provider does not publish")
    return mine[0]


def _check(claims: Claims, expected: Expected) -> None:
    wanted = jwt.JWTClaimsRegistry(
        now=int(expected.at.timestamp()),
        leeway=LEEWAY_S,
        iss={"essential": True, "value": expected.issuer},
        aud={"essential": True, "value": expected.client_id},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    )
    try:
        wanted.validate(dict(claims))
    except ExpiredTokenError as error:
        raise BadToken("it has expired: the clocks may differ") from error
    except ClaimError as error:
        raise BadToken(f"its {error.claim!r} is missing or wrong") from error
    audience, party = claims["aud"], claims.get("azp")
    if party != expected.client_id and (party is not None or (isinstance(audience, list) and audience[1:])):
        raise BadToken("its 'azp' is missing or wrong")
    if claims.get("nonce") != expected.nonce:
        raise BadToken("its 'nonce' is missing or wrong")
    if not 0 < len(claims["sub"].strip()) <= SUBJECT_CHARS_MAX or not claims["sub"].isprintable():
        raise BadToken("its 'sub' is missing or wrong")
