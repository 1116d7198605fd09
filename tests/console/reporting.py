"""Reports to visit: a ledger with something of everything, forms as browsers send them, and files."""

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from proxy.core.records import Kind
from proxy.core.usage import Meter
from proxy.store.database import writing
from proxy.store.markups import set_markup
from tests.admin.api.asking import Asking
from tests.closing import close_month
from tests.console.visiting import Shown, Visitor
from tests.ledgers import ACT, Books

OCTOBER = datetime(2026, 10, 31, 23, 30, tzinfo=UTC)  # in Berlin it is November
NOVEMBER = datetime(2026, 11, 5, 8, 15, tzinfo=UTC)
HOSTILE = '<script>alert("1")</script>\'"&\u202e'


def fill(api: Asking) -> None:
    """Book something of everything: two tenants, a late and an unrated entry, an estimate, hostile names."""
    api.books.key("acme", "web")
    with writing(api.engine) as connection:
        set_markup(connection, "acme", 2_500, OCTOBER, ACT)
    books = Books(api.engine)  # with the prices that there are now
    with books.at_once():
        _talk(books)
    close_month(api.engine, "2026-10", {"journals": "a test"})
    with books.at_once():
        _go_on(books)


def _talk(books: Books) -> None:
    for number, (tenant, project) in enumerate((("acme", "web"), ("acme", None), ("globex", "web"))):
        at = NOVEMBER + timedelta(days=number, hours=number)
        user = HOSTILE if number == 0 else None
        books.open(f"s{number}", tenant, project, end_user=user, tags={"team": f"t{number % 2}"}, at=at)
        books.bill(f"s{number}", f"r{number}", {Meter.TEXT_IN: 1_000 + number, Meter.AUDIO_OUT: 333}, at=at)
        books.bill(f"s{number}", f"c{number}", {Meter.AUDIO_IN_CACHED: 70, Meter.AUDIO_IN: 7}, at=at)
    books.open("old", "acme", "web", at=OCTOBER)
    books.bill("old", "r-old", {Meter.TEXT_OUT: 91}, at=OCTOBER)


def _go_on(books: Books) -> None:
    books.bill("old", "late", {Meter.TEXT_IN: 13}, at=OCTOBER)
    books.bill("s0", "guess", {Meter.TEXT_IN: 17}, at=NOVEMBER, estimated=True)
    books.bill("s1", "who", {Meter.TEXT_IN: 5}, at=NOVEMBER, model="unheard-of")
    books.bill(
        "s2", "said", {Meter.DURATION_MS: 9_000}, at=NOVEMBER, kind=Kind.TRANSCRIPTION, model="whisper-1"
    )


async def costs(api: Asking, params: dict[str, str], **more: Any) -> Any:
    """Return what the API answers."""
    return await api.done("GET", "/reports/costs", params=params, **more)


def question_in(href: str) -> dict[str, str]:
    """Return the parameters of an address, each once."""
    pairs = parse_qsl(urlsplit(href).query, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs), href
    return dict(pairs)


class _Fields(HTMLParser):
    """Reads what a browser would send of the form that goes to `action`."""

    def __init__(self, action: str) -> None:
        super().__init__()
        self.pairs: list[tuple[str, str]] = []
        self._action = action
        self._is_in = False
        self._select: list[tuple[str, bool]] | None = None
        self._name = ""
        self._text: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._is_in = given.get("action") == self._action
        if not self._is_in:
            return
        name = given.get("name", "")
        if tag == "input" and name and (given.get("type") != "checkbox" or "checked" in given):
            self.pairs.append((name, given.get("value", "")))
        if tag == "select":
            self._select, self._name = [], name
        if tag == "option" and self._select is not None:
            self._select.append((given.get("value", ""), "selected" in given))
        if tag == "textarea":
            self._text, self._name = [], name

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._is_in = False
        if tag == "select" and self._select is not None:
            chosen = [value for value, is_chosen in self._select if is_chosen]
            self.pairs.append((self._name, (chosen or [self._select[0][0]])[-1]))
            self._select = None
        if tag == "textarea" and self._text is not None:
            self.pairs.append((self._name, "".join(self._text)))
            self._text = None

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)


def pairs_of(shown: Shown, action: str) -> list[tuple[str, str]]:
    """Return what a browser would send of the form that goes to `action`."""
    reader = _Fields(action)
    reader.feed(shown.html)
    assert reader.pairs, action
    return reader.pairs


def changed(pairs: list[tuple[str, str]], **changes: str | None) -> dict[str, str]:
    """Return what a form sends after these fields were changed; None takes one out. q_ stands for q-."""
    fields = dict(pairs) | {
        name.replace("_", "-", 1) if name.startswith("q_") else name: value or ""
        for name, value in changes.items()
        if value is not None
    }
    return {name: value for name, value in fields.items() if changes.get(name, "") is not None}


async def look(person: Visitor, path: str, *pairs: tuple[str, str]) -> tuple[int, str, dict[str, str]]:
    """Open a page as browsers do, redirects followed; return its status, HTML, and what its address asks."""
    href = path + (f"?{urlencode(pairs)}" if pairs else "")
    while True:
        async with person.http.get(
            f"{person.url}{href}", headers={"Cookie": f"talkmeter={person.secret}"}, allow_redirects=False
        ) as answer:
            if answer.status != 303:
                asked = dict(parse_qsl(urlsplit(href).query, keep_blank_values=True))
                return answer.status, await answer.text(), asked
            href = answer.headers["Location"]


async def download(person: Visitor, href: str) -> tuple[bytes, Any]:
    """Return a file and its headers."""
    async with person.http.get(
        f"{person.url}{href}", headers={"Cookie": f"talkmeter={person.secret}"}, allow_redirects=False
    ) as answer:
        assert answer.status == 200, (href, answer.status)
        return await answer.read(), answer.headers
