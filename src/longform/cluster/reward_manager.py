"""Runs the rewards of the local engine in verl's reward workers.

A worker does not raise if a judge call fails, because verl would then drop the response. The response is returned without a
score, and the trainer masks it.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from verl import DataProto
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from longform.cluster.actor_client import RemoteEndpoint, find_actor
from longform.cluster.prompt_table import read_prompt
from longform.cluster.reward_payload import RewardPayload, extra_fields
from longform.cluster.run_actor import Opened
from longform.judging.examiner import Examined, TextExaminer
from longform.records.database import ValidationText
from longform.records.errors import BadInputError, StoppedError
from longform.records.schemas import Prompt
from longform.rewards.reward import RewardResults, scores_by_kind
from longform.rewards.reward_set import build_rewards
from longform.rewards.settings import FormatSettings, GroupSettings, RewardSettings, WritingSettings
from longform.text.structure import ParsedResponse, Thinking, parse_response
from longform.wording import load_wording
from longform.writers.stops import find_stops


class LongformRewardManager(RewardManagerBase):
    """verl calls `run_single` for each response, concurrently on the event loop of the worker."""

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any = None, **_: Any) -> None:
        super().__init__(config, tokenizer, compute_score)
        self._name = config.trainer.experiment_name
        self._longest = config.data.max_response_length
        self._opened: Opened | None = None

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """The rewards of a response, or the examiner's grade of a validation text.

        Returns:
            `reward_score`: the weighted mean of the rewards of one response, 0 if one is missing; `reward_extra_info`: the
            payload.
        """
        item = data[-1]
        info, ids = item.non_tensor_batch["extra_info"], self._response_ids(item)
        try:
            await self._open()
        except BadInputError as error:  # a reward model or a plugin that is not on this node
            return _stopped(error, "", ParsedResponse("", "", False), "stop", len(ids))
        tokens = torch.tensor(ids)
        text = self._stops.response_text(tokens)
        is_cut = len(ids) >= self._longest and not self._stops.are_reached(tokens)
        if info["split"] != "train":
            return await self._validate(info, text)
        finish_reason = "length" if is_cut else "stop"
        response = parse_response(text, self._thinking)._replace(is_cut_off=is_cut)
        try:
            results = await self._rewards.score(
                read_prompt(info), response=response, reference=info["reference"], step=info["step"]
            )
        except (BadInputError, StoppedError) as error:
            return _stopped(error, text, response, finish_reason, len(ids))
        payload = RewardPayload(text, response, results, finish_reason, len(ids))
        return {"reward_score": self._mean(results), "reward_extra_info": extra_fields(payload)}

    async def _open(self) -> None:
        """Get the run from its actor; workers start before the run is known."""
        if self._opened is not None:
            return
        actor = find_actor(self._name)
        opened: Opened = await actor.opened.remote()
        if self._opened is not None:  # a concurrent call was faster
            return
        recipe, endpoints, wording = opened.recipe, {}, load_wording(opened.wording)
        for name, spec in opened.judges.items():
            endpoints[name] = RemoteEndpoint(name, spec, actor)
        self._thinking: Thinking = recipe.generation.think
        self._stops = find_stops(self.tokenizer, recipe.generation)
        self._weights = dict(zip((it.kind for it in recipe.rewards), recipe.weights, strict=True))
        self._rewards = build_rewards(
            # Groups are compared by the run actor, where all of their responses meet.
            placed_rewards([it for it in recipe.rewards if not isinstance(it, GroupSettings)], opened.folder),
            endpoints,
            secret=opened.secret,
            seed=recipe.run.seed,
            wording=wording,
            folder=opened.folder,
        )
        self._examiner = None
        if recipe.validation is not None:
            self._examiner = TextExaminer(
                endpoints[recipe.validation.judge],
                secret=opened.secret,
                wording=wording,
                per_criterion=recipe.validation.per_criterion,
                without_criteria=recipe.validation.without_criteria,
            )
        self._actor, self._opened = actor, opened

    @staticmethod
    def _response_ids(item: Any) -> list[int]:
        responses = item.batch["responses"]
        count = int(item.batch["attention_mask"][-responses.shape[-1] :].sum())
        return responses[:count].tolist()

    def _mean(self, results: RewardResults) -> float:
        scores = scores_by_kind(results)
        if not scores:
            return 0.0
        return sum(self._weights[kind] * score for kind, score in scores.items()) / sum(
            self._weights[kind] for kind in scores
        )

    async def _validate(self, info: dict[str, Any], text: str) -> dict[str, Any]:
        """Grade a validation text, which never promotes."""
        prompt = Prompt.model_validate_json(info["row"])
        answer = parse_response(text, self._thinking).answer
        examined = Examined(None, None, None)
        if self._examiner is not None:
            # After an error the next training step fails for the same reason, and reports it.
            with suppress(BadInputError, StoppedError):
                examined = await self._examiner.examine(prompt, answer, step=0)
        await self._actor.validated.remote(ValidationText(0, prompt.id, prompt.request, text, *examined))
        return {"reward_score": examined.grade or 0.0, "reward_extra_info": {}}


def _stopped(
    error: BadInputError | StoppedError, text: str, response: ParsedResponse, finish_reason: str, tokens: int
) -> dict[str, Any]:
    """A result that makes the trainer stop the run, returned like any other."""
    needs_fix = isinstance(error, BadInputError)
    payload = RewardPayload(text, response, {}, finish_reason, tokens, stopped=str(error), needs_fix=needs_fix)
    return {"reward_score": 0.0, "reward_extra_info": extra_fields(payload)}


def placed_rewards(rewards: Sequence[RewardSettings], folder: Path) -> list[RewardSettings]:
    """The rewards with absolute paths of models, because workers of an existing cluster have other working directories. A
    name that is not a folder below `folder` is a hub id, or already absolute.
    """

    def place(name: str) -> str:
        return str(folder / name) if (folder / name).is_dir() else name

    def placed(it: RewardSettings) -> RewardSettings:
        if isinstance(it, WritingSettings):
            return it.model_copy(update={"model": [place(name) for name in it.models]})
        if isinstance(it, FormatSettings) and it.slop_list is not None:
            return it.model_copy(update={"slop_list": folder / it.slop_list})
        return it

    return [placed(it) for it in rewards]
