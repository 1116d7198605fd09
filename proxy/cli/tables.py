"""Tables for people. Apart from `output`, which loads this where one is shown: that takes its time."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

from proxy.cli.output import ID, NUMBER, Column, Row

UNLIMITED_COLUMNS = 100_000
PLAIN_COLUMNS = 240  # where the output is no terminal, a table may be this wide


def show(columns: Sequence[Column], rows: Sequence[Row], footer: Row, spare: Sequence[str]) -> list[str]:
    """Print a table as `print_table` says; return the titles of the columns that were left out."""
    used = [n for n in range(len(columns)) if not rows or any(row[n] not in (None, "") for row in rows)]
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_COLUMNS)
    left_out: list[str] = []
    table = _table(columns, rows, footer, used)
    for title in spare:
        if console.measure(table, options=_unlimited(console)).maximum <= console.width:
            break
        kept = [n for n in used if _titled(columns[n])[0] != title]
        left_out += [title] * (len(kept) < len(used))
        used, table = kept, _table(columns, rows, footer, kept)
    console.print(table)
    return left_out


def _unlimited(console: Console) -> ConsoleOptions:
    return console.options.update(max_width=UNLIMITED_COLUMNS)


def _table(columns: Sequence[Column], rows: Sequence[Row], footer: Row, used: Sequence[int]) -> Table:
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        show_footer=bool(footer),
        header_style="bold",
        footer_style="bold",
    )
    for n in used:
        _add_column(table, columns[n], cell(footer[n]) if footer else Text())
    for row in rows:
        table.add_row(*(cell(row[n]) for n in used))
    return table


def _titled(column: Column) -> tuple[str, str]:
    return (column, "") if isinstance(column, str) else column


def _add_column(table: Table, column: Column, footer: Text) -> None:
    title, kind = _titled(column)
    right: Literal["left", "right"] = "right" if kind == NUMBER else "left"
    table.add_column(title, footer=footer, justify=right, no_wrap=kind in (NUMBER, ID), overflow="fold")


def cell(value: object) -> Text:
    """Return what stands in a table: peers chose some of it, so no control characters and no markup."""
    match value:
        case Text():
            return value
        case None:
            shown = ""
        case bool():
            shown = "yes" if value else ""
        case int():
            shown = f"{value:,}"
        case datetime():
            shown = f"{value.astimezone(UTC):%Y-%m-%d %H:%M}Z"
        case _:
            shown = str(value)
    return Text("".join(c if c.isprintable() else "\ufffd" for c in shown))
