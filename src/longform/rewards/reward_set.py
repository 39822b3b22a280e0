"""All rewards of a recipe, computed concurrently: those of one response, and those of a whole group."""

import asyncio
from collections.abc import Mapping, Sequence
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
    PromptInStep,
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
        rewards: that see one response, in the order of the recipe.
        sources: of data, whose prompts a reward is for; a kind that is missing or None is for all.
        groups: rewards that see all responses to a prompt.
        flat_groups_only: whether these see only groups in which no other reward has spread (data.flat_groups).
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
        """The results of all rewards that see one response, without those that are not for the source of its prompt."""
        asked = {kind: it for kind, it in self._rewards.items() if self._applies(kind, source_of(prompt))}
        scoring = [it.score(prompt, response=response, reference=reference, step=step) for it in asked.values()]
        return dict(zip(asked, await ask_all(scoring), strict=True))

    def sees_group(self, prompt: PromptRow) -> bool:
        """Whether a reward sees all responses to a prompt."""
        return any(self._applies(kind, source_of(prompt)) for kind in self._groups)

    async def add_group_rewards(
        self, faced: PromptInStep, responses: Sequence[ParsedResponse], results: Sequence[RewardResults]
    ) -> list[RewardResults]:
        """The results of a group's responses, with those of the rewards that see the whole group.

        A response that has no score of another reward is masked out of the update already, and takes no part.

        Args:
            faced: the prompt.
            responses: [G] in the order of their rows.
            results: [G] of `score`.
        """
        asked = {kind: it for kind, it in self._groups.items() if self._applies(kind, source_of(faced.prompt))}
        compared = [place for place, it in enumerate(results) if missing_cause(it) is None]
        if not asked or (self._flat_groups_only and have_spread([results[place] for place in compared])):
            return list(results)
        taking_part = [responses[place] for place in compared]
        of_kinds = await ask_all(it.score_group(faced, taking_part) for it in asked.values())
        whole: list[RewardResults] = []
        for place, own in enumerate(results):
            if (cause := missing_cause(own)) is not None:
                more = {kind: own.get(kind) or RewardResult(None, cause=cause) for kind in asked}
            else:
                row = compared.index(place)
                more = {kind: found[row] for kind, found in zip(asked, of_kinds, strict=True)}
            whole.append({**own, **more})
        return whole

    def _applies(self, kind: str, source: str | None) -> bool:
        sources = self._sources.get(kind)
        return sources is None or source in sources


class ArrivingGroup:
    """The responses to one prompt as they are written: what sees one response scores it at once, what sees the group scores
    it when the last one is there.

    Args:
        rewards: of the recipe.
        faced: the prompt.
        count: responses of the group.
    """

    def __init__(self, rewards: RewardSet, faced: PromptInStep, count: int) -> None:
        self._rewards, self._faced, self._count = rewards, faced, count
        self._arrived: dict[int, tuple[ParsedResponse, RewardResults]] = {}
        self._whole: list[RewardResults] = []
        self._error: BaseException | None = None
        self._is_done = asyncio.Event()

    async def score(self, place: int, response: ParsedResponse) -> RewardResults:
        """The results of all rewards for the response at a place in the group; each place is scored once.

        Raises:
            BadInputError, StoppedError: of a reward, for any response of a group that a reward sees as a whole.
        """
        faced = self._faced
        try:
            own = await self._rewards.score(faced.prompt, response=response, reference=faced.reference, step=faced.step)
            if not self._rewards.sees_group(faced.prompt):
                return own
            self._arrived[place] = (response, own)
            if len(self._arrived) == self._count:
                responses, results = zip(*(self._arrived[place] for place in range(self._count)), strict=True)
                self._whole = await self._rewards.add_group_rewards(faced, responses, results)
                self._is_done.set()
        except BaseException as error:
            self._error = error
            self._is_done.set()  # nobody waits for a response that will not come
            raise
        await self._is_done.wait()
        if self._error is not None:
            raise self._error
        return self._whole[place]


async def score_groups(
    rewards: RewardSet,
    faced: Sequence[PromptInStep | None],
    responses: Sequence[ParsedResponse],
    results: Sequence[RewardResults],
) -> list[RewardResults]:
    """The results of a whole step, with those of the rewards that see whole groups, which are scored concurrently.

    Args:
        rewards: of the recipe.
        faced: [P] the prompts; None for one whose responses are not scored.
        responses: [P x G], those of a prompt adjacent.
        results: [P x G] of `RewardSet.score`.
    """
    size = len(responses) // len(faced)

    async def scored(number: int) -> list[RewardResults]:
        rows = slice(number * size, (number + 1) * size)
        prompt = faced[number]
        return (
            list(results[rows])
            if prompt is None
            else await rewards.add_group_rewards(prompt, responses[rows], results[rows])
        )

    groups = await ask_all(scored(number) for number in range(len(faced)))
    return [it for group in groups for it in group]


def have_spread(results: Sequence[RewardResults]) -> bool:
    """Whether a reward tells responses of a group apart."""
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
        promotes_best: whether a group reward compares the best response with the reference that is faced.
        policy: of the recipe, which a likelihood reward may read with as it is at the start.
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
