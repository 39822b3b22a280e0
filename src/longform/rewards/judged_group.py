"""The group reward: a judge compares the responses to a prompt with each other, or with texts of the prompt's ladder.

Which texts are compared and how scores follow: `statistics.group_games`. Every random draw is a function of (seed, step,
prompt). A response without any verdict has no score, so its rollout is masked and does not count as a loss. Empty responses
score 0 without a judge call; if only one response of a group is not empty, it scores 1.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from longform.endpoints.request import estimate_prompt_tokens
from longform.judging.answers import defuse
from longform.judging.judge import JudgeReply, ask_all, total_cost
from longform.judging.listwise import MAX_LISTED, ListJudge, PlaceOrder
from longform.judging.pairwise import PairwisePanel, Verdict, WinTieLoss, in_order, vote_disagreement
from longform.records.schemas import Ladder
from longform.rewards.judged import VALUES
from longform.rewards.reward import PromptVisit, ReadText, RewardResult
from longform.statistics.group_games import (
    MIN_SCORED,
    ComparisonMethod,
    GroupGame,
    ListedOrder,
    all_games,
    anchor_games,
    first_round,
    list_scores,
    next_round,
    peer_games,
    peer_scores,
    round_games,
    seeded,
    strength_scores,
    sub_groups,
)
from longform.text.structure import ParsedResponse

ALONE = "alone"
"""Cause of a missing score: fewer than two responses of the group have one."""
NOT_PLACED = "not_placed"
"""Cause of a missing score: the judge left the response out of its order."""
_SHARES = VALUES["paper"]
_FENCES = 40
"""Tokens of the two fences of a text, by a cautious estimate."""


@dataclass(slots=True)
class _Comparisons:
    """The judge calls about one response, and what they showed besides its score."""

    member: int
    """Index of the response within its group."""
    calls: dict[str, None] = field(default_factory=dict)
    cost: float | None = 0.0
    causes: list[str] = field(default_factory=list)
    disagreements: list[float] = field(default_factory=list)
    missing_votes: list[float] = field(default_factory=list)
    outcome: WinTieLoss | None = None
    read: dict[str, Sequence[ReadText]] = field(default_factory=dict)
    """The texts of each call, in the order in which the judge read them."""

    def add(self, reply: JudgeReply, *, sharing: int, read: Mapping[str, Sequence[ReadText]]) -> None:
        """Add a reply about `sharing` responses, each of which is charged the same part of its cost.

        Identical responses share calls; each has the texts of the first question about itself.
        """
        self.read = {**read, **self.read}
        self.calls |= dict.fromkeys(reply.calls)
        self.cost = total_cost((self.cost, None if reply.cost is None else reply.cost / sharing))
        if reply.cause is not None:
            self.causes.append(reply.cause)
        if reply.missing_votes is not None:
            self.missing_votes.append(reply.missing_votes)

    def result(self, score: float | None, *, unplaced: str) -> RewardResult:
        """The result of the response; without a score its cause is that of its first missing verdict, else `unplaced`."""
        cause = None if score is not None else next(iter(self.causes), unplaced)
        disagreement, missing = (fmean(it) if it else None for it in (self.disagreements, self.missing_votes))
        return RewardResult(
            score, self.outcome, cause, tuple(self.calls), self.cost, disagreement, missing, read=self.read or None
        )


class JudgedGroupReward:
    """Scores the responses to a prompt by comparing them.

    Args:
        by: the method of comparison.
        panel: compares two texts.
        lists: the judges that order lists; only for `list`.
        samples: number of orders that each of them is asked for, each with its own shuffle; only for `list`.
        anchors: number of rungs below and above the current one; only for `anchors`.
        promotes_best: whether the best response is also compared with the reference that the prompt faces
            (curriculum.promote_by: sample).
        seed: of the run.
    """

    def __init__(
        self,
        by: ComparisonMethod,
        panel: PairwisePanel,
        *,
        lists: Sequence[ListJudge] = (),
        samples: int = 1,
        anchors: int = 1,
        promotes_best: bool = False,
        seed: int = 0,
    ) -> None:
        self._by: ComparisonMethod = by
        self._panel, self._lists, self._samples = panel, lists, samples
        self._anchors, self._promotes_best, self._seed = anchors, promotes_best, seed

    async def score_group(self, visit: PromptVisit, responses: Sequence[ParsedResponse]) -> list[RewardResult]:
        """The reward of each response.

        Raises:
            BadInputError: an endpoint is misconfigured.
            StoppedError: the budget is spent.
        """
        non_empty = [index for index, response in enumerate(responses) if response.answer]
        texts = [responses[index].answer for index in non_empty]
        compared = [_Comparisons(index) for index in non_empty]
        if len(texts) < MIN_SCORED:
            scores: list[float | None] = [1.0 if len(responses) >= MIN_SCORED else None] * len(texts)
        else:
            scores = await self._judge(visit, texts, compared)
        if self._promotes_best and visit.reference and any(score is not None for score in scores):
            await self._compare_best(visit, texts, scores, compared)
        is_losing = self._by == "anchors" and len(responses) >= MIN_SCORED
        empty = RewardResult(0.0, "loss" if is_losing else None)
        results = [empty if len(responses) >= MIN_SCORED else RewardResult(None, cause=ALONE)] * len(responses)
        unplaced = NOT_PLACED if self._by == "list" and len(texts) >= MIN_SCORED else ALONE
        for index, score, comparisons in zip(non_empty, scores, compared, strict=True):
            results[index] = comparisons.result(score, unplaced=unplaced)
        return results

    async def _judge(
        self, visit: PromptVisit, texts: Sequence[str], compared: list[_Comparisons]
    ) -> list[float | None]:
        count = len(texts)
        match self._by:
            case "peer":
                peer = self._draw(visit, "peer").randrange(count)
                return peer_scores(count, peer, await self._play(visit, texts, peer_games(count, peer), compared))
            case "anchors":
                return await self._against_anchors(visit, texts, compared)
            case "list":
                return list_scores(count, await self._list(visit, texts, compared))
            case "round-robin":
                return strength_scores(count, await self._play(visit, texts, all_games(count), compared))
            case "elimination":
                return strength_scores(count, await self._eliminate(visit, texts, compared))

    async def _play(
        self,
        visit: PromptVisit,
        texts: Sequence[str],
        games: Iterable[GroupGame],
        compared: list[_Comparisons],
        *,
        rungs: Sequence[int] = (),
    ) -> list[GroupGame]:
        """Have the panel judge games; texts numbered from `len(compared)` on are anchors. Returns the games with results.

        Args:
            visit: the prompt in its step.
            texts: responses and anchors.
            games: by the numbers of the texts.
            compared: the calls about each response.
            rungs: of the anchors.
        """
        games = list(games)
        verdicts = await ask_all(
            self._panel.compare(visit.prompt, response=texts[it.first], reference=texts[it.second], step=visit.step)
            for it in games
        )
        known = [ReadText(it.member) for it in compared] + [ReadText(None, rung) for rung in rungs]
        for game, verdict in zip(games, verdicts, strict=True):
            playing = [text for text in (game.first, game.second) if text < len(compared)]
            read = _texts_of_calls(verdict, known[game.first], known[game.second])
            for text in playing:
                compared[text].add(verdict, sharing=len(playing), read=read)
                if (disagreement := vote_disagreement(verdict.valid_votes)) is not None:
                    compared[text].disagreements.append(disagreement)
        return [game._replace(share=self._share(it)) for game, it in zip(games, verdicts, strict=True)]

    def _share(self, verdict: Verdict) -> float | None:
        if verdict.value is None:
            return None
        votes = verdict.valid_votes if self._panel.combine == "mean" else []
        return fmean(_SHARES[vote] for vote in votes or [verdict.value])

    async def _against_anchors(
        self, visit: PromptVisit, texts: Sequence[str], compared: list[_Comparisons]
    ) -> list[float | None]:
        """Scores from games against texts of the ladder; the games against the current reference also set the outcomes."""
        anchors, count = anchor_texts(visit, width=self._anchors), len(texts)
        rungs = list(anchors)
        games = await self._play(
            visit, [*texts, *anchors.values()], anchor_games(count, len(anchors)), compared, rungs=rungs
        )
        current = count + rungs.index(visit.rung)
        for game in games:
            if game.second == current and game.share is not None:
                compared[game.first].outcome = "win" if game.share > 0.5 else "loss" if game.share < 0.5 else "tie"
        return strength_scores(count, games)

    async def _eliminate(
        self, visit: PromptVisit, texts: Sequence[str], compared: list[_Comparisons]
    ) -> list[GroupGame]:
        """The games of single elimination: a round against one peer, which seeds the bracket, then the bracket itself.

        A pair that has met in the first round is not asked about again.
        """
        draw, count = self._draw(visit, "elimination"), len(texts)
        peer, drawn = draw.randrange(count), draw.sample(range(count), count)
        games = await self._play(visit, texts, peer_games(count, peer), compared)
        order = seeded(count, peer, games, drawn=drawn)
        bracket = first_round(order)
        while len(bracket) > 1:
            met = {frozenset((it.first, it.second)) for it in games}
            new = [it for it in round_games(bracket) if frozenset((it.first, it.second)) not in met]
            games += await self._play(visit, texts, new, compared)
            bracket = next_round(bracket, games, order=order)
        return games

    async def _list(self, visit: PromptVisit, texts: Sequence[str], compared: list[_Comparisons]) -> list[ListedOrder]:
        """The orders by all judges, with a new shuffle for each sample; a list that is too long is split."""
        sizes = [estimate_prompt_tokens([{"content": defuse(text)}]) + _FENCES for text in texts]
        asked: list[tuple[ListJudge, int, tuple[int, ...]]] = []
        orders: list[ListedOrder] = []
        for judge in self._lists:
            room = await judge.room(visit.prompt)
            for sample in range(self._samples):
                shuffled = self._draw(visit, f"list/{sample}").sample(range(len(texts)), len(texts))
                parts = sub_groups(shuffled, sizes, room=room, max_texts=MAX_LISTED)
                asked += [(judge, sample, tuple(part)) for part in parts]
                for text in set(shuffled).difference(*parts):
                    compared[text].causes.append("too_long")
                    orders.append(ListedOrder((text,), None))
        replies = await ask_all(
            judge.order(visit.prompt, [texts[it] for it in part], step=visit.step, sample=sample)
            for judge, sample, part in asked
        )
        for (_, _, part), reply in zip(asked, replies, strict=True):
            read = dict.fromkeys(reply.calls, tuple(ReadText(compared[text].member) for text in part))
            for text in part:
                compared[text].add(reply, sharing=len(part), read=read)
            orders.append(ListedOrder(part, _numbered(reply.value, part)))
        return orders

    async def _compare_best(
        self, visit: PromptVisit, texts: Sequence[str], scores: Sequence[float | None], compared: list[_Comparisons]
    ) -> None:
        """Compare the response with the highest score, the first of equals, with the current reference."""
        best = max(range(len(texts)), key=lambda index: -1.0 if (score := scores[index]) is None else score)
        verdict = await self._panel.compare(
            visit.prompt, response=texts[best], reference=visit.reference, step=visit.step
        )
        compared[best].outcome = verdict.value
        read = _texts_of_calls(verdict, ReadText(compared[best].member), ReadText(None, visit.rung))
        compared[best].add(JudgeReply(verdict.value, None, verdict.calls, verdict.cost), sharing=1, read=read)

    def _draw(self, visit: PromptVisit, what: str) -> random.Random:
        return random.Random(f"{self._seed}/{visit.step}/{visit.prompt.id}/{what}")


def anchor_texts(visit: PromptVisit, *, width: int) -> dict[int, str]:
    """The texts that responses are compared with, by rung, in ascending order; among them the current reference.

    Args:
        visit: of a prompt with a reference. Above the top rung the reference is an earlier response of the policy, and the
            last references of the ladder are below it.
        width: number of rungs below and above the current one.
    """
    references = [it.text for it in visit.prompt.references] if isinstance(visit.prompt, Ladder) else []
    top = min(visit.rung, len(references))
    below = {rung: references[rung] for rung in range(max(top - width, 0), top)}
    above = dict(enumerate(references[top + 1 : top + 1 + width], start=top + 1))
    return {**below, visit.rung: visit.reference, **above}


def _texts_of_calls(verdict: Verdict, response: ReadText, reference: ReadText) -> dict[str, tuple[ReadText, ReadText]]:
    """The two texts of each call behind a verdict, in the order in which the judge read them."""
    return {
        call: in_order(response, reference, order) for call, order in zip(verdict.calls, verdict.orders, strict=True)
    }


def _numbered(order: PlaceOrder | None, part: Sequence[int]) -> PlaceOrder | None:
    """Translate an order of the texts of `part` into their numbers in the group."""
    return None if order is None else tuple(tuple(part[index] for index in equals) for equals in order)
