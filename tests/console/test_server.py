"""The console's frame: who gets in, what is refused, and what every answer carries."""

from tests.admin.api.asking import Asking
from tests.console.visiting import stranger, visitor


async def test_whoever_is_not_signed_in_is_sent_to_do_so_and_back(embedded: Asking) -> None:
    shown = await stranger(embedded).get("/?month=2026-10", 303)
    assert shown.place == "/sign-in?next=%2F%3Fmonth%3D2026-10"


async def test_a_page_for_who_is_signed_in(embedded: Asking) -> None:
    shown = await visitor(embedded).get("/")
    assert "Overview" in shown.text and "admin@example.com" in shown.text
