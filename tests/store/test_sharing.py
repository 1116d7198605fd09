"""One budget, many instances, whatever goes wrong: never overspent, never full of what nobody has.

200 runs, most of them on the embedded database: that takes a third of the time, and what decides is the same
code. `TEST_SEED` repeats one run, on both. Three mutants show that the runs would tell.
"""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest
from sqlalchemy import Connection, Engine, select

from proxy.core.budgets import Pot
from proxy.store.accounts import Accounts
from proxy.store.database import open_database
from proxy.store.leases import Answer, Order, empty_leases
from proxy.store.schema import lease
from tests.postgres import Server, as_text
from tests.store.sharing import Run, Unsound

SEED = os.environ.get("TEST_SEED")
POSTGRES_SEEDS = [int(SEED)] if SEED else range(60)
SQLITE_SEEDS = [int(SEED)] if SEED else range(60, 200)
MUTANT_SEEDS = range(100)
UNSEEN_S = 15.0

_numbers = itertools.count()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
]  # what hangs says so by itself; a busy machine may take long


@pytest.fixture(scope="module")
def postgres(postgres_server: Server, _postgres_template: str) -> Iterator[Engine]:
    """One migrated database for all runs."""
    url = postgres_server.create(_postgres_template)
    engine = open_database(as_text(url))
    yield engine
    engine.dispose()
    postgres_server.drop(url)


@pytest.fixture
def sqlite(sqlite_url: str) -> Iterator[Engine]:
    engine = open_database(sqlite_url, checkpoints=True)
    yield engine
    engine.dispose()


def tell(engine: Engine, seed: int) -> Run:
    """Let one run happen. Raises `Unsound`, with its seed."""
    run = Run(engine, seed, next(_numbers))
    try:
        run.tell()
    except Unsound as found:
        raise Unsound(f"TEST_SEED={seed}: {found}") from found
    return run


def test_a_budget_is_kept_by_all_who_share_it(postgres: Engine) -> None:
    refusals, overshoot = told(postgres, POSTGRES_SEEDS)
    assert SEED or (refusals > 150 and overshoot > 0)  # or the runs would show little


def test_a_budget_is_kept_on_the_embedded_database_too(sqlite: Engine) -> None:
    refusals, overshoot = told(sqlite, SQLITE_SEEDS)
    assert SEED or (refusals > 350 and overshoot > 0)


def told(engine: Engine, seeds: Sequence[int]) -> tuple[int, int]:
    """Let all these runs happen; return how many were refused, and the largest overshoot."""
    runs = [tell(engine, seed) for seed in seeds]
    refusals, overshoot = sum(run.refusals for run in runs), max(run.oracle.overshoot for run in runs)
    print(f"{len(runs)} runs, {refusals} refusals, the largest overshoot is {overshoot}")
    return refusals, overshoot


# --- What would be noticed


def noticed(engine: Engine, what: str) -> str:
    """Return what the first run says that shows such a thing; empty if none does."""
    for seed in MUTANT_SEEDS:
        try:
            tell(engine, seed)
        except Unsound as found:
            if what in str(found):
                return str(found)
    return ""


def test_leases_that_expire_with_their_instance_would_be_noticed(
    sqlite: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Freed once it has not been seen for a while, though its journal is not posted."""
    real = Run.exchange

    def impatient(
        run: Run, connection: Connection, instance_id: str, orders: Sequence[Order]
    ) -> Mapping[Pot, Answer]:
        for one in run.instances:
            if not one.is_reachable and run.now_s - one.seen_s >= UNSEEN_S:
                empty_leases(connection, one.id)
        return real(run, connection, instance_id, orders)

    monkeypatch.setattr(Run, "exchange", impatient)
    assert noticed(sqlite, "spent or held of")


def test_money_that_is_kept_though_it_may_have_been_given_back_would_be_noticed(
    sqlite: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a lost commit gave back somebody else may have by now."""
    monkeypatch.setattr(Accounts, "failed", Accounts.undo)
    assert noticed(sqlite, "spent or held of")


def test_lost_answers_that_are_taken_for_a_no_would_be_noticed(
    postgres: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answer tells only what it has changed, and one that is lost changes nothing."""
    real_exchange, real_take_over = Run.exchange, Accounts.take_over

    def tell_changes(
        run: Run, connection: Connection, instance_id: str, orders: Sequence[Order]
    ) -> Mapping[Pot, Answer]:
        rows = connection.execute(select(lease).where(lease.c.instance_id == instance_id)).all()
        before = {Pot(row.budget_id, row.subject, row.starts_at): row.granted_nanousd for row in rows}
        answers = real_exchange(run, connection, instance_id, orders)
        return {
            pot: replace(one, granted_nanousd=one.granted_nanousd - before.get(pot, 0))
            for pot, one in answers.items()
        }

    def add_up(accounts: Accounts, order: Order, answer: Answer) -> int:
        kept = accounts._kept.get(order.pot)
        if kept is None:
            return 0
        before = answer.taken_nanousd if kept.is_new else kept.granted_nanousd + order.give_nanousd
        return real_take_over(
            accounts, order, replace(answer, granted_nanousd=before + answer.granted_nanousd)
        )

    monkeypatch.setattr(Run, "exchange", tell_changes)
    monkeypatch.setattr(Accounts, "take_over", add_up)
    monkeypatch.setattr(Accounts, "failed", Accounts.undo)
    assert noticed(postgres, "")
