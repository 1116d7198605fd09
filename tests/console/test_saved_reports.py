"""/reports/saved: saved, opened, changed and forgotten, each with its row in the audit log."""

from datetime import timedelta
from urllib.parse import urlencode

from proxy.clock import utc_now
from proxy.console.figures import usd_exact
from proxy.core.usage import Meter
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.console.reporting import HOSTILE, changed, fill, pairs_of
from tests.console.visiting import visitor

PATH = "/reports/saved"
NAME = HOSTILE.rstrip("\u202e") + "\u0639"
EARLY = utc_now() - timedelta(days=200)
ASKED = {
    "from": "2026-11-01",
    "to": "2026-12-01",
    "group_by": "day,tag:team",
    "project": "web",
    "tenant": "acme",
    "modality": "audio",
    "tz": "Europe/Berlin",
    "sessions": "true",
}


async def test_it_is_saved_opened_changed_and_forgotten(api: Asking) -> None:
    fill(api)
    finance = visitor(api, TokenRole.FINANCE, name="fin@example.com")
    form = pairs_of(await finance.get(f"{PATH}/new?{urlencode(ASKED)}"), PATH)
    groups = ",".join(value for name, value in form if name == "q-group_by" and value)
    sent = changed(form, name=NAME, reason="asked for", span="last-month") | {"q-group_by": groups}
    first = await finance.post(PATH, sent)
    again = await finance.post(PATH, sent)
    assert first.place == again.place, "one form makes one"
    (saved,) = (await api.done("GET", "/saved-reports"))["data"]
    assert (saved["tenant"], saved["span"], saved["group_by"]) == ("acme", "last-month", ["day", "tag:team"])
    assert (
        saved["filters"]["modality"] == "audio" and saved["count_sessions"] and saved["tz"] == "Europe/Berlin"
    )

    told = await api.done("GET", f"/saved-reports/{saved['id']}/costs")
    shown = await finance.get(first.place)
    assert f'title="{usd_exact(told["total"]["cost_nanousd"])}"' in shown.html
    assert NAME in shown.text and "<script>alert" not in shown.html
    assert NAME in (await finance.get(PATH)).text

    edit = f"{PATH}/{saved['id']}"
    form = pairs_of(await finance.get(f"{edit}/edit"), edit)
    sent = changed(form, name="audio", days="45", q_modality="") | {"q-group_by": "model"}
    await finance.post(edit, sent)
    stale = await finance.post(edit, sent | {"name": "other"}, 412)
    assert "Name audio other" in stale.text and "About" not in stale.text.partition("Is now")[2][:30]
    kept = dict(pairs_of(stale, edit))
    assert kept["name"] == "other"
    await finance.post(edit, kept | {"name": "audio", "q-group_by": "model"})
    assert (await finance.post(edit, sent)).place == edit, "it is so already"
    now = await api.done("GET", f"/saved-reports/{saved['id']}")
    assert (now["name"], now["span"], now["group_by"]) == ("audio", "last-45-days", ["model"])

    forget = (await finance.get(edit)).form(f"{edit}/forget")
    gone = await finance.submit(forget, reason="done")
    assert gone.place == PATH
    await finance.get(edit, 404)
    acts = [one for one in api.audit() if one[1].startswith("report.")]
    assert acts == [
        ("user:fin@example.com", "report.save", "asked for"),
        ("user:fin@example.com", "report.save", None),
        ("user:fin@example.com", "report.forget", "done"),
    ]


async def test_what_cannot_be_saved_is_said_and_what_was_typed_is_kept(embedded: Asking) -> None:
    fill(embedded)
    admin = visitor(embedded)
    form = pairs_of(await admin.get(f"{PATH}/new?session=s1&tz=UTC"), PATH)
    assert "has no place for session" in (await admin.get(f"{PATH}/new?session=s1")).text
    base = changed(form, name="a", span="last-week") | {"q-group_by": "model"}
    for change in (
        {"name": ""},
        {"days": "0"},
        {"days": "x" * 40},
        {"q-tz": HOSTILE},
        {"q-group_by": "zodiac"},
        {"q-kind": "gift"},
        {"q-tag": "team"},
        {"name": "x" * 2_000},
        {"name": HOSTILE},  # it turns the direction of writing
    ):
        sent = base | change
        shown = await admin.post(PATH, sent, 422)
        assert 'class="error"' in shown.html or 'class="problem"' in shown.html, change
        kept = [value for name, value in pairs_of(shown, PATH)]
        typed = (value for name, value in sent.items() if name not in ("key",) and value)
        assert all(value in kept for value in typed), change
        assert "<script>alert" not in shown.html
    await admin.post(PATH, base | {"key": "k1"})
    taken = await admin.post(PATH, base | {"key": "k2"}, 409)
    assert "already" in taken.text
    await admin.post(PATH, base | {"key": "k3", "q-tenant": "nobody"}, 404)


async def test_who_may_see_and_save(embedded: Asking) -> None:
    fill(embedded)
    for name, tenant in (("ours", "acme"), ("all", None)):
        body = {"name": name, "span": "last-month", "tenant": tenant, "group_by": ["tenant"]}
        await embedded.done("POST", "/saved-reports", body)
    reports = {one["name"]: one["id"] for one in (await embedded.done("GET", "/saved-reports"))["data"]}
    viewer = visitor(embedded, TokenRole.VIEWER, "acme")
    shown = await viewer.get(PATH)
    assert "ours" in shown.text and f"{PATH}/{reports['all']}" not in shown.links
    assert "/forget" not in (await viewer.get(f"{PATH}/{reports['ours']}")).html
    await viewer.get(f"{PATH}/{reports['all']}", 404)
    await viewer.get(f"{PATH}/new", 403)
    await visitor(embedded, TokenRole.VIEWER, "globex").get(f"{PATH}/{reports['ours']}", 404)
    auditor = visitor(embedded, TokenRole.AUDITOR)
    assert "/forget" not in (await auditor.get(f"{PATH}/{reports['all']}")).html
    await auditor.get(f"{PATH}/{reports['all']}/edit", 403)
    confined = visitor(embedded, TokenRole.FINANCE, "acme")
    form = dict(pairs_of(await confined.get(f"{PATH}/new"), PATH))
    refused = await confined.post(PATH, form | {"name": "b", "q-group_by": ""}, 403)
    assert "confined to tenants" in refused.text and "b" in dict(pairs_of(refused, PATH))["name"]
    await confined.post(PATH, form | {"name": "b", "q-group_by": "", "q-tenant": "acme"})


async def test_one_that_cannot_be_answered_says_why(embedded: Asking) -> None:
    fill(embedded)
    embedded.books.open("early", "acme", at=EARLY)
    embedded.books.bill("early", "first", {Meter.TEXT_IN: 1}, at=EARLY)
    body = {"name": "long", "span": "last-366-days", "group_by": ["session"]}
    made = await embedded.done("POST", "/saved-reports", body)
    shown = await visitor(embedded).get(f"{PATH}/{made['id']}", 422)
    assert "at most 100 days" in shown.text and f"{PATH}/{made['id']}/edit" in shown.links
    assert "No report is saved" in (await visitor(embedded).get(f"{PATH}?tenant=globex")).text
