"""`talkmeter export`."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import openpyxl
import pyarrow.parquet
import pytest

from proxy.core.usage import Meter
from tests.cli.conftest import Talkmeter
from tests.ledgers import Books

ROOT = Path(__file__).parents[2]


@pytest.fixture
def booked(books: Books) -> Books:
    books.open("s1", "acme", "web")
    books.bill("s1", "r1", {Meter.TEXT_IN: 10, Meter.AUDIO_OUT: 3})
    books.bill("s1", "r2", {Meter.TEXT_IN: 10}, model="=unheard()")
    books.open("s2", "globex")
    books.bill("s2", "r3", {Meter.TEXT_IN: 1})
    return books


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_ledger_as_csv_on_standard_output(talkmeter: Talkmeter, booked: Books) -> None:
    ran = talkmeter("export", "ledger", "--output", "-")
    rows = read(ran.out)
    assert [(row["subject_id"], row["meter"]) for row in rows] == [
        ("r1", "audio_out"),
        ("r1", "text_in"),
        ("r2", "text_in"),
        ("r3", "text_in"),
    ]
    assert (rows[2]["model"], rows[2]["cost_usd"], rows[3]["cost_usd"]) == ("'=unheard()", "", "0.000004000")
    assert ran.err == ""  # a program reads it: nothing to be told


def test_every_format_to_a_file(talkmeter: Talkmeter, booked: Books, tmp_path: Path) -> None:
    for format in ("csv", "jsonl", "xlsx", "parquet"):
        told = talkmeter("export", "ledger", "--format", format, "--output", f"l.{format}", "--json").json
        size = (tmp_path / f"l.{format}").stat().st_size
        assert told == {"file": f"l.{format}", "format": format, "rows": 4, "bytes": size}
    assert len((tmp_path / "l.jsonl").read_text().splitlines()) == 4
    assert openpyxl.load_workbook(tmp_path / "l.xlsx").active.max_row == 5
    assert pyarrow.parquet.read_table(tmp_path / "l.parquet").num_rows == 4


def test_filters(talkmeter: Talkmeter, booked: Books) -> None:
    def subjects(*words: str) -> list[str]:
        lines = talkmeter("export", "ledger", "--format", "jsonl", "--output", "-", *words).out.splitlines()
        return [json.loads(line)["subject_id"] for line in lines]

    assert subjects("--tenant", "globex") == ["r3"]
    assert subjects("--unrated") == ["r2"]
    assert subjects("--session", "s2", "--period", "2026-11") == ["r3"]
    assert subjects("--to", "2026-11-23") == subjects("--kind", "credit") == []


def test_costs(talkmeter: Talkmeter, booked: Books) -> None:
    rows = read(talkmeter("export", "costs", "--output", "-", "--group-by", "tenant").out)
    assert [(row["tenant"], row["cost_usd"], row["unrated_entries"]) for row in rows] == [
        ("acme", "0.000232000", "1"),
        ("globex", "0.000004000", "0"),
    ]


def test_what_is_there_is_kept_without_force(talkmeter: Talkmeter, booked: Books, tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("old")
    for what in ("ledger", "costs"):
        assert "--force" in talkmeter.fails("export", what, "--output", "l.csv")
        assert path.read_text() == "old"
    assert "4 rows" in talkmeter("export", "ledger", "--output", "l.csv", "--force").err
    assert len(read(path.read_text())) == 4


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("ledger", "--output", "-", "--format", "xlsx"), 2),
        (("ledger", "--output", "-", "--json"), 2),
        (("ledger", "--output", "x.csv", "--tenant", "nobody"), 1),
        (("ledger", "--output", "no/folder/x.csv"), 1),
        (("ledger", "--output", "x.csv", "--from", "soon"), 2),
        (("ledger", "--output", "x.csv", "--kind", "gift"), 2),
        (("costs", "--output", "x.csv", "--group-by", "zodiac"), 2),
        (("costs", "--output", "x.csv", "--tz", "Mars/Olympus"), 2),
        (("costs", "--output", "x.csv", "--basis", "period", "--from", "2026-11-02"), 2),
    ],
)
def test_what_cannot_be(
    talkmeter: Talkmeter, booked: Books, tmp_path: Path, words: tuple[str, ...], code: int
) -> None:
    talkmeter.fails("export", *words, code=code)
    assert not [one for one in tmp_path.iterdir() if "x.csv" in one.name]


def run(*words: str, stdout: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "proxy", "export", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True)


def test_standard_output_that_takes_no_more(talkmeter: Talkmeter, booked: Books) -> None:
    """Neither a full disk nor a reader that has left is our bug: no traceback."""
    with open("/dev/full", "w") as full:
        ended = run("ledger", "--output", "-", stdout=full.fileno())
        told = ended.communicate()[1]
    assert (
        ended.returncode == 1 and told == "error: Standard output takes no more: No space left on device.\n"
    )
    read_end, write_end = os.pipe()
    os.close(read_end)
    ended = run("ledger", "--output", "-", stdout=write_end)
    os.close(write_end)
    assert ended.communicate()[1] == "" and ended.returncode == 1


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("what", ["ledger", "focus"])
def test_whoever_ends_it_leaves_no_half_of_a_file(
    talkmeter: Talkmeter,
    booked: Books,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    number: signal.Signals,
    code: int,
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: os.kill(os.getpid(), number))
    # As in a terminal, also where these tests themselves run in the background or under nohup.
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, usual)
    try:
        assert talkmeter.run("export", what, "--output", "x.csv").code == code
        assert signal.getsignal(number) == usual
    finally:
        signal.signal(number, before)
    assert not [one for one in tmp_path.iterdir() if "x." in one.name]


def test_nohup_lets_it_go_on(talkmeter: Talkmeter, booked: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: os.kill(os.getpid(), signal.SIGHUP))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        talkmeter("export", "ledger", "--output", "x.csv")
    finally:
        signal.signal(signal.SIGHUP, before)
