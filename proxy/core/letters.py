"""Letters: what is sent to people, as plain text for e-mail and as a short message for Slack.

Names in them were chosen by apps and customers. No cell can break a line, end a code block, or be a link or a
mention in a channel. There is no HTML.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TEXT_ROWS_MAX = 50
SLACK_ROWS_MAX = 10
CELL_CHARS_MAX = 60
SUBJECT_CHARS_MAX = 150

Cell = str | int | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table for people. Columns named in `numbers` stand to the right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numbers: frozenset[str] = frozenset()
    left_out: int = 0  # rows that there are besides


@dataclass(frozen=True, slots=True)
class Attachment:
    """A table for programs, to be written as CSV."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Letter:
    """A subject, a few sentences, tables, and what is attached."""

    subject: str
    sentences: Sequence[str]
    tables: Sequence[Table] = ()
    attachments: Sequence[Attachment] = ()


def subject_of(letter: Letter) -> str:
    """Return the subject as one line that can be a header."""
    return _line(letter.subject)[:SUBJECT_CHARS_MAX]


def as_text(letter: Letter) -> str:
    """Return the letter as plain text."""
    parts = ["\n".join(_line(one) for one in letter.sentences)]
    parts += [_titled(table, TEXT_ROWS_MAX) for table in letter.tables if table.rows]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_slack(letter: Letter) -> str:
    """Return the letter as a short message: what `&`, `<` and `>` begin in Slack, nothing here begins."""
    said = "\n".join(_line(one) for one in (letter.subject, *letter.sentences))
    parts = [_unmentioned(said)]
    for table in letter.tables:
        if table.rows:
            code = "\n".join(_lines(table, SLACK_ROWS_MAX)).replace("`", "'")
            parts.append(f"{_unmentioned(_line(table.title))}\n```\n{code}\n```")
    return _escaped("\n".join(parts))


def _unmentioned(text: str) -> str:
    """Put a space of no width where a channel would see a mention or a code block."""
    return text.replace("@", "@\u200b").replace("`", "'")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _titled(table: Table, rows_max: int) -> str:
    return "\n".join([_line(table.title), "", *_lines(table, rows_max)])


def _lines(table: Table, rows_max: int) -> list[str]:
    """Return the table in columns, and what is left out of it."""
    rows = [[_cell(cell) for cell in row] for row in table.rows[:rows_max]]
    titles = [_cell(title) for title in table.columns]
    widths = [max(len(row[n]) for row in (titles, *rows)) for n in range(len(titles))]
    right = [title in table.numbers for title in table.columns]
    lines = [_aligned(row, widths, right) for row in (titles, ["-" * width for width in widths], *rows)]
    missing = table.left_out + max(0, len(table.rows) - rows_max)
    return [*lines, f"… and {missing:,} more"] if missing else lines


def _aligned(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    cells = zip(row, widths, right, strict=True)
    return "  ".join(
        text.rjust(width) if to_right else text.ljust(width) for text, width, to_right in cells
    ).rstrip()


def _cell(value: Cell) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    text = _line(value)
    return text if len(text) <= CELL_CHARS_MAX else text[: CELL_CHARS_MAX - 1] + "…"


def _line(text: str) -> str:
    """Return `text` with a sign in the place of all that is no letter to be seen: no line can end in it."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
