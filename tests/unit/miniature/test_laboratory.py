import pytest

from longform.miniature.laboratory import CONTRASTS, LabArm, LabSettings, difference, run_arm
from longform.miniature.study_world import WorldSettings
from longform.statistics.power import paired_power

WORLD = WorldSettings(train_prompts=30, held_out_prompts=60)
LAB = LabSettings(steps=6, per_step=16, group=4)


@pytest.mark.parametrize(("contrast", "arm"), [(name, arm) for name, it in CONTRASTS.items() for arm in it.arms])
def test_every_arm_runs_and_gives_a_grade(contrast, arm):
    world = CONTRASTS[contrast].world.model_copy(update={"train_prompts": 30, "held_out_prompts": 10})
    assert 1 <= run_arm(CONTRASTS[contrast].arms[arm], world, seed=1, lab=LAB._replace(steps=2)) <= 10


def test_an_arm_is_a_function_of_settings_world_and_seed():
    world = WORLD.model_copy(update={"kinds": True, "judge": "calibrated"})
    first = run_arm(LabArm(strategy="margin"), world, seed=3, lab=LAB)
    assert run_arm(LabArm(strategy="margin"), world, seed=3, lab=LAB) == first
    assert run_arm(LabArm(strategy="margin"), world, seed=4, lab=LAB) != first


@pytest.mark.parametrize("arm", [LabArm(), LabArm(reward="pointwise"), LabArm(advantages="balanced")])
def test_training_improves_the_policy(arm):
    untrained = run_arm(arm, WORLD, seed=2, lab=LAB._replace(lr=0.0))
    assert run_arm(arm, WORLD, seed=2, lab=LabSettings(steps=20, lr=1.0)) > untrained + 1


def test_balanced_advantages_do_not_depend_on_the_scale_of_a_reward():
    balanced = LabArm(advantages="balanced")
    grades = {
        how: {run_arm(LabArm(advantages=how, scales=scales), WORLD, seed=2, lab=LAB) for scales in ((1, 1), (64, 1))}
        for how in ("balanced", "summed")
    }
    assert grades["balanced"] == {run_arm(balanced, WORLD, seed=2, lab=LAB)}
    assert len(grades["summed"]) == 2


def test_a_difference_carries_the_power_to_find_it():
    found = difference([9.1, 9.3, 9.2, 9.4], [9.0, 9.1, 9.2, 9.1])
    assert (found.mean, found.sd) == pytest.approx((0.15, 0.1290994))
    assert found.power_5 == paired_power(found.mean, found.sd, 5)
    assert found.power_10 == paired_power(found.mean, found.sd, 10)
    assert found.is_trained == (found.power_10 >= 0.8)
    assert found.seeds == 8
    assert paired_power(found.mean, found.sd, 7) < 0.8


def test_a_contrast_without_power_is_not_trained():
    assert not difference([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]).is_trained
