"""Sessions as scripts: every row of the table at the top of `core/session.py`, and their endings."""

from dataclasses import replace
from datetime import timedelta

import pytest

from proxy.core import refusal
from proxy.core.allowance import Account
from proxy.core.budgets import OnExhausted, Scope
from proxy.core.commands import Cancel, Explain
from proxy.core.events import BudgetsChanged, CostLook, Side
from proxy.core.farewell import RESERVE
from proxy.core.models import ModelRule, ModelRules
from tests.core.accounts import account
from tests.core.scripts import CHARS_PER_MS, Play

CUT = "error:insufficient_quota close:1008"


def cutting(free: int) -> list[Account]:
    return [account(free)]


def blocking(free: int) -> list[Account]:
    return [account(free, OnExhausted.BLOCK)]


def test_a_response_is_held_booked_and_settled() -> None:
    """client asks, granted; upstream starts it, granted; `response.done` replaces the hold."""
    Play(cutting(10_000)).run("""
        client   ask e1                -> forward                | held 400, free 9600, unsettled
        upstream started r1            -> open:r1 forward        | held 400
        upstream hear r1 ms=500        ->                        | held 400
        upstream done r1 in=100 a=10   -> entry:r1=200 forward   | held 0, free 9800, settled, cost 200
    """)


def test_without_budgets_nothing_is_refused() -> None:
    Play().run("""
        client   ask                   -> forward
        upstream started r1            -> open:r1 forward
        upstream done r1 in=100 a=10   -> entry:r1=200 forward | settled, cost 200
    """)


def test_a_request_is_refused_under_block() -> None:
    """client asks, refused, `block`: a local error that echoes the client's event id."""
    Play(blocking(399)).run("""
        client ask e1 -> drop error:insufficient_quota@e1 | held 0, free 399, settled
        client ask    -> drop error:insufficient_quota    | settled
        client other  -> forward
    """)


def test_a_request_is_refused_under_cut() -> None:
    """client asks, refused, `cut`: the error event and close 1008."""
    Play(cutting(399)).run("""
        client ask e1 -> drop error:insufficient_quota close:1008 | settled
        client ask e2 -> drop
    """)


def test_turn_detection_is_refused_under_cut() -> None:
    """upstream starts one nobody asked for, refused, `cut`: doomed, and metered all the same."""
    Play(cutting(100)).run("""
        upstream started r1 -> open:r1 drop cancel:r1 cut:r1=0 error:insufficient_quota close:1008 | unsettled
        upstream hear r1 ms=100      ->
        upstream other               -> drop
        upstream done r1 in=50 a=2 status=cancelled -> entry:r1=70 drop | settled, free 30
    """)


def test_turn_detection_is_refused_under_block() -> None:
    """… refused, `block`: doomed, the running one finishes, then close 1008."""
    Play(blocking(500)).run("""
        upstream started r1        -> open:r1 forward | held 400, free 100
        upstream started r2        -> open:r2 cancel:r2 forward
        upstream done r2 in=0 a=0 status=cancelled -> entry:r2=0 forward | unsettled
        client   ask               -> drop error:insufficient_quota
        upstream hear r1 ms=100    ->
        upstream done r1 in=10 a=2 -> entry:r1=30 forward error:insufficient_quota close:1008 | settled
        upstream other             -> drop
    """)


def test_while_no_response_may_begin_what_runs_finishes_and_the_session_stays() -> None:
    """A full disk: a request is refused, what turn detection starts is cancelled, and both are told."""
    play = Play(cutting(5_000)).run("""
        client   ask               -> forward | held 400
        upstream started r1        -> open:r1 forward
        client   ask               -> forward | held 800
    """)
    play.session.standstill = refusal.DISK_FULL
    play.run("""
        client   ask e1            -> drop error:journal_unavailable@e1 | held 800
        upstream hear r1 ms=100    ->
        upstream done r1 in=10 a=2 -> entry:r1=30 forward | held 400
        upstream started r2        -> open:r2 forward   # it was asked for before
        upstream done r2 in=10 a=2 -> entry:r2=30 forward | held 0, settled
        upstream configured created vad id=sess_1 -> bound forward
        upstream committed i1      -> forward | unsettled   # turn detection is about to answer
        upstream started r3        -> open:r3 cancel:r3 forward error:journal_unavailable | held 0
        upstream done r3 in=5 a=0 status=cancelled -> entry:r3=5 forward | settled, cost 65, free 4935
    """)
    play.session.standstill = None
    play.run("client ask -> forward")


def test_a_hold_grows_with_the_running_cost() -> None:
    """running, the estimate nears the hold, more granted: two seconds more."""
    Play(cutting(10_000)).run("""
        upstream started r1      -> open:r1 forward | held 400
        upstream hear r1 ms=900  ->                 | held 400
        upstream hear r1 ms=100  ->                 | held 800
        upstream hear r1 ms=1900 ->                 | held 800
        upstream hear r1 ms=100  ->                 | held 1200
        upstream done r1 in=0 a=60 -> entry:r1=600 forward | held 0, free 9400
    """)


def test_a_response_is_cut_when_the_estimate_reaches_what_is_left() -> None:
    """running, nothing more to hold: it takes the rest, and the cut comes when that is spoken."""
    Play(cutting(500)).run("""
        upstream started r1      -> open:r1 forward | held 400, free 100
        upstream hear r1 ms=1500 ->                 | held 500, free 0
        upstream hear r1 ms=950  ->                 | held 500
        upstream hear r1 ms=50   -> cancel:r1 cut:r1=500 error:insufficient_quota close:1008
        upstream hear r1 ms=50   ->
        upstream done r1 in=5 a=52 status=cancelled -> entry:r1=525 drop | free -25, settled
    """)


def test_audio_is_as_long_as_the_format_of_its_response_says() -> None:
    """A client may ask for another one than the session's: its bytes last six times as long, or a sixth."""
    Play(cutting(500)).run("""
        upstream started r1 rate=8000 -> open:r1 forward        | held 400
        upstream hear r1 ms=250       ->                        | held 500   # a second and a half of it
        upstream hear r1 ms=200       -> cancel:r1 cut:r1=540 error:insufficient_quota close:1008
    """)
    Play(cutting(1_000)).run("""
        upstream configured rate=8000 -> forward
        upstream started r1           -> open:r1 forward
        upstream hear r1 ms=250       ->                        | held 800
        upstream done r1 in=0 a=30    -> entry:r1=300 forward
        upstream started r2 rate=48000 -> open:r2 forward
        upstream hear r2 ms=900       ->                        | held 400
        upstream done r2 in=0 a=18    -> entry:r2=180 forward   | free 520
    """)


def test_text_counts_towards_the_running_cost() -> None:
    Play(cutting(450)).run("""
        upstream started r1      -> open:r1 forward | held 400
        upstream text r1 chars=320 -> forward       | held 450
        upstream text r1 chars=40  -> forward cancel:r1 cut:r1=450 error:insufficient_quota close:1008
        upstream text r1 chars=4   -> drop
    """)


def test_a_running_response_finishes_under_block() -> None:
    Play(blocking(400)).run("""
        upstream started r1        -> open:r1 forward | free 0
        upstream hear r1 ms=2500   ->
        upstream done r1 in=0 a=50 -> entry:r1=500 forward error:insufficient_quota close:1008 | free -100
    """)


def test_what_finishes_under_block_is_cut_by_another_budget_that_has_nothing_left() -> None:
    """Whichever of them is spent first."""
    Play([*blocking(400), account(600, name="cut")]).run("""
        upstream started r1        -> open:r1 forward | held 400
        upstream hear r1 ms=2000   ->
        upstream hear r1 ms=500    ->                 | held 600
        client ask e1              -> drop error:insufficient_quota@e1
        upstream hear r1 ms=400    ->
        upstream hear r1 ms=100    -> cancel:r1 cut:r1=600 error:insufficient_quota close:1008
    """)
    Play([*blocking(600), account(400, name="cut")]).run("""
        upstream started r1        -> open:r1 forward | held 400
        upstream hear r1 ms=1900   ->
        upstream hear r1 ms=100    -> cancel:r1 cut:r1=400 error:insufficient_quota close:1008
    """)


def test_what_finishes_under_block_asks_for_more_of_other_budgets_only() -> None:
    (block,), (cut,) = blocking(400), leased(400)
    play = Play([block, cut]).run("""
        upstream started r1        -> open:r1 forward | held 400
        upstream hear r1 ms=2000   -> ask:400
    """)
    assert [need.account for need in play.asked[0][1].needs] == [cut]
    play.run("""
        bank gives 1000            ->                 | held 800
        upstream hear r1 ms=2000   ->
        upstream done r1 in=0 a=80 -> entry:r1=800 forward error:insufficient_quota close:1008
    """)


def test_a_no_for_what_finishes_under_block_is_none_for_other_budgets() -> None:
    """Those were not asked yet."""
    block, cut = account(400, OnExhausted.BLOCK, leased=True), account(410, name="cut", leased=True)
    play = Play([block, cut]).run("""
        upstream started r1        -> open:r1 forward | held 400
        upstream hear r1 ms=2000   -> ask:400
    """)
    assert [need.account for need in play.asked[0][1].needs] == [block]
    play.run("""
        bank refuses               ->                 | held 410
        upstream hear r1 ms=50     -> ask:400
        bank gives 1000            ->
        upstream done r1 in=0 a=42 -> entry:r1=420 forward error:insufficient_quota close:1008
    """)


def test_a_budget_that_is_raised_while_a_response_finishes_under_block_goes_on() -> None:
    Play(blocking(400)).run("""
        upstream started r1        -> open:r1 forward | free 0
        upstream hear r1 ms=2500   ->
        budgets 1000               ->
        upstream done r1 in=0 a=50 -> entry:r1=500 forward
        client ask                 -> forward
    """)


def test_a_budget_made_while_a_response_finishes_under_block_cuts_it() -> None:
    Play(blocking(400)).run("""
        upstream started r1        -> open:r1 forward | free 0
        upstream hear r1 ms=2500   ->
        budgets 0                  -> cancel:r1 cut:r1=500 error:insufficient_quota close:1008
    """)


def test_more_is_asked_for_in_every_account_that_is_short() -> None:
    """Budgets that enclose each other run out of what was leased at the same time."""
    accounts = [account(400, name="key", leased=True), account(400, name="tenant", leased=True)]
    play = Play(accounts).run("""
        upstream started r1          -> open:r1 forward
        upstream hear r1 ms=2100     -> ask:420
    """)
    assert [need.account for need in play.asked[0][1].needs] == accounts
    play.run("""
        bank gives 1000              ->
        upstream done r1 in=0 a=60   -> entry:r1=600 forward
    """)


@pytest.mark.parametrize("order", [1, -1])
def test_the_budget_that_refuses_is_one_of_which_there_is_no_more(order: int) -> None:
    """Too little is at hand of another one too, which might have more, and is not asked in vain."""
    rich = account(400, name="rich", scope=Scope.ORGANISATION, leased=True)
    poor = account(400, OnExhausted.BLOCK, name="poor", leased=True)
    play = Play([rich, poor][::order]).run("upstream started r1 -> open:r1 forward")
    poor.refuse(400, play.now + timedelta(seconds=1))  # what another session was told
    play.run("""
        client ask e1              -> drop error:insufficient_quota@e1
        upstream hear r1 ms=1500   ->
        upstream started r2        -> open:r2 cancel:r2 forward
    """)
    said = play.sent[0]
    assert isinstance(said, Explain) and said.refusal.budget == (Scope.TENANT, "month")
    assert not play.cuts


@pytest.mark.parametrize("order", [1, -1])
def test_what_runs_is_cut_by_a_budget_of_which_there_is_no_more(order: int) -> None:
    for policy in (OnExhausted.BLOCK, OnExhausted.CUT):
        rich = account(400, policy, name="rich", leased=True)
        poor = account(400, OnExhausted.CUT, name="poor", scope=Scope.ORGANISATION, leased=True)
        play = Play([rich, poor][::order]).run("upstream started r1 -> open:r1 forward")
        poor.refuse(1, play.now + timedelta(seconds=1))
        play.run(f"upstream hear r1 ms=2000 -> cancel:r1 cut:r1=400 {CUT}")
        assert [cut.budget_id for cut in play.cuts] == ["poor"]
        said = play.sent[-1]
        assert isinstance(said, Explain) and said.refusal.budget == (Scope.ORGANISATION, "month")


@pytest.mark.parametrize("order", [1, -1])
def test_a_transcription_is_refused_by_a_budget_of_which_there_is_no_more(order: int) -> None:
    rich = account(100, name="rich", leased=True)
    poor = account(100, OnExhausted.BLOCK, name="poor", scope=Scope.ORGANISATION, leased=True)
    play = Play([rich, poor][::order]).run("""
        upstream configured hear=hear -> bound forward
        upstream started r1           -> ask:400
        bank gives 400                -> open:r1 forward
        upstream speech from=0 to=700 -> forward
    """)
    poor.refuse(600, play.now + timedelta(seconds=1))
    play.run("""
        upstream committed i1         -> open:i1 forward
        upstream done r1 in=0 a=1     -> entry:r1=10 forward error:insufficient_quota close:1008
    """)
    said = play.sent[-1]
    assert isinstance(said, Explain) and said.refusal.budget == (Scope.ORGANISATION, "month")


def test_more_is_asked_for_again_while_the_answer_is_yes() -> None:
    """What was granted did not suffice any more when the answer came: more had passed, or others held it."""
    play = Play(leased(400)).run("""
        upstream started r1         -> open:r1 forward
        upstream hear r1 ms=2000    -> ask:400
    """)
    play.session.hear(Side.UPSTREAM, 3_000 * CHARS_PER_MS, "r1")
    play.run("""
        bank gives 400              -> ask:600
        bank gives 600              ->
        upstream done r1 in=0 a=100 -> entry:r1=1000 forward
    """)
    play = Play(leased(400)).run("""
        upstream started r1         -> open:r1 forward
        client   ask e1             -> ask:400
        upstream hear r1 ms=2000    -> ask:400
        bank gives 400 upstream     ->
        bank gives 0 client         -> ask:400
        bank refuses                -> drop cancel:r1 cut:r1=400 error:insufficient_quota close:1008
    """)


def test_last_words_are_held_anew_in_a_new_window() -> None:
    """What the old window has left of the reserve does not end a session that has all of the new one."""
    play = Play([account(100_000, OnExhausted.WRAP_UP)]).run("""
        upstream started r1        -> open:r1 forward
        upstream done r1 in=0 a=10 -> entry:r1=100 forward
    """)
    (old,) = play.allowance.accounts
    play.run("rolls 1000000 ->")
    assert old.held_nanousd == 0
    old.leased_nanousd = 0
    play.run("""
        upstream started r2        -> open:r2 forward
        upstream hear r2 ms=500    ->
        upstream done r2 in=0 a=10 -> entry:r2=100 forward
    """)
    assert set(play.allowance.holds) == {RESERVE}


def test_every_status_is_booked() -> None:
    """any, unknown id included: `response.done` is booked whatever it says."""
    play = Play().run("""
        upstream done r9 in=10 a=1 status=cancelled  -> entry:r9=20 forward
        upstream started r1                          -> open:r1 forward
        upstream done r1 status=failed               -> entry:r1=? forward | settled
        upstream started r2                          -> open:r2 forward
        upstream done in=3 a=0 status=incomplete     -> entry:r2=3 forward | settled, cost 23
    """)
    assert [entry.flags for entry in play.entries] == [("never_opened",), ("usage_missing",), ()]
    assert [entry.status for entry in play.entries] == ["cancelled", "failed", "incomplete"]


def test_a_bill_without_any_id_is_booked_under_a_name_of_our_own() -> None:
    Play().run("upstream done in=3 -> entry:unnamed_1=3 forward | cost 3")


def test_a_repeated_bill_is_booked_once() -> None:
    """The same again is only forwarded; another bill for the same thing reaches the ledger's alarm."""
    play = Play().run("""
        upstream started r1        -> open:r1 forward
        upstream done r1 in=10 a=1 -> entry:r1=20 forward | cost 20
        upstream done r1 in=10 a=1 -> forward             | cost 20
        upstream done r1 in=99 a=1 -> entry:r1=109 forward | cost 20
        upstream done r1 in=99 a=1 -> forward             | cost 20
        upstream done r1 in=10 a=1 -> forward             | cost 20
        upstream started r1        -> forward             | settled
    """)
    assert len({entry.entry_key for entry in play.entries}) == 1
    assert len({entry.digest for entry in play.entries}) == 2
    assert [entry.counts for entry in play.entries] == [True, False]


def test_upstream_lost_leaves_an_estimate() -> None:
    """running, upstream gone: what was asked about and what was heard, marked estimated."""
    play = Play(cutting(10_000)).run("""
        upstream started r0        -> open:r0 forward
        upstream done r0 in=100 a=20 t=4 -> entry:r0=320 forward
        client   item chars=40     -> forward
        upstream started r1        -> open:r1 forward
        upstream hear r1 ms=1000   ->
        upstream text r1 chars=8   -> forward
        upstream gone              -> entry:r1=~344 | settled, held 0, free 9336
        upstream gone              ->
    """)
    assert play.entries[-1].status == "lost"
    assert "upstream_lost" in play.entries[-1].flags


def test_client_gone_cancels_and_waits_for_the_bill() -> None:
    """running, client gone: cancel, linger, book what upstream says."""
    play = Play().run("""
        client   ask               -> forward
        upstream started r1        -> open:r1 forward
        client   gone              -> cancel:r1 | unsettled
        client   gone              ->
        upstream other             -> drop
        upstream done r1 in=10 a=3 status=cancelled -> entry:r1=40 drop | settled
    """)
    assert isinstance(play.sent[0], Cancel)
    assert play.sent[0].event_id.startswith("tm_")


def test_a_response_that_starts_after_the_client_left_is_cancelled() -> None:
    """lingering, upstream starts one: it was asked for before the client left, and is billed."""
    Play().run("""
        client   ask               -> forward
        client   gone              -> | unsettled
        upstream started r1        -> open:r1 drop cancel:r1
        upstream done r1 in=10 a=0 status=cancelled -> entry:r1=10 drop | settled
    """)


def test_turn_detection_about_to_answer_keeps_the_upstream_open() -> None:
    """The caller says bye and hangs up: the answer starts a moment later, and is billed."""
    Play().run("""
        upstream configured created vad id=sess_1 -> bound forward | settled
        upstream committed i1      -> forward | unsettled
        client   gone              ->         | unsettled
        upstream started r1        -> open:r1 drop cancel:r1
        upstream done r1 in=10 a=0 -> entry:r1=10 drop | settled
        upstream committed i2      -> drop
        wait 11                    -> | settled
    """)


def test_linger_passed_leaves_an_estimate() -> None:
    play = Play().run("""
        upstream started r1      -> open:r1 forward
        upstream hear r1 ms=100  ->
        client   gone            -> cancel:r1
        upstream linger_passed   -> entry:r1=~20 | settled
    """)
    assert "linger_passed" in play.entries[-1].flags


def test_a_refused_request_gives_its_hold_back() -> None:
    """asked, upstream refuses it: by the client's event id, or the latest if it gave none."""
    Play(cutting(10_000)).run("""
        client   ask e1          -> forward | held 400
        client   ask e2          -> forward | held 800
        upstream error for=e1    -> forward | held 400
        client   ask             -> forward | held 800
        upstream error code=conversation_already_has_active_response -> forward | held 400
        upstream error code=invalid_value -> forward | held 400
        upstream started r1      -> open:r1 forward  | held 400
    """)


def test_a_request_without_an_answer_gives_its_hold_back_after_ten_seconds() -> None:
    Play(cutting(10_000)).run("""
        client ask  -> forward | held 400, unsettled
        wait 9      ->         | held 400
        wait 1      ->         | held 0, free 10000, settled
    """)


def test_errors_about_our_own_messages_stay_with_us() -> None:
    """any, upstream `error` naming one of our event ids: the client never sent that."""
    Play().run("""
        upstream error for=tm_3 code=response_cancel_not_active -> drop
        upstream error for=evt_3 code=invalid_value             -> forward
    """)


def test_transcriptions_are_booked_on_their_own_card() -> None:
    """any, transcription finished, also late, also on a model that changed meanwhile."""
    play = Play().run("""
        upstream configured created id=sess_1 hear=hear -> bound forward
        client   hear ms=2000          ->
        upstream committed i1          -> open:i1 forward | unsettled
        upstream configured hear=other -> bound forward
        upstream transcribed i1 s=3.4  -> entry:i1:0=3400 forward | settled
        upstream transcribed i1 s=3.4  -> forward | cost 3400
        upstream transcribed i2 s=1    -> entry:i2:0=? forward     | cost 3400
        upstream committed i3          -> open:i3 forward
        upstream transcription_failed i3 -> entry:i3:0=? forward | settled
    """)
    assert [entry.model for entry in play.entries] == ["hear", "other", "other"]
    assert play.entries[1].flags == ("model_unknown", "never_opened")


def test_a_committed_transcription_keeps_the_upstream_open() -> None:
    """a committed transcription open, client gone: nothing to cancel, but a bill to wait for."""
    Play().run("""
        upstream configured created hear=hear -> bound forward
        upstream speech from=1000        -> forward
        client   hear ms=9000            ->
        upstream speech to=3000          -> forward
        upstream committed i1            -> open:i1 forward
        client   gone                    -> | unsettled
        upstream gone                    -> entry:i1:0=~2000 | settled
    """)


def test_transcriptions_that_the_upstream_does_not_name_are_booked_each() -> None:
    """Without an item's id two bills of the same amount are two bills."""
    play = Play().run("""
        upstream configured created hear=hear -> bound forward
        upstream transcribed _ s=1            -> entry:unnamed_1:0=1000 forward
        upstream transcribed _ s=1            -> entry:unnamed_2:0=1000 forward | cost 2000
        upstream committed i1                 -> open:i1 forward
        upstream transcribed _ s=1            -> entry:i1:0=1000 forward | settled
        upstream committed _                  -> open:unnamed_3 forward
        upstream transcribed _ s=1            -> entry:unnamed_3:0=1000 forward | settled
    """)
    assert [entry.flags for entry in play.entries] == [("never_opened",), ("never_opened",), (), ()]


def test_a_client_that_commits_and_hangs_up_is_metered() -> None:
    """The upstream has not yet said `committed`, and will bill the transcription all the same."""
    Play().run("""
        upstream configured created hear=hear -> bound forward
        client   hear ms=2000                 ->
        client   commit                       -> forward | unsettled
        client   gone                         -> | unsettled
        upstream committed i1                 -> open:i1 drop
        upstream transcribed i1 s=2           -> entry:i1:0=2000 drop | settled
    """)


def test_a_commit_that_comes_to_nothing_is_not_waited_for() -> None:
    Play().run("""
        client   commit                       -> forward | settled   # nobody transcribes
        upstream configured created hear=hear -> bound forward
        client   commit                       -> forward | unsettled
        upstream error code=input_audio_buffer_commit_empty -> forward | settled
        client   commit                       -> forward
        wait 9                                -> | unsettled
        wait 1                                -> | settled
        client   commit                       -> forward
        upstream gone                         -> | settled
    """)


def test_what_opens_says_what_it_would_cost_if_no_more_were_heard() -> None:
    """A crash right after it books the same as an upstream that is lost right after it."""
    play = Play().run("""
        upstream configured created hear=hear -> bound forward
        upstream started r1                   -> open:r1 forward
        upstream done r1 in=100 a=10          -> entry:r1=200 forward
        client   hear ms=2000                 ->
        upstream committed i1                 -> open:i1 forward
        upstream started r2                   -> open:r2 forward
        upstream gone                         -> entry:r2=~130 entry:i1:0=~2000
    """)
    assert [(one.cost_nanousd, sum(line.quantity for line in one.lines)) for one in play.opened] == [
        (None, 0),
        (2000, 2000),
        (130, 130),
    ]
    assert [one.lines for one in play.opened[1:]] == [one.lines for one in reversed(play.entries[1:])]


def test_what_opens_without_a_price_says_what_budgets_are_charged_for_it() -> None:
    play = Play(model="unheard-of").run("""
        upstream started r1          -> open:r1 forward
        upstream done r1 in=100 a=10 -> entry:r1=? forward
        upstream started r2          -> open:r2 forward
        upstream hear r2 ms=100      ->
        wait 1                       -> progress:r2=None
        upstream gone                -> entry:r2=~?
    """)
    assert [one.charge_nanousd for one in play.opened] == [0, 110]
    assert [one.charge_nanousd for one in play.progress] == [130]
    assert [one.charge_nanousd for one in play.entries] == [200, 130]


def test_an_estimate_of_nothing_is_no_estimate() -> None:
    """Not even the input of a first response is known: that is unrated, and not free."""
    play = Play().run("""
        upstream started r1 -> open:r1 forward
        wait 1              -> progress:r1=None
        upstream gone       -> entry:r1=~? | settled
    """)
    assert play.entries[0].flags == ("upstream_lost", "usage_missing")


def test_progress_is_journalled_once_a_second_if_there_is_any() -> None:
    Play().run("""
        upstream started r1      -> open:r1 forward
        upstream hear r1 ms=1000 ->
        wait 1                   -> progress:r1=200
        wait 1                   ->
        upstream hear r1 ms=50   ->
        wait 1                   -> progress:r1=210
    """)


def test_an_administrator_stops_a_session() -> None:
    Play().run("""
        upstream started r1        -> open:r1 forward
        client   stop              -> cancel:r1 error:session_stopped close:1008
        client   stop              ->
        upstream done r1 in=10 a=1 -> entry:r1=20 drop | settled
    """)


def test_the_unreadable_is_refused_from_a_client_and_passed_on_from_upstream() -> None:
    Play().run("""
        client   unreadable e7 -> drop error:invalid_event@e7
        upstream unreadable    -> forward
    """)


def test_a_response_out_of_band_is_billed_but_not_part_of_the_conversation() -> None:
    play = Play().run("""
        upstream started r1            -> open:r1 forward
        upstream done r1 in=100 a=10   -> entry:r1=200 forward
        upstream started r2 oob        -> open:r2 forward
        upstream done r2 oob in=900 a=1 -> entry:r2=910 forward
        upstream started r3            -> open:r3 forward
        upstream gone                  -> entry:r3=~110
    """)
    assert {line.meter: line.quantity for line in play.entries[-1].lines} == {"text_in": 100, "audio_in": 10}


def test_the_model_is_what_the_upstream_last_said() -> None:
    """A session without a model in its URL is metered; what was billed before it is unrated."""
    play = Play(model=None).run("""
        upstream done r0 in=5                       -> entry:r0=? forward
        upstream configured created id=sess_7 model=talk -> bound forward
        upstream configured id=sess_8 model=talk    -> forward
        upstream done r1 in=5                       -> entry:r1=5 forward
    """)
    assert play.entries[0].flags == ("model_unknown", "never_opened")
    assert play.entries[1].entry_key == "openai/sess_7/r1/response/0/original"


def test_too_many_open_things_are_estimated_from_the_oldest_on() -> None:
    play = Play()
    for n in range(1_025):
        play.step(["upstream", "started", f"r{n}"])
    assert [(entry.subject_id, entry.estimated) for entry in play.entries] == [("r0", True)]


def test_closing_books_what_is_still_open() -> None:
    play = Play().run("upstream started r1 -> open:r1 forward")
    assert play.perform(Side.UPSTREAM, play.session.close(play.now, 1006, "upstream_lost")) == [
        "entry:r1=~?",
        "closed",
    ]


# Asking for more


def leased(free: int, policy: OnExhausted = OnExhausted.CUT) -> list[Account]:
    return [account(free, policy, leased=True)]


def test_a_request_waits_for_the_answer_and_is_decided_with_it() -> None:
    Play(leased(100)).run("""
        client ask e1             -> ask:400                  | held 0, settled
        bank gives 300            -> forward                  | held 400, free 0
        client ask e2             -> ask:400
        bank refuses              -> drop error:insufficient_quota close:1008
    """)


def test_a_response_nobody_asked_for_waits_too_and_the_text_of_a_request_counts() -> None:
    play = Play(leased(0, OnExhausted.BLOCK)).run("""
        upstream started r1       -> ask:400
        bank gives 400            -> open:r1 forward          | held 400
        client ask e1 chars=40    -> ask:410
        bank refuses              -> drop error:insufficient_quota@e1
        upstream done r1 in=5 a=9 -> entry:r1=95 forward      | free 305
    """)
    assert len(play.allowance.unposted) == 1


def test_what_a_request_brings_along_is_held_for_and_is_part_of_its_response_only() -> None:
    """40 characters, ten seconds of the user's voice and a picture: 10, 100 and 400 tokens."""
    play = Play(cutting(2_000)).run("""
        client   ask e1 oob chars=40 ms=10000 images=1 -> forward | held 910
        client   ask e2                   -> forward              | held 1310
        upstream started r1 oob           -> open:r1 forward      | held 1310
        upstream hear r1 ms=100           ->
        upstream done r1 oob in=500 a=2   -> entry:r1=520 forward | held 400, free 1080
        upstream started r2               -> open:r2 forward      | held 400
        upstream gone                     -> entry:r2=~?
    """)
    assert [entry.estimate_nanousd for entry in play.entries] == [530, None]
    Play(blocking(899)).run("""
        client   ask e1 ms=10000 images=1 -> drop error:insufficient_quota@e1
        client   ask e2                   -> forward              | held 400
    """)


def test_a_response_answers_a_request_of_its_own_kind() -> None:
    """Beside one out of band turn detection may start another: what was held is not for that."""
    play = Play(cutting(5_000)).run("""
        upstream configured created vad   -> forward
        client   ask e1 oob ms=10000      -> forward              | held 500
        upstream committed i1             -> forward
        upstream started r1               -> open:r1 forward      | held 900
        client   ask e2                   -> forward              | held 1300
        upstream started r2 oob           -> open:r2 forward      | held 1300
        upstream done r1 in=10 a=1        -> entry:r1=20 forward  | held 900
        upstream done r2 oob in=90 a=1    -> entry:r2=100 forward | held 400
        client   ask e3 oob               -> forward              | held 811
        upstream committed i2             -> forward
        upstream started r3 oob           -> open:r3 forward
        upstream done r3 oob in=0 a=0     -> entry:r3=0 forward   | held 400, unsettled
        upstream error for=e2             -> forward              | held 0, unsettled
        wait 10                           ->                      | settled
    """)
    assert [entry.estimate_nanousd for entry in play.entries] == [0, 100, 11]
    Play(cutting(5_000)).run("""
        client   ask e1 oob ms=10000      -> forward              | held 500
        upstream started r1               -> open:r1 forward      | held 500   # it does not tell
    """)


def test_a_running_response_asks_before_it_is_cut_and_goes_on_with_what_there_is() -> None:
    Play(leased(400)).run("""
        upstream started r1       -> open:r1 forward          | free 0
        upstream hear r1 ms=1900  ->
        upstream hear r1 ms=100   -> ask:400
        bank gives 200            ->                          | held 600
        upstream hear r1 ms=1000  -> ask:400
        bank refuses              -> cancel:r1 cut:r1=600 error:insufficient_quota close:1008
    """)


def test_a_transcription_is_held_when_its_audio_is_committed() -> None:
    Play(leased(1_000)).run("""
        upstream configured hear=hear -> bound forward
        upstream speech from=0 to=700 -> forward
        upstream committed i1         -> open:i1 forward      | held 700, free 300
        upstream transcribed i1 s=0.6 -> entry:i1:0=600 forward | held 0, free 400
        upstream speech from=0 to=700 -> forward
        upstream committed i2         -> ask:700
        bank refuses                  -> open:i2 drop error:insufficient_quota close:1008
        upstream transcribed i2 s=0.7 -> entry:i2:0=700 drop  | settled, free -300
    """)


def test_under_block_a_transcription_is_heard_to_its_end_and_then_the_session_closes() -> None:
    Play(blocking(100)).run("""
        upstream configured hear=hear -> bound forward
        upstream speech from=0 to=700 -> forward
        upstream committed i1         -> open:i1 forward error:insufficient_quota close:1008
    """)


def test_a_request_whose_answer_comes_late_is_not_passed_on_for_nobody() -> None:
    """The client has gone, the upstream has gone, or the session was stopped in the meantime."""
    Play(leased(100)).run("""
        client   ask e1           -> ask:400
        client   gone             ->
        bank gives 1000           -> drop                     | held 0, settled
    """)
    Play(leased(100)).run("""
        client   ask e1           -> ask:400
        client   stop             -> error:session_stopped close:1008
        bank gives 1000           -> drop                     | held 0, settled
    """)
    play = Play(leased(100)).run("""
        client   ask e1           -> ask:400
        upstream gone             ->
        bank gives 1000           -> forward                  | held 400
    """)
    play.perform(Side.UPSTREAM, play.session.close(play.now, None, "upstream_lost"))
    assert play.state()["held"] == 0


def test_a_response_whose_answer_comes_late_is_opened_and_cancelled() -> None:
    for ending in ("client gone ->", "upstream stop -> error:session_stopped close:1008"):
        Play(leased(100)).run(f"""
            upstream started r1   -> ask:400
            {ending}
            bank gives 1000       -> open:r1 drop cancel:r1
            upstream done r1 in=5 -> entry:r1=5 drop          | held 0, settled
        """)


def test_both_sides_may_ask_at_once_and_are_answered_in_either_order() -> None:
    start = """
        upstream started r1       -> open:r1 forward          | free 0
        upstream hear r1 ms=2000  -> ask:400
        client   ask e1           -> ask:400
    """
    Play(leased(400)).run(start).run("""
        bank gives 800 client     -> forward                  | held 800
        bank gives 0 upstream     ->                          | held 1200
    """)
    Play(leased(400)).run(start).run("""
        bank refuses upstream     -> cancel:r1 cut:r1=400 error:insufficient_quota close:1008
        bank gives 500 client     -> drop                     | held 400
    """)


def test_a_client_that_is_gone_is_told_nothing() -> None:
    Play(cutting(500)).run("""
        upstream configured hear=hear -> bound forward
        client   gone                 ->
        upstream speech from=0 to=700 -> drop
        upstream committed i1         -> open:i1 drop
        upstream transcribed i1 s=0.6 -> entry:i1:0=600 drop  | held 0, free -100
    """)


def test_what_was_billed_before_gives_its_second_hold_back() -> None:
    Play(cutting(1_500)).run("""
        upstream configured hear=hear -> bound forward
        upstream speech from=0 to=700 -> forward
        upstream committed i1         -> open:i1 forward      | held 700
        upstream transcribed i1 s=0.6 -> entry:i1:0=600 forward | held 0, free 900
        upstream speech from=0 to=500 -> forward
        upstream committed i1         -> open:i1 forward      | held 500
        upstream transcribed i1 s=0.6 -> forward              | held 0, free 900, settled
    """)


def test_parallel_and_out_of_band_responses_share_what_there_is() -> None:
    Play(cutting(900)).run(f"""
        upstream started r1       -> open:r1 forward          | held 400
        upstream started r2 oob   -> open:r2 forward          | held 800
        upstream hear r2 ms=2500  -> cancel:r1 cancel:r2 cut:r1=0 cut:r2=500 {CUT}
        upstream done r1 in=0 a=1 -> entry:r1=10 drop
        upstream done r2 oob in=0 a=50 -> entry:r2=500 drop   | held 0, free 390, settled
    """)


# Budgets that change while a response runs


def test_a_budget_that_is_deleted_before_the_answer_refuses_nobody() -> None:
    Play(leased(0)).run("""
        client   ask e1           -> ask:400
        budgets                   ->
        bank refuses              -> forward
    """)


def test_a_response_stays_in_the_window_it_began_in() -> None:
    Play(cutting(1_000)).run("""
        upstream started r1       -> open:r1 forward          | held 400
        rolls 600                 ->                          | free 600, held 400
        upstream hear r1 ms=2000  ->                          | free 600, held 800
        upstream started r2       -> open:r2 forward          | free 200
        upstream done r1 in=0 a=50 -> entry:r1=500 forward    | free 200, held 400
    """)


def test_a_new_budget_without_anything_left_cuts_what_runs() -> None:
    Play().run("""
        upstream started r1       -> open:r1 forward
        upstream hear r1 ms=500   ->
        budgets 0                 -> cancel:r1 cut:r1=100 error:insufficient_quota close:1008
    """)


def test_a_new_budget_counts_what_has_been_spoken_and_a_deleted_one_no_longer() -> None:
    Play(cutting(450)).run("""
        upstream started r1       -> open:r1 forward          | held 400
        budgets 900               ->                          | held 400, free 500
        upstream hear r1 ms=4000  ->                          | held 900, free 0
        budgets                   ->                          | free 0
        upstream hear r1 ms=9000  ->
        upstream done r1 in=5 a=260 -> entry:r1=2605 forward  | settled
    """)


def test_a_lowered_budget_cuts_once_what_is_left_is_spoken() -> None:
    play = Play(leased(400)).run("""
        upstream started r1       -> open:r1 forward          | held 400
        upstream hear r1 ms=500   ->
    """)
    play.accounts[0].leased_nanousd = 150
    play.run("""
        upstream hear r1 ms=600   -> ask:400
        bank refuses              -> cancel:r1 cut:r1=220 error:insufficient_quota close:1008
    """)


def test_what_was_held_before_a_window_ended_is_settled_there() -> None:
    play = Play(cutting(1_000)).run("""
        upstream started r1       -> open:r1 forward
    """)
    (before,) = play.allowance.accounts
    after = account(1_000)
    play.allowance.enclose([after])
    play.run("""
        upstream done r1 in=0 a=50 -> entry:r1=500 forward
        upstream started r2        -> open:r2 forward
    """)
    assert (before.free_nanousd, after.free_nanousd) == (500, 600)


def test_a_cut_says_what_was_known() -> None:
    play = Play(cutting(500)).run("""
        upstream started r1      -> open:r1 forward
        upstream done r1 in=5 a=2 -> entry:r1=25 forward
        upstream started r2      -> open:r2 forward
        upstream hear r2 ms=3000 -> cancel:r2 cut:r2=607 error:insufficient_quota close:1008
    """)
    (record,) = play.cuts
    figures = (record.limit_nanousd, record.spent_nanousd, record.held_nanousd, record.estimate_nanousd)
    assert figures == (500, 25, 475, 607)
    assert (record.session_id, record.subject_id, record.budget_id) == ("s_1", "r2", "b")
    play.run("upstream done r2 in=5 a=70 status=cancelled -> entry:r2=705 drop")
    assert [entry.held_nanousd for entry in play.entries] == [400, 475]
    unbounded = Play().run("""
        upstream started r1      -> open:r1 forward
        upstream done r1 in=5    -> entry:r1=5 forward
    """)
    assert unbounded.entries[0].held_nanousd is None


# Last words


def parting(free: int) -> list[Account]:
    return [account(free, OnExhausted.WRAP_UP)]


def test_a_reserve_is_held_from_the_start_and_the_last_words_are_spoken_from_it() -> None:
    Play(parting(2_900)).run("""
        client   ask e1             -> forward                        | held 2400, free 500
        upstream started r1         -> open:r1 forward
        upstream hear r1 ms=1500    ->                                | held 2830, free 70
        upstream hear r1 ms=2000    -> cancel:r1 cut:r1=700           | unsettled
        upstream other              -> forward
        upstream done r1 in=0 a=70 status=cancelled -> entry:r1=700 forward remark answer:200 | held 2030
        client   ask e2             -> drop
        upstream started r2         -> open:r2 forward
        upstream hear r2 ms=3000    ->
        upstream done r2 in=50 a=60 -> entry:r2=650 forward error:insufficient_quota close:1008 | settled
    """)


def test_a_request_that_is_refused_gets_the_last_words_instead() -> None:
    Play(parting(2_500)).run("""
        client   ask e1             -> forward
        upstream started r1         -> open:r1 forward
        upstream done r1 in=0 a=20  -> entry:r1=200 forward           | free 300, held 2000
        client   ask e2             -> drop remark answer:200         | unsettled
        upstream started r2         -> open:r2 forward
        upstream started r3         -> open:r3 cancel:r3 cut:r3=0 forward
        upstream done r3 in=0 a=0 status=cancelled -> entry:r3=0 forward
        upstream done r2 in=20 a=60 -> entry:r2=620 forward error:insufficient_quota close:1008
    """)


@pytest.mark.parametrize(
    "answer",
    [
        """
        upstream started r2         -> open:r2 drop cancel:r2         | unsettled
        upstream done r2 in=9 a=2 status=cancelled -> entry:r2=29 drop | settled
        """,
        "upstream error for=tm_3 -> drop | settled",
        "upstream linger_passed -> | settled",
    ],
)
@pytest.mark.parametrize(
    "ending", ["client gone -> | unsettled", "wait 20 -> error:insufficient_quota close:1008 | unsettled"]
)
def test_last_words_that_nobody_hears_are_waited_for_since_they_are_billed(ending: str, answer: str) -> None:
    """The client, or the session, has ended between our request and the response that it starts."""
    Play(parting(2_500)).run(f"""
        client   ask e1             -> forward
        upstream started r1         -> open:r1 forward
        upstream done r1 in=0 a=20  -> entry:r1=200 forward
        client   ask e2             -> drop remark answer:200
        {ending}
        {answer}
    """)


def test_what_turn_detection_starts_is_not_taken_for_last_words_that_nobody_hears() -> None:
    """Or the bill of those would not be waited for."""
    Play(parting(2_500)).run("""
        upstream configured created vad -> forward
        client   ask e1             -> forward
        upstream started r1         -> open:r1 forward
        upstream done r1 in=0 a=20  -> entry:r1=200 forward
        client   ask e2             -> drop remark answer:200
        client   gone               -> | unsettled
        upstream committed i1       -> drop
        upstream started r2         -> open:r2 drop cancel:r2
        upstream done r2 in=7 a=0 status=cancelled -> entry:r2=7 drop | unsettled
        upstream started r3         -> open:r3 drop cancel:r3
        upstream done r3 in=9 a=2 status=cancelled -> entry:r3=29 drop | settled
    """)


def test_last_words_that_take_too_long_or_are_refused_are_cut() -> None:
    start = """
        client   ask e1             -> forward
        upstream started r1         -> open:r1 forward
        upstream done r1 in=0 a=20  -> entry:r1=200 forward
        client   ask e2             -> drop remark answer:200
    """
    play = (
        Play(parting(2_500))
        .run(start)
        .run("""
        upstream started r2         -> open:r2 forward
        upstream hear r2 ms=1000    ->
        wait 19                     -> progress:r2=200
        wait 1                      -> cancel:r2 cut:r2=200 error:insufficient_quota close:1008
    """)
    )
    (cut,) = play.cuts
    assert (cut.budget_id, cut.limit_nanousd, cut.spent_nanousd, cut.held_nanousd) == ("b", 2_500, 200, 2_000)
    Play(parting(2_500)).run(start).run("""
        upstream error for=tm_3     -> drop error:insufficient_quota close:1008 | settled
    """)
    play = (
        Play(parting(2_500))
        .run(start)
        .run("""
        upstream started r2         -> open:r2 forward
        upstream error for=tm_3     -> drop cancel:r2 cut:r2=0 error:insufficient_quota close:1008
    """)
    )
    assert [cut.budget_id for cut in play.cuts] == ["b"]
    Play(parting(2_500)).run(start).run("""
        client   gone               -> | unsettled
        upstream error for=tm_3     -> drop | settled
        wait 20                     ->
    """)


def spent_by_others(play: Play) -> None:
    (one,) = play.accounts
    one.held_nanousd += one.free_nanousd


def test_last_words_wait_for_what_turn_detection_is_about_to_start() -> None:
    """The commit finds nothing left. Its own answer comes first: cancelled, and not taken for last words.

    The reserve pays for both, and for as many last words as it can then.
    """
    start = """
        upstream configured created vad hear=hear -> bound forward
        upstream started r1         -> open:r1 forward                | held 2400
        upstream hear r1 ms=500     ->
        upstream done r1 in=0 a=10  -> entry:r1=100 forward           | held 2010
        upstream speech from=0 to=700 -> forward
    """
    play = Play(parting(2_900)).run(start)
    spent_by_others(play)
    play.run("""
        upstream committed i1       -> open:i1 forward                | unsettled
        upstream started r2         -> open:r2 cancel:r2 cut:r2=7 forward | held 2010
        upstream hear r2 ms=100     ->
        upstream done r2 in=7 a=2 status=cancelled -> entry:r2=27 forward remark answer:127
        upstream started r3         -> open:r3 forward
        upstream hear r3 ms=3000    ->
        upstream done r3 in=9 a=60  -> entry:r3=609 forward error:insufficient_quota close:1008
    """)
    assert [cut.subject_id for cut in play.cuts] == ["r2"]
    play = Play(parting(2_900)).run(start)
    spent_by_others(play)
    play.run("""
        upstream committed i1       -> open:i1 forward
        wait 9                      ->                                # it does not come
        wait 1                      -> remark answer:130
    """)


def test_what_turn_detection_starts_before_our_request_arrives_is_no_last_words() -> None:
    start = """
        upstream configured created vad -> forward
        client   ask e1             -> forward
        upstream started r1         -> open:r1 forward
        upstream done r1 in=0 a=20  -> entry:r1=200 forward
        client   ask e2             -> drop remark answer:200         # tm_3
        upstream committed i1       -> forward
        upstream started r2         -> open:r2 cancel:r2 cut:r2=0 forward | held 2000
    """
    ending = """
        upstream started r3         -> open:r3 forward
        upstream error for=tm_3     -> drop                           # of a request that was made again
        upstream done r3 in=9 a=60  -> entry:r3=609 forward error:insufficient_quota close:1008 | held 0
    """
    busy = "upstream error for=tm_3 code=conversation_already_has_active_response -> drop"
    done = "upstream done r2 in=0 a=1 status=cancelled -> entry:r2=10 forward"
    Play(parting(2_500)).run(start).run(f"{busy}\n{done} answer:200").run(ending)
    Play(parting(2_500)).run(start).run(f"{done}\n{busy}\nwait 1 -> answer:200").run(ending)
    Play(parting(2_500)).run(start).run(f"{done}").run(ending.replace("error for=tm_3", "error for=tm_9"))


def test_a_response_that_was_taken_for_last_words_by_mistake_gives_the_reserve_back() -> None:
    """It was in the way of our request, the upstream says: that is asked for again."""
    Play(parting(2_500)).run("""
        client   ask e1             -> forward
        upstream started r1         -> open:r1 forward
        upstream done r1 in=0 a=20  -> entry:r1=200 forward
        client   ask e2             -> drop remark answer:200
        upstream started r2 oob     -> open:r2 cancel:r2 cut:r2=0 forward | held 2000
        upstream done r2 oob in=0   -> entry:r2=0 forward
        upstream started r3         -> open:r3 forward
        upstream hear r3 ms=500     ->
        upstream error for=tm_3 code=conversation_already_has_active_response -> drop cancel:r3 cut:r3=100
        upstream done r3 in=0 a=12 status=cancelled -> entry:r3=120 forward answer:200 | held 2000
        upstream started r4         -> open:r4 forward
        wait 20                     -> cancel:r4 cut:r4=0 error:insufficient_quota close:1008
    """)


def test_without_enough_in_reserve_for_words_it_is_cut() -> None:
    Play(parting(300)).run("""
        client   ask e1             -> drop error:insufficient_quota close:1008
    """)


def test_a_client_that_leaves_gets_no_last_words() -> None:
    Play(parting(2_400)).run("""
        client   ask e1             -> forward
        upstream started r1         -> open:r1 forward
        upstream hear r1 ms=2000    -> cancel:r1 cut:r1=400
        client gone                 ->
        upstream done r1 in=0 a=40 status=cancelled -> entry:r1=400 drop
    """)


def test_with_a_budget_a_bill_that_was_never_opened_is_charged_and_a_late_start_is_held() -> None:
    Play(cutting(1_000)).run("""
        upstream done r9 in=10 a=1 -> entry:r9=20 forward     | free 980
        client   ask e1            -> forward                 | held 400
        client   gone              ->                         | held 400, unsettled
        upstream started r1        -> open:r1 drop cancel:r1  | held 400
        upstream done r1 in=10 a=0 -> entry:r1=10 drop        | held 0, free 970, settled
    """)


def test_a_budget_with_last_words_speaks_them_when_nobody_asked_for_what_started() -> None:
    """Turn detection, refused, `wrap_up`: cancelled, and the last words once its bill has come."""
    Play(parting(2_300)).run("""
        upstream started r1        -> open:r1 forward cancel:r1 cut:r1=0
        upstream done r1 in=0 a=0 status=cancelled -> entry:r1=0 forward remark answer:200
    """)


# What changes meanwhile


def test_what_is_blocked_stays_so_unless_its_own_budget_changes() -> None:
    """The book of budgets is new whenever anything in it is: that somebody else has got a key is no money."""
    play = Play([*blocking(400), account(10_000, name="other")]).run("""
        upstream started r1        -> open:r1 forward | free 0
        upstream started r2        -> open:r2 cancel:r2 forward
    """)
    play.receive(Side.UPSTREAM, BudgetsChanged())
    play.run("""
        upstream done r2 in=0 status=cancelled -> entry:r2=0 forward
        upstream done r1 in=0 a=40 -> entry:r1=400 forward error:insufficient_quota close:1008
    """)


@pytest.mark.parametrize("change", ["raised", "unlimited", "cut", "deleted"])
def test_what_is_blocked_goes_on_once_its_budget_lets_it(change: str) -> None:
    play = Play(blocking(400)).run("""
        upstream started r1        -> open:r1 forward | free 0
        upstream started r2        -> open:r2 cancel:r2 forward
    """)
    (one,) = play.accounts
    amounts = {"raised": 401, "unlimited": None}
    policy = OnExhausted.CUT if change == "cut" else OnExhausted.BLOCK
    one.budget = replace(one.budget, amount_nanousd=amounts.get(change, 400), on_exhausted=policy)
    if change == "deleted":
        play.allowance.enclose([])
    play.receive(Side.UPSTREAM, BudgetsChanged())
    play.run("""
        upstream done r2 in=0 status=cancelled -> entry:r2=0 forward
        upstream done r1 in=0 a=40 -> entry:r1=400 forward
    """)


def test_a_lowered_budget_cuts_at_once_what_has_spoken_more_than_is_left() -> None:
    """Its lease was taken back, and that is told: what runs is looked at now, not once it has moved on."""
    play = Play(leased(400)).run("""
        upstream started r1       -> open:r1 forward          | held 400
        upstream hear r1 ms=1000  ->
    """)
    play.accounts[0].leased_nanousd = 150
    assert play.receive(Side.UPSTREAM, BudgetsChanged()) == ["ask:400"]
    play.run("bank refuses -> cancel:r1 cut:r1=200 error:insufficient_quota close:1008")


def test_a_doomed_response_whose_upstream_is_lost_is_estimated() -> None:
    play = Play(cutting(400)).run(f"""
        upstream started r1       -> open:r1 forward
        upstream hear r1 ms=2000  -> cancel:r1 cut:r1=400 {CUT}
        upstream gone             -> entry:r1=~400 | settled, held 0
    """)
    assert play.entries[-1].status == "lost"


def test_notify_neither_holds_nor_refuses_anything() -> None:
    """Its account never encloses a session (`Budget.holds`), whatever was spent of it."""
    notify = replace(account(0).budget, on_exhausted=OnExhausted.NOTIFY, amount_nanousd=0)
    assert not notify.holds
    play = Play([one for one in [account(0, OnExhausted.NOTIFY)] if one.budget.holds]).run("""
        client   ask               -> forward
        upstream started r1        -> open:r1 forward
        upstream hear r1 ms=60000  ->
        upstream done r1 in=0 a=50 -> entry:r1=500 forward | settled
    """)
    assert play.cuts == [] and play.asked == []


def test_audio_that_was_thrown_away_is_not_held_for() -> None:
    Play([account(3_000)]).run("""
        upstream configured created hear=hear -> bound forward
        client   hear ms=60000  ->
        upstream cleared        -> forward
        client   hear ms=1000   ->
        client   commit         -> forward
        upstream committed i1   -> open:i1 forward | held 1000
    """)


@pytest.mark.parametrize("name", ["model", "hear"])
def test_a_model_that_may_not_be_used_ends_a_session_for_good(name: str) -> None:
    """A client that always reconnects believes a few strings only, and one of them has to be there."""
    play = Play(models=ModelRules(((ModelRule("talk", True),),)))
    play.run(f"upstream configured created {name}=sing -> bound forward error:model_not_allowed close:1008")
    said = play.sent[-1]
    assert isinstance(said, Explain) and said.refusal.type == "insufficient_quota"
    play = Play(models=ModelRules(((ModelRule("talk", True),),)))
    play.run(f"client update {name}=sing -> drop error:model_not_allowed")
    said = play.sent[-1]
    assert isinstance(said, Explain) and said.refusal.type == "invalid_request_error"


def test_a_hold_is_looked_at_once_for_every_two_seconds_of_speech() -> None:
    """Each look costs as much as many messages. A rich budget asks for no more of them than none does."""
    looks = {}
    for name, accounts in (("rich", [account(1_000_000)]), ("none", [])):
        play = Play(accounts).run("upstream started r1 -> open:r1 forward")
        looks[name] = 0
        for _ in range(600):
            if play.session.hear(Side.UPSTREAM, 100 * CHARS_PER_MS, "r1"):
                looks[name] += 1
                assert play.receive(Side.UPSTREAM, CostLook("r1")) == []
        assert play.session.running_nanousd == 600 * 20
    assert looks["none"] == 30 and looks["rich"] <= looks["none"] + 2
