"""Mix sources by token share and pack them into full windows on disk before training.

Packing before training has three advantages: the number of epochs per source is known before any weight changes, the
device never waits for a tokenizer, and a position in the data is a window index. The windows take 4 bytes per token. TRL's
own packing is not used, because it packs a thousand rows at a time and pads the last window of each thousand.

Documents are separated by an end-of-text token. A document that does not fit into a window continues in the next one, and
attention crosses document boundaries, as is common in pretraining.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from datasets import Dataset

from longform.records.errors import BadInputError
from longform.training.supervised.pretrain_sources import Document, Documents

Encode = Callable[[Sequence[Document]], list[list[int]]]
"""Function from documents to their token ids, including end-of-text."""

_CHARACTERS_SHUFFLED = 64_000_000
_CHARACTERS_COUNTED = 4_000_000
_DOCUMENTS_ENCODED = 64
_WINDOWS_WRITTEN = 64
_SCHEMA = pa.schema([("input_ids", pa.list_(pa.int32()))])


class Counted(NamedTuple):
    """Size of one epoch of a source."""

    documents: int
    tokens: int
    exact: bool
    """False if only the beginning of the source was tokenized and the rest extrapolated."""


@dataclass(slots=True)
class Drawn:
    """Amounts drawn from a source."""

    documents: int = 0
    tokens: int = 0
    pass_tokens: int | None = None
    """Tokens of a full epoch, once one is complete."""


def build_encode(tokenizer: Any) -> Encode:
    """Build the function that tokenizes documents: any initial tokens of the tokenizer, text, response, end-of-text token.

    Raises:
        BadInputError: the tokenizer has no end-of-text token.
    """
    end = tokenizer.eos_token_id
    if end is None:
        raise BadInputError("policy: its tokenizer has no end-of-text token, which is needed to separate documents")

    def encode(documents: Sequence[Document]) -> list[list[int]]:
        texts = tokenizer([document.text for document in documents])["input_ids"]
        responses = tokenizer([document.response for document in documents], add_special_tokens=False)["input_ids"]
        opened = (text[:-1] if text[-1:] == [end] else text for text in texts)
        return [[*text, *response, end] for text, response in zip(opened, responses, strict=True)]

    return encode


def count_tokens(documents: Documents, encode: Encode) -> Counted:
    """Count a source's documents and tokens; the tokens of a large source are extrapolated from its beginning.

    Raises:
        BadInputError: a row cannot be read.
    """
    number = characters = encoded_characters = tokens = 0
    stream = documents.read(random.Random(0))
    while batch := list(islice(stream, _DOCUMENTS_ENCODED)):
        size = sum(map(_characters, batch))
        if characters < _CHARACTERS_COUNTED:
            tokens += sum(map(len, encode(batch)))
            encoded_characters += size
        number, characters = number + len(batch), characters + size
    exact = encoded_characters == characters
    return Counted(number, tokens if exact else round(tokens * characters / encoded_characters), exact)


def check_epochs(name: str, *, wanted: float, held: int, max_epochs: int) -> None:
    """Check that a source needs no more epochs than the recipe allows.

    Raises:
        BadInputError: it would need more than `max_epochs`.
    """
    if wanted > max_epochs * held:
        raise BadInputError(
            f"sources: {name!r} has {held:,} tokens and would need {wanted / held:.1f} epochs, more than "
            f"max_epochs={max_epochs}; add text, lower its share, or lower `tokens`"
        )


def mix(
    streams: Mapping[str, Iterator[Sequence[int]]], shares: Mapping[str, float], *, tokens: int
) -> Iterator[tuple[str, Sequence[int]]]:
    """Yield (source, document) pairs; each document comes from the source that is furthest below its share.

    No source ever exceeds its share of the tokens so far by more than one of its documents.

    Args:
        streams: Endless streams of tokenized documents, by source.
        shares: Token shares by source, which sum to 1.
        tokens: Total number of tokens; the last document is truncated.
    """
    drawn, total = dict.fromkeys(shares, 0), 0
    while total < tokens:
        name = max(shares, key=lambda it: shares[it] * total - drawn[it])
        document = next(streams[name])[: tokens - total]
        drawn[name] += len(document)
        total += len(document)
        yield name, document


def pack(documents: Iterable[Sequence[int]], *, window: int) -> Iterator[list[int]]:
    """Concatenate documents and split them into windows; an incomplete last window is dropped."""
    held: list[int] = []
    for document in documents:
        held.extend(document)
        full = len(held) - len(held) % window
        yield from (held[start : start + window] for start in range(0, full, window))
        del held[:full]


def write_windows(
    path: Path,
    sources: Mapping[str, Documents],
    shares: Mapping[str, float],
    encode: Encode,
    *,
    window: int,
    windows: int,
    max_epochs: int,
    seed: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Drawn]:
    """Write the mixture's windows to a file; they are a function of the sources and the seed.

    Args:
        path: Output file, for `read_windows`.
        sources: Sources by name.
        shares: Token shares by name.
        encode: Tokenizes documents.
        window: Tokens per window.
        windows: Number of windows.
        max_epochs: Maximum number of epochs over a source.
        seed: Seed of the document order.
        on_progress: Called with (windows written, windows).

    Returns:
        The amounts drawn from each source.

    Raises:
        BadInputError: a source cannot be read, has no text, or is too small for its share.
    """
    drawn = {name: Drawn() for name in sources}
    tokens = window * windows

    def tallied() -> Iterator[Sequence[int]]:
        streams = {
            name: _endless(
                name, source, drawn[name], encode, wanted=shares[name] * tokens, max_epochs=max_epochs, seed=seed
            )
            for name, source in sources.items()
        }
        for name, document in mix(streams, shares, tokens=tokens):
            drawn[name].documents += 1
            drawn[name].tokens += len(document)
            yield document

    packed, done = pack(tallied(), window=window), 0
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, _SCHEMA) as writer:
        while batch := list(islice(packed, _WINDOWS_WRITTEN)):
            writer.write_batch(pa.record_batch([pa.array(batch, _SCHEMA.field(0).type)], _SCHEMA))
            done += len(batch)
            on_progress(done, windows)
    return drawn


def read_windows(path: Path) -> Dataset:
    """Open the windows of `write_windows` as rows of `input_ids`, memory-mapped from disk."""
    return Dataset.from_file(str(path))


def shuffle(documents: Iterable[Document], stream: random.Random) -> Iterator[Document]:
    """Shuffle documents within a buffer of 64 million characters."""
    held: list[Document] = []
    size = 0
    for document in documents:
        held.append(document)
        size += _characters(document)
        while size > _CHARACTERS_SHUFFLED and len(held) > 1:
            index = stream.randrange(len(held))
            held[index], held[-1] = held[-1], held[index]
            size -= _characters(held[-1])
            yield held.pop()
    stream.shuffle(held)
    yield from held


def _characters(document: Document) -> int:
    return len(document.text) + len(document.response)


def _endless(
    name: str, source: Documents, drawn: Drawn, encode: Encode, *, wanted: float, max_epochs: int, seed: int
) -> Iterator[list[int]]:
    """Yield a source's documents epoch after epoch, each in a different order."""
    for number in count():
        stream = random.Random(f"{seed}/{name}/{number}")
        order, held = shuffle(source.read(stream), stream), 0
        while batch := list(islice(order, _DOCUMENTS_ENCODED)):
            for document in encode(batch):
                held += len(document)
                yield document
        if not held:
            raise BadInputError(f"sources: {name!r} contains no text")
        drawn.pass_tokens = held
        check_epochs(name, wanted=wanted, held=held, max_epochs=max_epochs)
