"""Generates with the current weights of the policy and the engine of the recipe."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from longform.records.schemas import PromptRow
from longform.text.structure import Thinking
from longform.training.models import PolicyModels
from longform.wording import Wording
from longform.writers.decoding import Completion
from longform.writers.encoding import encode_prompts
from longform.writers.engines import write_completions
from longform.writers.served.server import EngineServer
from longform.writers.settings import GenerationSettings
from longform.writers.stops import find_stops


class PolicyWriter:
    """Writes with the policy of a run.

    Args:
        models: Models of the run.
        settings: Generation settings.
        seed: Sampling seed.
        server: Generation server of the engines vllm and sglang; None for other engines.
    """

    def __init__(
        self, models: PolicyModels, settings: GenerationSettings, *, seed: int, server: EngineServer | None = None
    ) -> None:
        self._models, self._settings, self._seed, self._server = models, settings, seed, server
        with models.as_policy() as policy:
            self._stops = find_stops(models.tokenizer, settings, generation_config=policy.generation_config)

    @property
    def thinking(self) -> Thinking:
        """The format of the responses."""
        return self._settings.think

    def encode(self, prompts: Sequence[PromptRow], *, wording: Wording | None = None) -> list[list[int]]:
        """The token ids of prompts; raises as `encode_prompts`."""
        return encode_prompts(self._models.tokenizer, prompts, settings=self._settings, wording=wording)

    def text(self, completion: Completion) -> str:
        """The text of a response."""
        return self._stops.response_text(completion.tokens)

    def write(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        step: int,
        first_row: int = 0,
        on_finished: Callable[[int, Completion], None] = lambda row, written: None,
    ) -> list[Completion]:
        """Generate a response to each prompt, given as token ids; see `write_completions`.

        A server loads the current weights first, and sleeps afterwards.

        Raises:
            BadInputError: the engine cannot run the model.
            StoppedError: the server cannot be used.
        """
        options: dict[str, Any] = {
            "seed": self._seed,
            "step": step,
            "first_row": first_row,
            "stops": self._stops,
            "settings": self._settings,
            "on_finished": on_finished,
        }
        if self._server is None:
            with self._models.as_policy() as policy, self._models.autocast():
                return write_completions(policy, prompts, **options)
        if self._models.device.type == "cuda":
            torch.cuda.empty_cache()  # for the server, where it shares the GPU
        self._server.load_weights(self._models.save_policy, are_adapters=self._models.has_adapters)
        completions = self._server.write(prompts, **options)
        self._server.sleep()
        return completions
