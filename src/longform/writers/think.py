"""Thinking before writing: the prompt that asks for a plan and an answer, and the answer taken out of what was written.

LongWriter-Zero (arXiv 2506.18841) wraps every request in such a prompt, in English or in Chinese. What its prompts ask
for is kept; the wording is ours. The language is that of the request: Chinese if it has a Chinese character.

A request is put into place by cutting the template at its slot, never by `str.format`: braces in it are text.
"""

from dataclasses import dataclass, field
from pathlib import Path

from longform.records.errors import BadInputError
from longform.records.schemas import PromptRow, Response
from longform.text.structure import CLOSING_TAG, Thinking, parse_response
from longform.wording import Wording, language_of, load_wording

SLOT = "{request}"
"""Stands in a template where the request goes."""


@dataclass(frozen=True, slots=True)
class ThinkPrompt:
    """How requests are put to a writer."""

    thinking: Thinking
    """`off`: as they are."""
    template: str | None = None
    """Holds `SLOT` once; replaces the built-in prompts."""
    wording: Wording = field(default_factory=load_wording)
    """Of the built-in prompts."""

    @classmethod
    def read(cls, thinking: Thinking, path: Path | None, *, wording: Wording | None = None) -> "ThinkPrompt":
        """The prompt with the template of a file, white space around it left out, or with the built-in ones.

        Raises:
            BadInputError: the file cannot be read, or does not hold `{request}` exactly once.
        """
        wording = wording or load_wording()
        if path is None:
            return cls(thinking, None, wording)
        try:
            template = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is no UTF-8 text"
            raise BadInputError(f"{path}: the think prompt cannot be read: {reason}") from error
        if (slots := template.count(SLOT)) != 1:
            raise BadInputError(f"{path}: a think prompt holds {SLOT} once, where the request goes; here {slots} times")
        return cls(thinking, template, wording)

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
        return f"{self._instruction(request)}\n\n{named}\n\nAssistant:"

    def _instruction(self, request: str) -> str:
        return self.wording.text(f"think.{self.thinking}", language_of(request))

    def _fill(self, request: str) -> str:
        template = self.template or f"{self._instruction(request)}\n\n{SLOT}"
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
