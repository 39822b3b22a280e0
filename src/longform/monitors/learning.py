"""Signatures in updates and rewards: divergence, a policy that moves too far or stops exploring, and rewards that are
uninformative, unreliable or dominated.
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
"""Metrics of every update; NaN values are not recorded."""
SPIKE_DEVIATIONS = 10.0
"""Robust standard deviations above the previous steps. Healthy runs of the miniature stay below 7 in their losses."""
KL_TO_START = 1.0
"""Nats per token: on average, sampled tokens are e times less likely under the initial policy."""
ENGINE_APART = 0.05
"""Mean difference of log-probabilities in nats; bfloat16 alone gives less than 0.01 (benchmarks/gpu_check.py)."""
KL_OF_UPDATE = 0.1
"""Nats per token in one update. PPO is commonly stopped at 0.015 to 0.05; healthy runs here stay below 0.02."""
ENTROPY_LEFT = 0.2
"""Fraction of the first step's entropy. Healthy runs of the miniature keep 0.3 or more."""


class Spike(NamedTuple):
    """Conditions for a spike, in addition to being an outlier among the previous steps."""

    floor: float
    """Minimum value."""
    factor: float
    """Minimum ratio to the median of the previous steps."""


SPIKES = {
    "policy/loss": Spike(0.2, 3),  # in standard deviations of the advantages, which are whitened
    "critic/loss": Spike(0.25, 3),  # twice the loss of a critic that always predicts 0.5 for rewards of 0 or 1
    "policy/grad_norm": Spike(0.0, 10),  # gradients are clipped, and three times the median is common
    "critic/grad_norm": Spike(0.0, 10),
}


def diverged(series: Series) -> Finding | None:
    """A metric of the last step's update is infinite or missing although there were rewards to learn from."""
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
        f"{', '.join(broken)} of step {step} {'are' if len(broken) > 1 else 'is'} not finite",
        "Return to an earlier checkpoint; lower optim.lr and optim.critic_lr, or warm up longer (optim.warmup_steps).",
    )


def loss_spike(series: Series) -> Finding | None:
    """A loss or gradient norm of the last step is far above the previous ones (median and median absolute deviation)."""
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
                f"{name} is {value:.3g} at step {step}; the median of the previous {len(points) - 1} steps is {middle:.3g}",
                "If it recurs, lower optim.lr or optim.critic_lr, warm up longer (optim.warmup_steps), or clip gradients "
                "more (optim.max_grad_norm).",
            )
    return None


def kl_runaway(series: Series) -> Finding | None:
    """The policy is far from the initial policy (median over the window), or moves too far with every update (mean).

    Far means a KL above one nat per token and above the initial policy's entropy: the initial policy finds the texts less
    likely than its own uncertainty can explain. The second condition also covers runs without a reference model
    (optim.kl_coef: 0).
    """
    window = latest_window(series)
    if window is None:
        return None
    far = max(KL_TO_START, first_value(series, "policy/entropy") or 0.0)
    distance = typical(series, "policy/kl_to_start", window)
    leaps = values(series, "policy/kl_of_update", window)
    if distance is not None and distance > far:
        evidence = (
            f"the KL to the initial policy in {window} is {distance:.2g} nats per token (median; limit {far:.2g})"
        )
    elif leaps and fmean(leaps) > KL_OF_UPDATE:
        evidence = f"each update in {window} moves the policy by {fmean(leaps):.2g} nats per token on average"
    else:
        return None
    advice = "Lower optim.lr, raise optim.kl_coef, or use fewer epochs (optim.epochs)."
    return Finding("kl-runaway", window.first, window.last, evidence, advice)


def engine_mismatch(series: Series) -> Finding | None:
    """The engine's log-probabilities are far from the trainer's (median over the window), for example with stale weights."""
    window = latest_window(series)
    apart = typical(series, "engine/mean", window) if window else None
    if window is None or apart is None or apart <= ENGINE_APART:
        return None
    return Finding(
        "engine-mismatch",
        window.first,
        window.last,
        f"the log-probabilities of the engine and of the trainer differ by {apart:.2g} nats per token in {window} "
        f"(median of the mean differences; limit {ENGINE_APART:g})",
        "Use generation.engine: own, or memory.precision: float32; make sure that a server has the current weights.",
    )


def entropy_collapse(series: Series) -> Finding | None:
    """The policy is nearly deterministic: median entropy over the window, compared with the first step."""
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
        f"the policy's entropy in {window} is {entropy:.2g} nats per token (median), down from {first:.2g} at step 1",
        "Lower optim.lr, raise optim.kl_coef or optim.entropy_coef, and return to an earlier checkpoint.",
    )


def _is_finite_at(series: Series, name: str, step: int) -> bool:
    points = series.get(name, ())
    return bool(points) and points[-1][0] == step and not isinf(points[-1][1])


WINS_TOO_MANY = 0.95
"""Win rate above which a verdict carries little information: at most 0.29 bits."""
WINS_TOO_FEW = 0.05
"""Win rate below which a verdict carries equally little information."""
FLAT_SPREAD = 0.03
"""Minimum spread of a step's rewards: a quarter point on a scale of 1 to 10. One tie among 32 wins gives 0.09."""
WITHOUT_SPREAD = 0.9
"""Maximum fraction of groups without reward variance: at this value, only a tenth of the responses teach anything."""
DOMINANT = 0.9
"""Fraction of the sum's variance above which a reward dominates."""
MAX_IMPROVABLE_MEAN = 0.9
"""Maximum mean of a reward that can still be improved."""
DOMINATED = 0.05
"""Fraction of the sum's variance below which a reward is dominated. For two independent rewards, it corresponds to standard
deviations in a ratio of 1 to 4."""
MAX_INCONSISTENT = 0.2
"""Maximum fraction of verdicts that change on a second call; a judge that guesses in two verdicts of five reaches it."""
MAX_DISAGREEMENT = 0.2
"""Maximum mean disagreement of a panel. Panels of two or three judges that guess reach 0.25."""
MIN_RECHECKED = 32
"""Minimum number of repeated verdicts for a finding."""
SURE = 3.0
"""Standard deviations of the confidence bounds of shares."""
MAX_SILENT = 0.1
"""Maximum fraction of rollouts without a reward. They are wasted, and rarely a random sample."""


def won_too_easily(series: Series) -> Finding | None:
    """More than 95% wins against the current rungs, pooled over the window."""
    window = latest_window(series)
    share = pooled_share(series, "outcome/win", window) if window else None
    if window is None or share is None or share <= WINS_TOO_MANY:
        return None
    return Finding(
        "won-too-easily",
        window.first,
        window.last,
        f"{share:.1%} of {window.cases} verdicts in {window} are wins{_at_rung(series, window)}",
        "Use stronger references (curriculum.start: own, curriculum.top: self, or better competitors); "
        "if the texts are not that good, the policy exploits the judge: try another rewards.judge.",
    )


def never_wins(series: Series) -> Finding | None:
    """Fewer than 5% wins and no promotion, pooled over the window."""
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
        "Use weaker references (curriculum.start: lowest, or weaker competitors), or start from a better policy.",
    )


def flat_reward(series: Series) -> Finding | None:
    """The rewards of a step, or of its groups, are nearly equal (median over the window), so advantages are noise."""
    window = latest_window(series)
    if window is None:
        return None
    spread = typical(series, "reward/spread", window)
    without = typical(series, "group/without_spread", window)
    if spread is not None and spread < FLAT_SPREAD:
        mean = typical(series, "reward/mean", window)
        evidence = f"the rewards of a step in {window} vary by only {spread:.3f} around {mean:.2f}"
    elif without is not None and without > WITHOUT_SPREAD:
        evidence = f"in {without:.0%} of the groups in {window} all responses have the same reward"
    else:
        return None
    return Finding(
        "flat-reward",
        window.first,
        window.last,
        evidence,
        "Read some judge answers; then change rewards.judge, or the references (curriculum.mode, curriculum.start).",
    )


def reward_dominates(series: Series) -> Finding | None:
    """With summed rewards, one accounts for nearly all variance and hides another that could still be improved.

    A reward near its maximum (for example, all answers within their length range) has no variance either; this is fine.
    """
    window = latest_window(series)
    if window is None or not values(series, "reward/largest_share", window):
        return None
    kinds = [name.split("/")[1] for name in series if name.startswith("reward/") and name.endswith("/share")]
    share_of = {kind: typical(series, f"reward/{kind}/share", window) or 0.0 for kind in kinds}
    leader = max(kinds, key=lambda kind: share_of[kind])
    dominated = [it for it in kinds if it != leader and share_of[it] < DOMINATED and _is_improvable(series, it, window)]
    if share_of[leader] < DOMINANT or not dominated:
        return None
    kind = dominated[0]
    return Finding(
        "reward-dominates",
        window.first,
        window.last,
        f"{leader} accounts for {share_of[leader]:.0%} of the reward variance in {window}, {kind} for {share_of[kind]:.0%} "
        f"although its mean is only {typical(series, f'reward/{kind}/mean', window):.2f}",
        "Set advantages: balanced (grpo), or choose weights that equalize the spreads of the rewards.",
    )


def _is_improvable(series: Series, kind: str, window: Window) -> bool:
    mean, spread = (typical(series, f"reward/{kind}/{name}", window) for name in ("mean", "spread"))
    return mean is not None and mean < MAX_IMPROVABLE_MEAN and spread is not None and spread > 0


def judge_inconsistent(series: Series) -> Finding | None:
    """The judge disagrees with itself, or a panel's judges with each other."""
    return _repeats_differ(series) or _panel_disagrees(series)


def judge_silent(series: Series) -> Finding | None:
    """More than a tenth of the rollouts have no reward (mean over the window)."""
    window = latest_window(series, count=TEXTS)
    shares = values(series, "no_verdict/share", window) if window else []
    if window is None or not shares or sum(shares) / len(shares) <= MAX_SILENT:
        return None
    return Finding(
        "judge-silent",
        window.first,
        window.last,
        f"{sum(shares) / len(shares):.0%} of {window.cases} rollouts in {window} have no reward",
        "Check the causes in the metrics no_verdict/*; then fix the endpoint of rewards.judge or rewards.writing.endpoint "
        "in models.yaml (rpm, context, timeouts), or use another.",
    )


def _at_rung(series: Series, window: Window) -> str:
    rungs = values(series, "curriculum/mean_rung_faced", window)
    return f" (mean rung {sum(rungs) / len(rungs):.1f})" if rungs else ""


def _repeats_differ(series: Series) -> Finding | None:
    """Repeated verdicts (rewards.recheck): Wilson lower bound of the fraction that changed."""
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
        f"{share:.0%} of {window.cases} repeated verdicts in {window} changed",
        "Use more calls per verdict (rewards.samples, rewards.position: both) or another rewards.judge.",
    )


def _rechecked_window(series: Series) -> Window | None:
    """Return the latest steps with enough repeated verdicts, which are fewer than all verdicts."""
    points = list(series.get("judge/rechecked", ()))[-MAX_STEPS:]
    total = 0.0
    for steps, (first, count) in enumerate(reversed(points), start=1):
        total += count
        if total >= MIN_CASES or (steps == len(points) and total >= MIN_RECHECKED):
            return Window(first, points[-1][0], steps, int(total))
    return None


def panel_incomplete(series: Series) -> Finding | None:
    """More than a tenth of a panel's votes are missing, so verdicts come from a smaller panel."""
    window = latest_window(series, count=TEXTS)
    share = pooled_share(series, "judge/unheard", window, count=TEXTS) if window else None
    if window is None or share is None or share <= MAX_SILENT:
        return None
    return Finding(
        "panel-incomplete",
        window.first,
        window.last,
        f"{share:.1%} of the panel's votes in {window} are missing",
        "Check which judge of rewards.judge fails (its calls, or a context too small in models.yaml), or remove it.",
    )


def _panel_disagrees(series: Series) -> Finding | None:
    """A panel's mean disagreement over the window, in steps in which the panel was called."""
    window = latest_window(series)
    disagreement = pooled_share(series, "judge/disagreement", window) if window else None
    if window is None or disagreement is None or disagreement <= MAX_DISAGREEMENT:
        return None
    return Finding(
        "judge-inconsistent",
        window.first,
        window.last,
        f"the panel's mean disagreement in {window} is {disagreement:.2f}; judges that guess reach 0.25",
        "Use more calls per judge (rewards.samples), or remove the outlier from rewards.judge.",
    )
