"""`longform audit --by`: which method of comparing the responses of a group agrees best with people, and at what cost.

Each group is scored by the reward that training would use (`rewards.judged_group`), with a judge that also records how each
text did by its position. Answers are recorded next to the output file, so a second call resumes.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from longform.endpoints.client import Endpoint
from longform.endpoints.concurrency import map_bounded
from longform.endpoints.recorded import RecordedCalls
from longform.evaluation.audit.group_figures import (
    ComparedGroup,
    MethodAdvice,
    MethodFigures,
    advise_method,
    measure_method,
)
from longform.evaluation.audit.presets import PresetName, read_preset_groups
from longform.evaluation.audit.scored_groups import ScoredGroup, scores_needed, scores_on_record
from longform.evaluation.estimates import Bootstrap
from longform.evaluation.tables import Cell, Column, Table, show, warn_of_few
from longform.judging.judge import JudgeReply, total_cost
from longform.judging.listwise import MAX_LISTED, ListJudge, PlaceOrder
from longform.judging.pairwise import WINNERS, PairwiseJudge, PairwisePanel, Position, Verdict
from longform.records.adapting import AS_IS, Reading
from longform.records.errors import BadInputError
from longform.records.files import read_all, write_rows
from longform.records.paths import check_out
from longform.records.progress import ProgressDisplay, no_progress
from longform.records.schemas import Order, PromptRow
from longform.rewards.judged_group import JudgedGroupReward
from longform.rewards.reward import PromptVisit, RewardResult
from longform.statistics.group_games import ComparisonMethod, max_games, sub_groups
from longform.text.structure import ParsedResponse


class GroupAudit(NamedTuple):
    """The audit of several comparison methods."""

    groups: int
    prompts: int
    figures: list[MethodFigures]
    advice: MethodAdvice
    cost: str
    """Of all calls, formatted."""
    notes: list[str]
    """Groups that a method cannot compare, and why."""


def audit_groups(
    files: Sequence[Path],
    *,
    methods: Sequence[ComparisonMethod],
    judges: Sequence[str],
    preset: PresetName | None = None,
    models: Path = Path("models.yaml"),
    out: Path,
    samples: int = 1,
    anchors: int = 1,
    position: Position = "second",
    repeats: int = 1,
    budget: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
    reading: Reading = AS_IS,
    progress: ProgressDisplay = no_progress,
    on_plan: Callable[[str], None] = lambda line: None,
) -> GroupAudit:
    """Measure methods of comparing the responses of a group.

    Args:
        files: Groups files, or pairs files, whose rows are groups of two.
        methods: The methods.
        judges: Names in `models`.
        preset: Name of the published set that the files belong to; None: groups or pairs files.
        models: Path to models.yaml.
        out: Output file: the groups with the scores of every judge and method. If it exists, the scores of other judges and
            methods stay in it. Calls are recorded next to it.
        samples: Votes on each pair, or shuffles of each list.
        anchors: For `anchors`: number of rungs below and above the current one. Groups have no ladder, so responses drawn
            from the group stand for its rungs, and only the others are compared.
        position: Position of a response against the peer or anchor it is compared with (see the group reward).
        repeats: Further runs of each comparison with other random draws, to measure noise.
        budget: Stop before the calls cost more than this.
        resamples: Number of bootstrap samples.
        seed: Random seed of the comparisons and of the resampling.
        reading: How the files are read: renamed columns, and bad rows to skip.
        progress: Progress display.
        on_plan: Called before the first call with an upper bound on the number of calls, as text.

    Raises:
        BadInputError: a row is invalid, no group has scores of people, no group is large enough for the only method, a judge
            cannot be used, or `out` cannot be written or has other content.
        StoppedError: the budget is exhausted.
    """
    check_out(out, *files)
    for name, given in (("--judge", judges), ("--by", methods)):
        if twice := next((it for it in given if list(given).count(it) > 1), None):
            raise BadInputError(f"{name} {twice}: listed twice")
    groups = (
        list(read_all(files, ScoredGroup, reading)) if preset is None else read_preset_groups(preset, files, reading)
    )
    if not any(len({it.score for it in group.responses} - {None}) > 1 for group in groups):
        raise BadInputError(
            f"{files[0]}: no group has two texts with different scores by people, so agreement cannot be measured"
        )
    methods, notes = list(methods), []
    if "anchors" in methods and (problem := _too_few_for_anchors(groups, anchors)):
        if not any(len(group.scored) >= scores_needed(anchors) for group in groups):
            methods.remove("anchors")
        if not methods:
            raise BadInputError(f"--by anchors: {problem}")
        notes.append(f"By anchors: {problem}.")
    scores = scores_on_record(out, groups)
    for name in judges:  # check all judges before the first call
        RecordedCalls(out, models, name, budget=budget).log.close()
    questions = sum(_max_questions(by, group, samples, anchors, position) for by in methods for group in groups)
    on_plan(
        f"{len(judges)} {'judges get' if len(judges) > 1 else 'judge gets'} at most {questions * (1 + repeats)} questions "
        "each; recorded answers are not requested again"
        + ("; a list that is too long for a judge's context is split into several" if "list" in methods else "")
    )
    bootstrap = Bootstrap(resamples, seed)
    compared: list[list[ComparedGroup | None]] = []
    figures: list[MethodFigures] = []
    cost = ""
    for name in judges:
        with RecordedCalls(out, models, name, budget=budget) as calls:
            for by in methods:
                with progress(f"{name} by {by}") as advance:
                    scorer = _GroupScorer(calls, by, samples=samples, anchors=anchors, position=position, seed=seed)
                    found = asyncio.run(scorer.compare(groups, runs=1 + repeats, on_progress=advance))
                compared.append(found)
                figures.append(measure_method(name, by, found, bootstrap))
                for row, it in zip(scores, found, strict=True):
                    row.setdefault(name, {}).pop(by, None)
                    if it is not None:
                        row[name][by] = [list(run) for run in it.runs]
            cost = calls.cost()
    write_rows(out, (it.model_copy(update={"by": row}) for it, row in zip(groups, scores, strict=True)))
    prompts = len({it.request.request for it in groups})
    return GroupAudit(len(groups), prompts, figures, advise_method(figures, compared, bootstrap), cost, notes)


def _too_few_for_anchors(groups: Sequence[ScoredGroup], width: int) -> str:
    """Why some or all groups cannot be compared by `anchors`; empty if all can."""
    needed = scores_needed(width)
    counts = [len(group.scored) for group in groups]
    few = sum(count < needed for count in counts)
    why = f"a group needs at least {needed} texts with scores, {needed - 2} to compare with and 2 to be compared"
    if few == len(groups):
        return f"not measured: {why}; {'pairs have 2' if max(counts) == 2 else f'the largest here has {max(counts)}'}"
    return f"{few} of {len(groups)} groups are left out: {why}" if few else ""


class _GroupScorer:
    """Scores groups with one judge and one method, and records how texts did by their position."""

    def __init__(
        self,
        calls: RecordedCalls,
        by: ComparisonMethod,
        *,
        samples: int,
        anchors: int,
        position: Position,
        seed: int,
    ) -> None:
        self._calls, self._anchors = calls, anchors
        self._by: ComparisonMethod = by
        self._samples, self._seed = samples, seed
        self._position: Position = position
        self._leads: dict[str, list[float]] = {}
        """Leads of the text that was read first, by group id."""

    async def compare(
        self, groups: Sequence[ScoredGroup], *, runs: int, on_progress: Callable[[int, int], None]
    ) -> list[ComparedGroup | None]:
        """The groups with their scores in several runs; None for one that is too small for its anchors."""
        found: dict[int, ComparedGroup | None] = {}
        async with self._calls.endpoint() as endpoint:
            reward = self._reward(endpoint)

            async def work(index: int) -> None:
                found[index] = await self._compare(reward, groups[index], runs=runs)
                on_progress(len(found), len(groups))

            await map_bounded(range(len(groups)), work, workers=endpoint.workers)
        return [found[index] for index in range(len(groups))]

    async def _compare(self, reward: JudgedGroupReward, group: ScoredGroup, *, runs: int) -> ComparedGroup | None:
        anchors: list[int] = []
        if self._by == "anchors" and not (anchors := group.draw_anchors(self._anchors, seed=self._seed)):
            return None
        results = [await self._score(reward, group, anchors, run=run) for run in range(runs)]
        return ComparedGroup(
            group.request.request,
            [response.score for response in group.responses],
            [[result.score for result in run] for run in results],
            [len({call for result in run for call in result.calls}) for run in results],
            [total_cost(result.cost for result in run) for run in results],
            self._leads.get(group.id, []),
            anchors,
        )

    async def _score(
        self, reward: JudgedGroupReward, group: ScoredGroup, anchors: Sequence[int], *, run: int
    ) -> list[RewardResult]:
        """The results of a group in one run, in the order of its responses; those of anchors have no score.

        In round-robin and elimination the number of a response decides which of two texts is read first. Files often list
        the better text always first or always last, so here the responses are numbered at random, as they are in training.
        """
        count = len(group.responses)
        places = [place for place in range(count) if place not in anchors]
        if self._by in ("round-robin", "elimination"):
            places = random.Random(f"{self._seed}/{run}/{group.id}/places").sample(places, count)
        responses = [ParsedResponse("", group.responses[place].text, True) for place in places]
        visit = PromptVisit(group.request, "", 0, run)
        if anchors:
            ladder = group.ladder(anchors)
            visit = PromptVisit(ladder, ladder.references[self._anchors].text, self._anchors, run)
        found = await reward.score_group(visit, responses)
        results = dict(zip(places, found, strict=True))
        return [results.get(place, RewardResult(None)) for place in range(count)]

    def _reward(self, endpoint: Endpoint) -> JudgedGroupReward:
        """The reward that training would use, with judges that record leads."""
        is_list, secret = self._by == "list", self._calls.log.secret()
        pairs = _LeadRecordingPairJudge(endpoint, position=self._position, secret=secret, leads=self._leads)
        return JudgedGroupReward(
            self._by,
            PairwisePanel([pairs], samples=1 if is_list else self._samples),
            lists=[_LeadRecordingListJudge(endpoint, secret=secret, leads=self._leads)] if is_list else [],
            samples=self._samples,
            anchors=self._anchors,
            seed=self._seed,
        )


class _LeadRecordingPairJudge(PairwiseJudge):
    """Records whether the text that was read first won."""

    def __init__(self, *args: Any, leads: dict[str, list[float]], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._leads = leads

    async def compare_in_order(
        self, prompt: PromptRow, *, response: str, reference: str, order: Order, step: int, sample: int = 0
    ) -> Verdict:
        verdict = await super().compare_in_order(
            prompt, response=response, reference=reference, order=order, step=step, sample=sample
        )
        if verdict.value is not None:
            winner = WINNERS[verdict.value]
            lead = 0.0 if winner == "tie" else 0.5 if winner == order[0] else -0.5
            self._leads.setdefault(prompt.id, []).append(lead)
        return verdict


class _LeadRecordingListJudge(ListJudge):
    """Records how much better the first text of a list did than the last."""

    def __init__(self, *args: Any, leads: dict[str, list[float]], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._leads = leads

    async def order(
        self, prompt: PromptRow, texts: Sequence[str], *, step: int, sample: int = 0
    ) -> JudgeReply[PlaceOrder]:
        reply = await super().order(prompt, texts, step=step, sample=sample)
        shares = _shares_of_wins(reply.value or ())
        if 0 in shares and len(texts) - 1 in shares:
            self._leads.setdefault(prompt.id, []).append(shares[0] - shares[len(texts) - 1])
        return reply


def _shares_of_wins(order: PlaceOrder) -> dict[int, float]:
    """Return for each placed text the share of the other texts that it beats; a tie counts half."""
    total = sum(map(len, order))
    shares, above = {}, 0
    for equals in order:
        beaten = total - above - len(equals) + (len(equals) - 1) / 2
        shares |= dict.fromkeys(equals, beaten / max(total - 1, 1))
        above += len(equals)
    return shares


def _max_questions(by: ComparisonMethod, group: ScoredGroup, samples: int, anchors: int, position: Position) -> int:
    count = len(group.responses)
    if by == "list":
        return len(sub_groups(range(count), [0] * count, room=0, max_texts=MAX_LISTED)) * samples
    if by == "anchors":
        count = count - (2 * anchors + 1) if len(group.scored) >= scores_needed(anchors) else 0
    return max_games(by, count, anchors=2 * anchors + 1) * samples * (2 if position == "both" else 1)


def group_tables(audit: GroupAudit) -> list[Table]:
    """Return the tables of an audit of comparison methods, the recommendation last."""
    ways = [Column("judge", is_text=True), Column("by", is_text=True)]
    columns = ways + [Column(name, is_text=True) for name in ("agreement", "undecided", "noise", "first place leads")]
    priced = [
        *ways,
        Column("calls a group", digits=1),
        Column("cost a group", digits=6),
        Column("cost a correct decision", digits=6),
    ]
    prices: list[list[Cell]] = [[it.judge, it.by, it.calls, it.cost, it.cost_of_correct] for it in audit.figures]
    rows: list[list[Cell]] = [
        [
            it.judge,
            it.by,
            *(
                "" if figure is None else show(figure.cell, digits=3)
                for figure in (it.agreement, it.undecided, it.noise, it.first_lead)
            ),
        ]
        for it in audit.figures
    ]
    notes = [
        "A decision is a pair of texts of one group to which people gave different scores; equal scores by the judge count "
        "half (chance 0.5). Noise: decisions that differ in a second run with other random draws. First place leads: for "
        "pairs, the win rate of the first text minus 0.5; for lists, the first text's share of wins minus the last one's.",
        *audit.notes,
        *warn_of_few(it.agreement.prompts for it in audit.figures if it.agreement is not None),
    ]
    chosen = audit.advice.by
    use = "none" if chosen is None else f"{chosen.judge} by {chosen.by}"
    advice = [Column("use", is_text=True), Column("why", is_text=True)]
    return [
        Table("Ways to compare a group", columns, rows, notes),
        Table("What they cost", priced, prices),
        Table("Advice", advice, [[use, audit.advice.because]]),
    ]
