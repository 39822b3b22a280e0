"""People label pairs: blind, each their part, nothing lost; and what they agree on is measured."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from longform.evaluation.audit.pairs import AuditedPair, read_pairs
from longform.evaluation.audit.people import measure_people
from longform.evaluation.audit.run import audit, measure_audit
from longform.evaluation.audit.tables import audit_tables
from longform.evaluation.estimates import Bootstrap
from longform.evaluation.labelling.assignment import Assignment
from longform.evaluation.labelling.labels import Answer, LabelStore, winner_of_choice
from longform.evaluation.labelling.run import PairSource, open_labels
from longform.evaluation.labelling.sampling import draw, drifting_steps, pairs_of_games
from longform.records.errors import BadInputError, RowsWarning
from longform.records.files import write_rows
from longform.records.rollout_search import RolloutFacts
from longform.records.schemas import Criterion, Game, PromptRow, Response, majority

IDS = [f"pair {number}" for number in range(100)]


def pair(number: int, **fields: object) -> AuditedPair:
    values = {"id": f"q{number}", "prompt": f"Why {number}?", "response_a": "It is so.", "response_b": "Thus it is."}
    return AuditedPair.model_validate(values | fields)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_rows(tmp_path / "pairs.jsonl", [pair(number) for number in range(6)])
    return tmp_path / "pairs.jsonl"


@pytest.fixture
def opened() -> Iterator[Callable[..., LabelStore]]:
    """Opens the labels of a pairs file; close them before they are opened again."""
    with ExitStack() as stores:
        yield lambda path, *, seed=0, **flags: stores.enter_context(
            open_labels(PairSource(path=path, seed=seed), **flags)
        )


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


@pytest.mark.parametrize(
    "people", [["a", "a"], [" "], ["x", ""], ["a/b"], ["."], [".."], ["a\nb"], ["a,b"], ["\x1b[31m"], ["\udcff"]]
)
def test_people_need_names_of_their_own(people: list[str]) -> None:
    with pytest.raises(BadInputError, match="--people"):
        Assignment(IDS, people)


@pytest.mark.parametrize(
    ("choice", "order", "winner"),
    [("first", "ab", "a"), ("first", "ba", "b"), ("second", "ab", "b"), ("second", "ba", "a"), ("tie", "ba", "tie")],
)
def test_a_choice_is_kept_by_text_and_not_by_place(choice, order, winner) -> None:
    assert winner_of_choice(choice, order) == winner


def test_labels_survive_the_end_of_the_process_and_go_into_the_pairs_file(path: Path, opened) -> None:
    store = opened(path, people=["ann"], seed=5)
    ids = [answer(store, "ann", "first", reasons=" livelier "), answer(store, "ann", "tie", criteria=["plot"])]
    store.close()
    again = opened(path, people=["ann"], seed=5)
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


def test_a_line_that_the_process_left_unfinished_is_dropped(path: Path, opened) -> None:
    store = opened(path, people=["ann"])
    answer(store, "ann", "first")
    with path.with_name("pairs.jsonl.labels.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"pair_id": "q')
    store.close()
    again = opened(path, people=["ann"])
    assert again.count("ann") == (1, 6)
    answer(again, "ann", "second")
    again.close()
    assert opened(path, people=["ann"]).count("ann") == (2, 6)


def test_the_last_label_can_be_taken_back_time_and_again(path: Path, opened) -> None:
    store = opened(path, people=["ann", "bob"])
    ids = [answer(store, "ann", "first") for _ in range(3)]
    answer(store, "bob", "first")
    assert [store.undo("ann"), store.undo("ann")] == [ids[2], ids[1]]
    assert store.next_pair("ann").id == ids[1]
    store.close()
    store = opened(path, people=["ann", "bob"])
    assert store.count("ann") == (1, 6)
    assert store.undo("ann") == ids[0]
    assert store.undo("ann") is None
    assert store.count("bob")[0] == 1


def test_what_nobody_was_asked_is_refused(path: Path, opened) -> None:
    store = opened(path, people=["ann", "bob"], overlap=0.0)
    other = store.assignment.pairs_of("bob")[0]
    for person, pair_id in (("ann", other), ("ann", "none"), ("eve", "q1")):
        with pytest.raises(BadInputError):
            store.add(Answer(person=person, pair_id=pair_id, choice="tie", seconds=1))
    with pytest.raises(BadInputError):
        store.undo("eve")


def log_of(path: Path) -> Path:
    return path.with_name(path.name + ".labels.jsonl")


def test_a_label_that_is_undone_after_a_restart_leaves_the_pairs_file(path: Path, opened) -> None:
    store = opened(path, people=["ann"])
    pair_id = answer(store, "ann", "first", reasons="livelier")
    kept = answer(store, "ann", "second")
    store.undo("ann")
    store.save()
    store.close()
    assert {it.id: it.labels is not None for it in read_pairs([path])}[pair_id]
    again = opened(path, people=["ann"])
    assert again.undo("ann") == pair_id
    again.save()
    for row in read_pairs([path]):
        assert (row.label, row.labels, row.label_orders, row.label_notes) == (None, None, None, None), row.id
    assert again.next_pair("ann").id == pair_id
    assert kept != pair_id


def test_labels_from_elsewhere_stay_and_are_not_asked_for_again(path: Path, opened) -> None:
    write_rows(path, [pair(0, labels={"ann": "b", "zoe": "tie"}, label_notes={"zoe": "dull"}), pair(1)])
    store = opened(path, people=["ann"])
    assert store.count("ann") == (1, 2)
    assert answer(store, "ann", "tie") == "q1"
    assert store.next_pair("ann") is None
    assert store.undo("ann") == "q1"
    assert not store.can_undo("ann")
    assert store.undo("ann") is None
    store.save()
    rows = read_pairs([path])
    assert rows[0].labels == {"ann": "b", "zoe": "tie"}
    assert rows[0].label_notes == {"zoe": "dull"}
    assert rows[1].labels is None


def test_labels_of_other_texts_with_the_same_ids_are_ignored_and_it_is_said(path: Path, opened) -> None:
    store = opened(path, people=["ann"])
    ids = [answer(store, "ann", "first") for _ in range(3)]
    store.close()
    rows = [it.model_copy(update={"response_b": "Rewritten."}) if it.id == ids[0] else it for it in read_pairs([path])]
    write_rows(path, [it for it in rows if it.id != ids[1]])
    with pytest.warns(RowsWarning, match="2 of 3 labels are about other pairs or texts"):
        again = opened(path, people=["ann"])
    assert again.count("ann") == (1, 5)
    again.save()
    assert {it.id for it in read_pairs([path]) if it.labels} == {ids[2]}


def test_a_log_of_an_earlier_version_still_counts(path: Path, opened) -> None:
    log_of(path).write_text('{"pair_id": "q0", "person": "ann", "label": "a", "order": "ba", "seconds": 1}\n')
    assert opened(path, people=["ann"]).count("ann") == (1, 6)


def test_one_process_at_a_time_labels_a_file(path: Path, opened) -> None:
    store = opened(path, people=["ann"])
    with pytest.raises(BadInputError, match=r"pairs\.jsonl\.labels\.jsonl: another process"):
        opened(path, people=["bob"])
    answer(store, "ann", "first")
    store.close()
    assert opened(path, people=["ann"]).count("ann") == (1, 6)


def test_labels_of_people_who_are_not_named_this_time_are_saved(path: Path, opened) -> None:
    store = opened(path, people=["ann"])  # and is killed before it saves
    pair_id = answer(store, "ann", "first")
    store.close()
    other = opened(path, people=["bob"])
    answer(other, "bob", "tie")
    other.save()
    assert "ann" in ({it.id: it for it in read_pairs([path])}[pair_id].labels or {})


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


def test_the_agreement_of_a_judge_is_that_of_what_was_sampled() -> None:
    """Every other pair of 100 where judge and people differ was taken, and every tenth where they agree."""
    pairs = [
        pair(n, labels={"ann": "a", "bob": "a"}, verdicts={"j": {"ab": "b", "ba": "b"}}, weight=2) for n in range(3)
    ]
    for number in range(3, 10):
        verdicts = {"j": {"ab": "a", "ba": "b"}}
        pairs.append(pair(number, labels={"ann": "a", "bob": "b"}, verdicts=verdicts, label="a", weight=10))
    audit = measure_audit([it.model_copy(update={"label": "a"}) for it in pairs], Bootstrap(resamples=50))
    (judge,) = audit.judges
    rates = {
        "each_order_correct": 7 * 10 * 0.5 / 76,
        "consistency": 3 * 2 / 76,
        "first_lead": 7 * 10 / 2 / 76,
    }
    for name, rate in rates.items():
        assert getattr(judge.figures, name).value.estimate == pytest.approx(rate), name
    against_people = next(it for it in audit.between.pairs if "humans" in (it.one, it.other))
    assert against_people.agreement.value.estimate == pytest.approx(7 * 10 / (2 * 76))
    assert audit.people is not None
    assert audit.people.pairs[0].agreement.value.estimate == pytest.approx(6 / 76)
    assert audit.people.alpha_nominal is not None
    # Weights of mean 1: 3 items of 2/7.6 with a-a, 7 of 10/7.6 with a-b. Of n = 20 ratings, b has 7 * 10/7.6.
    b = 7 * 10 / 7.6
    assert audit.people.alpha_nominal.value.estimate == pytest.approx(1 - 19 * 2 * b / (2 * b * (20 - b)))
    assert "count by their weights" in "".join(note for table in audit_tables(audit) for note in table.notes)


def test_an_audit_shows_people_beside_judges_and_also_alone(tmp_path: Path) -> None:
    verdicts = {"critic": {"ab": "a", "ba": "b"}}
    seen = {"labels": {"ann": "a", "bob": "b"}, "label_orders": {"ann": "ab", "bob": "ab"}}
    rows = [pair(number, response_a="A much longer text.", verdicts=verdicts, **seen) for number in range(4)]
    tables = {it.title: it for it in audit_tables(measure_audit(rows, Bootstrap(resamples=20)))}
    assert {"People", "Agreement between people", "Agreement with people"} <= tables.keys()
    biases = [row[:2] for row in tables["Bias: position, length, own texts"].rows]
    for figure in ("first text wins, minus 0.5", "prefers the longer text"):
        place = biases.index([figure, "critic"])
        assert biases[place + 1 : place + 3] == [["", "ann (person)"], ["", "bob (person)"]]
    assert {row[0] for row in tables["People"].rows} == {"ties", "response_b wins", ""}
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
    criteria = [Criterion(name="pace", description="It moves.")]
    write_rows(tmp_path / "prompts.jsonl", [PromptRow(id="p", prompt="Write.", criteria=criteria)])
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
    assert made.criteria == criteria, "which people may name as what decided"


def test_the_order_of_pairs_is_not_that_of_the_file() -> None:
    shown = Assignment(IDS, ["ann"]).pairs_of("ann")
    assert sum(IDS.index(one) + 1 == IDS.index(other) for one, other in pairwise(shown)) < 10
