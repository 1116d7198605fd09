"""For tests: what `talkmeter check` finds with some settings."""

from pathlib import Path
from typing import Any

from proxy.checks import Finding, Status
from proxy.checks.asking import Ask, Question, ask_all
from proxy.checks.questions import QUESTIONS
from tests.apps import settings_in

OK, WARNING, FAILED, NOT_ASKED = Status
NOWHERE = "http://127.0.0.1:1/v1"


def found(folder: Path, *asked: Ask, **changes: Any) -> dict[str, Finding]:
    """Return the findings of these questions, of all when none is named, by name."""
    changes.setdefault("upstream_url", NOWHERE)
    questions: list[Question] = [one for one in QUESTIONS if not asked or one.ask in asked]
    return {one.name: one for one in ask_all(questions, settings_in(folder, **changes))}
