"""The console to visit, on a control plane of either kind of database."""

from tests.admin.api.conftest import api, embedded

__all__ = ["api", "embedded"]
