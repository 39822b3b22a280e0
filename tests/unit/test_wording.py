"""The wording of questions and think prompts: versions that never change, slots that are always filled."""

import hashlib
from importlib.resources import files

import pytest

from longform.judging.criteria import QUALITIES
from longform.judging.margins import ASPECTS
from longform.judging.pairwise import ask_pairwise
from longform.judging.pointwise import DIMENSIONS, ask_pointwise
from longform.judging.requests import CRITERIA, ask_length_range, ask_request_criteria
from longform.judging.rubrics import CREATIVE_WRITING
from longform.records.schemas import Prompt
from longform.text.length_rules import Rule
from longform.wording import CURRENT, VERSIONS, language_of, load_wording
from longform.writers.think import ThinkPrompt

RELEASED = {1: "4f53ae079cf42b20b46094f03c459be94a6d7ea1f1b2cfcb8e5ba029a6030d5a"}
"""SHA-256 of the versions that runs on disk were made with."""
PROMPT = Prompt(id="p", prompt="Write a fable.")


@pytest.mark.parametrize(("version", "digest"), RELEASED.items())
def test_a_released_version_never_changes(version, digest):
    content = (files("longform.wording") / f"v{version}.yaml").read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_has_every_text_that_is_asked_for(version):
    wording = load_wording(version)
    names = {
        "pointwise.dimensions": DIMENSIONS,
        "needs.criteria": CRITERIA,
        "qualities.meanings": QUALITIES,
        "margins.meanings": ASPECTS,
        "rubric.creative_writing": CREATIVE_WRITING.criteria,
        "length_range.rules": [rule.name.lower() for rule in Rule],
    }
    for name, expected in names.items():
        assert list(wording.table(name)) == list(expected)
        assert all(wording.table(name).values())


@pytest.mark.parametrize("version", VERSIONS)
def test_no_slot_is_left_unfilled(version):
    wording = load_wording(version)
    asked = [
        ask_pairwise(PROMPT, text_a="a", text_b="b", tag="0" * 12, wording=wording),
        ask_pointwise(PROMPT, "a", tag="0" * 12, wording=wording).message,
        ask_request_criteria(PROMPT, tag="0" * 12, wording=wording),
        ask_length_range(PROMPT, tag="0" * 12, wording=wording).replace('{"range": [LO, HI]}', ""),
        ThinkPrompt("on", None, wording).text(PROMPT),
    ]
    for message in asked:
        shape = message.rpartition("\n")[0] if message.endswith("}") else message
        assert "{" not in shape


def test_versions_differ_in_words_and_agree_in_what_the_parsers_need():
    first, second = (
        ask_pairwise(PROMPT, text_a="a", text_b="b", tag="0" * 12, wording=load_wording(version)) for version in (1, 2)
    )
    assert first != second
    for needed in ("[[X]]", "TEXT A", "TEXT B", "a tie"):
        assert needed in first and needed in second


def test_a_version_of_the_future_is_refused():
    with pytest.raises(ValueError, match=f"unknown wording version {CURRENT + 1}"):
        load_wording(CURRENT + 1)


@pytest.mark.parametrize(
    ("request_", "language"), [("Write of 2,000 words.", "en"), ("写一个故事。", "zh"), ("", "en")]
)
def test_the_language_is_that_of_the_request(request_, language):
    assert language_of(request_) == language
