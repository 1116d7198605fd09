"""Pages of lists: rows behind a place in an order, so that rows that are added move no others.

A page is asked for by the key of the last row that was seen, never by a number of rows: what is added or
taken away meanwhile makes nothing appear twice or be left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, literal, tuple_

Within = frozenset[str] | None  # ids of the tenants that may be seen; None: all


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows of a list: those of tenants `within`, behind the key `after`, at most `limit`."""

    within: Within = None
    after: Sequence[Any] = ()
    limit: int | None = None
    newest_first: bool = False

    @property
    def is_everything(self) -> bool:
        return self.limit is None

    def of(
        self, query: Select[Any], *key: ColumnElement[Any], tenant_id: ColumnElement[Any] | None
    ) -> Select[Any]:
        """Return `query` narrowed to this page and in its order. `key` is unique among the rows.

        `tenant_id` is None where rows are of no tenant and everybody may see them.
        """
        if self.within is not None and tenant_id is not None:
            query = query.where(tenant_id.in_(self.within))
        if self.after:
            query = query.where(self._behind(key))
        order = [column.desc() if self.newest_first else column.asc() for column in key]
        return query.order_by(*order).limit(self.limit)

    def by_tenant(self) -> list["Page"]:
        """Return this page of each tenant, where it is of several: an index has the order of one, or of all.

        The page itself are the first `limit` rows of what these have together.
        """
        if self.within is None or len(self.within) < 2:
            return [self]
        return [replace(self, within=frozenset({tenant_id})) for tenant_id in sorted(self.within)]

    def _behind(self, key: Sequence[ColumnElement[Any]]) -> ColumnElement[bool]:
        seen = tuple_(*(literal(value, column.type) for value, column in zip(self.after, key, strict=True)))
        return tuple_(*key) < seen if self.newest_first else tuple_(*key) > seen


EVERYTHING = Page()


def is_within(tenant_id: str | None, within: Within) -> bool:
    """Return whether what belongs to this tenant, or to none, may be seen."""
    return within is None or tenant_id in within
