"""The conversation: its items, what they weigh in tokens, and how they look on the wire."""

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from proxy.simulator.audio import Format, tone
from proxy.simulator.messages import ClientError, Json, new_id
from proxy.simulator.usage import (
    IMAGE_TOKENS,
    USER_TOKEN_MS,
    VOICE_TOKEN_MS,
    Modality,
    Segment,
    count,
    text_tokens,
    user_audio_tokens,
)

ITEMS_MAX = 10_000
ROLES = {"user": "input_text", "system": "input_text", "assistant": "output_text"}
_BETA_PARTS = {("assistant", "text"): "output_text", ("assistant", "audio"): "output_audio"}


@dataclass(slots=True)
class Part:
    """A piece of an item's content. `text` is what was written, or for audio its transcript."""

    kind: str  # input_text, input_audio, input_image, output_text, output_audio
    text: str = ""
    audio_tokens: int = 0
    image_url: str | None = None
    detail: str = "auto"
    edition: int = 0  # grows when the part is truncated: it is other content then

    def segments(self, key: object) -> list[Segment]:
        """Return what the model reads of this part, in order."""
        sizes: list[tuple[Modality, int]] = []
        if self.kind == "input_image":
            sizes.append(("image", IMAGE_TOKENS[self.detail]))
        if self.kind != "input_audio":  # the model hears user audio, and never reads its transcript
            sizes.append(("text", text_tokens(self.text)))
        sizes.append(("audio", self.audio_tokens))
        return [Segment((key, self.edition, kind), kind, size) for kind, size in sizes if size]

    def show(self, *, audio: bool = False) -> Json:
        """Return the part as events carry it. With `audio`, its sound: a tone of its length."""
        shown: Json = {"type": self.kind}
        if self.kind == "input_image":
            return shown | {"image_url": self.image_url, "detail": self.detail}
        if not self.kind.endswith("_audio"):
            return shown | {"text": self.text}
        shown["transcript"] = self.text or None if self.kind == "input_audio" else self.text
        if audio:
            ms = self.audio_tokens * (USER_TOKEN_MS if self.kind == "input_audio" else VOICE_TOKEN_MS)
            shown["audio"] = base64.b64encode(tone(ms)).decode()
        return shown


@dataclass(slots=True)
class Item:
    """One entry of a conversation."""

    type: str  # message, function_call, function_call_output
    id: str = field(default_factory=lambda: new_id("item"))
    status: str = "completed"
    role: str = ""
    parts: list[Part] = field(default_factory=list)
    call_id: str = ""
    name: str = ""
    text: str = ""  # a call's arguments or an output
    inline: bool = False  # given within a response.create: equal content is the same content

    def segments(self) -> list[Segment]:
        key: object = self.id
        if self.inline:
            key = json.dumps(self.show() | {"id": None}, sort_keys=True)
        if self.type != "message":
            size = text_tokens(self.name) + text_tokens(self.text)
            return [Segment((key, 0, "text"), "text", size)] if size else []
        return [seg for index, part in enumerate(self.parts) for seg in part.segments((key, index))]

    def show(self, *, audio: bool = False) -> Json:
        """Return the item as events carry it."""
        shown: Json = {"id": self.id, "type": self.type, "object": "realtime.item", "status": self.status}
        if self.type == "message":
            return shown | {"role": self.role, "content": [part.show(audio=audio) for part in self.parts]}
        if self.type == "function_call":
            return shown | {"name": self.name, "call_id": self.call_id, "arguments": self.text}
        return shown | {"call_id": self.call_id, "output": self.text}


def parse_item(raw: Any, fmt: Format) -> Item:
    """Return the item that a client sent; its audio is in the session's input format.

    Raises ClientError naming the parameter that is wrong.
    """
    if not isinstance(raw, dict):
        raise ClientError("invalid_type", "Invalid type for 'item': expected an object.", "item")
    given = raw.get("id")
    if given is not None and not (isinstance(given, str) and 0 < len(given) <= 64):
        raise ClientError("invalid_value", "Invalid value for 'item.id'.", "item.id")
    item_id = given or new_id("item")
    match raw.get("type"):
        case "message":
            role = raw.get("role")
            if role not in ROLES:
                raise ClientError("invalid_value", f"Invalid value: {role!r} for 'item.role'.", "item.role")
            parts = [_parse_part(role, part, fmt) for part in _list(raw.get("content"))]
            return Item("message", item_id, role=role, parts=parts)
        case "function_call":
            call_id = _text(raw, "call_id", new_id("call"))
            name, arguments = _text(raw, "name"), _text(raw, "arguments")
            return Item("function_call", item_id, call_id=call_id, name=name, text=arguments)
        case "function_call_output":
            call_id, output = _text(raw, "call_id"), _text(raw, "output")
            return Item("function_call_output", item_id, call_id=call_id, text=output)
        case other:
            raise ClientError("invalid_value", f"Invalid value: {other!r} for 'item.type'.", "item.type")


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ClientError(
            "invalid_type", "Invalid type for 'item.content': expected an array.", "item.content"
        )
    return value


def _text(raw: Json, name: str, default: str | None = None) -> str:
    value = raw.get(name, default)
    if not isinstance(value, str):
        raise ClientError(
            "missing_required_parameter", f"Missing required parameter: 'item.{name}'.", f"item.{name}"
        )
    return value


def _parse_part(role: str, raw: Any, fmt: Format) -> Part:
    if not isinstance(raw, dict):
        raise ClientError(
            "invalid_type", "Invalid type for 'item.content[0]': expected an object.", "item.content"
        )
    kind = _BETA_PARTS.get((role, raw.get("type", "")), raw.get("type", ""))
    if kind == ROLES[role]:
        return Part(kind, _text(raw, "text"))
    if kind == "output_audio" and role == "assistant":
        return Part(kind, raw.get("transcript") or "")
    if kind == "input_audio" and role == "user":
        ticks = fmt.ticks(len(decode_audio(raw.get("audio"))))
        return Part(kind, raw.get("transcript") or "", audio_tokens=user_audio_tokens(ticks))
    if kind == "input_image" and role == "user":
        url, detail = raw.get("image_url"), raw.get("detail") or "auto"
        if not (isinstance(url, str) and url.startswith("data:image/")) or detail not in IMAGE_TOKENS:
            raise ClientError("invalid_value", "Invalid 'item.content[0].image_url'.", "item.content")
        return Part(kind, image_url=url, detail=detail)
    raise ClientError(
        "invalid_value", f"Invalid value: {kind!r} for a part of a {role} message.", "item.content"
    )


def decode_audio(value: Any) -> bytes:
    """Return the bytes of a base64 value; raises ClientError when it is none."""
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error) as failure:
        raise ClientError(
            "invalid_value", "Invalid 'audio': expected base64-encoded audio.", "audio"
        ) from failure


def user_audio(item_id: str, ticks: int) -> Item:
    """Return the item that a committed buffer becomes."""
    return Item(
        "message", item_id, role="user", parts=[Part("input_audio", audio_tokens=user_audio_tokens(ticks))]
    )


class Conversation:
    """The items of a session, oldest first."""

    def __init__(self) -> None:
        self.id = new_id("conv")
        self.items: list[Item] = []

    @property
    def last_id(self) -> str | None:
        return self.items[-1].id if self.items else None

    def insert(self, item: Item, after: str | None = None) -> str | None:
        """Add an item behind `after` ("root": in front of all; None: at the end); return what it follows."""
        if any(known.id == item.id for known in self.items):
            message = f"Error adding item: an item with id {item.id!r} already exists."
            raise ClientError("item_create_duplicate_item_id", message, "item.id")
        if len(self.items) >= ITEMS_MAX:
            raise ClientError("conversation_too_long", f"A conversation holds at most {ITEMS_MAX} items.")
        at = len(self.items) if after is None else 0 if after == "root" else self._index(after, "create") + 1
        self.items.insert(at, item)
        return self.items[at - 1].id if at else None

    def get(self, item_id: Any, deed: str) -> Item:
        """Return the item; raises ClientError `item_<deed>_invalid_item_id` when there is none."""
        return self.items[self._index(item_id, deed)]

    def before(self, item_id: str) -> str | None:
        """Return the id of the item in front of this one; None for the first or a deleted one."""
        ids = [item.id for item in self.items]
        at = ids.index(item_id) if item_id in ids else 0
        return ids[at - 1] if at else None

    def delete(self, item_id: Any) -> None:
        del self.items[self._index(item_id, "delete")]

    def truncate(self, item_id: Any, content_index: Any, audio_end_ms: Any) -> None:
        """Cut an assistant's audio; its transcript goes, since it would tell more than was heard."""
        item = self.get(item_id, "truncate")
        if not isinstance(audio_end_ms, int) or audio_end_ms < 0:
            raise ClientError("invalid_value", "Invalid value for 'audio_end_ms'.", "audio_end_ms")
        if content_index not in range(len(item.parts)) or item.parts[content_index].kind != "output_audio":
            raise ClientError("invalid_value", "Only model output audio can be truncated.", "item_id")
        part = item.parts[content_index]
        if audio_end_ms > part.audio_tokens * VOICE_TOKEN_MS:
            has_ms = part.audio_tokens * VOICE_TOKEN_MS
            message = f"Audio content of {has_ms}ms is already shorter than {audio_end_ms}ms"
            raise ClientError("invalid_value", message, "audio_end_ms")
        part.audio_tokens = -(-audio_end_ms // VOICE_TOKEN_MS)
        part.text = ""
        part.edition += 1

    def forget_to_fit(self, head: Iterable[Segment], limit: int, truncation: Any) -> bool:
        """Drop the oldest items until the prompt fits; return whether it does.

        `truncation` is the session's: "auto" keeps what fits, "disabled" drops nothing, and a
        retention ratio drops more than needed, so that the cache survives the next turns.
        """
        limit -= count(head).total
        keep = limit
        if isinstance(truncation, dict):
            limit = min(limit, (truncation.get("token_limits") or {}).get("post_instructions") or limit)
            keep = int(limit * truncation["retention_ratio"])
        weights = [count(item.segments()).total for item in self.items]
        if sum(weights) <= limit:
            return True
        if truncation == "disabled":
            return False
        while sum(weights) > keep and len(weights) > 1:
            del weights[0], self.items[0]
        return sum(weights) <= limit

    def _index(self, item_id: Any, deed: str) -> int:
        for index, item in enumerate(self.items):
            if item.id == item_id:
                return index
        message = f"Error with item {item_id!r}: the item does not exist in the conversation."
        raise ClientError(f"item_{deed}_invalid_item_id", message, "item_id")
