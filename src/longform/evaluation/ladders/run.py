"""Run the check: read the ladders, ask the judge about neighbouring rungs in both orders, measure, and reorder."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from longform.endpoints.concurrency import map_bounded
from longform.endpoints.errors import describe_causes
from longform.endpoints.models import ModelSpec
from longform.endpoints.recorded import RecordedCalls, check_endpoint
from longform.evaluation.estimates import Bootstrap, ClusteredEstimate
from longform.evaluation.ladders.verdicts import (
    GAP,
    PositionFigures,
    RungFigures,
    RungVerdicts,
    collect_verdicts,
    free_figures,
    position_figures,
    reorder,
    rung_of,
)
from longform.evaluation.question_price import MEASURED, QuestionPrice, price_questions
from longform.judging.answers import fence_tag
from longform.judging.pairwise import WINNERS, PairwiseJudge, ask_pairwise
from longform.records.errors import BadInputError, StoppedError
from longform.records.files import read_rows, write_rows
from longform.records.interchange import read_ladders
from longform.records.paths import check_out
from longform.records.progress import Progress, ProgressDisplay, no_progress
from longform.records.schemas import ORDERS, Game, Ladder, Order


@dataclass(frozen=True, slots=True)
class LadderCheck:
    """The result of a check: how a judge orders neighbouring rungs."""

    judge: str
    ladders: int
    pairs: int
    """Pairs of neighbouring rungs."""
    verdicts: int
    """Verdicts, two for each pair that has both."""
    no_verdict: Counter[str]
    """Missing verdicts by cause."""
    positions: list[PositionFigures]
    free: list[RungFigures]
    """Empty without a policy."""
    unreachable: ClusteredEstimate | None
    """Share of the ladders whose top is unreachable; None if it is unknown for all."""
    gap: float
    reordered: int | None = None
    """Ladders whose order has changed; None without `reorder`."""
    unrated: int = 0
    """Of the checked ladders, those that keep their order because a verdict is missing."""


@dataclass(frozen=True, slots=True)
class LadderCheckResult:
    """A check, its price and its cost; of a dry run the price alone."""

    price: QuestionPrice
    check: LadderCheck | None
    cost: str = ""
    """Cost and number of calls, in words."""


def check_ladders(
    ladders: Path,
    *,
    judge: str,
    out: Path,
    models: Path = Path("models.yaml"),
    template: Path | None = None,
    policy: str | None = None,
    gap: float = GAP,
    sample: int | None = None,
    reorder_to: Path | None = None,
    budget: float | None = None,
    dry_run: bool = False,
    resamples: int = 1000,
    seed: int = 0,
    progress: ProgressDisplay = no_progress,
    on_plan: Callable[[str], None] = lambda line: None,
) -> LadderCheckResult:
    """Have a pairwise judge compare the neighbouring rungs of ladders, in both orders.

    Args:
        ladders: Ladders file, of longform or of the released Writing-RL code.
        judge: A name in `models`.
        out: Games file; its calls are recorded next to it, and games of other judges in it are kept.
        models: Path to models.yaml.
        template: The judge's own wording, in place of the one in models.yaml.
        policy: Model name of the policy's own responses, for the free rungs.
        gap: Grade points above the rung below from which the top rung counts as unreachable.
        sample: Number of ladders to check, drawn at random; None checks all.
        reorder_to: Ladders file to write, with the checked ladders in the order of the verdicts.
        budget: Stop before the calls cost more than this.
        dry_run: Only compute the price.
        resamples: Number of bootstrap samples.
        seed: Random seed of the resampling and of the sample.
        progress: Progress display.
        on_plan: Called with the price, as text, before the first call.

    Raises:
        BadInputError: an invalid row, an unknown judge or policy, a missing key, an unwritable file, or no ladder with two
            rungs.
        StoppedError: the budget is exhausted, or no pair has a verdict in both orders.
    """
    check_out(out, ladders, models)
    if reorder_to is not None:
        check_out(reorder_to, ladders, models, out, flag="--reorder")
    everything = read_ladders(ladders)
    chosen = _draw([it for it in everything if len(it.references) > 1], sample, seed=seed)
    if not chosen:
        raise BadInputError(f"{ladders}: no ladder has two rungs to compare")
    if policy is not None:
        _check_policy(policy, chosen, ladders)
    price = _price(chosen, check_endpoint(judge, models, budget=budget))
    on_plan(str(price))
    if dry_run:
        return LadderCheckResult(price, None)
    others = _games_of_others(out, judge)
    changes = {} if template is None else {"template": template}
    with RecordedCalls(out, models, judge, budget=budget, changes=changes) as calls:
        with progress(f"judging with {judge}") as advance:

            async def ask() -> tuple[list[Game], Counter[str]]:
                async with calls.endpoint() as endpoint:
                    asked = PairwiseJudge(endpoint, secret=calls.log.secret())
                    return await judge_neighbours(chosen, asked, workers=endpoint.workers, on_progress=advance)

            games, no_verdict = asyncio.run(ask())
        cost, first = calls.cost(), calls.first_failure()
    checked = collect_verdicts(chosen, games)
    if not any(winner is not None for it in checked for winner in it.winners):
        causes = describe_causes(no_verdict)
        raise StoppedError(
            f"{out}: no pair of rungs has a verdict of {judge} in both orders ({causes or 'no verdict'}"
            f"{f'; the first: {first}' if first else ''}); run the same command again to retry failed calls"
        )
    write_rows(out, [*others, *games])
    bootstrap = Bootstrap(resamples, seed)
    tops = [(top, it.cluster) for it in checked if (top := it.is_top_unreachable(gap=gap, policy=policy)) is not None]
    reordered, unrated = None, 0
    if reorder_to is not None:
        reordered, unrated = _write_reordered(reorder_to, everything, checked, games, policy=policy)
    return LadderCheckResult(
        price,
        LadderCheck(
            judge=judge,
            ladders=len(chosen),
            pairs=sum(len(it.winners) for it in checked),
            verdicts=len(games),
            no_verdict=no_verdict,
            positions=position_figures(checked, bootstrap),
            free=[] if policy is None else free_figures(checked, policy, bootstrap),
            unreachable=bootstrap.mean([(float(top), cluster) for top, cluster in tops]),
            gap=gap,
            reordered=reordered,
            unrated=unrated,
        ),
        cost,
    )


async def judge_neighbours(
    ladders: Sequence[Ladder], judge: PairwiseJudge, *, workers: int, on_progress: Progress
) -> tuple[list[Game], Counter[str]]:
    """Compare each rung with the next one in both orders.

    Returns:
        The games (`model_a` is the lower rung, `rung` its index), in the order of the ladders; missing verdicts by cause.

    Raises:
        BadInputError: the endpoint is misconfigured.
        StoppedError: the budget is exhausted.
    """
    played: dict[tuple[int, int, Order], Game] = {}
    no_verdict: Counter[str] = Counter()
    questions: list[tuple[int, int, Order]] = [
        (index, lower, order)
        for index, ladder in enumerate(ladders)
        for lower in range(len(ladder.references) - 1)
        for order in ORDERS
    ]

    async def play(question: tuple[int, int, Order]) -> None:
        index, lower, order = question
        ladder = ladders[index]
        below, above = ladder.references[lower : lower + 2]
        verdict = await judge.compare_in_order(ladder, response=below.text, reference=above.text, order=order, step=0)
        if verdict.value is None:
            no_verdict[str(verdict.cause)] += 1
        else:
            played[question] = Game.model_validate(
                {
                    "prompt_id": ladder.id,
                    "model_a": below.model,
                    "model_b": above.model,
                    "winner": WINNERS[verdict.value],
                    "order": order,
                    "judge": judge.endpoint.name,
                    "calls": verdict.calls,
                    "rung": lower,
                }
            )
        on_progress(len(played) + no_verdict.total(), len(questions))

    await map_bounded(questions, play, workers=workers)
    return [played[it] for it in questions if it in played], no_verdict


def _write_reordered(
    path: Path, ladders: Sequence[Ladder], checked: Sequence[RungVerdicts], games: Sequence[Game], *, policy: str | None
) -> tuple[int, int]:
    """Write all ladders, the checked ones in the order of the verdicts.

    Returns:
        The number of ladders whose order has changed, and of checked ladders that keep theirs because a verdict is missing.
    """
    games_of: dict[str, list[Game]] = {}
    for game in games:
        games_of.setdefault(game.prompt_id, []).append(game)
    reordered = {it.ladder.id: reorder(it, games_of.get(it.ladder.id, []), policy=policy) for it in checked}
    new = [reordered.get(ladder.id) or ladder for ladder in ladders]
    write_rows(path, new)
    changed = sum(_texts(before) != _texts(after) for before, after in zip(ladders, new, strict=True))
    return changed, sum(ladder is None for ladder in reordered.values())


def _draw(ladders: Sequence[Ladder], count: int | None, *, seed: int) -> list[Ladder]:
    """Draw `count` ladders, in the order of the file."""
    if count is None or count >= len(ladders):
        return list(ladders)
    return [ladders[index] for index in sorted(random.Random(seed).sample(range(len(ladders)), count))]


def _check_policy(policy: str, ladders: Sequence[Ladder], path: Path) -> None:
    known = sorted({model for it in ladders for model in it.rungs})
    if policy not in known:
        raise BadInputError(f"--policy {policy}: {path} has no reference by this model; models: {', '.join(known)}")


def _price(ladders: Sequence[Ladder], spec: ModelSpec) -> QuestionPrice:
    pairs = [(it, lower) for it in ladders for lower in range(len(it.references) - 1)]
    tag = fence_tag(b"price", "", 0)
    sample = [
        ask_pairwise(it, text_a=it.references[lower].text, text_b=it.references[lower + 1].text, tag=tag)
        for it, lower in pairs[:: max(len(pairs) // MEASURED, 1)]
    ]
    return price_questions(sample, spec, questions=len(ORDERS) * len(pairs))


def _games_of_others(out: Path, judge: str) -> list[Game]:
    """Return other judges' games in `out`; refuse to overwrite a file of anything else."""
    games = list(read_rows(out, Game)) if out.exists() else []
    if any(rung_of(game) < 0 for game in games):
        raise BadInputError(f"--out: {out} has games that are not of neighbouring rungs; choose another file")
    return [game for game in games if game.judge != judge]


def _texts(ladder: Ladder) -> list[str]:
    return [it.text for it in ladder.references]
