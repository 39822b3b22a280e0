"""A schedule of criteria in a run: what each step asks about, after a restart too, and in a replay."""

import asyncio
import json
import re
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from artifacts import save_policy
from longform.endpoints.limits import Budget
from longform.evaluation.replay.inputs import check_replay
from longform.evaluation.replay.run import replay_steps
from longform.miniature.policy import build_model, build_tokenizer
from longform.recipe.inputs import check_inputs
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Criterion, Prompt
from longform.training.run import train

SCORES = {"plot": 9, "wit": 3, "grace": 5}
CRITERIA = [*(Criterion(name=name) for name in SCORES), Criterion(name="form", hard=True)]
SHAPE = re.compile(r'\{"scores": \{([^{}]*)\}\}$')


def _asked(request):
    """The names that a question asks for."""
    return re.findall(r'"(\w+)": [NV]', SHAPE.findall(request["messages"][0]["content"])[-1])


def _answer(request, number):
    return json.dumps({"scores": {name: SCORES.get(name, True) for name in _asked(request)}})


@pytest.fixture
def server(tmp_path, monkeypatch, serve):
    monkeypatch.chdir(tmp_path)
    server = serve(_answer)
    Path("models.yaml").write_text(yaml.safe_dump({"judge": {"base_url": server.url, "model": "m"}}))
    write_rows("prompts.jsonl", [Prompt(id=f"p{n}", prompt=f"Write story {n}.", criteria=CRITERIA) for n in range(2)])
    return server


def _recipe(mode, **changes):
    fields = {
        "method": "grpo",
        "policy": "start",
        "data": {"prompts": "prompts.jsonl", "per_step": 2, "group": 3},
        "rewards": [{"kind": "pointwise", "judge": "judge"}],
        "curriculum": {"criteria": mode},
        "generation": {"max_tokens": 8},
        "run": {"name": "run", "steps": 3, "checkpoint_every": 1},
    }
    return Recipe.model_validate(fields | changes)


def _asked_by_step(recipe, **options):
    """For each step the names that its questions ask for."""
    requests = options.pop("server").requests
    seen: dict[int, set[tuple[str, ...]]] = defaultdict(set)
    start = len(requests)

    def on_step(report):
        nonlocal start
        seen[report.step] = {tuple(_asked(it)) for it in requests[start:]}
        start = len(requests)
        if report.step == options.get("stop"):
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        train(recipe, self_check=False, on_step=on_step, resume=options.get("resume", False))
    return dict(seen)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "later"), [("failed", ("wit", "grace", "form")), ("easy-first", ("plot", "grace", "form"))]
)
def test_a_step_asks_about_what_the_schedule_says_also_after_a_restart_and_in_a_replay(server, mode, later):
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=3), tokenizer, Path("start"))
    everything = ("plot", "wit", "grace", "form")
    recipe = _recipe(mode, optim={"diversity": mode == "failed"})
    assert _asked_by_step(recipe, server=server, stop=2) == {1: {everything}, 2: {later}}
    assert _asked_by_step(recipe, server=server, resume=True) == {3: {later}}
    with RunDirectory.read(Path("runs/run")) as run:
        assert [value for _, value in run.database.metrics()["curriculum/criteria_passed"]] == [
            pytest.approx(1 / 3)
        ] * 3
        again = asyncio.run(
            replay_steps(run, check_replay(run), budget=Budget(None), on_progress=lambda done, of: None)
        )
        assert again.paid.calls == 0
        assert [it.reward_after for it in again.rollouts] == [it.reward_before for it in again.rollouts]
        advantages = [(it.advantage_before, it.advantage_after) for it in again.rollouts]
        assert all(before == after for before, after in advantages)
        assert any(after for _, after in advantages) == recipe.grpo.diversity, "the rewards alone are all equal"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rewards": [{"kind": "format"}]}, "curriculum.criteria: only valid with a pointwise reward"),
        ({"curriculum": {"criteria": "hard-first"}}, "curriculum.criteria"),
        (
            {"optim": {"diversity": True}, "data": {"prompts": "p.jsonl", "group": 2}},
            "optim.diversity: needs data.group of at least 3",
        ),
        (
            {"optim": {"diversity": True}, "curriculum": {}, "rewards": [{"kind": "writing", "model": "m"}]},
            "optim.diversity: not with the writing reward",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        _recipe("failed", **changes)


@pytest.mark.parametrize(
    ("criteria", "template", "said"),
    [
        (None, None, "no prompt of prompts.jsonl has a list of criteria; longform criteria writes them"),
        ([Criterion(name="a"), Criterion(name=" a")], None, "prompt p0: two criteria have the same name"),
        ([Criterion(name="a")], "t.txt", "judge has a template of its own; set rewards.pointwise.per_criterion"),
    ],
)
def test_prompts_and_judges_that_cannot_be_scheduled_are_refused_in_one_line(server, criteria, template, said):
    write_rows("prompts.jsonl", [Prompt(id=f"p{n}", prompt="Write.", criteria=criteria) for n in range(2)])
    Path("t.txt").write_text("{request} {text} {criteria}")
    spec = {"base_url": server.url, "model": "m"} | ({"template": template} if template else {})
    Path("models.yaml").write_text(yaml.safe_dump({"judge": spec}))
    Path("start").mkdir()
    Path("start/config.json").write_text("{}")
    with pytest.raises(BadInputError, match=re.escape(said)):
        check_inputs(_recipe("failed"))
