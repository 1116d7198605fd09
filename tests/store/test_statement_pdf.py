"""Statements on paper: the same file every time, and bounded."""

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from proxy.core.usage import Meter
from proxy.store import StoreError
from proxy.store.database import reading
from proxy.store.statement_pdf import LINES_MAX, to_pdf
from proxy.store.statements import Whole, find_statement
from tests.closing import close_month
from tests.ledgers import Books


@pytest.fixture
def whole(database: Engine) -> Whole:
    books = Books(database)
    books.open("s1", "Ünïcode <b>& 東京", "web")
    books.bill("s1", "r1", {Meter.AUDIO_OUT: 100, Meter.TEXT_IN: 7})
    books.bill("s1", "r2", {Meter.TEXT_IN: 3}, model="gpt-realtime-9")
    books.close("s1")
    close_month(books.engine, "2026-11", {"unrated": "a test"})
    with reading(books.engine) as connection:
        return find_statement(connection, "2026-11-0001")


def test_the_same_statement_is_the_same_file(whole: Whole) -> None:
    made = to_pdf(whole)
    assert made.startswith(b"%PDF-") and made.rstrip().endswith(b"%%EOF")
    assert to_pdf(whole) == made
    other = replace(whole, head=replace(whole.head, billed_nanousd=1))
    assert to_pdf(other) != made


def test_many_lines_go_over_pages_and_too_many_are_refused(whole: Whole) -> None:
    assert len(to_pdf(replace(whole, lines=list(whole.lines) * 100))) > len(to_pdf(whole))
    with pytest.raises(StoreError, match="take --format csv"):
        to_pdf(replace(whole, lines=[whole.lines[0]] * (LINES_MAX + 1)))
