"""Letters: tables that line up, and names that cannot break out of them."""

import re

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.letters import (
    CELL_CHARS_MAX,
    SLACK_ROWS_MAX,
    SUBJECT_CHARS_MAX,
    TEXT_ROWS_MAX,
    Letter,
    Table,
    as_slack,
    as_text,
    subject_of,
)

TABLE = Table("Costs", ("tenant", "Cost $"), [("acme", "12.500000000"), (None, 1_234)], frozenset({"Cost $"}))


def test_a_letter_as_text() -> None:
    letter = Letter("Costs", ["One.", "Two."], [TABLE, Table("Nothing", ("a",), [])])
    assert as_text(letter).splitlines() == [
        "One.",
        "Two.",
        "",
        "Costs",
        "",
        "tenant        Cost $",
        "------  ------------",
        "acme    12.500000000",
        "-              1,234",
    ]


def test_a_letter_in_a_channel() -> None:
    said = as_slack(Letter("Costs", ["One."], [TABLE]))
    assert said.splitlines()[:4] == ["Costs", "One.", "Costs", "```"] and said.endswith("\n```")


def test_what_is_left_out_is_said() -> None:
    rows = [(f"t{n}",) for n in range(TEXT_ROWS_MAX + 3)]
    letter = Letter("s", ["x"], [Table("t", ("tenant",), rows, left_out=4)])
    assert as_text(letter).splitlines()[-1] == "… and 7 more"
    assert f"… and {len(rows) + 4 - SLACK_ROWS_MAX} more" in as_slack(letter)
    assert len(as_text(Letter("s", ["x"], [Table("t", ("a",), [("y" * 99,)])])).split()[-1]) == CELL_CHARS_MAX


@given(name=st.text(st.characters(), min_size=1, max_size=400))
def test_no_name_can_break_out(name: str) -> None:
    letter = Letter(name, [name], [Table(name, ("tenant", name), [(name, 1), ("b", name)])])
    subject, text, slack = subject_of(letter), as_text(letter), as_slack(letter)
    assert subject.isprintable() and len(subject) <= SUBJECT_CHARS_MAX
    assert len(text.splitlines()) == len(text.split("\n")) - 1 == 8
    assert len(slack.split("\n")) == len(slack.splitlines()) == 9
    assert slack.count("```") == 2 and slack.count("`") == 6
    assert "<" not in slack and ">" not in slack
    assert not re.search(r"&(?!amp;|lt;|gt;)", slack)
    said, _, code = slack.partition("```")
    assert not re.search(r"@(?!\u200b)", said) and code
    text.encode()
    slack.encode()


def test_what_slack_would_take_for_a_mention_or_a_link() -> None:
    hostile = "<!channel> <https://evil.example|log in> @here `x` ```"
    said = as_slack(Letter("s", [hostile]))
    assert said == ("s\n&lt;!channel&gt; &lt;https://evil.example|log in&gt; @\u200bhere 'x' '''")
