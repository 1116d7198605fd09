"""Costs and usage as the organisation reads them: its own sums, shown late, page by page."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from proxy.simulator.options import Options
from proxy.simulator.prices import response_usd, transcription_usd
from proxy.simulator.reports import Reports, payer_of
from proxy.simulator.truth import TruthFile
from proxy.simulator.usage import Counts, Generated, response_usage, transcription_usage
from tests.simulator.talk import MODEL, connected, simulating

DAY = 86_400
NOON = 1_000 * DAY + DAY // 2
ADMIN = "sk-admin-simulator"
USAGE = response_usage(Counts(119, 13, 0), Counts(64, 3, 0), Generated(30, 91))
COSTS, USED, HEARD = (
    f"/v1/organization/{name}" for name in ("costs", "usage/completions", "usage/audio_transcriptions")
)
ALL = [("group_by", "project_id"), ("group_by", "line_item"), ("group_by", "api_key_id")]


class Account:
    """Reports that a truth file fills, at an hour that tests set."""

    def __init__(self, path: Path | None = None, **options: Any) -> None:
        self.now = float(NOON)
        self.reports = Reports(Options(clock=lambda: self.now, **options))
        self.truth = TruthFile(path, lambda: self.now, self.reports.add)

    def respond(self, name: str = "r", model: str = "gpt-realtime-2.1", **more: Any) -> None:
        payer = more.pop("payer", ("proj_a", "key_1"))
        values = {"usage": USAGE} | more
        self.truth.write("response", "s", name, model=model, status="completed", payer=payer, **values)

    def ask(self, path: str, *query: tuple[str, object], key: str = ADMIN) -> tuple[int, Any]:
        status, body = self.reports.answer(path, urlencode(query), key)
        return status, json.loads(body, parse_float=Decimal)

    def results(self, path: str, *query: tuple[str, object]) -> list[dict[str, Any]]:
        """Return the results of the day."""
        status, page = self.ask(path, ("start_time", NOON), *query)
        assert status == 200
        (bucket,) = page["data"]
        assert (bucket["start_time"], bucket["end_time"]) == (1_000 * DAY, 1_001 * DAY)
        found: list[dict[str, Any]] = bucket["results"]
        return found


def test_costs_by_line_item_are_what_the_prices_say() -> None:
    account = Account()
    account.respond("r1")
    account.respond("r2")
    lines = {one["line_item"]: one for one in account.results(COSTS, *ALL)}
    assert lines["gpt-realtime-2.1, cached text input"] == {
        "object": "organization.costs.result",
        "amount": {"value": Decimal("0.0000512"), "currency": "usd"},  # 2 × 64 × 0.40 a million
        "project_id": "proj_a",
        "line_item": "gpt-realtime-2.1, cached text input",
        "api_key_id": "key_1",
        "quantity": 128,
        "quantity_unit": "tokens",
    }
    assert "gpt-realtime-2.1, image input" not in lines
    total = response_usd("gpt-realtime-2.1", USAGE)
    assert total and sum(one["amount"]["value"] for one in lines.values()) == 2 * total
    (whole,) = account.results(COSTS)
    assert whole["amount"]["value"] == 2 * total and whole["line_item"] is whole["quantity"] is None


def test_usage_leaves_out_what_was_cached_of_each_modality() -> None:
    account = Account()
    account.respond()
    (used,) = account.results(USED, ("group_by", "model"))
    assert (used["model"], used["project_id"], used["num_model_requests"]) == ("gpt-realtime-2.1", None, 1)
    assert (used["input_tokens"], used["input_cached_tokens"], used["input_uncached_tokens"]) == (132, 67, 65)
    assert (used["input_text_tokens"], used["input_cached_text_tokens"]) == (119 - 64, 64)
    assert (used["input_audio_tokens"], used["input_cached_audio_tokens"]) == (13 - 3, 3)
    assert (used["output_text_tokens"], used["output_audio_tokens"], used["output_tokens"]) == (30, 91, 121)


def test_transcriptions_count_seconds() -> None:
    account = Account()
    for model, by_duration in (("whisper-1", True), ("gpt-4o-transcribe", False)):
        usage = transcription_usage(3_400 * 24, "a name", "What was said.", by_duration=by_duration)
        usd = transcription_usd(model, usage)
        account.truth.write(
            "transcription", "s", model, model=model, status="completed", usage=usage, usd=usd
        )
    heard = {one["model"]: one["seconds"] for one in account.results(HEARD, ("group_by", "model"))}
    assert heard == {"whisper-1": 3, "gpt-4o-transcribe": 3}
    lines = {one["line_item"]: one for one in account.results(COSTS, *ALL)}
    assert lines["whisper-1, duration"]["quantity"] == Decimal("3.4")
    assert lines["whisper-1, duration"]["quantity_unit"] == "duration_seconds"
    assert lines["gpt-4o-transcribe, audio input"]["quantity"] == 34
    assert account.results(USED) == []


def test_what_was_billed_is_shown_after_a_delay() -> None:
    account = Account(reporting_delay_s=600)
    account.respond()
    account.now += 599
    assert account.results(USED) == []
    account.now += 61
    assert len(account.results(USED)) == 1


def test_duplicates_are_counted_once_and_what_was_bent_as_it_was() -> None:
    account = Account()
    account.respond("r1")
    account.respond("r1", duplicate=True)
    account.respond("r2", usage=None, fault="null_usage", real=USAGE)
    account.truth.write("opened", "s", "r3", model="gpt-realtime-2.1", status="in_progress")
    assert account.results(USED)[0]["num_model_requests"] == 2


def test_a_model_without_a_price_is_billed_as_another() -> None:
    account = Account(billed_as={"gpt-new": "gpt-realtime-2.1"})
    account.respond(model="gpt-new")
    account.respond(model="gpt-newer")
    assert {one["line_item"].partition(",")[0] for one in account.results(COSTS, *ALL)} == {"gpt-new"}


def test_only_some_projects_keys_and_models() -> None:
    account = Account()
    account.respond(payer=("proj_a", "key_1"))
    account.respond(payer=("proj_b", "key_2"), model="gpt-realtime-mini")
    for wanted in (("project_ids", "proj_b"), ("api_key_ids[]", "key_2"), ("models", "gpt-realtime-mini")):
        (used,) = account.results(USED, wanted, ("group_by[]", "project_id"), ("group_by[]", "api_key_id"))
        assert (used["project_id"], used["api_key_id"]) == ("proj_b", "key_2")


def test_pages_and_widths() -> None:
    account = Account()
    account.respond()
    query = [("start_time", NOON - 2 * DAY), ("end_time", NOON), ("limit", 2)]
    _, first = account.ask(USED, *query)
    assert [len(bucket["results"]) for bucket in first["data"]] == [0, 0] and first["has_more"]
    _, last = account.ask(USED, *query, ("page", first["next_page"]))
    assert [len(bucket["results"]) for bucket in last["data"]] == [0]  # the end is not in it
    assert (last["has_more"], last["next_page"]) == (False, None)
    _, hours = account.ask(
        USED, ("start_time", NOON - 3_600), ("end_time", NOON + 60), ("bucket_width", "1h")
    )
    assert [len(bucket["results"]) for bucket in hours["data"]] == [0, 1]


@pytest.mark.parametrize(
    ("path", "query", "said"),
    [
        (COSTS, {"bucket_width": "1h"}, "bucket_width"),
        (COSTS, {"limit": "181"}, "from 1 to 180"),
        (USED, {"limit": "32"}, "from 1 to 31"),
        (USED, {"group_by": "line_item"}, "'line_item'"),
        (USED, {"start_time": ""}, "start_time"),
        (USED, {"page": "next"}, "page"),
        (COSTS, {"end_time": "9" * 20}, "end_time"),
        (COSTS, {"start_time": "9" * 5_000}, "start_time"),
    ],
)
def test_what_cannot_be_asked(path: str, query: dict[str, str], said: str) -> None:
    status, body = Account().ask(path, *({"start_time": "1"} | query).items())
    assert status == 400 and said in body["error"]["message"]


def test_keys_and_failures() -> None:
    account = Account()
    assert [account.ask(COSTS, key=key)[0] for key in ("sk-simulator", "", ADMIN)] == [403, 401, 400]
    account.reports.failures = [429, 500]
    assert [account.ask(COSTS, ("start_time", NOON))[0] for _ in range(3)] == [429, 500, 200]


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    before = Account(path)
    before.respond()
    before.truth.close()
    after = Account(path)
    after.truth.close()
    assert after.results(COSTS, *ALL) == before.results(COSTS, *ALL)


async def test_served_over_http_beside_the_sessions() -> None:
    async with simulating() as simulator:
        async with connected(simulator, MODEL, headers={"OpenAI-Project": "proj_x"}) as client:
            await client.respond()
        url = f"http://127.0.0.1:{simulator.port}{USED}?start_time=0&limit=31&group_by=api_key_id"
        headers = {"Authorization": f"Bearer {ADMIN}"}
        start = f"&start_time={int(simulator.options.clock()) - 60}&group_by=project_id"
        async with aiohttp.ClientSession(headers=headers) as http, http.get(url + start) as answer:
            page = await answer.json()
    used = [one for bucket in page["data"] for one in bucket["results"]]
    assert [(one["project_id"], one["api_key_id"]) for one in used] == [payer_of("proj_x", "sk-simulator")]
