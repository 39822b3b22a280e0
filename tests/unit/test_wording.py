"""The wording of questions and think prompts: versions that never change, slots that are always filled."""

import hashlib
from importlib.resources import files

import pytest

from longform.judging.criteria import QUALITIES
from longform.judging.margins import ASPECTS
from longform.judging.pairwise import ask_pairwise
from longform.judging.pointwise import DIMENSIONS, ask_pointwise
from longform.judging.requests import CRITERIA, ask_length_range, ask_request_criteria
from longform.judging.rubrics import CHAPTER, CREATIVE_WRITING, NOVELLA
from longform.records.schemas import Prompt
from longform.text.length_rules import Rule
from longform.wording import CURRENT, VERSIONS, language_of, load_wording
from longform.writers.think import ThinkPrompt

RELEASED = {
    1: "4f53ae079cf42b20b46094f03c459be94a6d7ea1f1b2cfcb8e5ba029a6030d5a",
    2: "3cb91bd34fbbbf5c343f99bf53eeb5fe55dbbabea477021a1ec2d25375fd1a95",
}
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


def test_questions_that_are_newer_than_a_version_are_in_the_current_one():
    wording = load_wording()
    for rubric in (CHAPTER, NOVELLA):
        assert list(wording.table(f"rubric.{rubric.name}")) == list(rubric.criteria)
    for name in ("checklist", "novella"):
        assert wording.has(name) and not load_wording(2).has(name)


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


CHINESE = Prompt(id="p", prompt="写一个寓言。")


@pytest.mark.parametrize("version", VERSIONS)
def test_no_slot_is_left_unfilled_in_chinese(version):
    wording = load_wording(version)
    asked = [
        ask_pairwise(CHINESE, text_a="a", text_b="b", tag="0" * 12, wording=wording),
        ask_pointwise(CHINESE, "a", tag="0" * 12, wording=wording).message,
        ask_request_criteria(CHINESE, tag="0" * 12, wording=wording),
        ask_length_range(CHINESE, tag="0" * 12, wording=wording).replace('{"range": [LO, HI]}', ""),
        ThinkPrompt("on", None, wording).text(CHINESE),
    ]
    for message in asked:
        shape = message.rpartition("\n")[0] if message.endswith("}") else message
        assert "{" not in shape


def test_judges_are_asked_in_chinese_about_chinese_requests_since_version_3():
    pairwise, grade = (
        ask_pairwise(CHINESE, text_a="a", text_b="b", tag="0" * 12),
        ask_pointwise(CHINESE, "a", tag="0" * 12).message,
    )
    assert pairwise.startswith("你是一位专业的写作评审") and grade.startswith("你是一位专业的写作评审")
    for needed in ("[[X]]", "TEXT A", "TEXT B", "平局", "relevance（"):
        assert needed in pairwise
    assert grade.endswith(ask_pointwise(PROMPT, "a", tag="0" * 12).message.rpartition("\n")[2])
    for version in (1, 2):
        older = ask_pairwise(CHINESE, text_a="a", text_b="b", tag="0" * 12, wording=load_wording(version))
        assert older.startswith("You") and "（" not in older.replace(CHINESE.request, "")


def test_a_run_of_an_older_version_keeps_its_language():
    mixed = "Write an essay about the Chinese character 道"
    assert [load_wording(version).language_of(mixed) for version in VERSIONS] == ["zh", "zh", "en"]


def test_chinese_has_every_text_that_english_has_in_the_questions_that_it_has():
    wording = load_wording()
    names = ("pairwise", "pointwise", "needs", "length_range", "keyword", "criteria", "constraints", "think", "list")
    for name in names:
        assert _chinese_and_english(wording._find(name))


def _chinese_and_english(texts):
    if "en" in texts:
        return set(texts) == {"en", "zh"}
    return all(map(_chinese_and_english, texts.values()))


def test_a_version_of_the_future_is_refused():
    with pytest.raises(ValueError, match=f"unknown wording version {CURRENT + 1}"):
        load_wording(CURRENT + 1)


@pytest.mark.parametrize(
    ("request_", "language"), [("Write of 2,000 words.", "en"), ("写一个故事。", "zh"), ("", "en")]
)
def test_the_language_is_that_of_the_request(request_, language):
    assert language_of(request_) == language
