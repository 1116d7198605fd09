"""Ids: sorted by time, unique, and safe in URLs, file names and CSV."""

import re
import time

from proxy.ids import new_id


def test_the_shape() -> None:
    assert re.fullmatch(r"ses_[0-9a-hjkmnp-tv-z]{26}", new_id("ses"))


def test_a_later_id_sorts_after_an_earlier_one() -> None:
    ids = []
    for _ in range(5):
        ids.append(new_id("x"))
        time.sleep(0.002)  # the time in an id is in milliseconds
    assert ids == sorted(ids)


def test_ids_of_the_same_millisecond_differ() -> None:
    assert len({new_id("x") for _ in range(10_000)}) == 10_000


def test_the_time_can_be_read_back() -> None:
    before = time.time_ns() // 1_000_000
    text = new_id("x").removeprefix("x_")
    number = 0
    for character in text:
        number = number << 5 | "0123456789abcdefghjkmnpqrstvwxyz".index(character)
    assert before <= number >> 80 <= time.time_ns() // 1_000_000
