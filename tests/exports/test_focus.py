"""FOCUS from a ledger: sums are the ledger's, nothing is twice or left out, and validators agree."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
from focus_data_toolkit.model.validator import lint_focus_1_4_structure
from sqlalchemy import Engine, update

from proxy.core.usage import Meter
from proxy.exports.focus import Export, Wanted
from proxy.exports.focus_columns import COLUMNS, Version
from proxy.exports.focus_rows import View
from proxy.exports.texts import write_csv
from proxy.store import Conflict, NotFound, StoreError
from proxy.store.database import migrate, open_database, reading
from proxy.store.filters import EVERYTHING, Filters
from proxy.store.obstacles import NAMES
from proxy.store.schema import ledger_line
from proxy.store.statements import list_statements
from proxy.store.tenants import find_tenant
from proxy.store.verify import verify
from tests.archiving import archive_month
from tests.closing import close_month
from tests.exports.focus_checks import faults
from tests.exports.focus_ledgers import ISSUER, LATE, NEVER, OCTOBER, VIEWS, fill, ledger_rows
from tests.exports.official import CONTRADICTIONS, NoValidator, failures, installed
from tests.ledgers import Books
from tests.tampering import tampering

CONDITIONS = ("SupportsUnitPricing", "SupportsMultiplePricingCategories")
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
NANO = 10**9


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedded database, to be copied: filling it anew takes a while."""
    path = tmp_path_factory.mktemp("focus") / "filled.db"
    migrate(engine := open_database(f"sqlite:///{path}", checkpoints=True))
    fill(engine)
    engine.dispose()
    return path


@pytest.fixture
def engine(filled: Path, tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{copyfile(filled, tmp_path / 'focus.db')}", checkpoints=True)
    yield engine
    engine.dispose()


def tenant_id(engine: Engine, name: str) -> str:
    with reading(engine) as connection:
        return find_tenant(connection, name).id


def export(
    engine: Engine,
    view: View = VIEWS[0],
    month: str | None = None,
    filters: Filters = EVERYTHING,
    version: Version = Version.V1_2,
) -> Export:
    return Export.of(engine, Wanted(version, view, filters, month))


def rows(wanted: Export) -> list[dict[str, Any]]:
    """Return the rows as a file has them by name; each keeps to the rules."""
    version = wanted.wanted.version
    table = wanted.table()
    names = [column.name for column in table.columns]
    assert names == [column.name for column in COLUMNS[version]]
    found = [dict(zip(names, row, strict=True)) for row in table.rows]
    assert [faults(version, row) for row in found] == [[]] * len(found)
    return found


def unrated(wanted: Export) -> list[dict[str, Any]]:
    table = wanted.unrated()
    names = [column.name for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in table.rows]


def nanousd(found: list[dict[str, Any]], column: str = "BilledCost") -> int:
    return int(sum((row[column] for row in found), Decimal(0)) * NANO)


def test_both_databases_say_the_same(
    engine: Engine, migrated_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_database(migrated_postgres_url, checkpoints=True)
    fill(other)
    assert verify(engine, UTC).fault is None and verify(other, UTC).fault is None
    monkeypatch.setattr("proxy.store.ledger_pages.PAGE_ENTRIES", 3)
    for month in ("2026-10", "2026-11"):
        theirs, ours = (
            [
                (row["x_EntryId"], row["SkuPriceId"], row["BilledCost"], row["ChargeClass"])
                for row in rows(export(one, month=month))
            ]
            for one in (engine, other)
        )
        assert theirs == ours
        missing = ([row["entry_id"] for row in unrated(export(one, month=month))] for one in (engine, other))
        assert next(missing) == next(missing)
    other.dispose()


@pytest.mark.parametrize("view", VIEWS, ids=("operator", "tenant"))
@pytest.mark.parametrize("version", Version)
def test_months_hold_every_charge_once_and_sum_to_the_ledger(
    engine: Engine, view: View, version: Version
) -> None:
    entries, lines = ledger_rows(engine)
    months = [rows(export(engine, view, month, version=version)) for month in ("2026-10", "2026-11")]
    together = [row for month in months for row in month]
    amount = "billed_nanousd" if view.is_tenants else "cost_nanousd"
    for number, month in enumerate(("2026-10", "2026-11")):
        own = [one for one in entries if one.period == month]
        assert nanousd(months[number]) == sum(getattr(one, amount) or 0 for one in own)
    rated = {one.id for one in entries if one.cost_nanousd is not None}
    usage = [row for row in together if row["ChargeCategory"] == "Usage"]
    assert Counter(row["x_EntryId"] for row in usage) == Counter(
        line.entry_id for line in lines if line.entry_id in rated
    )
    listed = "billed_nanousd" if view.is_tenants else "list_nanousd"
    assert nanousd(usage, "ListCost") == sum(getattr(one, listed) for one in lines if one.entry_id in rated)
    others = [row for row in together if row["ChargeCategory"] != "Usage"]
    booked = [one for one in entries if one.kind in ("adjustment", "credit") and getattr(one, amount)]
    assert Counter(row["x_EntryId"] for row in others) == Counter(one.id for one in booked)


def test_what_comes_after_a_close_is_a_correction_of_the_open_month(engine: Engine) -> None:
    october, november = (rows(export(engine, month=month)) for month in ("2026-10", "2026-11"))
    assert {row["ChargeClass"] for row in october} == {None}
    late = [row for row in november if row["ChargeClass"] == "Correction"]
    assert {row["x_CorrectsPeriod"] for row in late} == {"2026-10"}
    assert {row["ChargePeriodStart"].month for row in late} == {10}
    assert {row["BillingPeriodStart"] for row in november} == {NOVEMBER}
    assert {row["x_EntryRole"] for row in late} == {"original", "replacement"}


def test_a_time_has_what_occurred_in_it_whenever_it_is_billed(engine: Engine) -> None:
    found = rows(export(engine, filters=Filters(start=OCTOBER, end=NOVEMBER)))
    entries, _ = ledger_rows(engine)
    own = [one for one in entries if one.occurred_at < NOVEMBER]
    assert nanousd(found) == sum(one.cost_nanousd or 0 for one in own)
    assert {row["BillingPeriodStart"] for row in found} == {OCTOBER, NOVEMBER}


def test_what_has_no_price_is_elsewhere_until_it_has_one(engine: Engine) -> None:
    whole = export(engine)
    priced = {row["x_EntryId"] for row in rows(whole)}
    entries, _ = ledger_rows(engine)
    missing = {one.id for one in entries if one.cost_nanousd is None}
    replaced = {one.corrects for one in entries if one.role == "reversal"}
    expected = {
        one.id for one in entries if one.id in missing and one.role != "reversal" and one.id not in replaced
    }
    found = unrated(whole)
    assert missing & priced == set()
    assert {row["entry_id"] for row in found} == expected
    assert whole.count_unrated() == len(expected)
    assert LATE not in {row["model"] for row in found}
    (never, *_) = [row for row in found if row["model"] == NEVER]
    assert (never["meter"], never["quantity"], never["flags"]) == (None, None, ["usage_missing"])
    halves = [row["meter"] for row in found if row["model"] != NEVER]
    assert set(halves) == {"text_in", "untold_in"}, "a part with a price stays with the part without"
    each = [export(engine, month=month).count_unrated() for month in ("2026-10", "2026-11")]
    assert sum(each) == len(expected) and all(each)


def test_what_was_never_counted_in_an_archived_month_stands_in_no_other_months_way(
    database: Engine, tmp_path: Path
) -> None:
    books = Books(database)
    books.open("s1", at=OCTOBER)
    books.bill("s1", "uncounted", None, at=OCTOBER)
    books.bill("s1", "counted", {Meter.TEXT_IN: 5}, at=OCTOBER)
    close_month(database, "2026-10", dict.fromkeys(NAMES, "a test"))
    books.bill("s1", "late", None, at=OCTOBER)
    books.bill("s1", "new", {Meter.TEXT_IN: 5}, at=OCTOBER + timedelta(days=40))
    archive_month(database, "2026-10", tmp_path)
    november = export(database, month="2026-11")
    assert [row["subject_id"] for row in unrated(november)] == ["late"]
    assert november.count_unrated() == len(rows(november)) == 1
    with pytest.raises(Conflict, match="2026-10 is archived"):
        export(database, month="2026-10")


def test_an_export_is_of_the_ledger_as_it_was(engine: Engine) -> None:
    before = export(engine)
    expected = rows(before), unrated(before)
    books = Books(engine)
    books.open("s3", "globex")
    books.bill("s3", "later", None, at=OCTOBER, model=NEVER)
    books.bill("s3", "later2", {Meter.AUDIO_OUT: 5}, at=OCTOBER)
    assert (rows(before), unrated(before)) == expected
    assert len(rows(export(engine))) == len(expected[0]) + 1


def test_a_tenant_has_its_own_and_who_may_see_one_sees_no_other(engine: Engine) -> None:
    acme, globex = (tenant_id(engine, name) for name in ("acme", "globex"))
    for filters in (Filters(tenant="acme"), Filters(within=frozenset({acme}))):
        assert {row["SubAccountId"] for row in rows(export(engine, filters=filters))} == {acme}
        assert {row["tenant_id"] for row in unrated(export(engine, filters=filters))} == {acme}
    both = Filters(within=frozenset({acme, globex}))
    everything = rows(export(engine))
    assert sorted(map(str, rows(export(engine, filters=both)))) == sorted(map(str, everything))
    assert rows(export(engine, filters=Filters(within=frozenset()))) == []
    with pytest.raises(NotFound, match="globex"):
        export(engine, filters=Filters(tenant="globex", within=frozenset({acme})))


def test_tenants_have_the_number_of_their_statement_once_it_is_made(engine: Engine) -> None:
    with reading(engine) as connection:
        numbers = {one.tenant_id: one.number for one in list_statements(connection)}
    october, november = (rows(export(engine, VIEWS[1], month)) for month in ("2026-10", "2026-11"))
    assert {(row["BillingAccountId"], row["InvoiceId"]) for row in october} == set(numbers.items())
    assert {row["InvoiceId"] for row in november} == {None}
    assert {row["InvoiceIssuerName"] for row in october} == {ISSUER}
    assert {row["InvoiceId"] for row in rows(export(engine, month="2026-10"))} == {None}


def test_pages_leave_nothing_out(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = rows(export(engine, month="2026-11")), unrated(export(engine))
    for size in (1, 3):
        monkeypatch.setattr("proxy.store.ledger_pages.PAGE_ENTRIES", size)
        assert (rows(export(engine, month="2026-11")), unrated(export(engine))) == expected


def test_lines_that_do_not_add_up_make_no_file(engine: Engine) -> None:
    with tampering(engine) as connection:
        connection.execute(update(ledger_line).where(ledger_line.c.entry_id == 1).values(billed_nanousd=1))
    with pytest.raises(StoreError, match="Entry 1 is not what its lines add up to: verifying the ledger"):
        rows(export(engine))


def as_text(found: Export) -> str:
    out = io.BytesIO()
    write_csv(found.table(), out)
    return out.getvalue().decode()


@pytest.mark.parametrize("view", VIEWS, ids=("operator", "tenant"))
def test_the_toolkit_finds_nothing_wrong_with_1_4(engine: Engine, view: View) -> None:
    for month in ("2026-10", "2026-11"):
        made = as_text(export(engine, view, month, version=Version.V1_4))
        found = list(csv.DictReader(io.StringIO(made, newline="")))
        report = lint_focus_1_4_structure("cost and usage", found, supported_conditions=CONDITIONS)
        assert report.messages() == []
        assert report.levels_passed == ("STRUCTURAL_VALID", "SEMANTIC_VALID")
        assert len(found) > 10


def test_the_toolkit_would_find_it(engine: Engine) -> None:
    made = as_text(export(engine, month="2026-10", version=Version.V1_4))
    found = list(csv.DictReader(io.StringIO(made, newline="")))
    found[0]["ListCost"] = "9.99"
    report = lint_focus_1_4_structure("cost and usage", found, supported_conditions=CONDITIONS)
    assert [one.rule for one in report.violations] == ["cost_not_unit_price_times_quantity"]


@pytest.fixture
def validator(pytestconfig: pytest.Config) -> Path:
    try:
        return installed(pytestconfig.rootpath / ".cache")
    except NoValidator as missing:
        pytest.skip(f"FOCUS 1.2 is not checked by the official validator: {missing}")


@pytest.mark.slow
@pytest.mark.timeout(1_000)  # the first time it is installed
def test_the_official_validator_finds_nothing_wrong_with_1_2(
    engine: Engine, validator: Path, tmp_path: Path
) -> None:
    file = tmp_path / "focus.csv"
    for view, month in ((VIEWS[0], "2026-11"), (VIEWS[1], "2026-10")):
        file.write_text(as_text(export(engine, view, month)), encoding="utf-8", newline="")
        (failed,) = failures(validator, file)
        assert failed in CONTRADICTIONS
    file.write_text(as_text(export(engine)).replace(",USD,", ",XXD,"), encoding="utf-8", newline="")
    assert "BillingCurrency-C-006-M" in failures(validator, file), "it would find it"
