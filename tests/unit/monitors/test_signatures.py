"""Each signature on made-up metrics: what it finds, what it says, and what comes close and is left alone."""

import pytest
from series_of_runs import sound_run

from longform.monitors.series import latest_window, lower_bound, pooled_share
from longform.monitors.watch import diagnose


def _found(instead):
    return {it.name: it for it in diagnose(sound_run(instead))}


def _rising(low, high, *, steps=40):
    return lambda step: low + (high - low) * step / steps


@pytest.mark.parametrize(
    ("name", "said", "failing", "close"),
    [
        ("won-too-easily", "98.0% of 256 verdicts", {"outcome/win": 0.98}, {"outcome/win": 0.94}),
        (
            "never-wins",
            "no prompt was promoted",
            {"outcome/win": 0.0, "curriculum/promotions": 0},
            {"outcome/win": 0.01, "curriculum/promotions": lambda step: step % 8 == 0},
        ),
        (
            "never-wins",
            "3.0% of 256",
            {"outcome/win": 0.03, "curriculum/promotions": 0},
            {"outcome/win": 0.06, "curriculum/promotions": 0},
        ),
        (
            "flat-reward",
            "vary by only 0.010",
            {"reward/spread": 0.01},
            {"reward/spread": lambda step: 0.2 * (step % 2)},
        ),
        (
            "judge-inconsistent",
            "45% of 256 repeated verdicts",
            {"judge/inconsistency": 0.45, "judge/rechecked": 8},
            {"judge/inconsistency": 0.24, "judge/rechecked": 8},
        ),
        (
            "judge-inconsistent",
            "disagreement in steps 33 to 40 is 0.24",
            {"judge/disagreement": 0.24},
            {"judge/disagreement": 0.15},
        ),
        ("judge-silent", "20% of 256 rollouts", {"no_verdict/share": 0.2}, {"no_verdict/share": 0.09}),
        (
            "loss-spike",
            "critic/loss is 0.9 at step 30",
            {"critic/loss": lambda step: 0.9 if step == 30 else 0.1 + 0.001 * (step % 5)},
            {"critic/loss": lambda step: 0.2 if step == 30 else 0.1 + 0.001 * (step % 5)},
        ),
        (
            "loss-spike",
            "policy/grad_norm is 20 at step 12",
            {"policy/grad_norm": lambda step: 20 if step == 12 else 1 + 0.1 * (step % 3)},
            {"policy/grad_norm": lambda step: 8 if step == 12 else 1 + 0.1 * (step % 3)},
        ),
        ("kl-runaway", "1.6 nats per token", {"policy/kl_to_start": _rising(0, 1.8)}, {"policy/kl_to_start": 0.9}),
        (
            "kl-runaway",
            "each update",
            {"policy/kl_to_start": lambda step: None, "policy/kl_of_update": 0.3},
            {"policy/kl_to_start": lambda step: None, "policy/kl_of_update": lambda step: 0.5 * (step == 20)},
        ),
        (
            "entropy-collapse",
            "down from 0.78 at step 1",
            {"policy/entropy": _rising(0.8, 0.0)},
            {"policy/entropy": _rising(0.8, 0.2)},
        ),
        ("cut-off", "90% of 256 texts", {"text/cut_off": 0.9}, {"text/cut_off": 0.45}),
        (
            "length-by-repetition",
            "word 4-grams",
            {"text/words": _rising(500, 900), "text/repetition": _rising(0.02, 0.4)},
            {"text/words": _rising(500, 900), "text/repetition": _rising(0.02, 0.08)},
        ),
        (
            "length-by-repetition",
            "of their sentences",
            {"text/words": _rising(500, 900), "text/repeated_sentences": _rising(0.0, 0.4)},
            {"text/words": 500, "text/repeated_sentences": _rising(0.0, 0.4)},
        ),
        (
            "flat-reward",
            "95% of the groups",
            {"group/without_spread": 0.95},
            {"group/without_spread": 0.85},
        ),
        (
            "structure-broken",
            "down from 95%",
            {"text/structure": lambda step: 0.95 if step < 20 else 0.7},
            {"text/structure": lambda step: 0.95 if step < 20 else 0.8},
        ),
        (
            "structure-broken",
            "20% of the responses are well-formed in steps 33 to 40, and 20% two windows earlier",
            {"text/structure": 0.2},
            {"text/structure": _rising(0.0, 0.4)},
        ),
        (
            "out-of-range",
            "30% of the answers are within their length_range",
            {"text/in_range": 0.3},
            {"text/in_range": 0.55},
        ),
        (
            "plan-withers",
            "plans have 4 words in steps 33 to 40 (median), down from 60, and 95% of the responses are well-formed",
            {"text/think_words": lambda step: 60 if step < 20 else 4, "text/structure": 0.95},
            {"text/think_words": lambda step: 60 if step < 20 else 20},
        ),
        (
            "plan-withers",
            "down from 378",
            {"text/think_words": _rising(400, 50)},
            {"text/think_words": _rising(400, 150)},
        ),
        (
            "padding-by-paraphrase",
            "25% of the sentences share most of their words with an earlier one, up from 2% at the beginning; "
            "texts went from 500 to 510 words",
            {
                "text/redundancy": lambda step: 0.02 if step < 20 else 0.25,
                "text/words": lambda step: 500 + 10 * (step > 9),
            },
            {"text/redundancy": lambda step: 0.02 if step < 20 else 0.11},
        ),
        (
            "keyword-stuffing",
            "10% of the words repeat single words beyond natural use, up from 1% at the beginning (copper 5.0%)",
            {"text/stuffing": _rising(0.0, 0.1), "keyword/copper": 0.05},
            {"text/stuffing": _rising(0.01, 0.05)},
        ),
        (
            "keyword-drift",
            "share of the answers (copper 5.0%, frost 3.0%)",
            {
                "text/keywords": lambda step: 2.0 * (step > 9),
                "keyword/frost": lambda step: 0.03 if step > 9 else None,
                "keyword/copper": lambda step: 0.05 if step > 9 else None,
                "keyword/dawn": lambda step: 0.09 if step < 9 else None,
            },
            {"text/keywords": 0},
        ),
        (
            "copied-from-prompt",
            "20% of the words are in passages copied from the request, up from 2%",
            {"text/copied_from_prompt": lambda step: 0.02 if step < 20 else 0.2},
            {"text/copied_from_prompt": 0.3},
        ),
        (
            "copied-from-reference",
            "copied from the current reference",
            {"text/copied_from_reference": lambda step: 0.02 if step < 20 else 0.2},
            {"text/copied_from_reference": lambda step: 0.02 if step < 20 else 0.1},
        ),
        (
            "reward-dominates",
            "pairwise accounts for 98% of the reward variance in steps 33 to 40, length for 2% although its mean is "
            "only 0.60",
            {"reward/pairwise/share": 0.98, "reward/length/share": 0.02, "reward/length/mean": 0.6},
            {"reward/pairwise/share": 0.98, "reward/length/share": 0.02, "reward/length/mean": 0.95},
        ),
    ],
)
def test_a_failure_is_found_and_a_near_miss_is_not(name, said, failing, close):
    assert said in _found(failing)[name].evidence
    assert name not in _found(close)


def test_a_share_that_is_low_at_first_and_rises_is_being_learned():
    assert _found({"text/structure": _rising(0.05, 0.95), "text/in_range": _rising(0.1, 0.9)}) == {}


def test_a_format_that_is_learned_late_is_reported_until_then():
    finding = _found({"text/structure": lambda step: 0.1 if step < 30 else 0.95})["structure-broken"]
    assert (finding.first, finding.last) == (17, 29)


def test_without_a_length_reward_only_a_fall_of_the_share_in_range_is_reported():
    untaught = {"reward/length/mean": lambda step: None}
    assert "out-of-range" not in _found(untaught | {"text/in_range": 0.3})
    assert "out-of-range" in _found(untaught | {"text/in_range": lambda step: 0.7 if step < 20 else 0.3})


def test_a_reward_dominates_only_where_rewards_are_summed():
    alone = {"reward/pairwise/share": 0.98, "reward/length/share": 0.02, "reward/length/mean": 0.6}
    assert "reward-dominates" in _found(alone)
    assert "reward-dominates" not in _found(alone | {"reward/largest_share": lambda step: None}), "balanced"


def test_short_plans_are_reported_only_for_well_formed_responses():
    assert "plan-withers" not in _found({"text/think_words": 4, "text/structure": 0.3})


def test_a_run_without_thinking_has_no_format_finding():
    gone = {name: lambda step: None for name in ("text/structure", "text/think_words", "text/in_range")}
    assert _found(gone) == {}


def _validated(grades, *, error=0.2):
    """Every fifth step a validation with one of `grades`."""
    at = {5 * place: grade for place, grade in enumerate(grades)}
    return {"validation/grade": at.get, "validation/grade_error": lambda step: error if step in at else None}


def test_judge_and_examiner_apart_needs_a_significant_fall_during_progress():
    fall = [6, 7, 7.5, 7.5, 7, 6.5, 5.5, 5]
    finding = _found(_validated(fall))["judge-examiner-apart"]
    assert "from 7.50 ± 0.14 to 5.25 ± 0.14" in finding.evidence
    assert finding.first == 15
    small = [6, 7, 7.5, 7.5, 7.4, 7.2, 7, 6.9]
    assert "judge-examiner-apart" not in _found(_validated(small))
    assert "judge-examiner-apart" not in _found(_validated(fall, error=0.6))
    stuck = {"curriculum/mean_rung_faced": 1, "reward/mean": 0.5}
    assert "judge-examiner-apart" not in _found(_validated(fall) | stuck)
    relative = stuck | {"curriculum/mean_rung_faced": 0, "group/judged": 1.0}
    evidence = _found(_validated(fall) | relative)["judge-examiner-apart"].evidence
    assert "while responses are rewarded for being better than others of their group" in evidence
    assert "judge-examiner-apart" not in _found(_validated(small) | relative)
    assert "judge-examiner-apart" not in _found(_validated(fall) | stuck | {"group/judged": 1.0}), "rungs show progress"


def test_judge_and_examiner_apart_without_rungs_needs_a_rise_of_the_reward_beyond_noise():
    fall = _validated([6, 7, 7.5, 7.5, 7, 6.5, 5.5, 5])
    slow = {"curriculum/mean_rung_faced": 0, "reward/mean": lambda step: 0.3 + 0.004 * step}
    finding = _found(fall | slow | {"reward/spread": 0.1})["judge-examiner-apart"]
    assert "mean rung plus mean reward rose from 0.35 to 0.43" in finding.evidence
    assert "judge-examiner-apart" not in _found(fall | slow | {"reward/spread": 0.4}), "may be noise"
    assert "judge-examiner-apart" not in _found(fall | slow | {"reward/spread": None}), "may be noise"
    falls = slow | {"reward/mean": lambda step: 0.5 - 0.004 * step, "reward/spread": 0.1}
    assert "judge-examiner-apart" not in _found(fall | falls), "a collapse under both"
    assert "judge-examiner-apart" not in _found(fall | slow | {"reward/spread": 0.1, "curriculum/mean_rung_faced": 1})


def test_judge_and_examiner_apart_where_the_grade_does_not_rise_and_is_known_well():
    flat = [6.0, 6.1, 6.0, 5.9, 6.1, 6.0, 6.0, 6.1]
    finding = _found(_validated(flat, error=0.05))["judge-examiner-apart"]
    assert "the examiner's grade from 6.05 to 6.05 (+0.00 ± 0.05)" in finding.evidence
    assert (finding.first, finding.last) == (10, 35)
    assert "judge-examiner-apart" not in _found(_validated(flat, error=0.2)), "it may have risen"
    rises = [6.0, 6.1, 6.2, 6.3, 6.4, 6.5, 6.6, 6.7]
    assert "judge-examiner-apart" not in _found(_validated(rises, error=0.05))
    half = {"curriculum/mean_rung_faced": lambda step: step / 100, "reward/mean": 0.5}
    assert "judge-examiner-apart" not in _found(_validated(flat, error=0.05) | half), "hardly half a rung"
    alone = {"curriculum/mean_rung_faced": 0, "reward/mean": lambda step: 0.2 + 0.02 * step}
    assert "judge-examiner-apart" in _found(_validated(flat, error=0.05) | alone), "without a ladder the reward counts"


def _stuck(**instead):
    """A plateau: half of the verdicts are wins, and no prompt is promoted."""
    plateau = {"outcome/win": 0.5, "curriculum/promotions": 0, "curriculum/mean_rung": 1.5, "curriculum/at_top": 0.2}
    return _found(
        plateau | {f"{'outcome' if name == 'win' else 'curriculum'}/{name}": it for name, it in instead.items()}
    )


def test_a_plateau_between_rungs_is_a_fair_win_rate_without_promotions():
    finding = _stuck()["plateau-between-rungs"]
    assert finding.evidence == (
        "50% of 1024 verdicts in steps 9 to 40 are wins, but only 0 prompts were promoted: the mean rung went from 1.50 to "
        "1.50"
    )
    assert (finding.first, finding.last) == (1, 40)


@pytest.mark.parametrize(
    "instead",
    [
        {"win": 0.15},
        {"win": 0.85},
        {"promotions": 1},
        {"mean_rung": _rising(1.0, 1.2)},
        {"at_top": 0.95},
        {"at_top": lambda step: None},
    ],
)
def test_what_is_no_plateau(instead):
    assert "plateau-between-rungs" not in _stuck(**instead)


def test_a_plateau_takes_32_steps():
    stuck = {"outcome/win": 0.5, "curriculum/promotions": 0, "curriculum/mean_rung": 1.5}
    assert "plateau-between-rungs" not in {it.name for it in diagnose(sound_run(stuck, steps=31))}
    assert "plateau-between-rungs" in {it.name for it in diagnose(sound_run(stuck, steps=32))}


@pytest.mark.parametrize(
    ("prefix", "what"), [("", "the responses of a step"), ("group_", "the responses to one prompt")]
)
def test_diversity_falls_where_texts_become_alike_and_lose_distinct_pairs(prefix, what):
    alike = {f"text/{prefix}self_bleu": _rising(0.1, 0.6), f"text/{prefix}distinct": _rising(0.7, 0.3)}
    assert _found(alike)["diversity-falls"].evidence.startswith(
        f"the self-BLEU of {what} is 0.58, up from 0.13 at the begin"
    )
    longer = {f"text/{prefix}self_bleu": _rising(0.1, 0.2), f"text/{prefix}distinct": _rising(0.7, 0.3)}
    assert "diversity-falls" not in _found(longer), "longer texts have fewer distinct pairs in any case"
    assert "diversity-falls" not in _found(alike | {f"text/{prefix}distinct": 0.7})


def test_a_loss_that_is_no_longer_recorded_has_diverged():
    finding = _found({"critic/loss": lambda step: 0.1 if step < 17 else None})["diverged"]
    assert (finding.first, finding.last) == (17, 40)
    assert finding.evidence == "critic/loss of step 40 is not finite"
    assert _found({"policy/loss": lambda step: None})["diverged"].first == 1, "also where it never was a number"


def test_an_infinite_loss_is_a_divergence_and_not_a_spike():
    found = _found({"policy/loss": lambda step: float("inf") if step == 20 else 0.01})
    assert found["diverged"].first == 20
    assert "loss-spike" not in found


def test_a_step_without_rewards_has_not_diverged():
    silent = {"reward/count": lambda step: 0 if step == 20 else 32}
    nothing = {name: lambda step: None if step == 20 else 0.01 for name in ("policy/loss", "critic/loss")}
    assert "diverged" not in _found(silent | nothing)


def test_a_pointwise_reward_has_no_win_rate_finding():
    gone = {f"outcome/{name}": lambda step: None for name in ("win", "tie", "loss")}
    assert _found(gone | {"curriculum/promotions": 0}) == {}


def test_small_steps_make_a_longer_window():
    assert latest_window(sound_run(steps=7)) is None
    window = latest_window(sound_run())
    assert window is not None and (window.first, window.last, window.cases) == (33, 40, 256)
    window = latest_window(sound_run({"reward/count": 16}))
    assert window is not None and (window.steps, window.cases) == (16, 256)
    assert latest_window(sound_run({"reward/count": 2}, steps=63)) is None
    assert latest_window(sound_run({"reward/count": 2}, steps=64)) is not None


def test_a_pooled_share_weighs_steps_by_their_verdicts():
    counts = {"reward/count": lambda step: 300 if step == 40 else 100}
    series = sound_run(counts | {"outcome/win": lambda step: float(step == 40)})
    window = latest_window(series)
    assert window is not None
    assert pooled_share(series, "outcome/win", window) == pytest.approx(300 / 1000)


def test_the_lower_bound_is_wilsons():
    # Newcombe 1998, table I, method 3: 81 of 263, 95%.
    assert lower_bound(81 / 263, 263, deviations=1.959964) == pytest.approx(0.2553, abs=5e-5)
    assert lower_bound(0.0, 10, deviations=3) == pytest.approx(0.0)
