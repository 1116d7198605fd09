"""What the next response's input is predicted to be."""

from proxy.core import events
from proxy.core.conversation import PCM_BYTES_PER_S, Conversation, Settings, UserAudio
from proxy.core.usage import Meter, Usage

SECOND = 64_000  # base64 characters of PCM


def test_before_any_bill_the_input_is_what_was_put_in() -> None:
    conversation = Conversation()
    conversation.take(events.SessionUpdateAsked(text_chars=400))
    conversation.take(events.SessionUpdateAsked(text_chars=0))  # of other settings: instructions stay
    conversation.take(events.ItemAsked(text_chars=8, audio_chars=SECOND, images=1))
    conversation.take(events.InputAudio(3 * SECOND))
    assert conversation.commit() == 3_000
    assert conversation.predict() == {Meter.TEXT_IN: 102, Meter.AUDIO_IN: 40, Meter.IMAGE_IN: 400}


def test_the_answer_becomes_input_and_the_context_is_cached_as_it_was_before() -> None:
    conversation = Conversation()
    conversation.bill(Usage({Meter.TEXT_IN: 100, Meter.TEXT_OUT: 10, Meter.AUDIO_OUT: 50}))
    first = conversation.predict()
    assert (first[Meter.TEXT_IN], first[Meter.AUDIO_IN], first[Meter.TEXT_IN_CACHED]) == (110, 50, 0)
    # 80 of the 100 tokens that could have been cached were.
    conversation.bill(Usage({Meter.TEXT_IN: 30, Meter.TEXT_IN_CACHED: 80, Meter.AUDIO_IN: 50}))
    conversation.add(Meter.AUDIO_IN, 7)
    second = conversation.predict()
    assert (second[Meter.TEXT_IN], second[Meter.TEXT_IN_CACHED]) == (22, 88)
    assert (second[Meter.AUDIO_IN], second[Meter.AUDIO_IN_CACHED]) == (17, 40)


def test_a_bill_of_nothing_predicts_nothing() -> None:
    """A response that was cancelled before it began says nothing about the context."""
    conversation = Conversation(instructions=9)
    conversation.bill(Usage())
    assert conversation.predict() == {Meter.TEXT_IN: 9}


def test_speech_is_what_turn_detection_heard_else_all_that_was_appended() -> None:
    audio = UserAudio(PCM_BYTES_PER_S, chars=10 * SECOND)
    audio.speech(1_000, None)
    audio.speech(None, 3_500)
    assert audio.commit() == 2_500
    audio.chars = 2 * SECOND
    audio.speech(None, 9_000)  # an end without its start
    assert audio.commit() == 2_000
    assert audio.commit() == 0


def test_settings_that_are_not_told_stay() -> None:
    settings = Settings("asked-for")
    settings.take(
        events.SessionConfigured(
            created=True, model="told", transcription_model="ears", transcription_told=True
        )
    )
    settings.take(events.SessionConfigured(created=False, answers_by_itself=True, output_bytes_per_s=8_000))
    assert settings == Settings("told", "ears", answers_by_itself=True, output_bytes_per_s=8_000)
    settings.take(events.SessionConfigured(created=False, transcription_told=True))
    assert settings.transcription_model is None
