"""`talkmeter reconcile`: what it prints, how it ends, and rules for the lines of the bill."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from proxy.core.usage import Meter
from tests.cli.conftest import Talkmeter
from tests.ledgers import Books
from tests.provider import ADMIN_KEY, MODEL, Provider, providing

WHEN = (datetime.now(UTC) - timedelta(days=3)).replace(hour=12, minute=0, second=0, microsecond=0)
ON, NEXT = WHEN.date().isoformat(), (WHEN + timedelta(days=1)).date().isoformat()


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    with providing() as found:
        monkeypatch.setenv("TALKMETER_UPSTREAM_URL", found.url)
        monkeypatch.setenv("TALKMETER_UPSTREAM_ADMIN_KEY", ADMIN_KEY)
        yield found


@pytest.fixture
def spent(books: Books) -> Books:
    """A thousand tokens of audio: 3.2 cents."""
    books.open("s1", at=WHEN)
    books.bill("s1", "r1", {Meter.AUDIO_IN: 1_000}, at=WHEN)
    return books


def test_what_agrees(talkmeter: Talkmeter, provider: Provider, spent: Books) -> None:
    provider.bill(WHEN, 1_000)
    ran = talkmeter("reconcile")
    assert "All 1 rows agree." in ran.out and "0.032000000" in ran.out and ran.err == ""
    assert "Unexplained $" not in ran.out and "agrees" in ran.out
    told = talkmeter("reconcile", "--from", ON, "--to", NEXT, "--json").json
    assert (told["from"], told["to"], told["is_over"], told["unexplained_nanousd"]) == (ON, NEXT, False, 0)
    (row,) = told["rows"]
    assert (row["project"], row["model"], row["meter"]) == ("proj_a", MODEL, "audio_in")
    assert (row["ours_quantity"], row["theirs_quantity"]) == (1_000, 1_000)
    assert ADMIN_KEY not in ran.out + str(told)


def test_what_differs_too_much_ends_with_4(
    talkmeter: Talkmeter, provider: Provider, spent: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.bill(WHEN, 1_100)
    monkeypatch.setenv("TALKMETER_RECONCILE_USD", "0")
    words = ("reconcile", "--from", ON, "--to", NEXT)
    ran = talkmeter.run(*words)
    assert ran.code == 4 and "0.003200000" in ran.out and "above $0.000352000" in ran.out
    assert "Too much is unexplained on 1 of 1 days" in ran.err
    made = talkmeter.run(*words, "--csv")
    assert made.code == 4
    (row,) = csv.DictReader(io.StringIO(made.out))
    assert (row["meter"], row["ours_usd"], row["unexplained_usd"]) == (
        "audio_in",
        "0.032000000",
        "0.003200000",
    )
    assert row["keys"] == '{"key_1":35200000}'
    monkeypatch.setenv("TALKMETER_RECONCILE_PERCENT", "10")
    small = talkmeter(*words, "--all")
    assert "within $0.003520000" in small.out and "agrees" not in small.out


def test_what_has_no_price_agrees_with_nothing(
    talkmeter: Talkmeter, provider: Provider, spent: Books
) -> None:
    """Not even where the bill has none of it."""
    provider.bill(WHEN, 1_000)
    spent.bill("s1", "r2", {Meter.AUDIO_IN: 10}, at=WHEN, model="gpt-realtime-9")
    ran = talkmeter("reconcile", "--from", ON)
    assert "gpt-realtime-9" in ran.out and "rows agree" not in ran.out


def test_causes_are_columns(talkmeter: Talkmeter, provider: Provider, spent: Books) -> None:
    provider.bill(WHEN, 1_005)
    spent.bill("s1", "r2", {Meter.AUDIO_IN: 10}, at=WHEN, estimated=True)
    spent.bill("s1", "r3", at=WHEN)
    ran = talkmeter("reconcile", "--from", ON)
    assert "Estimates $" in ran.out and "-0.000160000" in ran.out and "No price $" not in ran.out
    assert "no figures" in ran.out and "Entries of which the provider sent no figures: 1" in ran.err


def test_comparisons_are_found_again(talkmeter: Talkmeter, provider: Provider, spent: Books) -> None:
    provider.bill(WHEN, 1_000)
    told = talkmeter("reconcile", "--json").json
    (listed,) = talkmeter("reconcile", "list", "--json").json
    assert talkmeter("reconcile", "show", told["id"], "--json").json == told
    assert listed | {"rows": told["rows"]} == told
    assert told["id"] in talkmeter("reconcile", "list").out
    assert "agrees" in talkmeter("reconcile", "show", told["id"]).out
    assert "no reconciliation 'rec_0'" in talkmeter.fails("reconcile", "show", "rec_0")


def test_rules(talkmeter: Talkmeter, provider: Provider, spent: Books) -> None:
    provider.bill(WHEN, 1_000)
    talkmeter("reconcile", "remove-rule", "*, audio input", "--reason", "a test")
    ran = talkmeter("reconcile", "--from", ON)
    assert f"{MODEL}, audio input" in ran.out and "no rule" in ran.out
    assert "Lines of the bill that no rule is about: 1." in ran.err
    said = talkmeter("reconcile", "set-rule", "*, audio input", "--meter", "audio_in").out
    assert said == "Lines named '*, audio input' are audio_in of the model that * stands for.\n"
    assert "All 1 rows agree." in talkmeter("reconcile", "--from", ON).out
    made = talkmeter("reconcile", "set-rule", "gpt-4o*", "--ignore", "--json").json
    assert (made["name"], made["meter"]) == ("gpt-4o*", None)
    rules = {one["name"]: one for one in talkmeter("reconcile", "rules", "--json").json}
    assert rules["gpt-4o*"] == made and rules["*, duration"]["meter"] == "duration_ms"
    assert "not compared" in talkmeter("reconcile", "rules").out
    noted = [one["action"] for one in talkmeter("audit", "list", "--json").json]
    assert noted[-5:] == [
        "line_item.remove",
        "reconciliation.run",
        "line_item.set",
        "reconciliation.run",
        "line_item.set",
    ]


@pytest.mark.parametrize(
    ("words", "problem", "code"),
    [
        (("--from", "soon"), "'soon' is not a time", 2),
        (("--from", "2026-11-02T10:00:00Z"), "bills are by UTC days", 2),
        (("--from", "2026-11-02", "--to", "2026-11-01"), "is not after", 2),
        (("--from", "2025-01-01", "--to", "2026-01-01"), "At most 92 days", 1),
        (("--json", "list"), "options stand behind", 2),
        (("set-rule", "x"), "either --meter or --ignore", 2),
        (("set-rule", "x", "--meter", "audio_in"), "which model", 1),
        (("remove-rule", "x"), "no rule 'x'", 1),
    ],
)
def test_mistakes_are_told(
    talkmeter: Talkmeter,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    problem: str,
    code: int,
) -> None:
    monkeypatch.setenv("TALKMETER_UPSTREAM_ADMIN_KEY", ADMIN_KEY)
    assert problem in talkmeter.fails("reconcile", *words, code=code)


def test_without_an_admin_key(talkmeter: Talkmeter) -> None:
    assert "TALKMETER_UPSTREAM_ADMIN_KEY is not set" in talkmeter.fails("reconcile")
