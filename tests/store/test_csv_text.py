"""CSV in which nothing runs."""

import csv
import io

import pytest

from proxy.store.csv_text import to_csv


def test_rows_with_a_header() -> None:
    assert to_csv(["a", "b"], [{"a": 1, "b": None}, {"b": 'say "x", y', "a": -2}]) == (
        'a,b\r\n1,\r\n-2,"say ""x"", y"\r\n'
    )


@pytest.mark.parametrize(
    "text",
    [
        *("=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=cmd|' /C calc'!A0", "-"),
        *("\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20SUM(A1)"),
    ],
)
def test_what_could_be_a_formula_becomes_text(text: str) -> None:
    rows = list(csv.reader(io.StringIO(to_csv([text], [{text: text}]), newline="")))
    assert rows == [["'" + text], ["'" + text]]


@pytest.mark.parametrize("text", ["-0.000000001", "-5", "0.5", "acme", "2026-11-23", "a=b"])
def test_numbers_and_plain_text_stay(text: str) -> None:
    assert to_csv(["x"], [{"x": text}]) == f"x\r\n{text}\r\n"
