"""People label pairs: blind, each their part, nothing lost; and what they agree on is measured."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from longform.evaluation.audit.pairs import AuditedPair, majority, read_pairs
from longform.evaluation.audit.people import measure_people
from longform.evaluation.audit.run import audit, measure_audit
from longform.evaluation.audit.tables import audit_tables
from longform.evaluation.estimates import Bootstrap
from longform.evaluation.labelling.assignment import Assignment
from longform.evaluation.labelling.interchange import export_pairs, import_pairs
from longform.evaluation.labelling.labels import Answer, LabelStore, winner_of_choice
from longform.evaluation.labelling.run import open_labels
from longform.evaluation.labelling.sampling import draw, drifting_steps, pairs_of_games
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.rollout_search import RolloutFacts
from longform.records.schemas import Game, PromptRow, Response

IDS = [f"pair {number}" for number in range(100)]


def pair(number: int, **fields: object) -> AuditedPair:
    values = {"id": f"q{number}", "prompt": f"Why {number}?", "response_a": "It is so.", "response_b": "Thus it is."}
    return AuditedPair.model_validate(values | fields)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_rows(tmp_path / "pairs.jsonl", [pair(number) for number in range(6)])
    return tmp_path / "pairs.jsonl"


def answer(store: LabelStore, person: str, choice: str, **fields: object) -> str:
    shown = store.next_pair(person)
    assert shown is not None
    values = {"person": person, "pair_id": shown.id, "choice": choice, "seconds": 2.5}
    store.add(Answer.model_validate(values | fields))
    return shown.id


@pytest.mark.parametrize("overlap", [0.0, 0.3, 1.0])
def test_all_people_share_the_stated_part_and_divide_the_rest(overlap: float) -> None:
    assignment = Assignment(IDS, ["ann", "bob", "cid"], overlap=overlap, seed=3)
    sets = [set(assignment.pairs_of(it)) for it in assignment.people]
    shared = set.intersection(*sets)
    assert len(shared) == 100 * overlap
    assert set.union(*sets) == set(IDS)
    assert sum(map(len, sets)) == 3 * len(shared) + (100 - len(shared))
    assert max(map(len, sets)) - min(map(len, sets)) <= 1


def test_orders_are_drawn_for_each_person_and_pair_and_stay() -> None:
    one, again = (Assignment(IDS, ["ann", "bob"], seed=1) for _ in range(2))
    orders = [one.order("ann", it) for it in IDS]
    assert 30 < orders.count("ab") < 70
    assert orders != [one.order("bob", it) for it in IDS]
    assert orders == [again.order("ann", it) for it in IDS]
    assert one.pairs_of("ann") == again.pairs_of("ann") != one.pairs_of("bob")


@pytest.mark.parametrize("people", [["a", "a"], [" "], ["x", ""]])
def test_people_need_names_of_their_own(people: list[str]) -> None:
    with pytest.raises(BadInputError, match="--people"):
        Assignment(IDS, people)


@pytest.mark.parametrize(
    ("choice", "order", "winner"),
    [("first", "ab", "a"), ("first", "ba", "b"), ("second", "ab", "b"), ("second", "ba", "a"), ("tie", "ba", "tie")],
)
def test_a_choice_is_kept_by_text_and_not_by_place(choice, order, winner) -> None:
    assert winner_of_choice(choice, order) == winner


def test_labels_survive_the_end_of_the_process_and_go_into_the_pairs_file(path: Path) -> None:
    store = open_labels(path, people=["ann"], seed=5)
    ids = [answer(store, "ann", "first", reasons=" livelier "), answer(store, "ann", "tie", criteria=["plot"])]
    again = open_labels(path, people=["ann"], seed=5)
    assert again.count("ann") == (2, 6)
    assert again.next_pair("ann") == store.next_pair("ann")
    again.save()
    rows = {it.id: it for it in read_pairs([path])}
    order = store.assignment.order("ann", ids[0])
    assert rows[ids[0]].labels == {"ann": "a" if order == "ab" else "b"}
    assert rows[ids[0]].label_orders == {"ann": order}
    assert rows[ids[0]].label_notes == {"ann": "livelier"}
    assert rows[ids[1]].label == "tie"
    assert rows[ids[1]].label_notes == {"ann": "plot"}
    assert all(it.labels is None for id_, it in rows.items() if id_ not in ids)


def test_a_line_that_the_process_left_unfinished_is_dropped(path: Path) -> None:
    store = open_labels(path, people=["ann"])
    answer(store, "ann", "first")
    with store.log_path.open("a", encoding="utf-8") as log:
        log.write('{"pair_id": "q')
    again = open_labels(path, people=["ann"])
    assert again.count("ann") == (1, 6)
    answer(again, "ann", "second")
    assert open_labels(path, people=["ann"]).count("ann") == (2, 6)


def test_the_last_label_can_be_taken_back_time_and_again(path: Path) -> None:
    store = open_labels(path, people=["ann", "bob"])
    ids = [answer(store, "ann", "first") for _ in range(3)]
    answer(store, "bob", "first")
    assert [store.undo("ann"), store.undo("ann")] == [ids[2], ids[1]]
    assert store.next_pair("ann").id == ids[1]  # pyright: ignore[reportOptionalMemberAccess]
    assert open_labels(path, people=["ann", "bob"]).count("ann") == (1, 6)
    assert store.undo("ann") == ids[0]
    assert store.undo("ann") is None
    assert store.count("bob")[0] == 1


def test_what_nobody_was_asked_is_refused(path: Path) -> None:
    store = open_labels(path, people=["ann", "bob"], overlap=0.0)
    other = store.assignment.pairs_of("bob")[0]
    for person, pair_id in (("ann", other), ("ann", "none"), ("eve", "q1")):
        with pytest.raises(BadInputError):
            store.add(Answer(person=person, pair_id=pair_id, choice="tie", seconds=1))
    with pytest.raises(BadInputError):
        store.undo("eve")


def test_a_majority_needs_more_votes_than_any_other_choice() -> None:
    assert majority({"x": "a", "y": "a", "z": "b"}) == "a"
    assert majority({"x": "a", "y": "b"}) == "tie"
    assert majority({"x": "a", "y": "b", "z": "tie"}) == "tie"
    assert majority({"x": "b"}) == "b"


def test_alpha_and_agreement_of_two_people_are_those_computed_by_hand() -> None:
    # ann a a a b b, bob a a b b tie: 3 of 5 alike. Coincidences, nominal: values a 5, b 4, tie 1 of n = 10;
    # observed disagreement 4/10; by chance (100 - 25 - 16 - 1) / 90 = 58/90. alpha = 1 - 0.4 / (58/90).
    choices = [("a", "a"), ("a", "a"), ("a", "b"), ("b", "b"), ("b", "tie")]
    pairs = [pair(number, labels={"ann": one, "bob": other}) for number, (one, other) in enumerate(choices)]
    people = measure_people(pairs, Bootstrap(resamples=50))
    assert people is not None
    assert people.shared == 5
    assert people.alpha_nominal is not None
    assert people.alpha_nominal.value.estimate == pytest.approx(1 - 0.4 * 90 / 58)
    assert people.pairs[0].agreement.value.estimate == pytest.approx(0.6)


def test_position_and_length_bias_of_a_person() -> None:
    fields = {"response_a": "A much longer text, that goes on and on for words."}
    orders = ["ab", "ba", "ab", "ba"]
    labels = ["a", "b", "a", "a"]  # first, first, first, second
    pairs = [
        pair(number, labels={"ann": label}, label_orders={"ann": order}, **fields)
        for number, (label, order) in enumerate(zip(labels, orders, strict=True))
    ]
    people = measure_people(pairs, Bootstrap(resamples=50))
    assert people is not None
    (ann,) = people.people
    assert ann.first_lead is not None
    assert ann.first_lead.value.estimate == pytest.approx(0.25)
    assert ann.longer_wins is not None
    assert ann.longer_wins.value.estimate == pytest.approx(0.75)


def test_weights_make_the_rate_that_of_what_was_sampled() -> None:
    pairs = [pair(0, labels={"ann": "b"}, weight=9.0), pair(1, labels={"ann": "a"}, weight=1.0)]
    people = measure_people(pairs, Bootstrap(resamples=50))
    assert people is not None
    assert people.people[0].b_wins is not None
    assert people.people[0].b_wins.value.estimate == pytest.approx(0.9)


def test_an_audit_shows_people_beside_judges_and_also_alone(tmp_path: Path) -> None:
    verdicts = {"critic": {"ab": "a", "ba": "b"}}
    rows = [pair(number, labels={"ann": "a", "bob": "b"}, verdicts=verdicts) for number in range(4)]
    titles = [it.title for it in audit_tables(measure_audit(rows, Bootstrap(resamples=20)))]
    assert {"People", "Agreement between people", "Agreement with people"} <= set(titles)
    write_rows(tmp_path / "p.jsonl", [it.model_copy(update={"verdicts": None}) for it in rows])
    alone = audit([tmp_path / "p.jsonl"], resamples=20)
    assert alone.audit.judges == []
    assert [it.title for it in audit_tables(alone.audit)] == ["People", "Agreement between people"]


def test_a_drawn_sample_stands_for_everything() -> None:
    found = [RolloutFacts(step, row, "p", 0, "win", None, 1.0, 9, None) for step in range(20) for row in range(10)]
    drawn = draw(found, found[:20], 40, seed=0)
    assert len(drawn) == 40
    assert len({(it.step, it.row) for it, _ in drawn}) == 40
    assert sum(weight for _, weight in drawn) == pytest.approx(200)
    assert sum(weight for it, weight in drawn if it in found[:20]) == pytest.approx(20)
    assert draw(found, found[:20], 40, seed=0) == drawn != draw(found, found[:20], 40, seed=1)


@pytest.mark.parametrize(("targets", "count"), [(0, 5), (200, 5), (3, 250), (1, 1)])
def test_small_strata_are_taken_whole(targets: int, count: int) -> None:
    found = [RolloutFacts(step, 0, "p", 0, "win", None, 1.0, 9, None) for step in range(200)]
    drawn = draw(found, found[:targets], count, seed=0)
    assert len(drawn) == min(count, 200)


def test_drift_is_where_the_reward_rises_and_the_grade_falls() -> None:
    rewards = [(step, step / 10) for step in range(1, 13)]
    grades = [(0, 5.0), (4, 6.0), (8, 5.5), (12, 5.5)]
    assert drifting_steps(rewards, grades) == [(4, 8)]
    assert drifting_steps([(step, -value) for step, value in rewards], grades) == []


def test_games_become_pairs_with_every_judges_verdict_by_text(tmp_path: Path) -> None:
    write_rows(tmp_path / "prompts.jsonl", [PromptRow(id="p", prompt="Write.")])
    write_rows(tmp_path / "texts.jsonl", [Response(prompt_id="p", model=m, text=f"By {m}.") for m in "xy"])
    games = [
        Game(prompt_id="p", model_a="x", model_b="y", winner="a", order="ab", judge="one"),
        Game(prompt_id="p", model_a="y", model_b="x", winner="a", order="ab", judge="one"),
        Game(prompt_id="p", model_a="y", model_b="x", winner="tie", order="ba", judge="two"),
    ]
    write_rows(tmp_path / "games.jsonl", games)
    (made,) = pairs_of_games(tmp_path / "games.jsonl", tmp_path / "prompts.jsonl", [tmp_path / "texts.jsonl"])
    assert (made.response_a, made.response_b) == ("By x.", "By y.")
    assert made.verdicts == {"one": {"ab": "a", "ba": "b"}, "two": {"ab": "tie"}}


@pytest.mark.parametrize("form", ["argilla", "label-studio"])
def test_pairs_and_labels_go_to_another_tool_and_come_back(tmp_path: Path, form) -> None:
    pairs = [pair(0, labels={"ann": "a", "bob": "tie"}, model_a="x", model_b="y"), pair(1)]
    export_pairs(pairs, tmp_path / "tasks.json", form)
    back = import_pairs(tmp_path / "tasks.json")
    assert [(it.id, it.prompt, it.response_a, it.labels, it.model_a) for it in back] == [
        (it.id, it.prompt, it.response_a, it.labels, it.model_a) for it in pairs
    ]


def test_what_the_tools_write_themselves_is_read(tmp_path: Path) -> None:
    texts = {"prompt": "Why?", "response_a": "So.", "response_b": "Thus."}
    value = {"value": {"selected": "right"}, "type": "pairwise"}
    studio = {"id": 7, "data": texts, "annotations": [{"completed_by": {"id": 3, "email": "ann@x"}, "result": [value]}]}
    argilla = {"id": "z", "fields": texts, "responses": {"preference": [{"user_id": "u1", "value": "a"}]}}
    for row, id_, labels in ((studio, "7", {"ann@x": "b"}), (argilla, "z", {"u1": "a"})):
        (tmp_path / "t.json").write_text(json.dumps([row]), encoding="utf-8")
        (made,) = import_pairs(tmp_path / "t.json")
        assert (made.id, made.labels) == (id_, labels)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "not JSON"),
        ("{}", "must be a list"),
        ("[]", "must be a list"),
        ('[{"x": 1}]', "item 1: has neither `data`"),
        ('[{"data": {"prompt": "p", "response_a": "a"}}]', "item 1: response_b: missing"),
        (
            '[{"data": {"prompt": "p", "response_a": "a", "response_b": "b"}, '
            '"annotations": [{"result": [{"value": {"choices": ["maybe"]}}]}]}]',
            "the choice 'maybe' is none of",
        ),
    ],
)
def test_a_file_that_cannot_be_imported_is_named_with_the_reason(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "t.json").write_text(content, encoding="utf-8")
    with pytest.raises(BadInputError, match=problem):
        import_pairs(tmp_path / "t.json")


def test_the_order_of_pairs_is_not_that_of_the_file() -> None:
    shown = Assignment(IDS, ["ann"]).pairs_of("ann")
    assert sum(IDS.index(one) + 1 == IDS.index(other) for one, other in pairwise(shown)) < 10
