"""`talkmeter report`."""

import csv
import io
from datetime import UTC, datetime

import pytest

from proxy.core.usage import Meter
from tests.cli.conftest import Talkmeter
from tests.ledgers import MODEL, Books


@pytest.fixture
def spent(books: Books) -> Books:
    books.open("s1", "acme", "web", end_user="=HYPERLINK(0)", tags={"team": "a"})
    books.open("s2", "globex")
    books.bill(
        "s1", "r1", {Meter.AUDIO_IN: 1_000, Meter.TEXT_OUT: 5}, at=datetime(2026, 10, 31, 23, tzinfo=UTC)
    )
    books.bill("s1", "r2", {Meter.TEXT_OUT: 1}, estimated=True)
    books.bill("s2", "r3")
    return books


def test_json_has_the_promised_shape(talkmeter: Talkmeter, spent: Books) -> None:
    report = talkmeter("report", "--format", "json").json
    assert report == talkmeter("report", "--json").json
    assert report.keys() == {"from", "to", "basis", "group_by", "rows", "total"}
    assert (report["from"], report["to"], report["group_by"]) == (None, None, ["tenant", "model"])
    assert [(row["tenant"], row["cost_usd"], row["unrated_entries"]) for row in report["rows"]] == [
        ("acme", "0.032144000", 0),
        ("globex", "0.000000000", 1),
    ]
    assert report["total"]["cost_nanousd"] == 32_144_000 and report["total"]["audio_in"] == 1_000


def test_times_are_those_of_the_zone(talkmeter: Talkmeter, spent: Books) -> None:
    words = ("report", "--json", "--group-by", "month", "--tenant", "acme")
    assert [row["month"] for row in talkmeter(*words).json["rows"]] == ["2026-10", "2026-11"]
    berlin = talkmeter(*words, "--tz", "Europe/Berlin", "--from", "2026-11-01", "--to", "2026-12-01").json
    assert (berlin["from"], berlin["to"]) == ("2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z")
    assert [(row["month"], row["responses"]) for row in berlin["rows"]] == [("2026-11", 2)]


def test_filters(talkmeter: Talkmeter, spent: Books) -> None:
    key = spent.key("globex").id
    for words, responses in (
        (("--tenant", "acme"), 2),
        (("--tenant", "acme", "--project", "web"), 2),
        (("--key", key), 1),
        (("--model", MODEL), 3),
        (("--model", "other"), 0),
    ):
        assert talkmeter("report", "--json", *words).json["total"]["responses"] == responses


def test_accounting_months(talkmeter: Talkmeter, spent: Books) -> None:
    words = ("report", "--json", "--basis", "period", "--group-by", "period", "--tz", "Asia/Kathmandu")
    report = talkmeter(*words, "--from", "2026-10-01", "--to", "2026-11-01").json
    assert (report["from"], report["basis"]) == ("2026-10-01T00:00:00Z", "period")  # of the ledger's zone
    assert [(row["period"], row["responses"]) for row in report["rows"]] == [("2026-10", 1)]
    assert "give 2026-10-01 or 2026-11-01" in talkmeter.fails(*words, "--from", "2026-10-02", code=2)
    both = ("--from", "2026-10-01", "--period", "2026-10")
    assert "--from and --to with --basis period" in talkmeter.fails(*words, *both, code=2)
    assert talkmeter(*words, "--period", "2026-11").json["total"]["responses"] == 2
    compared = ("report", "compare", "--json", "--from", "2026-11-01", "--to", "2026-12-01")
    told = talkmeter(*compared, "--basis", "period").json
    assert (told["basis"], told["with_from"]) == ("period", "2026-10-01T00:00:00Z")


def test_csv_holds_everything_and_no_formula(talkmeter: Talkmeter, spent: Books) -> None:
    out = talkmeter("report", "--format", "csv", "--group-by", "end_user,tag:team").out
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert [(row["end_user"], row["tag:team"], row["cost_nanousd"]) for row in rows] == [
        ("'=HYPERLINK(0)", "a", "32144000"),
        ("", "", "0"),
    ]
    assert {"end_user_id", *Meter} <= rows[0].keys()
    (total,) = csv.DictReader(
        io.StringIO(talkmeter("report", "--format", "csv", "--group-by", "").out, newline="")
    )
    assert total["cost_usd"] == "0.032144000"


def test_the_table_shows_what_there_is_and_what_is_missing(talkmeter: Talkmeter, spent: Books) -> None:
    ran = talkmeter("report")
    for shown in ("acme", "globex", "0.032144000", "0.000024000", "estimated $", "unrated", "1,000", "total"):
        assert shown in ran.out
    assert "image_in" not in ran.out
    assert "talkmeter ledger list --unrated" in ran.err
    assert "0.032144000" in talkmeter("report", "--group-by", "").out
    quiet = talkmeter("report", "--tenant", "acme", "--group-by", "project,meter")
    assert "web" in quiet.out and "prj_" not in quiet.out and quiet.err == ""


@pytest.mark.parametrize(
    ("words", "problem", "code"),
    [
        (("--from", "soon"), "'soon' is not a time", 2),
        (("--group-by", "colour"), "'colour' is nothing to group by", 2),
        (("--tz", "Mars"), "'Mars' is not a time zone", 2),
        (("--tenant", "none"), "no tenant 'none'", 1),
        (("--format", "pdf"), "'pdf' is not one of", 2),
    ],
)
def test_mistakes_are_told(talkmeter: Talkmeter, words: tuple[str, ...], problem: str, code: int) -> None:
    assert problem in talkmeter.fails("report", *words, code=code)


def test_what_cannot_be_meant_is_said(talkmeter: Talkmeter) -> None:
    """A time that ends before it begins would report nothing, and look like a month without costs."""
    words = ("report", "--from", "2026-12-01", "--to", "2026-12-01")
    assert "--to" in talkmeter.fails(*words, code=2)
    assert "nothing to group by" in talkmeter.fails("report", "--group-by", "tag:\udcff", code=2)
    assert "nothing to group by" in talkmeter.fails("report", "--group-by", "tag:a\nb", code=2)
