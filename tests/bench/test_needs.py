"""What many conversations need: every figure by hand."""

import pytest

from tests.bench.needs import DAYS_A_MONTH, Figures, Traffic, needs, per_instance

FIGURES = Figures(
    instance_bytes=100e6,
    instance_transactions=20.0,
    instance_connections=6.0,
    control_cpu=0.01,
    data_cpu=0.002,
    postgres_cpu=0.0005,
    rows=4.0,
    wal_bytes=1_000.0,
    journal_bytes=5_000.0,
    session_bytes=50e3,
    opened_data_cpu_s=0.03,
    opened_postgres_cpu_s=0.01,
    opened_transactions=3.0,
    opened_wal_bytes=3_000.0,
    counted_s=1e-6,
    entry_bytes=2_000.0,
    posting_s=0.01,
    entries_max=1_000.0,
)
TRAFFIC = Traffic(response_s=10.0, session_s=100.0, busy_max=0.5, month_share=0.25)


def test_what_a_thousand_need() -> None:
    """One holds 0.5 / (0.002 + 0.03 / 100) = 217; ten sessions begin, and 100 responses end, a second."""
    found = needs(FIGURES, 1_000, TRAFFIC)
    assert (per_instance(FIGURES, TRAFFIC), found.instances, found.databases) == (217, 5, 1)
    assert found.data_cores == pytest.approx(1_000 * 0.002 + 10 * 0.03)
    assert found.control_cores == pytest.approx(5 * 0.01)
    assert found.postgres_cores == pytest.approx(1_000 * 0.0005 + 10 * 0.01)
    assert found.counting_cores == pytest.approx(5 * 1_000 * 1e-6)
    assert found.memory_bytes == pytest.approx(5 * 100e6 + 1_000 * 50e3)
    assert (found.transactions, found.rows) == pytest.approx((5 * 20 + 10 * 3, 4_000))
    assert (found.wal_bytes, found.journal_bytes) == pytest.approx((1_000 * 1_000 + 10 * 3_000, 5e6))
    assert (found.entries, found.connections) == pytest.approx((100, 30))
    assert found.lag_s == pytest.approx(5 * 0.01 / (1 - 0.1)), "a tenth of the time goes into entries"
    assert found.month_entries == pytest.approx(100 * 0.25 * DAYS_A_MONTH * 86_400)
    assert found.month_bytes == pytest.approx(found.month_entries * 2_000)


def test_what_one_chain_cannot_post_takes_several_databases() -> None:
    found = needs(FIGURES, 100_000, TRAFFIC)
    assert found.entries == 10_000 and found.databases == 20, "each half as busy as it can be"
    assert found.instances == 461
    assert found.counting_cores == pytest.approx(100_000 * 1e-6 * 461 / 20), (
        "each counts those of its database"
    )
    assert found.lag_s == pytest.approx(461 / 20 * 0.01 / 0.5)


def test_an_instance_holds_one_conversation_at_least_and_no_more_than_it_may() -> None:
    assert needs(FIGURES, 1, TRAFFIC).instances == 1
    few = Traffic(sessions_max=100)
    assert per_instance(FIGURES, few) == 100 and needs(FIGURES, 1_000, few).instances == 10
