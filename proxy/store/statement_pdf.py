"""A statement on paper. The same statement is the same file, byte for byte, whenever it is made.

The fonts are those that every reader of PDF has, which know Western European letters. What they do not know
is a question mark; the statement says so then, and CSV and JSON have it right.
"""

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    CondPageBreak,
    Flowable,
    KeepTogether,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)

from proxy.core.money import format_cents, format_usd
from proxy.store import StoreError
from proxy.store.statements import DISCLAIMER, SECTIONS, UNITS, Statement, Whole, section_of, what_for
from proxy.store.stating import StatedLine

LINES_MAX = 5_000
MARGIN = 18 * mm
WIDTH = A4[0] - 2 * MARGIN
_FRAME_PADDING = 6  # points that the template keeps from its margins
_LABEL_WIDTH = 34 * mm
_INK, _QUIET, _RULE, _SHADE = map(HexColor, ("#1a1f26", "#5c6670", "#c9d0d6", "#f3f5f7"))
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def _style(size: float, *, bold: bool = False, colour: Any = _INK, right: bool = False) -> ParagraphStyle:
    return ParagraphStyle(
        f"{size}{bold}{right}{colour}",
        fontName="Helvetica-Bold" if bold else "Helvetica",
        fontSize=size,
        leading=size * 1.3,
        textColor=colour,
        alignment=TA_RIGHT if right else 0,
        splitLongWords=True,
    )


_TEXT, _BOLD, _SMALL = _style(8.5), _style(8.5, bold=True), _style(7.5, colour=_QUIET)
_NUMBER, _BOLD_NUMBER = _style(8.5, right=True), _style(8.5, bold=True, right=True)
_HEAD, _HEAD_NUMBER = (_style(7.5, bold=True, colour=_QUIET, right=right) for right in (False, True))


def to_pdf(whole: Whole) -> bytes:
    """Return the statement as a PDF.

    Raises:
        StoreError: it has too many lines to be read on paper.
    """
    head = whole.head
    if len(whole.lines) > LINES_MAX:
        raise StoreError(
            f"Statement {head.number} has {len(whole.lines):,} lines, and a PDF at most {LINES_MAX:,}:"
            " take it as CSV."
        )
    made = BytesIO()
    document = SimpleDocTemplate(
        made,
        pagesize=A4,
        leftMargin=MARGIN - _FRAME_PADDING,
        rightMargin=MARGIN - _FRAME_PADDING,
        topMargin=MARGIN,
        bottomMargin=MARGIN + 6 * mm,
        title=f"Statement {head.number}",
        author=_known(head.issuer or "Talkmeter"),
        subject=_known(f"{head.tenant}, {head.period}"),
        creator="Talkmeter",
        invariant=1,
    )
    document.build(_flow(whole), canvasmaker=_pages(f"Statement {head.number}"))
    return made.getvalue()


def _known(text: str) -> str:
    """Return `text` with a question mark for what the fonts do not have."""
    return text.encode("cp1252", "replace").decode("cp1252")


def _cell(text: str, style: ParagraphStyle = _TEXT) -> Paragraph:
    return Paragraph(escape(_known(text)), style)


def _flow(whole: Whole) -> list[Flowable]:
    head = whole.head
    flow = [*_heading(head), _facts(head), Spacer(0, 4 * mm)]
    for name, title, explained in SECTIONS:
        lines = [line for line in whole.lines if section_of(line) == name]
        if lines:
            flow += _section(title, explained, lines)
    return [*flow, KeepTogether([Spacer(0, 5 * mm), _totals(head), *_remarks(whole)])]


def _heading(head: Statement) -> list[Flowable]:
    issuer = _cell(head.issuer or "", _style(10, bold=True))
    number = _cell(head.number, _style(10, right=True, colour=_QUIET))
    title = Table([[issuer, number]], colWidths=[WIDTH * 0.7, WIDTH * 0.3], style=_PLAIN, hAlign="LEFT")
    return [title, Spacer(0, 6 * mm), _cell("Statement", _style(20, bold=True)), Spacer(0, 5 * mm)]


_PLAIN = TableStyle(
    [
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 0),
        ("TOPPADDING", (0, 0), (-1, -1), 1.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ]
)


def _facts(head: Statement) -> Table:
    month = f"{_MONTHS[int(head.period[5:]) - 1]} {head.period[:4]}"
    span = f"{head.starts_at:%Y-%m-%d %H:%M} to before {head.ends_at:%Y-%m-%d %H:%M} UTC"
    facts = (
        ("Number", head.number),
        ("Period", f"{month}, time zone {head.zone} ({span})"),
        ("Tenant", head.tenant),
        ("Tenant's id", head.tenant_id),
        ("Issued by", head.issuer or "the operator of this Talkmeter"),
        ("Closed", f"{head.closed_at:%Y-%m-%d %H:%M} UTC"),
        ("Currency", "US dollars"),
    )
    rows = [[_cell(name, _style(8.5, colour=_QUIET)), _cell(value)] for name, value in facts]
    return Table(rows, colWidths=[_LABEL_WIDTH, WIDTH - _LABEL_WIDTH], style=_PLAIN, hAlign="LEFT")


# --- Lines


def _section(title: str, explained: str, lines: Sequence[StatedLine]) -> list[Flowable]:
    columns = [_cells(line) for line in lines]
    used = [n for n in range(len(_COLUMNS)) if n == _FOR or any(cells[n] for cells in columns)]
    widths = [_COLUMNS[n][1] for n in used]
    widths[used.index(_FOR)] = WIDTH - sum(widths)
    heads = [_cell(_COLUMNS[n][0], _HEAD_NUMBER if n in _NUMBERS else _HEAD) for n in used]
    rows = [[_cell(cells[n], _NUMBER if n in _NUMBERS else _TEXT) for n in used] for cells in columns]
    if any(line.billed_nanousd is not None for line in lines):
        total = format_usd(sum(line.billed_nanousd or 0 for line in lines))
        rows.append([_cell("Sum", _BOLD), *[_cell("")] * (len(used) - 2), _cell(total, _BOLD_NUMBER)])
    heading = [Spacer(0, 3 * mm), _cell(title, _style(10.5, bold=True))]
    remark = [_cell(explained, _SMALL)] if explained else []
    table = Table([heads, *rows], colWidths=widths, repeatRows=1, style=_RULED, hAlign="LEFT")
    return [CondPageBreak(30 * mm), *heading, *remark, Spacer(0, 1.5 * mm), table]


_COLUMNS = (
    ("Month", 15 * mm),
    ("Project", 27 * mm),
    ("Model", 35 * mm),
    ("For", 0.0),  # what is left of the width
    ("Quantity", 25 * mm),
    ("Unit", 13 * mm),
    ("Amount USD", 33 * mm),
)
_FOR = 3
_NUMBERS = (4, 6)


_RULED = TableStyle(
    [
        ("LEFTPADDING", (0, 0), (-1, -1), 3),
        ("RIGHTPADDING", (0, 0), (-1, -1), 3),
        ("TOPPADDING", (0, 0), (-1, -1), 2.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("BACKGROUND", (0, 0), (-1, 0), _SHADE),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, _RULE),
    ]
)


def _cells(line: StatedLine) -> list[str]:
    """Return what stands in each of the columns."""
    return [
        line.corrects_period or "",
        line.project or "",
        line.model or "",
        what_for(line),
        "" if line.quantity is None else f"{line.quantity:,}",
        UNITS.get(line.unit or "", ""),
        "no price" if line.billed_nanousd is None else format_usd(line.billed_nanousd),
    ]


# --- The end


def _totals(head: Statement) -> Table:
    big = _style(11, bold=True)
    rows = [
        [_cell("Exact sum"), _cell(format_usd(head.billed_nanousd), _NUMBER)],
        [_cell("Rounding to whole cents"), _cell(format_usd(head.rounding_nanousd), _NUMBER)],
        [
            _cell("Total in USD", big),
            _cell(format_cents(head.total_cents), _style(11, bold=True, right=True)),
        ],
    ]
    ruled = TableStyle([*_RULED.getCommands()[:5], ("LINEABOVE", (0, 2), (-1, 2), 1, _INK)])
    return Table(rows, colWidths=[55 * mm, 40 * mm], style=ruled, hAlign="RIGHT")


def _remarks(whole: Whole) -> list[Flowable]:
    head = whole.head
    remarks = [
        f"{DISCLAIMER} Amounts are US dollars to a billionth; only the total is rounded, half to even.",
        f"Made of {head.entries:,} ledger entries. The ledger was sealed at the close with {head.seal}",
    ]
    if head.unrated_entries:
        remarks.insert(
            0, f"{head.unrated_entries:,} entries have no price. They are named above, without an amount."
        )
    named = (head.tenant, head.issuer, *(line.project for line in whole.lines))
    shown = [text for text in (*named, *(line.reason for line in whole.lines)) if text]
    if any(_known(text) != text for text in shown):
        remarks.append("Letters shown as ? are not in this document's font: see the CSV or JSON of it.")
    return [Spacer(0, 6 * mm), *(_cell(text, _SMALL) for text in remarks)]


def _pages(title: str) -> Callable[..., Canvas]:
    """Return a canvas that knows how many pages there are when it writes their feet."""

    class Pages(Canvas):  # type: ignore[misc]
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self._kept: list[dict[str, Any]] = []

        def showPage(self) -> None:
            self._kept.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._kept, 1):
                self.__dict__.update(page)
                self.setFont("Helvetica", 7.5)
                self.setFillColor(_QUIET)
                self.drawString(MARGIN, MARGIN, f"{title} · {DISCLAIMER}")
                self.drawRightString(MARGIN + WIDTH, MARGIN, f"Page {number} of {len(self._kept)}")
                super().showPage()
            super().save()

    return Pages
