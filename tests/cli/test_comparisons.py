"""`talkmeter report compare`."""

from datetime import UTC, datetime

import pytest

from proxy.core.usage import Meter
from tests.cli.conftest import Talkmeter, said
from tests.ledgers import Books

OCTOBER, NOVEMBER = (datetime(2026, month, 5, tzinfo=UTC) for month in (10, 11))


@pytest.fixture
def spent(books: Books) -> Books:
    books.open("s1", "acme", at=OCTOBER)
    books.bill("s1", "r1", {Meter.TEXT_IN: 100, Meter.AUDIO_OUT: 10}, at=OCTOBER)
    books.bill("s1", "r2", {Meter.TEXT_IN: 200, Meter.AUDIO_OUT: 20}, at=NOVEMBER, estimated=True)
    books.bill("s1", "r3", at=NOVEMBER)
    return books


def test_a_month_against_the_one_before(talkmeter: Talkmeter, spent: Books) -> None:
    words = ("report", "compare", "--from", "2026-11-01", "--to", "2026-12-01")
    told = talkmeter(*words, "--json").json
    assert (told["with_from"], told["with_to"]) == ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
    (row,) = told["rows"]
    assert (row["tenant"], row["volume_usd"], row["price_nanousd"]) == ("acme", "0.001040000", 0)
    ran = talkmeter(*words)
    assert "volume $" in ran.out and "0.001040000" in ran.out and "mix $" not in ran.out
    assert "not compared: 1 after" in ran.err and "Estimated: 0.002080000 $ after" in ran.err
    assert talkmeter(*words, "--group-by", "", "--json").json["total"] == told["total"]


@pytest.mark.parametrize(
    ("words", "problem", "code"),
    [
        (("--from", "soon"), "'soon' is not a time", 2),
        (("--with-to", "soon"), "'soon' is not a time", 2),
        (("--from", "2026-11-02", "--to", "2026-11-01"), "is not after", 2),
        (("--with-from", "2026-11-02"), "both ends", 2),
        (("--with-from", "2026-11-02", "--with-to", "2026-11-01"), "ends before it begins", 2),
        (("--from", "1800-01-01", "--to", "8999-01-01"), "does not reach back", 2),
        (("--from", "8999-12-31"), "ends before it begins", 2),
        (("--group-by", "day"), "nothing to compare by", 2),
        (("--group-by", "tenant,tenant"), "each once", 2),
        (("--tz", "Mars"), "'Mars' is not a time zone", 2),
        (("--tenant", "none"), "no tenant 'none'", 1),
        (("--meter", "blood"), "'blood' is no meter", 2),
        (("--meter", "text_in", "--modality", "audio"), "one of the two filters", 2),
        (("--tag", "team"), "NAME=VALUE", 2),
    ],
)
def test_mistakes_are_told(talkmeter: Talkmeter, words: tuple[str, ...], problem: str, code: int) -> None:
    assert problem in said(talkmeter.fails("report", "compare", *words, code=code))
