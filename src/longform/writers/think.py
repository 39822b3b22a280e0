"""Think prompts, which ask for a plan and an answer, and extraction of the answer from the response.

LongWriter-Zero (arXiv 2506.18841) wraps every request in such a prompt, in English or Chinese. The prompts here ask for the
same things in our own words. A request that contains a Chinese character gets the Chinese prompt.

The request is inserted by splitting the template at its slot rather than by `str.format`, because it may contain braces.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longform.records.errors import BadInputError
from longform.records.schemas import PromptRow, Response
from longform.text.structure import CLOSING_TAG, Thinking, parse_response
from longform.wording import Wording, load_wording

SLOT = "{request}"
"""Slot for the request in a template."""


@dataclass(frozen=True, slots=True)
class ThinkPrompt:
    """The prompt that requests are wrapped in."""

    thinking: Thinking
    """With `off`, requests are unchanged."""
    template: str | None = None
    """Custom template with exactly one `SLOT`, in place of the built-in prompts."""
    wording: Wording = field(default_factory=load_wording)
    """Wording of the built-in prompts."""

    @classmethod
    def read(cls, thinking: Thinking, path: Path | None, *, wording: Wording | None = None) -> "ThinkPrompt":
        """Read a template file, stripped of surrounding white space; without a path, use the built-in prompts.

        Raises:
            BadInputError: the file cannot be read, or does not contain `{request}` exactly once.
        """
        wording = wording or load_wording()
        if path is None:
            return cls(thinking, None, wording)
        try:
            template = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise BadInputError(f"{path}: the think prompt cannot be read: {reason}") from error
        if (slots := template.count(SLOT)) != 1:
            raise BadInputError(f"{path}: a think prompt must contain {SLOT} exactly once, not {slots} times")
        return cls(thinking, template, wording)

    def messages(self, prompt: PromptRow) -> list[dict[str, str]]:
        """Return the conversation to send: the instruction is added to the last user message.

        Raises:
            BadInputError: the prompt has no user message.
        """
        messages = prompt.messages
        if self.thinking != "off":
            asking = [message for message in messages if message["role"] == "user"]
            if not asking:
                raise BadInputError(f"prompt {prompt.id}: has no user message to add the think prompt to")
            asking[-1]["content"] = self._fill(asking[-1]["content"])
        return messages

    def raw_messages(self, prompt: PromptRow) -> list[dict[str, str]]:
        """The text for a model without a chat template, as the only message of a conversation."""
        return [{"role": "user", "content": self.text(prompt)}]

    def text(self, prompt: PromptRow) -> str:
        """Return the text for a model without a chat template to continue.

        A custom template is used without additions; it must contain any turn markers.
        """
        request = prompt.request
        if self.template is not None:
            return self._fill(request)
        if self.thinking == "off":
            return request
        turns = [message for message in prompt.messages if message["role"] != "system"]
        named = request if len(turns) > 1 else f"User: {request}"  # several turns already have role names
        return f"{self._instruction(request)}\n\n{named}\n\nAssistant:"

    def _instruction(self, request: str) -> str:
        return self.wording.text(f"think.{self.thinking}", self.wording.language_of(request))

    def _fill(self, request: str) -> str:
        template = self.template or f"{self._instruction(request)}\n\n{SLOT}"
        before, _, after = template.partition(SLOT)
        return before + request + after


AS_ASKED = ThinkPrompt("off")
"""Leaves requests unchanged."""


def build_response(
    prompt: PromptRow,
    text: str,
    *,
    thinking: Thinking,
    model: str,
    sample: int,
    finish_reason: str | None,
    thoughts: str = "",
    thought_tokens: int | None = None,
) -> Response:
    """Build a response row whose text is the answer.

    With thinking, `meta` has the `plan` and whether the response is `well_formed`; if it is not, also the raw text as
    `written`. Without, `meta` has the `thoughts` of a reasoning model, if there are any.

    Args:
        prompt: of the response.
        text: as it was generated.
        thinking: the structure that was asked for.
        model: its name.
        sample: number of the response among those of the prompt.
        finish_reason: `length` if it was cut off.
        thoughts: what the endpoint has separated from the text.
        thought_tokens: their number, if the endpoint counts them.
    """
    meta: dict[str, Any] = {}
    if thinking != "off":
        if thinking == "on" and thoughts and "<think>" not in text:  # separated by the endpoint, but asked for
            text, thoughts = f"<think>\n{thoughts}\n</think>\n{text}", ""
        written = end_at_closing_tag(text)
        parts = parse_response(written, thinking)
        meta = {"plan": parts.think, "well_formed": parts.well_formed} | (
            {} if parts.well_formed else {"written": written}
        )
        text, finish_reason = parts.answer, "stop" if parts.closed else finish_reason
    if thoughts:
        meta["thoughts"] = thoughts
    if thought_tokens is not None:
        meta["thought_tokens"] = thought_tokens
    row = Response(prompt_id=prompt.id, model=model, sample=sample, text=text, finish_reason=finish_reason, meta=meta)
    return row.without_thoughts() if thinking == "off" else row


def end_at_closing_tag(text: str) -> str:
    """Return `text` up to and including its first closing tag, or all of it without one."""
    before, tag, _ = text.partition(CLOSING_TAG)
    return before + tag
