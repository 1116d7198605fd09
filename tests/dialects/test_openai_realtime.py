"""What OpenAI's messages mean: the samples priced by hand, strictness, leniency, and both vocabularies."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import events, refusal
from proxy.core.allowance import Allowance
from proxy.core.budgets import OnExhausted
from proxy.core.commands import Cancel, Drop, Explain, Journal, Send
from proxy.core.events import Other, Side, Unreadable
from proxy.core.rating import CardBook, RateCard, Terms, rate
from proxy.core.records import Entry
from proxy.core.session import Session
from proxy.core.usage import ReportedSeconds, ReportedTokens, measure
from proxy.dialects.openai_realtime import parse, render
from proxy.store.prices import shipped_cards
from tests.core.accounts import account
from tests.core.scripts import facts

SAMPLES = Path(__file__).parent.parent / "samples"
NOW = datetime(2026, 11, 23, tzinfo=UTC)
CARDS = CardBook(
    RateCard(f"card_{card.model}", card.provider, card.model, card.effective_from, card.prices)
    for card in shipped_cards()
)

# gpt-realtime-2.1, nano-dollars a token: text 4,000 (cached 400) in, 24,000 out; audio 32,000 (cached
# 400) in, 64,000 out; images 5,000 (cached 500). Each sum: fresh text + cached text + fresh audio +
# cached audio + images + text out + audio out.
WORKED_BY_HAND = [
    ("completed", 55 * 4_000 + 64 * 400 + 13 * 32_000 + 30 * 24_000 + 91 * 64_000, 7_205_600),
    (
        "completed.cached_audio_and_image",
        54 * 4_000 + 256 * 400 + 76 * 32_000 + 128 * 400 + 323 * 5_000 + 24 * 24_000 + 60 * 64_000,
        8_832_600,
    ),
    ("completed.reasoning_tokens", 479 * 4_000 + 19 * 32_000 + 176 * 24_000 + 214 * 64_000, 20_444_000),
    ("completed.function_call", 84 * 4_000 + 128 * 400 + 31 * 32_000 + 22 * 24_000, 1_907_200),
    ("completed.text_only", 56 * 4_000 + 64 * 400 + 7 * 24_000, 417_600),
    (
        "cancelled.client_cancelled",
        22 * 4_000 + 128 * 400 + 70 * 32_000 + 4 * 24_000 + 9 * 64_000,
        3_051_200,
    ),
    (
        "cancelled.turn_detected_partial",
        76 * 4_000 + 64 * 400 + 64 * 32_000 + 18 * 24_000 + 72 * 64_000,
        7_417_600,
    ),
    ("cancelled.turn_detected_zero_usage", 0, 0),
    (
        "incomplete.content_filter",
        42 * 4_000 + 128 * 400 + 64 * 32_000 + 3 * 24_000 + 6 * 64_000,
        2_723_200,
    ),
    (
        "incomplete.max_output_tokens",
        32 * 4_000 + 128 * 400 + 64 * 32_000 + 20 * 24_000 + 180 * 64_000,
        14_227_200,
    ),
    ("failed", 0, 0),
]


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.json").read_bytes()


def booked(name: str, model: str, transcription_model: str | None = None) -> Entry:
    """Return the entry that the message `name` becomes in a session of `model`."""
    session = Session(facts(model), CARDS, Allowance())
    if transcription_model:
        asked = {"audio": {"input": {"transcription": {"model": transcription_model}}}}
        told = json.dumps({"type": "session.updated", "session": asked}).encode()
        session.receive(Side.UPSTREAM, parse(Side.UPSTREAM, told), NOW)
    commands = session.receive(Side.UPSTREAM, parse(Side.UPSTREAM, sample(name)), NOW)
    (entry,) = [c.record for c in commands if isinstance(c, Journal) and isinstance(c.record, Entry)]
    return entry


@pytest.mark.parametrize(("name", "worked", "nanousd"), WORKED_BY_HAND)
def test_samples_are_priced_to_the_nano_dollar(name: str, worked: int, nanousd: int) -> None:
    assert worked == nanousd  # the arithmetic and the figure, both written by hand
    assert booked(f"response.done.{name}", "gpt-realtime-2.1").cost_nanousd == nanousd


def test_a_beta_bill_is_priced_on_its_own_model() -> None:
    """gpt-4o-realtime-preview: text 5,000 (cached 2,500) in, 20,000 out; audio 40,000 in, 80,000 out."""
    entry = booked("beta.response.done", "gpt-4o-realtime-preview-2025-06-03")
    assert (
        entry.cost_nanousd == 55 * 5_000 + 64 * 2_500 + 8 * 40_000 + 36 * 20_000 + 112 * 80_000 == 10_435_000
    )


@pytest.mark.parametrize(
    ("name", "model", "nanousd"),
    [
        ("tokens", "gpt-4o-mini-transcribe", 13 * 3_000 + 9 * 5_000),
        ("tokens", "gpt-4o-transcribe", 13 * 6_000 + 9 * 10_000),
        ("duration", "gpt-realtime-whisper", 963_333),  # 3.4 s of 17,000,000 a minute: 963,333.3
        ("duration", "whisper-1", 340_000),
    ],
)
def test_transcriptions_are_priced_on_the_transcription_model(name: str, model: str, nanousd: int) -> None:
    entry = booked(f"conversation.item.input_audio_transcription.completed.{name}", "gpt-realtime-2.1", model)
    assert (entry.kind, entry.model, entry.cost_nanousd) == ("transcription", model, nanousd)


@pytest.mark.parametrize(
    ("name", "nanousd"),
    [
        ("live.session.closed", 75_000_000),  # 90 s of 50,000,000 a minute
        ("live.session.usage.updated", 31_166_667),  # 37.4 s: 31,166,666.7
    ],
)
def test_seconds_of_gpt_live_are_priced_on_its_card(name: str, nanousd: int) -> None:
    """Its sessions are not relayed yet; what it reports and the card that ships fit each other."""
    seconds = json.loads(sample(name))["usage"]["seconds"]
    rated = rate(measure(ReportedSeconds(seconds)), Terms(CARDS.find("openai", "gpt-live-1", NOW)))
    assert rated.cost_nanousd == nanousd


def test_a_bill_where_openai_has_none_is_unrated_and_never_free() -> None:
    """xAI's `response.usage` is empty, and its figures stand beside it: no dialect of ours reads them yet."""
    entry = booked("xai.response.done", "gpt-realtime-2.1")
    assert (entry.status, entry.cost_nanousd) == ("completed", None)
    assert "usage_missing" in entry.flags


@pytest.mark.parametrize("name", ["cancelled.null_usage", "failed.insufficient_quota"])
def test_a_missing_bill_is_unrated_and_never_free(name: str) -> None:
    entry = booked(f"response.done.{name}", "gpt-realtime-2.1")
    assert entry.cost_nanousd is None
    assert "usage_missing" in entry.flags


def test_totals_without_modalities_are_unrated_and_counted() -> None:
    entry = booked("response.done.no_details", "gpt-realtime-2.1")
    assert {line.meter: line.quantity for line in entry.lines} == {"untold_in": 120, "untold_out": 40}
    assert entry.cost_nanousd is None
    assert {"details_missing", "meter_unpriced"} <= set(entry.flags)


def test_a_model_without_a_card_is_unrated() -> None:
    entry = booked("response.done.completed", "gpt-next-year")
    assert entry.cost_nanousd is None
    assert "model_unknown" in entry.flags


def test_session_state_is_read_from_ga_messages() -> None:
    assert parse(Side.UPSTREAM, sample("session.created")) == events.SessionConfigured(
        created=True,
        upstream_session_id="sess_C9G5QPteg4UIbotdKLoYQ",
        model="gpt-realtime-2.1",
        transcription_model="gpt-4o-mini-transcribe",
        transcription_told=True,
        input_bytes_per_s=48_000,
        output_bytes_per_s=48_000,
        answers_by_itself=True,
    )


def test_a_transcription_session_answers_nobody() -> None:
    event = parse(Side.UPSTREAM, sample("session.created.transcription"))
    assert isinstance(event, events.SessionConfigured)
    assert (event.model, event.transcription_model, event.answers_by_itself) == (
        None,
        "gpt-realtime-whisper",
        False,
    )


def test_session_state_is_read_from_beta_messages() -> None:
    session = {
        "id": "sess_b",
        "model": "gpt-4o-realtime-preview",
        "input_audio_format": "g711_ulaw",
        "output_audio_format": "pcm16",
        "input_audio_transcription": {"model": "whisper-1"},
        "turn_detection": {"type": "server_vad", "create_response": False},
    }
    event = parse(Side.UPSTREAM, json.dumps({"type": "session.updated", "session": session}).encode())
    assert event == events.SessionConfigured(
        created=False,
        upstream_session_id="sess_b",
        model="gpt-4o-realtime-preview",
        transcription_model="whisper-1",
        transcription_told=True,
        input_bytes_per_s=8_000,
        output_bytes_per_s=48_000,
        answers_by_itself=False,
    )


@pytest.mark.parametrize(
    ("session", "told", "model"),
    [
        ({"audio": {"input": {"transcription": None}}}, True, None),
        ({"audio": {"input": {}}}, False, None),
        ({"input_audio_transcription": None}, True, None),
        ({}, False, None),
    ],
)
def test_transcription_that_is_switched_off_differs_from_one_not_mentioned(
    session: dict[str, object], told: bool, model: str | None
) -> None:
    event = parse(Side.UPSTREAM, json.dumps({"type": "session.updated", "session": session}).encode())
    assert isinstance(event, events.SessionConfigured)
    assert (event.transcription_told, event.transcription_model) == (told, model)


@pytest.mark.parametrize("beta", ["response.text.delta", "response.audio_transcript.delta"])
@pytest.mark.parametrize("ga", ["response.output_text.delta", "response.function_call_arguments.delta"])
def test_text_counts_in_both_vocabularies(beta: str, ga: str) -> None:
    for name in (beta, ga):
        message = json.dumps({"type": name, "response_id": "r", "delta": "five!"}).encode()
        assert parse(Side.UPSTREAM, message) == events.ResponseText("r", 5)


def test_input_that_comes_to_nothing_is_read() -> None:
    said = {"audio_start_ms": 1_000, "audio_end_ms": 7_000, "item_id": "item_1"}
    for name, event in (
        ("input_audio_buffer.timeout_triggered", events.InputTimedOut("item_1", 1_000, 7_000)),
        ("input_audio_buffer.cleared", events.InputCleared()),
        ("conversation.item.deleted", events.ContextCut()),
        ("conversation.item.truncated", events.ContextCut()),
    ):
        assert parse(Side.UPSTREAM, json.dumps({"type": name, **said}).encode()) == event


def test_client_wishes_are_read() -> None:
    assert parse(Side.CLIENT, sample("client.response.create.out_of_band")) == events.ResponseAsked(
        "evc_2", out_of_band=True, text_chars=len("Say ok.")
    )
    update = parse(Side.CLIENT, sample("client.session.update"))
    assert update == events.SessionUpdateAsked("evc_1", "gpt-realtime-2.1", "gpt-4o-mini-transcribe", 15)
    image = parse(Side.CLIENT, sample("client.conversation.item.create.image"))
    assert isinstance(image, events.ItemAsked)
    assert image.images == 1


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"hello",
        b"[]",
        b"null",
        b'"response.create"',
        b'{"type":"response.create"',
        b'{"type":"response.create","type":"session.update"}',
        b'{"type":"session.update","session":{"model":"a","model":"b"}}',
        b'{"type":"session.update","\\u0074ype":"response.create"}',
        b'{"type":"response.create","x":NaN}',
        b'{"type":"response.create","x":-Infinity}',
        b'\xef\xbb\xbf{"type":"response.create"}',
        b'{"type":"response.create","x":"\xff"}',
        b'{"type":"response.create","x":' + b"1" * 5_000 + b"}",
        b'{"a":' * 60_000 + b"1" + b"}" * 60_000,
        b"[" * 100_000,
        b'{"x":[' + b"[]," * 4_000_000 + b"0]}",
    ],
)
def test_an_ambiguous_client_message_is_unreadable(payload: bytes) -> None:
    event = parse(Side.CLIENT, payload)
    assert isinstance(event, Unreadable)
    assert len(event.problem) < 100
    assert "response.create" not in event.problem


def test_an_escaped_type_is_still_that_type() -> None:
    assert isinstance(parse(Side.CLIENT, b'{"\\u0074ype":"response\\u002ecreate"}'), events.ResponseAsked)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b'{"\\u0074ype":"response\\u002ecreate"}', "insufficient_quota"),
        (b'{"type":"session.update","\\u0074ype":"response.create"}', "invalid_event"),
        (b'{"type":"response.create","response":{},"response":{"input":[]}}', "invalid_event"),
    ],
)
def test_a_disguised_request_does_not_pass_a_spent_budget(payload: bytes, code: str) -> None:
    session = Session(facts("gpt-realtime-2.1"), CARDS, Allowance([account(0, OnExhausted.BLOCK)]))
    drop, said = session.receive(Side.CLIENT, parse(Side.CLIENT, payload), NOW)
    assert drop == Drop()
    assert isinstance(said, Send) and isinstance(said.message, Explain)
    assert said.message.refusal.code == code


@pytest.mark.parametrize("payload", [b"", b"[1]", b'{"type":', b'{"type":["response.done"]}', b"\xff"])
def test_an_odd_upstream_message_never_raises(payload: bytes) -> None:
    assert isinstance(parse(Side.UPSTREAM, payload), Other | Unreadable)


def _holes(value: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return []
    return [p for key, inner in value.items() for p in ((*path, key), *_holes(inner, (*path, key)))]


_DONE = json.loads(sample("response.done.completed"))


@given(st.sampled_from(_holes(_DONE)), st.sampled_from([None, "x", [], {}, -1, 1.5, True, 10**30]))
def test_any_field_of_a_bill_may_be_of_any_type(path: tuple[str, ...], junk: object) -> None:
    """It is still booked once, unless it no longer says what it is."""
    message = json.loads(json.dumps(_DONE))
    place = message
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = junk
    session = Session(facts("gpt-realtime-2.1"), CARDS, Allowance())
    commands = session.receive(Side.UPSTREAM, parse(Side.UPSTREAM, json.dumps(message).encode()), NOW)
    entries = [c.record for c in commands if isinstance(c, Journal)]
    assert len(entries) == (path != ("type",))


def test_totals_stay_as_the_provider_gave_them() -> None:
    event = parse(Side.UPSTREAM, sample("response.done.completed"))
    assert isinstance(event, events.ResponseEnded)
    assert isinstance(event.usage, ReportedTokens)
    assert (event.usage.total, event.usage.input, event.usage.output) == (253, 132, 121)


def test_our_own_messages_are_spelt_as_the_sdks_expect() -> None:
    assert json.loads(render(Cancel("tm_1", "resp_1"))) == {
        "type": "response.cancel",
        "event_id": "tm_1",
        "response_id": "resp_1",
    }
    assert json.loads(render(Cancel("tm_2"))) == {"type": "response.cancel", "event_id": "tm_2"}
    error = json.loads(render(Explain("tm_3", refusal.budget_spent("tenant", "month"), "evt_9")))
    assert error["type"] == "error"
    assert error["error"]["type"] == error["error"]["code"] == "insufficient_quota"
    assert error["error"]["event_id"] == "evt_9"


def test_an_id_of_absurd_length_is_cut_and_stays_its_own() -> None:
    """Ids are keys in the ledger's unique index, which has a limit."""
    ids = []
    for ending in ("a", "b"):
        message = {"type": "response.created", "response": {"id": "r" * 100_000 + ending}}
        event = parse(Side.UPSTREAM, json.dumps(message).encode())
        assert isinstance(event, events.ResponseStarted)
        ids.append(event.response_id)
    assert ids[0] != ids[1]
    assert max(map(len, ids)) <= 256


@pytest.mark.parametrize(
    ("item", "wanted"),
    [
        ({"type": "message", "role": "user"}, True),
        ({"role": "user"}, True),
        ({"type": "message", "role": "assistant"}, False),
        ({"type": "message", "role": "system"}, False),
        ({"type": "function_call_output", "output": "{}"}, False),
        ({"type": "function_call_output", "role": "user"}, False),
        ({}, False),
    ],
)
def test_what_is_from_the_user(item: dict[str, str], wanted: bool) -> None:
    created = parse(Side.CLIENT, json.dumps({"type": "conversation.item.create", "item": item}).encode())
    assert isinstance(created, events.ItemAsked) and created.from_user is wanted
    response = {"type": "response.create", "response": {"input": [{"type": "item_reference"}, item]}}
    asked = parse(Side.CLIENT, json.dumps(response).encode())
    assert isinstance(asked, events.ResponseAsked) and asked.from_user is wanted


@pytest.mark.parametrize(
    ("fields", "event"),
    [
        (
            {"item_id": "item_1", "content_index": 0, "audio_end_ms": 1500},
            events.TruncateAsked("item_1", 1500),
        ),
        ({"item_id": "item_1", "audio_end_ms": -3}, events.TruncateAsked("item_1", 0)),
        ({"item_id": "item_1"}, Other()),
        ({"audio_end_ms": 1500}, Other()),
    ],
)
def test_a_client_says_what_was_not_heard(fields: dict[str, object], event: events.Event) -> None:
    message = {"type": "conversation.item.truncate", "event_id": "event_1", **fields}
    assert parse(Side.CLIENT, json.dumps(message).encode()) == event


@pytest.mark.parametrize(
    ("fields", "event"),
    [
        ({"response_id": "r", "item": {"id": "i", "type": "message"}}, events.OutputItemAdded("r", "i")),
        ({"response_id": "r", "item": {"id": "i"}}, events.OutputItemAdded("r", "i")),
        ({"response_id": "r", "item": {"id": "i", "type": "function_call"}}, Other()),  # no audio is of it
        ({"response_id": "r", "item": {"type": "message"}}, Other()),
        ({"item": {"id": "i", "type": "message"}}, Other()),
    ],
)
def test_a_message_of_a_response_begins(fields: dict[str, object], event: events.Event) -> None:
    message = {"type": "response.output_item.added", "output_index": 0, **fields}
    assert parse(Side.UPSTREAM, json.dumps(message).encode()) == event
