"""Items: what they weigh, how they look, and how a conversation is edited."""

import base64
from typing import Any

import pytest

from proxy.simulator.audio import PCM, PCMU, tone
from proxy.simulator.conversation import Conversation, Item, Part, parse_item, user_audio
from proxy.simulator.messages import ClientError
from proxy.simulator.usage import Counts, Segment, count

IMAGE = "data:image/png;base64,iVBORw0KGgo="


def message(role: str, *content: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(content), **fields}


def weight(raw: dict[str, Any]) -> Counts:
    return count(parse_item(raw, PCM).segments())


def test_what_items_weigh() -> None:
    audio = base64.b64encode(tone(1_250)).decode()
    assert weight(message("user", {"type": "input_text", "text": "Hello"})) == Counts(text=2)
    assert weight(message("user", {"type": "input_audio", "audio": audio, "transcript": "Hi"})) == Counts(
        audio=13
    )
    assert weight(message("user", {"type": "input_image", "image_url": IMAGE})) == Counts(image=323)
    assert weight(message("user", {"type": "input_image", "image_url": IMAGE, "detail": "low"})).image == 85
    assert weight(message("assistant", {"type": "output_text", "text": "Sure."})) == Counts(text=2)
    assert weight(
        {"type": "function_call", "name": "get_weather", "arguments": "{}", "call_id": "c"}
    ) == Counts(text=4)
    assert weight({"type": "function_call_output", "output": "sunny", "call_id": "c"}) == Counts(text=2)


def test_audio_given_in_an_item_is_in_the_sessions_format() -> None:
    audio = base64.b64encode(b"\xff" * 8_000).decode()
    item = parse_item(message("user", {"type": "input_audio", "audio": audio}), PCMU)
    assert count(item.segments()) == Counts(audio=10)


def test_speech_is_read_again_as_audio_and_transcript() -> None:
    part = Part("output_audio", text="I heard", audio_tokens=14)
    assert count(part.segments("x")) == Counts(text=2, audio=14)


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (None, "item"),
        ({"type": "mcp_call"}, "item.type"),
        ({"type": "message", "role": "robot", "content": []}, "item.role"),
        ({"type": "message", "role": "user"}, "item.content"),
        (message("user", {"type": "output_text", "text": "x"}), "item.content"),
        (message("user", {"type": "input_text"}), "item.text"),
        (message("user", {"type": "input_audio", "audio": "%"}), "audio"),
        (message("user", {"type": "input_image", "image_url": "https://example.com/a.png"}), "item.content"),
        (message("user", id=7), "item.id"),
        ({"type": "message", "role": "user", "content": ["text"]}, "item.content"),
        ({"type": "function_call_output", "call_id": "c"}, "item.output"),
    ],
)
def test_items_that_cannot_be(raw: Any, param: str) -> None:
    with pytest.raises(ClientError) as caught:
        parse_item(raw, PCM)
    assert caught.value.param == param


def test_beta_names_of_an_assistants_parts_are_understood() -> None:
    assert parse_item(message("assistant", {"type": "text", "text": "x"}), PCM).parts[0].kind == "output_text"


def test_inline_items_are_known_again_by_their_content() -> None:
    one, two = (parse_item(message("user", {"type": "input_text", "text": "x"}), PCM) for _ in range(2))
    assert one.segments() != two.segments()
    one.inline = two.inline = True
    assert one.segments() == two.segments()


def conversation(*ids: str) -> Conversation:
    made = Conversation()
    for name in ids:
        made.insert(user_audio(name, 24_000))
    return made


def ids(of: Conversation) -> list[str]:
    return [item.id for item in of.items]


def test_items_go_where_they_are_put() -> None:
    talk = conversation("a", "b")
    assert talk.insert(user_audio("c", 1), "a") == "a"
    assert talk.insert(user_audio("d", 1), "root") is None
    assert talk.insert(user_audio("e", 1)) == "b"
    assert ids(talk) == ["d", "a", "c", "b", "e"]
    assert talk.before("a") == "d"
    assert talk.before("d") is None
    assert talk.before("gone") is None
    talk.delete("c")
    assert ids(talk) == ["d", "a", "b", "e"]


def test_edits_that_cannot_be() -> None:
    talk = conversation("a")
    with pytest.raises(ClientError, match="already exists"):
        talk.insert(user_audio("a", 1))
    for deed, code in (
        (lambda: talk.insert(user_audio("b", 1), "gone"), "item_create_invalid_item_id"),
        (lambda: talk.delete("gone"), "item_delete_invalid_item_id"),
        (lambda: talk.get("gone", "retrieve"), "item_retrieve_invalid_item_id"),
        (lambda: talk.truncate("gone", 0, 0), "item_truncate_invalid_item_id"),
    ):
        with pytest.raises(ClientError) as caught:
            deed()
        assert caught.value.code == code


def spoken_item() -> Item:
    return Item("message", "said", role="assistant", parts=[Part("output_audio", "Well, hello", 20)])


def test_truncating_cuts_audio_and_drops_the_transcript() -> None:
    talk = conversation("a")
    talk.insert(spoken_item())
    before = talk.items[1].segments()
    talk.truncate("said", 0, 510)  # 10.2 tokens: the started one counts
    assert count(talk.items[1].segments()) == Counts(audio=11)
    assert before[0] != talk.items[1].segments()[0]


@pytest.mark.parametrize(
    ("item", "index", "end"), [("said", 0, 1_001), ("said", 1, 5), ("said", 0, -1), ("a", 0, 5)]
)
def test_truncations_that_cannot_be(item: str, index: int, end: int) -> None:
    talk = conversation("a")
    talk.insert(spoken_item())
    with pytest.raises(ClientError):
        talk.truncate(item, index, end)


HEAD = [Segment("instructions", "text", 10)]


def test_the_oldest_items_are_forgotten_first() -> None:
    talk = conversation("a", "b", "c")  # 10 tokens each
    assert talk.forget_to_fit(HEAD, 40, "auto")
    assert ids(talk) == ["a", "b", "c"]
    assert talk.forget_to_fit(HEAD, 30, "auto")
    assert ids(talk) == ["b", "c"]


def test_a_retention_ratio_forgets_more() -> None:
    talk = conversation("a", "b", "c", "d")
    ratio = {"type": "retention_ratio", "retention_ratio": 0.7, "token_limits": {"post_instructions": 30}}
    assert talk.forget_to_fit(HEAD, 1_000, ratio)
    assert ids(talk) == ["c", "d"]


def test_disabled_truncation_says_that_it_does_not_fit() -> None:
    talk = conversation("a", "b")
    assert not talk.forget_to_fit(HEAD, 29, "disabled")
    assert ids(talk) == ["a", "b"]


def test_an_item_too_large_by_itself_does_not_fit() -> None:
    assert not conversation("a").forget_to_fit(HEAD, 15, "auto")


def test_a_retrieved_item_sounds_as_long_as_it_was() -> None:
    shown = user_audio("a", 2_400 * 3).show(audio=True)
    assert base64.b64decode(shown["content"][0]["audio"]) == tone(300)
