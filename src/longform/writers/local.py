"""A local transformers model as a writer. Prompts use the tokenizer's chat template if it has one, else plain text."""

from collections.abc import Sequence

import torch

from longform.records.schemas import PromptRow, Response
from longform.writers.decoding import decode_in_batches
from longform.writers.encoding import encode_prompts
from longform.writers.loading import load_model
from longform.writers.settings import GenerationSettings
from longform.writers.stops import find_stops
from longform.writers.think import build_response


class LocalWriter:
    """Generates responses with a model folder or hub id. `tokenizer` and `model` are the transformers objects."""

    def __init__(self, path: str, *, device: str | None = None) -> None:
        self.path = path
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer, self.model = load_model(path, device=self.device)

    def write(
        self,
        prompts: Sequence[PromptRow],
        *,
        settings: GenerationSettings,
        seed: int,
        name: str,
        sample: int = 0,
        first_row: int = 0,
    ) -> list[Response]:
        """Generate one response per prompt, in order, in batches of `settings.batch`.

        A response is a function of the model, the seed, the sample and its row.

        Args:
            prompts: The prompts.
            settings: Generation settings.
            seed: Sampling seed.
            name: Model name of the responses.
            sample: Numbers several responses to the same prompt.
            first_row: Row of the first prompt.
        """
        stops = find_stops(self.tokenizer, settings, generation_config=self.model.generation_config)
        finished = decode_in_batches(
            self.model,
            encode_prompts(self.tokenizer, prompts, settings=settings),
            seed=seed,
            step=-1 - sample,
            first_row=first_row,
            stops=stops,
            settings=settings,
        )
        return [
            build_response(
                prompt,
                stops.response_text(written.tokens),
                thinking=settings.think,
                model=name,
                sample=sample,
                finish_reason=written.finish_reason,
            )
            for prompt, written in zip(prompts, finished, strict=True)
        ]
