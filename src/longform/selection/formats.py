"""The formats in which prompts are published, detected from their fields.

A row validates itself (pydantic) and returns its first user turn, after the system turn if there is one, with the source's
metadata. Later turns react to a model's answers, so they are not used as prompts.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from longform.records.adapting import join_parts
from longform.records.schemas import Criterion, Message, Prompt, PromptRow, Row
from longform.selection.languages import language_code
from longform.text.thoughts import split_thoughts


@dataclass(frozen=True, slots=True, kw_only=True)
class RawPrompt:
    """A request of a source with the source's metadata."""

    request: str
    id: str | None = None
    """The source's id; None if it has none."""
    prefix: str = ""
    """Prefix of ids that are only unique within the source, and of ids derived from the text."""
    language: str | None = None
    toxic: bool = False
    redacted: bool = False
    answer: str | None = None
    """The source's own answer to the request; None if it has none."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Other fields of the prompts row, in addition to `id`, `prompt` and the pool's `meta`."""


class SourceFormat(Row):
    """A row in the source's format."""

    @classmethod
    def fits(cls, fields: Collection[str]) -> bool:
        """Whether a row with these fields has this format."""
        raise NotImplementedError

    def offer(self) -> RawPrompt:
        """Return the request and metadata of the row."""
        raise NotImplementedError


class _Turn(BaseModel):
    role: str
    content: str | None = None
    language: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _join_parts(cls, content: Any) -> Any:
        return join_parts(content)


class _Moderation(BaseModel):
    flagged: bool | None = None


class ChatLog(SourceFormat):
    """WildChat-1M (`conversation_hash`) and LMSYS-Chat-1M (`conversation_id`).

    Both flag conversations as a whole if any turn is flagged; LMSYS does so through the moderation of its turns.
    """

    model_config = ConfigDict(extra="ignore")
    columns = frozenset(
        {"conversation_hash", "conversation_id", "conversation", "role", "content", "language"}
        | {"toxic", "redacted", "openai_moderation", "flagged"}
    )
    id: str = Field(validation_alias=AliasChoices("conversation_hash", "conversation_id"))
    conversation: list[_Turn]
    language: str | None = None
    toxic: bool | None = None
    redacted: bool | None = None
    openai_moderation: list[_Moderation | None] | None = None

    @classmethod
    def fits(cls, fields: Collection[str]) -> bool:  # noqa: D102
        return "conversation" in fields and bool({"conversation_hash", "conversation_id"} & set(fields))

    def offer(self) -> RawPrompt:  # noqa: D102
        turn = _first_user_turn(self.conversation)
        return RawPrompt(
            request=turn.content or "",
            id=self.id,
            # A conversation's language is the most frequent one of its turns.
            language=language_code(turn.language) or language_code(self.language),
            toxic=bool(self.toxic) or any(it and it.flagged for it in self.openai_moderation or ()),
            redacted=bool(self.redacted),
            answer=_first_answer(self.conversation),
            fields=_system_turn(self.conversation, turn),
        )


class Conversations(SourceFormat):
    """LongWriter's training data: `messages` without an id."""

    model_config = ConfigDict(extra="ignore")
    columns = frozenset({"messages", "role", "content"})
    messages: list[_Turn]

    @classmethod
    def fits(cls, fields: Collection[str]) -> bool:  # noqa: D102
        return "messages" in fields

    def offer(self) -> RawPrompt:  # noqa: D102
        turn = _first_user_turn(self.messages)
        return RawPrompt(
            request=turn.content or "",
            prefix="longwriter",
            answer=_first_answer(self.messages),
            fields=_system_turn(self.messages, turn),
        )


class _Check(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str
    criteria_description: str = ""
    description: str | None = None
    """Used instead of `criteria_description` if present."""


class WritingBenchRow(SourceFormat):
    """Queries of WritingBench's benchmark and training data; the checklist becomes the criteria."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)
    index: str | None = None
    domain1: str
    domain2: str | None = None
    lang: str | None = None
    query: str
    checklist: list[_Check] | None = None

    @classmethod
    def fits(cls, fields: Collection[str]) -> bool:  # noqa: D102
        return {"query", "domain1"} <= set(fields)

    def offer(self) -> RawPrompt:  # noqa: D102
        criteria = [
            Criterion(
                name=it.name,
                description=it.criteria_description if it.description is None else it.description,
                **(it.model_extra or {}),
            )
            for it in self.checklist or ()
        ]
        domains = {"domain1": self.domain1} | ({"domain2": self.domain2} if self.domain2 else {})
        return RawPrompt(
            request=self.query,
            id=self.index,
            prefix="writingbench",
            language=language_code(self.lang),
            fields={"meta": domains} | ({"criteria": criteria} if criteria else {}),
        )


class PromptsFile(SourceFormat, PromptRow):
    """longform's prompts, and any other file with one prompt per row; ids are optional, other fields are kept."""

    model_config = ConfigDict(coerce_numbers_to_str=True)
    key_fields = ()
    id: str = Field(default="", validation_alias=AliasChoices("id", "prompt_id"))
    prompt: str | list[Message] = Field(validation_alias=AliasChoices("prompt", "writing_prompt"))
    language: str | None = Field(default=None, validation_alias=AliasChoices("language", "lang"))

    @classmethod
    def fits(cls, fields: Collection[str]) -> bool:  # noqa: D102
        return bool({"prompt", "writing_prompt"} & set(fields))

    def offer(self) -> RawPrompt:  # noqa: D102
        return RawPrompt(
            request=self.request,
            id=self.id or None,
            prefix="" if self.id else "prompt",
            language=language_code(self.language or str(self.meta.get("language") or "")),
            fields=self.model_dump(exclude={"id", "language"}, exclude_none=True),
        )


LAYOUTS: tuple[type[SourceFormat], ...] = (ChatLog, Conversations, WritingBenchRow, PromptsFile)


def recognise(fields: Collection[str]) -> type[SourceFormat] | None:
    """Return the format of rows with these fields; None if no format matches."""
    return next((layout for layout in LAYOUTS if layout.fits(fields)), None)


def make_prompt(offer: RawPrompt, *, id: str, meta: dict[str, Any]) -> Prompt:
    """Build the prompts row of a raw prompt; existing `meta` entries take precedence."""
    known = {"id": id, "meta": meta | offer.fields.get("meta", {})}
    return Prompt(**{"prompt": offer.request, **offer.fields, **known})


def _system_turn(turns: list[_Turn], user: _Turn) -> dict[str, Any]:
    """The field `prompt` of a conversation that begins with instructions: the system turn, then the user's."""
    if not turns or turns[0].role != "system" or not (turns[0].content or "").strip():
        return {}
    return {
        "prompt": [
            Message(role="system", content=turns[0].content or ""),
            Message(role="user", content=user.content or ""),
        ]
    }


def _first_user_turn(turns: list[_Turn]) -> _Turn:
    return next((turn for turn in turns if turn.role == "user"), _Turn(role="user"))


def _first_answer(turns: list[_Turn]) -> str | None:
    """The assistant's turn after the first user turn, without thoughts; None if there is none, or it has thoughts alone."""
    after = iter(turns)
    if not any(turn.role == "user" for turn in after):
        return None
    following = next(after, None)
    if following is None or following.role != "assistant":
        return None
    return split_thoughts(following.content or "").text.strip() or None
