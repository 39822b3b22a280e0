"""Replays of runs whose policy is a random draw of words and whose judge is a function of what it reads."""

import asyncio
import sqlite3

import numpy as np
import pytest
import yaml
from recorded_run import (
    PROMPTS,
    RUNGS,
    STEPS,
    Stage,
    digest,
    letter,
    make_ladder,
    record_run,
    replay_run,
    tokens,
    with_score,
)

from longform.recipe.recipe import Recipe
from longform.records.calls import SqliteCallLog
from longform.records.errors import BadInputError, StoppedError
from longform.records.run_directory import RunDirectory


@pytest.fixture
def stage(tmp_path, serve, reply):
    return Stage(tmp_path, serve, reply)


def _whitened_means(responses):
    """By the book, over all tokens."""
    whole = np.concatenate(responses)
    return [float(((it - whole.mean()) / np.sqrt(whole.var(ddof=1) + 1e-8)).mean()) for it in responses]


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
    again = replay_run(path)
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
    again = replay_run(path)
    assert stage.asked == asked
    assert all(it.reward_after == it.reward_before is not None for it in again.rollouts)
    assert {it.outcome_after for it in again.rollouts} == {None}


def _rewrite_as_pointwise(path, stage):
    recipe = yaml.safe_load((path / "recipe.yaml").read_text())
    recipe["rewards"] = [{"kind": "pointwise", "judge": "judge"}]
    for file in ("run.sqlite", "run.sqlite-wal", "run.sqlite-shm"):
        (path / file).unlink(missing_ok=True)
    asyncio.run(record_run(Recipe.model_validate(recipe)))


def test_another_judge_gives_the_rewards_and_the_climb_that_it_would_have_given(stage):
    path = stage.run()
    after = replay_run(path, judge="other")
    with RunDirectory.read(path) as run:
        texts = {(it.step, it.row): it.text for it in run.database.rollouts()}
    rungs, worth = dict.fromkeys((f"p{n}" for n in range(PROMPTS)), 0), {"win": 1.0, "tie": 0.5, "loss": 0.0}
    promotions = []
    for it in after.rollouts:
        reference = make_ladder(int(it.prompt_id[1:])).references[rungs[it.prompt_id]].text
        said = letter("other", reference, texts[it.step, it.row])
        outcome = None if said == "-" else {"A": "loss", "B": "win", "C": "tie"}[said]
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
    after = replay_run(stage.run(group=2), judge=judge)
    for side in ("before", "after"):
        for step in range(1, STEPS + 1):
            rows = [it for it in after.rollouts if it.step == step]
            scores = {it.row: getattr(it, f"reward_{side}") for it in rows}
            responses = [with_score(tokens(step, row), score) for row, score in scores.items() if score is not None]
            means = iter(_whitened_means(responses))
            for it in rows:
                expected = None if scores[it.row] is None else pytest.approx(next(means), abs=1e-6)
                assert getattr(it, f"advantage_{side}") == expected


def test_the_run_is_not_written_and_asking_twice_costs_nothing(stage):
    path = stage.run()
    before, asked = _content(path / "run.sqlite"), stage.asked
    first = replay_run(path, judge="other")
    assert _content(path / "run.sqlite") == before
    assert first.paid.calls == stage.asked - asked == first.replayed.calls
    assert first.paid.cost == pytest.approx(first.replayed.cost) == first.paid.calls * (10 * 1 + 5 * 2) / 1e6
    second = replay_run(path, judge="other")
    assert (second.paid.calls, second.rollouts, second.replayed) == (0, first.rollouts, first.replayed)
    assert second.cached == first.replayed.answered


def test_a_judge_without_a_price_has_calls_of_unknown_cost(stage):
    paid = replay_run(stage.run(), judge="priceless").paid
    assert paid.unknown_costs == paid.calls > 0
    assert "unknown" in paid.shown_cost


def test_calls_that_failed_for_good_are_asked_again_and_nothing_else(stage):
    stage.judges.broken = True
    path = stage.run(curriculum={"mode": "fixed", "reference": "best"})
    stage.judges.broken = False
    asked = stage.asked
    healed = replay_run(path)
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
    after = replay_run(path, judge="other")
    masked = [it for it in after.rollouts if it.cause_after == "server_error"]
    assert masked
    assert {(it.outcome_after, it.reward_after, it.advantage_after) for it in masked} == {(None, None, None)}
    assert after.replayed.calls - after.replayed.answered == len(masked) == after.paid.calls - after.paid.answered


def test_a_prompt_that_would_have_retired_is_left_out(stage):
    path = stage.run(group=3, curriculum={"start": "own"})
    after = replay_run(path, "curriculum.top=retire")
    done = [it for it in after.rollouts if it.cause_after == "retired"]
    assert done
    assert {it.rung_after for it in done} == {RUNGS}
    assert {(it.reward_after, it.advantage_after, it.same_reference) for it in done} == {(None, None, False)}
    assert {it.rung_after for it in after.rollouts if it.cause_after != "retired"} <= set(range(RUNGS))


def test_a_ladder_extends_itself_by_the_texts_on_record(stage):
    path = stage.run(group=2)
    after = replay_run(path, "curriculum.top=self")
    assert after.rungs_after.max() >= RUNGS
    assert after.rungs_before.max() == RUNGS - 1


def test_pairwise_becomes_pointwise(stage):
    path = stage.run()
    after = replay_run(path, "rewards.0={kind: pointwise}", judge="other")
    with RunDirectory.read(path) as run:
        expected = [(digest("other", it.text) % 10) / 9 for it in run.database.rollouts()]
    assert [it.reward_after for it in after.rollouts] == pytest.approx(expected)
    assert not after.promotions_after
    assert not after.inputs.compare


def test_the_examiner_may_judge_a_replay(stage):
    assert replay_run(stage.run(), judge="third").paid.calls > 0


def test_a_spent_budget_stops_and_the_next_replay_goes_on(stage):
    path = stage.run()
    with pytest.raises(StoppedError, match="budget"):
        replay_run(path, judge="other", budget=1e-9)
    kept = stage.asked
    assert replay_run(path, judge="other").cached > 0
    with RunDirectory.read(path) as run, SqliteCallLog(run.path / "replay.sqlite") as log:
        assert log.totals().calls == log.totals().answered
        assert stage.asked > kept


def test_a_run_that_is_being_written_is_replayed_up_to_its_last_step(stage):
    path = stage.run()
    with RunDirectory.open(path) as run:
        run.database.roll_back_to(STEPS - 2)
        again = replay_run(path)
    assert again.steps == STEPS - 2 == max(it.step for it in again.rollouts)
    assert [it.reward_after for it in again.rollouts] == [it.reward_before for it in again.rollouts]


@pytest.mark.parametrize(
    "override", ["data.per_step=2", "optim.gamma=0.5", "policy=x", "reward.0.judge=x", "run.seed=1", "x"]
)
def test_what_decided_the_texts_cannot_be_changed(stage, override):
    with pytest.raises(BadInputError) as refused:
        replay_run(stage.run(), override)
    assert str(refused.value) == f"--set {override}: a replay can only change rewards, advantages and curriculum"


def test_ladders_that_changed_or_went_are_named(stage):
    path, ladders = stage.run(), stage.folder / "ladders.jsonl"
    ladders.write_text(ladders.read_text() + "\n")
    with pytest.raises(BadInputError, match=r"ladders\.jsonl: has changed since the run began"):
        replay_run(path)
    ladders.unlink()
    with pytest.raises(BadInputError, match=r"ladders\.jsonl: the prompts of the run cannot be read: No such file"):
        replay_run(path)


def test_a_run_without_a_step_is_refused(stage):
    path = stage.run()
    with RunDirectory.open(path) as run:
        run.database.roll_back_to(0)
    with pytest.raises(BadInputError, match="has no recorded step to replay"):
        replay_run(path)


def test_names_have_the_meaning_of_the_models_file_that_is_given(stage):
    path = stage.run()
    other = stage.folder / "elsewhere.yaml"
    other.write_text((stage.folder / "models.yaml").read_text().replace("model: judge", "model: renamed"))
    assert replay_run(path, models=other).paid.calls > 0
    with pytest.raises(BadInputError, match=r"elsewhere\.yaml: has no model 'thirds'; did you mean 'third'\?"):
        replay_run(path, models=other, judge="thirds")
