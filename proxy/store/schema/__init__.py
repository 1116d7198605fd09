"""The tables, for SQLite and PostgreSQL alike.

Ids are text and sort by the time they were made. Instants are microseconds since the epoch in a
BIGINT, aware UTC datetimes in Python. Money is BIGINT nano-dollars.

Nothing that a posting writes has a foreign key into the catalogue: a journal can outlive a database
that was restored from yesterday's backup, and what it holds must be posted all the same. End users
have none either, since a person's name can be erased while the surrogate id stays in the ledger.
"""

from proxy.store.schema.access import api_answer, api_token, api_token_tenant
from proxy.store.schema.announcements import delivery, outbox, webhook
from proxy.store.schema.approvals import approval_decision, approval_request
from proxy.store.schema.archives import ledger_archive, ledger_archive_block, ledger_archive_cell
from proxy.store.schema.audit import audit
from proxy.store.schema.budgets import budget, budget_cut, budget_raise, budget_window, lease
from proxy.store.schema.instances import (
    change_counter,
    instance,
    journal_checkpoint,
    live_session,
    schema_floor,
    stop_order,
)
from proxy.store.schema.ledger import (
    THREE_AMOUNTS,
    chain_head,
    entry_conflict,
    ledger_block,
    ledger_entry,
    ledger_line,
    session,
)
from proxy.store.schema.limits import limit_rule, model_rule
from proxy.store.schema.payers import api_key, end_user, key_rotation, project, tenant
from proxy.store.schema.periods import ledger_period, statement, statement_line
from proxy.store.schema.prices import markup, rate_card, rate_price
from proxy.store.schema.reconciliation import (
    line_item,
    reconciliation,
    reconciliation_day,
    reconciliation_row,
)
from proxy.store.schema.rollups import rollup_day, rollup_group, rollup_month, rollup_quarter, rollup_zone
from proxy.store.schema.schedules import saved_report, schedule, schedule_receiver
from proxy.store.schema.sign_ins import local_admin, sign_in, sign_in_link, sign_in_tenant

__all__ = [
    "THREE_AMOUNTS",
    "api_answer",
    "api_key",
    "api_token",
    "api_token_tenant",
    "approval_decision",
    "approval_request",
    "audit",
    "budget",
    "budget_cut",
    "budget_raise",
    "budget_window",
    "chain_head",
    "change_counter",
    "delivery",
    "end_user",
    "entry_conflict",
    "instance",
    "journal_checkpoint",
    "key_rotation",
    "lease",
    "ledger_archive",
    "ledger_archive_block",
    "ledger_archive_cell",
    "ledger_block",
    "ledger_entry",
    "ledger_line",
    "ledger_period",
    "limit_rule",
    "line_item",
    "live_session",
    "local_admin",
    "markup",
    "model_rule",
    "outbox",
    "project",
    "rate_card",
    "rate_price",
    "reconciliation",
    "reconciliation_day",
    "reconciliation_row",
    "rollup_day",
    "rollup_group",
    "rollup_month",
    "rollup_quarter",
    "rollup_zone",
    "saved_report",
    "schedule",
    "schedule_receiver",
    "schema_floor",
    "session",
    "sign_in",
    "sign_in_link",
    "sign_in_tenant",
    "statement",
    "statement_line",
    "stop_order",
    "tenant",
    "webhook",
]
