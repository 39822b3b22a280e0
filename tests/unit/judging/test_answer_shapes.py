"""What endpoints with structured output are held to: an answer of the shape is one that the question's parser reads."""

import json
from functools import partial

import pytest
from jsonschema import Draft202012Validator, ValidationError

from longform.judging.answers import parse_structured_verdict
from longform.judging.criteria import (
    CRITERION,
    CRITERION_SHAPE,
    QUALITIES,
    QUALITIES_SHAPE,
    parse_criterion,
    parse_qualities,
)
from longform.judging.margins import ASPECTS, MARGINS_SHAPE, parse_margins
from longform.judging.pairwise import verdict_shape
from longform.judging.rubrics import CREATIVE_WRITING, parse_rubric, rubric_shape

RUBRIC = CREATIVE_WRITING.criteria
CASES = {
    "criterion": (CRITERION_SHAPE, parse_criterion, {"scores": {CRITERION: 7}}, {"scores": {CRITERION: 11}}),
    "qualities": (
        QUALITIES_SHAPE,
        parse_qualities,
        {"scores": dict.fromkeys(QUALITIES, 3)},
        {"scores": dict.fromkeys(QUALITIES[1:], 3)},
    ),
    "rubric": (
        rubric_shape(CREATIVE_WRITING),
        partial(parse_rubric, CREATIVE_WRITING),
        {"scores": {**dict.fromkeys(RUBRIC, 12.5), RUBRIC[0]: None}},
        {"scores": dict.fromkeys(RUBRIC, 21)},
    ),
    "margins": (
        MARGINS_SHAPE,
        parse_margins,
        {"scores": dict.fromkeys(ASPECTS, "A++")},
        {"scores": dict.fromkeys(ASPECTS, "C+")},
    ),
    "verdict": (verdict_shape(parse_structured_verdict), parse_structured_verdict, {"verdict": "C"}, {"verdict": "D"}),
}


@pytest.mark.parametrize(("shape", "parse", "good", "bad"), CASES.values(), ids=CASES.keys())
def test_an_answer_of_the_shape_is_read_and_another_one_is_not(shape, parse, good, bad):
    schema = shape.response_format()["json_schema"]["schema"]
    validator = Draft202012Validator(schema)
    answer, wrong = ({"reasoning": "The text is long.", **it} for it in (good, bad))
    validator.validate(answer)
    assert parse(json.dumps(answer)) is not None
    with pytest.raises(ValidationError):
        validator.validate(wrong)
    assert parse(json.dumps(wrong)) is None


@pytest.mark.parametrize("shape", [case[0] for case in CASES.values()], ids=CASES.keys())
def test_a_shape_names_every_key_and_allows_no_other(shape):
    def check(schema):
        if schema.get("type") == "object":
            assert schema["required"] == list(schema["properties"])
            assert schema["additionalProperties"] is False
            for inner in schema["properties"].values():
                check(inner)

    check(shape.response_format()["json_schema"]["schema"])
