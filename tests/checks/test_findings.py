"""What two clocks that differ mean, and when all is well."""

import pytest

from proxy.checks.findings import Status, compared_clock, failed, is_good, not_asked, of_all, ok, warning


@pytest.mark.parametrize(
    ("ahead_s", "status", "said"),
    [
        (0.0, Status.OK, "agree, to 0.1 s"),
        (-2.0, Status.OK, "agree, to 2.0 s"),
        (2.6, Status.WARNING, "3 s ahead of the database's"),
        (-60.0, Status.WARNING, "60 s behind the database's"),
        (-7_200.0, Status.FAILED, "7,200 s behind the database's"),
    ],
)
def test_two_clocks(ahead_s: float, status: Status, said: str) -> None:
    """A little is the way between them; a minute is a month that ends at another instant."""
    finding = compared_clock("clock", "the database's", ahead_s)
    assert finding.status is status and said in finding.found
    assert bool(finding.to_do) is (status is not Status.OK)


def test_several_of_one_name_are_as_the_worst_of_them() -> None:
    both = of_all([ok("a", "one"), warning("a", "two", "do"), warning("a", "three", "do")])
    assert (both.status, both.found, both.to_do) == (Status.WARNING, "two; three", "do")
    assert of_all([ok("a", "same"), ok("a", "same")]) == ok("a", "same")


def test_warnings_keep_nobody_from_serving() -> None:
    assert is_good([ok("a", ""), warning("b", "", ""), not_asked("c", "")])
    assert not is_good([ok("a", ""), failed("b", "", "")])
