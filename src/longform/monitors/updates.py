"""Signatures in the updates: numbers that run away, and a policy that goes too far or stops trying."""

from math import isinf
from statistics import fmean
from typing import NamedTuple

from longform.monitors.finding import Finding
from longform.monitors.series import (
    MAX_STEPS,
    MIN_STEPS,
    Series,
    deviation,
    first_value,
    last_step,
    latest_window,
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
