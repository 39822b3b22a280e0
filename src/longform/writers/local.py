"""A local transformers model as a writer: loaded here, or on a server on this machine.

Prompts use the tokenizer's chat template if it has one, else plain text.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from transformers import GenerationConfig

from longform.records.schemas import PromptRow, Response
from longform.writers.decoding import Completion
from longform.writers.device import choose_device, choose_precision
from longform.writers.encoding import encode_prompts
from longform.writers.engines import write_completions
from longform.writers.loading import context_length, load_config, load_model, load_tokenizer
from longform.writers.paths import adapter_rank, holds_adapters, model_below
from longform.writers.rope import settle_rope
from longform.writers.self_check import check_context, check_model
from longform.writers.served.server import EngineServer, check_server, open_server
from longform.writers.settings import SERVED, Device, GenerationSettings, LocalOptions, Precision
from longform.writers.stops import Stops, find_stops
from longform.writers.think import build_response


class LocalWriter:
    """Generates responses with a model folder or hub id. Use it as a context.

    Args:
        path: Folder or hub id of the model.
        device: Where it runs.
        precision: Of its weights.
        trust_remote_code: Whether code in its folder may run.

    Raises:
        BadInputError: it cannot be loaded, or this machine lacks the device.
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server, if there is one."""

    @property
    def context(self) -> int | None:
        """Context length of the model in tokens; None if its configuration does not state it."""
        return context_length(self.model.config)

    @property
    def precision(self) -> str:
        """Type of its weights, such as float32."""
        return str(self.model.dtype).removeprefix("torch.")

    def longest_prompt(self, prompts: Sequence[PromptRow], settings: GenerationSettings) -> int:
        """Number of tokens of the longest prompt, with the chat template."""
        return max(map(len, encode_prompts(self.tokenizer, prompts, settings=settings)))

    def prepare(self, settings: GenerationSettings, *, longest_prompt: int, self_check: bool = True) -> None:
        """Prepare the model for prompts and responses of this length, and run the self-check (writers/self_check.py).

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
        stops = self._stops(settings)
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

        self._write(
            encode_prompts(self.tokenizer, prompts, settings=settings),
            seed=seed,
            step=-1 - sample,
            first_row=first_row,
            stops=stops,
            settings=settings,
            on_finished=finish,
        )
        return [responses[row] for row in range(len(prompts))]

    def _stops(self, settings: GenerationSettings) -> Stops:
        return find_stops(self.tokenizer, settings, generation_config=self.model.generation_config)

    def _write(self, prompts: Sequence[Sequence[int]], **options: Any) -> None:
        write_completions(self.model, prompts, **options)


class ServedWriter(LocalWriter):
    """A local model on a server of the engine vllm or sglang; this process loads only its configuration and tokenizer.

    Args:
        path: Folder or hub id of the model, or a folder of adapters.
        options: How it is loaded.

    Raises:
        BadInputError: it cannot be loaded.
    """

    def __init__(self, path: str, options: LocalOptions) -> None:
        self.path, self._options, self._server = path, options, None
        self.tokenizer = load_tokenizer(path, trust_remote_code=options.trust_remote_code)
        self._config = load_config(path, trust_remote_code=options.trust_remote_code)
        self._dtype = choose_precision(options.precision, choose_device(options.device))

    @property
    def context(self) -> int | None:  # noqa: D102
        return context_length(self._config)

    @property
    def precision(self) -> str:  # noqa: D102
        return str(self._dtype).removeprefix("torch.")

    def prepare(self, settings: GenerationSettings, *, longest_prompt: int, self_check: bool = True) -> None:  # noqa: ARG002
        """Start the server, for texts of this length; `self_check` is for models that are loaded here.

        Raises:
            BadInputError: it is not installed, or ends while it starts; or nothing answers at its address.
            StoppedError: it does not answer.
        """
        self.close()
        check_server(settings)
        check_context(self._config, path=self.path, settings=settings, longest_prompt=longest_prompt)
        adapters = Path(self.path) if holds_adapters(self.path) else None
        server = open_server(
            settings,
            model=model_below(self.path),
            longest=longest_prompt + settings.max_tokens,
            precision="float32" if self.precision == "float32" else "bfloat16",
            adapter_rank=None if adapters is None else adapter_rank(adapters),
            trust_remote_code=self._options.trust_remote_code,
        )
        assert isinstance(server, EngineServer)
        self._server = server.__enter__()
        if adapters is not None:
            self._server.use_adapters(adapters)

    def close(self) -> None:  # noqa: D102
        if self._server is not None:
            self._server.close()

    def _stops(self, settings: GenerationSettings) -> Stops:
        try:
            generation = GenerationConfig.from_pretrained(model_below(self.path))
        except (OSError, ValueError):  # it has none, or one that transformers refuses
            generation = None
        return find_stops(self.tokenizer, settings, generation_config=generation)

    def _write(self, prompts: Sequence[Sequence[int]], **options: Any) -> None:
        assert self._server is not None, "prepare comes first"
        self._server.write(prompts, **options)


def open_writer(path: str, options: LocalOptions) -> LocalWriter:
    """Open a local model with the engine of the options; raises as `LocalWriter` and `ServedWriter` do."""
    if options.engine in SERVED:
        return ServedWriter(path, options)
    return LocalWriter(
        path, device=options.device, precision=options.precision, trust_remote_code=options.trust_remote_code
    )
