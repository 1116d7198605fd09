"""A filled database to ask about, and one request for every route."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert

from proxy.core.reconcile import Threshold
from proxy.core.records import Kind
from proxy.core.usage import Meter
from proxy.store.adjustments import Adjustment
from proxy.store.approvals import Approval
from proxy.store.audit import Act
from proxy.store.card_files import FORMAT
from proxy.store.chain import chain
from proxy.store.database import reading, writing
from proxy.store.deliveries import fan_out
from proxy.store.four_eyes import FourEyes, book_or_ask
from proxy.store.reconciliations import Scope, Terms, TheirSide, compare_bill, record
from proxy.store.schema import instance, live_session, outbox
from tests.admin.api.asking import UNSAID, Asking
from tests.closing import close_month

OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)


@dataclass
class Ask:
    """A request. `names` says whose things it names: only who may see that tenant's may do it."""

    path: str
    body: Any = UNSAID
    params: dict[str, str] | None = None
    names_acme: bool = True
    etag_of: str | None = None


@dataclass
class World:
    """What is there of acme, by what it is."""

    tenant: str
    project: str
    key: str
    budget: str
    webhook: str
    alert: int
    token: str
    card: str
    report: str
    schedule: str
    approval: str
    reconciliation: str = "rec_1"

    def asks(self) -> dict[str, Ask]:
        """Return a request for each route, by its name."""
        of, limit, model = (
            self.tenant,
            f"/limits/{self.tenant}/sessions",
            f"/models/{self.tenant}/gpt-realtime",
        )
        budget = {"scope": "tenant", "tenant": of, "window": "day", "amount_usd": "5"}
        card = {
            "provider": "openai",
            "model": "m",
            "effective_from": "2026-01-01",
            "source": "a test",
            "prices": {"text_in": {"usd": "1", "per": "million"}},
        }
        raised = {"amount_usd": "1", "from": "2099-01-01", "until": "2099-02-01", "reason": "a fair"}
        booked = {"kind": "credit", "tenant": of, "key": "k1", "reason": "sorry", "billed_usd": "-1"}
        report = {"name": "new", "tenant": of, "span": "last-month", "group_by": ["model"]}
        schedule = {"name": "new", "content": "digest", "every": "week", "to": ["mailto:ann@example.com"]}
        saved, scheduled = f"/saved-reports/{self.report}", f"/schedules/{self.schedule}"
        approval = f"/approvals/{self.approval}"
        compared = f"/reconciliations/{self.reconciliation}"
        deliveries = f"/webhooks/{self.webhook}/deliveries"
        return {
            "GET /me": Ask("/me", names_acme=False),
            "GET /tenants": Ask("/tenants", names_acme=False),
            "POST /tenants": Ask("/tenants", {"name": "new"}, names_acme=False),
            "GET /tenants/{tenant_id}": Ask(f"/tenants/{of}"),
            "DELETE /tenants/{tenant_id}": Ask(f"/tenants/{of}", etag_of=f"/tenants/{of}"),
            "GET /projects": Ask("/projects", params={"tenant": of}),
            "POST /projects": Ask("/projects", {"tenant": of, "name": "new"}),
            "GET /projects/{project_id}": Ask(f"/projects/{self.project}"),
            "DELETE /projects/{project_id}": Ask(
                f"/projects/{self.project}", etag_of=f"/projects/{self.project}"
            ),
            "GET /keys": Ask("/keys", params={"tenant": of}),
            "POST /keys": Ask("/keys", {"tenant": of}),
            "GET /keys/{key_id}": Ask(f"/keys/{self.key}"),
            "DELETE /keys/{key_id}": Ask(f"/keys/{self.key}"),
            "POST /keys/{key_id}/rotate": Ask(f"/keys/{self.key}/rotate", {"overlap_s": 60}),
            "GET /budgets": Ask("/budgets", params={"tenant": of}),
            "POST /budgets": Ask("/budgets", budget),
            "GET /budgets/{budget_id}": Ask(f"/budgets/{self.budget}"),
            "PATCH /budgets/{budget_id}": Ask(
                f"/budgets/{self.budget}", {"amount_usd": "7"}, etag_of=f"/budgets/{self.budget}"
            ),
            "DELETE /budgets/{budget_id}": Ask(f"/budgets/{self.budget}", etag_of=f"/budgets/{self.budget}"),
            "POST /budgets/{budget_id}/raises": Ask(f"/budgets/{self.budget}/raises", raised),
            "GET /budgets/history": Ask("/budgets/history", params={"tenant": of, "amount_usd": "5"}),
            "GET /limits": Ask("/limits", params={"tenant": of}),
            "GET /limits/{owner_id}/{name}": Ask(limit),
            "PUT /limits/{owner_id}/{name}": Ask(limit, {"value": "9"}, etag_of=limit),
            "DELETE /limits/{owner_id}/{name}": Ask(limit, etag_of=limit),
            "GET /models": Ask("/models", params={"tenant": of}),
            "GET /models/{owner_id}/{model}": Ask(model),
            "PUT /models/{owner_id}/{model}": Ask(model, {"allowed": False}, etag_of=model),
            "DELETE /models/{owner_id}/{model}": Ask(model, etag_of=model),
            "GET /rate-cards": Ask("/rate-cards", names_acme=False),
            "POST /rate-cards": Ask("/rate-cards", {"cards": [card]}, names_acme=False),
            "POST /rate-cards/diff": Ask(
                "/rate-cards/diff",
                {"format": "json", "text": json.dumps({"format": FORMAT, "cards": [card]})},
                names_acme=False,
            ),
            "GET /rate-cards/{card_id}": Ask(f"/rate-cards/{self.card}"),
            "POST /rate-cards/prices": Ask(
                "/rate-cards/prices", {"model": "n", "meter": "text_in", "usd": "1"}, names_acme=False
            ),
            "GET /markups": Ask("/markups", params={"tenant": of}),
            "POST /markups": Ask("/markups", {"tenant": of, "basis_points": 1_500}),
            "GET /sessions": Ask("/sessions", params={"tenant": of}),
            "GET /sessions/{session_id}": Ask("/sessions/s1"),
            "GET /sessions/{session_id}/account": Ask("/sessions/s1/account"),
            "DELETE /sessions/{session_id}": Ask("/sessions/s1"),
            "GET /ledger": Ask("/ledger", params={"tenant": of}),
            "GET /ledger/verify": Ask("/ledger/verify", names_acme=False),
            "POST /ledger/verify": Ask("/ledger/verify", {}, names_acme=False),
            "GET /ledger/verify/progress": Ask("/ledger/verify/progress", names_acme=False),
            "GET /ledger/{entry_id}": Ask("/ledger/1"),
            "GET /reports/costs": Ask("/reports/costs", params={"tenant": of, "group_by": "model,meter"}),
            "GET /saved-reports": Ask("/saved-reports", params={"tenant": of}),
            "POST /saved-reports": Ask("/saved-reports", report),
            "GET /saved-reports/{report_id}": Ask(saved),
            "PUT /saved-reports/{report_id}": Ask(saved, {"name": "n", "span": "last-day"}, etag_of=saved),
            "DELETE /saved-reports/{report_id}": Ask(saved, etag_of=saved),
            "GET /saved-reports/{report_id}/costs": Ask(f"{saved}/costs"),
            "GET /schedules": Ask("/schedules", params={"tenant": of}),
            "POST /schedules": Ask("/schedules", schedule | {"tenant": of}),
            "GET /schedules/{schedule_id}": Ask(scheduled),
            "PUT /schedules/{schedule_id}": Ask(scheduled, schedule, etag_of=scheduled),
            "DELETE /schedules/{schedule_id}": Ask(scheduled, etag_of=scheduled),
            "POST /schedules/{schedule_id}/run": Ask(f"{scheduled}/run"),
            "GET /schedules/{schedule_id}/deliveries": Ask(f"{scheduled}/deliveries"),
            "GET /reports/forecast": Ask("/reports/forecast", params={"tenant": of}),
            "GET /reports/comparison": Ask("/reports/comparison", params={"tenant": of, "group_by": "model"}),
            "GET /exports/ledger": Ask("/exports/ledger", params={"tenant": of}),
            "GET /exports/costs": Ask("/exports/costs", params={"tenant": of, "group_by": "model"}),
            "GET /exports/focus": Ask("/exports/focus", params={"tenant": of}),
            "GET /exports/focus/unrated": Ask("/exports/focus/unrated", params={"tenant": of}),
            "POST /adjustments": Ask("/adjustments", booked),
            "GET /reratings": Ask("/reratings", params={"tenant": of}),
            "POST /reratings": Ask("/reratings", {"tenant": of, "reason": "late"}),
            "GET /leases": Ask("/leases", names_acme=False),
            "GET /instances": Ask("/instances", names_acme=False),
            "GET /instances/{instance_id}": Ask("/instances/i1", names_acme=False),
            "DELETE /instances/{instance_id}": Ask("/instances/i1", names_acme=False),
            "GET /periods": Ask("/periods", names_acme=False),
            "GET /periods/{period}": Ask("/periods/2026-11", names_acme=False),
            "POST /periods/{period}/close": Ask("/periods/2026-11/close", {}, names_acme=False),
            "GET /reconciliations": Ask("/reconciliations", names_acme=False),
            "POST /reconciliations": Ask(
                "/reconciliations", {"from": "2026-11-01", "to": "2026-11-02"}, names_acme=False
            ),
            "GET /reconciliations/{reconciliation_id}": Ask(compared, names_acme=False),
            "GET /reconciliations/{reconciliation_id}/rows": Ask(f"{compared}/rows", names_acme=False),
            "GET /line-items": Ask("/line-items", names_acme=False),
            "PUT /line-items": Ask("/line-items", {"name": "gpt-4o*", "meter": None}, names_acme=False),
            "DELETE /line-items": Ask("/line-items", params={"name": "*, duration"}, names_acme=False),
            "GET /statements": Ask("/statements", params={"tenant": of}),
            "GET /statements/{number}": Ask("/statements/2026-10-0001"),
            "GET /statements/{number}/file": Ask("/statements/2026-10-0001/file"),
            "GET /approvals": Ask("/approvals", names_acme=False),
            "GET /approvals/{approval_id}": Ask(approval),
            "POST /approvals/{approval_id}/approve": Ask(f"{approval}/approve"),
            "POST /approvals/{approval_id}/reject": Ask(f"{approval}/reject"),
            "GET /alerts": Ask("/alerts", params={"tenant": of}),
            "GET /alert-rules": Ask("/alert-rules", names_acme=False),
            "GET /alerts/{alert_id}": Ask(f"/alerts/{self.alert}"),
            "GET /webhooks": Ask("/webhooks", params={"tenant": of}),
            "POST /webhooks": Ask("/webhooks", {"url": "https://example.com/hook", "tenant": of}),
            "GET /webhooks/{webhook_id}": Ask(f"/webhooks/{self.webhook}"),
            "DELETE /webhooks/{webhook_id}": Ask(f"/webhooks/{self.webhook}"),
            "POST /webhooks/{webhook_id}/rotate": Ask(f"/webhooks/{self.webhook}/rotate"),
            "POST /webhooks/{webhook_id}/test": Ask(f"/webhooks/{self.webhook}/test"),
            "GET /webhooks/{webhook_id}/deliveries": Ask(deliveries),
            "POST /webhooks/{webhook_id}/deliveries/{alert_id}": Ask(f"{deliveries}/{self.alert}"),
            "GET /audit": Ask("/audit", params={"tenant": of}),
            "GET /tokens": Ask("/tokens", names_acme=False),
            "POST /tokens": Ask("/tokens", {"name": "bob", "role": "auditor"}, names_acme=False),
            "GET /tokens/{token_id}": Ask(f"/tokens/{self.token}", names_acme=False),
            "DELETE /tokens/{token_id}": Ask(f"/tokens/{self.token}", names_acme=False),
        }


async def fill(api: Asking) -> World:
    """Make acme and globex, with something of everything; October is closed."""
    books = api.books
    for session, tenant in (("s1", "acme"), ("s2", "globex")):
        books.open(session, tenant, "web", at=OCTOBER, tags={"team": "a"}, end_user="zoë")
        books.bill(session, f"{session}-r1", {Meter.TEXT_IN: 10, Meter.AUDIO_OUT: 3}, at=OCTOBER)
    close_month(api.engine, "2026-10", {"journals": "a test", "unrated": "a test"})
    books.bill("s1", "s1-r2", {Meter.TEXT_IN: 5})
    key = books.key("acme", "web")
    budget = {"scope": "tenant", "tenant": "acme", "window": "month", "amount_usd": "50"}
    made = await api.done("POST", "/budgets", budget)
    await api.done("PUT", f"/limits/{key.tenant_id}/sessions", {"value": "5"})
    await api.done("PUT", f"/models/{key.tenant_id}/gpt-realtime", {"allowed": True})
    hook = await api.done("POST", "/webhooks", {"url": "https://example.com/", "tenant": "acme"})
    agreed = {"model": "talk", "meter": "text_in", "usd": "2", "tenant": "acme"}
    await api.done("POST", "/rate-cards/prices", agreed)
    cards = (await api.done("GET", "/rate-cards", params={"model": "talk"}))["data"]
    token = await api.done("POST", "/tokens", {"name": "ann", "role": "admin"})
    saved = {"name": "monthly", "tenant": "acme", "span": "last-month", "filters": {"project": "web"}}
    report = await api.done("POST", "/saved-reports", saved)
    sent = {"name": "weekly", "tenant": "acme", "content": "digest", "every": "week"}
    schedule = await api.done("POST", "/schedules", sent | {"to": ["mailto:bob@example.com"]})
    now = Act("test", datetime.now(UTC)).at
    with writing(api.engine) as connection:
        facts = {"key": "k", "kind": "budget.cut", "tenant_id": key.tenant_id, "at": now, "payload": {"a": 1}}
        connection.execute(insert(outbox).values(facts))
        (alert,) = (one for one in fan_out(connection, now) if one.key == facts["key"])
        live = {"session_id": "s1", "instance_id": "i1", "seen_at": now, "cost_nanousd": 5, "responses": 1}
        connection.execute(insert(live_session).values(live))
        of_old = {"started_at": OCTOBER, "seen_at": OCTOBER, "journal_path": "/data/j.db", "version": "0"}
        connection.execute(insert(instance).values(id="i1", **of_old))
        credit = Adjustment("large", Kind.CREDIT, "acme", 0, -5, occurred_at=now)
        approval = book_or_ask(connection, credit, Act("api:carol", now, "sorry"), UTC, FourEyes(on=True))
        assert isinstance(approval, Approval)
    scope = Scope(OCTOBER.date(), OCTOBER.date() + timedelta(days=1))
    terms, said = Terms(timedelta(), Threshold(0, 0)), TheirSide((), (), now)
    with writing(api.engine) as connection:
        rows = compare_bill(connection, scope, terms, said, {})
        compared = record(connection, scope, terms, said, rows, Act("test", now))
    with reading(api.engine) as connection:
        assert chain(connection).closed_through == "2026-10"
    return World(
        key.tenant_id,
        str(key.project_id),
        key.id,
        made["id"],
        hook["id"],
        alert.id,
        token["id"],
        cards[0]["id"],
        report["id"],
        schedule["id"],
        approval.id,
        compared.id,
    )
