"""Sign-ins: recognised by their hash until they end; never wider than what they began with."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, select

from proxy.store import NotFound, StoreError
from proxy.store.approvals import LASTS as APPROVAL_LASTS
from proxy.store.audit import list_audit
from proxy.store.columns import metadata
from proxy.store.database import reading, writing
from proxy.store.keys import SIGN_IN_PREFIX, hash_secret, looks_like_secret
from proxy.store.local_admin import administrator
from proxy.store.schema import sign_in, sign_in_tenant
from proxy.store.sign_ins import (
    LOCAL_ADMIN,
    SIGN_INS_MAX,
    SUBJECT_CHARS_MAX,
    Person,
    SignIn,
    Way,
    begin,
    end,
    end_all_of,
    is_seen_due,
    list_sign_ins,
    names_of,
    seen,
    sign_in_of,
)
from proxy.store.tenants import archive_tenant, create_tenant
from proxy.store.tokens import TENANTS_MAX, TokenRole, TokenTenant
from tests.ledgers import ACT, NOW, PEPPER

ANN = Person(Way.OIDC, "https://id.example.com 42", "ann@example.com", TokenRole.FINANCE)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def sign_in_as(database: Engine, person: Person = ANN, now: datetime = NOW) -> tuple[SignIn, str]:
    with writing(database) as connection:
        return begin(connection, PEPPER, person, now)


def found(database: Engine, secret: str, after: timedelta = timedelta()) -> SignIn | None:
    with reading(database) as connection:
        return sign_in_of(connection, hash_secret(secret, PEPPER), NOW + after)


def see(database: Engine, one: SignIn, after: timedelta) -> None:
    with writing(database) as connection:
        seen(connection, one.id, NOW + after)


def tenants(database: Engine, *names: str) -> tuple[TokenTenant, ...]:
    with writing(database) as connection:
        made = [create_tenant(connection, name, ACT) for name in names]
    return tuple(TokenTenant(one.id, one.name) for one in made)


def archive(database: Engine, name: str) -> None:
    with writing(database) as connection:
        archive_tenant(connection, name, ACT)


def audited(database: Engine) -> list[tuple[str, str, str]]:
    with reading(database) as connection:
        rows = list_audit(connection)
    return [(one.actor, one.action, one.object) for one in rows if one.action.startswith("sign_in")]


def test_a_sign_in_is_found_by_its_secret_and_by_nothing_else(database: Engine) -> None:
    made, secret = sign_in_as(database)
    assert made.id.startswith("sgi_") and looks_like_secret(secret, SIGN_IN_PREFIX)
    assert made.expires_at == NOW + 12 * HOUR and made.person == ANN
    assert found(database, secret) == made
    assert found(database, secret + "x") is None
    with reading(database) as connection:
        assert sign_in_of(connection, hash_secret(secret, b"another pepper"), NOW) is None
        rows = [str(row) for one in metadata.sorted_tables for row in connection.execute(select(one))]
    assert not any(secret in row or secret[:12] in row for row in rows)
    assert audited(database) == [("user:ann@example.com", "sign_in.begin", made.id)]


def test_it_ends_after_an_idle_hour(database: Engine) -> None:
    made, secret = sign_in_as(database)
    assert found(database, secret, HOUR - MINUTE) == made
    assert found(database, secret, HOUR) is None
    see(database, made, HOUR - MINUTE)
    assert found(database, secret, 2 * HOUR - 2 * MINUTE) is not None
    assert found(database, secret, 2 * HOUR - MINUTE) is None


def test_it_ends_after_half_a_day_however_busy_it_is(database: Engine) -> None:
    made, secret = sign_in_as(database)
    see(database, made, 12 * HOUR - MINUTE)
    assert found(database, secret, 12 * HOUR - MINUTE) is not None
    assert found(database, secret, 12 * HOUR) is None


def test_being_seen_is_written_down_once_a_minute(database: Engine) -> None:
    made, secret = sign_in_as(database)
    assert not is_seen_due(made, NOW + timedelta(seconds=59)) and is_seen_due(made, NOW + MINUTE)
    see(database, made, MINUTE)
    assert found(database, secret, MINUTE) == replace(made, seen_at=NOW + MINUTE)


def test_it_is_ended_once(database: Engine) -> None:
    made, secret = sign_in_as(database)
    _, other = sign_in_as(database)
    for _ in range(2):
        with writing(database) as connection:
            end(connection, made.id, ACT)
    assert found(database, secret) is None and found(database, other) is not None
    assert audited(database).count(("test", "sign_in.end", made.id)) == 1
    with writing(database) as connection, pytest.raises(NotFound, match="no sign-in 'sgi_none'"):
        end(connection, "sgi_none", ACT)


def test_all_of_a_subject_end_and_nobody_elses(database: Engine) -> None:
    secrets = [sign_in_as(database)[1] for _ in range(3)]
    _, others = sign_in_as(database, replace(ANN, subject="https://id.example.com 43"))
    with writing(database) as connection:
        assert end_all_of(connection, ANN.subject, ACT) == 3
        assert end_all_of(connection, ANN.subject, ACT) == 0
    assert [found(database, secret) for secret in secrets] == [None] * 3
    assert found(database, others) is not None


def test_names_of_a_subject_are_known_as_long_as_a_request_for_approval_waits(database: Engine) -> None:
    one, _ = sign_in_as(database)
    with writing(database) as connection:
        end(connection, one.id, ACT)
    sign_in_as(database, replace(ANN, subject="https://id.example.com 43", name="bob@example.com"))
    sign_in_as(database, replace(ANN, name="Ann Other"), NOW + APPROVAL_LASTS)
    with reading(database) as connection:
        assert names_of(connection, ANN.subject) == {"ann@example.com", "Ann Other"}
        assert names_of(connection, "https://id.example.com 44") == frozenset()


def test_the_oldest_ends_where_there_are_too_many(database: Engine) -> None:
    made = [sign_in_as(database) for _ in range(SIGN_INS_MAX + 2)]
    _, others = sign_in_as(database, administrator(Way.LINK))
    alive = [found(database, secret) is not None for _, secret in made]
    assert alive == [False] * 2 + [True] * SIGN_INS_MAX and found(database, others)
    ended = [object for _, action, object in audited(database) if action == "sign_in.end"]
    assert ended == [one.id for one, _ in made[:2]]


def test_those_that_are_over_make_room_by_themselves(database: Engine) -> None:
    for _ in range(SIGN_INS_MAX):
        sign_in_as(database)
    sign_in_as(database, now=NOW + 2 * HOUR)
    assert not [action for _, action, _ in audited(database) if action == "sign_in.end"]


def test_who_is_signed_in_is_listed(database: Engine) -> None:
    (first, _), (second, _) = sign_in_as(database), sign_in_as(database, administrator(Way.PASSWORD))
    ended, _ = sign_in_as(database)
    with writing(database) as connection:
        end(connection, ended.id, ACT)
        assert list_sign_ins(connection, NOW) == [first, second]
        assert list_sign_ins(connection, NOW + HOUR) == []


def test_archived_tenants_drop_out(database: Engine) -> None:
    acme, globex = tenants(database, "acme", "globex")
    made, secret = sign_in_as(database, replace(ANN, role=TokenRole.VIEWER, tenants=(globex, acme, acme)))
    assert made.person.tenants == (acme, globex)
    assert found(database, secret) == made
    archive(database, "acme")
    left = found(database, secret)
    assert left is not None and left.person.tenants == (globex,)


@pytest.mark.parametrize("role", TokenRole)
def test_who_was_confined_is_never_without_tenants(database: Engine, role: TokenRole) -> None:
    """A sign-in without tenants sees all of them."""
    confined = replace(ANN, role=role, tenants=tenants(database, "acme"))
    _, secret = sign_in_as(database, confined)
    archive(database, "acme")
    assert found(database, secret) is None
    with reading(database) as connection:
        assert list_sign_ins(connection, NOW) == []
    with pytest.raises(StoreError, match="are archived, or do not exist"):
        sign_in_as(database, confined)


def test_a_viewer_whose_tenants_somebody_removed_sees_nothing(database: Engine) -> None:
    viewer = replace(ANN, role=TokenRole.VIEWER, tenants=tenants(database, "acme"))
    _, secret = sign_in_as(database, viewer)
    with writing(database) as connection:
        connection.execute(sign_in_tenant.delete())
    assert found(database, secret) is None


@pytest.mark.parametrize(
    ("person", "said"),
    [
        (replace(ANN, role=TokenRole.VIEWER), "give at least one"),
        (replace(ANN, name=" "), "A name has 1 to"),
        (replace(ANN, name="ann\n"), None),
        (replace(ANN, name="an\nn"), "printable"),
        (replace(ANN, name="a" * 101), "A name has 1 to"),
        (replace(ANN, subject=""), "printable"),
        (replace(ANN, subject="https://id.example.com\t4"), "printable"),
        (replace(ANN, subject="a" * (SUBJECT_CHARS_MAX + 1)), "printable"),
        (replace(ANN, subject=LOCAL_ADMIN), "nobody else"),
        (replace(ANN, name=LOCAL_ADMIN), "nobody else"),
        (replace(ANN, way=Way.PASSWORD), "nobody else"),
        (replace(ANN, tenants=(TokenTenant("ten_none", "none"),)), "do not exist"),
        (replace(ANN, tenants=tuple(TokenTenant(str(n), "x") for n in range(TENANTS_MAX + 1))), "at most"),
    ],
)
def test_who_can_sign_in(database: Engine, person: Person, said: str | None) -> None:
    if said is None:
        assert sign_in_as(database, person)[0].person.name == "ann"
        return
    with pytest.raises(StoreError, match=said):
        sign_in_as(database, person)


def test_what_ended_long_ago_is_deleted(database: Engine) -> None:
    confined = replace(ANN, tenants=tenants(database, "acme"))
    old, _ = sign_in_as(database, confined)
    with writing(database) as connection:
        end(connection, old.id, ACT)
    kept, _ = sign_in_as(database, confined, NOW + HOUR)
    newest, _ = sign_in_as(database, now=NOW + timedelta(days=30, minutes=1))
    with reading(database) as connection:
        ids = connection.execute(select(sign_in.c.id).order_by(sign_in.c.id)).scalars().all()
        assert ids == [kept.id, newest.id]
        assert connection.execute(select(sign_in_tenant.c.sign_in_id)).scalars().all() == [kept.id]
