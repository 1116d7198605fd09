"""Asking all questions beside each other, for so long: what never answers keeps nobody waiting."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from proxy.admin.listen import ListenError
from proxy.checks.findings import Finding, failed, not_asked
from proxy.settings import Settings, SettingsError
from proxy.store import StoreError

QUESTION_S = 10.0

Ask = Callable[[Settings], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked together, since one needs the other.

    `ask` yields a finding for each of `names`, in their order. Where it raises what a person can put right,
    the next one has failed, and the rest is not asked. `to_do` is what helps then.
    """

    names: Sequence[str]
    ask: Ask
    to_do: str


@dataclass(slots=True)
class _Answer:
    """What a thread has found until now, and how it ended."""

    question: Question
    found: list[Finding] = field(default_factory=list)
    problem: str | None = None
    bug: BaseException | None = None


def ask_all(
    questions: Sequence[Question], settings: Settings, *, question_s: float = QUESTION_S
) -> list[Finding]:
    """Return a finding for every name of every question, in order, after `question_s` at the latest."""
    ends_at = time.monotonic() + question_s
    asked = [_start(question, settings) for question in questions]
    found: list[Finding] = []
    for answer, thread in asked:
        thread.join(max(0.0, ends_at - time.monotonic()))
        if answer.bug is not None:
            raise answer.bug
        late = f"no answer within {question_s:g} s" if thread.is_alive() else None
        found += _complete(answer.question, list(answer.found), late or answer.problem)
    return found


def _start(question: Question, settings: Settings) -> tuple[_Answer, threading.Thread]:
    """Ask in a thread that keeps no process from ending: some calls of the system cannot be ended."""
    answer = _Answer(question)
    thread = threading.Thread(target=_run, args=(answer, settings), name=question.names[0], daemon=True)
    thread.start()
    return answer, thread


def _run(answer: _Answer, settings: Settings) -> None:
    try:
        for finding in answer.question.ask(settings):
            answer.found.append(finding)
    except (SettingsError, StoreError, ListenError) as problem:
        answer.problem = str(problem)
    except BaseException as bug:  # noqa: BLE001  raised again by who waits
        answer.bug = bug


def _complete(question: Question, found: list[Finding], problem: str | None) -> list[Finding]:
    """Return the findings with those that are missing: the first of them failed, the rest needed it."""
    left = list(question.names[len(found) :])
    if problem is not None and left:
        found.append(failed(left[0], problem, question.to_do))
        found += [not_asked(name, f"{left[0]!r} has to be right first") for name in left[1:]]
    assert [one.name for one in found] == list(question.names)
    return found
