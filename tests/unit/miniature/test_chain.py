from longform.miniature.chain import PRETRAINED, SMOKE, TRAINING_PROMPTS, WRITING, Text, learning_overrides, write_texts
from longform.miniature.chain_evidence import examiner_pairs
from longform.miniature.corpus import TAGS
from longform.miniature.judge import EXAMINER, pointwise_score
from longform.miniature.longwriter_zero import SMOKE as LEARNING
from longform.miniature.longwriter_zero import pipeline_recipe
from longform.miniature.world import WIDE_RANGES, parse_request, prompts
from longform.records.files import read_rows
from longform.records.schemas import Prompt, Response
from longform.rewards.settings import WritingSettings


def test_the_texts_are_stories_pages_and_planned_answers_of_training_requests(tmp_path):
    write_texts(tmp_path, scale=SMOKE, seed=1)
    stories, pages = (list(read_rows(tmp_path / f"{name}.jsonl", Text)) for name in ("stories", "pages"))
    assert len(stories) == len(pages) == SMOKE.documents
    assert all(it.text.startswith("Write a story") for it in stories)
    assert all(it.text.startswith("Sketch.") for it in pages)
    assert not any(tag in it.text for it in stories + pages for tag in TAGS), "planned answers bring the tags"
    asked = {row.id for row in read_rows(tmp_path / "planned-prompts.jsonl", Prompt)}
    answers = list(read_rows(tmp_path / "planned-responses.jsonl", Response))
    assert {it.prompt_id for it in answers} == asked
    assert all(it.meta["well_formed"] and it.meta["plan"] for it in answers)


def test_the_examiner_prefers_the_chosen_text_of_each_pair_and_finds_none_equal():
    rows = prompts(seed=5, split="held-out", count=40, ranges=WIDE_RANGES)
    pairs = examiner_pairs(rows, seed=1)
    assert 30 <= len(pairs) <= 40
    for it in pairs:
        request = parse_request(str(it.prompt))
        chosen, rejected = (pointwise_score(request, text, EXAMINER) for text in (it.chosen, it.rejected))
        assert chosen - rejected >= EXAMINER.tie_band
    assert pairs == examiner_pairs(rows, seed=1)


def test_the_learning_begins_at_the_pretrained_model_and_is_graded_by_the_reward_model(tmp_path):
    recipe = pipeline_recipe(tmp_path, scale=LEARNING, seed=1, overrides=learning_overrides(tmp_path))
    assert recipe.policy == str(tmp_path / PRETRAINED)
    assert recipe.data.prompts == tmp_path / TRAINING_PROMPTS
    length, form, writing = recipe.rewards
    assert (length.kind, form.kind) == ("length", "format")
    assert isinstance(writing, WritingSettings)
    assert writing.models == [str(tmp_path / name) for name in WRITING]
