"""Cutting a batch into micro-batches that fit into memory."""

from collections.abc import Sequence


def cut_by_tokens(lengths: Sequence[int], *, max_tokens: int, packed: bool = False) -> list[list[int]]:
    """Positions of rows in pieces of at most `max_tokens` tokens, padding included; a longer row is a piece of its own.

    Rows of similar length share a piece, which keeps the padding small. The longest rows come first.

    Args:
        lengths: Tokens of each row.
        max_tokens: Tokens of a piece: rows times the longest of them, or packed the sum of their lengths.
        packed: Whether rows stand end to end, without padding.
    """
    pieces: list[list[int]] = []
    room = width = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        needed = lengths[row] if packed else width
        if not pieces or room < needed:
            pieces.append([])
            room, width = max_tokens, lengths[row]
            needed = width
        pieces[-1].append(row)
        room -= needed
    return pieces
