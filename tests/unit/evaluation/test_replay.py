"""Replays of runs whose policy is a random draw of words and whose judge is a function of what it reads."""

import asyncio
import hashlib
import json
import random
import sqlite3

import numpy as np
import pytest
import yaml

from longform.curriculum.schedule import Curriculum
from longform.endpoints.budget import Budget
from longform.endpoints.client import Endpoint
from longform.endpoints.models import read_models
from longform.evaluation.replay import replay
from longform.evaluation.replay_inputs import check_replay
from longform.judging.fences import read_fences
from longform.judging.templates import DIMENSIONS
from longform.recipe.loading import dump_recipe
from longform.recipe.recipe import Recipe
from longform.records.calls import SqliteCallLog
from longform.records.database import Promotion, Rollout, text_hash
from longform.records.errors import BadInputError, StoppedError
from longform.records.files import write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder, Reference
from longform.rewards.closing import close_step
from longform.rewards.judged import build_reward
from longform.statistics.moments import AdvantageMoments

STEPS, PROMPTS, PER_STEP, RUNGS = 6, 10, 5, 3
DECAY = 0.9
WORDS = ("the", "sea", "was", "grey", "and", "still")


def _digest(*parts):
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:4], "big")


def _letter(model, text_a, text_b, sample=0):
    """The judge's verdict: any of the three, and at times none; the order of the texts matters."""
    return "AABBC-"[_digest(model, text_a, text_b, str(sample)) % 6]


class Judges:
    """Every model's answers; while `broken`, one question in five fails for good."""

    def __init__(self):
        self.broken = False

    def fails(self, request):
        return self.broken and _digest(request["messages"][0]["content"]) % 5 == 0

    def __call__(self, request, number):
        model, texts = request["model"], read_fences(request["messages"][0]["content"])
        if "TEXT" in texts:
            points = 1 + _digest(model, texts["TEXT"]) % 10
            return json.dumps({"scores": dict.fromkeys(DIMENSIONS, points)})
        letter = _letter(model, texts["TEXT A"], texts["TEXT B"], request.get("seed", 0))
        return "Neither nor." if letter == "-" else f"So it is. [[{letter}]]"


class Stage:
    """A folder, a server, and the runs made there."""

    def __init__(self, folder, serve, reply):
        self.folder, self.judges = folder, Judges()

        def answer(request, number):
            return reply(status=500) if self.judges.fails(request) else self.judges(request, number)

        self.server = serve(answer)
        spec = {"base_url": self.server.url, "retries": 0, "prices": {"prompt": 1, "completion": 2}}
        models = {name: {**spec, "model": name} for name in ("judge", "other", "third")}
        models["priceless"] = {"base_url": self.server.url, "model": "other"}
        (folder / "models.yaml").write_text(yaml.safe_dump(models))
        write_rows(folder / "ladders.jsonl", [_ladder(number) for number in range(PROMPTS)])

    @property
    def asked(self):
        return len(self.server.requests)

    def run(self, *, group=1, curriculum=None, **reward):
        recipe = Recipe.model_validate(
            {
                "policy": "nowhere",
                "models": str(self.folder / "models.yaml"),
                "data": {"ladders": str(self.folder / "ladders.jsonl"), "per_step": PER_STEP, "group": group},
                "rewards": [{"kind": "pairwise", "judge": "judge", **reward}],
                "curriculum": curriculum or {},
                "validation": {"prompts": str(self.folder / "ladders.jsonl"), "judge": "third", "same_judge": True},
                "optim": {"mini_batch": 1, "gamma": 0.95, "lam": DECAY / 0.95},
                "run": {"name": "run", "folder": str(self.folder), "seed": 4, "steps": STEPS},
            }
        )
        asyncio.run(_record_run(recipe))
        return self.folder / "run"


@pytest.fixture
def stage(tmp_path, serve, reply):
    return Stage(tmp_path, serve, reply)


def _ladder(number):
    names = ["low", "policy", "high"]
    references = [Reference(model=name, text=f"{name} {number}", score=i) for i, name in enumerate(names)]
    return Ladder(id=f"p{number}", prompt="Write of the sea.", references=references, policy_score=1, potential=1)


def _tokens(step, row):
    """Advantages before whitening of a response, token by token, had its score been 0."""
    rng = np.random.default_rng([step, row])
    return rng.normal(size=rng.integers(1, 6))


def _with_score(advantages, score):
    return advantages + score * DECAY ** np.arange(len(advantages))[::-1]


def _moments(advantages):
    tail = (DECAY ** np.arange(len(advantages))[::-1] * advantages).sum()
    return AdvantageMoments(len(advantages), advantages.sum(), (advantages**2).sum(), tail)


def _whitened_means(responses):
    """By the book, over all tokens."""
    tokens = np.concatenate(responses)
    return [float(((it - tokens.mean()) / np.sqrt(tokens.var(ddof=1) + 1e-8)).mean()) for it in responses]


async def _record_run(recipe):
    """What training leaves behind, without a model."""
    ladders = [_ladder(number) for number in range(PROMPTS)]
    curriculum = Curriculum.of(ladders, recipe.curriculum, policy="policy", seed=recipe.run.seed, steps=STEPS)
    with RunDirectory.open(recipe.run_path) as run, SqliteCallLog(run.database_path) as log:
        run.recipe_path.write_text(dump_recipe(recipe))
        run.database.set_fact("ladders", hashlib.sha256(recipe.data.ladders.read_bytes()).hexdigest())
        endpoints = {name: Endpoint(name, it, call_log=log) for name, it in read_models(recipe.models).items()}
        reward = build_reward(recipe.rewards[0], endpoints, secret=log.secret(), seed=recipe.run.seed)
        rng = random.Random(1)
        for step in range(1, STEPS + 1):
            faced = curriculum.draw(step, PER_STEP)
            each = [it for it in faced for _ in range(recipe.data.group)]
            texts = [" ".join(rng.choices(WORDS, k=rng.randint(1, 6))) for _ in each]
            references = [
                ladders[it.prompt_index].references[it.rung].text
                if it.own_text is None
                else run.database.text(it.own_text)
                for it in each
            ]
            rewarded = await asyncio.gather(
                *(
                    reward.score(ladders[it.prompt_index], response=text, reference=reference, step=step)
                    for it, text, reference in zip(each, texts, references, strict=True)
                )
            )
            closed = close_step(rewarded, faced, [text_hash(text) for text in texts], curriculum)
            rollouts = [
                Rollout(
                    step=step,
                    row=row,
                    prompt_id=ladders[it.prompt_index].id,
                    rung=it.rung,
                    text=texts[row],
                    reference=references[row],
                    tokens=len(_tokens(step, row)),
                    words=1,
                    finish_reason="stop",
                    outcome=rewarded[row].outcome,
                    cause=rewarded[row].cause,
                    reward=rewarded[row].score,
                    advantages=_moments(_with_score(_tokens(step, row), float(closed.scores[row]))),
                    calls=rewarded[row].calls,
                )
                for row, it in enumerate(each)
            ]
            promotions = [
                Promotion(step, ladders[it.prompt_index].id, it.rung) for it in curriculum.commit(closed.climbs)
            ]
            run.database.record_step(step, seconds=1.0, metrics={}, rollouts=rollouts, promotions=promotions)
        for endpoint in endpoints.values():
            await endpoint.close()
        run.write_checkpoint(STEPS, curriculum.save, keep=1)


def _replay(path, *overrides, budget=None, **changes):
    with RunDirectory.read(path) as run:
        inputs = check_replay(run, overrides, **changes)
        return asyncio.run(replay(run, inputs, budget=Budget(budget), on_progress=lambda done, total: None))


def _rungs_on_checkpoint(path):
    with np.load(path / "checkpoints" / f"step-{STEPS:06d}" / "curriculum.npz") as state:
        return state["rungs"].tolist()


def _content(path):
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        return list(connection.iterdump())


KINDS = {
    "paper": {},
    "first, released values": {"position": "first", "values": "released"},
    "both, groups, own texts": {"position": "both", "group": 3, "curriculum": {"top": "self"}},
    "panel, rechecked": {"judge": ["judge", "other", "third"], "recheck": 0.5, "combine": "mean"},
    "samples, retiring": {"samples": 3, "curriculum": {"top": "retire", "start": "own"}},
    "shares": {"group": 4, "curriculum": {"wins": 0.4, "start": "own"}},
    "streaks": {"group": 2, "curriculum": {"wins": 2, "top": "self"}},
    "fixed": {"curriculum": {"mode": "fixed", "reference": "best"}},
    "staged": {"curriculum": {"mode": "staged", "stages": 2}},
    "mixed": {"group": 2, "curriculum": {"mode": "mixed"}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_change_nothing_is_asked_and_nothing_changes(stage, kind):
    path = stage.run(**KINDS[kind])
    asked = stage.asked
    again = _replay(path)
    assert stage.asked == asked
    for it in again.rollouts:
        assert (it.outcome_after, it.cause_after, it.reward_after) == (
            it.outcome_before,
            it.cause_before,
            it.reward_before,
        )
        assert (it.rung_after, it.advantage_after) == (it.rung_before, it.advantage_before)
        assert it.same_reference
    assert again.promotions_after == again.promotions_before
    assert again.rungs_after.tolist() == again.rungs_before.tolist() == _rungs_on_checkpoint(path)
    assert again.replayed == again.recorded
    assert (again.paid.calls, again.cached) == (0, again.recorded.answered)
    if kind != "panel, rechecked":
        assert {it.cause_before for it in again.rollouts} == {None, "no_verdict"}, "silence was not put to the test"
    if again.inputs.recorded.curriculum.mode == "dynamic":
        assert again.promotions_before, "nothing was promoted, so equal promotions would say nothing"


def test_a_pointwise_run_has_rewards_and_no_outcomes_and_is_reproduced(stage):
    path = stage.run()
    _rewrite_as_pointwise(path, stage)
    asked = stage.asked
    again = _replay(path)
    assert stage.asked == asked
    assert all(it.reward_after == it.reward_before is not None for it in again.rollouts)
    assert {it.outcome_after for it in again.rollouts} == {None}


def _rewrite_as_pointwise(path, stage):
    recipe = yaml.safe_load((path / "recipe.yaml").read_text())
    recipe["rewards"] = [{"kind": "pointwise", "judge": "judge"}]
    for file in ("run.sqlite", "run.sqlite-wal", "run.sqlite-shm"):
        (path / file).unlink(missing_ok=True)
    asyncio.run(_record_run(Recipe.model_validate(recipe)))


def test_another_judge_gives_the_rewards_and_the_climb_that_it_would_have_given(stage):
    path = stage.run()
    after = _replay(path, judge="other")
    with RunDirectory.read(path) as run:
        texts = {(it.step, it.row): it.text for it in run.database.rollouts()}
    rungs, worth = dict.fromkeys((f"p{n}" for n in range(PROMPTS)), 0), {"win": 1.0, "tie": 0.5, "loss": 0.0}
    promotions = []
    for it in after.rollouts:
        reference = _ladder(int(it.prompt_id[1:])).references[rungs[it.prompt_id]].text
        letter = _letter("other", reference, texts[it.step, it.row])
        outcome = None if letter == "-" else {"A": "loss", "B": "win", "C": "tie"}[letter]
        assert (it.rung_after, it.outcome_after) == (rungs[it.prompt_id], outcome)
        assert it.reward_after == (None if outcome is None else worth[outcome])
        assert it.cause_after == (None if outcome else "no_verdict")
        if outcome == "win" and rungs[it.prompt_id] < RUNGS - 1:
            rungs[it.prompt_id] += 1
            promotions.append((it.step, it.prompt_id, rungs[it.prompt_id]))
    assert sorted((it.step, it.prompt_id, it.rung) for it in after.promotions_after) == sorted(promotions)
    assert after.rungs_after.tolist() == list(rungs.values())
    assert any(not it.same_reference for it in after.rollouts), "the climb did not part from the recorded one"


@pytest.mark.parametrize("judge", ["judge", "other"])
def test_advantages_are_those_of_whitening_the_tokens_under_the_new_scores(stage, judge):
    after = _replay(stage.run(group=2), judge=judge)
    for side in ("before", "after"):
        for step in range(1, STEPS + 1):
            rows = [it for it in after.rollouts if it.step == step]
            scores = {it.row: getattr(it, f"reward_{side}") for it in rows}
            responses = [_with_score(_tokens(step, row), score) for row, score in scores.items() if score is not None]
            means = iter(_whitened_means(responses))
            for it in rows:
                expected = None if scores[it.row] is None else pytest.approx(next(means), abs=1e-6)
                assert getattr(it, f"advantage_{side}") == expected


def test_the_run_is_not_written_and_asking_twice_costs_nothing(stage):
    path = stage.run()
    before, asked = _content(path / "run.sqlite"), stage.asked
    first = _replay(path, judge="other")
    assert _content(path / "run.sqlite") == before
    assert first.paid.calls == stage.asked - asked == first.replayed.calls
    assert first.paid.cost == pytest.approx(first.replayed.cost) == first.paid.calls * (10 * 1 + 5 * 2) / 1e6
    second = _replay(path, judge="other")
    assert (second.paid.calls, second.rollouts, second.replayed) == (0, first.rollouts, first.replayed)
    assert second.cached == first.replayed.answered


def test_a_judge_without_a_price_has_calls_of_unknown_cost(stage):
    paid = _replay(stage.run(), judge="priceless").paid
    assert paid.unknown_costs == paid.calls > 0
    assert "unknown" in paid.shown_cost


def test_calls_that_failed_for_good_are_asked_again_and_nothing_else(stage):
    stage.judges.broken = True
    path = stage.run(curriculum={"mode": "fixed", "reference": "best"})
    stage.judges.broken = False
    asked = stage.asked
    healed = _replay(path)
    masked = [it for it in healed.rollouts if it.cause_before == "server_error"]
    assert masked
    assert healed.recorded.calls - healed.recorded.answered == len(masked)
    assert len(masked) <= stage.asked - asked <= 2 * len(masked), "a verdict-less answer is asked for once more"
    assert all(it.cause_after != "server_error" for it in masked)
    for it in healed.rollouts:
        assert it in masked or (it.outcome_after, it.reward_after) == (it.outcome_before, it.reward_before)


def test_an_answer_that_does_not_come_is_counted_and_is_no_loss(stage):
    path = stage.run()
    stage.judges.broken = True
    after = _replay(path, judge="other")
    masked = [it for it in after.rollouts if it.cause_after == "server_error"]
    assert masked
    assert {(it.outcome_after, it.reward_after, it.advantage_after) for it in masked} == {(None, None, None)}
    assert after.replayed.calls - after.replayed.answered == len(masked) == after.paid.calls - after.paid.answered


def test_a_prompt_that_would_have_retired_is_left_out(stage):
    path = stage.run(group=3, curriculum={"start": "own"})
    after = _replay(path, "curriculum.top=retire")
    done = [it for it in after.rollouts if it.cause_after == "retired"]
    assert done
    assert {it.rung_after for it in done} == {RUNGS}
    assert {(it.reward_after, it.advantage_after, it.same_reference) for it in done} == {(None, None, False)}
    assert {it.rung_after for it in after.rollouts if it.cause_after != "retired"} <= set(range(RUNGS))


def test_a_ladder_extends_itself_by_the_texts_on_record(stage):
    path = stage.run(group=2)
    after = _replay(path, "curriculum.top=self")
    assert after.rungs_after.max() >= RUNGS
    assert after.rungs_before.max() == RUNGS - 1


def test_pairwise_becomes_pointwise(stage):
    path = stage.run()
    after = _replay(path, "rewards.0={kind: pointwise}", judge="other")
    with RunDirectory.read(path) as run:
        expected = [(_digest("other", it.text) % 10) / 9 for it in run.database.rollouts()]
    assert [it.reward_after for it in after.rollouts] == pytest.approx(expected)
    assert not after.promotions_after
    assert not after.inputs.compare


def test_the_examiner_may_judge_a_replay(stage):
    assert _replay(stage.run(), judge="third").paid.calls > 0


def test_a_spent_budget_stops_and_the_next_replay_goes_on(stage):
    path = stage.run()
    with pytest.raises(StoppedError, match="budget"):
        _replay(path, judge="other", budget=1e-9)
    kept = stage.asked
    assert _replay(path, judge="other").cached > 0
    with RunDirectory.read(path) as run, SqliteCallLog(run.path / "replay.sqlite") as log:
        assert log.totals().calls == log.totals().answered
        assert stage.asked > kept


def test_a_run_that_is_being_written_is_replayed_up_to_its_last_step(stage):
    path = stage.run()
    with RunDirectory.open(path) as run:
        run.database.roll_back_to(STEPS - 2)
        again = _replay(path)
    assert again.steps == STEPS - 2 == max(it.step for it in again.rollouts)
    assert [it.reward_after for it in again.rollouts] == [it.reward_before for it in again.rollouts]


@pytest.mark.parametrize(
    "override", ["data.per_step=2", "optim.gamma=0.5", "policy=x", "reward.0.judge=x", "run.seed=1", "x"]
)
def test_what_decided_the_texts_cannot_be_changed(stage, override):
    with pytest.raises(BadInputError) as refused:
        _replay(stage.run(), override)
    assert str(refused.value) == f"--set {override}: a replay can change rewards and curriculum, and nothing else"


def test_ladders_that_changed_or_went_are_named(stage):
    path, ladders = stage.run(), stage.folder / "ladders.jsonl"
    ladders.write_text(ladders.read_text() + "\n")
    with pytest.raises(BadInputError, match=r"ladders\.jsonl: has changed since the run began"):
        _replay(path)
    ladders.unlink()
    with pytest.raises(BadInputError, match=r"ladders\.jsonl: the run's ladders cannot be read: No such file"):
        _replay(path)


def test_a_run_without_a_step_is_refused(stage):
    path = stage.run()
    with RunDirectory.open(path) as run:
        run.database.roll_back_to(0)
    with pytest.raises(BadInputError, match="has no step on record to replay"):
        _replay(path)


def test_names_have_the_meaning_of_the_models_file_that_is_given(stage):
    path = stage.run()
    other = stage.folder / "elsewhere.yaml"
    other.write_text((stage.folder / "models.yaml").read_text().replace("model: judge", "model: renamed"))
    assert _replay(path, models=other).paid.calls > 0
    with pytest.raises(BadInputError, match=r"elsewhere\.yaml: has no model 'thirds'; did you mean 'third'\?"):
        _replay(path, models=other, judge="thirds")
