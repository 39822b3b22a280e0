"""Lengths of texts: from files, from flags, or the longest that may come, and always said."""

import pytest

from longform.planning.assumptions import Assumptions
from longform.planning.text_lengths import find_lengths
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.schemas import Ladder, Prompt, Reference

RUN = {"name": "a", "steps": 1}
PAIRWISE = {"kind": "pairwise", "judge": "j"}


def _recipe(data, rewards=(PAIRWISE,), **sections):
    return Recipe.model_validate({"policy": "a/b-1B", "data": data, "rewards": list(rewards), "run": RUN} | sections)


def _ladder(number, words, **fields):
    references = [Reference(model=str(n), text="word " * n, score=n) for n in words]
    return Ladder(id=str(number), prompt="one two three", references=references, policy_score=1, potential=1, **fields)


@pytest.fixture
def ladders(tmp_path):
    path = tmp_path / "ladders.jsonl"
    write_rows(path, [_ladder(1, (100, 300)), _ladder(2, (200, 800))])
    return {"ladders": path, "per_step": 1}


def test_responses_are_as_long_as_the_references(ladders):
    lengths = find_lengths(_recipe(ladders), Assumptions())
    # 1.3 tokens a word: means of 200 and 500 words make 350, and a prompt of three words has 4 tokens and its template's 8
    assert lengths.response == lengths.answer == lengths.reference == pytest.approx(350 * 1.3)
    assert lengths.prompt == 12
    assert lengths.prompts == 2
    assert lengths.longest == 10_000
    assert any("prompts' references: 455 tokens" in note for note in lengths.notes)


def test_what_a_judge_reads_beside_the_texts_holds_the_criteria(tmp_path, ladders):
    plain = find_lengths(_recipe(ladders), Assumptions())
    write_rows(tmp_path / "with.jsonl", [_ladder(1, (100,), criteria="criterion " * 400)])
    with_criteria = find_lengths(_recipe({"ladders": tmp_path / "with.jsonl", "per_step": 1}), Assumptions())
    assert 600 < with_criteria.pairwise_frame - plain.pairwise_frame < 900


def test_with_a_length_reward_the_ranges_lead(tmp_path):
    path = tmp_path / "prompts.jsonl"
    rows = [Prompt(id=str(n), prompt="write", length_range=(n, 3 * n)) for n in (500, 1000)]
    write_rows(path, rows)
    recipe = _recipe(
        {"prompts": path, "per_step": 1, "group": 2},
        [{"kind": "length"}, {"kind": "pointwise", "judge": "j"}],
        method="grpo",
        generation={"think": "on", "max_tokens": 8000},
    )
    lengths = find_lengths(recipe, Assumptions(plan_tokens=1000))
    assert lengths.answer == pytest.approx(1500 * 1.3)
    assert lengths.response == pytest.approx(1500 * 1.3 + 1000)


def test_without_a_file_everything_is_assumed_and_said(tmp_path):
    recipe = _recipe({"ladders": tmp_path / "none.jsonl"}, validation={"prompts": tmp_path / "v.jsonl", "judge": "e"})
    lengths = find_lengths(recipe, Assumptions())
    assert (lengths.prompts, lengths.prompt, lengths.response) == (None, 1024, 10_000)
    assert lengths.validation_prompts == 0
    text = "\n".join(lengths.notes)
    assert "none.jsonl does not exist" in text
    assert "v.jsonl does not exist: validation is not counted" in text
    assert "every response reaches max_tokens: 10,000 tokens" in text


def test_what_is_given_takes_the_place_of_the_files(ladders):
    given = Assumptions(tokens_per_prompt=99, tokens_per_response=2000, longest_response=3000, validation_prompts=7)
    validation = {"prompts": "none.jsonl", "judge": "e"}
    lengths = find_lengths(_recipe(ladders, validation=validation), given)
    assert (lengths.prompt, lengths.response, lengths.longest, lengths.validation_prompts) == (99, 2000, 3000, 7)
    assert lengths.reference == pytest.approx(350 * 1.3), "references are what they are"


def test_no_response_is_longer_than_it_may_be(ladders):
    lengths = find_lengths(_recipe(ladders, generation={"max_tokens": 64}), Assumptions(tokens_per_response=500))
    assert (lengths.response, lengths.longest) == (64, 64)


def test_a_bad_row_is_an_error(tmp_path):
    path = tmp_path / "ladders.jsonl"
    path.write_text('{"id": "a"}\n')
    with pytest.raises(BadInputError, match=r"ladders\.jsonl:1"):
        find_lengths(_recipe({"ladders": path}), Assumptions())
