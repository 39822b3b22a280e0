"""No key and no password is shown or recorded, in whatever form a server quotes it; texts stay as they are."""

import pytest

from longform.endpoints.exchange import redact, secrets_of
from longform.endpoints.failures import quote
from longform.endpoints.models import ModelSpec
from longform.endpoints.outcome import Outcome

KEY = "sk-0123456789abcdef"


def spec(url="http://h/v1", **fields):
    return ModelSpec(base_url=url, model="m", **fields)


@pytest.mark.parametrize("length", range(170, 200))
def test_a_key_that_a_quotation_cuts_short_is_hidden(length):
    said = quote("x" * length + KEY + " is not a key")
    shown = redact(Outcome("rejected", said), secrets_of(spec(), KEY, {})).message
    assert "sk-01" not in shown


def test_a_password_is_hidden_as_it_is_written_and_as_it_is_sent():
    secrets = secrets_of(spec("http://me:p%40ss-word@h/v1"), None, {})
    said = "p%40ss-word, p@ss-word, Basic bWU6cEBzcy13b3Jk"
    assert redact(Outcome("rejected", said), secrets).message == "***, ***, Basic ***"


def test_a_key_in_the_name_of_the_model_or_the_finish_reason_is_not_recorded():
    shown = redact(Outcome(finish_reason=KEY, served_model=f"{KEY} fp"), secrets_of(spec(), KEY, {}))
    assert (shown.finish_reason, shown.served_model) == ("***", "*** fp")


@pytest.mark.parametrize("key", ["1", "none", "EMPTY", "[[A]]"])
def test_a_key_that_is_a_word_does_not_change_what_the_model_wrote(key):
    text = '{"score": 10, "reason": "none EMPTY"} [[A]]'
    assert redact(Outcome(text=text, thoughts=text), secrets_of(spec(), key, {})).text == text
    assert KEY not in redact(Outcome(text=f"my key: {KEY}"), secrets_of(spec(), KEY, {})).text
