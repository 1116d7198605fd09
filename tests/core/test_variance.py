"""Price, volume and mix: as in a textbook, and always adding up."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.variance import NOTHING, Effects, Side, Sku, effects, total


def test_as_in_a_textbook() -> None:
    """Twice as much of everything is volume, another price is price, and a shift to the dear one is mix."""
    cheap, dear = Side(100, 1_000), Side(100, 5_000)
    doubled = effects([Sku("token", cheap, Side(200, 2_000)), Sku("token", dear, Side(200, 10_000))])
    assert total(doubled) == Effects(volume=6_000)
    assert effects([Sku("token", cheap, Side(100, 1_200))]) == [Effects(price=200)]
    shifted = effects([Sku("token", cheap, Side(50, 500)), Sku("token", dear, Side(150, 7_500))])
    assert shifted == [Effects(mix=-500), Effects(mix=2_500)]
    units = effects([Sku("token", cheap, Side(200, 2_000)), Sku("ms", dear, dear)])
    assert units == [Effects(volume=1_000), Effects()]


def test_what_cannot_be_compared_is_told_apart() -> None:
    skus = [
        Sku("token", NOTHING, Side(5, 50)),
        Sku("token", Side(5, 50), NOTHING),
        Sku(None, Side(0, 10), Side(0, 3)),
        Sku("token", Side(-2, -20), Side(4, 40)),
        Sku("token", NOTHING, Side(0, 7)),
        Sku("token", Side(3, 30), Side(0, 5)),
    ]
    assert effects(skus) == [
        Effects(new=50),
        Effects(gone=-50),
        Effects(other=-7),
        Effects(other=60),
        Effects(other=7),
        Effects(other=-25),
    ]


SIDES = st.builds(Side, st.integers(-3, 10**12), st.integers(-(10**6), 10**15)) | st.just(NOTHING)
SKUS = st.lists(st.builds(Sku, st.sampled_from(["token", "ms", None]), SIDES, SIDES), max_size=20)


@given(SKUS)
def test_effects_sum_to_the_difference_to_the_nano_dollar(skus: list[Sku]) -> None:
    found = effects(skus)
    assert [one.total for one in found] == [sku.difference for sku in skus]
    assert total(found).total == sum(sku.difference for sku in skus)
    for sku, one in zip(skus, found, strict=True):
        if sku.is_compared:
            at_old_price = Fraction(sku.before.nanousd * sku.after.quantity, sku.before.quantity)
            assert abs(one.price - (sku.after.nanousd - at_old_price)) < 1
            assert one.new == one.gone == one.other == 0
    for unit in ("token", "ms"):  # mix only shifts quantities: at one price there is none
        even = [Sku(unit, Side(q, 7 * q), Side(p, 9 * p)) for q, p in ((1, 5), (4, 2), (9, 9))]
        parts = total(effects(even))
        assert (parts.mix, parts.volume, parts.price) == (0, 7 * 2, 2 * 16)
