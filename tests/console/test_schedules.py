"""/reports/schedules: set, tried out, changed, removed; what they sent; secrets that are not shown."""

from typing import Any

import pytest

from proxy.console.pages.schedules import PATH
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.console.reporting import HOSTILE, changed, fill, pairs_of
from tests.console.visiting import visitor

SLACK = "http://127.0.0.1:1/canary"  # nobody is there
GIVEN = {
    "name": "weekly",
    "content": "digest",
    "every": "week",
    "on": "friday",
    "at": "17:00",
    "tz": "Europe/Berlin",
}


async def test_it_is_set_tried_out_changed_and_removed(api: Asking) -> None:
    fill(api)
    hook = await api.done(
        "POST", "/webhooks", {"url": "https://hooks.example.com/x", "kinds": ["spend.anomaly"]}
    )
    admin = visitor(api, name="ann@example.com")
    form = pairs_of(await admin.get(f"{PATH}/new"), PATH)
    sent = changed(form, **GIVEN, mail="ann@example.com\nbob@example.com", slack=SLACK, reason="wanted")
    sent |= {"webhooks": hook["id"]}
    first = await admin.post(PATH, sent)
    assert (await admin.post(PATH, sent)).place == first.place, "one form makes one"
    (made,) = (await api.done("GET", "/schedules"))["data"]
    assert [one["to"] for one in made["to"]] == [
        "mailto:ann@example.com",
        "mailto:bob@example.com",
        "slack:http://127.0.0.1/…",
        f"webhook:{hook['id']}",
    ]
    listed = await admin.get(PATH)
    assert "every Friday at 17:00, Europe/Berlin" in listed.text and "canary" not in listed.html

    one = f"{PATH}/{made['id']}"
    run = (await admin.get(one)).form(f"{one}/run")
    assert (await admin.submit(run, reason="a try")).place == one
    shown = await admin.get(one)
    assert "What was sent" in shown.text and "mailto:bob@example.com" in shown.text
    assert "canary" not in shown.html

    edit = pairs_of(await admin.get(f"{one}/edit"), one)
    assert ("mail", "ann@example.com\nbob@example.com") in edit and ("slack", "") in edit
    await admin.post(one, changed(edit, mail="bob@example.com", every="month", on="31", webhooks=None))
    stale = await admin.post(one, changed(edit, mail="eve@example.com"), 412)
    again = pairs_of(stale, one)
    assert ("mail", "eve@example.com") in again
    told = stale.text.partition("Is now")[2]
    assert "How often every month every week" in told and "bob@example.com, slack:http://127.0.0.1/…" in told
    assert "canary" not in stale.html
    kept = {"every": "month", "on": "31", "mail": "bob@example.com", "webhooks": None}
    assert (await admin.post(one, changed(again, **kept))).place == one
    now = await api.done("GET", f"/schedules/{made['id']}")
    assert (now["every"], now["on"], now["at"]) == ("month", "31", "17:00")
    assert [to["channel"] for to in now["to"]] == ["email", "slack"], "a Slack channel is kept by its id"

    gone = await admin.submit((await admin.get(one)).form(f"{one}/remove"), reason="over")
    assert gone.place == PATH and "Nothing is sent by itself" in (await admin.get(PATH)).text
    await admin.get(one, 404)
    acts = [act for act in api.audit() if act[1].startswith("schedule.")]
    assert acts == [
        ("user:ann@example.com", "schedule.set", "wanted"),
        ("user:ann@example.com", "schedule.run", "a try"),
        ("user:ann@example.com", "schedule.set", None),
        ("user:ann@example.com", "schedule.set", None),
        ("user:ann@example.com", "schedule.remove", "over"),
    ]


async def test_a_saved_report_is_sent(embedded: Asking) -> None:
    fill(embedded)
    saved = await embedded.done(
        "POST", "/saved-reports", {"name": "a", "span": "last-week", "tenant": "acme"}
    )
    admin = visitor(embedded)
    form = pairs_of(await admin.get(f"{PATH}/new?report={saved['id']}"), PATH)
    assert ("report", saved["id"]) in form and ("tenant", "acme") in form and ("content", "report") in form
    place = (await admin.post(PATH, changed(form, mail="ann@example.com"))).place
    assert f"/reports/saved/{saved['id']}" in (await admin.get(place)).links
    kept = await admin.submit(
        (await admin.get(f"/reports/saved/{saved['id']}")).form(f"/reports/saved/{saved['id']}/forget"), 409
    )
    assert "sends this report" in kept.text
    await admin.get(f"{PATH}/new?report=rep_none", 404)
    anomalies = changed(
        form, name="b", content="anomaly", every="", at="", on="", mail="ann@example.com", key="k2"
    )
    assert "at once" in (await admin.get((await admin.post(PATH, anomalies)).place)).text


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": HOSTILE},
        {"name": "x" * 2_000},
        {"mail": "", "slack": ""},
        {"mail": "ann"},
        {"mail": f"ann@example.com\n{HOSTILE}"},
        {"slack": "http://169.254.169.254/latest"},
        {"slack": HOSTILE},
        {"at": "8:00"},
        {"at": "25:00"},
        {"on": "32"},
        {"every": "hour"},
        {"every": ""},
        {"tz": "Mars"},
        {"content": "report"},
        {"content": HOSTILE},
    ],
    ids=str,
)
async def test_what_cannot_be_set_is_said_and_what_was_typed_is_kept(
    embedded: Asking, change: dict[str, Any]
) -> None:
    fill(embedded)
    admin = visitor(embedded)
    form = pairs_of(await admin.get(f"{PATH}/new"), PATH)
    shown = await admin.post(PATH, changed(form, **{**GIVEN, "mail": "ann@example.com", **change}), 422)
    assert 'class="error"' in shown.html or 'class="problem"' in shown.html
    assert "<script>alert" not in shown.html
    kept = dict(pairs_of(shown, PATH))
    assert all(kept[name] == value for name, value in change.items() if name not in ("every", "content"))
    assert (await embedded.done("GET", "/schedules"))["data"] == []


async def test_who_may_see_and_set(embedded: Asking) -> None:
    fill(embedded)
    body = GIVEN | {"to": ["mailto:ann@example.com"]}
    ours = await embedded.done("POST", "/schedules", body | {"tenant": "acme"})
    await visitor(embedded, TokenRole.VIEWER, "acme").get(PATH, 403)
    assert PATH not in (await visitor(embedded, TokenRole.VIEWER, "acme").get("/reports/saved")).links
    await visitor(embedded, TokenRole.FINANCE, "globex").get(f"{PATH}/{ours['id']}", 404)
    finance = visitor(embedded, TokenRole.FINANCE)
    shown = await finance.get(f"{PATH}/{ours['id']}")
    assert "every Friday" in shown.text and f"{PATH}/{ours['id']}/run" not in shown.html
    assert f"{PATH}/new" not in (await finance.get(PATH)).links
    await finance.get(f"{PATH}/new", 403)
    await finance.get(f"{PATH}/{ours['id']}/edit", 403)
    csrf = dict(pairs_of(await finance.get("/reports/saved/new"), "/reports/saved"))["csrf"]
    for path in ("", f"/{ours['id']}", f"/{ours['id']}/run", f"/{ours['id']}/remove"):
        await finance.post(f"{PATH}{path}", {"csrf": csrf}, 403)
        await visitor(embedded).post(f"{PATH}{path}", {"csrf": "wrong"}, 403)
    assert len((await embedded.done("GET", "/schedules"))["data"]) == 1
