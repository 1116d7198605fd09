"""The oracle itself: a ledger with any one thing wrong is not equal to the truth."""

from dataclasses import replace

from proxy.simulator.truth import Truth
from tests.e2e.oracle import Booked, differences


def test_the_oracle_sees_what_is_wrong() -> None:
    line = Truth(1, "response", "sess_1", "resp_1", "gpt-realtime", "completed", {}, "0.000001", False)
    opened = replace(line, n=2, what="opened", subject="resp_2", usd=None)
    good = Booked("sess_1", "resp_1", "response", "gpt-realtime", "completed", False, [], 1_000, 1_000, {})
    guess = replace(good, subject="resp_2", estimated=True)
    truth = [line, opened, replace(line, duplicate=True)]
    assert differences(truth, [good, guess]) == []
    wrong = [
        [],
        [good, good],
        [replace(good, cost_nanousd=1_001, lines_nanousd=1_001)],
        [replace(good, lines_nanousd=999)],
        [replace(good, cost_nanousd=None)],
        [replace(good, model="gpt-realtime-mini")],
        [replace(good, session=None)],
        [good, replace(good, subject="resp_3")],
        [good, replace(guess, estimated=False)],
        [good, replace(guess, subject="resp_3")],
    ]
    for booked in wrong:
        assert differences(truth, booked), booked
