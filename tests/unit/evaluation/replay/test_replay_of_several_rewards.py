"""Replays of runs with several rewards, with groups and without, and of runs on prompts that have no references."""

import math

import numpy as np
import pytest
import yaml
from recorded_run import DRAWN_AGAIN, PER_STEP, STEPS, Stage, replay_run

from longform.evaluation.replay.changes import measure_changes
from longform.records.errors import BadInputError
from longform.records.run_directory import RunDirectory
from longform.text.diversity import distance_factors
from longform.text.structure import parse_response
from longform.text.words import count_words

PAIRWISE = {"kind": "pairwise", "judge": "judge"}
POINTWISE = {"kind": "pointwise", "judge": "judge"}
LENGTH, FORMAT = {"kind": "length", "weight": 2.0}, {"kind": "format", "required": 0.5}
GROUP = 4


@pytest.fixture
def stage(tmp_path, serve, reply):
    return Stage(tmp_path, serve, reply)


def _grpo(stage, **changes):
    """A run on prompts with three rewards, one of them a judge's."""
    settings = {"rewards": [POINTWISE, LENGTH, FORMAT], "source": "prompts", "think": "on", "group": GROUP}
    return stage.run(**settings | {"method": "grpo"} | changes)


def _before(it):
    assert it.scores_before is not None
    return it.scores_before


def _after(it):
    assert it.scores_after is not None
    return it.scores_after


RUNS = {
    "three rewards, no ladders": {},
    "summed": {"advantages": "summed"},
    "measured alone": {"rewards": [LENGTH, FORMAT]},
    "one measured reward": {"rewards": [LENGTH], "think": "off"},
    "a ladder": {"rewards": [PAIRWISE, LENGTH, FORMAT], "source": "ladders", "curriculum": {"top": "self"}},
    "diversity": {"optim": {"diversity": True}},
    "drawn again, overlong masked": {"optim": {"resample": 2, "overlong": "mask"}},
    "ppo": {
        "method": "ppo",
        "group": 1,
        "rewards": [PAIRWISE, LENGTH, FORMAT | {"required": None}],
        "source": "ladders",
    },
}


def test_a_run_that_charged_redundancy_is_replayed_without_the_charge_and_says_so(stage):
    path = _grpo(stage)
    stored = yaml.safe_load((path / "recipe.yaml").read_text())
    stored["rewards"][2] |= {"redundancy": 2.0, "redundancy_measure": "minhash", "embeddings": None}
    (path / "recipe.yaml").write_text(yaml.safe_dump(stored))
    replay = replay_run(path)
    assert replay.paid.calls == 0
    assert replay.inputs.removed == ["rewards.redundancy 2.0"]


@pytest.mark.parametrize("kind", RUNS)
def test_without_a_change_nothing_is_asked_and_nothing_changes(stage, kind):
    path = _grpo(stage, **RUNS[kind])
    asked = stage.asked
    again = replay_run(path)
    assert stage.asked == asked
    for it in again.rollouts:
        assert (it.outcome_after, it.cause_after, it.reward_after, it.scores_after) == (
            it.outcome_before,
            it.cause_before,
            it.reward_before,
            it.scores_before,
        )
        assert (it.rung_after, it.advantage_after) == (it.rung_before, it.advantage_before)
        assert it.same_reference
    assert again.promotions_after == again.promotions_before
    assert bool(again.promotions_before) == (RUNS[kind].get("source") == "ladders")
    assert again.replayed == again.recorded
    assert len({it.advantage_before for it in again.rollouts}) > STEPS


@pytest.mark.parametrize("how", ["balanced", "summed"])
def test_advantages_of_groups_are_computed_by_hand_from_the_recorded_scores(stage, how):
    path = _grpo(stage, rewards=[POINTWISE, LENGTH, FORMAT | {"required": None}], optim={"overlong": "mask"})
    asked = stage.asked
    after = replay_run(path, f"advantages={how}", "rewards.0.weight=3")
    assert stage.asked == asked, "another weighting asks nobody"
    with RunDirectory.read(path) as run:
        stored = list(run.database.rollouts())
    weights = {"pointwise": 3 / 6, "length": 2 / 6, "format": 1 / 6}
    for start in range(0, len(stored), GROUP):
        scores = [it.scores or {} for it in stored[start : start + GROUP]]
        if how == "balanced":
            expected = np.sum([w * _standard([it[kind] for it in scores]) for kind, w in weights.items()], axis=0)
        else:
            expected = _standard([sum(w * it[kind] for kind, w in weights.items()) for it in scores])
        for it, value in zip(range(start, start + GROUP), expected, strict=True):
            cut_off = stored[it].finish_reason == "length"
            assert after.rollouts[it].advantage_after == (None if cut_off else pytest.approx(value, abs=1e-9))


def _standard(scores):
    scores = np.asarray(scores)
    spread = scores.std(ddof=1)
    return (scores - scores.mean()) / (spread + 1e-6) if spread > 1e-9 else np.zeros(len(scores))


@pytest.mark.parametrize(("place", "kind"), [(2, "format"), (0, "pointwise")])
def test_a_constraint_that_is_set_afterwards_pushes_violations_down(stage, place, kind):
    path = _grpo(stage, rewards=[POINTWISE, LENGTH, {"kind": "format"}])
    after = replay_run(path, f"rewards.{place}.required=0.5")
    groups = [after.rollouts[start : start + GROUP] for start in range(0, len(after.rollouts), GROUP)]
    mixed = [group for group in groups if len({_after(it)[kind] >= 0.5 for it in group}) == 2]
    violations = [it for group in mixed for it in group if _after(it)[kind] < 0.5]
    assert violations
    assert all(it.advantage_after is not None and it.advantage_after <= -1 for it in violations)
    assert any((it.advantage_before or 0) > -1 for it in violations), "the constraint changed nothing"


def test_a_diverse_response_is_worth_more_than_one_that_repeats_the_others(stage):
    path = _grpo(stage, rewards=[LENGTH], think="off", optim={"diversity": True})
    found = replay_run(path).rollouts
    with RunDirectory.read(path) as run:
        texts = [it.text for it in run.database.rollouts()]
    for start in range(0, len(found), GROUP):
        factors = distance_factors(texts[start : start + GROUP])
        rewards = [_after(it)["length"] for it in found[start : start + GROUP]]
        expected = _standard([reward * factor for reward, factor in zip(rewards, factors, strict=True)])
        assert [it.advantage_after for it in found[start : start + GROUP]] == pytest.approx(expected, abs=1e-9)


def test_a_step_that_drew_again_is_replayed_whole(stage):
    again = replay_run(_grpo(stage, optim={"resample": 1}), "advantages=summed")
    rows = [sum(it.step == step for it in again.rollouts) for step in range(1, STEPS + 1)]
    assert rows == [(PER_STEP + DRAWN_AGAIN * (step % 2)) * GROUP for step in range(1, STEPS + 1)]
    assert any(it.advantage_after != it.advantage_before for it in again.rollouts)


def test_groups_that_say_nothing_teach_nothing_where_they_are_replaced(stage):
    constant = {"kind": "format", "repetition": 0.0}
    settings = {"rewards": [constant], "think": "off"}
    for resample, advantage in ((0, 0.0), (1, None)):
        path = _grpo(stage, **settings, optim={"resample": resample})
        assert {it.advantage_before for it in replay_run(path).rollouts} == {advantage}
        for file in path.glob("run.sqlite*"):
            file.unlink()


def test_silence_of_one_reward_masks_the_rollout_and_a_group_without_two_voices_is_skipped(stage):
    path = _grpo(stage, rewards=[LENGTH, POINTWISE], group=2)
    stage.judges.broken = True
    after = replay_run(path, judge="other")
    silent = [it for it in after.rollouts if it.cause_after == "server_error"]
    assert silent
    assert {(it.reward_after, it.scores_after, it.advantage_after) for it in silent} == {(None, None, None)}
    beside = [after.rollouts[place ^ 1] for place, it in enumerate(after.rollouts) if it.cause_after == "server_error"]
    assert {it.advantage_after for it in beside} == {None}
    assert any(it.reward_after is not None for it in beside)


def test_measured_rewards_are_measured_again_under_changed_settings(stage):
    path = _grpo(stage, rewards=[LENGTH, FORMAT])
    (stage.folder / "models.yaml").unlink()
    after = replay_run(path, "rewards.0.max_words=5")
    assert not after.inputs.judges
    with RunDirectory.read(path) as run:
        for it, stored in zip(after.rollouts, run.database.rollouts(), strict=True):
            words = count_words(parse_response(stored.text, "on").answer)
            expected = words / 2 if words < 2 else 1.0 if words <= 4 else max(0, 5 - words)
            expected *= 0.5 if stored.finish_reason == "length" else 1.0
            assert _after(it)["length"] == pytest.approx(expected)
            assert it.reward_after == pytest.approx((2 * expected + _after(it)["format"]) / 3)


def test_the_named_judge_replaces_that_of_the_reward_that_asks_one(stage):
    path = _grpo(stage, rewards=[LENGTH, FORMAT, POINTWISE])
    after = replay_run(path, judge="other")
    assert after.inputs.changes == ("rewards.2.judge=other",)
    assert set(after.inputs.judges) == {"other"}
    assert all(_after(it)["length"] == _before(it)["length"] for it in after.rollouts)
    assert any(_after(it)["pointwise"] != _before(it)["pointwise"] for it in after.rollouts)


def test_a_judge_whose_place_is_not_clear_is_refused(stage):
    path = _grpo(stage, rewards=[LENGTH, POINTWISE, PAIRWISE], source="ladders")
    with pytest.raises(BadInputError) as refused:
        replay_run(path, judge="other")
    assert str(refused.value) == (
        "--judge other: several rewards of this run have a judge; "
        "use --set rewards.1.judge=other or --set rewards.2.judge=other"
    )
    assert set(replay_run(path, "rewards.2.judge=other").inputs.judges) == {"judge", "other"}


def test_a_judge_for_a_run_that_asks_none_is_refused(stage):
    path = _grpo(stage, rewards=[LENGTH, FORMAT])
    with pytest.raises(BadInputError, match=r"--judge other: no reward of this run has a judge"):
        replay_run(path, judge="other")
    added = replay_run(path, "rewards=[{kind: pointwise, judge: other}]")
    assert {tuple(_after(it)) for it in added.rollouts} == {("pointwise",)}


@pytest.mark.parametrize(
    ("override", "error"),
    [
        (
            "rewards.1.max_words=4",
            r"prompts\.jsonl: prompt p0: its length_range ends at \d+; rewards\.length\.max_words, .* is 4",
        ),
        ("rewards.0={kind: pairwise, judge: judge}", r"data\.ladders: required by the pairwise reward"),
        ("advantages=both", r"advantages: Input should be 'balanced' or 'summed'"),
    ],
)
def test_a_change_that_the_prompts_cannot_follow_is_refused(stage, override, error):
    with pytest.raises(BadInputError, match=error):
        replay_run(_grpo(stage), override)


def test_the_changes_of_each_reward_are_told(stage):
    changes = measure_changes(replay_run(_grpo(stage), "advantages=summed"))
    assert [it.kind for it in changes.kinds] == ["pointwise", "length", "format"]
    assert all(it.before == it.after and it.difference == (0, 0, 0) for it in changes.kinds)
    assert all(it.followed_before != it.followed_after for it in changes.kinds)
    assert (changes.other_reference, changes.same_reference, changes.rungs) == (None, None, None)
    assert changes.advantages is not None
    assert changes.advantages.absolute_change > 0.01


def test_a_reward_on_one_side_alone_has_no_difference(stage):
    path = _grpo(stage, rewards=[LENGTH, FORMAT])
    changes = measure_changes(replay_run(path, "rewards=[{kind: format}, {kind: pointwise, judge: other}]"))
    kinds = {it.kind: it for it in changes.kinds}
    assert list(kinds) == ["length", "format", "pointwise"]
    assert (kinds["length"].after, kinds["length"].difference, kinds["length"].followed_after) == (None, None, None)
    assert (kinds["pointwise"].before, kinds["pointwise"].followed_before) == (None, None)
    assert kinds["format"].difference is not None
    assert not math.isnan(kinds["format"].difference.low)
