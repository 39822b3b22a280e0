"""Cutting the middle out of a text that is longer than its reader can take in.

Beginning and end stay, since instructions stand there. By the estimate of tokens a text is looked at in pieces, so that the
cost hangs on what is kept and not on how long the text is.
"""

from collections.abc import Callable, Iterable, Sequence

from longform.text.words import estimate_tokens

_MAX_AT_ONCE = 2000
"""Characters that are estimated together, and so the most that is cut needlessly at either end."""
_MIN_PIECES = 64


def cut_middle(text: str, limit: int) -> str:
    """`text` itself where its pieces are estimated to have at most `limit` tokens; else its first and its last `limit` / 2.

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
    """The same by a tokenizer's own count, as LongBench v2 publishes it.

    Args:
        text: to be cut.
        limit: tokens to keep.
        encode: a text's token ids, without special ones.
        decode: the text of token ids.

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
        raise ValueError(f"needs room for at least 2 tokens, got {limit}")


def _pieces(text: str, size: int) -> Iterable[str]:
    return (text[start : start + size] for start in range(0, len(text), size))


def _pieces_from_end(text: str, size: int) -> Iterable[str]:
    return (text[max(0, end - size) : end] for end in range(len(text), 0, -size))


def _reach(pieces: Iterable[str], limits: Sequence[int]) -> list[int]:
    """For each of the limits, in ascending order: characters of the pieces that come before more tokens than that do."""
    reaches = [0] * len(limits)
    reach = spent = 0
    for piece in pieces:
        spent += estimate_tokens(piece)
        if spent > limits[-1]:
            break
        reach += len(piece)
        reaches = [reach if spent <= limit else before for limit, before in zip(limits, reaches, strict=True)]
    return reaches
