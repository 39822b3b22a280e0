"""Candidates: responses of one writer to every prompt, resumable response by response."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from longform.endpoints.errors import EndpointError
from longform.records.collection import Collection
from longform.records.schemas import Prompt, Response
from longform.selection.gathering import for_each
from longform.writers.endpoint import EndpointWriter
from longform.writers.settings import GenerationSettings

if TYPE_CHECKING:
    from longform.writers.local import LocalWriter

Progress = Callable[[int, int], None]
"""Called with (done, total)."""


@dataclass(slots=True)
class Gathered:
    """What a long command has to show."""

    out: Path
    rows: int = 0
    """Rows in `out`, those of earlier commands among them."""
    added: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """Requests without a result, by cause. The same command tries them again."""


async def generate(
    prompts: Sequence[Prompt], writer: EndpointWriter, *, samples: int, out: Path, on_progress: Progress
) -> Gathered:
    """Responses of a writer behind an endpoint, added to those that `out` already holds.

    Raises:
        BadInputError: the endpoint is down or refuses the key, or `out` cannot be written.
        StoppedError: the budget is spent.
    """
    result = Gathered(out)
    with Collection(out, Response) as collection:
        missing = [key for key in _keys(prompts, writer.endpoint.name, samples) if key not in collection]
        by_id = {prompt.id: prompt for prompt in prompts}

        async def write(key: tuple[str, str, int]) -> None:
            try:
                collection.add(await writer.write(by_id[key[0]], sample=key[2]))
                result.added += 1
            except EndpointError as error:
                result.failures[error.cause] += 1
            on_progress(result.added + result.failures.total(), len(missing))

        await for_each(missing, write, workers=writer.endpoint.spec.concurrency)
        result.rows = collection.finish(list(_keys(prompts, writer.endpoint.name, samples)))
    return result


def generate_locally(
    prompts: Sequence[Prompt],
    writer: "LocalWriter",
    *,
    name: str,
    samples: int,
    settings: GenerationSettings,
    seed: int,
    out: Path,
    on_progress: Progress,
) -> Gathered:
    """Responses of a local model, added to those that `out` already holds; `name` is the model name they carry."""
    result = Gathered(out)
    with Collection(out, Response) as collection:
        for sample in range(samples):
            # Whole batches, as an uninterrupted command would make them: a text can hang on its batch by a rounding.
            for start in range(0, len(prompts), settings.batch):
                chunk = prompts[start : start + settings.batch]
                if any((prompt.id, name, sample) not in collection for prompt in chunk):
                    for response in writer.write(
                        chunk, settings=settings, seed=seed, name=name, sample=sample, first_row=start
                    ):
                        if response.key not in collection:
                            collection.add(response)
                            result.added += 1
                on_progress(sample * len(prompts) + start + len(chunk), samples * len(prompts))
        result.rows = collection.finish(list(_keys(prompts, name, samples)))
    return result


def _keys(prompts: Sequence[Prompt], model: str, samples: int) -> Iterator[tuple[str, str, int]]:
    return ((prompt.id, model, sample) for prompt in prompts for sample in range(samples))
