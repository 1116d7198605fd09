"""Rating again: a look that books nothing, and corrections that are whole, portion by portion."""

from datetime import UTC, datetime

import pytest

from proxy.console.figures import usd
from proxy.console.pages import rerating
from proxy.core.usage import Meter
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.console.test_tenants import HOSTILE
from tests.console.visiting import visitor

PATH = "/rate-cards/rerate"
OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)
CHANGE = {"model": "gpt-realtime-2.1", "meter": "text_in", "usd": "8.00", "effective_from": "2026-10-01"}


async def late_card(api: Asking) -> None:
    """Two tenants' entries, of which a card that came later says something else."""
    for session, tenant in (("s1", "acme"), ("s2", "globex")):
        api.books.open(session, tenant, at=OCTOBER)
        api.books.bill(session, f"{session}-r", {Meter.TEXT_IN: 10_000}, at=OCTOBER)
    api.books.bill("s2", "s2-new", {Meter.TEXT_IN: 10_000}, at=OCTOBER, model="gpt-new")
    await api.done("POST", "/rate-cards/prices", CHANGE)


async def test_a_look_shows_what_the_api_says_and_books_nothing(api: Asking) -> None:
    await late_card(api)
    ann = visitor(api)
    before = await ann.get(PATH)
    assert "Correct it" not in before.text and "Nothing differs" not in before.text, "nobody asked yet"
    shown = await ann.get(f"{PATH}?look=yes")
    told = (await api.done("GET", "/reratings"))["data"]
    assert len(told) == 2 and all(f"/entries/{one['entry_id']}" in shown.links for one in told)
    for one in told:
        assert f'value="{one["difference_usd"]}"' in shown.html and usd(one["after_nanousd"]) in shown.text
    total = sum(one["difference_nanousd"] for one in told)
    assert usd(total) in shown.text and "Entries 2" in shown.text
    assert len((await api.done("GET", "/ledger"))["data"]) == 3
    for query, count in (
        ("tenant=acme", 1),
        ("model=gpt-realtime-2.1", 2),
        ("model=nothing", 0),
        ("from=2026-10-06", 0),
        ("to=2026-10-06", 2),
        ("unrated=true", 0),
        ("session=s2", 1),
    ):
        found = await ann.get(f"{PATH}?look=yes&{query}")
        assert found.html.count("/entries/") == count, query
        assert ("Nothing differs" in found.text) is (count == 0)


async def test_what_differs_is_reversed_and_replaced(api: Asking) -> None:
    await late_card(api)
    ann = visitor(api)
    form = next(
        one for one in (await ann.get(f"{PATH}?look=yes&tenant=acme")).forms if "reason" in one.fields
    )
    empty = await ann.submit(form, 422, reason="")
    assert "reason" in empty.text and empty.status == 422
    done = await ann.submit(form, 200, reason="the card came late")
    assert "Done: 1 entries are corrected" in done.text and "What was booked just now" in done.text
    again = await ann.submit(form, 200, reason="the card came late")
    assert "Done: 0 entries are corrected" in again.text
    ledger = (await api.done("GET", "/ledger"))["data"]
    assert [one["tenant"] for one in ledger if one["corrects"] is not None] == ["acme", "acme"]
    assert len(ledger) == 5
    rest = await ann.get(f"{PATH}?look=yes")
    assert rest.html.count("/entries/") == 1, "globex's was not asked for"
    (act,) = await api.acts(action="prices.rerate")
    assert (act["actor"], act["reason"]) == ("user:admin@example.com", "the card came late")


async def test_long_work_goes_on_where_it_stopped(api: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    await late_card(api)
    monkeypatch.setattr("proxy.admin.api.reratings.PAGE_ENTRIES", 1)
    monkeypatch.setattr("proxy.store.rerate.PAGE_ENTRIES", 1)
    monkeypatch.setattr(rerating, "PORTIONS_S", 0.0)
    ann = visitor(api)
    look = await ann.get(f"{PATH}?look=yes")
    assert [link for link in look.links if "after=" in link], "a look is paged as well"
    form = next(one for one in look.forms if "reason" in one.fields)
    shown = await ann.submit(form, 200, reason="late")
    pages = 1
    while "Not done yet" in shown.text:
        assert f"{pages} entries are corrected so far" in shown.text or pages > 1
        shown = await ann.submit(next(one for one in shown.forms if "after" in one.fields), 200)
        pages += 1
    assert pages > 1 and "Done: 2 entries are corrected" in shown.text
    assert (await api.done("GET", "/reratings"))["data"] == []


async def test_bad_filters_and_who_may(embedded: Asking) -> None:
    await late_card(embedded)
    ann = visitor(embedded)
    shown = await ann.get(f"{PATH}?look=yes&tenant=nobody&model=m", 404)
    assert "no tenant 'nobody'" in shown.text and 'value="nobody"' in shown.html
    shown = await ann.get(f"{PATH}?look=yes&from=soon", 422)
    assert "is not a time" in shown.text and 'value="soon"' in shown.html
    shown = await ann.submit(
        next(one for one in (await ann.get(f"{PATH}?look=yes")).forms if "reason" in one.fields),
        422,
        reason="x" * 2_000,
        model=HOSTILE,
    )
    assert "x" * 2_000 in shown.html and "<script>alert" not in shown.html
    auditor = visitor(embedded, TokenRole.AUDITOR)
    look = await auditor.get(f"{PATH}?look=yes")
    assert "/entries/" in look.html and not [one for one in look.forms if "reason" in one.fields]
    fields = {"csrf": look.form("/sign-out").fields["csrf"], "reason": "no"}
    await auditor.post(PATH, fields, 403)
    other = visitor(embedded, TokenRole.FINANCE, "globex")
    assert (await other.get(f"{PATH}?look=yes")).html.count("/entries/") == 1
    await other.get(f"{PATH}?look=yes&tenant=acme", 404)
