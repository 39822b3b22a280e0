"""Selection on eight real models against a computation that shares no code with the package.

The data (HelloBench, 123 long-form requests) is not part of the project; without it the tests skip.
"""

import json
import math
from pathlib import Path

import pytest

from longform.records.errors import BadInputError
from longform.selection.select import SelectionOutcome, select
from longform.selection.settings import Floor, SelectionSettings

DATA = Path(__file__).parents[4] / "shared" / "data"
POLICY = "qwen2_7b"

pytestmark = pytest.mark.skipif(
    not (DATA / "hellobench_htg_scores.jsonl").exists(), reason="../shared/data with the HelloBench files is not there"
)


def _rows(name):
    text = (DATA / f"hellobench_htg_{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def _dump(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The files in the fields of the package; grades of the models whose texts are there."""
    folder = tmp_path_factory.mktemp("hellobench")
    responses, models = _rows("responses"), {row["model"] for row in _rows("responses")}
    assert len(models) == 8
    _dump(
        folder / "prompts.jsonl",
        [
            {"id": it["prompt_id"], "prompt": it["prompt"], "meta": {"category": it["category"]}}
            for it in _rows("prompts")
        ],
    )
    _dump(
        folder / "responses.jsonl",
        [{"prompt_id": it["prompt_id"], "model": it["model"], "text": it["response"]} for it in responses],
    )
    grades = [{name: it[name] for name in ("prompt_id", "model", "score")} for it in _rows("scores")]
    _dump(folder / "grades.jsonl", [it for it in grades if it["model"] in models])
    _dump(folder / "grades-of-23.jsonl", grades)
    return folder


@pytest.fixture(scope="module")
def expected():
    """Prompt id -> (policy's score, best competitor's, potential, [(score, model, text)] ascending)."""
    texts, scores = _rows("responses"), {(it["prompt_id"], it["model"]): it["score"] for it in _rows("scores")}
    ladders = {}
    for prompt in _rows("prompts"):
        id_ = prompt["prompt_id"]
        rungs = [(scores[id_, it["model"]], it["model"], it["response"]) for it in texts if it["prompt_id"] == id_]
        rungs.sort(key=lambda rung: (rung[0], 0 if rung[1] == POLICY else 1, rung[1]))
        best = max(score for score, model, _ in rungs if model != POLICY)
        ladders[id_] = (scores[id_, POLICY], best, round(best - scores[id_, POLICY], 9), rungs)
    return ladders


def _select(folder, grades="grades.jsonl", **rule):
    return select(
        prompts=folder / "prompts.jsonl",
        responses=[folder / "responses.jsonl"],
        grades=[folder / grades],
        settings=SelectionSettings(POLICY, **rule),
    )


def test_ladders_and_their_order_equal_an_independent_computation(converted, expected):
    chosen = _select(converted)
    assert [it.id for it in chosen.ladders] == sorted(expected, key=lambda id_: (-expected[id_][2], id_))
    assert {fate: count for fate, count in chosen.count().items() if count} == {SelectionOutcome.CHOSEN: 123}
    for ladder in chosen.ladders:
        policy_score, _, potential, rungs = expected[ladder.id]
        assert (ladder.policy_score, ladder.potential) == (policy_score, potential)
        assert [(it.score, it.model, it.text) for it in ladder.references] == rungs


def test_difficulty_takes_what_the_policy_writes_worst(converted, expected):
    order = sorted(expected, key=lambda id_: (round(expected[id_][0], 9), id_))
    assert [it.id for it in _select(converted, strategy="difficulty", top_k=30).ladders] == order[:30]


@pytest.mark.parametrize("percent", [10, 20, 55.5])
def test_a_percentile_floor_equals_an_interpolated_one(converted, expected, percent):
    bests = sorted(best for _, best, _, _ in expected.values())
    place = (len(bests) - 1) * percent / 100
    lower = math.floor(place)
    floor = bests[lower] + (place - lower) * (bests[min(lower + 1, len(bests) - 1)] - bests[lower])
    chosen = _select(converted, floor=Floor(percent, is_percentile=True))
    assert chosen.floors == {"all": pytest.approx(floor)}
    assert {it.id for it in chosen.ladders} == {
        id_ for id_, (_, best, _, _) in expected.items() if best >= floor - 1e-9
    }


def test_top_k_per_category_is_the_head_of_each(converted, expected):
    categories = {it["prompt_id"]: it["category"] for it in _rows("prompts")}
    order = sorted(expected, key=lambda id_: (-expected[id_][2], id_))
    heads = {id_ for name in set(categories.values()) for id_ in [id_ for id_ in order if categories[id_] == name][:4]}
    chosen = _select(converted, top_k=4, group_by="meta.category")
    assert [it.id for it in chosen.ladders] == [id_ for id_ in order if id_ in heads]
    assert len(chosen.ladders) == 20


def test_grades_of_models_whose_texts_are_not_there_are_refused(converted):
    with pytest.raises(BadInputError, match=r"responses\.jsonl: missing the graded response of"):
        _select(converted, grades="grades-of-23.jsonl")
