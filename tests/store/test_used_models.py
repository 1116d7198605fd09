"""Models that were used lately, and those that rules allow."""

from datetime import timedelta

from sqlalchemy import Engine

from proxy.core.usage import Meter
from proxy.store.database import reading, writing
from proxy.store.limits import set_model
from proxy.store.used_models import allowed_models, used_models
from tests.ledgers import ACT, MODEL, NOW, Books


def test_models_and_their_meters(database: Engine) -> None:
    """What has no usage is there without meters; what was long ago is not, nor what nobody can price."""
    books = Books(database)
    books.open("s1")
    books.bill("s1", "r1", {Meter.AUDIO_IN: 5, Meter.UNTOLD_IN: 2})
    books.bill("s1", "r2", {Meter.AUDIO_OUT: 5})
    books.bill("s1", "r3", model="unheard-of")
    books.bill("s1", "r4", {Meter.TEXT_IN: 1}, model="old", at=NOW - timedelta(days=40))
    with reading(database) as connection:
        found = used_models(connection, NOW - timedelta(days=30))
    assert found == {MODEL: {Meter.AUDIO_IN, Meter.AUDIO_OUT}, "unheard-of": frozenset()}


def test_models_that_rules_allow(database: Engine) -> None:
    """Once each; a denied one needs no price."""
    key = Books(database).key("acme")
    with writing(database) as connection:
        for model, allowed in (("gpt-realtime*", True), ("gpt-realtime-mini", False)):
            set_model(connection, "acme", model, allowed, act=ACT)
        set_model(connection, "acme", "gpt-realtime*", True, act=ACT, key_id=key.id)
    with reading(database) as connection:
        assert allowed_models(connection) == ["gpt-realtime*"]
