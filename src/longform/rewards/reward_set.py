"""All rewards of a recipe on one response, computed concurrently."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from longform.endpoints.client import Endpoint
from longform.judging.judge import ask_all
from longform.judging.pairwise import PairwiseJudge, PairwisePanel
from longform.judging.pointwise import PointwiseJudge, PointwisePanel
from longform.records.schemas import PromptRow, source_of
from longform.rewards.judged import VALUES, PairwiseReward, PointwiseReward
from longform.rewards.measured import AnswerReward, FormatReward, LengthReward
from longform.rewards.plugin import PluginReward, load_reward
from longform.rewards.reward import Reward, RewardResults
from longform.rewards.settings import (
    AnswerSettings,
    FormatSettings,
    JudgedSettings,
    LengthSettings,
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
        rewards: in the order of the recipe.
        sources: of data, whose prompts a reward is for; a kind that is missing or None is for all.
    """

    def __init__(
        self, rewards: Mapping[str, Reward], sources: Mapping[str, Sequence[str] | None] | None = None
    ) -> None:
        self._rewards, self._sources = rewards, sources or {}

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> RewardResults:
        """The result of every reward for a response, without those that are not for the source of its prompt."""
        asked = {kind: it for kind, it in self._rewards.items() if self._applies(kind, source_of(prompt))}
        scoring = [it.score(prompt, response=response, reference=reference, step=step) for it in asked.values()]
        return dict(zip(asked, await ask_all(scoring), strict=True))

    def _applies(self, kind: str, source: str | None) -> bool:
        sources = self._sources.get(kind)
        return sources is None or source in sources


def build_rewards(
    settings: Sequence[RewardSettings],
    endpoints: Mapping[str, Endpoint],
    *,
    secret: bytes,
    seed: int,
    wording: Wording | None = None,
    folder: Path | None = None,
) -> RewardSet:
    """The rewards of a recipe.

    Args:
        settings: of the recipe.
        endpoints: by name; holds every judge that the settings name.
        secret: the run's secret, from which the tags of the fences are derived.
        seed: the run's.
        wording: of the judges' questions.
        folder: where the modules of plugins may be; the current folder by default.

    Raises:
        BadInputError: a model or a plugin that a reward needs cannot be loaded.
    """
    rewards: dict[str, Reward] = {}
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
            case PluginRewardSettings():
                rewards[it.kind] = PluginReward(load_reward(it, folder=folder), it)
            case _:
                rewards[it.kind] = _judged_reward(it, endpoints, secret=secret, seed=seed, wording=wording)
    return RewardSet(rewards, {it.kind: it.sources for it in settings})


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
    settings: JudgedSettings, endpoints: Mapping[str, Endpoint], *, secret: bytes, seed: int, wording: Wording | None
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
