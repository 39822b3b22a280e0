"""LongBench v2: what an answer says, what counts as wrong, and what training changed."""

import json
from functools import partial
from math import comb
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.evaluation.benchmarks.benchmark import Answers, Material
from longform.evaluation.benchmarks.catalogue import read_set
from longform.evaluation.benchmarks.grouping import ScoredItem
from longform.evaluation.benchmarks.longbench_v2 import MAX_TOKENS, LongBenchV2, LongBenchV2Cot, parse_choice
from longform.evaluation.benchmarks.transfer import ACCURACY, accuracy_interval, difference_interval, transfer_table
from longform.records.errors import BadInputError
from longform.records.schemas import Response
from longform.text.cutting import cut_middle
from longform.text.words import estimate_tokens

BENCHMARK, COT = LongBenchV2(), LongBenchV2Cot()


def row(number, **other):
    choices = {f"choice_{letter}": f" the {letter} " for letter in "ABCD"}
    return {
        "_id": f"q{number}",
        "domain": ("Code", "Novels")[number % 2],
        "sub_domain": "s",
        "difficulty": ("easy", "hard")[number % 2],
        "length": ("short", "medium", "long")[number % 3],
        "question": "  Who {did} it?\n",
        "context": f"Text {number}.\u2028 ",
        "answer": "ABCD"[number % 4],
        **choices,
        **other,
    }


def read(tmp_path, rows, name="data.json"):
    path = tmp_path / name
    path.write_text(json.dumps(rows), encoding="utf-8")
    return read_set(BENCHMARK, path)


def tables(items, texts_of_models):
    responses = [
        Response(prompt_id=item.id, model=model, text=text)
        for model, texts in texts_of_models.items()
        for item, text in zip(items, texts, strict=True)
    ]
    return BENCHMARK.tables(Material({item.id: item for item in items}, responses), Answers())


def rows_of(table) -> list[dict[str, Any]]:
    return [dict(zip([column.name for column in table.columns], it, strict=True)) for it in table.rows]


def answer(letter):
    return f"The correct answer is ({letter})."


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("The correct answer is (A)", "A"),
        ("**The correct answer is (B)**", "B"),
        ("The correct answer is **C**.", "C"),
        ("So: The correct answer is D", "D"),
        ("The correct answer is (A). The correct answer is (B).", "A"),
        ("The correct answer is B, rather: The correct answer is (C)", "C"),
        ("The correct answer is Determined by the butler", None),
        ("The correct answer is (E)", None),
        ("the correct answer is (A)", None),
        ("The correct answer is (insert answer here)", None),
        ("(A)", None),
        ("", None),
    ],
)
def test_an_answer_is_read_strictly(text, choice):
    assert parse_choice(text) == choice


def test_a_prompt_holds_the_document_the_question_and_the_choices(tmp_path):
    (prompt,) = BENCHMARK.prompts(read(tmp_path, [row(1)]))
    assert prompt.id == "q1"
    assert "<text>\nText 1.\n</text>\n\nThe question: Who {did} it?\nChoices:\n(A) the A\n(B) the B\n" in prompt.request
    assert prompt.request.endswith('"The correct answer is (insert answer here)".')
    assert parse_choice(prompt.request) is None


def test_a_long_document_loses_its_middle_and_the_question_stays(tmp_path):
    items = read(tmp_path, [row(1, context="beginning " + "word " * 200_000 + " end")])
    (prompt,) = BENCHMARK.prompts(items)
    assert 0.95 * MAX_TOKENS < estimate_tokens(prompt.request) <= MAX_TOKENS
    assert "<text>\nbeginning word" in prompt.request
    assert "word  end\n</text>\n\nThe question: Who" in prompt.request
    (shorter,) = BENCHMARK.fitted([prompt], lambda text: text[:5] + text[-5:])
    assert shorter.request == prompt.request[:5] + prompt.request[-5:]


def test_empty_and_unclear_answers_are_wrong_and_counted(tmp_path):
    """Of six: two right, one of another letter, two empty, one unclear. Upstream would say 2 of 4."""
    items = read(tmp_path, [row(number) for number in range(6)])
    texts = [answer("A"), answer("B"), answer("D"), "", " \n", "I think it is (B)"]
    overall, difficulty, length, domain = tables(items, {"m": texts})
    (found,) = rows_of(overall)
    assert found["accuracy"].estimate == pytest.approx(100 * 2 / 6)
    assert found["n"] == 6
    assert "m: 2 empty and 1 without a choice, counted as wrong" in overall.notes
    assert [(it["difficulty"], it["accuracy"].estimate, it["n"]) for it in rows_of(difficulty)] == [
        ("easy", pytest.approx(100 / 3), 3),
        ("hard", pytest.approx(100 / 3), 3),
    ]
    assert [(it["length"], it["accuracy"].estimate) for it in rows_of(length)] == [
        ("short", 50.0),
        ("medium", 50.0),
        ("long", 0.0),
    ]
    assert {it["domain"] for it in rows_of(domain)} == {"Code", "Novels"}


def test_an_interval_does_not_collapse_where_all_answers_are_right():
    assert accuracy_interval([100.0] * 5, list("abcde")) == (100.0, pytest.approx(56.55, abs=0.01), 100.0)
    assert accuracy_interval([100.0, 0.0], ["a", "a"]).estimate == 50  # two samples of one question


def scored(model, rights):
    groups = [{"difficulty": "easy"}, {"difficulty": "hard"}]
    return [ScoredItem(model, f"q{i}", {ACCURACY: 100.0 * right}, groups[i % 2]) for i, right in enumerate(rights)]


def test_before_and_after_are_paired_by_question():
    """Ten questions: 6 gained, 1 lost. McNemar, exact: 2 * (C(7,0) + C(7,1)) / 2^7 = 0.125."""
    before = scored("base", [1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
    after = scored("tuned", [1, 1, 0, 1, 1, 1, 1, 1, 1, 0])
    table = transfer_table(before, after, kinds={"difficulty": ("easy", "hard", "none")})
    assert table.title == "Before and after: base and tuned"
    every, easy, hard = rows_of(table)
    assert (every["before"].estimate, every["after"].estimate) == (30, 80)
    assert (every["difference"].estimate, every["n"], every["gained"], every["lost"]) == (50, 10, 6, 1)
    assert every["p"] == pytest.approx(2 * (comb(7, 0) + comb(7, 1)) / 2**7)
    assert (easy["questions"], easy["n"], hard["questions"], hard["n"]) == ("easy", 5, "hard", 5)
    assert easy["gained"] + hard["gained"] == 6


def test_questions_that_only_one_answered_are_left_out_and_said():
    table = transfer_table(scored("base", [1, 0, 1]), scored("tuned", [1, 1]))
    assert rows_of(table)[0]["n"] == 2
    assert any("1 questions" in note for note in table.notes)


def test_nothing_changed_is_no_evidence_and_no_certainty():
    (found,) = rows_of(transfer_table(scored("a", [1, 0] * 4), scored("b", [1, 0] * 4)))
    assert found["p"] == 1
    assert found["difference"].low < 0 < found["difference"].high


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_the_interval_of_a_difference_holds_it_and_turns_with_it(gained, lost, same):
    total = gained + lost + same
    if not total:
        return
    found, turned = difference_interval(gained, lost, total), difference_interval(lost, gained, total)
    assert -100 <= found.low <= found.estimate <= found.high <= 100
    assert found.low == pytest.approx(-turned.high)


def test_the_interval_of_a_difference_is_that_of_agresti_and_min():
    """6 gained, 1 lost of 10: (6.5 - 1.5) / 12 +- 1.96 * sqrt(8 - 25 / 12) / 12."""
    found = difference_interval(6, 1, 10)
    spread = 1.959964 * (8 - 25 / 12) ** 0.5 / 12
    assert found == (50, pytest.approx(100 * (5 / 12 - spread)), pytest.approx(100 * (5 / 12 + spread)))


def test_later_models_are_held_against_the_first(tmp_path):
    items = read(tmp_path, [row(number) for number in range(4)])
    right, wrong = [answer(item.answer) for item in items], [""] * 4
    found = tables(items, {"base": wrong, "tuned": right, "other": wrong})
    assert [table.title for table in found[-2:]] == [
        "Before and after: base and tuned",
        "Before and after: base and other",
    ]
    assert rows_of(found[-2])[0]["gained"] == 4
    assert len(tables(items, {"base": wrong})) == 4


def test_several_samples_of_a_question_are_one_piece_of_evidence():
    twice = [*scored("a", [1, 0, 1]), *scored("a", [0, 0, 1])]
    table = transfer_table(twice, scored("b", [1, 1, 1]))
    assert "Intervals from fewer than 20 prompts are too narrow." in table.notes  # a bootstrap's; those of shares hold
    assert not any("narrow" in it for it in transfer_table(scored("a", [1, 0, 1]), scored("b", [1, 1, 1])).notes)
    (found,) = rows_of(table)
    assert (found["before"].estimate, found["n"], found["gained"], found["lost"]) == (50, 3, 2, 0)


def test_with_chain_of_thought_the_choice_follows_the_reasoning_in_one_conversation(tmp_path):
    items = read(tmp_path, [row(1), row(2), row(3)])
    first = COT.turn(items, 1, {})
    assert [it.id for it in first] == ["q1#reasoning", "q2#reasoning", "q3#reasoning"]
    assert "(A) the A" in first[0].request
    assert "insert answer here" not in first[0].request
    second = COT.turn(items, 2, {"q1#reasoning": "Text 1 says B. ", "q2#reasoning": ""})
    assert [it.id for it in second] == ["q1", "q2"], "nothing is asked where the reasoning failed"
    assert [it["role"] for it in second[0].messages] == ["user", "assistant", "user"]
    assert [it["content"] for it in second[0].messages[:2]] == [first[0].request, "Text 1 says B."]
    assert second[1].messages[1]["content"] == "(nothing)"
    assert second[0].messages[2]["content"].endswith('"The correct answer is (insert answer here)".')
    assert {it.id for it in [*first, *second]} <= {it.id for it in COT.prompts(items)}


def test_the_reasoning_is_no_answer_whatever_it_says(tmp_path):
    items = read(tmp_path, [row(0), row(1)])
    texts = {"q0#reasoning": answer("B"), "q0": answer("A"), "q1#reasoning": answer("B"), "q1": answer("C")}
    responses = [Response(prompt_id=name, model="m", text=text) for name, text in texts.items()]
    material = Material({it.id: it for it in items}, responses)
    assert [(it.prompt_id, it.values[ACCURACY]) for it in COT.scored(material, Answers())] == [("q0", 100), ("q1", 0)]
    (found,) = rows_of(COT.tables(material, Answers())[0])
    assert (found["accuracy"].estimate, found["n"]) == (50, 2)


def test_a_short_context_shortens_the_document_of_both_turns_alike(tmp_path):
    items = read(tmp_path, [row(1, context="word " * 5000)])
    cut = partial(cut_middle, limit=500)
    (first,) = COT.fitted(COT.turn(items, 1, {}), cut)
    (second,) = COT.fitted(COT.turn(items, 2, {first.id: "So B."}), cut)
    assert estimate_tokens(first.request) <= 500
    assert second.messages[0]["content"] == first.request
    assert second.messages[1]["content"] == "So B."


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answer": "E"}, "answer"),
        ({"difficulty": "odd"}, "difficulty"),
        ({"length": "tiny"}, "length"),
        ({"context": 5}, "context: not a text"),
    ],
)
def test_a_broken_row_is_named(tmp_path, change, words):
    with pytest.raises(BadInputError, match=rf"data\.json:2: .*{words}"):
        read(tmp_path, [row(1), row(2, **change)])


def test_a_set_of_another_benchmark_is_told(tmp_path):
    task = {"idx": 1, "question": "Write.", "type": "Essay", "length": 10, "baseline_response": "x"}
    with pytest.raises(BadInputError, match="arena-write"):
        read(tmp_path, [task])
    with pytest.raises(BadInputError, match="earlier row"):
        read(tmp_path, [row(1), row(1)])
