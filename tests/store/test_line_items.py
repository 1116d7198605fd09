"""Rules for the lines of the bill: they come with the tables, and are set and removed by people."""

import pytest
from sqlalchemy import Engine

from proxy.core.line_items import Meant, Rule
from proxy.core.usage import Meter
from proxy.store import NotFound, StoreError, line_items
from proxy.store.audit import list_audit
from proxy.store.database import reading, writing
from proxy.store.line_items import find_rule, list_rules, load_line_items, remove_rule, set_rule
from proxy.store.pages import Page
from tests.bill_rules import DEFAULTS
from tests.ledgers import ACT

MINE = Rule("Voice *", Meter.AUDIO_OUT, "gpt-realtime")


def test_the_defaults_are_there(database: Engine) -> None:
    with reading(database) as connection:
        rules = list_rules(connection)
        assert {one.rule for one in rules} == set(DEFAULTS)
        first = list_rules(connection, Page(limit=2))
        after = list_rules(connection, Page(limit=20, after=(first[-1].rule.name,)))
    assert sorted(rules, key=lambda one: one.rule.name) == [*first, *after]


def test_rules_are_set_changed_and_removed_and_the_audit_log_says_so(database: Engine) -> None:
    with writing(database) as connection:
        made = set_rule(connection, MINE, ACT)
        assert load_line_items(connection).find("voice of today") == Meant("gpt-realtime", Meter.AUDIO_OUT)
        set_rule(connection, Rule(MINE.name, None), ACT)
        assert load_line_items(connection).find("voice of today") == Meant("", None)
        gone = remove_rule(connection, MINE.name, ACT)
        assert load_line_items(connection).find("voice of today") is None
        remove_rule(connection, "*, audio input", ACT)  # one of the defaults too
        noted = [(one.action, one.object, one.before, one.after) for one in list_audit(connection)]
    first, second = made.as_json(), gone.as_json()
    assert (first.pop("set_at"), second.pop("set_at")) == (ACT.at, ACT.at)
    assert first == {"name": "Voice *", "model": "gpt-realtime", "meter": "audio_out"}
    assert noted[:3] == [
        ("line_item.set", "Voice *", None, first),
        ("line_item.set", "Voice *", first, second),
        ("line_item.remove", "Voice *", second, None),
    ]


def test_what_cannot_be(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with writing(database) as connection:
        with pytest.raises(StoreError, match="which model"):
            set_rule(connection, Rule("audio", Meter.AUDIO_IN), ACT)
        with pytest.raises(NotFound, match="no rule 'audio': the list of rules"):
            remove_rule(connection, "audio", ACT)
        with pytest.raises(NotFound):
            find_rule(connection, "audio")
        monkeypatch.setattr(line_items, "RULES_MAX", len(DEFAULTS))
        with pytest.raises(StoreError, match="at most 12 rules"):
            set_rule(connection, MINE, ACT)
        set_rule(connection, Rule("*, duration", None), ACT)
