"""`talkmeter token`."""

from tests.cli.conftest import Talkmeter


def test_tokens_are_made_listed_and_revoked(talkmeter: Talkmeter) -> None:
    talkmeter("tenant", "create", "acme")
    words = ("token", "create", "acme-books", "--role", "viewer", "--tenant", "acme")
    made = talkmeter(*words, "--expires", "2099-01-01", "--json").json
    assert made["secret"].startswith("tma_") and made["role"] == "viewer"
    assert [one["name"] for one in made["tenants"]] == ["acme"]
    said = talkmeter("token", "create", "ann", "--role", "finance").out
    assert "finance of all tenants" in said and "tma_" in said
    (first, second) = talkmeter("token", "list", "--json").json
    assert (first["name"], second["name"], first["prefix"]) == ("acme-books", "ann", made["secret"][:8])
    assert "secret" not in first and made["secret"] not in talkmeter("token", "list").out
    assert "is revoked" in talkmeter("token", "revoke", made["id"], "--reason", "left").out
    assert talkmeter("token", "list", "--json").json[0]["revoked_at"] is not None
    assert "token.revoke" in talkmeter("audit", "list").out


def test_mistakes_are_told(talkmeter: Talkmeter) -> None:
    create = ("token", "create", "ann", "--role")
    assert "give at least one" in talkmeter.fails(*create, "viewer")
    assert "no tenant 'nobody'" in talkmeter.fails(*create, "admin", "--tenant", "nobody")
    assert "expired already" in talkmeter.fails(*create, "admin", "--expires", "2020-01-01")
    assert "emperor" in talkmeter.fails(*create, "emperor", code=2)
    talkmeter(*create, "admin")
    assert "already" in talkmeter.fails(*create, "admin")
    assert "no token 'tok_none'" in talkmeter.fails("token", "revoke", "tok_none")
