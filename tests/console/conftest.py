"""The console to visit, on a control plane of either kind of database; a browser to look at pages with."""

from tests.admin.api.conftest import api, embedded
from tests.console.browser import browser, shared_browser

__all__ = ["api", "browser", "embedded", "shared_browser"]
