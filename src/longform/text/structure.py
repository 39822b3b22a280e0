"""The structure of a response that plans before it writes: one `<think>...</think>`, then one `<answer>...</answer>`.

LongWriter-Zero's format rule (arXiv 2506.18841): exactly one think block followed by exactly one answer block; the direct
variant has the answer alone. A missing `</answer>` at the very end is accepted and flagged: generation stops at that tag,
and a response that was cut off ends without it.

A malformed response still has an answer to score, the content of its last answer block. Otherwise a base model that rarely
produces the structure could learn only the structure at first.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from longform.text.thoughts import split_thoughts

Thinking = Literal["off", "on", "direct"]
"""Format of a response: `off`: the answer alone; `on`: a plan and an answer in tags; `direct`: an answer in tags."""

OPENING_TAG, CLOSING_TAG = "<think>", "</answer>"
_OTHER_TAGS = (OPENING_TAG, "</think>", "<answer>")


class ParsedResponse(NamedTuple):
    """The parts of a response, without surrounding white space."""

    think: str
    """The plan, or the thoughts of a reasoning model; empty if there is none."""
    answer: str
    """The text that is measured, judged and stored; empty if there is none."""
    well_formed: bool
    """Whether the response follows the requested format; always True without thinking."""
    closed: bool = True
    """False if `</answer>` is missing, or if the response ends within its thoughts."""
    is_cut_off: bool = False
    """Whether the token limit ended it, which the text alone does not tell: set by those who know."""


def parse_response(text: str, thinking: Thinking) -> ParsedResponse:
    """Parse a response.

    A response is not well-formed if tags are missing, repeated, out of order or nested, or if there is text outside of them.
    The plan is then the content of the first think block, and the answer the text after the last `<answer>`, up to its
    closing tag.
    """
    if thinking == "off":
        split = split_thoughts(text)
        return ParsedResponse(split.thoughts, split.text.strip(), True, split.is_complete)
    parsed = _parse_well_formed(text, thinking)
    if parsed is not None:
        return parsed
    think = text.partition("<think>")[2].partition("</think>")[0]
    _, opening, rest = text.rpartition("<answer>")
    answer, closing, _ = rest.partition(CLOSING_TAG) if opening else ("", "", "")
    return ParsedResponse(think.strip(), answer.strip(), False, bool(closing))


def is_well_formed(meta: Mapping[str, Any]) -> bool:
    """Whether a stored response's `meta` marks it as well-formed; older files name the field `sound`."""
    return meta.get("well_formed", meta.get("sound")) is True


def _parse_well_formed(text: str, thinking: Thinking) -> ParsedResponse | None:
    """Parse a well-formed response; None if it is malformed."""
    expected = _OTHER_TAGS if thinking == "on" else ("<answer>",)
    if any(text.count(tag) != (tag in expected) for tag in _OTHER_TAGS) or text.count(CLOSING_TAG) > 1:
        return None
    outside, _, rest = text.partition("<answer>")
    answer, closing, after = rest.partition(CLOSING_TAG)
    think, in_order = "", bool(closing) or CLOSING_TAG not in text
    if thinking == "on":
        before, _, tail = outside.partition("<think>")
        think, end_of_think, between = tail.partition("</think>")
        in_order = in_order and bool(end_of_think)
        outside = before + between
    if not in_order or outside.strip() or after.strip():
        return None
    return ParsedResponse(think.strip(), answer.strip(), True, bool(closing))
