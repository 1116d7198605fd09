"""Fixtures for the tests of the console."""

from tests.console.browser import browser

__all__ = ["browser"]
