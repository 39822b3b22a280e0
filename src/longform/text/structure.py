"""The structure of a response that thinks before it writes: one `<think>...</think>`, then one `<answer>...</answer>`.

LongWriter-Zero's format rule (arXiv 2506.18841): exactly one think followed by exactly one answer; its direct variant has
the answer alone. A missing `</answer>` at the very end is let through and flagged: generation stops at that tag, and a
response cut off at its longest length ends without it.

Where the structure is broken there is still an answer to be measured, what stands in the last answer block: otherwise a
base model that rarely gets the structure right could learn nothing but the structure at first.
"""

from typing import Literal, NamedTuple

Thinking = Literal["off", "on", "direct"]
"""What a response is made of: the answer and nothing else; a plan and an answer; an answer in tags."""

CLOSING_TAG = "</answer>"
_OTHER_TAGS = ("<think>", "</think>", "<answer>")


class Parts(NamedTuple):
    """A response taken apart; texts without white space around them."""

    think: str
    """The plan; empty where there is none."""
    answer: str
    """What is measured, judged and kept; empty where there is none."""
    sound: bool
    """Whether the structure is kept. A response without tags always keeps it where none are asked for."""
    closed: bool = True
    """False where `</answer>` is missing."""


def take_apart(text: str, thinking: Thinking) -> Parts:
    """The parts of a response.

    With tags missing, twice, out of order or nested, or with text outside of them, it is not `sound`: the plan is then
    what stands in the first think block, and the answer what follows the last `<answer>`, up to its closing tag.
    """
    if thinking == "off":
        return Parts("", text.strip(), True)
    sound = _parse_sound(text, thinking)
    if sound is not None:
        return sound
    think = text.partition("<think>")[2].partition("</think>")[0]
    _, opening, rest = text.rpartition("<answer>")
    answer, closing, _ = rest.partition(CLOSING_TAG) if opening else ("", "", "")
    return Parts(think.strip(), answer.strip(), False, bool(closing))


def _parse_sound(text: str, thinking: Thinking) -> Parts | None:
    """The parts of a response that keeps the structure, else None."""
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
    return Parts(think.strip(), answer.strip(), True, bool(closing))
