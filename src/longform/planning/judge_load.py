"""The load on the judges of a run: calls, tokens, cost, and the seconds per step that their rate limits allow."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, log2
from typing import Literal

from longform.endpoints.models import ModelSpec, find_model, read_models
from longform.judging.listwise import MAX_LISTED
from longform.planning.assumptions import Assumptions
from longform.planning.text_lengths import TextLengths
from longform.planning.workload import Workload
from longform.rewards.settings import GroupSettings, PairwiseSettings, PointwiseSettings
from longform.statistics.group_games import max_games, sub_groups

LONGEST_ANSWER = 1024
"""Longest answer of a judge in tokens, which `tpm` counts in full."""

SCORE_SECONDS = 1.0
"""Time of a served reward model per text, with others in the same batch."""


@dataclass(frozen=True, slots=True)
class JudgeLoad:
    """Load on one model of models.yaml in a run, without retries and repeated questions."""

    name: str
    role: Literal["reward", "examiner"]
    calls: float
    prompt_tokens: float
    completion_tokens: float
    cost: float | None
    """In the currency of models.yaml; None without prices."""
    latency: float
    """Seconds per call, times the rounds of calls about a group that follow each other."""
    seconds: float
    """For the calls of a step, or of a validation for the examiner, within its limits."""
    bound: str
    """What limits them: latency, concurrency, rpm or tpm."""


def find_specs(run: Workload) -> tuple[Mapping[str, ModelSpec], tuple[str, ...]]:
    """The judges of a run by name, none if models.yaml does not exist; and the assumptions that follow.

    Raises:
        BadInputError: the file exists, and is invalid or lacks one of the names.
    """
    names = run.asked
    if run.validation is not None:
        names.add(run.validation.judge)
    if not names:
        return {}, ()
    if not run.models.exists():
        return {}, (f"{run.models} does not exist: prices are unknown, and rate limits are not applied",)
    specs = read_models(run.models)
    found = {name: find_model(specs, name, path=run.models) for name in sorted(names)}
    free = [name for name, spec in found.items() if spec.prices is None]
    return found, tuple(f"{run.models} has no prices for {name}: its calls are not part of the cost" for name in free)


def reward_loads(
    run: Workload, lengths: TextLengths, specs: Mapping[str, ModelSpec], given: Assumptions
) -> list[JudgeLoad]:
    """The load on each judge and served reward model; several rewards of one judge are summed."""
    step: dict[str, list[float]] = {}
    rounds: dict[str, int] = {}
    for reward in run.judged:
        rollouts = run.rollouts * run.data.share(reward.sources)
        for name in reward.judges:
            if isinstance(reward, GroupSettings):
                of_group = group_questions(reward, run, lengths, specs.get(name))
                asked = [(rollouts / run.data.group * calls, tokens) for calls, tokens in of_group]
                rounds[name] = max(rounds.get(name, 1), group_rounds(reward, run))
            else:
                asked = [
                    (
                        step_calls(reward, rollouts=rollouts, criteria=lengths.criteria)[name],
                        question_tokens(reward, lengths),
                    )
                ]
            of_judge = step.setdefault(name, [0.0, 0.0])
            of_judge[0] += sum(calls for calls, _ in asked)
            of_judge[1] += sum(calls * tokens for calls, tokens in asked)
    loads = [
        _load(
            name,
            "reward",
            specs.get(name),
            calls=calls,
            tokens=tokens,
            times=run.run.steps,
            given=given,
            rounds=rounds.get(name, 1),
        )
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
    """The load on the examiner."""
    if run.validation is None or not lengths.validation_prompts:
        return None
    by_criterion, name = run.validation.per_criterion, run.validation.judge
    calls = lengths.validation_prompts * (lengths.criteria if by_criterion else 1)
    frame = lengths.criterion_frame if by_criterion else lengths.pointwise_frame
    tokens = calls * (frame + lengths.answer)
    if run.validation.without_criteria:
        calls += lengths.validation_prompts
        tokens += lengths.validation_prompts * (lengths.pointwise_frame + lengths.answer)
    times = validations(run)
    return _load(name, "examiner", specs.get(name), calls=calls, tokens=tokens, times=times, given=given)


def validations(run: Workload) -> int:
    """Number of validations: before the first step, at intervals, and after the last."""
    if run.validation is None:
        return 0
    return 1 + ceil(run.run.steps / run.validation.every)


def group_questions(
    reward: GroupSettings, run: Workload, lengths: TextLengths, spec: ModelSpec | None
) -> list[tuple[float, float]]:
    """Questions to one judge about a group, at most: (calls, tokens of each)."""
    count, orders = run.data.group, 2 if reward.position == "both" else 1
    pair = lengths.pairwise_frame + 2 * lengths.answer
    samples = 1 if reward.by == "list" else reward.samples
    promoting = (float(orders * samples), lengths.pairwise_frame + lengths.reference + lengths.answer)
    promotions = [promoting] if run.curriculum.promote_by == "sample" else []
    if reward.by == "list":
        context = spec.context if spec is not None else None
        room = float("inf") if context is None else context - LONGEST_ANSWER - lengths.pairwise_frame
        parts = sub_groups(range(count), [lengths.answer] * count, room=room, max_texts=MAX_LISTED)
        return [(float(reward.samples), lengths.pairwise_frame + len(it) * lengths.answer) for it in parts] + promotions
    if reward.by == "anchors":
        pair = lengths.pairwise_frame + lengths.reference + lengths.answer
    games = max_games(reward.by, count, anchors=2 * reward.anchors + 1)
    return [(float(games * reward.samples * orders), pair), *promotions]


def group_rounds(reward: GroupSettings, run: Workload) -> int:
    """The maximum number of rounds of questions about a group, each of which waits for the answers to the one before."""
    count = run.data.group
    bracket = ceil(log2(count)) if reward.by == "elimination" and count > 2 else 0  # after a round that seeds it
    return 1 + bracket + (run.curriculum.promote_by == "sample")


def group_notes(run: Workload) -> tuple[str, ...]:
    """The assumptions about group rewards."""
    asking = [it for it in run.judged if isinstance(it, GroupSettings)]
    notes = ["every group goes to the judge; data.flat_groups spares those with spread"] if run.data.flat_groups else []
    for it in asking:
        if it.by == "elimination":
            notes.append("elimination asks 2n - 3 questions for n responses, the most it can need")
        elif it.by == "anchors":
            notes.append(f"a prompt has {2 * it.anchors + 1} rungs around its current one")
    return tuple(notes)


def step_calls(
    reward: PairwiseSettings | PointwiseSettings, *, rollouts: float, criteria: float = 1.0
) -> dict[str, float]:
    """Calls of a step by judge, with both orders, all samples, rechecks, and `criteria` for each text if it is asked about
    one at a time.
    """
    pairwise = isinstance(reward, PairwiseSettings)
    orders = 2 if pairwise and reward.position == "both" else 1
    questions = orders if pairwise or not reward.per_criterion else criteria
    calls = {name: float(rollouts * reward.samples * questions) for name in reward.judges}
    if pairwise:
        calls[reward.judges[0]] += reward.recheck * rollouts * orders
    return calls


def question_tokens(reward: PairwiseSettings | PointwiseSettings, lengths: TextLengths) -> float:
    """Tokens of one question."""
    if isinstance(reward, PairwiseSettings):
        return lengths.pairwise_frame + lengths.reference + lengths.answer
    return (lengths.criterion_frame if reward.per_criterion else lengths.pointwise_frame) + lengths.answer


def _load(
    name: str,
    role: Literal["reward", "examiner"],
    spec: ModelSpec | None,
    *,
    calls: float,
    tokens: float,
    times: int,
    given: Assumptions,
    rounds: int = 1,
) -> JudgeLoad:
    """The load on a judge that gets `calls` questions with `tokens` in total, in rounds that follow each other; all of it
    `times` times.
    """
    completion = calls * given.answer_tokens
    cost = None
    if spec is not None and spec.prices is not None:
        cost = times * (spec.prices.prompt * tokens + spec.prices.completion * completion) / 1e6
    admitted = tokens + (calls * LONGEST_ANSWER if given.answer_tokens else 0)
    latency = given.judge_latency
    seconds, bound = judge_seconds(spec, calls=calls, admitted=admitted, latency=latency, rounds=rounds)
    return JudgeLoad(
        name, role, times * calls, times * tokens, times * completion, cost, latency * rounds, seconds, bound
    )


def judge_seconds(
    spec: ModelSpec | None, *, calls: float, admitted: float, latency: float, rounds: int = 1
) -> tuple[float, str]:
    """Seconds for `calls` questions, concurrent in each round, and what limits them.

    `admitted` counts their tokens as `tpm` does, with the longest answers.
    """
    bounds = {"latency": latency * rounds if calls else 0.0}
    if spec is not None:
        bounds["concurrency"] = latency * ceil(calls / spec.concurrency)
        if spec.rpm is not None:
            bounds["rpm"] = 60 * calls / spec.rpm
        if spec.tpm is not None:
            bounds["tpm"] = 60 * admitted / spec.tpm
    bound = max(bounds, key=lambda name: (bounds[name], name == "latency"))
    return bounds[bound], bound
