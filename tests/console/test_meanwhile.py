"""What somebody else has changed meanwhile: told beside what was typed; and nothing is removed unseen."""

from typing import Any

import pytest

from proxy.admin.api.problems import Problem
from proxy.console.meanwhile import Differs, differing, is_stale
from tests.admin.api.asking import Asking
from tests.admin.api.world import World, fill
from tests.console.visiting import visitor


def test_what_differs() -> None:
    labels = {"amount": "Amount", "then": "When it is spent", "zone": "Time zone"}
    now, typed = {"amount": "5", "then": "cut"}, {"amount": "7", "then": "notify", "zone": ""}
    words = {"then": {"cut": "it ends"}}
    assert differing(labels, now, typed, words) == [
        Differs("Amount", "5", "7"),
        Differs("When it is spent", "it ends", "notify"),
    ]
    assert is_stale(Problem("stale", "")) and is_stale(Problem("precondition-required", ""))
    assert not is_stale(Problem("invalid", "")) and not is_stale(None)


@pytest.fixture
async def world(embedded: Asking) -> World:
    return await fill(embedded)


async def test_nothing_is_removed_that_was_changed_meanwhile(embedded: Asking, world: World) -> None:
    """The page comes back as the thing is now; removing it from there is meant."""
    saved, schedule = f"/saved-reports/{world.report}", f"/schedules/{world.schedule}"
    limit, rule = f"/limits/{world.tenant}/sessions", f"/models/{world.tenant}/gpt-realtime"
    every: dict[str, Any] = {"name": "n", "content": "digest", "every": "day", "to": ["mailto:a@example.com"]}
    admin = visitor(embedded)
    for page, action, place, method, body in (
        (f"/budgets/{world.budget}", "/delete", f"/budgets/{world.budget}", "PATCH", {"amount_usd": "7"}),
        (limit, "/remove", limit, "PUT", {"value": "9"}),
        (f"/limits/{world.tenant}/models?model=gpt-realtime", "/remove", rule, "PUT", {"allowed": False}),
        (f"/reports/saved/{world.report}", "/forget", saved, "PUT", {"name": "n", "span": "last-day"}),
        (f"/reports{schedule}", "/remove", schedule, "PUT", every),
    ):
        form = (await admin.get(page)).form(page.partition("?")[0] + action)
        await embedded.done(method, place, body, If_Match=(await embedded("GET", place)).etag)
        back = await admin.submit(form, 412)
        assert "Somebody else has changed it" in back.text, page
        await embedded.done("GET", place)  # it is there
        await admin.submit(back.form(form.action))
        gone = await embedded("GET", place)
        assert gone.status == 404 or gone.json["deleted_at"] is not None, page
