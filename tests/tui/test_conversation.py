"""What the model is sent follows from what was asked, answered and stopped."""

from __future__ import annotations

from engine.protocol.events import Finished
from engine.protocol.values import ChatMessage, FinishReason, GenerationStats
from modelfiles.model import Message
from tui.conversation import Answer, AnswerState, Conversation

STATS = GenerationStats(
    n_prompt=10, n_reused=0, n_decoded=30, prefill_s=0.5, decode_s=0.5, n_ctx=512
)


def finished(text: str, reason: FinishReason = "stop", error: str = "") -> Finished:
    return Finished(1, reason, text, STATS, error=error)


def contents(conversation: Conversation) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in conversation.prompt()]


def answered(conversation: Conversation, question: str, answer: Finished) -> Answer:
    conversation.ask(question)
    return conversation.end_answer(conversation.begin_answer("demo", "base"), answer)


def test_system_and_opening_come_before_the_turns() -> None:
    conversation = Conversation()
    conversation.restart("Be brief.", [Message("user", "a"), Message("assistant", "b")], "demo")
    answered(conversation, "c", finished("d"))
    conversation.ask("e")
    assert contents(conversation) == [
        ("system", "Be brief."),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
        ("assistant", "d"),
        ("user", "e"),
    ]


def test_a_stopped_answer_is_part_of_the_conversation() -> None:
    conversation = Conversation()
    answer = answered(conversation, "a", finished("half", "cancelled"))
    assert answer.state is AnswerState.STOPPED
    conversation.ask("b")
    assert contents(conversation) == [("user", "a"), ("assistant", "half"), ("user", "b")]


def test_a_question_stopped_before_its_answer_is_joined_to_the_next_one() -> None:
    conversation = Conversation()
    answered(conversation, "a", finished("", "cancelled"))
    conversation.ask("b")
    assert contents(conversation) == [("user", "a\n\nb")]


def test_a_question_that_could_not_be_answered_does_not_spoil_the_next_one() -> None:
    conversation = Conversation()
    answered(conversation, "a", finished("b"))
    answered(conversation, "far too long", finished("", "failed", "It does not fit."))
    conversation.ask("c")
    assert contents(conversation) == [("user", "a"), ("assistant", "b"), ("user", "c")]


def test_a_question_that_could_not_be_answered_can_be_asked_again() -> None:
    conversation = Conversation()
    answered(conversation, "a", finished("", "failed", "It broke."))
    assert len(conversation.take_back_answers()) == 1
    assert contents(conversation) == [("user", "a")]


def test_a_failed_answer_keeps_the_text_that_had_come() -> None:
    conversation = Conversation()
    conversation.ask("a")
    answer = conversation.grow_answer(conversation.begin_answer("demo", "base"), "half")
    failed = conversation.end_answer(answer, finished("", "failed", "It broke."))
    assert (failed.text, failed.state, failed.error) == ("half", AnswerState.FAILED, "It broke.")


def test_speed_is_that_of_decoding() -> None:
    assert answered(Conversation(), "a", finished("b")).tokens_per_s == 60


def test_only_the_answers_after_the_last_question_are_taken_back() -> None:
    conversation = Conversation()
    conversation.restart(None, [Message("user", "x"), Message("assistant", "y")], "demo")
    assert conversation.take_back_answers() == ()
    first = answered(conversation, "a", finished("b"))
    second = answered(conversation, "c", finished("d"))
    assert conversation.take_back_answers() == (second,)
    assert conversation.take_back_answers() == ()
    assert conversation.entries[-2] == first
    assert conversation.prompt()[-1] == ChatMessage("user", "c")


def test_the_answer_to_copy_is_the_last_one_with_text_that_has_ended() -> None:
    conversation = Conversation()
    first = answered(conversation, "a", finished("b", "cancelled"))
    answered(conversation, "c", finished("", "failed", "It broke."))
    conversation.ask("d")
    conversation.grow_answer(conversation.begin_answer("demo", "base"), "writing")
    assert conversation.last_answer == first


def test_a_restart_forgets_the_turns_but_not_the_opening() -> None:
    conversation = Conversation()
    conversation.restart(None, [Message("user", "x"), Message("assistant", "y")], "demo")
    answered(conversation, "a", finished("b"))
    conversation.restart(conversation.system, conversation.opening, "demo")
    assert [entry.text for entry in conversation.entries] == ["x", "y"]
    assert conversation.last_question is None
