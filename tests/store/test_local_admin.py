"""The local administrator: a password that leaves no trace, and links that sign in exactly once."""

import threading
from datetime import datetime, timedelta

import pytest
from argon2 import PasswordHasher
from sqlalchemy import Engine, select, update

from proxy.store import StoreError
from proxy.store import local_admin as passwords
from proxy.store.columns import metadata
from proxy.store.database import open_database, reading, writing
from proxy.store.keys import LINK_PREFIX, hash_secret, looks_like_secret
from proxy.store.local_admin import (
    DUMMY,
    HASHER,
    LINKS_MAX,
    administrator,
    check_password,
    make_link,
    remove_password,
    set_password,
    use_link,
)
from proxy.store.schema import local_admin, sign_in_link
from proxy.store.sign_ins import Way, begin, sign_in_of
from tests.ledgers import ACT, NOW, PEPPER

PASSWORD = "correct horse battery"
MINUTE = timedelta(minutes=1)


def set_to(database: Engine, password: str = PASSWORD) -> int:
    with writing(database) as connection:
        return set_password(connection, password, ACT)


def link(database: Engine, lasts: timedelta = 10 * MINUTE, now: datetime = NOW) -> str:
    with writing(database) as connection:
        return make_link(connection, PEPPER, ACT, now, lasts)


def used(database: Engine, secret: str, now: datetime = NOW) -> bool:
    with writing(database) as connection:
        return use_link(connection, PEPPER, secret, now)


def everything(database: Engine) -> str:
    """Return all that is kept, as text."""
    with reading(database) as connection:
        rows = [str(row) for one in metadata.sorted_tables for row in connection.execute(select(one))]
    return "\n".join(rows)


def test_a_password_is_checked_changed_and_removed(database: Engine) -> None:
    assert not check_password(database, PASSWORD)
    set_to(database)
    assert check_password(database, PASSWORD)
    assert not check_password(database, PASSWORD + " ") and not check_password(database, "")
    set_to(database, "another long one")
    assert not check_password(database, PASSWORD) and check_password(database, "another long one")
    with writing(database) as connection:
        remove_password(connection, ACT)
        with pytest.raises(StoreError, match="nothing to remove"):
            remove_password(connection, ACT)
    assert not check_password(database, "another long one")


@pytest.fixture
def as_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash as it is done outside of tests."""
    monkeypatch.setattr(passwords, "HASHER", HASHER)
    monkeypatch.setattr(passwords, "DUMMY", DUMMY)


@pytest.mark.usefixtures("as_in_production")
def test_nothing_of_a_password_is_kept_but_its_hash(database: Engine) -> None:
    set_to(database)
    kept = everything(database)
    assert "local_admin.set_password" in kept and "$argon2id$v=19$m=65536,t=3,p=4$" in kept
    assert PASSWORD not in kept and "battery" not in kept


@pytest.mark.parametrize("password", ["", "elevenchars", "x" * 1_001])
def test_a_password_of_another_length_is_refused(database: Engine, password: str) -> None:
    with pytest.raises(StoreError, match="at least 12 and at most 1,000 characters") as caught:
        set_to(database, password)
    assert not password or password not in str(caught.value)
    assert not check_password(database, password)


@pytest.mark.parametrize("password", ["x" * 12, "x" * 1_000, "\ud800 lone surrogate", "nul\0 within it"])
def test_odd_passwords(database: Engine, password: str) -> None:
    set_to(database, password)
    assert check_password(database, password)
    assert not check_password(database, password + "x")


def test_an_umlaut_is_the_same_whichever_way_it_is_written(database: Engine) -> None:
    set_to(database, "gr\u00fcne W\u00e4lder")
    assert check_password(database, "gru\u0308ne Wa\u0308lder")


def test_setting_and_removing_it_ends_what_is_signed_in(database: Engine) -> None:
    def sign_in_by(way: Way) -> str:
        with writing(database) as connection:
            return begin(connection, PEPPER, administrator(way), NOW)[1]

    def is_in(secret: str) -> bool:
        with reading(database) as connection:
            return sign_in_of(connection, hash_secret(secret, PEPPER), NOW) is not None

    secrets = [sign_in_by(Way.PASSWORD), sign_in_by(Way.LINK)]
    assert all(is_in(secret) for secret in secrets)
    assert set_to(database) == 2 and not any(is_in(secret) for secret in secrets)
    sign_in_by(Way.PASSWORD)
    with writing(database) as connection:
        assert remove_password(connection, ACT) == 1


def test_the_dummy_costs_what_a_password_costs() -> None:
    assert not HASHER.check_needs_rehash(DUMMY)
    assert not HASHER.check_needs_rehash(HASHER.hash("x"))


def stored(database: Engine) -> str:
    with reading(database) as connection:
        return str(connection.execute(select(local_admin.c.password_hash)).scalar_one())


def store(database: Engine, hashed: str) -> None:
    with writing(database) as connection:
        connection.execute(update(local_admin).values(password_hash=hashed))


@pytest.mark.usefixtures("as_in_production")
def test_a_hash_with_other_parameters_is_made_anew(database: Engine) -> None:
    set_to(database)
    weak = PasswordHasher(time_cost=1, memory_cost=1_024, parallelism=1).hash(PASSWORD)
    store(database, weak)
    assert not check_password(database, PASSWORD + "x") and stored(database) == weak
    assert check_password(database, PASSWORD) and not HASHER.check_needs_rehash(stored(database))
    again = stored(database)
    assert check_password(database, PASSWORD) and stored(database) == again


def test_a_damaged_hash_is_told(database: Engine) -> None:
    set_to(database)
    for damaged in ("none", stored(database)[:40]):
        store(database, damaged)
        with pytest.raises(StoreError, match="`talkmeter console password` sets a new one"):
            check_password(database, PASSWORD)


def test_a_link_is_good_once(database: Engine) -> None:
    secret = link(database)
    assert looks_like_secret(secret, LINK_PREFIX)
    assert secret not in everything(database) and "sign_in_link.create" in everything(database)
    assert [used(database, one) for one in (secret + "x", "", secret[:-1], "tml_" + "0" * 43)] == [False] * 4
    assert [used(database, secret), used(database, secret)] == [True, False]


def test_a_link_is_good_until_it_expires(database: Engine) -> None:
    secret, other = link(database), link(database)
    assert not used(database, secret, NOW + 10 * MINUTE)
    assert used(database, other, NOW + 10 * MINUTE - timedelta(seconds=1))


@pytest.mark.parametrize("lasts", [timedelta(), -MINUTE, timedelta(days=1, seconds=1)])
def test_a_link_lasts_for_a_day_at_most(database: Engine, lasts: timedelta) -> None:
    with pytest.raises(StoreError, match="at most a day"):
        link(database, lasts)


def test_links_are_no_more_than_so_many_and_old_ones_are_deleted(database: Engine) -> None:
    secrets = [link(database) for _ in range(LINKS_MAX)]
    with pytest.raises(StoreError, match="that nobody has used"):
        link(database)
    assert used(database, secrets[0])
    link(database)
    link(database, now=NOW + timedelta(days=31))
    with reading(database) as connection:
        assert len(connection.execute(select(sign_in_link.c.id)).all()) == 1


@pytest.mark.parametrize("first_goes_through", [True, False])
def test_of_two_who_use_a_link_at_the_same_moment_one_gets_in(
    database: Engine, database_url: str, first_goes_through: bool
) -> None:
    """The second one has to wait for the first: it gets in only where that one's transaction is undone."""
    secret, answers = link(database), list[bool]()
    another = open_database(database_url)
    second = threading.Thread(target=lambda: answers.append(used(another, secret)))
    with writing(database) as connection:
        assert use_link(connection, PEPPER, secret, NOW)
        second.start()
        second.join(0.3)
        assert second.is_alive() and answers == []
        if not first_goes_through:
            connection.rollback()
    second.join(10)
    assert answers == [not first_goes_through]
    assert not used(database, secret)
    another.dispose()


def test_of_many_who_use_a_link_at_once_one_gets_in(database: Engine) -> None:
    secret, answers = link(database), list[bool]()
    start = threading.Barrier(4)

    def use() -> None:
        start.wait()
        answers.append(used(database, secret))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [False, False, False, True]
