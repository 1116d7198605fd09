"""Statements on paper: everything that matters is on it, and it is the same file each time."""

import base64
import re
import zlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from proxy.store import StoreError
from proxy.store.statement_pdf import LINES_MAX, to_pdf
from proxy.store.statements import DISCLAIMER, Statement, Whole
from proxy.store.stating import StatedLine

HEAD = Statement(
    number="2026-11-0001",
    period="2026-11",
    zone="Europe/Berlin",
    closed_at=datetime(2026, 12, 3, 9, tzinfo=UTC),
    seal="18:abcdef",
    issuer="Voice Ltd",
    tenant="acme <b>&",
    tenant_id="ten_1",
    entries=7,
    unrated_entries=1,
    billed_nanousd=1_007_000_001,
    rounding_nanousd=2_999_999,
)
LINE = StatedLine(kind="response", model="m", meter="text_in", quantity=1_234, unit="token", billed_nanousd=1)
LINES = (
    LINE,
    replace(LINE, billed_nanousd=None),
    replace(LINE, meter=None, unit="entry", billed_nanousd=None),
    StatedLine(kind="credit", entry_id=9, reason="Outage", billed_nanousd=-5),
    replace(LINE, corrects_period="2026-10"),
)


def words(pdf: bytes) -> str:
    """Return what the pages of a PDF show, in its order."""
    shown = ""
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL):
        page = zlib.decompress(base64.a85decode(stream.strip().removesuffix(b"~>")))
        shown += " ".join(
            re.sub(rb"\\(.)", rb"\1", text).decode("cp1252")
            for text in re.findall(rb"\(((?:\\.|[^\\)])*)\) Tj", page)
        )
    return shown


def test_what_is_on_it() -> None:
    shown = words(to_pdf(Whole(HEAD, LINES)))
    for text in (
        *("Voice Ltd", "2026-11-0001", "acme < b > &", "ten_1", "Europe/Berlin", "2026-10-31 23:00"),
        *("Text input", "1,234", "tokens", "no price", "Response without usage", "Credit: Outage"),
        *("Corrections of earlier months", "2026-10", "1.007000001", "0.002999999", "1.01"),
        *("1 entries have no price", DISCLAIMER, "18:abcdef", "Page 1 of 1"),
    ):
        assert text in shown, text
    assert "Letters shown as ?" not in shown


def test_it_is_the_same_each_time() -> None:
    assert to_pdf(Whole(HEAD, LINES)) == to_pdf(Whole(HEAD, LINES))


def test_letters_that_the_font_lacks_are_said() -> None:
    shown = words(to_pdf(Whole(replace(HEAD, tenant="Ωmega"), LINES)))
    assert "?mega" in shown and "Letters shown as ?" in shown


def test_many_lines_take_many_pages_and_too_many_are_refused() -> None:
    assert re.search(r"Page 1 of [2-9]", words(to_pdf(Whole(HEAD, [LINE] * 100))))
    with pytest.raises(StoreError, match="take it as CSV"):
        to_pdf(Whole(HEAD, [LINE] * (LINES_MAX + 1)))


def test_a_statement_without_lines_or_issuer() -> None:
    assert "the operator of this Talkmeter" in words(to_pdf(Whole(replace(HEAD, issuer=None), [])))
