"""The think/answer structure of a response: one `<think>...</think>`, then one `<answer>...</answer>`.

LongWriter-Zero's format rule (arXiv 2506.18841): exactly one think followed by exactly one answer. A missing `</answer>`
at the very end is let through and flagged, since a response cut off at its longest length ends that way.
"""

from typing import NamedTuple

_TAGS = ("<think>", "</think>", "<answer>")
_CLOSING = "</answer>"


class ThinkAnswer(NamedTuple):
    """A well-formed response, taken apart; both texts without white space around them."""

    think: str
    answer: str
    closed: bool
    """False where `</answer>` is missing."""


def parse_think_answer(text: str) -> ThinkAnswer | None:
    """The parts of `text`; None where it breaks the structure: a tag missing, twice, out of order, or text outside."""
    if any(text.count(tag) != 1 for tag in _TAGS) or text.count(_CLOSING) > 1:
        return None
    before, _, rest = text.partition("<think>")
    think, closing_think, rest = rest.partition("</think>")
    between, opening_answer, rest = rest.partition("<answer>")
    answer, closing_answer, after = rest.partition(_CLOSING)
    in_order = closing_think and opening_answer and (closing_answer or _CLOSING not in text)
    if not in_order or before.strip() or between.strip() or after.strip():
        return None
    return ThinkAnswer(think.strip(), answer.strip(), bool(closing_answer))
