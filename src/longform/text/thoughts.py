"""Separating what a reasoning model thinks before its answer from the answer.

Servers with a reasoning parser return thoughts in a field of their own. Others leave them in the content: between tags,
after an opening tag that the chat template has already written (so that only the closing one is in the content), or in
harmony channels (gpt-oss). Thoughts are never judged, counted as words, or used as references.
"""

import re
from typing import NamedTuple

_TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<thoughts>": "</thoughts>",
    "<reasoning>": "</reasoning>",
    "<reflection>": "</reflection>",
    "<seed:think>": "</seed:think>",
    "<longcat_think>": "</longcat_think>",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<unused94>": "<unused95>",
    "<|inner_prefix|>": "<|inner_suffix|>",
    "◁think▷": "◁/think▷",
    "[THINK]": "[/THINK]",
    "[unused16]": "[unused17]",
    "[BEGIN FINAL THINKING]": "[END FINAL THINKING]",
    "<|channel>thought": "<channel|>",
}
_CLOSING_OF = {opening.casefold(): re.compile(re.escape(closing), re.I) for opening, closing in _TAGS.items()}
# Models that mark the answer as well: what is inside these is the text.
_ANSWER_TAGS = {
    "<|begin_of_solution|>": "<|end_of_solution|>",
    "<|START_RESPONSE|>": "<|END_RESPONSE|>",
    "<|START_TEXT|>": "<|END_TEXT|>",
    "[BEGIN FINAL RESPONSE]": "[END FINAL RESPONSE]",
    "<response>": "</response>",
}
# Behind thoughts that are not marked themselves.
_ANSWER_BEGINS = "[BEGIN FINAL RESPONSE]"
TAGS = (*_TAGS, *_TAGS.values(), *_ANSWER_TAGS, *_ANSWER_TAGS.values())
"""All that an answer is split at."""
_OPENING = re.compile("|".join(map(re.escape, _TAGS)), re.IGNORECASE)
_CLOSING = re.compile("|".join(map(re.escape, _TAGS.values())), re.IGNORECASE)
_ROLE = re.compile(
    r"\s*+(?:<\|im_start\|>|<\|start_header_id\|>|<start_of_turn>|<s>)?\s*+"
    rf"(?:(?:assistant|model)\b(?:<\|end_header_id\|>)?|<[|｜]assistant[|｜]>)\s*(?={_OPENING.pattern})",
    re.IGNORECASE,
)
"""The head of the turn, as a server returns it that does not cut off what its template wrote."""
_BLANK = re.compile(r"\s+")
_BARE_CHANNEL = re.compile(r"analysis(?:(?=[A-Z\u4e00-\u9fff])|(?=.*?assistantfinal))", re.DOTALL)
"""A harmony channel without its tokens, as a server prints it that drops special tokens: `analysisWe need ...`."""
_BARE_FINAL = "assistantfinal"
_CHANNEL_BEGINS = ("<|channel|>", "<|start|>assistant<|channel|>")
_NEXT_CHANNEL = "<|end|><|start|>assistant<|channel|>"
"""Behind a channel whose beginning the chat template wrote."""
_CHANNEL = re.compile(
    r"(?:<\|start\|>assistant)?<\|channel\|>\s*(\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>(.*?)"
    r"(?=<\|end\|>|<\|return\|>|<\|call\|>|<\|start\|>|<\|channel\|>|\Z)",
    re.DOTALL,
)


class SplitText(NamedTuple):
    """A model's output, split."""

    thoughts: str
    """Without the tags; empty if there are none."""
    text: str
    """The answer."""
    is_complete: bool = True
    """False if the output ends inside the thoughts, so that there is no answer."""


def split_thoughts(content: str) -> SplitText:
    """Split the content of an answer into thoughts and text.

    Only thoughts at the very beginning count: a tag later in the content is part of the text. A closing tag without an
    opening one ends thoughts whose opening tag the chat template wrote. Content without thoughts is returned unchanged.
    """
    thoughts, at = [], 0
    while ended := _next_thoughts(content, at):  # some models think twice
        thoughts.append(content[ended.start : ended.end].strip())
        at = ended.text
    rest = _split_unended(content[at:])
    if not at:
        return rest
    return SplitText("\n\n".join(filter(None, (*thoughts, rest.thoughts))), _answer(rest.text), rest.is_complete)


class _Thoughts(NamedTuple):
    """Positions of thoughts that a tag ends."""

    start: int
    end: int
    text: int
    """Where the text behind the closing tag begins."""


def _next_thoughts(content: str, at: int) -> _Thoughts | None:
    """The thoughts at a position that a closing tag ends; None if the text begins there, or thoughts of another form."""
    start = _begin(content, at)
    if content.startswith((*_CHANNEL_BEGINS, *_ANSWER_TAGS), start):
        return None
    opening = _OPENING.match(content, start)
    if opening is not None:
        closing = _CLOSING_OF[opening[0].casefold()].search(content, opening.end())
        return None if closing is None else _Thoughts(opening.end(), *closing.span())
    closing = _CLOSING.search(content, at)
    if closing is None or _OPENING.search(content, at, closing.start()):
        return None
    return _Thoughts(at, *closing.span())


def _split_unended(content: str) -> SplitText:
    """Split content without a closing tag of thoughts."""
    start = content[_begin(content) :]
    if start.startswith(_CHANNEL_BEGINS):
        return _split_channels(start)
    if _BARE_CHANNEL.match(start):
        thoughts, final, text = start.removeprefix("analysis").partition(_BARE_FINAL)
        return SplitText(thoughts.strip(), text.strip(), is_complete=bool(final))
    opening = _OPENING.match(start)
    if opening is not None:
        return SplitText(start[opening.end() :].strip(), "", is_complete=False)
    if _NEXT_CHANNEL in start:
        return _split_channels(f"<|channel|>analysis<|message|>{start.removeprefix('<|message|>')}")
    before, begins, _ = content.partition(_ANSWER_BEGINS)
    if begins:
        return SplitText(before.strip(), _answer(content[len(before) :]))
    return SplitText("", content)


def _begin(content: str, at: int = 0) -> int:
    """Where the content after a position begins, without white space and the head of the turn."""
    found = _ROLE.match(content, at) or _BLANK.match(content, at)
    return found.end() if found else at


def may_hold_thoughts(content: str) -> bool:
    """Whether `split_thoughts` is worth its time on a text that was read from a file: most have no tag of thoughts."""
    begin = _begin(content)
    return "</think" in content or content.startswith(_CHANNEL_BEGINS, begin) or bool(_OPENING.match(content, begin))


def unwrap_answer(text: str) -> str:
    """A text behind thoughts without `<answer>` and `</answer>` around it. A text that was cut off lacks the latter."""
    found = re.fullmatch(r"\s*<answer>((?:(?!</?answer>).)*)(?:</answer>)?\s*", text, re.DOTALL)
    return found[1].strip() if found else text


def _answer(rest: str) -> str:
    """The text after thoughts, without the tags that some models put around it."""
    text = rest.strip()
    for opening, closing in _ANSWER_TAGS.items():
        if text.startswith(opening):
            return text.removeprefix(opening).partition(closing)[0].strip()
    return text


def _split_channels(content: str) -> SplitText:
    """Split harmony channels: `final` is the text, the others (analysis, commentary) are thoughts."""
    channels = [(found[1], found[2].strip()) for found in _CHANNEL.finditer(content)]
    final = [text for name, text in channels if name == "final"]
    thoughts = "\n\n".join(text for name, text in channels if name != "final" and text)
    return SplitText(thoughts, "\n\n".join(final), is_complete=bool(final))
