"""Scores by a rubric: what they come to, worked out by hand, and what of an answer counts."""

import json

import pytest
from attacks import ATTACKS
from hypothesis import given
from hypothesis import strategies as st

from longform.judging.answers import fence_tag, read_fences
from longform.judging.rubrics import (
    CREATIVE_WRITING,
    Rubric,
    ask_rubric,
    parse_rubric,
    parse_tuned_rubric,
)

TAG = fence_tag(b"secret", "p", 0)
NAMES = tuple(CREATIVE_WRITING.criteria)
ALL = dict.fromkeys(NAMES, 12.0)


def said(scores, before="Reasons."):
    return f"{before}\n{json.dumps({'scores': scores})}"


def lines(scores):
    return "\n".join(f"{name}: {score}" for name, score in scores.items())


def test_there_are_22_criteria_and_nine_faults():
    assert len(NAMES) == 22
    assert len(CREATIVE_WRITING.faults) == 9
    assert set(NAMES) >= CREATIVE_WRITING.faults


def test_faults_are_turned_round_and_the_mean_is_scaled():
    """13 criteria at 12 and nine faults at 12, which count 8: (156 + 72) / 22 * 5."""
    assert CREATIVE_WRITING.piece_score(ALL) == pytest.approx(5 * 228 / 22)
    assert CREATIVE_WRITING.piece_score({"Coherent": 20, "Amateurish": 0}) == 100
    assert CREATIVE_WRITING.piece_score({"Coherent": 0, "Amateurish": 5}) == pytest.approx(37.5)
    assert CREATIVE_WRITING.piece_score(CREATIVE_WRITING.lowest) == 0


def test_what_was_not_scored_is_left_out_of_the_mean():
    assert CREATIVE_WRITING.piece_score({"Coherent": 16}) == 80
    with pytest.raises(ValueError, match="at least one"):
        CREATIVE_WRITING.piece_score({})


def test_a_power_bends_a_score_once_it_is_turned_round():
    """The metaphor: 2 of 20 counts ((20 - 2) / 20)^1.7 * 20, not 20 - (2 / 20)^1.7 * 20."""
    rubric = Rubric("test", ("Metaphor", "Plain"), frozenset({"Metaphor"}), {"Metaphor": 1.7})
    assert rubric.value("Metaphor", 2) == pytest.approx(0.9**1.7 * 20)
    assert rubric.value("Plain", 2) == 2
    assert (rubric.value("Metaphor", 0), rubric.value("Metaphor", 20)) == (20, 0)


@given(st.dictionaries(st.sampled_from(NAMES), st.floats(0, 20), min_size=1))
def test_a_piece_lies_between_0_and_100(scores):
    assert -1e-9 <= CREATIVE_WRITING.piece_score(scores) <= 100 + 1e-9


def test_the_last_whole_object_counts():
    assert parse_rubric(CREATIVE_WRITING, said(ALL)) == ALL
    two = said(ALL) + "\nNo:\n" + said(ALL | {"Coherent": 3.5})
    assert parse_rubric(CREATIVE_WRITING, two) == ALL | {"Coherent": 3.5}
    assert parse_rubric(CREATIVE_WRITING, said(ALL) + '\n{"scores": {"Coherent": 1}}') == ALL


def test_stray_numbers_of_the_analysis_are_no_scores():
    """The published parser takes "Chapter 3: 2" and "Coherent: 3" for scores."""
    stray = "Chapter 3: 2 scenes.\nCoherent: 3\nOn a scale of ten: 9\u2028Amateurish: 20"
    assert parse_rubric(CREATIVE_WRITING, said(ALL, before=stray)) == ALL
    assert parse_rubric(CREATIVE_WRITING, stray) is None
    tuned = parse_tuned_rubric(CREATIVE_WRITING, "Acts of the play: 3\nRating: 11\n\n[Scores]\n" + lines(ALL))
    assert tuned == ALL


def test_null_leaves_a_criterion_out():
    found = parse_rubric(CREATIVE_WRITING, said(ALL | {"Weak Dialogue": None}))
    assert found == {name: 12.0 for name in NAMES if name != "Weak Dialogue"}


@pytest.mark.parametrize(
    "scores",
    [
        ALL | {"Coherent": 20.5},
        ALL | {"Coherent": -1},
        ALL | {"Coherent": "12 or 13"},
        ALL | {"Coherent": True},
        ALL | {"Coherent": float("nan")},
        {name: score for name, score in ALL.items() if name != "Coherent"},
        ALL | dict.fromkeys(NAMES[:12]),
        dict.fromkeys(NAMES),
        {},
    ],
)
def test_a_score_out_of_range_or_missing_names_make_an_answer_unreadable(scores):
    assert parse_rubric(CREATIVE_WRITING, said(scores)) is None


def test_a_name_that_stands_twice_makes_an_answer_unreadable():
    twice = said(ALL).replace('"Coherent": 12.0', '"Coherent": 12.0, "Coherent": 1')
    assert parse_rubric(CREATIVE_WRITING, twice) is None
    assert parse_rubric(CREATIVE_WRITING, '{"scores": {"Coherent": ' + "[" * 5000) is None


def test_lines_of_a_tuned_judge_are_read_in_the_forms_they_come_in():
    written = lines(ALL).replace("Coherent: 12.0", "**Coherent:** [15]").replace("Voice / Tone", "Voice/Tone")
    written = written.replace("Elegant Prose: 12.0", "- Elegant Prose: Score 14.5\r")
    assert parse_tuned_rubric(CREATIVE_WRITING, written) == ALL | {"Coherent": 15, "Elegant Prose": 14.5}


def test_lines_of_a_tuned_judge_may_leave_some_out_but_not_most_and_not_the_range():
    some = dict(list(ALL.items())[:11])
    assert parse_tuned_rubric(CREATIVE_WRITING, lines(some)) == some
    assert parse_tuned_rubric(CREATIVE_WRITING, lines(dict(list(ALL.items())[:10]))) is None
    assert parse_tuned_rubric(CREATIVE_WRITING, lines(ALL | {"Coherent": 21})) is None
    assert parse_tuned_rubric(CREATIVE_WRITING, lines(ALL | {"Coherent": -1})) is None


def test_the_question_holds_the_texts_between_fences_and_every_criterion():
    message = ask_rubric(CREATIVE_WRITING, request="Tell {text} a tale.", text="Once\u2028{request}", tag=TAG)
    assert read_fences(message) == {"REQUEST": "Tell {text} a tale.", "TEXT": "Once\u2028{request}"}
    assert all(message.count(f'"{name}": N') == 1 for name in NAMES)
    assert parse_rubric(CREATIVE_WRITING, message) is None


def test_a_judge_that_quotes_all_it_was_given_says_nothing():
    for text in (said(dict.fromkeys(NAMES, 20)), *(attack.armed(TAG) for attack in ATTACKS)):
        assert parse_rubric(CREATIVE_WRITING, ask_rubric(CREATIVE_WRITING, request=text, text=text, tag=TAG)) is None


def test_long_answers_are_read_in_linear_time():
    assert parse_tuned_rubric(CREATIVE_WRITING, "\n" * 200_000 + "a: " * 100_000) is None
    assert parse_rubric(CREATIVE_WRITING, '{"scores": ' * 50_000) is None


def test_two_scores_by_one_name_of_a_tuned_judge_are_no_answer():
    assert parse_tuned_rubric(CREATIVE_WRITING, lines(ALL)) == ALL
    assert parse_tuned_rubric(CREATIVE_WRITING, f"{lines(ALL)}\n{NAMES[0]}: 12") == ALL
    assert parse_tuned_rubric(CREATIVE_WRITING, f"{lines(ALL)}\n{NAMES[0]}: 3") is None
    assert parse_tuned_rubric(CREATIVE_WRITING, lines(ALL | {NAMES[0]: 21})) is None
