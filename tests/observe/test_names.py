"""Label values from outside stay few and short."""

from proxy.observe.names import NAME_CHARS_MAX, Names


def test_the_first_names_are_themselves_and_later_ones_are_other() -> None:
    """First come, first served; what is known stays known."""
    names = Names(2)
    assert [names.of(name) for name in ("a", "b", "c", "a", "d")] == ["a", "b", "_other", "a", "_other"]


def test_no_name_and_long_names() -> None:
    """None has a name of its own, and nothing is longer than a label should be."""
    names = Names(2)
    assert names.of(None) == "_none"
    assert len(names.of("x" * 10_000)) == NAME_CHARS_MAX
