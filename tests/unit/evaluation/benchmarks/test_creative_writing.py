"""EQ-Bench creative writing: the two stages from recorded answers, stock phrases, and sets as they are published."""

import json
from typing import Any

import pytest

from longform.evaluation.arena.game_fields import counted_lengths, stated_lengths, weight_of
from longform.evaluation.arena.ratings import rate_arena
from longform.evaluation.benchmarks.benchmark import Answers, JudgePrompt, Material
from longform.evaluation.benchmarks.creative_games import (
    FAR_MEETINGS,
    NEIGHBOUR_MEETINGS,
    Matchup,
    pairwise_tables,
    plan_meetings,
    play,
    settle,
    split_id,
)
from longform.evaluation.benchmarks.creative_writing import ITERATIONS, MAX_CHARACTERS, CreativeWriting
from longform.judging.answers import read_fences
from longform.judging.judge_template import JudgeTemplate
from longform.judging.margins import ASPECTS, MarginPoints
from longform.judging.rubrics import CREATIVE_WRITING
from longform.records.errors import BadInputError
from longform.records.files import read_rows, write_rows
from longform.records.schemas import Game, Response

BENCHMARK, WORDING = CreativeWriting(), JudgePrompt(b"secret")
NAMES = tuple(CREATIVE_WRITING.criteria)
SET = {
    "1": {"writing_prompt": "A tale. <SEED> 800 words.", "seed_modifiers": ["In rain.", "At sea."]},
    "2": {"writing_prompt": "A letter. <SEED>", "seed_modifiers": ["To a king.", "To a cat."]},
    "5": {"writing_prompt": "A duel. <SEED>", "seed_modifiers": ["At dawn."]},
}


def read(tmp_path, content=None, name="set.json"):
    path = tmp_path / name
    path.write_text(json.dumps(SET if content is None else content), encoding="utf-8")
    return BENCHMARK.read(path)


def material(items, texts_of_models):
    """`texts_of_models`: model -> prompt id -> text, or one text for all."""
    responses = []
    for model, texts in texts_of_models.items():
        for prompt in BENCHMARK.prompts(items):
            text = texts if isinstance(texts, str) else texts.get(prompt.id)
            if text is not None:
                responses.append(Response(prompt_id=prompt.id, model=model, text=text))
    return Material({item.id: item for item in items}, responses)


def run(found, rate, compare):
    """Answers of both stages: `rate(about)` gives scores, `compare(about)` margins, None for no answer."""
    answers = Answers()
    rounds = 0
    while new := [it for it in BENCHMARK.questions(found, answers, WORDING) if it.about not in answers]:
        rounds += 1
        for question in new:
            said = (rate if question.about[0] == "rubric" else compare)(question.about)
            if said is None:
                answers.missing[question.about] = "no_answer"
            else:
                answers.values[question.about] = said
    return answers, rounds


def scores(value):
    return {name: 20 - value if name in CREATIVE_WRITING.faults else value for name in NAMES}


def rows_of(tables, title) -> list[dict[str, Any]]:
    (table,) = [it for it in tables if it.title == title]
    return [dict(zip([column.name for column in table.columns], it, strict=True)) for it in table.rows]


def margins(letter, pluses):
    return dict.fromkeys(ASPECTS, letter + "+" * pluses)


def test_three_iterations_take_the_seeds_in_turn(tmp_path):
    prompts = {prompt.id: prompt.request for prompt in BENCHMARK.prompts(read(tmp_path))}
    assert len(prompts) == 3 * ITERATIONS
    assert prompts["1#1"] == "A tale. In rain. 800 words."
    assert prompts["1#2"] == "A tale. At sea. 800 words."
    assert prompts["1#3"] == prompts["1#1"]
    assert prompts["5#3"] == "A duel. At dawn."


def test_a_model_alone_gets_the_mean_of_its_pieces(tmp_path):
    """Pieces 60 and 80 on one item, 40 on the other: 60; an answer that is missing is left out."""
    found = material(read(tmp_path), {"m": {"1#1": "a", "1#2": "b", "2#1": "c", "2#2": "d"}})
    values = {"1#1": 12, "1#2": 16, "2#1": 8}
    answers, rounds = run(found, lambda about: scores(values[about[1]]) if about[1] in values else None, None)
    assert rounds == 1
    tables = BENCHMARK.tables(found, answers)
    (overall,) = rows_of(tables, "EQ-Bench creative writing v3")
    assert (overall["score"].estimate, overall["n"]) == (pytest.approx(60), 3)
    by_criterion = rows_of(tables, "By criterion")
    assert len(by_criterion) == 22
    assert [it["score"].estimate for it in by_criterion] == pytest.approx([12] * 22)
    assert [table.title for table in tables][1:2] == ["Stock words and repetition"]


def test_inapplicable_criteria_are_no_part_of_a_piece(tmp_path):
    found = material(read(tmp_path), {"m": {"1#1": "a"}})
    some = {name: score for name, score in scores(10).items() if name != "Weak Dialogue"} | {"Coherent": 20}
    answers, _ = run(found, lambda about: some, None)
    (overall,) = rows_of(BENCHMARK.tables(found, answers), "EQ-Bench creative writing v3")
    assert overall["score"].estimate == pytest.approx(5 * (20 * 10 + 20) / 21)


def test_an_empty_text_scores_nothing_and_loses_without_a_judge(tmp_path):
    found = material(read(tmp_path), {"good": "text", "mute": "\n"})
    answers, rounds = run(found, lambda about: scores(12), lambda about: pytest.fail("asked"))
    assert rounds == 1
    assert {about[2] for about in answers.values} == {"good"}
    tables = BENCHMARK.tables(found, answers)
    overall = {it["model"]: it["score"].estimate for it in rows_of(tables, "EQ-Bench creative writing v3")}
    assert overall == {"good": pytest.approx(60), "mute": 0}
    games = BENCHMARK.games(found, answers)
    assert {(game.winner, game.margin) for game in games} == {("a", 1.0)}


def test_comparisons_come_after_the_rubric_and_in_both_orders(tmp_path):
    found = material(read(tmp_path), {"one": "x" * 5000, "two": "y"})
    first = list(BENCHMARK.questions(found, Answers(), WORDING))
    assert {question.about[0] for question in first} == {"rubric"}
    answers, rounds = run(found, lambda about: scores(10), lambda about: margins("A", 1))
    assert rounds == 2
    compared = [about for about in answers.values if about[0] == "margins"]
    assert len(compared) == 2 * 2 * ITERATIONS  # item 5 is not compared
    assert {about[2:] for about in compared} == {("one", "two"), ("two", "one")}
    (question,) = [it for it in BENCHMARK.questions(found, answers, WORDING) if it.about == compared[0]]
    texts = read_fences(question.message())
    assert (texts["TEXT A"], texts["TEXT B"]) == ("x" * MAX_CHARACTERS, "y")
    assert question.settings is not None


def test_both_orders_add_up_to_one_game(tmp_path):
    """Forward: one +2 in all nine: 18 to -6; backward: two +1 in all nine: 9 to -3. Together 15 to 3: 0.5 + 12/90."""
    found = material(read(tmp_path, {"1": SET["1"]}), {"one": {"1#1": "x"}, "two": {"1#1": "y"}})

    def compare(about):
        return margins("A", 2) if about[2:] == ("one", "two") else margins("A", 1)

    answers, _ = run(found, lambda about: scores(10), compare)
    (game,) = BENCHMARK.games(found, answers)
    assert (game.model_a, game.model_b, game.winner) == ("one", "two", "a")
    assert game.margin == pytest.approx(0.5 + 12 / 90)


def test_a_judge_that_always_takes_the_first_text_makes_a_draw(tmp_path):
    found = material(read(tmp_path), {"one": "x", "two": "y"})
    answers, _ = run(found, lambda about: scores(10), lambda about: margins("A", 3))
    assert {game.winner for game in BENCHMARK.games(found, answers)} == {"tie"}
    ratings = rows_of(BENCHMARK.tables(found, answers), "Pairwise stage: ratings")
    assert [it["rating"].estimate for it in ratings] == [pytest.approx(1000), pytest.approx(1000)]
    assert {(it["win rate"].estimate, it["games"], it["prompts"]) for it in ratings} == {(0.5, 6, 2)}


def test_a_comparison_that_lacks_an_order_is_left_out_and_said(tmp_path):
    found = material(read(tmp_path), {"one": "x", "two": "y"})
    lost = ("margins", "1#1", "two", "one")
    answers, _ = run(found, lambda about: scores(10), lambda about: None if about == lost else margins("A", 1))
    assert len(BENCHMARK.games(found, answers)) == 5
    (table,) = [it for it in BENCHMARK.tables(found, answers) if it.title == "Pairwise stage: ratings"]
    assert any("left out: 1 comparisons" in note for note in table.notes)


def test_the_games_are_rated_by_the_arena_as_in_the_result(tmp_path):
    """`longform arena` reads the games from a file: weights, items and words must be in them."""
    found = material(read(tmp_path), {"one": "x y " * 1500, "two": "y", "three": "z z"})

    def compare(about):
        better = min(about[2:]) if about[1][-1] != "2" else max(about[2:])
        return margins("A" if better == about[2] else "B", 1 + int(about[1][0]) * (better == "one"))

    answers, _ = run(found, lambda about: scores(10), compare)
    games = BENCHMARK.games(found, answers)
    write_rows(tmp_path / "games.jsonl", games)
    again = rate_arena(list(read_rows(tmp_path / "games.jsonl", Game)))
    rows = rows_of(BENCHMARK.tables(found, answers), "Pairwise stage: ratings")
    assert [[it["model"], it["rating"], it["win rate"], it["games"], it["prompts"]] for it in rows] == [
        [it.model, it.rated, it.win_rate, it.games, it.prompts] for it in again.standings
    ]
    assert len({weight_of(game) for game in games}) > 1
    assert again.standings[0].prompts == 2
    assert {game.prompt_id for game in games} == {f"{item}#{i}" for item in (1, 2) for i in (1, 2, 3)}
    words = {model: n for game, both in zip(games, stated_lengths(games), strict=True)
             for model, n in zip((game.model_a, game.model_b), both, strict=True)}  # fmt: skip
    assert words == {"one": MAX_CHARACTERS // 2, "two": 1, "three": 2}  # as the judge read them
    assert counted_lengths(games, found.responses)[0] != stated_lengths(games)[0]


def test_neighbours_by_the_rubric_meet_most():
    models = [f"m{number}" for number in range(6)]
    texts = {model: {f"{item}#{i}": "t" for item in range(100, 125) for i in (1, 2, 3)} for model in models}
    planned = plan_meetings(models, texts)
    counts = {(a, b): sum((it.a, it.b) == (a, b) for it in planned) for a in models for b in models if a < b}
    expected = [*NEIGHBOUR_MEETINGS, FAR_MEETINGS, FAR_MEETINGS]
    assert all(counts[a, b] == expected[int(b[1]) - int(a[1]) - 1] for a, b in counts)
    four = [split_id(it.prompt_id) for it in planned if (it.a, it.b) == ("m0", "m5")]
    assert len({item for item, _ in four}) == FAR_MEETINGS  # different items before further iterations
    assert {iteration for _, iteration in four} == {1}
    assert plan_meetings(models, texts) == planned


def test_two_empty_texts_do_not_meet():
    texts = {"a": {"1#1": " ", "2#1": ""}, "b": {"1#1": "", "2#1": "t"}}
    (meeting,) = plan_meetings(["a", "b"], texts)
    assert meeting == Matchup("2#1", "a", "b")
    settled = settle(meeting, texts)
    assert settled is not None
    assert play({meeting: settled}, texts)[0].winner == "b"


def test_wider_margins_move_ratings_further():
    def apart(difference):
        held = {}
        for number in range(20):
            won = MarginPoints(difference, 0) if number % 4 else MarginPoints(0, 5)
            held[Matchup(f"{number}#1", "a", "b")] = won
        texts = {model: {it.prompt_id: "Words." for it in held} for model in "ab"}
        best, worst = rows_of(pairwise_tables(play(held, texts), incomplete=0), "Pairwise stage: ratings")
        assert (best["model"], best["win rate"].estimate) == ("a", 0.75)
        return best["rating"].estimate - worst["rating"].estimate

    assert apart(5) < apart(20) < apart(60)


def test_a_judge_with_a_template_is_asked_in_its_words_and_read_in_lines(tmp_path):
    file = tmp_path / "judge.txt"
    file.write_text("{request}|{text}|{criteria}", encoding="utf-8")
    template = JudgeTemplate.read(file, needs=("request", "text"), takes=("criteria",))
    found = material(read(tmp_path), {"m": {"1#1": "a\u2028b"}})
    (question,) = BENCHMARK.questions(found, Answers(), JudgePrompt(b"s", template))
    assert question.message().startswith("A tale. In rain. 800 words.|a\u2028b|- Adherence to Instructions\n- ")
    lines = "The pace: 3\n" + "\n".join(f"{name}: 11" for name in NAMES)
    assert question.parse(lines) == dict.fromkeys(NAMES, 11)
    assert question.parse(lines.replace("Coherent: 11", "Coherent: 21")) is None


def test_stock_is_counted_by_model(tmp_path):
    found = material(read(tmp_path), {"plain": "The cat sat down.", "stocky": "A tapestry. " * 3, "mute": ""})
    tables = BENCHMARK.tables(found, Answers())
    (notes,) = [table.notes for table in tables if table.title == "Stock words and repetition"]
    assert any("ranked by count (EQ-Bench: by overuse" in note for note in notes)
    assert any("Pet words are ranked by count" in it for it in BENCHMARK.card.deviations)
    rows = {it["model"]: it for it in rows_of(tables, "Stock words and repetition")}
    assert rows["plain"]["slop"].estimate == 0
    assert rows["stocky"]["slop"].estimate == 500
    assert rows["stocky"]["pet words %"].estimate == 50
    assert rows["stocky"]["most frequent pet words"] == "tapestry"
    assert (rows["plain"]["n"], rows["plain"]["prompts"]) == (9, 3)
    assert "Intervals from fewer than 20 prompts are too narrow." in notes


@pytest.mark.parametrize(
    "text", ["命运的齿轮开始转动，嘴角勾起一抹弧度。", "Он смотрел на море.", "Él miró el mar y pensó en ella."]
)
def test_texts_that_the_english_lists_say_nothing_about_have_no_slop(tmp_path, text):
    tables = BENCHMARK.tables(material(read(tmp_path), {"plain": "The cat sat down.", "foreign": text * 3}), Answers())
    rows = {it["model"]: it for it in rows_of(tables, "Stock words and repetition")}
    assert (rows["foreign"]["slop"], rows["foreign"]["pet words %"]) == (None, None)
    assert rows["foreign"]["repeated 4-grams %"].estimate > 0
    assert rows["plain"]["slop"].estimate == 0
    (notes,) = [table.notes for table in tables if table.title == "Stock words and repetition"]
    assert any(
        note.startswith("no figure for slop and pet words of foreign: the lists are of English") for note in notes
    )


def test_rows_with_ids_are_read_as_well(tmp_path):
    path = tmp_path / "set.jsonl"
    rows = [{"prompt_id": "7", **SET["1"]}, {"id": "2", **SET["2"]}]
    path.write_text("".join(json.dumps(it) + "\n" for it in rows), encoding="utf-8")
    assert [item.id for item in BENCHMARK.read(path)] == ["7", "2"]
    assert [item.id for item in read(tmp_path, rows, "array.json")] == ["7", "2"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"1": SET["1"] | {"judging_criteria": []}}, "set.json:1: judging_criteria: belongs to version 2"),
        ({"1": {"writing_prompt": "A tale."}}, "set.json:1: not a row of creative-writing"),
        ({"1": SET["1"] | {"seed_modifiers": []}}, "set.json:1: seeds: "),
        ({"1": SET["1"] | {"seed_modifiers": "x"}}, "set.json:1: seeds: "),
        ({"1": SET["1"] | {"writing_prompt": 5}}, "set.json:1: writing_prompt: not a text"),
        ({"1": "A tale."}, "set.json:1: not a row of creative-writing"),
        ({}, "set.json: contains no rows"),
        ([], "set.json: contains no rows"),
        (5, "set.json:1: Input should be an object"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, content, words):
    with pytest.raises(BadInputError) as caught:
        read(tmp_path, content)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_stands_twice_and_no_json_are_refused(tmp_path):
    path = tmp_path / "set.json"
    path.write_text('{"1": {}, "1": {}}', encoding="utf-8")
    with pytest.raises(BadInputError, match="'1' occurs twice"):
        BENCHMARK.read(path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(BadInputError, match="Invalid JSON"):
        BENCHMARK.read(path)
    with pytest.raises(BadInputError, match="cannot be read"):
        BENCHMARK.read(tmp_path / "none.json")
