"""Two sources in one run: stories against a ladder, and tasks with an answer; two steps of both methods, and resumed."""

import json
from pathlib import Path

import pytest
import yaml

from artifacts import save_policy, verdict_export
from longform.miniature.policy import build_model, build_tokenizer
from longform.recipe.inputs import check_inputs
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder, Prompt, Reference
from longform.training.run import train

TASK = "Which river? Write a story of 40 to 55 words."


@pytest.fixture
def world(tmp_path, monkeypatch, serve):
    """A folder with an untrained policy, 16 ladders, 16 tasks with the answer B, and a judge that says A."""
    monkeypatch.chdir(tmp_path)
    server = serve(lambda request, number: "[[A]]")
    Path("models.yaml").write_text(yaml.safe_dump({"judge": {"base_url": server.url, "model": "m"}}))
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=3), tokenizer, Path("start"))
    references = [Reference(model=name, text=f"A story by {name}.", score=score) for score, name in enumerate("ab")]
    fields = {"references": references, "policy_score": 0, "potential": 1}
    ladders = [Ladder.model_validate({"id": f"s{n}", "prompt": f"Write story {n}.", **fields}) for n in range(16)]
    write_rows("stories.jsonl", ladders)
    write_rows("tasks.jsonl", [Prompt(id=f"t{n}", prompt=TASK, meta={"answer": "B"}) for n in range(16)])
    return server


def recipe(**changes):
    sources = [
        {"name": "stories", "ladders": "stories.jsonl", "weight": 3},
        {"name": "tasks", "prompts": "tasks.jsonl"},
    ]
    fields = {
        "policy": "start",
        "data": {"sources": sources, "per_step": 8},
        "rewards": [
            {"kind": "pairwise", "judge": "judge", "sources": ["stories"]},
            {"kind": "answer", "form": "choice", "sources": ["tasks"]},
            {"kind": "format", "weight": 0.5},
        ],
        "generation": {"max_tokens": 12},
        "optim": {"mini_batch": 8},
        "run": {"name": "run", "steps": 2, "checkpoint_every": 1},
    }
    grpo = {"method": "grpo", "data": {"sources": sources, "per_step": 4, "group": 2}}
    return Recipe.model_validate(fields | (grpo if changes.pop("grpo", False) else {}) | changes)


def run_to_end(wanted, **options):
    train(wanted, self_check=False, on_step=lambda report: None, **options)
    with RunDirectory.read(wanted.run_path) as opened:
        return list(opened.database.rollouts()), opened.database.metrics(), verdict_export(opened.database)


@pytest.mark.slow
@pytest.mark.parametrize("grpo", [False, True])
def test_two_steps_of_two_sources(world, grpo):
    rollouts, metrics, _ = run_to_end(recipe(grpo=grpo))
    assert len(rollouts) == 16
    of_source = {name: [it for it in rollouts if it.prompt_id.startswith(name)] for name in "st"}
    assert 8 <= len(of_source["s"]) <= 14
    assert all(set(it.scores or {}) == {"pairwise", "format"} for it in of_source["s"])
    assert all(set(it.scores or {}) == {"answer", "format"} for it in of_source["t"])
    assert all(it.cause is None and it.reward is not None for it in rollouts)
    assert all(bool(it.reference) == it.prompt_id.startswith("s") for it in rollouts)
    assert len(world.requests) <= len(of_source["s"]), "tasks are not judged"
    for it in of_source["t"]:
        assert it.reward == pytest.approx(((it.scores or {})["answer"] + 0.5 * (it.scores or {})["format"]) / 1.5)
    assert {"reward/pairwise/mean", "reward/answer/mean", "policy/loss"} <= metrics.keys()
    assert [value for _, value in metrics["no_verdict/share"]] == [0.0, 0.0]


@pytest.mark.slow
def test_a_resumed_run_repeats_an_uninterrupted_one(world):
    _, _, whole = run_to_end(recipe())
    first = recipe(run={"name": "again", "steps": 2, "checkpoint_every": 1})

    class Stopped(Exception):
        pass

    def stop(report):
        if report.step == 1:
            raise Stopped

    with pytest.raises(Stopped):
        train(first, self_check=False, on_step=stop)
    _, _, resumed = run_to_end(first, resume=True)
    assert resumed == whole


def test_the_inputs_know_their_sources_and_are_checked(world):
    inputs = check_inputs(recipe())
    assert [(it.id, bool(it.rungs)) for it in (inputs.prompts[0], inputs.prompts[-1])] == [("s0", True), ("t15", False)]
    rows = [json.loads(line) for line in Path("tasks.jsonl").read_text().splitlines()]

    def refused(changed):
        Path("tasks.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in changed))
        with pytest.raises(BadInputError) as caught:
            check_inputs(recipe())
        return str(caught.value)

    assert refused([{**rows[0], "id": "s3"}, *rows[1:]]) == (
        "tasks.jsonl: prompt s3: its id is also in stories.jsonl; ids are unique over all sources"
    )
    assert refused([{**rows[0], "meta": {"answer": "A or B"}}, *rows[1:]]).startswith(
        "tasks.jsonl: prompt t0: meta.answer: the answer reward needs an answer of form choice, got 'A or B'"
    )
    assert refused(rows[:4]) == (
        "tasks.jsonl: has 4 prompts, and a step may need 5 from 'tasks'; lower its weight or data.per_step"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"engine": "cluster"}, "data.sources: only valid with engine: local"),
        ({"curriculum": {"top": "retire"}}, "curriculum.top: retire is not possible with data.sources"),
        ({"rewards": [{"kind": "format", "sources": ["poems"]}]}, "no 'poems' in data.sources: stories, tasks"),
        ({"rewards": [{"kind": "format", "sources": ["tasks"]}]}, "no reward is for 'stories'"),
        (
            {"rewards": [{"kind": "pairwise", "judge": "judge"}]},
            "'tasks' has no ladders, which the pairwise reward needs",
        ),
        ({"data": {"prompts": "tasks.jsonl"}}, "rewards.answer.sources: only valid with data.sources"),
    ],
)
def test_what_cannot_be_mixed_is_refused_in_one_line(changes, said):
    base = {"rewards": [{"kind": "answer", "sources": ["tasks"]}]} if "data" in changes else {}
    with pytest.raises(ValueError, match=said.replace(".", r"\.")):
        recipe(**(base | changes))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            {"sources": [{"name": "a", "prompts": "p"}], "prompts": "q"},
            "name no `ladders`, `prompts` or `columns` beside it",
        ),
        ({"sources": [{"name": "a", "prompts": "p"}] * 2}, "names one twice"),
        ({"sources": [{"name": "a"}]}, "name either `ladders` or `prompts`"),
        ({"sources": [{"name": "a", "prompts": "p", "weight": 0}]}, "greater than 0"),
        ({}, "name either `ladders` or `prompts`"),
    ],
)
def test_sources_that_are_not_clear_are_refused(data, said):
    with pytest.raises(ValueError, match=said):
        recipe(data=data, rewards=[{"kind": "format"}])
