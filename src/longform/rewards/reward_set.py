"""All rewards of a recipe, computed concurrently: those of one response, and those of a whole group."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from longform.endpoints.client import Endpoint
from longform.judging.judge import ask_all
from longform.judging.listwise import ListJudge
from longform.judging.pairwise import PairwiseJudge, PairwisePanel
from longform.judging.pointwise import PointwiseJudge, PointwisePanel
from longform.records.schemas import PromptRow, source_of
from longform.rewards.judged import VALUES, PairwiseReward, PointwiseReward
from longform.rewards.judged_group import JudgedGroupReward
from longform.rewards.likelihood import LikelihoodReward
from longform.rewards.measured import AnswerReward, FormatReward, LengthReward
from longform.rewards.plugin import PluginReward, load_reward
from longform.rewards.reward import (
    GroupReward,
    PromptVisit,
    ReadText,
    Reward,
    RewardResult,
    RewardResults,
    missing_cause,
    scores_by_kind,
)
from longform.rewards.settings import (
    AnswerSettings,
    FormatSettings,
    GroupSettings,
    LengthSettings,
    LikelihoodSettings,
    PairwiseSettings,
    PluginRewardSettings,
    PointwiseSettings,
    RewardSettings,
    WritingSettings,
)
from longform.rewards.writing import ServedWritingReward, WritingPanel, WritingReward
from longform.rewards.writing_model import WritingModel, WritingReader
from longform.text.structure import ParsedResponse
from longform.wording import Wording


class RewardSet:
    """The rewards of a recipe, by kind.

    Args:
        rewards: rewards of single responses, by kind, in the order of the recipe.
        sources: by kind, the names in `data.sources` that a reward applies to; None or missing: all.
        groups: rewards of whole groups, by kind.
        flat_groups_only: whether group rewards are computed only where the other rewards are equal within the group
            (data.flat_groups).
    """

    def __init__(
        self,
        rewards: Mapping[str, Reward],
        sources: Mapping[str, Sequence[str] | None] | None = None,
        *,
        groups: Mapping[str, GroupReward] | None = None,
        flat_groups_only: bool = False,
    ) -> None:
        self._rewards, self._sources = rewards, sources or {}
        self._groups, self._flat_groups_only = groups or {}, flat_groups_only

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> RewardResults:
        """The results of all rewards of single responses that apply to the prompt's source."""
        asked = {kind: it for kind, it in self._rewards.items() if self._applies(kind, source_of(prompt))}
        scoring = [it.score(prompt, response=response, reference=reference, step=step) for it in asked.values()]
        return dict(zip(asked, await ask_all(scoring), strict=True))

    def sees_group(self, prompt: PromptRow) -> bool:
        """Whether a group reward applies to a prompt."""
        return any(self._applies(kind, source_of(prompt)) for kind in self._groups)

    async def add_group_rewards(
        self, visit: PromptVisit, responses: Sequence[ParsedResponse], results: Sequence[RewardResults]
    ) -> list[RewardResults]:
        """Add the results of the group rewards to those of single responses.

        A response without a score of another reward is masked already, so it is not compared.

        Args:
            visit: the prompt in its step.
            responses: [G] in the order of their rows.
            results: [G] results of `score`.
        """
        asked = {kind: it for kind, it in self._groups.items() if self._applies(kind, source_of(visit.prompt))}
        compared = [index for index, it in enumerate(results) if missing_cause(it) is None]
        if not asked or (self._flat_groups_only and have_spread([results[index] for index in compared])):
            return list(results)
        taking_part = [responses[index] for index in compared]
        of_kinds = await ask_all(it.score_group(visit, taking_part) for it in asked.values())
        joined: list[RewardResults] = []
        for index, own in enumerate(results):
            if (cause := missing_cause(own)) is not None:
                more = {kind: own.get(kind) or RewardResult(None, cause=cause) for kind in asked}
            else:
                row = compared.index(index)
                more = {kind: _in_group(found[row], compared) for kind, found in zip(asked, of_kinds, strict=True)}
            joined.append({**own, **more})
        return joined

    def _applies(self, kind: str, source: str | None) -> bool:
        sources = self._sources.get(kind)
        return sources is None or source in sources


def _in_group(result: RewardResult, members: Sequence[int]) -> RewardResult:
    """A result of a part of a group, whose responses are `members`, with the texts that were read numbered in the group."""
    if result.read is None:
        return result
    read = {
        call: [it if it.member is None else ReadText(members[it.member]) for it in texts]
        for call, texts in result.read.items()
    }
    return replace(result, read=read)


class ArrivingGroup:
    """The responses to one prompt as they arrive. Rewards of single responses are computed at once; group rewards are
    computed when the last response has arrived.

    Args:
        rewards: of the recipe.
        visit: the prompt in its step.
        count: number of responses in the group.
    """

    def __init__(self, rewards: RewardSet, visit: PromptVisit, count: int) -> None:
        self._rewards, self._visit, self._count = rewards, visit, count
        self._arrived: dict[int, tuple[ParsedResponse, RewardResults]] = {}
        self._whole: list[RewardResults] = []
        self._error: BaseException | None = None
        self._is_done = asyncio.Event()

    async def score(self, index: int, response: ParsedResponse) -> RewardResults:
        """The results of all rewards for the response at this index of the group; each is scored once.

        Raises:
            BadInputError, StoppedError: a reward raised; with a group reward, for any response of the group.
        """
        visit = self._visit
        try:
            own = await self._rewards.score(visit.prompt, response=response, reference=visit.reference, step=visit.step)
            if not self._rewards.sees_group(visit.prompt):
                return own
            self._arrived[index] = (response, own)
            if len(self._arrived) == self._count:
                responses, results = zip(*(self._arrived[it] for it in range(self._count)), strict=True)
                self._whole = await self._rewards.add_group_rewards(visit, responses, results)
                self._is_done.set()
        except BaseException as error:
            self._error = error
            self._is_done.set()  # or the other responses would wait for this one for ever
            raise
        await self._is_done.wait()
        if self._error is not None:
            raise self._error
        return self._whole[index]


async def score_groups(
    rewards: RewardSet,
    visits: Sequence[PromptVisit | None],
    responses: Sequence[ParsedResponse],
    results: Sequence[RewardResults],
) -> list[RewardResults]:
    """Add the results of group rewards to those of a whole step, all groups concurrently.

    Args:
        rewards: of the recipe.
        visits: [P] the prompts in this step; None for one whose responses are not scored.
        responses: [P x G], those of a prompt adjacent.
        results: [P x G] of `RewardSet.score`.
    """
    size = len(responses) // len(visits)

    async def scored(number: int) -> list[RewardResults]:
        rows = slice(number * size, (number + 1) * size)
        prompt = visits[number]
        return (
            list(results[rows])
            if prompt is None
            else await rewards.add_group_rewards(prompt, responses[rows], results[rows])
        )

    groups = await ask_all(scored(number) for number in range(len(visits)))
    return [it for group in groups for it in group]


def have_spread(results: Sequence[RewardResults]) -> bool:
    """Whether any reward differs within a group."""
    scores = [scores_by_kind(it) or {} for it in results]
    kinds = {kind for it in scores for kind in it}
    return any(len({it.get(kind) for it in scores}) > 1 for kind in kinds)


def build_rewards(
    settings: Sequence[RewardSettings],
    endpoints: Mapping[str, Endpoint],
    *,
    secret: bytes,
    seed: int,
    wording: Wording | None = None,
    folder: Path | None = None,
    flat_groups_only: bool = False,
    promotes_best: bool = False,
    policy: str = "",
    trust_remote_code: bool = False,
) -> RewardSet:
    """The rewards of a recipe.

    Args:
        settings: of the recipe.
        endpoints: by name; holds every judge that the settings name.
        secret: the run's secret, from which the tags of the fences are derived.
        seed: the run's.
        wording: of the judges' questions.
        folder: where the modules of plugins may be; the current folder by default.
        flat_groups_only: see `RewardSet`.
        promotes_best: whether a group reward also compares its best response with the current reference.
        policy: of the recipe; the model of a likelihood reward with `model: start`.
        trust_remote_code: whether code in its folder may run.

    Raises:
        BadInputError: a model or a plugin that a reward needs cannot be loaded.
    """
    rewards: dict[str, Reward] = {}
    groups: dict[str, GroupReward] = {}
    for it in settings:
        match it:
            case LengthSettings():
                rewards[it.kind] = LengthReward(max_words=it.max_words, cut_off=it.cut_off)
            case FormatSettings():
                rewards[it.kind] = FormatReward(it)
            case AnswerSettings():
                rewards[it.kind] = AnswerReward(it.form)
            case WritingSettings():
                rewards[it.kind] = WritingPanel(_writing_rewards(it, endpoints), shares=it.shares)
            case LikelihoodSettings():
                rewards[it.kind] = LikelihoodReward(it, policy=policy, trust_remote_code=trust_remote_code)
            case PluginRewardSettings():
                rewards[it.kind] = PluginReward(load_reward(it, folder=folder), it)
            case GroupSettings():
                groups[it.kind] = _group_reward(
                    it, endpoints, secret=secret, seed=seed, wording=wording, promotes_best=promotes_best
                )
            case _:
                rewards[it.kind] = _judged_reward(it, endpoints, secret=secret, seed=seed, wording=wording)
    sources = {it.kind: it.sources for it in settings}
    return RewardSet(rewards, sources, groups=groups, flat_groups_only=flat_groups_only)


def _writing_rewards(
    settings: WritingSettings, endpoints: Mapping[str, Endpoint]
) -> Sequence[WritingReward | ServedWritingReward]:
    if not settings.endpoints:
        models = [WritingModel(path, max_tokens=settings.max_tokens) for path in settings.models]
        return [WritingReward(model, batch=settings.batch) for model in models]
    readers = [WritingReader(path, max_tokens=settings.max_tokens) for path in settings.models]
    served = [endpoints[name] for name in settings.endpoints]
    return [ServedWritingReward(reader, endpoint) for reader, endpoint in zip(readers, served, strict=True)]


def _judged_reward(
    settings: PairwiseSettings | PointwiseSettings,
    endpoints: Mapping[str, Endpoint],
    *,
    secret: bytes,
    seed: int,
    wording: Wording | None,
) -> Reward:
    asked = [endpoints[name] for name in settings.judges]
    if isinstance(settings, PointwiseSettings):
        graders = [
            PointwiseJudge(endpoint, secret=secret, wording=wording, per_criterion=settings.per_criterion)
            for endpoint in asked
        ]
        return PointwiseReward(PointwisePanel(graders, samples=settings.samples))
    judges = [PairwiseJudge(endpoint, position=settings.position, secret=secret, wording=wording) for endpoint in asked]
    panel = PairwisePanel(judges, samples=settings.samples, combine=settings.combine)
    return PairwiseReward(panel, values=VALUES[settings.values], recheck=settings.recheck, seed=seed)


def _group_reward(
    settings: GroupSettings,
    endpoints: Mapping[str, Endpoint],
    *,
    secret: bytes,
    seed: int,
    wording: Wording | None,
    promotes_best: bool,
) -> GroupReward:
    asked = [endpoints[name] for name in settings.judges]
    judges = [PairwiseJudge(endpoint, position=settings.position, secret=secret, wording=wording) for endpoint in asked]
    is_list = settings.by == "list"
    lists = [ListJudge(endpoint, secret=secret, wording=wording) for endpoint in asked] if is_list else []
    return JudgedGroupReward(
        settings.by,
        PairwisePanel(judges, samples=1 if is_list else settings.samples, combine=settings.combine),
        lists=lists,
        samples=settings.samples,
        anchors=settings.anchors,
        promotes_best=promotes_best,
        seed=seed,
    )
