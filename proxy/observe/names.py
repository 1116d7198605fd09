"""Label values from outside, kept few: a metric must not grow with what peers and customers write."""

NAME_CHARS_MAX = 80
OTHER = "_other"


class Names:
    """The first `names_max` different names are themselves, every later one is `_other`."""

    def __init__(self, names_max: int) -> None:
        self._max = names_max
        self._known: set[str] = set()

    def of(self, name: str | None) -> str:
        """Return the label value for `name`; `_none` for None."""
        short = "_none" if name is None else name[:NAME_CHARS_MAX]
        if short in self._known:
            return short
        if len(self._known) >= self._max:
            return OTHER
        self._known.add(short)
        return short
