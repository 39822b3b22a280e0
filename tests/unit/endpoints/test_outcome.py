"""What a try came to, read from bodies and headers."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.endpoints.failures import quote, read_retry_after
from longform.endpoints.models import ModelSpec
from longform.endpoints.outcome import read_answer
from longform.endpoints.request import ChatRequest

REQUEST = ChatRequest.build(ModelSpec(base_url="http://h/v1", model="m"), [], temperature=0.0, max_tokens=10)


@pytest.mark.parametrize(
    ("stated", "seconds"), [("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("", None), ("soon", None), ("nan-ish", None)]
)
def test_retry_after_is_read_as_seconds(stated, seconds):
    assert read_retry_after({"retry-after": stated}) == seconds


@pytest.mark.parametrize(
    ("header", "body", "seconds"),
    [
        ("1m30s", "", 90.0),
        ("2h", "", 7200.0),
        ("", '{"message": "limited", "retry_after": 64.5}', 64.5),
        ("", '{"error": "loading", "estimated_time": 20.0}', 20.0),
        ("", '{"error": {"message": "请求过于频繁，请 30 秒后重试"}}', 30.0),
        ("", '{"error": {"message": "每分钟 3 次"}}', None),
    ],
)
def test_a_wait_is_read_from_durations_fields_and_words(header, body, seconds):
    assert read_retry_after({"retry-after": header}, body) == seconds


def test_retry_after_is_read_as_a_date():
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    seconds = read_retry_after({"retry-after": when})
    assert seconds is not None
    assert 25 < seconds <= 30


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda s: (
            st.lists(s) | st.dictionaries(st.sampled_from(["choices", "message", "content", "usage", "error"]), s)
        ),
    )
)
def test_any_json_is_an_outcome_and_never_an_exception(content):
    assert read_answer(json.dumps(content), request=REQUEST).cause in ("bad_response", "empty", None)


@pytest.mark.parametrize(
    ("message", "text", "thoughts"),
    [
        ({"content": ["A fine", " day."]}, "A fine day.", ""),
        ({"content": [None, {"type": "text", "text": "A day."}], "reasoning": 7}, "A day.", ""),
        ({"content": "A day.", "reasoning_content": [3]}, "A day.", ""),
        ({"content": "A day.", "reasoning": ["First", " this."]}, "A day.", "First this."),
    ],
)
def test_a_message_in_parts_is_read_and_thoughts_of_another_form_spoil_nothing(message, text, thoughts):
    found = read_answer(json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}), request=REQUEST)
    assert (found.cause, found.text, found.thoughts) == (None, text, thoughts)


def test_a_quote_is_one_short_printable_line():
    said = quote("no\nsuch  key\x1b[2J " + "x" * 500)
    assert said.startswith("no such key [2J x")
    assert len(said) == 200
