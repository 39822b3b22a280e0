"""Truncate a text in the middle if it is too long for a model's context.

The beginning and the end are kept because they contain the instructions. Token estimates are computed on pieces of the text,
so that the cost depends on the length kept, not on the length of the text.
"""

from collections.abc import Callable, Iterable, Sequence

from longform.text.words import estimate_tokens

_MAX_AT_ONCE = 2000
"""Characters per piece, and so the maximum that is cut unnecessarily at either end."""
_MIN_PIECES = 64


def cut_middle(text: str, limit: int) -> str:
    """Return `text` if it has at most `limit` estimated tokens, else its first and last `limit` / 2 tokens.

    Raises:
        ValueError: `limit` is below 2.
    """
    _check(limit)
    size = max(1, min(_MAX_AT_ONCE, limit // _MIN_PIECES))
    head, reached = _reach(_pieces(text, size), (limit // 2, limit))
    if reached == len(text):
        return text
    (tail,) = _reach(_pieces_from_end(text, size), (limit - limit // 2,))
    return text[:head] + text[max(head, len(text) - tail) :]


def cut_middle_tokens(
    text: str, limit: int, *, encode: Callable[[str], Sequence[int]], decode: Callable[[Sequence[int]], str]
) -> str:
    """Like `cut_middle`, with a tokenizer's exact counts, as published for LongBench v2.

    Args:
        text: The text.
        limit: Number of tokens to keep.
        encode: Tokenizes a text without special tokens.
        decode: Decodes token ids.

    Raises:
        ValueError: `limit` is below 2.
    """
    _check(limit)
    tokens = encode(text)
    if len(tokens) <= limit:
        return text
    return decode(tokens[: limit // 2]) + decode(tokens[len(tokens) - (limit - limit // 2) :])


def _check(limit: int) -> None:
    if limit < 2:
        raise ValueError(f"limit must be at least 2 tokens, got {limit}")


def _pieces(text: str, size: int) -> Iterable[str]:
    return (text[start : start + size] for start in range(0, len(text), size))


def _pieces_from_end(text: str, size: int) -> Iterable[str]:
    return (text[max(0, end - size) : end] for end in range(len(text), 0, -size))


def _reach(pieces: Iterable[str], limits: Sequence[int]) -> list[int]:
    """Return, for each limit in ascending order, how many characters fit into that many estimated tokens."""
    reaches = [0] * len(limits)
    reach = spent = 0
    for piece in pieces:
        spent += estimate_tokens(piece)
        if spent > limits[-1]:
            break
        reach += len(piece)
        reaches = [reach if spent <= limit else before for limit, before in zip(limits, reaches, strict=True)]
    return reaches
