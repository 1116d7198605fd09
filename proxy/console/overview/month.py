"""The month that the overview is about, and the time that it is compared with. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from proxy.core.periods import month_after, month_before, month_of, parse_period, span_of
from proxy.store.instants import format_instant

_QUARTER = timedelta(minutes=15)  # rollups know times to the quarter hour
_DAY = timedelta(days=1)
_FIRST = "1969-01"


@dataclass(frozen=True, slots=True)
class Month:
    """A month of the ledger's zone, such as 2026-11, seen at `now`."""

    name: str
    now: datetime
    zone: ZoneInfo

    @property
    def is_running(self) -> bool:
        return self.name == month_of(self.now, self.zone)

    @property
    def first(self) -> date:
        return date.fromisoformat(f"{self.name}-01")

    @property
    def end(self) -> date:
        """Return the first day of the month after."""
        return date.fromisoformat(f"{month_after(self.name)}-01")

    @property
    def before(self) -> str:
        """Return the month before; empty where the calendar of accounting begins."""
        return month_before(self.name) if self.name > _FIRST else ""

    @property
    def others(self) -> str:
        """Return in words what it is compared with."""
        return f"the same days of {self.before}" if self.is_running else self.before

    @property
    def after(self) -> str:
        """Return the month after; empty for the running month, since nothing was spent later."""
        return month_after(self.name) if self.name < month_of(self.now, self.zone) else ""

    @property
    def span(self) -> dict[str, str]:
        """Return it as `from` and `to` in URLs, of the API and of pages."""
        return {"from": f"{self.first}", "to": f"{self.end}"}

    @property
    def to_close(self) -> str:
        """Return the month whose close may have to be looked after: this one, or the last if it runs."""
        return self.before if self.is_running else self.name

    def days(self) -> list[date]:
        """Return its days, of the running month until today."""
        last = self.now.astimezone(self.zone).date() if self.is_running else self.end - _DAY
        return [self.first + number * _DAY for number in range((last - self.first).days + 1)]

    def compared(self) -> dict[str, str] | None:
        """Return what is compared, as parameters of a comparison; None where there is nothing yet.

        A month that is over is compared with the month before. The running month is compared up to now with
        the same days of the month before, up to the same time of day.
        """
        if not self.before:
            return None
        with_from = f"{self.before}-01"
        if not self.is_running:
            return {**self.span, "with_from": with_from, "with_to": f"{self.first}"}
        until = self.now - (self.now - datetime(1970, 1, 1, tzinfo=UTC)) % _QUARTER
        if until <= span_of(self.name, self.zone).start:
            return None
        return {
            "from": f"{self.first}",
            "to": format_instant(until),
            "with_from": with_from,
            "with_to": format_instant(self._month_earlier(until)),
        }

    def _month_earlier(self, until: datetime) -> datetime:
        """Return the same day and time in the month before, at most its end."""
        local, end = until.astimezone(self.zone), span_of(self.name, self.zone).start
        days = (self.first - date.fromisoformat(f"{self.before}-01")).days
        if local.day > days:
            return end
        year, month = int(self.before[:4]), int(self.before[5:])
        return min(local.replace(year=year, month=month).astimezone(UTC), end)


def parse_month(text: str | None, now: datetime, zone: ZoneInfo) -> Month:
    """Return the month that is meant, the running one if none is. Raises ValueError: it is none."""
    return Month(parse_period(text) if text else month_of(now, zone), now, zone)


def by_day(month: Month, rows: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
    """Return a report's rows for every day; days without entries have nothing spent.

    What lies ahead, as adjustments may, follows.
    """
    known = {row["day"]: row for row in rows}
    days = [f"{day}" for day in month.days()]
    days += sorted(day for day in known if day not in days)
    return [
        {
            "day": day,
            "next": f"{date.fromisoformat(day) + _DAY}",
            "cost_nanousd": known[day]["cost_nanousd"] if day in known else 0,
            "responses": known[day]["responses"] if day in known else 0,
            "cached_share": known[day]["cached_share"] if day in known else None,
            "unrated_entries": known[day]["unrated_entries"] if day in known else 0,
        }
        for day in days
    ]
