"""What providers send in their many ways, and what each is taken for: a table, against a real server on the loopback."""

import asyncio
import json
import time
from email.utils import formatdate
from typing import Any, NamedTuple

import pytest

from longform.endpoints.client import Endpoint
from longform.endpoints.errors import EndpointError
from longform.endpoints.models import ModelSpec, Prices
from longform.records.calls import MemoryCallLog
from longform.records.errors import BadInputError, StoppedError


def completion(content: Any = "A fine day.", finish: Any = "stop", **message: Any) -> dict[str, Any]:
    """A chat completion as most providers send it."""
    message = {"role": "assistant", "content": content} | message
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 20}}


def error(message: Any, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


class Sent(NamedTuple):
    """What a server sends once or always; `then` follows from the second request."""

    body: Any
    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012
    then: Any = None


FINE = Sent(completion())
COMPLETE: dict[str, tuple[Sent, str, str]] = {
    # name: (what is sent, text, thoughts)
    "text": (FINE, "A fine day.", ""),
    "a line break within a string": (Sent(json.dumps(completion()).replace(" fine ", "\n")), "A\nday.", ""),
    "a long header": (Sent(completion(), headers={"X-Trace": "x" * 40_000}), "A fine day.", ""),
    "text, as created": (Sent(completion(), 201), "A fine day.", ""),
    "byte order mark": (Sent("\ufeff" + json.dumps(completion())), "A fine day.", ""),
    "blank lines to keep alive": (Sent("\n\n \n" + json.dumps(completion())), "A fine day.", ""),
    "comments to keep alive": (Sent(": PROCESSING\n\n: PROCESSING\n\n" + json.dumps(completion())), "A fine day.", ""),
    "parts": (Sent(completion([{"type": "text", "text": "A "}, {"type": "text", "text": "day."}])), "A day.", ""),
    "a part that is null": (Sent(completion([None, {"type": "text", "text": "A day."}])), "A day.", ""),
    "parts with thoughts": (
        Sent(
            completion(
                [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "A day."}]
            )
        ),
        "A day.",
        "hm",
    ),
    "reasoning_content": (Sent(completion("A day.", reasoning_content="hm")), "A day.", "hm"),
    "reasoning": (Sent(completion("A day.", reasoning="hm")), "A day.", "hm"),
    "both fields": (Sent(completion("A day.", reasoning="hm", reasoning_content="hm")), "A day.", "hm"),
    "think tags": (Sent(completion("<think>\nhm [[B]]\n</think>\n\nA day.")), "A day.", "hm [[B]]"),
    "no opening tag": (Sent(completion("hm [[B]]\n</think>\n\nA day.")), "A day.", "hm [[B]]"),
    "empty thoughts": (Sent(completion("<think>\n\n</think>\n\nA day.")), "A day.", ""),
    "other tags": (Sent(completion("<seed:think>hm</seed:think>A day.")), "A day.", "hm"),
    "magistral": (Sent(completion("[THINK]hm[/THINK]A day.")), "A day.", "hm"),
    "kimi": (Sent(completion("◁think▷hm◁/think▷A day.")), "A day.", "hm"),
    "harmony": (
        Sent(
            completion(
                "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>A day.<|return|>"
            )
        ),
        "A day.",
        "hm",
    ),
    "a tag later in the text": (
        Sent(completion("The tag <think> opens, </think> closes.")),
        "The tag <think> opens, </think> closes.",
        "",
    ),
    "no finish reason": (Sent(completion(finish=None)), "A fine day.", ""),
    "eos": (Sent(completion(finish="eos")), "A fine day.", ""),
    "end_turn": (Sent(completion(finish="end_turn")), "A fine day.", ""),
    "STOP": (Sent(completion(finish="STOP")), "A fine day.", ""),
    "several choices": (
        Sent(
            completion()
            | {"choices": [{"index": 1, "message": {"content": "Other."}}, *completion("First.")["choices"]]}
        ),
        "First.",
        "",
    ),
    "a lone surrogate": (Sent(json.dumps(completion("A day XX.")).replace("XX", "\\ud83d")), "A day ?.", ""),
    "a stream that was not asked for": (
        Sent(
            'data: {"choices":[{"delta":{"content":"A "}}]}\n\ndata: {"choices":[{"delta":{"content":"day."},'
            '"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        ),
        "A day.",
        "",
    ),
    **{
        f"finish reason {reason!r}": (Sent(completion(finish=reason)), "A fine day.", "")
        for reason in (
            "normal",
            "null",
            "",
            "COMPLETE",
            "end_of_turn",
            "FINISH_REASON_STOP",
            "FinishReason.STOP",
            {"type": "stop", "matched": 2},
        )
    },
    "thoughts in a form of their own": (Sent(completion(reasoning={"effort": 5})), "A fine day.", ""),
    "thoughts in details": (
        Sent(completion(reasoning=None, reasoning_details=[{"type": "reasoning.text", "text": "hm"}])),
        "A fine day.",
        "hm",
    ),
    "thoughts in blocks": (
        Sent(completion(thinking_blocks=[{"type": "thinking", "thinking": "hm"}])),
        "A fine day.",
        "hm",
    ),
    "thoughts behind the head of the turn": (
        Sent(completion("<|im_start|>assistant\n<think>hm</think>A fine day.")),
        "A fine day.",
        "hm",
    ),
    "thoughts as a part": (Sent(completion(reasoning={"type": "text", "text": "hm"})), "A fine day.", "hm"),
    "one part alone": (Sent(completion({"type": "text", "text": "A fine day."})), "A fine day.", ""),
    "a lone surrogate in every name": (
        Sent(json.dumps(completion() | {"model": "m\ud83d", "system_fingerprint": "\ud83d"})),
        "A fine day.",
        "",
    ),
    **{
        f"a stream that was not asked for, {name}": (Sent(start + event + end), "A day.", "")
        for event in ('data: {"choices":[{"delta":{"content":"A day."},"finish_reason":"stop"}]}',)
        for name, start, end in (
            ("after a comment", ": PROCESSING\n\n", "\n\ndata: [DONE]\n\n"),
            ("with event names", "event: message\n", "\n\n"),
            ("with CRLF", "", "\r\n\r\ndata: [DONE]\r\n\r\n"),
        )
    },
    # Failures that pass.
    "an error beside half an answer": (Sent(completion("half") | error("died"), then=completion()), "A fine day.", ""),
    "an error of a gateway inside a 200": (
        Sent({"choices": None, "base_resp": {"status_code": 1000, "status_msg": "unknown"}}, then=completion()),
        "A fine day.",
        "",
    ),
    "overloaded, in a stream that was not asked for": (
        Sent('data: {"error":{"message":"Overloaded","type":"overloaded_error"}}\n\n', then=completion()),
        "A fine day.",
        "",
    ),
    "a lone surrogate as a finish reason": (Sent(completion(finish="\ud83d"), then=completion()), "A fine day.", ""),
    "an error inside a 200": (
        Sent({"choices": None, "error": {"message": "Provider returned error", "code": 429}}, then=completion()),
        "A fine day.",
        "",
    ),
    "an error in the choice": (
        Sent(
            {"choices": [{"message": {"content": "The text is"}, "finish_reason": "error", "error": {"code": 502}}]},
            then=completion(),
        ),
        "A fine day.",
        "",
    ),
    "a gateway's page": (Sent("<html>Bad gateway</html>", status=502, then=completion()), "A fine day.", ""),
    "overloaded": (Sent(error("Overloaded"), status=529, then=completion()), "A fine day.", ""),
    "no capacity": (
        Sent(error("Flex tier capacity exceeded", code="capacity_exceeded"), 498, {}, completion()),
        "A fine day.",
        "",
    ),
    "try again, as a date": (
        Sent(error("slow"), 429, {"Retry-After": formatdate(time.time(), usegmt=True)}, completion()),
        "A fine day.",
        "",
    ),
    "try again, in words": (
        Sent(error("Rate limit reached. Please try again in 20ms."), 429, {}, completion()),
        "A fine day.",
        "",
    ),
    "try again, in milliseconds": (
        Sent(error("slow"), 429, {"retry-after-ms": "5", "Retry-After": "90"}, completion()),
        "A fine day.",
        "",
    ),
    **{
        f"try again, {stated!r}": (
            Sent(error("slow"), 429, {"Retry-After": stated}, completion()),
            "A fine day.",
            "",
        )
        for stated in (
            "0.01s",
            "soon",
            "nan",
            "-5",
            "1e999",
            "Wed, 99 Foo 2026 25:61:00 GMT",
            "Mon, 01 Jan 0001 00:00:00 +2359",
        )
    },
}
TOO_LONG = (
    (error("This model's maximum context length is 4096 tokens. However, you requested 9000 tokens."), 400),
    ({"object": "error", "message": "This model's maximum context length is 4096 tokens.", "code": 400}, 400),
    (error("the request exceeds the available context size", type="exceed_context_size_error"), 400),
    ({"message": "The input (9000 tokens) is longer than the model's context length (4096 tokens).", "code": 400}, 400),
    (error("Range of input length should be [1, 30720]", code="invalid_parameter_error"), 400),
    (error("prompt is too long: 210000 tokens > 200000 maximum"), 400),
    (error("Request too large for m on tokens per min (TPM): Limit 30000, Requested 51000."), 429),
    (error("input too large"), 413),
    (error("The prompt is too long", code="invalid_request_error"), 200),
    (error("Request too large for m on tokens per minute (TPM)", type="tokens", code="rate_limit_exceeded"), 413),
    ({"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096.", "error_type": "v"}, 422),
    ({"error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 3000"}, 422),
    (error("Invalid request: Your request exceeded model token limit: 8192 (requested: 9000)"), 400),
    (error("Prompt 超长", code="1261"), 400),
    (error("the request exceeds the available context size", code=500), 500),
)
REFUSED = (
    (completion(None, "content_filter"), 200),
    (completion(None, refusal="I'm sorry, I can't assist."), 200),
    (completion("", "SAFETY"), 200),
    (error("The prompt triggered Azure OpenAI's content management policy.", code="content_filter"), 400),
    (error("Input data may contain inappropriate content.", code="data_inspection_failed"), 400),
    (error("Content Exists Risk", code="invalid_request_error"), 400),
    (error("Content Exists Risk", code="invalid_request_error"), 200),
    (error("系统检测到输入或生成内容可能包含不安全或敏感内容", code="1301"), 400),
    (completion("half", "content_filter: PROHIBITED_CONTENT"), 200),
    (completion("half", "guardrail_intervened"), 200),
    ({"choices": [{"finish_reason": "content_filter", "index": 0}]}, 200),
    (completion([{"type": "refusal", "refusal": "I cannot."}]), 200),
    ({"choices": None, "base_resp": {"status_code": 1027, "status_msg": "output new_sensitive"}}, 200),
    (error("Output blocked by content filtering policy"), 400),
    (error("It may contain sensitive information.", code="InputTextSensitiveContentDetected"), 400),
    ({"code": "The caller does not have permission", "error": "Content violates usage guidelines."}, 403),
    (error("Blocked by content policy: moderation", metadata={"reasons": ["violence"]}), 403),
)
CUT_OFF = (
    completion(None, "length", reasoning_content="hm " * 50),
    completion("<think>hm", "length"),
    completion("<think>hm", "stop"),
    completion("", "max_tokens"),
    completion("", "token_limit_reached"),
    {"choices": [{"finish_reason": "length", "index": 0}]},
    completion("<|channel|>analysis<|message|>hm", "length"),
)
BROKEN_OFF = ("abort", "error", "insufficient_system_resource", "network_error", {"a": 1}, ["length"], "cancelled")
NOT_A_COMPLETION = (
    {"choices": []},
    {"choices": [{"finish_reason": "stop"}]},
    "<html>login</html>",
    "null",
    "[]",
    "",
    '{"choices":{"0":1}}',
    {"message": {"role": "assistant", "content": "in another protocol"}, "done": True},
    {"code": 0, "msg": "success", "data": {}},
    "[" * 100_000,
    completion(5),
    completion(None, "tool_calls", tool_calls=[{"function": {"arguments": "[[B]]"}}]),
)
FATAL: tuple[tuple[Any, int, type[Exception], str], ...] = (
    (error("Insufficient Balance"), 402, StoppedError, "out of credit: Insufficient Balance"),
    (error("You exceeded your current quota", code="insufficient_quota"), 429, StoppedError, "out of credit"),
    ([error("You exceeded your current quota", code=429)], 429, StoppedError, "out of credit"),
    (error("Your account is suspended", type="exceeded_current_quota_error"), 429, StoppedError, "suspended"),
    (error("API key not valid. Please pass a valid API key.", code=400), 400, BadInputError, "key_env"),
    (error("This model only supports streaming."), 400, BadInputError, "`stream: true`"),
    (error("stream is not supported for this model"), 400, BadInputError, "`stream: false`"),
    (error("Unrecognized argument: max_completion_tokens"), 400, BadInputError, "`token_parameter: max_tokens`"),
    (error("logprobs are not supported with reasoning models"), 400, BadInputError, "`verdict: text`"),
    (error("Your credit balance is too low to access the API."), 400, StoppedError, "credit balance is too low"),
    (error("Access denied, make sure your account is in good standing.", code="Arrearage"), 400, StoppedError, "good"),
    (error("Sorry, your account balance is insufficient", code=30001), 403, StoppedError, "out of credit"),
    (error("You have reached your specified API usage limits."), 400, StoppedError, "out of credit"),
    (error("The free tier is used up", code="AllocationQuota.FreeTierOnly"), 403, StoppedError, "out of credit"),
    (error("Account suspended, possibly due to reaching the monthly spending limit"), 412, StoppedError, "suspended"),
    ({"base_resp": {"status_code": 1004, "status_msg": "login fail: no key"}}, 200, BadInputError, "login fail"),
    (error("'messages[0].role' does not support 'system' with this model."), 400, BadInputError, "leave out `system`"),
    (error("API key expired. Please renew the API key."), 400, BadInputError, "key_env"),
    (error("The value of enable_thinking is restricted to True."), 400, BadInputError, "{enable_thinking: true}"),
    (error("Your organization must be verified to stream this model."), 400, BadInputError, "`stream: false`"),
    (error("Insufficient credits. Add more.", code=402), 200, StoppedError, "Insufficient credits"),
    ({"code": 401, "msg": "invalid api key", "data": None}, 200, BadInputError, "invalid api key"),
    (error("bad key"), 401, BadInputError, "bad key"),
    (error("Project has no access to model m", code="model_not_found"), 403, BadInputError, "no access to model m"),
    (error("no such deployment"), 404, BadInputError, "no such deployment"),
    (
        error("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        400,
        BadInputError,
        "set `token_parameter: max_completion_tokens`",
    ),
    (error("'temperature' does not support 0.1 with this model."), 400, BadInputError, "`temperature: null`"),
    (error("`temperature` and `top_p` cannot both be specified."), 400, BadInputError, "`top_p: null`"),
    (error("parameter.enable_thinking must be set to false"), 400, BadInputError, "`body: {enable_thinking: false}`"),
    (error("max_tokens is too large: 32768. It supports at most 16384."), 400, BadInputError, "smaller `max_tokens`"),
    (error("Invalid max_tokens value, the valid range is [1, 8192]"), 400, BadInputError, "smaller `max_tokens`"),
)


def ask(
    serve, reply, sent: Sent, *, proven: bool = False, letters: tuple[str, ...] = (), **spec: Any
) -> tuple[Any, MemoryCallLog]:
    """The answer, or the error, and the log."""

    def script(request, number):
        if proven and number == 1:
            return "fine"
        body = sent.then if sent.then is not None and number > 1 else sent.body
        status = 200 if body is sent.then else sent.status
        return reply(
            body=body if isinstance(body, str) else json.dumps(body),
            status=status,
            headers={} if body is sent.then else sent.headers,
        )

    log = MemoryCallLog()
    endpoint = Endpoint(
        "judge",
        ModelSpec(base_url=serve(script).url, model="m", retries=1, prices=Prices(prompt=1, completion=1), **spec),
        call_log=log,
        backoff_seconds=0.001,
        patience_seconds=0,
    )

    async def work():
        async with endpoint:
            questions = ["first", "second"] if proven else ["first"]
            answer = None
            for question in questions:
                messages = [{"role": "user", "content": question}]
                answer = await endpoint.chat(messages, temperature=0.1, max_tokens=1024, letters=letters)
            return answer

    try:
        return asyncio.run(work()), log
    except (EndpointError, BadInputError, StoppedError) as failed:
        return failed, log


def check_failure(failed, log, cause, *, paid_once=True):
    assert isinstance(failed, EndpointError), failed
    assert failed.cause == cause
    assert log.calls[-1].outcome == cause
    if paid_once:
        assert len(log.calls) == 1


@pytest.mark.parametrize("name", COMPLETE)
def test_a_whole_answer_is_read_and_its_thoughts_are_kept_apart(serve, reply, name):
    sent, text, thoughts = COMPLETE[name]
    answer, log = ask(serve, reply, sent)
    assert not isinstance(answer, Exception), answer
    assert (answer.text, answer.thoughts) == (text, thoughts)
    assert log.calls[-1].outcome == "ok"


@pytest.mark.parametrize(("body", "status"), TOO_LONG, ids=str)
def test_a_text_that_does_not_fit_is_too_long_whoever_says_it(serve, reply, body, status):
    check_failure(*ask(serve, reply, Sent(body, status)), "too_long")


@pytest.mark.parametrize(("body", "status"), REFUSED, ids=str)
def test_a_refusal_is_of_one_text_whoever_says_it(serve, reply, body, status):
    check_failure(*ask(serve, reply, Sent(body, status)), "refused")


@pytest.mark.parametrize("body", CUT_OFF, ids=str)
def test_an_answer_that_ends_before_its_text_is_cut_off_and_not_asked_for_again(serve, reply, body):
    failed, log = ask(serve, reply, Sent(body))
    check_failure(failed, log, "cut_off")
    assert "max_tokens" in str(failed)


@pytest.mark.parametrize(
    "body",
    [
        {"choices": None, "base_resp": {"status_code": 1002, "status_msg": "rate limit"}},
        {"code": "Throttling.RateQuota", "message": "Requests are throttled", "request_id": "r"},
        error("您的账户已达到速率限制", code="1302"),
        error("Number of requests exceeded", type="rate_limit_error"),
        error("slow down", code=429),
        [error("slow down", code=429)],
    ],
    ids=str,
)
def test_a_rate_limit_inside_a_200_is_one(serve, reply, body):
    check_failure(*ask(serve, reply, Sent(body)), "rate_limit", paid_once=False)


def test_an_answer_that_takes_all_its_tokens_and_states_no_reason_is_cut_off(serve, reply):
    body = completion("A fine", None) | {"usage": {"prompt_tokens": 5, "completion_tokens": 1024}}
    answer, _ = ask(serve, reply, Sent(body))
    assert (answer.text, answer.finish_reason) == ("A fine", "length")


@pytest.mark.parametrize("finish", BROKEN_OFF, ids=str)
def test_an_answer_that_the_endpoint_broke_off_is_never_read(serve, reply, finish):
    failed, log = ask(serve, reply, Sent(completion("At first sight I would write [[A]], but", finish)))
    check_failure(failed, log, "incomplete", paid_once=False)
    assert [call.outcome for call in log.calls] == ["incomplete"] * 2  # transient: asked again


@pytest.mark.parametrize("body", NOT_A_COMPLETION, ids=lambda body: str(body)[:40])
def test_what_is_not_a_completion_is_a_bad_response_that_is_recorded_and_estimated(serve, reply, body):
    failed, log = ask(serve, reply, Sent(body))
    check_failure(failed, log, "bad_response", paid_once=False)
    assert all(call.cost is not None and call.cost > 0 for call in log.calls)


@pytest.mark.parametrize("letters", [(), ("A", "B")])
def test_tokens_that_a_bad_response_states_are_counted_as_stated(serve, reply, letters):
    body = {
        "usage": {"prompt_tokens": 100, "completion_tokens": 20},
        "choices": completion()["choices"] if letters else [],
    }
    failed, log = ask(serve, reply, Sent(body), letters=letters)
    check_failure(failed, log, "bad_response", paid_once=False)
    assert "prompt_tokens" in str(failed)  # what came is quoted
    assert [(it.prompt_tokens, it.completion_tokens, it.is_estimated) for it in log.calls] == [(100, 20, False)] * 2


@pytest.mark.parametrize(("body", "status", "kind", "words"), FATAL, ids=str)
def test_what_no_further_request_can_pass_ends_the_command_with_the_providers_words(
    serve, reply, body, status, kind, words
):
    failed, log = ask(serve, reply, Sent(body, status))
    assert type(failed) is kind, failed
    assert words in str(failed)
    assert [call.outcome for call in log.calls] == ["fatal"]


@pytest.mark.parametrize(("status", "words"), [(401, "temporarily unauthorised"), (404, "No endpoints found")])
def test_after_an_answer_a_lost_endpoint_can_be_resumed(serve, reply, status, words):
    failed, _ = ask(serve, reply, Sent(error(words), status), proven=True)
    assert isinstance(failed, StoppedError)
    assert words in str(failed)


def test_a_firewall_that_blocks_one_text_does_not_end_the_command(serve, reply):
    failed, _ = ask(serve, reply, Sent("<html>Sorry, you have been blocked</html>", 403), proven=True)
    assert isinstance(failed, EndpointError)
    assert failed.cause == "rejected"
    assert "you have been blocked" in str(failed)


@pytest.mark.parametrize("status", [429, 503])
def test_an_endpoint_that_asks_to_come_back_is_waited_for_beyond_its_retries(serve, reply, status):
    def script(request, number):
        return "fine" if number > 6 else reply("busy", status=status)

    endpoint = Endpoint(
        "judge",
        ModelSpec(base_url=serve(script).url, model="m", retries=1),
        call_log=MemoryCallLog(),
        backoff_seconds=0.001,
    )

    async def work():
        async with endpoint:
            return await endpoint.chat([{"role": "user", "content": "x"}], temperature=0, max_tokens=5)

    assert asyncio.run(work()).text == "fine"
