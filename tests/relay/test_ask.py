"""What a client may ask for, and what is wrong with it."""

import pytest
from multidict import CIMultiDict

from proxy.core.refusal import KEY_MISSING, Refusal
from proxy.relay.ask import Ask, read_ask, read_secret, read_tags, split_query

KEY = {"authorization": "Bearer tm_1"}


def ask(
    headers: dict[str, str] | None = None, query: str = "", offered: tuple[str, ...] = ()
) -> Ask | Refusal:
    return read_ask(CIMultiDict(KEY if headers is None else headers), query, offered)


@pytest.mark.parametrize(
    ("headers", "offered", "secret"),
    [
        ({"Authorization": "Bearer tm_1"}, (), "tm_1"),
        ({"authorization": "bearer  tm_1 "}, (), "tm_1"),
        ({"api-key": "tm_2"}, (), "tm_2"),
        ({}, ("realtime", "openai-insecure-api-key.tm_3", "openai-agents-sdk.1"), "tm_3"),
        ({"Authorization": "Bearer tm_1", "api-key": "tm_2"}, ("openai-insecure-api-key.tm_3",), "tm_1"),
        ({"Authorization": "Basic dTpw", "api-key": "tm_2"}, (), "tm_2"),
    ],
)
def test_keys_are_found_wherever_clients_put_them(
    headers: dict[str, str], offered: tuple[str, ...], secret: str
) -> None:
    assert read_secret(CIMultiDict(headers), offered) == secret


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"api-key": ""},
        {"Authorization": "Bearer " + "x" * 513},
        {"api-key": "tm_\udcff"},
    ],
)
def test_without_a_key_nobody_is_let_in(headers: dict[str, str]) -> None:
    assert read_secret(CIMultiDict(headers)) is KEY_MISSING


@pytest.mark.parametrize("header", ["Authorization", "api-key", "Talkmeter-User", "Talkmeter-Tags"])
def test_a_header_that_stands_there_twice_is_refused(header: str) -> None:
    """What stands before us may have looked at the other one."""
    headers = CIMultiDict(KEY)
    headers.popall(header, None)
    headers.add(header, "Bearer tm_1")
    headers.add(header, "Bearer tm_2")
    refusal = read_ask(headers, "", ())
    assert isinstance(refusal, Refusal) and (refusal.http_status, header in refusal.message) == (400, True)


def test_a_key_does_not_show() -> None:
    assert "tm_1" not in repr(ask())


def test_the_query_goes_upstream_byte_for_byte_but_for_ours() -> None:
    raw = "model=gpt%2Drealtime&Talkmeter-Tags=a%3Db&x=%C3%A4+%20&TALKMETER-USER=u+1&api-key=tm_1&empty="
    theirs, ours = split_query(raw)
    assert theirs == "model=gpt%2Drealtime&x=%C3%A4+%20&empty="
    assert ours == {"talkmeter-tags": "a=b", "talkmeter-user": "u 1"}


@pytest.mark.parametrize(
    ("query", "model"),
    [
        ("model=gpt%2Drealtime-2.1", "gpt-realtime-2.1"),
        ("intent=transcription", None),
        ("", None),
        ("model=", None),
        ("model=" + "x" * 257, None),
        ("model=gpt%00realtime", None),
        ("model=gpt%0d%0arealtime", None),
        ("model=a%2Cb&model=c", "a,b"),
    ],
)
def test_the_model_is_what_the_url_names(query: str, model: str | None) -> None:
    asked = ask(query=query)
    assert isinstance(asked, Ask) and asked.model == model


@pytest.mark.parametrize(
    ("headers", "query", "user"),
    [
        ({"Talkmeter-User": "ann"}, "Talkmeter-User=bob", "ann"),
        ({}, "talkmeter-user=bob", "bob"),
        ({"OpenAI-Safety-Identifier": "hash"}, "", "hash"),
        ({"OpenAI-Safety-Identifier": "hash", "Talkmeter-User": "ann"}, "", "ann"),
        ({}, "", None),
    ],
)
def test_the_end_user(headers: dict[str, str], query: str, user: str | None) -> None:
    asked = ask(KEY | headers, query)
    assert isinstance(asked, Ask) and asked.end_user == user


def test_tags() -> None:
    assert read_tags("") == {}
    assert read_tags("team=a, call=42") == {"team": "a", "call": "42"}
    assert read_tags(" team = support desk ,url=a=b,") == {"team": "support desk", "url": "a=b"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("team", "must look like"),
        ("=a", "must look like"),
        ("te am=a", "must look like"),
        ("x" * 41 + "=a", "must look like"),
        ("team=", "'team'"),
        ("team=" + "x" * 101, "'team'"),
        ("team=a\x00", "'team'"),
        ("team=\udcc3", "'team'"),
        ("team=a,team=b", "twice"),
        (",".join(f"t{n}=1" for n in range(9)), "at most 8"),
    ],
)
def test_bad_tags_are_named(text: str, problem: str) -> None:
    refusal = read_tags(text)
    assert isinstance(refusal, Refusal) and refusal.http_status == 400
    assert problem in refusal.message and "Talkmeter-Tags" in refusal.message
    again = ask(KEY | {"talkmeter-tags": text})
    assert again == refusal


@pytest.mark.parametrize("user", ["x" * 201, "a\nb"])
def test_a_bad_user_is_named(user: str) -> None:
    refusal = ask(KEY | {"talkmeter-user": user})
    assert isinstance(refusal, Refusal) and "Talkmeter-User" in refusal.message
