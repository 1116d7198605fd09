"""The HTTP face: paths, keys, refusals, and what an app may ask about its sessions."""

import logging

import msgspec
import pytest

from proxy.core.records import Entry
from proxy.core.refusal import DATABASE_DOWN, Refusal
from tests.relay.peers import KEY, OTHER_KEY, UPSTREAM_KEY, Stage, header, stage, upgrade


async def refused(it: Stage, request: bytes) -> tuple[int, dict[str, str | None]]:
    """Send a request that is refused; return the status and OpenAI's error."""
    head, body, _ = await it.ask(request)
    assert header(head, "Content-Type").startswith("application/json")
    error: dict[str, str | None] = msgspec.json.decode(body)["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    return int(head.split()[1]), error


@pytest.mark.parametrize("path", ["/v1/realtime", "/realtime", "/openai/v1/realtime"])
@pytest.mark.parametrize("query", ["?model=gpt-realtime-2.1", "?intent=transcription", ""])
async def test_every_path_leads_to_the_same_upstream(path: str, query: str) -> None:
    async with stage() as it:
        client = await it.connect(path + query)
        upstream = await it.upstream.peer()
        assert upstream.head.startswith(f"GET /v1/realtime{query} HTTP/1.1\r\n")
        (session_id,) = it.gateway.sessions
        assert header(client.head, "Talkmeter-Session") == session_id


@pytest.mark.parametrize("path", ["/", "/v1/realtime/", "/v1/chat/completions", "/v1/realtime/calls", "/v2"])
async def test_any_other_path_is_not_found(path: str) -> None:
    async with stage() as it:
        status, error = await refused(it, upgrade(path))
        assert (status, error["code"]) == (404, "unknown_url")


async def test_a_plain_get_has_to_upgrade() -> None:
    async with stage() as it:
        status, error = await refused(it, b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (status, error["code"]) == (426, "upgrade_required")


async def test_browsers_prove_themselves_by_subprotocol() -> None:
    async with stage() as it:
        offered = f"realtime, openai-insecure-api-key.{KEY}, openai-agents-sdk.0.20.0"
        client = await it.connect(authorization="", sec_websocket_protocol=offered)
        assert header(client.head, "Sec-WebSocket-Protocol") == "realtime"
        head = (await it.upstream.peer()).head
        assert KEY not in head and "Sec-WebSocket-Protocol" not in head


async def test_no_subprotocol_is_selected_that_was_not_offered() -> None:
    async with stage() as it:
        offered = f"openai-insecure-api-key.{KEY}"
        client = await it.connect(authorization="", sec_websocket_protocol=offered)
        assert not header(client.head, "Sec-WebSocket-Protocol")


async def test_keys_are_checked() -> None:
    async with stage() as it:
        for request in (upgrade(authorization=""), upgrade(authorization="Bearer sk-openai-key")):
            status, error = await refused(it, request)
            assert (status, error["code"]) == (401, "invalid_api_key")
        assert not it.upstream.accepted


async def test_tags_and_users_are_read_and_not_sent_on() -> None:
    async with stage() as it:
        path = "/v1/realtime?model=m&talkmeter-tags=call%3D42&x=1"
        await it.connect(path, talkmeter_user="ann")
        head = (await it.upstream.peer()).head
        assert head.startswith("GET /v1/realtime?model=m&x=1 ") and "talkmeter" not in head.lower()
        (live,) = it.gateway.sessions.values()
        assert live.facts.tags == {"team": "core", "call": "42"}
        assert (live.facts.end_user, live.facts.model, live.facts.account) == ("ann", "m", None)
        status, error = await refused(it, upgrade(talkmeter_tags="nonsense"))
        assert status == 400 and "Talkmeter-Tags" in str(error["message"])


async def test_an_upstream_refusal_is_passed_on_unchanged() -> None:
    async with stage() as it:
        body = b'{"error":{"message":"No such model"}}'
        it.upstream.answer = (
            b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json; charset=utf-8\r\n"
            b"Retry-After: 7\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        head, got, _ = await it.ask(upgrade())
        assert head.startswith("HTTP/1.1 404 ") and got == body
        assert header(head, "Content-Type") == "application/json; charset=utf-8"
        assert header(head, "Retry-After") == "7"
        assert not it.gateway.sessions and not it.journal.records


async def test_an_upstream_that_cannot_be_reached() -> None:
    async with stage(upstream_url="http://127.0.0.1:1/v1") as it:
        status, error = await refused(it, upgrade())
        assert (status, error["code"]) == (502, "upstream_unreachable")


async def test_an_upstream_that_is_too_slow() -> None:
    async with stage(open_timeout_s=0.2) as it:
        it.upstream.is_silent = True
        status, error = await refused(it, upgrade())
        assert (status, error["code"]) == (504, "upstream_timeout")


async def test_no_more_sessions_than_allowed_and_failed_ones_give_their_place_back() -> None:
    async with stage(sessions_max=1) as it:
        it.upstream.answer = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
        for _ in range(3):
            head, _, _ = await it.ask(upgrade())
            assert " 500 " in head
        it.upstream.answer = None
        client, upstream = await it.pair()
        status, error = await refused(it, upgrade())
        assert (status, error["code"]) == (429, "too_many_sessions")
        client.close(1000)
        await upstream.get()
        upstream.close(1000)
        await it.over()
        await it.pair()


async def test_a_full_disk_admits_nobody_and_leaves_the_others() -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        it.journal.accepting = False
        status, error = await refused(it, upgrade())
        assert (status, error["code"]) == (503, "journal_unavailable")
        await upstream.exactly(client.say({"type": "x"}))


async def test_a_catalog_that_cannot_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage() as it:

        async def down(secret: str, now: object) -> Refusal:
            return DATABASE_DOWN

        monkeypatch.setattr(it.catalog, "authenticate", down)
        status, error = await refused(it, upgrade())
        assert (status, error["code"]) == (503, "database_unavailable")


async def test_a_drained_instance_admits_nobody() -> None:
    async with stage() as it:
        await it.gateway.drain()
        status, error = await refused(it, upgrade())
        assert (status, error["code"]) == (503, "draining")


def ask_for(session_id: str, key: str = KEY) -> bytes:
    path = f"/talkmeter/v1/sessions/{session_id}"
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


async def test_an_app_sees_what_its_session_costs_turn_by_turn() -> None:
    async with stage() as it:
        client, upstream = await it.pair()
        await client.exactly(upstream.say({"type": "response.created", "response": {"id": "resp_1"}}))
        usage = {
            "total_tokens": 12,
            "input_tokens": 5,
            "output_tokens": 7,
            "input_token_details": {"text_tokens": 5, "cached_tokens": 0},
            "output_token_details": {"text_tokens": 7},
        }
        response = {"id": "resp_1", "status": "completed", "usage": usage}
        await client.exactly(upstream.say({"type": "response.done", "response": response}))
        (session_id,) = it.gateway.sessions
        head, body, _ = await it.ask(ask_for(session_id))
        assert " 200 " in head
        shown = msgspec.json.decode(body)
        assert (shown["id"], shown["live"], shown["responses"]) == (session_id, True, 1)
        (turn,) = shown["turns"]
        assert (turn["subject_id"], turn["kind"], turn["status"]) == ("resp_1", "response", "completed")
        assert turn["meters"] == {"text_in": 5, "text_out": 7}
        assert turn["cost_usd"] is None  # this catalog has no prices
        assert len(it.journal.of(Entry)) == 1


async def test_another_tenant_sees_nothing() -> None:
    async with stage() as it:
        await it.connect()
        (session_id,) = it.gateway.sessions
        for path, key, status in (
            (session_id, OTHER_KEY, 404),
            ("ses_old", OTHER_KEY, 404),
            ("ses_old", KEY, 200),
            ("ses_none", KEY, 404),
            (session_id, "tm_wrong", 401),
        ):
            head, _, _ = await it.ask(ask_for(path, key))
            assert f" {status} " in head
        status, error = await refused(it, b"GET /talkmeter/v1/sessions/x HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (status, error["code"]) == (401, "invalid_api_key")


async def test_keys_reach_no_log_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with stage() as it:
        client, _ = await it.pair()
        _, body, _ = await it.ask(upgrade(authorization="Bearer tm_unknown_secret"))
        client.say("[]")
        answer = (await client.get()).payload
        for text in (caplog.text, body.decode(), answer.decode(), client.head):
            assert not any(key in text for key in (KEY, UPSTREAM_KEY, "tm_unknown_secret"))


async def test_refusals_are_counted() -> None:
    async with stage() as it:
        await refused(it, upgrade("/nowhere"))
        value = it.metrics.registry.get_sample_value("talkmeter_refusals_total", {"refusal": "not_found"})
        assert value == 1
