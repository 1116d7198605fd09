"""API tokens: recognised by their hash, while they are good; their use is written down to the minute."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from proxy.store import StoreError
from proxy.store.database import reading, writing
from proxy.store.keys import hash_secret
from proxy.store.tenants import create_tenant
from proxy.store.tokens import Token, TokenRole, create_token, is_use_due, revoke_token, token_of, used
from tests.ledgers import ACT, NOW, PEPPER


def make(database: Engine, name: str = "ann", **facts: object) -> tuple[Token, str]:
    with writing(database) as connection:
        given: dict[str, object] = {"role": TokenRole.ADMIN} | facts
        return create_token(connection, PEPPER, name=name, act=ACT, **given)  # type: ignore[arg-type]


def found(database: Engine, secret: str, minutes: int = 0) -> Token | None:
    with reading(database) as connection:
        return token_of(connection, hash_secret(secret, PEPPER), NOW + timedelta(minutes=minutes))


def test_a_token_is_found_by_its_secret_until_it_expires_or_is_revoked(database: Engine) -> None:
    made, secret = make(database, expires_at=NOW + timedelta(minutes=5))
    assert found(database, secret) == made
    assert found(database, secret, 5) is None
    assert found(database, secret + "x") is None
    lasting, other = make(database, "bob")
    with writing(database) as connection:
        revoke_token(connection, lasting.id, ACT)
    assert found(database, other) is None


def test_a_confined_token_knows_its_tenants(database: Engine) -> None:
    with writing(database) as connection:
        for name in ("acme", "globex"):
            create_tenant(connection, name, ACT)
    made, secret = make(database, role=TokenRole.VIEWER, tenants=["globex", "acme", "acme"])
    seen = found(database, secret)
    assert seen is not None and seen == made
    assert sorted(one.name for one in seen.tenants) == ["acme", "globex"]


def test_use_is_written_down_once_a_minute(database: Engine) -> None:
    made, secret = make(database)
    assert is_use_due(made, NOW)
    with writing(database) as connection:
        used(connection, made.id, NOW)
    seen = found(database, secret)
    assert seen is not None and seen.last_used_at == NOW
    assert not is_use_due(seen, NOW + timedelta(seconds=59))
    assert is_use_due(seen, NOW + timedelta(seconds=61))


def test_names_tell_tokens_apart_for_ever(database: Engine) -> None:
    made, _ = make(database)
    with writing(database) as connection:
        revoke_token(connection, made.id, ACT)
    for name in ("ann", "admin-token"):
        with pytest.raises(StoreError, match="already"):
            make(database, name)
