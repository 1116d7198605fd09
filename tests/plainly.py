"""Reports computed the slow and obvious way: every line fetched, everything else in plain Python.

Nothing of the product is used, so that it and this can only agree by both being right.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

from sqlalchemy import Engine, text

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
METERS = [f"{what}_in{cached}" for what in ("text", "audio", "image") for cached in ("", "_cached")]
METERS += ["text_out", "audio_out", "duration_ms", "untold_in", "untold_out"]
INPUT = METERS[:6] + ["untold_in"]

# Ids of an entry that are random, and what they are ids of.
TABLES = {"tenant_id": "tenant", "project_id": "project", "api_key_id": "api_key", "end_user_id": "end_user"}
CARDS = ("public_card_id", "agreed_card_id")

Entry = dict[str, Any]  # a row of the ledger, with its `lines`
Line = dict[str, Any]
Row = dict[str, Any]


class Plain:
    """Everything that a database has on what was booked."""

    def __init__(self, engine: Engine) -> None:
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT * FROM ledger_entry ORDER BY id")).mappings()
            self.entries: list[Entry] = [dict(row) | {"lines": []} for row in rows]
            by_id = {entry["id"]: entry for entry in self.entries}
            for line in connection.execute(text("SELECT * FROM ledger_line")).mappings():
                by_id[line["entry_id"]]["lines"].append(dict(line))
            self.names: dict[str, dict[str, str]] = {
                table: {row.id: row.name for row in connection.execute(text(f"SELECT id, name FROM {table}"))}
                for table in TABLES.values()
            }
        for entry in self.entries:
            entry["at"] = EPOCH + timedelta(microseconds=entry["occurred_at"])
            entry["tags"] = json.loads(entry["tags"])

    def named_as(self, other: "Plain") -> dict[str | None, str | None]:
        """Return what the ids of `other` are here, once it is seen that all else is the same in both."""
        ids: dict[str | None, str | None] = {}
        for ours, theirs in zip(self.entries, other.entries, strict=True):
            assert self._told(ours) == other._told(theirs)
            for column in (*TABLES, *CARDS):
                assert ids.setdefault(theirs[column], ours[column]) == ours[column]
        assert len(set(ids.values())) == len(ids)
        return ids

    def _told(self, entry: Entry) -> Entry:
        """Return an entry without what is random of it, with names in place of ids."""
        lines = [
            {key: value for key, value in one.items() if key != "rate_card_id"} for one in entry["lines"]
        ]
        names = {column: self.names[table].get(entry[column]) for column, table in TABLES.items()}
        own = {"digest": None, "lines": sorted(lines, key=lambda line: str(line["meter"]))}
        return entry | names | dict.fromkeys(CARDS) | own

    def rows(
        self,
        names: Sequence[str],
        zone: tzinfo = UTC,
        wanted: Callable[[Entry], bool] = lambda entry: True,
        meant: Callable[[Line], bool] | None = None,
    ) -> list[Row]:
        """Return the rows of a report on those entries that are wanted, on those lines that are meant."""
        by_line = meant is not None or bool({"meter", "modality"} & set(names))
        groups: dict[str, tuple[Row, list[tuple[Entry, list[Line] | None]]]] = {}
        for entry in self._wanted(wanted, meant):
            for lines in self._split(entry, names, meant) if by_line else [None]:
                values = self._values(entry, lines, names, zone)
                groups.setdefault(repr(values), (values, []))[1].append((entry, lines))
        return [values | figures(parts) for values, parts in groups.values()]

    def total(
        self,
        wanted: Callable[[Entry], bool] = lambda entry: True,
        meant: Callable[[Line], bool] | None = None,
    ) -> Row:
        """Return the total of such a report."""
        return figures(
            [
                (entry, None if meant is None else [line for line in entry["lines"] if meant(line)])
                for entry in self._wanted(wanted, meant)
            ]
        )

    def _wanted(self, wanted: Callable[[Entry], bool], meant: Callable[[Line], bool] | None) -> list[Entry]:
        entries = [entry for entry in self.entries if wanted(entry)]
        return [entry for entry in entries if meant is None or any(map(meant, entry["lines"]))]

    def _split(
        self, entry: Entry, names: Sequence[str], meant: Callable[[Line], bool] | None
    ) -> Iterable[list[Line]]:
        """Return the lines of an entry, apart where meters or modalities are."""
        lines = [line for line in entry["lines"] if meant is None or meant(line)]
        apart: dict[str, list[Line]] = {}
        for line in lines:
            by = line["meter"] if "meter" in names else modality(line["meter"]) if "modality" in names else ""
            apart.setdefault(by, []).append(line)
        return list(apart.values()) or [[]]

    def _values(self, entry: Entry, lines: list[Line] | None, names: Sequence[str], zone: tzinfo) -> Row:
        values: Row = {}
        wall = entry["at"].astimezone(zone)
        for name in names:
            values |= self._value(name, entry, lines or [], wall)
        return values

    def _value(self, name: str, entry: Entry, lines: list[Line], wall: datetime) -> Row:
        match name:
            case "tenant":
                return {"tenant": self.names["tenant"][entry["tenant_id"]]}
            case "project" | "end_user":
                id = entry[f"{name}_id"]
                return {name: self.names[name].get(id), f"{name}_id": id}
            case "key":
                id = entry["api_key_id"]
                return {"key": id, "key_name": self.names["api_key"].get(id)}
            case "model" | "kind" | "status":
                return {name: entry[name]}
            case "session":
                return {"session": entry["session_id"]}
            case "meter":
                return {"meter": lines[0]["meter"] if lines else None}
            case "modality":
                return {"modality": modality(lines[0]["meter"]) if lines else None}
            case "hour":
                return {"hour": wall.replace(minute=0, second=0, microsecond=0).isoformat(timespec="minutes")}
            case "day":
                return {"day": f"{wall:%Y-%m-%d}"}
            case "week":
                return {"week": f"{wall - timedelta(days=wall.weekday()):%Y-%m-%d}"}
            case "period":
                return {"period": entry["period"]}
            case "month":
                return {"month": f"{wall:%Y-%m}"}
        return {name: entry["tags"].get(name.removeprefix("tag:"))}


def modality(meter: str) -> str:
    return "audio" if meter == "duration_ms" else meter.split("_", maxsplit=1)[0]


def figures(parts: Sequence[tuple[Entry, list[Line] | None]]) -> Row:
    """Return what entries come to: whole ones (no lines), or these lines of them."""
    sums = dict.fromkeys(("list", "cost", "billed", "estimated"), 0)
    quantities = dict.fromkeys(METERS, 0)
    unrated = 0
    for entry, lines in parts:
        for line in entry["lines"] if lines is None else lines:
            quantities[line["meter"]] += line["quantity"]
        if entry["cost_nanousd"] is None:
            unrated += -1 if entry["role"] == "reversal" else 1
            continue
        source: Sequence[Mapping[str, Any]] = lines if lines else [entry]
        for one in source:
            sums["list"] += one["list_nanousd"]
            sums["cost"] += one["cost_nanousd"]
            sums["billed"] += one["billed_nanousd"]
            sums["estimated"] += one["cost_nanousd"] if entry["estimated"] else 0
    sessions = len({entry["session_id"] for entry, _ in parts} - {None})
    tokens = sum(quantities[meter] for meter in INPUT)
    cached = sum(quantities[meter] for meter in METERS if meter.endswith("_cached"))
    spoken = Decimal(quantities["audio_out"]) / 20 / 60  # twenty tokens a second
    return {
        "sessions": sessions,
        "responses": sum(entry["kind"] == "response" and entry["role"] == "original" for entry, _ in parts),
        "entries": len(parts),
        "cost_nanousd": sums["cost"],
        "cost_usd": usd(sums["cost"]),
        "list_nanousd": sums["list"],
        "billed_nanousd": sums["billed"],
        "billed_usd": usd(sums["billed"]),
        "estimated_nanousd": sums["estimated"],
        "unrated_entries": unrated,
        "cached_share": rounded(Decimal(cached) / tokens, 4) if tokens > 0 else None,
        "cost_per_session_usd": rounded(Decimal(sums["cost"]) / 10**9 / sessions, 9) if sessions else None,
        "cost_per_spoken_minute_usd": rounded(exactly(sums["cost"], quantities["audio_out"]), 9)
        if spoken > 0
        else None,
        **quantities,
    }


def exactly(cost: int, tokens: int) -> Decimal:
    """Return dollars a minute, with digits enough to be rounded once."""
    with localcontext(prec=60):
        return Decimal(cost) * 60 * 20 / tokens / 10**9


def rounded(value: Decimal, places: int) -> str:
    return f"{value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):f}"


def usd(amount: int) -> str:
    return f"{Decimal(amount).scaleb(-9):.9f}"


def in_order(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return rows so that they can be compared whatever the order of those with one name."""
    return sorted(repr(sorted(row.items())) for row in rows)
