"""Signatures in updates and rewards: diverging numbers, a policy that moves too far or stops exploring, and a reward that
teaches nothing, cannot be relied on, or drowns the others.
"""

from math import isinf
from statistics import fmean
from typing import NamedTuple

from longform.monitors.series import (
    MAX_STEPS,
    MIN_CASES,
    MIN_STEPS,
    TEXTS,
    Finding,
    Series,
    Window,
    deviation,
    first_value,
    last_step,
    latest_window,
    lower_bound,
    pooled_share,
    typical,
    values,
)

MEASURES = ("policy/loss", "policy/grad_norm", "policy/entropy", "critic/loss", "critic/grad_norm")
"""What every update measures; a value that is no number is not recorded."""
SPIKE_DEVIATIONS = 10.0
"""Robust standard deviations above the steps before. Sound runs of the miniature stay below 7 in their losses."""
KL_TO_START = 1.0
"""Nats a token: what the policy writes is e times less likely under the start, at every token."""
KL_OF_UPDATE = 0.1
"""Nats a token in one step's update. PPO is commonly stopped at 0.015 to 0.05; sound runs here stay below 0.02."""
ENTROPY_LEFT = 0.2
"""Share of the first step's entropy. Sound runs of the miniature keep three tenths and more."""


class Spike(NamedTuple):
    """When a value counts as one, besides standing out from the steps before."""

    floor: float
    """What it must exceed."""
    factor: float
    """How many times the median of the steps before."""


SPIKES = {
    "policy/loss": Spike(0.2, 3),  # in standard deviations of the advantages, which are whitened
    "critic/loss": Spike(0.25, 3),  # twice what a critic loses that always says one half, where rewards are 0 or 1
    "policy/grad_norm": Spike(0.0, 10),  # clipped gradients three times as long are everyday
    "critic/grad_norm": Spike(0.0, 10),
}


def diverged(series: Series) -> Finding | None:
    """A measure of the last step's update is infinite or missing, while there were rewards to learn from."""
    step, count = last_step(series)
    if not count:
        return None
    expected = [name for name in MEASURES if name in series or name == "policy/loss"]
    broken = [name for name in expected if not _is_finite_at(series, name, step)]
    if not broken:
        return None
    return Finding(
        "diverged",
        step,
        step,
        f"{', '.join(broken)} of step {step} {'are' if len(broken) > 1 else 'is'} no finite number",
        "Go back to a checkpoint from before; lower optim.lr and optim.critic_lr, or warm up longer (optim.warmup_steps).",
    )


def loss_spike(series: Series) -> Finding | None:
    """A loss or gradient norm of the last step far beyond the steps before it: median and median absolute deviation."""
    for name, spike in SPIKES.items():
        points = series.get(name, ())[-MAX_STEPS - 1 :]
        if len(points) <= MIN_STEPS or points[-1][0] != last_step(series)[0]:
            continue
        step, value = points[-1]
        middle, width = deviation([earlier for _, earlier in points[:-1]])
        beyond = middle + SPIKE_DEVIATIONS * width
        if value > max(beyond, spike.floor, spike.factor * abs(middle)) and not isinf(value):
            return Finding(
                "loss-spike",
                step,
                step,
                f"{name} is {value:.3g} at step {step}; the median of the {len(points) - 1} steps before is {middle:.3g}",
                "If it comes back, lower optim.lr or optim.critic_lr, warm up longer (optim.warmup_steps), or clip more "
                "(optim.max_grad_norm).",
            )
    return None


def kl_runaway(series: Series) -> Finding | None:
    """The policy is far from the start (median over the window), or goes too far with every update (mean).

    Far is more than one nat a token and more than the start's own entropy: what the policy writes surprises the start more
    than all its own uncertainty can explain. The second also serves a run without a reference model (optim.kl_coef: 0).
    """
    window = latest_window(series)
    if window is None:
        return None
    far = max(KL_TO_START, first_value(series, "policy/entropy") or 0.0)
    distance = typical(series, "policy/kl_to_start", window)
    leaps = values(series, "policy/kl_of_update", window)
    if distance is not None and distance > far:
        evidence = f"the KL to the start is {distance:.2g} nats a token in {window} (median), and {far:.2g} is far"
    elif leaps and fmean(leaps) > KL_OF_UPDATE:
        evidence = f"each update of {window} moves the policy by {fmean(leaps):.2g} nats a token on average"
    else:
        return None
    advice = "Lower optim.lr, raise optim.kl_coef, or make fewer passes (optim.epochs)."
    return Finding("kl-runaway", window.first, window.last, evidence, advice)


def entropy_collapse(series: Series) -> Finding | None:
    """The policy is nearly sure of every token: median entropy over the window against the first step's."""
    window = latest_window(series)
    entropy = typical(series, "policy/entropy", window) if window else None
    if window is None or entropy is None:
        return None
    first = first_value(series, "policy/entropy") or 0.0
    if entropy >= ENTROPY_LEFT * first:
        return None
    return Finding(
        "entropy-collapse",
        window.first,
        window.last,
        f"the policy's entropy in {window} is {entropy:.2g} nats a token (median); it was {first:.2g} at first",
        "Lower optim.lr, raise optim.kl_coef or optim.entropy_coef, and go back to a checkpoint from before.",
    )


def _is_finite_at(series: Series, name: str, step: int) -> bool:
    points = series.get(name, ())
    return bool(points) and points[-1][0] == step and not isinf(points[-1][1])


WINS_TOO_MANY = 0.95
"""Share of wins above which a verdict says next to nothing: at most 0.29 bits."""
WINS_TOO_FEW = 0.05
"""The same from below."""
FLAT_SPREAD = 0.03
"""Spread of a step's rewards: a quarter point of a grade from 1 to 10. One odd verdict among 32 makes thrice as much."""
WITHOUT_SPREAD = 0.9
"""Share of groups in which no reward tells the responses apart: a tenth of what is written is learned from."""
DOMINANT = 0.9
"""Share of the sum's variance."""
UNFINISHED = 0.9
"""Mean of a reward that still has something to gain."""
HEARD = 0.05
"""Share of the sum's variance below which a reward is drowned. Where two rewards' deviations are independent, this is the
share of one whose deviations are less than a quarter of the other's."""
MAX_INCONSISTENT = 0.2
"""Share of verdicts that a second asking turns over; a judge that tosses a coin in two verdicts of five does that."""
MAX_DISAGREEMENT = 0.2
"""Mean disagreement of a panel. Two judges that toss coins reach 0.25, three as well."""
MIN_RECHECKED = 32
"""Verdicts asked for twice, before anything is said about them."""
SURE = 3.0
"""Standard deviations beyond which a share is not called chance."""
MAX_SILENT = 0.1
"""Share of rollouts without a reward: written and paid for, and thrown away. Those are seldom a random tenth."""


def won_too_easily(series: Series) -> Finding | None:
    """More than 95% wins against the rungs faced: pooled share over the window."""
    window = latest_window(series)
    share = pooled_share(series, "outcome/win", window) if window else None
    if window is None or share is None or share <= WINS_TOO_MANY:
        return None
    return Finding(
        "won-too-easily",
        window.first,
        window.last,
        f"{share:.1%} of {window.cases} verdicts in {window} are wins{_at_rung(series, window)}",
        "Face stronger references (curriculum.start: own, curriculum.top: self, or better competitors); "
        "if the texts are not that good, the judge is being gamed: try another rewards.judge.",
    )


def never_wins(series: Series) -> Finding | None:
    """Fewer than 5% wins, and no prompt promoted: pooled share and sum over the window."""
    window = latest_window(series)
    share = pooled_share(series, "outcome/win", window) if window else None
    if window is None or share is None or share >= WINS_TOO_FEW:
        return None
    if sum(values(series, "curriculum/promotions", window)):
        return None
    return Finding(
        "never-wins",
        window.first,
        window.last,
        f"{share:.1%} of {window.cases} verdicts in {window} are wins{_at_rung(series, window)}, and no prompt was promoted",
        "Face weaker references (curriculum.start: lowest, or weaker competitors), or begin from a better policy.",
    )


def flat_reward(series: Series) -> Finding | None:
    """All rewards of a step, or of its groups, are alike: median over the window. Advantages are then made of noise."""
    window = latest_window(series)
    if window is None:
        return None
    spread = typical(series, "reward/spread", window)
    without = typical(series, "group/without_spread", window)
    if spread is not None and spread < FLAT_SPREAD:
        mean = typical(series, "reward/mean", window)
        evidence = (
            f"the rewards of a step in {window} spread by {spread:.3f} around {mean:.2f}: they do not tell texts apart"
        )
    elif without is not None and without > WITHOUT_SPREAD:
        evidence = (
            f"{without:.0%} of the groups in {window} have one reward for all responses: they do not tell texts apart"
        )
    else:
        return None
    return Finding(
        "flat-reward",
        window.first,
        window.last,
        evidence,
        "Read some judge answers; then change rewards.judge, or the rungs faced (curriculum.mode, curriculum.start).",
    )


def reward_dominates(series: Series) -> Finding | None:
    """Where rewards are summed, one makes nearly all of the sum's variance, and drowns another that has much to gain yet.

    A reward that is full (all answers inside their range) has no variance either, and nothing is wrong with that.
    """
    window = latest_window(series)
    if window is None or not values(series, "reward/largest_share", window):
        return None
    kinds = [name.split("/")[1] for name in series if name.startswith("reward/") and name.endswith("/share")]
    share_of = {kind: typical(series, f"reward/{kind}/share", window) or 0.0 for kind in kinds}
    leader = max(kinds, key=lambda kind: share_of[kind])
    drowned = [
        it for it in kinds if it != leader and share_of[it] < HEARD and _has_something_to_gain(series, it, window)
    ]
    if share_of[leader] < DOMINANT or not drowned:
        return None
    kind = drowned[0]
    return Finding(
        "reward-dominates",
        window.first,
        window.last,
        f"{leader} makes {share_of[leader]:.0%} of the rewards' differences in {window}, and {kind} {share_of[kind]:.0%}, "
        f"at a mean of {typical(series, f'reward/{kind}/mean', window):.2f}",
        "Set advantages: balanced (grpo), or weights that bring the spreads of the rewards together.",
    )


def _has_something_to_gain(series: Series, kind: str, window: Window) -> bool:
    mean, spread = (typical(series, f"reward/{kind}/{name}", window) for name in ("mean", "spread"))
    return mean is not None and mean < UNFINISHED and spread is not None and spread > 0


def judge_inconsistent(series: Series) -> Finding | None:
    """The judge disagrees with itself, or a panel's judges with each other."""
    return _turned_over(series) or _divided(series)


def judge_silent(series: Series) -> Finding | None:
    """More than a tenth of the rollouts get no reward: mean share over the window."""
    window = latest_window(series, count=TEXTS)
    shares = values(series, "no_verdict/share", window) if window else []
    if window is None or not shares or sum(shares) / len(shares) <= MAX_SILENT:
        return None
    return Finding(
        "judge-silent",
        window.first,
        window.last,
        f"{sum(shares) / len(shares):.0%} of {window.cases} rollouts in {window} got no reward",
        "See the causes in the metrics no_verdict/*; then mend the endpoint of rewards.judge or rewards.writing.endpoint in "
        "models.yaml (rpm, context, time-outs), or name another.",
    )


def _at_rung(series: Series, window: Window) -> str:
    rungs = values(series, "curriculum/mean_rung_faced", window)
    return f" (mean rung {sum(rungs) / len(rungs):.1f})" if rungs else ""


def _turned_over(series: Series) -> Finding | None:
    """Verdicts asked for twice (rewards.recheck): Wilson's lower bound of the share that came out differently."""
    window = _rechecked_window(series)
    share = pooled_share(series, "judge/inconsistency", window, count="judge/rechecked") if window else None
    if window is None or share is None:
        return None
    if lower_bound(share, window.cases, deviations=SURE) <= MAX_INCONSISTENT:
        return None
    return Finding(
        "judge-inconsistent",
        window.first,
        window.last,
        f"{share:.0%} of {window.cases} verdicts asked for twice in {window} came out differently",
        "Ask more often (rewards.samples, rewards.position: both) or another rewards.judge.",
    )


def _rechecked_window(series: Series) -> Window | None:
    """The latest steps with enough verdicts asked for twice, which are fewer than all verdicts."""
    points = list(series.get("judge/rechecked", ()))[-MAX_STEPS:]
    total = 0.0
    for steps, (first, count) in enumerate(reversed(points), start=1):
        total += count
        if total >= MIN_CASES or (steps == len(points) and total >= MIN_RECHECKED):
            return Window(first, points[-1][0], steps, int(total))
    return None


def panel_incomplete(series: Series) -> Finding | None:
    """More than a tenth of a panel's votes did not come in: it is another panel then, and a smaller one."""
    window = latest_window(series, count=TEXTS)
    share = pooled_share(series, "judge/unheard", window, count=TEXTS) if window else None
    if window is None or share is None or share <= MAX_SILENT:
        return None
    return Finding(
        "panel-incomplete",
        window.first,
        window.last,
        f"{share:.1%} of the panel's votes in {window} did not come in",
        "See which judge of rewards.judge is silent (its calls, or a context too small in models.yaml), or take it out.",
    )


def _divided(series: Series) -> Finding | None:
    """A panel's mean disagreement over the window, and only where it is asked at all."""
    window = latest_window(series)
    disagreement = pooled_share(series, "judge/disagreement", window) if window else None
    if window is None or disagreement is None or disagreement <= MAX_DISAGREEMENT:
        return None
    return Finding(
        "judge-inconsistent",
        window.first,
        window.last,
        f"the panel's votes in {window} differ by {disagreement:.2f} on average; judges that toss coins reach 0.25",
        "Ask each judge more often (rewards.samples), or take the odd one out of rewards.judge.",
    )
