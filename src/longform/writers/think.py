"""Thinking before writing: the prompt that asks for a plan and an answer, and the answer taken out of what was written.

LongWriter-Zero (arXiv 2506.18841) wraps every request so, in English or in Chinese. What its prompts ask for is kept; the
wording is ours. The language is that of the request: Chinese where it holds a Chinese character.

A request is put into place by cutting the template at its slot, never by `str.format`: braces in it are text.
"""

from dataclasses import dataclass
from pathlib import Path

from longform.records.errors import BadInputError
from longform.records.schemas import PromptRow, Response
from longform.text.structure import CLOSING_TAG, Thinking, parse_response
from longform.text.words import count_han

SLOT = "{request}"
"""Stands in a template where the request goes."""

_THINK_ENGLISH = """\
A user asks for something to be written. Do not start on the text at once: first think the whole task through. \
Gather ideas and lay out a plan that covers every part of the text. Where the request can be read in several ways, \
question your own reading, try more than one approach and settle on the best. Ask what the text is for and who will \
read it, and choose style and tone to suit them. Then look at your plan as a critic would: does it hold together, is it \
clear, does it do all that was asked, length included? Mend what falls short and check it again. Write all of this \
between <think> and </think>. After that write the finished text, and nothing else, between <answer> and </answer>."""

_THINK_CHINESE = """\
用户想请你写一份内容。先不要急着写正文，要把整件事想透：收集想法，列出覆盖全文各个部分的提纲；\
如果要求可以有不同的理解，就反问自己，多试几种思路，再选定最好的一种；想清楚文章有什么用、给谁看，\
据此确定文体和语气；然后像挑剔的读者那样检查计划：前后是否连贯，表达是否清楚，篇幅和其他要求是否都已满足，\
不足之处改好后再检查一遍。以上思考全部写在 <think> 和 </think> 之间。\
最后把完成的正文写在 <answer> 和 </answer> 之间，其中不要有正文以外的内容。"""

_DIRECT_ENGLISH = """\
A user asks for something to be written. Write the finished text, and nothing else, between <answer> and </answer>."""

_DIRECT_CHINESE = "用户想请你写一份内容。请把完成的正文写在 <answer> 和 </answer> 之间，其中不要有正文以外的内容。"


@dataclass(frozen=True, slots=True)
class ThinkPrompt:
    """How requests are put to a writer."""

    thinking: Thinking
    """`off`: as they are."""
    template: str | None = None
    """Holds `SLOT` once; stands in place of the built-in prompts."""

    @classmethod
    def read(cls, thinking: Thinking, path: Path | None) -> "ThinkPrompt":
        """The prompt with the template of a file, white space around it left out, or with the built-in ones.

        Raises:
            BadInputError: the file cannot be read, or does not hold `{request}` exactly once.
        """
        if path is None:
            return cls(thinking)
        try:
            template = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is no UTF-8 text"
            raise BadInputError(f"{path}: the think prompt cannot be read: {reason}") from error
        if (slots := template.count(SLOT)) != 1:
            raise BadInputError(f"{path}: a think prompt holds {SLOT} once, where the request goes; here {slots} times")
        return cls(thinking, template)

    def messages(self, prompt: PromptRow) -> list[dict[str, str]]:
        """The conversation to send: the instruction and the last user message are one message, the others stay.

        Raises:
            BadInputError: there is no user message.
        """
        messages = prompt.messages
        if self.thinking != "off":
            asking = [message for message in messages if message["role"] == "user"]
            if not asking:
                raise BadInputError(f"prompt {prompt.id}: has no user message that the think prompt could go with")
            asking[-1]["content"] = self._fill(asking[-1]["content"])
        return messages

    def text(self, prompt: PromptRow) -> str:
        """The text that a model without a chat template continues.

        A template of the user's own is the whole of it: it brings the markers of the turns.
        """
        request = prompt.request
        if self.thinking == "off":
            return request
        if self.template is not None:
            return self._fill(request)
        turns = [message for message in prompt.messages if message["role"] != "system"]
        named = request if len(turns) > 1 else f"User: {request}"  # several are named already
        return f"{_instruction(self.thinking, request)}\n\n{named}\n\nAssistant:"

    def _fill(self, request: str) -> str:
        template = self.template or f"{_instruction(self.thinking, request)}\n\n{SLOT}"
        before, _, after = template.partition(SLOT)
        return before + request + after


AS_ASKED = ThinkPrompt("off")
"""Requests as they are."""


def build_response(
    prompt: PromptRow, text: str, *, thinking: Thinking, model: str, sample: int, finish_reason: str | None
) -> Response:
    """What a writer wrote for a prompt, as a row whose text is the answer.

    With thinking its `meta` holds the `plan` and whether it is `well_formed`; where it is not, also the whole text, as
    `written`.
    """
    meta = {}
    if thinking != "off":
        written = end_at_closing_tag(text)
        parts = parse_response(written, thinking)
        meta = {"plan": parts.think, "well_formed": parts.well_formed} | (
            {} if parts.well_formed else {"written": written}
        )
        text, finish_reason = parts.answer, "stop" if parts.closed else finish_reason
    return Response(prompt_id=prompt.id, model=model, sample=sample, text=text, finish_reason=finish_reason, meta=meta)


def end_at_closing_tag(text: str) -> str:
    """`text` up to its first closing tag and with it; all of it where it has none."""
    before, tag, _ = text.partition(CLOSING_TAG)
    return before + tag


def _instruction(thinking: Thinking, request: str) -> str:
    if thinking == "direct":
        return _DIRECT_CHINESE if count_han(request) else _DIRECT_ENGLISH
    return _THINK_CHINESE if count_han(request) else _THINK_ENGLISH
