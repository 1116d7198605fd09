"""Entries on their way to the ledger: timed once, of this run only, and not too many."""

from proxy.observe.underway import UNDERWAY_MAX, Underway


def test_the_way_of_an_entry_is_timed_once() -> None:
    arrived: list[float] = []
    underway = Underway(arrived.append)
    underway.read("a")
    underway.read("b")
    underway.posted(["a", "of an earlier run"])
    assert len(arrived) == 1
    assert 0 <= arrived[0] < 5
    underway.posted(["a", "b"])
    assert len(arrived) == 2


def test_while_the_database_is_away_the_oldest_are_forgotten() -> None:
    arrived: list[float] = []
    underway = Underway(arrived.append)
    for number in range(UNDERWAY_MAX + 10):
        underway.read(str(number))
    underway.posted(map(str, range(UNDERWAY_MAX + 10)))
    assert len(arrived) == UNDERWAY_MAX
