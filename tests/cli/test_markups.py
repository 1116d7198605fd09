"""`talkmeter markup`."""

import pytest

from tests.cli.conftest import Talkmeter


@pytest.fixture(autouse=True)
def _acme(talkmeter: Talkmeter) -> None:
    talkmeter("tenant", "create", "acme")


def test_markups_are_set_and_listed(talkmeter: Talkmeter) -> None:
    said = talkmeter("markup", "set", "15", "--all-tenants", "--from", "2026-01-01").out
    assert said.startswith("Tenants without a markup of their own are billed our cost with 15% on top from ")
    said = talkmeter("markup", "set", "-2.5%", "--tenant", "acme", "--from", "2026-01-01").out
    assert said == "Tenant acme is billed our cost less 2.5% from 2026-01-01 00:00Z on.\n"
    first, second = talkmeter("markup", "list", "--json").json
    assert (first["tenant"], first["basis_points"]) == (None, 1_500)
    assert (second["tenant"], second["basis_points"]) == ("acme", -250)
    table = talkmeter("markup", "list").out
    assert "(all)" in table and "15%" in table and "-2.5%" in table


def test_mistakes_are_told(talkmeter: Talkmeter) -> None:
    for words in (("15",), ("15", "--tenant", "acme", "--all-tenants")):
        assert "either --tenant or --all-tenants" in talkmeter.fails("markup", "set", *words, code=2)
    for percent, why in (("a lot", "not a percentage"), ("1.234", "two decimals"), ("NaN", "two decimals")):
        assert why in talkmeter.fails("markup", "set", percent, "--all-tenants", code=2)
    assert "two decimals" in talkmeter.fails("markup", "set", "1e999999", "--all-tenants", code=2)
    assert "no tenant 'nobody'" in talkmeter.fails("markup", "set", "1", "--tenant", "nobody")
    assert "between -100%" in talkmeter.fails("markup", "set", "-101", "--all-tenants")
