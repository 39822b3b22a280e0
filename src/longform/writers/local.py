"""A local transformers model as a writer. Prompts use the tokenizer's chat template if it has one, else plain text."""

from collections.abc import Callable, Sequence

from longform.records.schemas import PromptRow, Response
from longform.writers.decoding import Completion
from longform.writers.device import choose_device, choose_precision
from longform.writers.encoding import encode_prompts
from longform.writers.engines import write_completions
from longform.writers.loading import load_model
from longform.writers.rope import settle_rope
from longform.writers.self_check import check_model
from longform.writers.settings import Device, GenerationSettings, LocalOptions, Precision
from longform.writers.stops import find_stops
from longform.writers.think import build_response


class LocalWriter:
    """Generates responses with a model folder or hub id. `tokenizer` and `model` are the transformers objects.

    Args:
        path: Folder or hub id of the model.
        device: Where it runs.
        precision: Of its weights.
        trust_remote_code: Whether code in its folder may run.

    Raises:
        BadInputError: it cannot be loaded, or the device is not there.
    """

    def __init__(
        self, path: str, *, device: Device = "auto", precision: Precision = "float32", trust_remote_code: bool = False
    ) -> None:
        self.path = path
        self.device = choose_device(device)
        dtype = choose_precision(precision, self.device)
        self.tokenizer, self.model = load_model(
            path, device=self.device, dtype=dtype, trust_remote_code=trust_remote_code
        )

    @classmethod
    def open(cls, path: str, options: LocalOptions) -> "LocalWriter":
        """Load a model as the options say; raises as the class does."""
        return cls(
            path,
            device=options.device,
            precision=options.precision,
            trust_remote_code=options.trust_remote_code,
        )

    def longest_prompt(self, prompts: Sequence[PromptRow], settings: GenerationSettings) -> int:
        """The longest of the prompts as the model reads them, in tokens."""
        return max(map(len, encode_prompts(self.tokenizer, prompts, settings=settings)))

    def prepare(self, settings: GenerationSettings, *, longest_prompt: int, self_check: bool = True) -> None:
        """Prepare the model for texts of this length, and let it prove that it can write (writers/self_check.py).

        Raises:
            BadInputError: a check failed.
        """
        settle_rope(self.model, longest=longest_prompt + settings.max_tokens)
        if self_check:
            check_model(self.model, self.tokenizer, path=self.path, settings=settings, longest_prompt=longest_prompt)

    def write(
        self,
        prompts: Sequence[PromptRow],
        *,
        settings: GenerationSettings,
        seed: int,
        name: str,
        sample: int = 0,
        first_row: int = 0,
        on_response: Callable[[Response], None] = lambda response: None,
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
            on_response: Called with each response as soon as it is finished, while others are being written.
        """
        stops = find_stops(self.tokenizer, settings, generation_config=self.model.generation_config)
        responses: dict[int, Response] = {}

        def finish(row: int, written: Completion) -> None:
            responses[row] = build_response(
                prompts[row],
                stops.response_text(written.tokens),
                thinking=settings.think,
                model=name,
                sample=sample,
                finish_reason=written.finish_reason,
            )
            on_response(responses[row])

        write_completions(
            self.model,
            encode_prompts(self.tokenizer, prompts, settings=settings),
            seed=seed,
            step=-1 - sample,
            first_row=first_row,
            stops=stops,
            settings=settings,
            on_finished=finish,
        )
        return [responses[row] for row in range(len(prompts))]
