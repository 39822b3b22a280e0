"""EQ-Bench longform writing: the turns of a conversation, the judge's questions, and scores worked out by hand."""

import json
from typing import Any

import pytest

from longform.evaluation.benchmarks.benchmark import Answers, JudgePrompt, Material
from longform.evaluation.benchmarks.longform_writing import WHOLE, LongformWriting, novella_scores
from longform.judging.answers import read_fences
from longform.judging.judge_template import JudgeTemplate
from longform.judging.novellas import CHAPTERS, PLANNING, TURNS
from longform.judging.rubrics import CHAPTER, METAPHOR, NOVELLA
from longform.records.schemas import Response

BENCH = LongformWriting()
ROWS = {
    "1": {"writing_prompt": "Write about a lamp.", "category": "Fable", "title": "Lamp"},
    "2": {"writing_prompt": "Write about {rain}.", "category": "Noir", "title": "Rain"},
}


@pytest.fixture
def items(tmp_path):
    path = tmp_path / "longform_creative_writing_prompts_minimalist.json"
    path.write_text(json.dumps(ROWS), encoding="utf-8")
    return BENCH.read(path)


def texts_of(item, **changes):
    return {f"{item}#{turn}": changes.get(turn.replace("-", "_"), f"The {turn} of {item}.") for turn in TURNS}


def material(items, *written, model="m"):
    texts = {key: text for it in written for key, text in it.items()}
    responses = [Response(prompt_id=it, model=model, text=text) for it, text in texts.items() if text is not None]
    return Material({it.id: it for it in items}, responses)


def level(rubric, value):
    """Scores that come to `value` of 20 by every criterion; the metaphor is free of its flaw or full of it."""
    scores = {name: 20 - value if name in rubric.faults else value for name in rubric.criteria}
    del scores[METAPHOR]
    return scores


def answers(item, chapters, whole, model="m"):
    values = {(item, model, "0", turn): level(CHAPTER, value) for turn, value in zip(CHAPTERS, chapters, strict=True)}
    return Answers(values | {(item, model, "0", WHOLE): level(NOVELLA, whole)})


def rows_of(tables, title) -> list[dict[str, Any]]:
    (table,) = [it for it in tables if it.title == title]
    names = [column.name for column in table.columns]
    return [dict(zip(names, it, strict=True)) for it in table.rows]


def test_a_story_has_five_turns_of_planning_and_eight_chapters(items):
    assert (len(PLANNING), len(CHAPTERS), BENCH.turns) == (5, 8, 13)
    prompts = {it.id: it.request for it in BENCH.prompts(items)}
    assert len(prompts) == 26
    assert prompts["2#brainstorm"].startswith("Write about {rain}.\n\n")
    assert "chapter 1 now" in prompts["1#chapter-1"] and "chapter 5 now" in prompts["1#chapter-5"]
    assert "chapter 8 now, the last one" in prompts["1#chapter-8"]
    assert all("about 1000 words" in prompts[f"1#{turn}"] for turn in CHAPTERS)
    assert not any(slot in text for text in prompts.values() for slot in ("{chapters}", "{words}", "{number}"))


def test_a_turn_continues_the_conversation_of_all_earlier_ones(items):
    texts = texts_of("1") | texts_of("2")
    for number in (1, 6, 13):
        one, other = BENCH.turn(items, number, texts)
        assert (one.id, other.id) == (f"1#{TURNS[number - 1]}", f"2#{TURNS[number - 1]}")
        assert [it["role"] for it in one.messages] == ["user", "assistant"] * (number - 1) + ["user"]
        assert [it["content"] for it in one.messages][1::2] == [f"The {turn} of 1." for turn in TURNS[: number - 1]]
    first = BENCH.prompts(items)[0]
    assert BENCH.turn(items, 1, {})[0].request == first.request == one.messages[0]["content"]


@pytest.mark.parametrize("ended", [None, " \n"])
def test_a_conversation_without_an_earlier_text_is_not_continued(items, ended):
    texts = {it: text for it, text in texts_of("1").items() if it != "1#plan"} | texts_of("2")
    texts |= {} if ended is None else {"1#plan": ended}
    assert [it.id for it in BENCH.turn(items, 4, texts)] == ["1#plan", "2#plan"]
    assert [it.id for it in BENCH.turn(items, 5, texts)] == ["2#characters"]


def test_chapters_are_judged_beside_plan_and_characters_and_then_the_whole(items):
    asked = list(BENCH.questions(material(items, texts_of("1")), Answers(), JudgePrompt(b"s")))
    assert [it.about for it in asked] == [("1", "m", "0", piece) for piece in (*CHAPTERS, WHOLE)]
    message = asked[2].message()
    assert read_fences(message) == {
        "REQUEST": "Write about a lamp.",
        "PLAN": "The plan of 1.",
        "CHARACTERS": "The characters of 1.",
        "CHAPTER": "The chapter-3 of 1.",
    }
    assert "number 3." in message
    story = read_fences(asked[-1].message())["STORY"]
    assert story.startswith("# Chapter 1\n\nThe chapter-1 of 1.\n\n# Chapter 2")
    assert asked[0].parse(json.dumps({"scores": level(CHAPTER, 12) | {METAPHOR: None}})) == level(CHAPTER, 12)
    assert asked[-1].parse(json.dumps({"scores": level(CHAPTER, 12) | {METAPHOR: 1}})) is None
    assert asked[-1].parse(json.dumps({"scores": level(NOVELLA, 12) | {METAPHOR: 21}})) is None


def test_a_score_by_hand(items):
    """Chapters at 10 of 20 but the last at 18, the whole at 14: (7 * 50 + 90 + 70) / 9."""
    found = material(items, texts_of("1"))
    tables = BENCH.tables(found, answers("1", [10] * 7 + [18], 14))
    (overall,) = rows_of(tables, "EQ-Bench longform writing")
    assert overall["score"].estimate == pytest.approx((7 * 50 + 90 + 70) / 9)
    assert overall["chapters"].estimate == pytest.approx((7 * 50 + 90) / 8)
    assert overall["whole"].estimate == pytest.approx(70)
    by = {it["chapter"]: it["score"].estimate for it in rows_of(tables, "By chapter")}
    assert list(by) == [str(number) for number in range(1, 9)]
    assert (by["1"], by["8"]) == (pytest.approx(50), pytest.approx(90))
    (scored,) = BENCH.scored(found, answers("1", [10] * 7 + [18], 14))
    assert (scored.prompt_id, scored.values["score"]) == ("1", pytest.approx((7 * 50 + 90 + 70) / 9))


def test_the_metaphor_counts_less_than_in_proportion():
    found = novella_scores([{METAPHOR: 10}], [])
    assert found.chapters == pytest.approx(5 * 20 * 0.5**1.7)


def test_the_score_of_a_model_is_the_mean_over_stories(items):
    found = material(items, texts_of("1"), texts_of("2"))
    known = Answers(answers("1", [10] * 8, 10).values | answers("2", [20] * 8, 20).values)
    (overall,) = rows_of(BENCH.tables(found, known), "EQ-Bench longform writing")
    assert (overall["score"].estimate, overall["n score"]) == (pytest.approx(75), 2)


def test_an_empty_turn_ends_the_story_and_its_chapters_score_0(items):
    written = texts_of("1", chapter_3="", chapter_4="Written all the same.", chapter_5=None)
    found = material(items, written)
    asked = list(BENCH.questions(found, Answers(), JudgePrompt(b"s")))
    assert [it.about[-1] for it in asked] == ["chapter-1", "chapter-2", WHOLE]
    tables = BENCH.tables(found, answers("1", [20] * 8, 16))
    (overall,) = rows_of(tables, "EQ-Bench longform writing")
    assert overall["score"].estimate == pytest.approx((2 * 100 + 80) / 9)
    by = {it["chapter"]: it["score"].estimate for it in rows_of(tables, "By chapter")}
    assert (by["2"], by["3"], by["8"]) == (pytest.approx(100), 0, 0)


def test_a_writer_that_does_not_answer_at_all_scores_0_without_a_call(items):
    found = material(items, {"1#brainstorm": ""})
    assert not list(BENCH.questions(found, Answers(), JudgePrompt(b"s")))
    (overall,) = rows_of(BENCH.tables(found, Answers()), "EQ-Bench longform writing")
    assert overall["score"].estimate == 0


def test_a_story_that_lacks_a_turn_is_left_out_and_counted(items):
    found = material(items, texts_of("1"), texts_of("2", chapter_4=None))
    tables = BENCH.tables(found, answers("1", [10] * 8, 10))
    (overall,) = rows_of(tables, "EQ-Bench longform writing")
    assert overall["n score"] == 1
    assert "stories left out because a turn is missing: 1" in tables[0].notes
    assert {it.about[0] for it in BENCH.questions(found, Answers(), JudgePrompt(b"s"))} == {"1"}


def test_a_chapter_without_an_answer_is_left_out_of_the_mean(items):
    known = answers("1", [10] * 7 + [20], 10)
    del known.values["1", "m", "0", "chapter-8"]
    (overall,) = rows_of(BENCH.tables(material(items, texts_of("1")), known), "EQ-Bench longform writing")
    assert overall["score"].estimate == pytest.approx(50)


def test_a_judge_with_its_own_template_is_asked_about_both(items, tmp_path):
    path = tmp_path / "critic.txt"
    path.write_text("{request}|{text}|{plan}|{characters}|{criteria}")
    template = JudgeTemplate.read(path, needs=("request", "text"), takes=("criteria", "plan", "characters"))
    found = material(items, texts_of("1"))
    one, *_, whole = BENCH.questions(found, Answers(), JudgePrompt(b"s", template))
    assert one.message().startswith(
        "Write about a lamp.|The chapter-1 of 1.|The plan of 1.|The characters of 1.|- Nuanced"
    )
    assert "|||- Believable Character Actions" in whole.message()
    assert one.parse("\n".join(f"{name}: 12" for name in CHAPTER.criteria)) == dict.fromkeys(CHAPTER.criteria, 12)
