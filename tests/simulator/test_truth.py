"""The truth file: appended, readable after a kill, summed without duplicates."""

from decimal import Decimal
from pathlib import Path

from proxy.simulator.truth import Truth, TruthFile, read, total_usd

USAGE = {"total_tokens": 3}


def written(path: Path) -> list[Truth]:
    truth = TruthFile(path, lambda: 5.5)
    truth.write("opened", "sess_1", "resp_1", model="m", status="in_progress")
    truth.write(
        "response", "sess_1", "resp_1", model="m", status="completed", usage=USAGE, usd=Decimal("0.00720560")
    )
    truth.close()
    return read(path)


def test_a_line_keeps_what_was_written(tmp_path: Path) -> None:
    opened, done = written(tmp_path / "truth.jsonl")
    assert opened == Truth(1, "opened", "sess_1", "resp_1", "m", "in_progress", None, None, False, at=5.5)
    assert done == Truth(
        2, "response", "sess_1", "resp_1", "m", "completed", USAGE, "0.0072056", False, at=5.5
    )


def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    written(path)
    assert [line.n for line in written(path)] == [1, 2, 3, 4]


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    lines = written(path)
    with path.open("a") as file:
        file.write('{"n":3,"what":"resp')
    assert read(path) == lines
    assert [line.n for line in written(path)] == [1, 2, 3, 4]


def test_the_sum_leaves_out_duplicates_and_what_has_no_price(tmp_path: Path) -> None:
    truth = TruthFile(tmp_path / "truth.jsonl")
    for usd, duplicate in (
        (Decimal("0.1"), False),
        (Decimal("0.1"), True),
        (None, False),
        (Decimal(0), False),
    ):
        truth.write("response", "s", "r", model="m", status="completed", usd=usd, duplicate=duplicate)
    truth.close()
    lines = read(tmp_path / "truth.jsonl")
    assert total_usd(lines) == Decimal("0.1")
    assert lines[-1].usd == "0"


def test_without_a_path_nothing_is_kept() -> None:
    truth = TruthFile(None)
    truth.write("opened", "s", "r", model=None, status="in_progress")
    truth.close()
