"""The pairwise judge over HTTP: positions, causes, and that silence is never a loss."""

import asyncio

import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.limits import Budget
from longform.endpoints.models import ModelSpec
from longform.judging.answers import fence_tag, read_fences
from longform.judging.pairwise import PairwiseJudge, Position, ask_pairwise
from longform.records.calls import MemoryCallLog
from longform.records.errors import BadInputError, StoppedError
from longform.records.schemas import Criterion, Prompt

PROMPT = Prompt(id="p1", prompt="Write a story about a lighthouse.")
GOOD = "The good story."
BAD = "The bad story."


def prefers_good(request, number):
    """A judge that names the text that says it is good."""
    texts = read_fences(request["messages"][0]["content"])
    if GOOD not in (texts["TEXT A"], texts["TEXT B"]):
        return "Equal. [[C]]"
    return "I like it. [[A]]" if texts["TEXT A"] == GOOD else "I like it. [[B]]"


def judge(
    server, response, reference, *, position: Position = "second", spec=None, budget=None, step=1, log=None, **settings
):
    async def work():
        made = ModelSpec(base_url=server.url, model="judge", **{"retries": 0, **(spec or {})})
        async with Endpoint(
            "j", made, call_log=log or MemoryCallLog(), budget=budget, backoff_seconds=0.001
        ) as endpoint:
            pairwise = PairwiseJudge(endpoint, position=position, secret=b"s", **settings)
            return await pairwise.compare(PROMPT, response=response, reference=reference, step=step)

    return asyncio.run(work())


@pytest.mark.parametrize("position", ["first", "second", "both"])
@pytest.mark.parametrize(
    ("response", "reference", "outcome"), [(GOOD, BAD, "win"), (BAD, GOOD, "loss"), (BAD, "Another bad story.", "tie")]
)
def test_the_better_text_wins_in_every_position(serve, position, response, reference, outcome):
    server = serve(prefers_good)
    verdict = judge(server, response, reference, position=position)
    assert (verdict.value, verdict.cause) == (outcome, None)
    assert len(verdict.calls) == len(server.requests) == (2 if position == "both" else 1)


@pytest.mark.parametrize(
    ("letter", "first", "second"), [("A", "win", "loss"), ("B", "loss", "win"), ("C", "tie", "tie")]
)
def test_swapping_the_order_mirrors_the_verdict(serve, letter, first, second):
    server = serve(lambda request, number: f"[[{letter}]]")
    assert judge(server, GOOD, BAD, position="first").value == first
    assert judge(server, GOOD, BAD, position="second").value == second


def test_a_judge_that_always_takes_the_first_text_gives_ties_in_both_orders(serve):
    assert judge(serve(lambda request, number: "[[A]]"), GOOD, BAD, position="both").value == "tie"


def test_one_missing_verdict_of_two_is_no_verdict(serve):
    def script(request, number):
        return "[[A]]" if read_fences(request["messages"][0]["content"])["TEXT A"] == GOOD else "I cannot say."

    verdict = judge(serve(script), GOOD, BAD, position="both")
    assert (verdict.value, verdict.cause) == (None, "no_verdict")
    assert len(verdict.calls) == 3


def test_the_request_is_one_user_message_with_the_prompts_tag(serve):
    server = serve(prefers_good)
    judge(server, GOOD, BAD, step=7)
    (request,) = server.requests
    assert [message["role"] for message in request["messages"]] == ["user"]
    assert request["temperature"] == 0.1
    assert f"<<<TEXT B {fence_tag(b's', 'p1', 7)}>>>\n{GOOD}" in request["messages"][0]["content"]


def test_an_answer_without_verdict_is_asked_for_again(serve):
    server = serve(lambda request, number: "Hm." if number == 1 else "[[B]]")
    verdict = judge(server, GOOD, BAD)
    assert (verdict.value, len(verdict.calls)) == ("win", 2)
    assert server.requests[0] == server.requests[1]
    assert verdict.calls[0] != verdict.calls[1]


def test_no_verdict_after_all_attempts_says_so(serve):
    server = serve(lambda request, number: "Both have their charms.")
    verdict = judge(server, GOOD, BAD, retries=2)
    assert (verdict.value, verdict.cause, len(server.requests)) == (None, "no_verdict", 3)


def test_a_verdict_in_an_answer_that_was_cut_off_does_not_count(serve, reply):
    server = serve(lambda request, number: reply("At first [[A]], but", finish_reason="length"))
    verdict = judge(server, GOOD, BAD)
    assert (verdict.value, verdict.cause) == (None, "cut_off")


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ({"status": 500}, "server_error"),
        ({"status": 429}, "rate_limit"),
        ({"delay": 0.3}, "timeout"),
        ({"text": ""}, "empty"),
        ({"text": "no", "finish_reason": "content_filter"}, "refused"),
        ({"body": "oops"}, "bad_response"),
    ],
)
@pytest.mark.parametrize("position", ["second", "both"])
def test_a_judge_that_cannot_be_heard_makes_no_loser(serve, reply, script, cause, position):
    server = serve(lambda request, number: reply(**script))
    verdict = judge(server, GOOD, BAD, position=position, spec={"timeout_seconds": 0.1})
    assert (verdict.value, verdict.cause) == (None, cause)
    assert len(verdict.calls) == (2 if position == "both" else 1)


def test_texts_too_long_for_the_context_are_found_before_the_call(serve):
    server = serve(prefers_good)
    verdict = judge(server, "word " * 3000, BAD, spec={"context": 4096})
    assert (verdict.value, verdict.cause, verdict.calls, server.requests) == (None, "too_long", (), [])
    assert judge(server, GOOD, BAD, spec={"context": 4096}).value == "win"


def test_a_context_that_the_endpoint_finds_too_small_is_the_same_cause(serve, reply):
    server = serve(lambda request, number: reply("maximum context length exceeded", status=400))
    assert judge(server, GOOD, BAD).cause == "too_long"


def test_what_the_user_must_mend_is_no_verdict_of_any_kind(serve, reply):
    with pytest.raises(BadInputError):
        judge(serve(lambda request, number: reply("no", status=401)), GOOD, BAD)


@pytest.mark.parametrize("position", ["second", "both"])
def test_a_spent_budget_stops_instead_of_judging(serve, position):
    with pytest.raises(StoppedError):
        judge(serve(prefers_good), GOOD, BAD, position=position, budget=Budget(1.0, spent=1.0))


def test_the_cost_of_all_answers_is_added_up(serve):
    prices = {"prices": {"prompt": 1000, "completion": 1000}}
    server = serve(lambda request, number: "Hm." if number == 1 else "[[B]]")
    assert judge(server, GOOD, BAD, spec=prices).cost == pytest.approx(0.03)
    assert judge(serve(prefers_good), GOOD, BAD).cost is None


def test_a_recorded_verdict_is_given_again_without_a_call(serve):
    server = serve(prefers_good)
    log = MemoryCallLog()
    first = judge(server, GOOD, BAD, log=log)
    assert judge(server, GOOD, BAD, log=log) == first
    assert len(server.requests) == 1


def test_where_one_order_ends_the_command_the_other_is_waited_for_and_recorded(serve, reply):
    """Its answer is paid for."""

    def script(request, number):
        first = read_fences(request["messages"][0]["content"])["TEXT A"]
        return reply("[[B]]", delay=0.5) if first == GOOD else reply("Insufficient Balance", status=402)

    log = MemoryCallLog()
    with pytest.raises(StoppedError, match="Insufficient Balance"):
        judge(serve(script), GOOD, BAD, position="both", log=log)
    assert sorted(call.outcome for call in log.calls) == ["fatal", "ok"]


@pytest.mark.parametrize(
    ("request_text", "lines"),
    [
        ("Write a letter.", ["- Plot: holds (weight 3)", "- Under 200 words (required)", "- Voice"]),
        ("写一封信。", ["- Plot: holds（权重3）", "- Under 200 words（必须满足）", "- Voice"]),
    ],
)
def test_criteria_are_compared_by_their_weights_and_constraints(request_text, lines):
    criteria = [
        Criterion(name="Plot", description="holds", weight=3, bands={"9-10": "masterly"}),
        Criterion(name="Under 200 words", hard=True),
        Criterion(name="Voice"),
    ]
    prompt = Prompt(id="p", prompt=request_text, criteria=criteria)
    asked = ask_pairwise(prompt, text_a="a", text_b="b", tag="0" * 12)
    assert read_fences(asked)["CRITERIA"].splitlines() == lines
    assert "masterly" not in asked
