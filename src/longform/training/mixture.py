"""A mixture of sources by tokens, packed into full windows on disk before training begins.

Windows are made ahead, not during training: how often a source is passed over is known before a weight changes, the device
never waits for a tokenizer, and a place in the data is the number of a window. They take 4 bytes a token of the budget.
TRL's own packing is passed by: it packs a thousand rows at a time and fills the last window of each thousand with padding.

Documents follow one another with an end-of-text token between them, and one that does not fit goes on in the next window.
Attention reaches over documents, as is usual in pretraining.
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
from longform.training.pretrain_sources import Document, Documents

Encode = Callable[[Sequence[Document]], list[list[int]]]
"""Documents to their token ids, end-of-text included."""

_CHARACTERS_SHUFFLED = 64_000_000
_CHARACTERS_COUNTED = 4_000_000
_DOCUMENTS_ENCODED = 64
_WINDOWS_WRITTEN = 64
_SCHEMA = pa.schema([("input_ids", pa.list_(pa.int32()))])


class Counted(NamedTuple):
    """How much one pass over a source holds."""

    documents: int
    tokens: int
    exact: bool
    """False where only the first of its characters were turned into tokens."""


@dataclass(slots=True)
class Drawn:
    """What a mixture has taken from a source."""

    documents: int = 0
    tokens: int = 0
    pass_tokens: int | None = None
    """Tokens of a whole pass, once there was one."""


def build_encode(tokenizer: Any) -> Encode:
    """Texts to token ids: the tokenizer's own opening tokens, the text, any response to it, end-of-text.

    Raises:
        BadInputError: the tokenizer has no end-of-text token.
    """
    end = tokenizer.eos_token_id
    if end is None:
        raise BadInputError("policy: its tokenizer has no end-of-text token, which parts packed documents")

    def encode(documents: Sequence[Document]) -> list[list[int]]:
        texts = tokenizer([document.text for document in documents])["input_ids"]
        responses = tokenizer([document.response for document in documents], add_special_tokens=False)["input_ids"]
        opened = (text[:-1] if text[-1:] == [end] else text for text in texts)
        return [[*text, *response, end] for text, response in zip(opened, responses, strict=True)]

    return encode


def count_tokens(documents: Documents, encode: Encode) -> Counted:
    """Pass over a source once; all of a small one is turned into tokens, of a large one so much that the rest can be told.

    Raises:
        BadInputError: a row that cannot be read.
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
    """Refuse to pass over a source more often than the recipe allows.

    Raises:
        BadInputError: so it would be.
    """
    if wanted > max_epochs * held:
        raise BadInputError(
            f"sources: {name!r} holds {held:,} tokens and would be passed over {wanted / held:.1f} times, more than "
            f"max_epochs={max_epochs}; give it more text or a smaller share, or make `tokens` smaller"
        )


def mix(
    streams: Mapping[str, Iterator[Sequence[int]]], shares: Mapping[str, float], *, tokens: int
) -> Iterator[tuple[str, Sequence[int]]]:
    """Documents of all sources, the next one always from the source that is furthest below its share.

    No source is ever above its share of the tokens so far by more than one of its documents.

    Args:
        streams: endless documents of each source, as token ids.
        shares: of the tokens, by source; their sum is 1.
        tokens: how many there are in all; the last document is cut there.
    """
    drawn, total = dict.fromkeys(shares, 0), 0
    while total < tokens:
        name = max(shares, key=lambda it: shares[it] * total - drawn[it])
        document = next(streams[name])[: tokens - total]
        drawn[name] += len(document)
        total += len(document)
        yield name, document


def pack(documents: Iterable[Sequence[int]], *, window: int) -> Iterator[list[int]]:
    """One document after the other, cut into windows; what fills no window in the end is left out."""
    held: list[int] = []
    for document in documents:
        held.extend(document)
        full = len(held) - len(held) % window
        yield from (held[start : start + window] for start in range(0, full, window))
        del held[:full]


def write_windows(
    place: Path,
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
    """Write the mixture's windows to the file `place`, a function of the sources and the seed.

    Args:
        place: file for `read_windows`.
        sources: by name.
        shares: of the tokens, by name of the source.
        encode: turns documents into tokens.
        window: tokens in a window.
        windows: how many of them.
        max_epochs: how often a source may be passed over.
        seed: of the order of documents.
        on_progress: called with (windows written, windows).

    Returns:
        What was taken from each source.

    Raises:
        BadInputError: a source that cannot be read, holds no text, or is too small for its share.
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
    with pa.OSFile(str(place), "wb") as file, pa.ipc.new_stream(file, _SCHEMA) as writer:
        while batch := list(islice(packed, _WINDOWS_WRITTEN)):
            writer.write_batch(pa.record_batch([pa.array(batch, _SCHEMA.field(0).type)], _SCHEMA))
            done += len(batch)
            on_progress(done, windows)
    return drawn


def read_windows(place: Path) -> Dataset:
    """The rows `input_ids` that `write_windows` wrote, on disk until they are asked for."""
    return Dataset.from_file(str(place))


def shuffle(documents: Iterable[Document], stream: random.Random) -> Iterator[Document]:
    """Documents in an order drawn among those that are near each other, 64 million characters of them at a time."""
    held: list[Document] = []
    size = 0
    for document in documents:
        held.append(document)
        size += _characters(document)
        while size > _CHARACTERS_SHUFFLED and len(held) > 1:
            place = stream.randrange(len(held))
            held[place], held[-1] = held[-1], held[place]
            size -= _characters(held[-1])
            yield held.pop()
    stream.shuffle(held)
    yield from held


def _characters(document: Document) -> int:
    return len(document.text) + len(document.response)


def _endless(
    name: str, source: Documents, drawn: Drawn, encode: Encode, *, wanted: float, max_epochs: int, seed: int
) -> Iterator[list[int]]:
    """A source's documents, pass after pass, each in an order of its own."""
    for number in count():
        stream = random.Random(f"{seed}/{name}/{number}")
        order, held = shuffle(source.read(stream), stream), 0
        while batch := list(islice(order, _DOCUMENTS_ENCODED)):
            for document in encode(batch):
                held += len(document)
                yield document
        if not held:
            raise BadInputError(f"sources: {name!r} holds no text")
        drawn.pass_tokens = held
        check_epochs(name, wanted=wanted, held=held, max_epochs=max_epochs)
