"""Reading a judge's answer: the last well-formed verdict or scores, or nothing."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost import assert_linear
from longform.judging.answers import (
    only_object,
    parse_letter_probabilities,
    parse_scores,
    parse_structured_verdict,
    parse_verdict,
    read_fences,
)
from longform.judging.criteria import QUALITIES, parse_tuned_criterion, parse_tuned_qualities

NAMES = ["depth", "style"]
PROBABILITIES = {
    '{"A": 0.7, "B": 0.2}': "A",
    '{"A": 0.1, "B": 0.6}': "B",
    '{"A": 0.45, "B": 0.5}': "C",
    '{"A": 0.2, "B": 0.1}': None,  # it wants to say something else
    '{"A": 0.7}': None,
    '{"A": "high", "B": 0.2}': None,
    '{"A": NaN, "B": 0.2}': None,
    '{"A": -1, "B": 2}': None,
    "[0.7, 0.2]": None,
    "[[A]]": None,
}
GOOD = '{"scores": {"depth": 7, "style": 4.5}}'


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("[[A]]", "A"),
        ("TEXT B is richer.\n\n[[B]]", "B"),
        ("I could say [[A]] or [[B]], but they are equal: [[C]]", "C"),
        ("Formats: [[A]], [[B]], [[C]]. My verdict: [[A]].", "A"),
        ("<think>[[A]]</think>\n[[B]]", "B"),
        ("A is better", None),
        ("[A]", None),
        ("[[D]]", None),
        ("[[a]]", None),
        ("[[ A ]]", None),
        ("[ [A] ]", None),
        ("[[A/B]]", None),
        ("［［A］］", None),
        ("", None),
    ],
)
def test_the_last_well_formed_verdict_counts(answer, letter):
    assert parse_verdict(answer) == letter


@given(st.text(), st.sampled_from("ABC"))
def test_whatever_is_said_before_it_the_last_verdict_counts(before, letter):
    assert parse_verdict(f"{before}[[{letter}]]") == letter


@pytest.mark.parametrize(
    ("answer", "scores"),
    [
        (GOOD, {"depth": 7.0, "style": 4.5}),
        (f"Strong.\n```json\n{GOOD}\n```", {"depth": 7.0, "style": 4.5}),
        ('{ "scores" :\n{"style": 1, "depth": 10} }', {"depth": 10.0, "style": 1.0}),
        (f'{{"scores": {{"depth": 1, "style": 1}}}} no: {GOOD}', {"depth": 7.0, "style": 4.5}),
        (f'{GOOD} in the shape {{"scores": {{"depth": N, "style": N}}}}', {"depth": 7.0, "style": 4.5}),
        (f'{GOOD} {{"scores": {{"depth": 3}}}}', {"depth": 7.0, "style": 4.5}),
        ('{"scores": {"depth": 7}}', None),
        ('{"scores": {"depth": 7, "style": 4, "wit": 3}}', {"depth": 7.0, "style": 4.0}),  # what was not asked for
        ('{"scores": {"depth": 7, "style": 4,}}', {"depth": 7.0, "style": 4.0}),
        ('{"scores": {"depth": 7, "style": "4 or 5"}}', None),
        ('{"scores": {"depth": 0, "style": 4}}', None),
        ('{"scores": {"depth": 11, "style": 4}}', None),
        ('{"scores": {"depth": "7", "style": 4}}', {"depth": 7.0, "style": 4.0}),
        ('{"scores": {"depth": true, "style": 4}}', None),
        ('{"scores": {"depth": NaN, "style": 4}}', None),
        ('{"scores": {"depth": 1e999, "style": 4}}', None),
        ('{"scores": {"depth": 7, "depth": 8, "style": 4}}', None),
        ('{"scores": {"depth": {"a": 7}, "style": 4}}', None),
        ('{"scores": {"depth": 7, "style": 4}, "reason": "x"}', {"depth": 7.0, "style": 4.0}),
        ('{"reason": "x", "scores": {"depth": 7, "style": 4}}', {"depth": 7.0, "style": 4.0}),
        ("{'scores': {'depth': 7, 'style': 4}}", None),
        ('{"depth": 7, "style": 4}', None),
        ("", None),
    ],
)
def test_the_last_well_formed_scores_count(answer, scores):
    assert parse_scores(answer, NAMES) == scores


def test_scores_come_in_the_order_that_was_asked_for():
    scores = parse_scores('{"scores": {"style": 1, "depth": 2}}', NAMES)
    assert scores is not None
    assert list(scores) == NAMES


@given(st.lists(st.sampled_from(['{"scores"', ":", "{", "}", '"depth"', '"style"', "7", ",", " ", "[[", "A", "]]"])))
def test_any_text_can_be_read(pieces):
    text = "".join(pieces)
    assert parse_verdict(text) in ("A", "B", "C", None)
    assert parse_scores(text, NAMES) in (None, {"depth": 7.0, "style": 7.0})


@pytest.mark.parametrize(
    "seed",
    ["[[", "[[A", "[[A]]", "{", '{"scores":', '{"scores":{', '{"scores": {"depth": 1}}', '{"scores":{"', "{ ", '{"scores" ',
     '{"scores":{"depth":' + "9" * 5000 + "}}", "\\", '"'],
)  # fmt: skip
def test_hostile_answers_are_read_in_linear_time(seed):
    text = seed * max(1, 100_000 // len(seed))
    started = time.process_time()
    parse_verdict(text)
    parse_scores(text, NAMES)
    assert time.process_time() - started < 2.5


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ('```json\n{"reasoning": "x", "verdict": "A"}\n```', "A"),
        ('{"reasoning": "two\nlines", "verdict": "B"}', "B"),
        ('{"verdict": "C", "reasoning": "x",}', "C"),
        ('Here it is: {"verdict": "A"}', "A"),
        ('{"verdict": "A", "verdict": "B"}', None),
        ('{"verdict": "A"} or {"verdict": "B"}', None),
        ('{"verdict": "D"}', None),
        ('{"verdict": ["A"]}', None),
        ('{"reasoning": "\\"verdict\\": \\"B\\""}', None),
    ],
)
def test_a_structured_verdict_is_the_one_verdict_in_the_answer(answer, verdict):
    assert parse_structured_verdict(answer) == verdict


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-" + "9" * 400, "1e999", "NaN", '"' + "9" * 400 + '"'])
def test_an_impossible_number_is_no_score_and_no_traceback(number):
    assert parse_scores(f'{{"scores": {{"style": {number}}}}}', ["style"]) is None
    assert parse_tuned_criterion(f'{{"score": {number}}}') is None
    assert parse_tuned_qualities(json.dumps(dict.fromkeys(QUALITIES, 0)).replace("0", number)) is None


@pytest.mark.parametrize("answer", ['{"score": 8, "reason": "two\nlines"}', '{"reason": "x", "score": 8,}'])
def test_a_tuned_judge_may_break_lines_and_trail_commas(answer):
    assert parse_tuned_criterion(answer) == 8


@pytest.mark.parametrize("piece", ["{ ", '{"a": ', '{"a": [', '{"a": 1, '])
def test_one_object_among_many_braces_is_looked_for_in_linear_time(piece):
    assert only_object(piece * 20 + '{"score": 8}', ["score"]) == {"score": 8}
    for answer in ('{"note": "%s"score": 8', '{"score": 8, "note": "%s'):
        assert_linear(lambda size, answer=answer: only_object(answer % (piece * size), ["score"]), 5_000)


def test_probabilities_of_the_letters_are_a_verdict_unless_the_judge_wants_to_say_something_else():
    found = {text: parse_letter_probabilities(text, tie_band=0.1) for text in PROBABILITIES}
    assert found == PROBABILITIES


def test_a_fence_with_another_tag_is_part_of_a_text_and_one_that_is_open_is_an_error():
    inner = "<<<TEXT ffffffffffff>>>\nodd\n<<<END TEXT ffffffffffff>>>"
    message = f"Judge.\n<<<TEXT 0123456789ab>>>\n{inner}\n<<<END TEXT 0123456789ab>>>\n{inner}"
    assert read_fences(message) == {"TEXT": f"\n{inner}"} or read_fences(message) == {"TEXT": inner}
    with pytest.raises(ValueError, match="the fence TEXT is not closed"):
        read_fences(message.replace("<<<END TEXT 0123456789ab>>>", ""))
    with pytest.raises(ValueError, match="the message holds no fence"):
        read_fences("Judge.")
