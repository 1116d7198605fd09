"""What the organisation can read of its own account: `/organization/costs` and `/organization/usage/…`.

Summed by the minute from what the truth file is told, shown after a delay. As with OpenAI, the usage of a
modality leaves out what was cached, while on the wire it includes it.
"""

import hashlib
import http
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qs

from proxy.simulator.options import Options
from proxy.simulator.prices import Part, response_parts, transcription_parts
from proxy.simulator.truth import Truth

MINUTE = 60
WIDTHS = {"1m": (MINUTE, 60, 1_440), "1h": (3_600, 24, 168), "1d": (86_400, 7, 31)}  # seconds, limit, most
COSTS_WIDTHS = {"1d": (86_400, 7, 180)}
LISTS = ("project_ids", "api_key_ids", "models", "user_ids")
AUDIO_TOKENS_PER_S = 10
DIGITS_MAX = 12  # of an instant, in seconds
DEFAULT_PROJECT = "proj_default"

Answer = tuple[int, str]


class Bad(Exception):
    """A parameter that cannot be used."""


class Minute(NamedTuple):
    """Whose usage of which model, and in which minute it was billed."""

    at: int
    project_id: str
    api_key_id: str
    model: str
    what: Literal["response", "transcription"]


@dataclass(slots=True)
class Used:
    """What was used: requests, and by the part of the bill its quantity and price."""

    requests: int = 0
    quantities: dict[str, Decimal] = field(default_factory=dict)
    usd: dict[str, Decimal] = field(default_factory=dict)

    def add(self, parts: list[Part]) -> None:
        self.requests += 1
        for part in parts:
            self.quantities[part.name] = self.quantities.get(part.name, Decimal(0)) + part.quantity
            self.usd[part.name] = self.usd.get(part.name, Decimal(0)) + part.usd


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for: buckets from `start` on, up to `end`."""

    start: int
    end: int
    width: int
    limit: int
    skip: int
    group_by: tuple[str, ...]
    only: Mapping[str, frozenset[str]]

    @property
    def buckets(self) -> range:
        return range(self.start, self.end, self.width)

    def wants(self, minute: Minute) -> bool:
        values = {"project_ids": minute.project_id, "api_key_ids": minute.api_key_id, "models": minute.model}
        return all(values.get(name) in wanted for name, wanted in self.only.items())


def payer_of(project: str | None, key: str) -> tuple[str, str]:
    """Return the ids of the project and the API key that a session is billed to."""
    return project or DEFAULT_PROJECT, f"key_{hashlib.sha256(key.encode()).hexdigest()[:12]}"


class Reports:
    """Answers for the account. `failures` are statuses that the next requests are answered with instead."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._used: dict[Minute, Used] = {}
        self.failures: list[int] = []
        self.requests = 0
        self._answers: Mapping[str, Callable[[str], Mapping[str, Any]]] = {
            "/v1/organization/costs": self._costs,
            "/v1/organization/usage/completions": self._completions,
            "/v1/organization/usage/audio_transcriptions": self._transcriptions,
        }

    @property
    def paths(self) -> frozenset[str]:
        return frozenset(self._answers)

    def add(self, line: Truth) -> None:
        """Take up one line of the truth."""
        usage = line.owed
        if usage is None or line.model is None or line.at is None or line.what == "opened":
            return
        parts_of = response_parts if line.what == "response" else transcription_parts
        parts = parts_of(self._options.billed_as.get(line.model, line.model), usage)
        if parts is not None:
            minute = Minute(int(line.at) // MINUTE * MINUTE, *line.payer, line.model, line.what)
            self._used.setdefault(minute, Used()).add(parts)

    def answer(self, path: str, query: str, key: str) -> Answer:
        """Return the status and the body."""
        self.requests += 1
        if self.failures:
            return _error(self.failures.pop(0), "Answered by a test.")
        if key in self._options.api_keys:
            return _error(403, "You have insufficient permissions for this operation: api.usage.read.")
        if key not in self._options.admin_keys:
            return _error(401, "Incorrect API key provided.")
        try:
            return 200, _json(self._answers[path](query))
        except Bad as problem:
            return _error(400, str(problem))

    # --- Costs

    def _costs(self, text: str) -> Mapping[str, Any]:
        query = self._query(text, COSTS_WIDTHS, ("project_id", "line_item", "api_key_id"))
        return _page(query, lambda bucket: self._cost_results(query, bucket))

    def _cost_results(self, query: Query, bucket: int) -> list[dict[str, Any]]:
        sums: dict[tuple[str | None, ...], Used] = {}
        for minute, used in self._in(query, bucket):
            for name, usd in used.usd.items():
                values = minute._asdict() | {"line_item": f"{minute.model}, {name}"}
                key = tuple(values[by] if by in query.group_by else None for by in COST_GROUPS)
                sums.setdefault(key, Used()).add([Part(name, used.quantities[name], usd)])
        return [self._cost(query, key, used) for key, used in sorted(sums.items(), key=str) if _any(used)]

    def _cost(self, query: Query, key: tuple[str | None, ...], used: Used) -> dict[str, Any]:
        told = self._options.tells_quantities and "line_item" in query.group_by
        unit = "duration_seconds" if "duration" in used.quantities else "tokens"
        return {
            "object": "organization.costs.result",
            "amount": {"value": sum(used.usd.values(), Decimal(0)), "currency": "usd"},
            **dict(zip(COST_GROUPS, key, strict=True)),
            "quantity": sum(used.quantities.values(), Decimal(0)) if told else None,
            "quantity_unit": unit if told else None,
        }

    # --- Usage

    def _completions(self, text: str) -> Mapping[str, Any]:
        groups = ("project_id", "user_id", "api_key_id", "model", "batch", "service_tier")
        query = self._query(text, WIDTHS, groups)
        return _page(query, lambda bucket: self._usage(query, bucket, "response", _completion))

    def _transcriptions(self, text: str) -> Mapping[str, Any]:
        query = self._query(text, WIDTHS, ("project_id", "user_id", "api_key_id", "model"))
        return _page(query, lambda bucket: self._usage(query, bucket, "transcription", _transcription))

    def _usage(
        self, query: Query, bucket: int, what: str, shown: Callable[[Used], dict[str, Any]]
    ) -> list[dict[str, Any]]:
        sums: dict[tuple[str | None, ...], Used] = {}
        for minute, used in self._in(query, bucket):
            if minute.what != what:
                continue
            values: Mapping[str, Any] = minute._asdict()
            key = tuple(values[by] if by in query.group_by else None for by in USAGE_GROUPS)
            found = sums.setdefault(key, Used())
            found.requests += used.requests
            for name, quantity in used.quantities.items():
                found.quantities[name] = found.quantities.get(name, Decimal(0)) + quantity
        return [
            {**dict(zip(USAGE_GROUPS, key, strict=True)), "user_id": None, **shown(used)}
            for key, used in sorted(sums.items(), key=str)
        ]

    # --- Both

    def _in(self, query: Query, bucket: int) -> Iterator[tuple[Minute, Used]]:
        """Yield what was billed in a bucket and can be shown by now."""
        shown_until = self._options.clock() - self._options.reporting_delay_s
        end = min(bucket + query.width, query.end)
        for minute, used in self._used.items():
            if bucket <= minute.at < end and minute.at <= shown_until and query.wants(minute):
                yield minute, used

    def _query(self, text: str, widths: Mapping[str, tuple[int, int, int]], groups: tuple[str, ...]) -> Query:
        given = {name.removesuffix("[]"): values for name, values in parse_qs(text).items()}
        width, limit, limit_max = widths.get(_one(given, "bucket_width", "1d"), (0, 0, 0))
        if not width:
            raise Bad(f"Invalid 'bucket_width': use one of {', '.join(widths)}.")
        group_by = tuple(given.get("group_by", ()))
        if unknown := set(group_by) - set(groups):
            raise Bad(f"Invalid 'group_by': {min(unknown)!r}.")
        limit = _number(_one(given, "limit", str(limit)), "limit")
        if not 1 <= limit <= limit_max:
            raise Bad(f"Invalid 'limit': it should be from 1 to {limit_max}.")
        start = _number(_one(given, "start_time", ""), "start_time")
        end = _number(_one(given, "end_time", str(int(self._options.clock()) + 1)), "end_time")
        skip = _number(_one(given, "page", "page_0").removeprefix("page_"), "page")
        only = {name: frozenset(given[name]) for name in LISTS if name in given}
        return Query(start // width * width, end, width, limit, skip, group_by, only)


COST_GROUPS = ("project_id", "line_item", "api_key_id")
USAGE_GROUPS = ("project_id", "api_key_id", "model")


def _completion(used: Used) -> dict[str, Any]:
    tokens = {name: int(quantity) for name, quantity in used.quantities.items()}

    def of(*names: str) -> int:
        return sum(tokens.get(name, 0) for name in names)

    fresh, cached = (
        [f"{front}{kind} input" for kind in ("text", "audio", "image")] for front in ("", "cached ")
    )
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": of(*fresh, *cached),
        "input_cached_tokens": of(*cached),
        "input_uncached_tokens": of(*fresh),
        "output_tokens": of("text output", "audio output"),
        "input_text_tokens": of("text input"),
        "input_cached_text_tokens": of("cached text input"),
        "input_audio_tokens": of("audio input"),
        "input_cached_audio_tokens": of("cached audio input"),
        "input_image_tokens": of("image input"),
        "input_cached_image_tokens": of("cached image input"),
        "output_text_tokens": of("text output"),
        "output_audio_tokens": of("audio output"),
        "output_image_tokens": 0,
        "num_model_requests": used.requests,
        "batch": None,
        "service_tier": None,
    }


def _transcription(used: Used) -> dict[str, Any]:
    """Seconds are whole, as OpenAI's are."""
    of_tokens = used.quantities.get("audio input", Decimal(0)) / AUDIO_TOKENS_PER_S
    return {
        "object": "organization.usage.audio_transcriptions.result",
        "seconds": round(used.quantities.get("duration", Decimal(0)) + of_tokens),
        "num_model_requests": used.requests,
    }


def _page(query: Query, results: Callable[[int], list[dict[str, Any]]]) -> Mapping[str, Any]:
    starts = query.buckets
    upto = query.skip + query.limit
    data = [
        {"object": "bucket", "start_time": at, "end_time": at + query.width, "results": results(at)}
        for at in starts[query.skip : upto]
    ]
    more = upto < len(starts)
    return {
        "object": "page",
        "data": data,
        "has_more": more,
        "next_page": f"page_{upto}" if more else None,
    }


def _any(used: Used) -> bool:
    return any(used.quantities.values())


def _one(given: Mapping[str, list[str]], name: str, default: str) -> str:
    return given.get(name, [default])[-1]


def _number(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > DIGITS_MAX:
        raise Bad(f"Invalid '{name}': a number is needed.")
    return int(text)


def _error(status: int, message: str) -> Answer:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    phrase = http.HTTPStatus(status).phrase.lower().replace(" ", "_")
    return status, json.dumps({"error": {"message": message, "type": kind, "param": None, "code": phrase}})


def _json(value: Any) -> str:
    """Return JSON whose numbers are exact: a float would not be."""
    match value:
        case Decimal():
            return f"{value:f}"
        case Mapping():
            return "{" + ",".join(f"{json.dumps(name)}:{_json(item)}" for name, item in value.items()) + "}"
        case list():
            return "[" + ",".join(map(_json, value)) + "]"
        case _:
            return json.dumps(value)
