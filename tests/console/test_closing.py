"""Closing a month through pages: what stands in the way, two people, and the statements that come of it."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from proxy.console.pages import statements
from proxy.console.pages.closing import ways_to_clear
from proxy.console.visitors import COOKIE
from proxy.core.usage import Meter
from proxy.store import sign_ins
from proxy.store.database import reading, writing
from proxy.store.sign_ins import Person, Way
from proxy.store.statement_pdf import to_pdf
from proxy.store.statements import find_statement
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking, asking
from tests.closing import close_month
from tests.console.visiting import Shown, Visitor, stranger, visitor
from tests.ledgers import PEPPER

OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)
MONTH = "/close/2026-10"
HOSTILE = "<script>alert(1)</script>\"'><b>\u05d0\u05d1 & {{ 7*7 }}"
LATER = {"unrated": "a test", "journals": "a test"}


@pytest.fixture
async def four_eyes(tmp_path: Path, database_url: str) -> AsyncIterator[Asking]:
    async with asking(tmp_path, database_url, four_eyes=True) as asked:
        fill(asked)
        yield asked


def fill(api: Asking, project: str = "web") -> None:
    """October of acme and of globex: of acme's one entry has no price."""
    for session, tenant, of in (("s1", "acme", project), ("s2", "globex", None)):
        api.books.open(session, tenant, of, at=OCTOBER)
        api.books.bill(session, f"{session}-r1", {Meter.TEXT_IN: 1_251_000, Meter.AUDIO_OUT: 1}, at=OCTOBER)
        api.books.close(session, at=OCTOBER)
    api.books.bill("s1", "r2", {Meter.TEXT_IN: 7}, at=OCTOBER, model="gpt-unknown")


def local_admin(api: Asking) -> Visitor:
    """Return who has signed in with the local administrator's password."""
    with writing(api.engine) as connection:
        person = Person(Way.PASSWORD, "local-admin", "local-admin", TokenRole.ADMIN, ())
        _, secret = sign_ins.begin(connection, PEPPER, person, datetime.now(UTC))
    return Visitor(api.url, api.http, secret)


def amounts(shown: Shown) -> list[str]:
    """Return the exact amounts on a page, in their order."""
    return re.findall(r'<data class="money" value="([^"]*)"', shown.html)


async def test_a_month_is_closed_through_pages(api: Asking) -> None:
    fill(api)
    who = visitor(api, TokenRole.FINANCE, name="ann")
    listed = await who.get("/close")
    assert MONTH in listed.links and "over" in listed.text and "to be closed next" in listed.text
    assert amounts(listed) == [(await api.done("GET", "/periods"))["data"][0]["billed_usd"]]
    shown = await who.get(MONTH)
    assert "entries have no price" in shown.text and "entry 3: gpt-unknown" in shown.text
    for link in ("/entries/3", "/ledger?period=2026-10&unrated=true", "/rate-cards"):
        assert link in shown.links
    form = shown.form(MONTH)
    sure: dict[str, Any] = {"override-unrated": "no price yet", "reason": "it is over", "sure": "yes"}
    unsure = await who.submit(form, 422, **(sure | {"sure": ""}))
    assert "nobody can open it again" in unsure.text
    assert unsure.form(MONTH).fields["override-unrated"] == "no price yet"
    refused = await who.submit(form, 409, **(sure | {"override-unrated": ""}))
    assert "2026-10 cannot be closed yet" in refused.text
    assert refused.form(MONTH).fields["reason"] == "it is over"
    assert (await who.submit(form, **sure)).place == MONTH
    assert (await who.submit(form, **sure)).place == MONTH, "the same form once more changes nothing"
    (month,) = (await api.done("GET", "/periods"))["data"]
    assert (month["state"], month["closed_by"]) == ("closed", "user:ann")
    closed = await who.get(MONTH)
    assert "Closed in spite of: entries without a price" in closed.text and "no price yet" in closed.text
    assert month["seal"] in closed.text and "/statements?period=2026-10" in closed.links
    assert [one.action for one in closed.forms if one.method == "post"] == ["/sign-out"]
    acts = [row for row in api.audit() if row[1] == "period.close"]
    assert acts == [("user:ann", "period.close", "it is over")]
    again = (await who.get(MONTH)).text
    assert "There is no way to open it again" in again


async def test_two_people_close_a_month(four_eyes: Asking) -> None:
    """Through pages only; and neither the asker, nor an auditor, nor the local administrator approves."""
    api = four_eyes
    ann, bob = (visitor(api, TokenRole.FINANCE, name=name) for name in ("ann", "bob"))
    form = (await ann.get(MONTH)).form(MONTH)
    sure: dict[str, Any] = {"override-unrated": "no price yet", "reason": "it is over", "sure": "yes"}
    assert (await ann.submit(form, **sure)).place == MONTH
    waiting = await ann.get(MONTH)
    (place,) = [link for link in waiting.links if link.startswith("/approvals/")]
    assert "user:ann has asked for the close" in waiting.text and MONTH not in waiting.html.split("<form")[-1]
    assert (await api.done("GET", "/periods"))["data"][0]["state"] == "over"
    listed = await bob.get("/approvals")
    assert place in listed.links and "Close 2026-10" in listed.text
    assert "waits for approval" in (await bob.get("/close")).text

    own = await ann.get(place)
    assert "You have asked for this yourself" in own.text and "Take it back" in own.text
    approve, reject = f"{place}/approve", f"{place}/reject"
    assert approve not in {one.action for one in own.forms}
    csrf = own.form(reject).fields
    refused = await ann.post(approve, csrf, 403)
    assert "somebody else approves it" in refused.text

    for who, why, refusal in (
        (local_admin(api), "may be anybody who has its password", "local-admin may be anybody"),
        (visitor(api, TokenRole.AUDITOR), "Deciding takes the role admin or finance", "The role auditor"),
    ):
        seen = await who.get(place)
        assert why in seen.text and not {one.action for one in seen.forms} & {approve, reject}
        token = {"csrf": seen.form("/sign-out").fields["csrf"]}
        assert refusal in (await who.post(approve, token, 403)).text
    await visitor(api, TokenRole.VIEWER, "acme").get(place, 403)
    assert (await api.done("GET", "/periods"))["data"][0]["state"] == "over"

    shown = await bob.get(place)
    for text in ("closed for good", "no price yet", "entry 3: gpt-unknown", "it is over", "user:ann"):
        assert text in shown.text
    form = shown.form(approve)
    assert (await bob.submit(form, reason="checked")).place == place
    assert (await bob.submit(form, reason="checked")).place == place, "sent twice it is approved once"
    done = await bob.get(place)
    assert "What was done" in done.text and MONTH in done.links and "checked" in done.text
    (month,) = (await api.done("GET", "/periods"))["data"]
    assert (month["state"], month["closed_by"]) == ("closed", "user:ann, approved by user:bob")
    assert month["seal"] in (await ann.get(MONTH)).text
    rows = [row for row in api.audit() if row[1].startswith(("approval", "period"))]
    assert rows == [
        ("user:ann", "approval.ask", "it is over"),
        ("user:ann, approved by user:bob", "period.close", "it is over"),
        ("user:bob", "approval.approve", "checked"),
    ]
    assert "Nothing waits" in (await bob.get("/approvals")).text
    assert place in (await bob.get("/approvals?state=approved")).links
    assert place in (await bob.get("/approvals?state=all")).links
    assert place not in (await bob.get("/approvals?state=rejected")).links
    await check_statement(api, bob, "2026-10-0001")


async def check_statement(api: Asking, who: Visitor, number: str) -> None:
    """See that a statement's page has what the API says of it, amount by amount."""
    told = await api.done("GET", f"/statements/{number}")
    shown = await who.get(f"/statements/{number}")
    total = told["billed_nanousd"] + told["rounding_nanousd"]
    found = amounts(shown)
    assert found[:3] == [f"{told['total_usd']}0000000", told["billed_usd"], told["rounding_usd"]]
    assert total == int(told["total_usd"].replace(".", "")) * 10_000_000
    wanted = []
    for section in ("usage", "unrated", "adjustment", "correction"):
        of = [one for one in told["lines"] if one["line"] == section and one["billed_usd"] is not None]
        sums = sum(one["billed_nanousd"] for one in of)
        if of:
            sign = "-" if sums < 0 else ""
            whole, rest = divmod(abs(sums), 10**9)
            wanted += [*(one["billed_usd"] for one in of), f"{sign}{whole}.{rest:09d}"]
    assert found[3:] == wanted
    for line in told["lines"]:
        for name in ("project", "model", "reason"):
            assert line[name] is None or line[name] in shown.text
        assert line["quantity"] is None or f"{line['quantity']:,}" in shown.text
    for text in (told["tenant"], told["tenant_id"], told["digest"], told["issuer"], told["note"], number):
        assert text in shown.text


async def test_a_statement_is_what_the_api_says(api: Asking) -> None:
    fill(api)
    credit = {"kind": "credit", "tenant": "acme", "key": "k", "reason": HOSTILE, "billed_usd": "-1"}
    await api.done("POST", "/adjustments", credit | {"occurred_at": "2026-10-06"})
    close_month(api.engine, "2026-10", LATER, issuer=HOSTILE)
    for number in ("2026-10-0001", "2026-10-0002"):
        await check_statement(api, visitor(api), number)
    shown = await visitor(api).get("/statements/2026-10-0001")
    assert "<script>alert" not in shown.html and "/entries/4" in shown.links
    assert "It has no amount here" in shown.text and "not known" in shown.text


async def test_the_list_of_statements_and_its_files(embedded: Asking) -> None:
    fill(embedded)
    admin = visitor(embedded)
    assert "No statements yet" in (await admin.get("/statements")).text
    close_month(embedded.engine, "2026-10", LATER)
    for query, numbers in (
        ("", ["2026-10-0002", "2026-10-0001"]),
        ("?tenant=acme", ["2026-10-0001"]),
        ("?period=2026-10&tenant=globex", ["2026-10-0002"]),
        ("?period=2026-09", []),
    ):
        shown = await admin.get(f"/statements{query}")
        assert re.findall(r'href="/statements/([0-9-]+)"', shown.html) == numbers, query
    told = (await embedded.done("GET", "/statements", params={"tenant": "acme"}))["data"][0]
    shown = await admin.get("/statements?tenant=acme")
    assert amounts(shown) == [told["billed_usd"], f"{told['total_usd']}0000000"]
    assert "soon" in (await admin.get("/statements?period=soon", 422)).html
    assert "nobody" in (await admin.get("/statements?tenant=nobody", 404)).text
    with reading(embedded.engine) as connection:
        whole = find_statement(connection, "2026-10-0001")
    for format, made in (("pdf", to_pdf(whole)), ("csv", whole.as_csv().encode())):
        link = f"/statements/2026-10-0001/file?format={format}"
        assert link in shown.links
        assert await fetched(admin, link) == (200, made)
    await admin.get("/statements/2026-10-0009", 404)
    await admin.get("/statements/2026-10-0009/file", 404)
    await admin.get("/statements/2026-10-0001/file?format=xlsx", 422)


async def fetched(who: Visitor, path: str) -> tuple[int, bytes]:
    headers = {"Cookie": f"{COOKIE}={who.secret}"}
    async with who.http.get(f"{who.url}{path}", headers=headers) as answer:
        return answer.status, await answer.read()


async def test_a_long_statement_has_pages(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(embedded)
    close_month(embedded.engine, "2026-10", LATER)
    monkeypatch.setattr(statements, "LINES_MAX", 1)
    admin, path, found = visitor(embedded), "/statements/2026-10-0001", []
    for _ in range(3):
        shown = await admin.get(path)
        found.append(amounts(shown)[3:])
        following = [link for link in shown.links if "from_line=" in link and 'rel="next"' in shown.html]
        path = following[-1] if following else path
    assert found == [["5.004000000", "5.004064000"], ["0.000064000", "5.004064000"], []]
    assert "Lines 3 to 3 of 3" in shown.text
    for odd in ("0", "99", "x", "-1"):
        await admin.get(f"/statements/2026-10-0001?from_line={odd}")


async def test_viewers_see_the_statements_of_their_own_tenants(embedded: Asking) -> None:
    fill(embedded)
    close_month(embedded.engine, "2026-10", LATER)
    viewer = visitor(embedded, TokenRole.VIEWER, "globex")
    shown = await viewer.get("/statements")
    assert "2026-10-0002" in shown.text and "2026-10-0001" not in shown.text and "acme" not in shown.text
    assert not {"/close", "/approvals", "/reconciliation"} & set(shown.links)
    await viewer.get("/statements/2026-10-0002")
    for path in ("/statements/2026-10-0001", "/statements/2026-10-0001/file", "/statements?tenant=acme"):
        assert "5.00" not in (await viewer.get(path, 404)).text
    for path in ("/close", MONTH, "/approvals"):
        assert "$" not in (await viewer.get(path, 403)).text
    await visitor(embedded, TokenRole.FINANCE, "acme").get("/close", 403)
    auditor = await visitor(embedded, TokenRole.AUDITOR).get(MONTH)
    assert [one.action for one in auditor.forms if one.method == "post"] == ["/sign-out"]
    await stranger(embedded).get("/statements", 303)


async def test_months_that_cannot_be_closed_now(embedded: Asking) -> None:
    admin = visitor(embedded)
    assert "Nothing to close" in (await admin.get("/close")).text
    fill(embedded)
    now = datetime.now(UTC)
    embedded.books.open("s9", "acme", at=now)
    embedded.books.bill("s9", "r9", {Meter.TEXT_IN: 1}, at=now)
    this = f"{now:%Y-%m}"
    shown = await admin.get(f"/close/{this}")
    assert "is not over before" in shown.text or "close it first" in shown.text
    assert f"/close/{this}" not in {one.action for one in shown.forms}
    assert f"/close/{this}" in (await admin.get("/close")).links
    await admin.get("/close/1999-01", 404)
    await admin.get("/close/soon", 422)
    auditor = visitor(embedded, TokenRole.AUDITOR)
    shown = await auditor.get(MONTH)
    assert "entries have no price" in shown.text and MONTH not in {one.action for one in shown.forms}
    fields = {"csrf": shown.forms[0].fields["csrf"], "sure": "yes", "override-unrated": "x"}
    await auditor.post(MONTH, fields, 403)
    assert (await embedded.done("GET", "/statements"))["data"] == []


async def test_bad_reasons_keep_what_was_typed(embedded: Asking) -> None:
    fill(embedded)
    admin = visitor(embedded)
    form = (await admin.get(MONTH)).form(MONTH)
    for reason in ("x" * 2_000, "a\u202eb"):
        fields: dict[str, Any] = {"override-unrated": reason, "sure": "yes"}
        shown = await admin.submit(form, 422, **fields)
        assert shown.form(MONTH).fields["override-unrated"] == reason
    shown = await admin.submit(form, 409, reason=HOSTILE, sure="yes")
    assert shown.form(MONTH).fields["reason"] == HOSTILE and "<script>alert" not in shown.html


async def test_what_stands_in_the_way_leads_somewhere(embedded: Asking) -> None:
    """Journals that did not end well, and days that were not compared."""
    fill(embedded)
    embedded.books.open("s3", "acme", at=OCTOBER)
    shown = await visitor(embedded).get(MONTH)
    assert "Usage may still come" in shown.text and "/live" in shown.links
    assert ways_to_clear("days", "2026-12") == [
        ("Compare the days", "/reconciliation?from=2026-12-01&to=2027-01-01")
    ]


async def ask_for_credit(api: Asking, who: Visitor, **fields: str) -> str:
    form = (await who.get("/ledger/book")).form("/ledger/book")
    credit: dict[str, Any] = {"kind": "credit", "tenant": "acme", "billed_usd": "-150", "reason": "outage 7"}
    return (await who.submit(form, **(credit | fields))).place


async def test_a_large_credit_waits_and_is_said_in_words(four_eyes: Asking) -> None:
    api = four_eyes
    ann, bob = (visitor(api, TokenRole.FINANCE, name=name) for name in ("ann", "bob"))
    place = await ask_for_credit(api, ann, reason=HOSTILE, project="web", corrects="1")
    assert place.startswith("/approvals/apr_")
    assert (await ask_for_credit(api, ann, billed_usd="-1")).startswith("/entries/"), "a small one waits not"
    shown = await bob.get(place)
    text = "What acme owes changes by -$150.000000000, project web. It puts entry 1 right."
    assert text in shown.text and HOSTILE in shown.text and "<script>alert" not in shown.html
    form = shown.form(f"{place}/reject")
    refused = await bob.submit(form, 422)
    assert "Say why this is rejected" in refused.text
    assert (await bob.submit(form, reason="too much")).place == place
    done = await bob.get(place)
    assert "too much" in done.text and "rejected" in done.text and f"{place}/approve" not in done.html
    assert ("user:bob", "approval.reject", "too much") in api.audit()
    other = await bob.post(f"{place}/approve", {"csrf": form.fields["csrf"]}, 409)
    assert "that is final" in other.text
    mine = await ask_for_credit(api, ann, reason="mistyped")
    back = (await ann.get(mine)).form(f"{mine}/reject")
    await ann.submit(back, reason="mistyped")
    assert "rejected" in (await ann.get(mine)).text


async def test_another_name_makes_nobody_another_person(four_eyes: Asking) -> None:
    """What a provider calls somebody may change while they are signed in, even by their own hand."""
    api, subject = four_eyes, "https://id.example.com 42"
    sure: dict[str, Any] = {"override-unrated": "no price yet", "reason": "it is over", "sure": "yes"}
    was, now = (visitor(api, TokenRole.FINANCE, name=name, subject=subject) for name in ("Ann", "zed"))
    await was.submit((await was.get(MONTH)).form(MONTH), **sure)
    (place,) = [link for link in (await was.get(MONTH)).links if link.startswith("/approvals/")]
    shown = await now.get(place)
    token = {"csrf": shown.form("/sign-out").fields["csrf"]}
    assert "somebody else approves it" in (await now.post(f"{place}/approve", token, 403)).text
    assert (await api.done("GET", "/periods"))["data"][0]["state"] == "over"
    bob = visitor(api, TokenRole.FINANCE, name="bob")
    await bob.submit((await bob.get(place)).form(f"{place}/approve"))
    assert (await api.done("GET", "/periods"))["data"][0]["closed_by"] == "user:Ann, approved by user:bob"


async def test_approvals_of_ones_own_tenants(four_eyes: Asking) -> None:
    api = four_eyes
    place = await ask_for_credit(api, visitor(api, TokenRole.FINANCE, name="ann"))
    acme, globex = (visitor(api, TokenRole.FINANCE, one) for one in ("acme", "globex"))
    assert place in (await acme.get("/approvals")).links
    assert place not in (await globex.get("/approvals")).links
    await globex.get(place, 404)
    shown = await acme.get(place)
    form = shown.form(f"{place}/approve")
    token = {"csrf": (await globex.get("/approvals")).forms[0].fields["csrf"]}
    await globex.post(f"{place}/approve", token, 404)
    await acme.submit(form)
    entry = (await api.done("GET", "/ledger", params={"kind": "credit"}))["data"][0]
    assert f"/entries/{entry['id']}" in (await acme.get(place)).links


async def test_which_approvals(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = visitor(embedded)
    assert "Nothing waits" in (await admin.get("/approvals")).text
    assert "No request is so" in (await admin.get("/approvals?state=expired")).text
    await admin.get("/approvals?state=lost", 422)
    await admin.get("/approvals/apr_0", 404)
