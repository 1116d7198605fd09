"""Tables of a page, read as people read them: cell by cell, with exact amounts and links."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

from proxy.core.money import parse_usd


@dataclass
class Cell:
    """A cell: what stands in it, its exact amounts (nano-dollars), where its links lead."""

    words: list[str] = field(default_factory=list)
    amounts: list[int] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def amount(self) -> int:
        [only] = self.amounts
        return only


@dataclass
class Table:
    """The rows of a table's body and of its foot."""

    body: list[list[Cell]] = field(default_factory=list)
    foot: list[list[Cell]] = field(default_factory=list)

    def row(self, name: str) -> list[Cell]:
        """Return the row whose first cell begins with this."""
        [found] = [row for row in self.body if row[0].text.startswith(name)]
        return found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, Table] = {}
        self._table: Table | None = None
        self._rows: list[list[Cell]] = []
        self._cell: Cell | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "table":
            self._table = self.tables[given["id"]] = Table()
        elif tag in ("tbody", "tfoot") and self._table is not None:
            self._rows = self._table.body if tag == "tbody" else self._table.foot
        elif tag == "thead":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._cell = Cell()
            self._rows[-1].append(self._cell)
        elif tag == "a" and self._cell is not None:
            self._cell.links.append(given["href"])
        elif tag == "data" and self._cell is not None:
            self._cell.amounts.append(parse_usd(given["value"]))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.words.append(data)


def tables(html: str) -> dict[str, Table]:
    """Return the tables of a page by their ids."""
    reader = _Reader()
    reader.feed(html)
    return reader.tables
