"""What the judges of a run are asked: calls, tokens, money, and the seconds that their limits need for a step."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

from longform.endpoints.models import ModelSpec, find_model, read_models
from longform.planning.assumptions import Assumptions
from longform.planning.text_lengths import TextLengths
from longform.planning.workload import Workload
from longform.rewards.settings import JudgedSettings, PairwiseSettings

LONGEST_ANSWER = 1024
"""Tokens that a judge's answer may take, which `tpm` counts in full."""

SCORE_SECONDS = 1.0
"""Until a served reward model has scored a text: one pass over it, and others beside it."""


@dataclass(frozen=True, slots=True)
class JudgeLoad:
    """What one model of models.yaml is asked in a run, retries and repeated questions not counted."""

    name: str
    role: Literal["reward", "examiner"]
    calls: float
    prompt_tokens: float
    completion_tokens: float
    cost: float | None
    """In the currency of models.yaml; None where it has no prices."""
    latency: float
    """Seconds from a question to its answer."""
    seconds: float
    """That its limits need for the calls of a step, or of a validation where it is the examiner."""
    bound: str
    """The limit behind them: latency, concurrency, rpm or tpm."""


def find_specs(run: Workload) -> tuple[Mapping[str, ModelSpec], tuple[str, ...]]:
    """The judges of a run by name, without those of a models.yaml that is not there; and what is assumed then.

    Raises:
        BadInputError: the file is there, and bad or without one of the names.
    """
    names = run.asked
    if run.validation is not None:
        names.add(run.validation.judge)
    if not names:
        return {}, ()
    if not run.models.exists():
        return {}, (f"{run.models} is not there: prices are unknown, and judges are held back by nothing",)
    specs = read_models(run.models)
    found = {name: find_model(specs, name, path=run.models) for name in sorted(names)}
    free = [name for name, spec in found.items() if spec.prices is None]
    return found, tuple(f"{run.models} has no prices for {name}: its calls are not in the cost" for name in free)


def reward_loads(
    run: Workload, lengths: TextLengths, specs: Mapping[str, ModelSpec], given: Assumptions
) -> list[JudgeLoad]:
    """The load of each judge and each served reward model; a judge that gives several rewards is one."""
    step: dict[str, list[float]] = {}
    for reward in run.judged:
        tokens = question_tokens(reward, lengths)
        for name, calls in step_calls(reward, rollouts=run.rollouts).items():
            of_judge = step.setdefault(name, [0.0, 0.0])
            of_judge[0] += calls
            of_judge[1] += calls * tokens
    loads = [
        _load(name, "reward", specs.get(name), calls=calls, tokens=tokens, times=run.run.steps, given=given)
        for name, (calls, tokens) in step.items()
    ]
    scores = replace(given, answer_tokens=0, judge_latency=SCORE_SECONDS)
    calls, tokens = float(run.rollouts), run.rollouts * (lengths.prompt + lengths.answer)
    return loads + [
        _load(name, "reward", specs.get(name), calls=calls, tokens=tokens, times=run.run.steps, given=scores)
        for reward in run.served
        for name in reward.endpoints
    ]


def validation_load(
    run: Workload, lengths: TextLengths, specs: Mapping[str, ModelSpec], given: Assumptions
) -> JudgeLoad | None:
    """The examiner's load."""
    if run.validation is None or not lengths.validation_prompts:
        return None
    calls, name = lengths.validation_prompts, run.validation.judge
    tokens = calls * (lengths.pointwise_frame + lengths.answer)
    times = validations(run)
    return _load(name, "examiner", specs.get(name), calls=calls, tokens=tokens, times=times, given=given)


def validations(run: Workload) -> int:
    """How often a run validates: before the first step, every so often, and after the last."""
    if run.validation is None:
        return 0
    return 1 + ceil(run.run.steps / run.validation.every)


def step_calls(reward: JudgedSettings, *, rollouts: int) -> dict[str, float]:
    """Calls of a step by judge: both orders, all samples, and the share that is asked for once more."""
    pairwise = isinstance(reward, PairwiseSettings)
    orders = 2 if pairwise and reward.position == "both" else 1
    calls = {name: float(rollouts * reward.samples * orders) for name in reward.judges}
    if pairwise:
        calls[reward.judges[0]] += reward.recheck * rollouts * orders
    return calls


def question_tokens(reward: JudgedSettings, lengths: TextLengths) -> float:
    """Tokens of one question."""
    if isinstance(reward, PairwiseSettings):
        return lengths.pairwise_frame + lengths.reference + lengths.answer
    return lengths.pointwise_frame + lengths.answer


def _load(
    name: str,
    role: Literal["reward", "examiner"],
    spec: ModelSpec | None,
    *,
    calls: float,
    tokens: float,
    times: int,
    given: Assumptions,
) -> JudgeLoad:
    """Of a judge that is asked `calls` questions of `tokens` in all, so many times."""
    completion = calls * given.answer_tokens
    cost = None
    if spec is not None and spec.prices is not None:
        cost = times * (spec.prices.prompt * tokens + spec.prices.completion * completion) / 1e6
    admitted = tokens + (calls * LONGEST_ANSWER if given.answer_tokens else 0)
    seconds, bound = judge_seconds(spec, calls=calls, admitted=admitted, latency=given.judge_latency)
    return JudgeLoad(
        name, role, times * calls, times * tokens, times * completion, cost, given.judge_latency, seconds, bound
    )


def judge_seconds(spec: ModelSpec | None, *, calls: float, admitted: float, latency: float) -> tuple[float, str]:
    """Seconds that `calls` questions take when they come at once, and what holds them back.

    `admitted` counts the tokens of all, as `tpm` does: with the longest answers.
    """
    bounds = {"latency": latency if calls else 0.0}
    if spec is not None:
        bounds["concurrency"] = latency * ceil(calls / spec.concurrency)
        if spec.rpm is not None:
            bounds["rpm"] = 60 * calls / spec.rpm
        if spec.tpm is not None:
            bounds["tpm"] = 60 * admitted / spec.tpm
    bound = max(bounds, key=lambda name: (bounds[name], name == "latency"))
    return bounds[bound], bound
