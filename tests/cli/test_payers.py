"""`talkmeter tenant`, `project` and `key`."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.core.identity import Principal
from proxy.settings import PREFIX
from proxy.store.catalog import Catalog
from proxy.store.database import open_database
from tests.cli.conftest import Talkmeter
from tests.ledgers import PEPPER


def test_tenants(talkmeter: Talkmeter) -> None:
    made = talkmeter("tenant", "create", "acme", "--json").json
    assert made.keys() == {"id", "name", "created_at", "archived_at"} and made["name"] == "acme"
    assert "Tenant globex was created (ten_" in talkmeter("tenant", "create", "globex").out
    assert [one["name"] for one in talkmeter("tenant", "list", "--json").json] == ["acme", "globex"]
    assert "globex is archived" in talkmeter("tenant", "archive", "globex").out
    assert talkmeter("tenant", "archive", "globex", "--json").json["archived_at"].endswith("Z")
    table = talkmeter("tenant", "list").out
    assert "acme" in table and made["id"] in table and "Archived" in table
    assert talkmeter.fails("tenant", "create", "acme") == (
        f"error: There is a tenant 'acme' already ({made['id']}).\n"
    )


def test_projects(talkmeter: Talkmeter) -> None:
    talkmeter("tenant", "create", "acme")
    made = talkmeter("project", "create", "web", "--tenant", "acme", "--json").json
    assert (made["tenant"], made["name"]) == ("acme", "web")
    assert "Project app of acme was created" in talkmeter("project", "create", "app", "--tenant", "acme").out
    assert [one["name"] for one in talkmeter("project", "list", "--json").json] == ["app", "web"]
    assert "web" in talkmeter("project", "list", "--tenant", "acme").out
    assert "archived" in talkmeter("project", "archive", "web", "--tenant", "acme").out
    assert talkmeter("project", "archive", "web", "--tenant", "acme", "--json").json["archived_at"]
    assert "no tenant 'none'" in talkmeter.fails("project", "list", "--tenant", "none")


async def test_a_key_works_and_is_shown_once(talkmeter: Talkmeter, database_url: str) -> None:
    await asyncio.to_thread(talkmeter, "tenant", "create", "acme")
    words = ("key", "create", "--tenant", "acme", "--project", "web", "--name", "production")
    made = (
        await asyncio.to_thread(
            talkmeter, *words, "--tag", "team=a", "--tag", "q=1=2", "--expires", "2099-01-01", "--json"
        )
    ).json
    assert made["tags"] == {"team": "a", "q": "1=2"} and made["expires_at"] == "2099-01-01T00:00:00Z"
    assert {"id", "secret", "tenant", "project", "name", "prefix"} <= made.keys()
    engine = open_database(database_url)
    catalog = Catalog(engine, PEPPER)
    catalog.start()
    principal = await catalog.authenticate(made["secret"], datetime.now(UTC))
    catalog.stop()
    engine.dispose()
    assert isinstance(principal, Principal) and principal.api_key_id == made["id"]
    listed = await asyncio.to_thread(talkmeter, "key", "list", "--json")
    assert made["secret"] not in listed.out and listed.json[0]["prefix"] == made["secret"][:8]


def test_keys_for_people(talkmeter: Talkmeter) -> None:
    talkmeter("tenant", "create", "acme")
    shown = talkmeter("key", "create", "--tenant", "acme", "--project", "web", "--tag", "team=a").out
    assert "of tenant acme, project web" in shown and "  tm_" in shown
    (key,) = talkmeter("key", "list", "--tenant", "acme", "--json").json
    assert key["id"] in shown
    table = talkmeter("key", "list").out
    assert key["id"] in table and "team=a" in table and "Revoked" not in table
    assert f"Key {key['id']} of tenant acme is revoked." in talkmeter("key", "revoke", key["id"]).out
    assert talkmeter("key", "revoke", key["id"], "--json").json["revoked_at"]
    assert "Revoked" in talkmeter("key", "list").out


def test_a_key_is_rotated(talkmeter: Talkmeter) -> None:
    talkmeter("tenant", "create", "acme")
    old = talkmeter("key", "create", "--tenant", "acme", "--name", "shop", "--json").json
    talkmeter("limit", "set", "sessions", "3", "--tenant", "acme", "--key", old["id"])
    budget = ("--amount", "5", "--window", "day", "--key", old["id"])
    talkmeter("budget", "set", *budget)
    done = talkmeter("key", "rotate", old["id"], "--overlap", "2h", "--reason", "leaked", "--json").json
    assert (done["replaces"], done["name"], done["limits"]) == (old["id"], "shop", ["sessions"])
    lasts = datetime.fromisoformat(done["old"]["expires_at"]) - datetime.fromisoformat(done["created_at"])
    assert (lasts.total_seconds(), done["old"]["replaced_by"]) == (7_200, done["id"])
    assert done["secret"].startswith("tm_") and done["secret"] != old["secret"] and len(done["budgets"]) == 1
    said = talkmeter("key", "rotate", done["id"], "--overlap", "0s").out
    assert f"takes the place of {done['id']}, which works until " in said and "  tm_" in said
    assert "it was given: sessions." in said and "that count from nothing: bud_" in said
    table = talkmeter("key", "list").out
    assert "Replaced by" in table and done["id"] in table
    acts = talkmeter("audit", "list", "--action", "key.rotate", "--object", old["id"], "--json").json
    assert [one["reason"] for one in acts] == ["leaked"]
    assert "rotate that one" in talkmeter.fails("key", "rotate", old["id"])


@pytest.mark.parametrize(
    ("words", "problem", "code"),
    [
        (("key", "rotate", "key_0", "--overlap", "soon"), "no length of time, such as 24h", 2),
        (("key", "rotate", "key_0"), "There is no key 'key_0'", 1),
        (("key", "create", "--tenant", "none"), "There is no tenant 'none'", 1),
        (("key", "create", "--tenant", "acme", "--expires", "2020-01-01"), "expired already", 1),
        (("key", "create", "--tenant", "acme", "--expires", "soon"), "'soon' is not a time", 2),
        (("key", "create", "--tenant", "acme", "--tag", "team"), "'team' is not NAME=VALUE", 2),
        (("key", "create"), "Missing option '--tenant'", 2),
        (("key", "revoke", "key_none"), "There is no key 'key_none'", 1),
        (("tenant", "create", "a\tb"), "printable characters", 1),
    ],
)
def test_mistakes_are_told_in_a_line(
    talkmeter: Talkmeter, words: tuple[str, ...], problem: str, code: int
) -> None:
    talkmeter("tenant", "create", "acme")
    assert problem in talkmeter.fails(*words, code=code)


def test_control_characters_do_not_reach_the_terminal(talkmeter: Talkmeter) -> None:
    talkmeter("tenant", "create", "[red]acme[/red]")
    assert "[red]acme[/red]" in talkmeter("tenant", "list").out


def test_without_a_pepper_one_is_made_beside_the_file(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", sqlite_url)
    monkeypatch.delenv(f"{PREFIX}KEY_PEPPER", raising=False)
    talkmeter = Talkmeter()
    talkmeter("tenant", "create", "acme")
    talkmeter("key", "create", "--tenant", "acme")
    pepper = tmp_path / "talkmeter.pepper"
    assert pepper.stat().st_mode & 0o777 == 0o600
    pepper.unlink()
    assert "restore it from a backup" in talkmeter.fails("key", "create", "--tenant", "acme")


def test_a_tag_that_is_given_twice_is_refused(talkmeter: Talkmeter) -> None:
    talkmeter("tenant", "create", "acme")
    said = talkmeter.fails("key", "create", "--tenant", "acme", "--tag", "a=b", "--tag", "a=c", code=2)
    assert "--tag" in said and "twice" in said
