"""What reports are asked with on the command line: what cannot be meant ends it with 2, and what to do."""

import pytest

from proxy.core.usage import Meter
from tests.cli.conftest import Talkmeter, said
from tests.ledgers import Books
from tests.scheduling import EMBEDDED

HOSTILE = ("", "x" * 3_000, "a\x1b[31m\nb", "\udcff", "'; DROP TABLE tenant; --", "9999-12-31", "tag:")
ANY = ("--key", "--model", "--session", "--end-user", "--status")  # an unknown one is of nothing
NAMED = ("--tenant", "--project")
CHECKED = ("--from", "--to", "--period", "--tz", "--kind", "--meter", "--modality", "--format", "--basis")


@pytest.fixture
def spent(books: Books) -> Books:
    books.open("s1", "acme", "web", tags={"team": "a"})
    books.bill("s1", "r1", {Meter.AUDIO_IN: 1_000})
    return books


@EMBEDDED
@pytest.mark.parametrize("command", [("report",), ("report", "compare")], ids=" ".join)
def test_what_no_option_should_be(talkmeter: Talkmeter, spent: Books, command: tuple[str, ...]) -> None:
    for option in (*CHECKED, *NAMED, *ANY, "--group-by", "--tag"):
        if command == ("report", "compare") and option in ("--period", "--format", "--session"):
            continue
        for value in HOSTILE:
            ran = talkmeter.run(*command, f"{option}={value}")
            text = said(ran.err)
            if option in ANY:
                assert ran.code == 0, (option, value, ran)
            elif option in NAMED:
                assert ran.code == 1 and f"no {option[2:]} " in text, (option, value, ran)
            elif ran.code != 0:
                assert ran.code == 2 and ran.out == "", (option, value, ran)
                assert any(one in text for one in (option, "give", "write", "use")), (option, value, text)
            else:
                assert option in ("--group-by", "--to", "--from"), (option, value, ran)


@EMBEDDED
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--from", "2026-12-01", "--to", "2026-11-01"), "'2026-11-01' is not after --from '2026-12-01'"),
        (("--group-by", "model,model"), "each once"),
        (("--group-by", "tenant,project,key,model,kind,meter,day"), "at most 6 things"),
        (("--meter", "audio_in", "--modality", "text"), "give one of the two filters"),
        (("--kind", "gift"), "'gift' is no kind: use one of response"),
        (("--tag", "team"), "write NAME=VALUE"),
        (("--basis", "period", "--from", "2026-10-02"), "give 2026-10-01 or 2026-11-01"),
        (("--basis", "period", "--from", "2026-10-01", "--period", "2026-10"), "with --basis period"),
        (("--limit", "3"), "No such option"),
    ],
)
def test_what_cannot_be_meant(talkmeter: Talkmeter, words: tuple[str, ...], problem: str) -> None:
    assert problem in said(talkmeter.fails("report", *words, code=2))
