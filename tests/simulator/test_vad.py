"""The input buffer: lengths, and speech heard in it at the right moments."""

import pytest

from proxy.simulator.audio import PCM, PCMA, PCMU, Format, silence, tone
from proxy.simulator.vad import Detection, Heard, InputBuffer

DETECTION = Detection(peak_min=1_000, prefix_ms=300, silence_ms=200)


def buffer(detection: Detection | None = DETECTION, fmt: Format = PCM) -> InputBuffer:
    made = InputBuffer()
    made.configure(fmt, detection)
    return made


def hear(into: InputBuffer, sound: bytes, piece: int = 960) -> list[tuple[Heard, int]]:
    """Append in pieces; return what was heard and how long the buffer was then, in ms."""
    heard = []
    for at in range(0, len(sound), piece):
        for event in into.append(sound[at : at + piece]):
            heard.append((event, into.ticks // 24))
            if event.what == "stopped":
                into.take()
    return heard


@pytest.mark.parametrize("piece", [960, 1, 7, 4_800, 1_000_000])
@pytest.mark.parametrize("fmt", [PCM, PCMU, PCMA])
def test_speech_is_heard_where_it_is_however_it_comes_in(piece: int, fmt: Format) -> None:
    sound = silence(1_000, fmt) + tone(600, fmt) + silence(500, fmt)
    # the frame in which speech starts begins at 1000 ms, 300 of padding before it; it ends at 1600 + 200
    assert hear(buffer(fmt=fmt), sound, piece) == [
        (Heard("started", 700), 320),
        (Heard("stopped", 1_800), 1_100),
    ]


def test_padding_is_no_longer_than_what_there_was() -> None:
    assert hear(buffer(), tone(100))[0] == (Heard("started", 0), 20)


def test_a_short_pause_does_not_end_a_turn() -> None:
    sound = tone(200) + silence(180) + tone(200) + silence(300)
    assert [event.what for event, _ in hear(buffer(), sound)] == ["started", "stopped"]


def test_two_turns_in_one_append() -> None:
    sound = (tone(200) + silence(700)) * 2
    assert [event for event, _ in hear(buffer(), sound, len(sound))] == [
        Heard("started", 0),
        Heard("stopped", 400),
        Heard("started", 600),
        Heard("stopped", 1_300),
    ]


def test_without_detection_everything_counts() -> None:
    manual = buffer(None)
    assert hear(manual, tone(150) + silence(850)) == []
    assert manual.take() == 24_000
    assert manual.ticks == 0


def test_half_a_sample_waits_for_its_other_half() -> None:
    manual = buffer(None)
    list(manual.append(b"\x01"))
    assert manual.ticks == 0
    list(manual.append(b"\x02"))
    assert manual.ticks == 1


def test_switching_detection_off_keeps_what_was_heard() -> None:
    changed = buffer()
    hear(changed, tone(210))
    changed.configure(PCM, None)
    hear(changed, tone(90))
    assert changed.take() == 300 * 24


def test_settings_become_a_detection() -> None:
    server = {"type": "server_vad", "threshold": 0.9, "prefix_padding_ms": 100, "silence_duration_ms": 500}
    assert Detection.of(server) == Detection(1_800, 100, 500)
    assert Detection.of({"type": "semantic_vad", "eagerness": "high"}) == Detection(1_000, 300, 200)


def test_who_does_not_speak_after_a_response_is_waited_for_in_vain() -> None:
    waiting = buffer(Detection(1_000, 300, 200, idle_ms=5_000))
    assert hear(waiting, silence(6_000)) == []  # nobody has answered anything yet
    waiting.wait()
    assert hear(waiting, silence(5_000)) == [(Heard("timed_out", 11_000), 5_000)]
    assert waiting.take() == 5_000 * 24
    assert hear(waiting, silence(6_000)) == []
    waiting.wait()
    spoken = [event.what for event, _ in hear(waiting, tone(300) + silence(9_000))]
    assert spoken == ["started", "stopped"]
