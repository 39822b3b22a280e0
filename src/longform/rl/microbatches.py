"""Cutting a batch into micro-batches that fit into memory."""

from collections.abc import Sequence


def cut_by_tokens(lengths: Sequence[int], *, max_tokens: int) -> list[list[int]]:
    """Positions of rows in pieces of at most `max_tokens` tokens, padding included; a longer row is a piece of its own.

    Rows of similar length share a piece, which keeps the padding small. The longest rows come first.

    Args:
        lengths: Tokens of each row.
        max_tokens: Tokens of a piece: rows times the longest of them.
    """
    pieces: list[list[int]] = []
    room = 0
    for place in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if room < 1:
            pieces.append([])
            room = max(max_tokens // lengths[place], 1)
        pieces[-1].append(place)
        room -= 1
    return pieces
