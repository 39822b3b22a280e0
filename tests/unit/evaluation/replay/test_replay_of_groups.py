"""Replays of runs whose responses were compared within their groups, and of other runs in that way."""

import pytest
from recorded_run import PER_STEP, STEPS, Stage, replay_run

from longform.evaluation.replay.changes import outcome_change
from longform.evaluation.replay.run import replay
from longform.records.errors import BadInputError
from longform.statistics.group_games import max_games

GROUP = 4
METHODS = ("peer", "anchors", "list", "round-robin", "elimination")
LENGTH = {"kind": "length"}


@pytest.fixture
def stage(tmp_path, serve, reply):
    return Stage(tmp_path, serve, reply)


def _run(stage, by, *, rewards=(), **changes):
    group = {"kind": "group", "judge": "judge", "by": by}
    return stage.run(**{"rewards": [group, *rewards], "method": "grpo", "group": GROUP} | changes)


RUNS = {by: {"by": by} for by in METHODS} | {
    "the best promotes": {"by": "list", "curriculum": {"promote_by": "sample", "top": "self"}},
    "flat groups alone": {"by": "peer", "rewards": [LENGTH], "flat_groups": "judge", "group": 2},
    "drawn again": {"by": "round-robin", "optim": {"resample": 2}},
}


@pytest.mark.parametrize("kind", RUNS)
def test_without_a_change_nothing_is_asked_and_nothing_changes(stage, kind):
    path = _run(stage, **RUNS[kind])
    asked = stage.asked
    again = replay_run(path)
    assert stage.asked == asked
    for it in again.rollouts:
        assert (it.scores_after, it.outcome_after, it.cause_after) == (
            it.scores_before,
            it.outcome_before,
            it.cause_before,
        )
        assert (it.reward_after, it.rung_after, it.advantage_after) == (
            it.reward_before,
            it.rung_before,
            it.advantage_before,
        )
    assert again.promotions_after == again.promotions_before
    assert again.replayed == again.recorded and again.paid.calls == 0
    if kind != "flat groups alone":
        assert {it.reward_before is None for it in again.rollouts} == {True, False}, "silence was not put to the test"
    if kind in ("anchors", "the best promotes"):
        assert again.promotions_before
    if kind == "flat groups alone":
        assert {"group" in (it.scores_before or {}) for it in again.rollouts} == {True, False}


@pytest.mark.parametrize(
    "by", [it if it in ("peer", "list") else pytest.param(it, marks=pytest.mark.full) for it in METHODS]
)
def test_a_pairwise_run_is_replayed_by_comparing_its_groups_with_the_price(stage, by):
    path = stage.run(method="grpo", group=GROUP, position="both", samples=1)
    after = replay_run(path, by=by)
    (reward,) = after.inputs.replayed.judged
    assert (reward.kind, reward.judges) == ("group", ["judge"])
    scores = {it.scores_after["group"] for it in after.rollouts if it.scores_after}
    assert len(scores) > 2 or by == "peer"
    assert all(0 <= score <= 1 for score in scores)
    most = STEPS * PER_STEP * max_games(by, GROUP, anchors=3)
    orders, attempts = 1 if by == "list" else 2, 2
    assert 0 < after.replayed.calls <= most * orders * attempts
    assert after.replayed.cost > 0


def test_a_grouped_run_is_replayed_in_another_way_and_by_another_judge(stage):
    path = _run(stage, "round-robin", rewards=[LENGTH])
    cheap = replay_run(path, by="list")
    assert cheap.replayed.calls < cheap.recorded.calls / 2
    assert [it.kind for it in cheap.inputs.replayed.rewards] == ["group", "length"]
    other = replay_run(path, by="list", judge="other")
    (judged,) = other.inputs.replayed.judged
    assert judged.judges == ["other"]
    assert [it.reward_after for it in other.rollouts] != [it.reward_after for it in cheap.rollouts]
    flat = replay_run(path, "data.flat_groups=judge")
    assert flat.replayed.calls < flat.recorded.calls


def test_the_price_of_a_replay_is_known_before_its_first_question(stage):
    path = stage.run(method="grpo", group=GROUP, position="both")
    asked, said = stage.asked, []

    def plan(line):
        assert stage.asked == asked, "nothing has been asked yet"
        said.append(line)

    after = replay(path, by="round-robin", on_plan=plan)
    (line,) = said
    most = STEPS * PER_STEP * max_games("round-robin", GROUP) * 2
    assert line.startswith(f"judge: the judge gets at most {most} questions, about ")
    assert "of unknown cost" not in line and after.paid.calls > 0
    said.clear()
    asked = stage.asked
    replay(path, by="peer", judge="priceless", on_plan=plan)
    assert "of unknown cost" in said[0] and said[0].startswith("priceless: ")


def test_a_run_whose_best_responses_promote_is_replayed_against_its_rungs(stage):
    path = _run(stage, "list", curriculum={"promote_by": "sample"})
    after = replay_run(path, by="anchors")
    assert after.inputs.changes[-1] == "curriculum.promote_by=verdicts"
    assert sum(it.outcome_after is not None for it in after.rollouts) > sum(
        it.outcome_before is not None for it in after.rollouts
    )
    groups = STEPS * PER_STEP
    asked = sum(it.asked_before for it in after.rollouts)
    assert groups / 2 < asked <= groups, "the best of each group that has scores"
    assert all(it.asked_before for it in after.rollouts if it.outcome_before is not None)
    assert {it.outcome_before for it in after.rollouts if it.asked_before} == {"win", "tie", "loss", None}
    assert all(it.asked_after for it in after.rollouts)
    table = outcome_change(after.rollouts).table
    assert sum(table["not asked"].values()) > groups > sum(table["no verdict"].values()) > 0
    assert "not asked" in table["win"] and not any(it["not asked"] for it in table.values())


def test_a_replay_by_anchors_keeps_their_number(stage):
    recorded = [{"kind": "group", "judge": "judge", "by": "anchors", "anchors": 0}, LENGTH]
    path = stage.run(rewards=recorded, method="grpo", group=GROUP)
    asked = stage.asked
    assert '"anchors": 0' in replay_run(path, by="anchors").inputs.changes[0]
    assert stage.asked == asked, "nothing has changed"


@pytest.mark.parametrize(
    ("run", "error"),
    [
        ({"rewards": [LENGTH], "source": "prompts"}, "--by peer: no reward of this run compares texts"),
        ({"method": "ppo"}, "kind: group is only valid with method: grpo"),
    ],
)
def test_a_run_that_cannot_be_compared_in_groups_says_so(stage, run, error):
    path = stage.run(**{"method": "grpo", "group": GROUP} | run)
    with pytest.raises(BadInputError, match=error):
        replay_run(path, by="peer")
