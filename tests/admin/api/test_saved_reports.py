"""`/saved-reports`: who makes, sees and runs which."""

from datetime import UTC, datetime, timedelta

from proxy.core.usage import Meter
from proxy.store.database import writing
from proxy.store.markups import set_markup
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.ledgers import ACT, Books
from tests.scheduling import EMBEDDED

OWN = {"name": "daily", "tenant": "acme", "span": "last-day", "group_by": ["model"], "tz": "UTC"}


async def test_it_is_made_changed_and_forgotten_by_who_has_read_it(api: Asking) -> None:
    Books(api.engine).key("acme", "web")
    finance = api.token(TokenRole.FINANCE, "acme")
    made = await api("POST", "/saved-reports", OWN | {"filters": {"project": "web"}}, token=finance)
    assert made.status == 201 and made.json["filters"] == {"project": "web"}
    path = made.headers["Location"].removeprefix("/api/v1")
    await api.problem(409, "POST", "/saved-reports", OWN)
    body = {"name": "nightly", "span": "last-7-days"}
    await api.problem(428, "PUT", path, body)
    changed = await api("PUT", path, body, token=finance, If_Match=made.etag)
    assert (changed.json["name"], changed.json["group_by"], changed.json["tenant"]) == ("nightly", [], "acme")
    await api.problem(412, "PUT", path, body, If_Match=made.etag)
    gone = await api("DELETE", path, If_Match=changed.etag, Talkmeter_Reason="done")
    assert gone.json["name"] == "nightly"
    await api.problem(404, "GET", path)
    acts = [(actor, action) for actor, action, _ in api.audit() if action.startswith("report.")]
    assert acts[:2] == [("api:finance acme", "report.save")] * 2 and acts[2][1] == "report.forget"
    assert api.audit()[-1][2] == "done"


@EMBEDDED
async def test_viewers_run_those_of_their_tenants_in_what_these_owe(api: Asking) -> None:
    books = Books(api.engine)
    books.key("acme")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    with writing(api.engine) as connection:
        set_markup(connection, "acme", 5_000, yesterday - timedelta(days=1), ACT)
    books = Books(api.engine)
    for session, tenant in (("s1", "acme"), ("s2", "globex")):
        books.open(session, tenant)
        books.bill(session, f"{session}-r", {Meter.TEXT_OUT: 1_000}, at=yesterday)
    own = await api.done("POST", "/saved-reports", OWN)
    all_ = await api.done("POST", "/saved-reports", OWN | {"tenant": None})
    viewer, other = (api.token(TokenRole.VIEWER, tenant) for tenant in ("acme", "globex"))
    listed = await api.done("GET", "/saved-reports", token=viewer)
    assert [one["id"] for one in listed["data"]] == [own["id"]]
    ours = await api.done("GET", f"/saved-reports/{own['id']}/costs")
    theirs = await api.done("GET", f"/saved-reports/{own['id']}/costs", token=viewer)
    assert theirs["total"]["responses"] == ours["total"]["responses"] == 1
    assert theirs["total"]["cost_nanousd"] == ours["total"]["billed_nanousd"] > ours["total"]["cost_nanousd"]
    for token, report in ((other, own), (viewer, all_)):
        await api.problem(404, "GET", f"/saved-reports/{report['id']}/costs", token=token)
        await api.problem(404, "GET", f"/saved-reports/{report['name']}", token=token)
    assert (await api.done("GET", f"/saved-reports/{all_['id']}/costs"))["total"]["responses"] == 2


async def test_what_cannot_be_saved(embedded: Asking) -> None:
    Books(embedded.engine).key("acme")
    for change in (
        {"span": "last-year"},
        {"group_by": ["zodiac"]},
        {"group_by": ["model", "model"]},
        {"tz": "Mars"},
        {"filters": {"kind": "gift"}},
        {"filters": {"session": "s1"}},
        {"filters": {"tag": "team"}},
        {"name": "a\nb"},
    ):
        await embedded.problem(422, "POST", "/saved-reports", OWN | change)
    confined = embedded.token(TokenRole.FINANCE, "acme")
    await embedded.problem(403, "POST", "/saved-reports", OWN | {"tenant": None}, token=confined)
    await embedded.problem(404, "POST", "/saved-reports", OWN | {"tenant": "globex"}, token=confined)
