"""`talkmeter console`."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from proxy.store.database import open_database, writing
from proxy.store.keys import LINK_PREFIX, looks_like_secret
from proxy.store.local_admin import administrator, check_password, use_link
from proxy.store.sign_ins import Person, SignIn, Way, begin
from proxy.store.tenants import create_tenant
from proxy.store.tokens import TokenRole, TokenTenant
from tests.cli.conftest import Talkmeter
from tests.ledgers import ACT, PEPPER

PASSWORD = "correct horse battery"


@pytest.fixture
def engine(talkmeter: Talkmeter, database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url)
    yield engine
    engine.dispose()


def test_a_password_is_typed_twice_and_not_shown(talkmeter: Talkmeter, engine: Engine) -> None:
    said = talkmeter("console", "password", given=f"{PASSWORD}\n{PASSWORD}\n")
    assert "password is set. Sign-ins ended by that: 0." in said.out
    assert PASSWORD not in said.out + said.err
    assert check_password(engine, PASSWORD)
    audited = talkmeter("audit", "list").out
    assert "local_admin.set_password" in audited and PASSWORD not in audited


def test_a_program_gives_it_in_a_line(talkmeter: Talkmeter, engine: Engine) -> None:
    words = ("console", "password", "--stdin", "--json", "--reason", "new year")
    assert talkmeter(*words, given=f"{PASSWORD}\r\nmore\n").json == {"password": "set", "sign_ins_ended": 0}
    assert check_password(engine, PASSWORD)
    assert "new year" in talkmeter("audit", "list").out
    assert talkmeter("console", "password", "--remove", "--json").json["password"] == "removed"
    assert not check_password(engine, PASSWORD)


def test_mistakes_are_told(talkmeter: Talkmeter) -> None:
    line = ("console", "password", "--stdin")
    assert "at least 12 and at most 1,000" in talkmeter.fails(*line, given="short\n")
    assert "at least 12 and at most 1,000" in talkmeter.fails(*line, given="x" * 5_000)
    assert "nothing to remove" in talkmeter.fails("console", "password", "--remove")
    assert "nothing to read" in talkmeter.fails(*line, "--remove", code=2)
    assert "no sign-in 'sgi_none'" in talkmeter.fails("console", "end", "sgi_none")
    assert "1440" in talkmeter.fails("console", "link", "--minutes", "1441", code=2)


@pytest.mark.parametrize(
    ("variables", "base"),
    [
        ({}, "http://127.0.0.1:8081"),
        ({"ADMIN_LISTEN": "0.0.0.0:9000"}, "http://127.0.0.1:9000"),
        ({"PUBLIC_URL": "https://talkmeter.example.com"}, "https://talkmeter.example.com"),
    ],
)
def test_a_link_signs_in_once(
    talkmeter: Talkmeter,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    base: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"TALKMETER_{name}", value)
    made = talkmeter("console", "link", "--minutes", "30", "--json").json
    assert made["url"].startswith(f"{base}/sign-in/link/tml_")
    secret = made["url"].rpartition("/")[2]
    now = datetime.now(UTC)
    lasts = datetime.fromisoformat(made["expires_at"]) - now
    assert timedelta(minutes=29) < lasts <= timedelta(minutes=30)
    with writing(engine) as connection:
        assert [use_link(connection, PEPPER, secret, now) for _ in range(2)] == [True, False]
    said = talkmeter("console", "link").out
    assert "within 10 minutes" in said and looks_like_secret(said.rpartition("/")[2].strip(), LINK_PREFIX)


def test_who_is_signed_in_is_listed_and_ended(talkmeter: Talkmeter, engine: Engine) -> None:
    def sign_in(person: Person) -> SignIn:
        with writing(engine) as connection:
            return begin(connection, PEPPER, person, datetime.now(UTC))[0]

    with writing(engine) as connection:
        acme = create_tenant(connection, "acme", ACT)
    tenants = (TokenTenant(acme.id, acme.name),)
    ann = sign_in(Person(Way.OIDC, "https://id 1", "ann@example.com", TokenRole.VIEWER, tenants))
    local = sign_in(administrator(Way.LINK))
    (first, second) = talkmeter("console", "sign-ins", "--json").json
    assert (first["id"], first["name"], first["way"], first["role"]) == (
        ann.id,
        "ann@example.com",
        "oidc",
        "viewer",
    )
    assert first["tenants"] == [{"id": acme.id, "name": "acme"}] and second["name"] == "local-admin"
    table = talkmeter("console", "sign-ins").out
    assert ann.id in table and "acme" in table and "link" in table and "all" in table
    assert "is ended" in talkmeter("console", "end", ann.id, "--reason", "left").out
    assert talkmeter("console", "end", local.id, "--json").json == {"id": local.id, "ended": True}
    assert talkmeter("console", "sign-ins", "--json").json == []
    assert "sign_in.end" in talkmeter("audit", "list").out
