"""Pairs to label, drawn from the rollouts of a run or made from the games of a file.

A part of a run's pairs can be drawn where labels are most informative: where judges disagree, or where the reward rose
while the examiner's grade fell. The other part is drawn from all other rollouts. Each pair has a weight, the number of
rollouts that it represents. So rates over weighted pairs estimate those of all rollouts that can be shown; rollouts with an
empty response or reference cannot be shown.
"""

import math
import random
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

from longform.evaluation.audit.pairs import AuditedPair
from longform.judging.answers import Letter, parse_structured_verdict, parse_verdict
from longform.judging.pairwise import winner_of
from longform.recipe.inputs import read_recorded_prompts
from longform.recipe.loading import load_stored_recipe
from longform.recipe.recipe import Recipe
from longform.records.adapting import AS_IS, Reading
from longform.records.database import RolloutRecord
from longform.records.errors import BadInputError
from longform.records.files import read_all, read_rows
from longform.records.recorded_calls import has_calls, read_calls
from longform.records.rollout_search import RolloutFacts, RolloutFilter, find_rollouts
from longform.records.run_directory import RunDirectory
from longform.records.schemas import ORDERS, Game, Order, PromptRow, Response, Winner
from longform.rewards.settings import PairwiseSettings
from longform.text.structure import parse_response

SampleBy = Literal["random", "disagreement", "drift"]
"""`disagreement`: half of the pairs are drawn from rollouts on which judges disagree, or on which a judge that was asked
again changed its verdict. `drift`: half are drawn from steps in which the reward rose and the examiner's grade fell."""
_NO_TARGETS: Mapping[SampleBy, str] = {
    "disagreement": "no rollouts about which judges disagree",
    "drift": "no steps in which the reward rose and the examiner's grade fell",
}
_OUTCOMES: Mapping[str, Winner] = {"win": "b", "tie": "tie", "loss": "a"}
_OTHER: Mapping[Winner, Winner] = {"a": "b", "b": "a", "tie": "tie"}


class SampledPairs(NamedTuple):
    """Pairs drawn from a run."""

    pairs: list[AuditedPair]
    blank: int
    """Number of rollouts that are not drawn because their response or reference is empty."""


def sample_run(run: RunDirectory, count: int, *, by: SampleBy = "random", seed: int = 0) -> SampledPairs:
    """Draw rollouts of a run as pairs: `response_a` is the reference, `response_b` the policy's answer.

    Args:
        run: Run directory, open for reading.
        count: Number of pairs.
        by: Which rollouts half of the pairs are drawn from.
        seed: Random seed.

    Raises:
        BadInputError: the run has no references, its prompts are missing or have changed, or nothing can be drawn.
    """
    recipe = load_stored_recipe(run.recipe_path, Recipe)
    if not recipe.data.has_ladders:
        raise BadInputError(
            f"{run.path}: its responses were not compared with references, so there are no pairs to label"
        )
    prompts = {it.id: it for it in read_recorded_prompts(run, recipe.data)}
    found = find_rollouts(run.path, RolloutFilter(first_step=1), limit=-1).rollouts
    shown = _with_texts(run, found, recipe)
    if not shown:
        raise BadInputError(f"{run.path}: none of its {len(found)} rollouts has a response and a reference to show")
    targets = _targets(run, shown, by)
    if not targets and by != "random":
        raise BadInputError(f"{run.path}: --by {by}: has {_NO_TARGETS[by]}; use --by random")
    pairs: list[AuditedPair] = []
    for facts, weight in draw(shown, targets, count, seed=seed):
        record = next(run.database.rollouts(step=facts.step, row=facts.row))
        if record.prompt_id not in prompts:
            raise BadInputError(
                f"{recipe.data.shown_path}: has no prompt {record.prompt_id!r}, which step {facts.step} of {run.path} names"
            )
        pair = _pair(record, _answer(record, recipe), prompts[record.prompt_id], recipe, weight=weight)
        pairs.append(_with_orders(pair, record, run.database_path))
    return SampledPairs(pairs, len(found) - len(shown))


def draw(
    found: Sequence[RolloutFacts], targets: Sequence[RolloutFacts], count: int, *, seed: int
) -> list[tuple[RolloutFacts, float]]:
    """Draw rollouts without replacement, half of them from the targets; each with the number of rollouts it represents.

    Args:
        found: All rollouts.
        targets: Rollouts of special interest; if empty, all rollouts are equally likely.
        count: Number to draw; if there are fewer rollouts, all are taken.
        seed: Random seed.
    """
    rng = random.Random(seed)
    target_rows = {(it.step, it.row) for it in targets}
    rest = [it for it in found if (it.step, it.row) not in target_rows]
    from_targets = min(len(targets), max(count // 2, count - len(rest))) if targets else 0
    from_rest = min(len(rest), count - from_targets)
    drawn: list[tuple[RolloutFacts, float]] = []
    for stratum, number in ((list(targets), from_targets), (rest, from_rest)):
        drawn += [(it, len(stratum) / number) for it in rng.sample(stratum, number)]
    rng.shuffle(drawn)
    return drawn


def pairs_of_games(
    games: Path, prompts: Path, responses: Sequence[Path], reading: Reading = AS_IS
) -> list[AuditedPair]:
    """The games of a file as pairs, one for each prompt, two models and sample, with all judges' verdicts.

    Args:
        games: Games file.
        prompts: Their prompts.
        responses: Responses files with their texts.
        reading: How the files are read.

    Raises:
        BadInputError: a row is invalid, or a game's prompt or text is missing.
    """
    requests = {it.id: it for it in read_rows(prompts, PromptRow, reading)}
    texts = {(it.prompt_id, it.model, it.sample): it.text for it in read_all(responses, Response, reading)}
    found: dict[str, dict[str, object]] = {}
    for game in read_all([games], Game, reading):
        one, other = sorted((game.model_a, game.model_b))
        sample = game.sample or 0
        key = f"{game.prompt_id}/{one}/{other}/{sample}"
        if game.prompt_id not in requests:
            raise BadInputError(f"{prompts}: has no prompt {game.prompt_id!r}, which {games} names")
        for model in (one, other):
            if (game.prompt_id, model, sample) not in texts:
                raise BadInputError(
                    f"{responses[0]}: has no text of {model!r} for prompt {game.prompt_id!r}, sample {sample}"
                )
        pair = found.setdefault(
            key,
            {
                "id": key,
                "prompt": requests[game.prompt_id].prompt,
                "response_a": texts[game.prompt_id, one, sample],
                "response_b": texts[game.prompt_id, other, sample],
                "model_a": one,
                "model_b": other,
                "criteria": requests[game.prompt_id].criteria,
                "verdicts": {},
            },
        )
        is_turned = game.model_a != one
        winner: Winner = _OTHER[game.winner] if is_turned else game.winner
        order: Order = game.order or "ab"
        if is_turned:
            order = "ba" if order == "ab" else "ab"
        verdicts = pair["verdicts"]
        assert isinstance(verdicts, dict)
        verdicts.setdefault(game.judge or "judge", {})[order] = winner
    return [AuditedPair.model_validate(it) for it in found.values()]


def _with_texts(run: RunDirectory, found: Sequence[RolloutFacts], recipe: Recipe) -> list[RolloutFacts]:
    """The rollouts with a response and a reference to show."""
    blank = run.database.blank_references()

    def has_answer(it: RolloutFacts) -> bool:
        # A response without words may still have other characters.
        return it.words > 0 or bool(_answer(next(run.database.rollouts(step=it.step, row=it.row)), recipe).strip())

    return [it for it in found if (it.step, it.row) not in blank and has_answer(it)]


def _answer(record: RolloutRecord, recipe: Recipe) -> str:
    return parse_response(record.text, recipe.generation.think).answer


def _targets(run: RunDirectory, found: Sequence[RolloutFacts], by: SampleBy) -> list[RolloutFacts]:
    match by:
        case "random":
            return []
        case "disagreement":
            inconsistent = run.database.inconsistent_rollouts()
            return [it for it in found if (it.disagreement or 0) > 0 or (it.step, it.row) in inconsistent]
        case "drift":
            steps = drifting_steps(run.database.metric("reward/mean"), run.database.metric("validation/grade"))
            return [it for it in found if any(first < it.step <= last for first, last in steps)]


def drifting_steps(rewards: Sequence[tuple[int, float]], grades: Sequence[tuple[int, float]]) -> list[tuple[int, int]]:
    """The spans (first, last] of steps between two validations in which the reward rose and the examiner's grade fell.

    The reward rose if its mean is higher over the second half of a span than over the first; a span has at least two steps.
    """
    spans: list[tuple[int, int]] = []
    for (first, before), (last, after) in pairwise(grades):
        inside = [value for step, value in rewards if first < step <= last]
        half = len(inside) // 2
        if (
            half
            and after < before
            and math.fsum(inside[half:]) / (len(inside) - half) > math.fsum(inside[:half]) / half
        ):
            spans.append((first, last))
    return spans


def _with_orders(pair: AuditedPair, record: RolloutRecord, log: Path) -> AuditedPair:
    """The pair with the verdict of each order, where a judge was asked in both and their tie may be a disagreement."""
    ((judge, orders),) = (pair.verdicts or {"": {}}).items()
    is_tie = dict(orders) == {"ab": "tie", "ba": "tie"}
    if not is_tie or len(record.calls) != len(ORDERS) or not has_calls(log):
        return pair
    answered = {call.request_hash: call.text for call in read_calls(log, hashes=record.calls, outcome="ok")}
    found: dict[Order, Winner | None] = {}
    # The judge's orders are of (response, reference), and the pair is (reference, response).
    for hash_, order in zip(record.calls, ORDERS, strict=True):
        text = answered.get(hash_, "")
        letter: Letter | None = parse_verdict(text) or parse_structured_verdict(text)
        if letter is None:  # such as probabilities of letters
            return pair
        found["ba" if order == "ab" else "ab"] = _OTHER[winner_of(letter, order)]
    return pair.model_copy(update={"verdicts": {judge: found}})


def _pair(record: RolloutRecord, answer: str, prompt: PromptRow, recipe: Recipe, *, weight: float) -> AuditedPair:
    """A rollout as a pair, with the judges' verdict for the order in which they read its texts."""
    reward = next((it for it in recipe.rewards if isinstance(it, PairwiseSettings)), None)
    winner = _OUTCOMES.get(record.outcome or "")
    verdicts: dict[str, dict[Order, Winner | None]] = {}
    if reward is not None and winner is not None:
        orders: dict[str, tuple[Order, ...]] = {"second": ("ab",), "first": ("ba",), "both": ("ab", "ba")}
        name = " and ".join([reward.judge] if isinstance(reward.judge, str) else reward.judge)
        verdicts[name] = dict.fromkeys(orders[reward.position], winner)
    values = {
        "id": f"{record.step}-{record.row}",
        "prompt": prompt.prompt,
        "criteria": prompt.criteria,
        "response_a": record.reference,
        "response_b": answer,
        "model_a": "reference",
        "model_b": "policy",
        "verdicts": verdicts or None,
        "weight": weight,
        "prompt_id": record.prompt_id,
        "step": record.step,
    }
    return AuditedPair.model_validate({name: value for name, value in values.items() if value is not None})
