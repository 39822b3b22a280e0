"""The rows of files that commands exchange: prompts, responses, grades, ladders, games, pairs, preferences.

Rows are frozen and keep unknown fields, so that a file passes through longform without losing what another tool added.
`key` identifies a row; reading a file with duplicate keys is an error.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from longform.text.thoughts import split_thoughts, unwrap_answer

Score = float


class Row(BaseModel):
    """One line of a file. Subclasses name the fields that identify a row in `key_fields`."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    key_fields: ClassVar[tuple[str, ...]] = ()
    text_field: ClassVar[str] = ""
    """The field that a bare text is, as in a text file; "" if a row needs more than one."""
    columns: ClassVar[frozenset[str]] = frozenset()
    """Names of the fields that are read from Parquet files and datasets, including nested ones; empty: all."""

    @property
    def key(self) -> tuple[Any, ...]:
        """The values of `key_fields`; empty for rows without a key."""
        return tuple(getattr(self, field) for field in self.key_fields)


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(frozen=True, extra="allow")
    role: Literal["system", "user", "assistant"]
    content: str


class Criterion(BaseModel):
    """One criterion for a judge. What is not stated is not written either, so files without the newer fields keep their
    form and their hashes.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    name: str
    description: str = ""
    weight: float | None = Field(default=None, gt=0)
    """Its part in the mean over the criteria of a prompt; None counts as 1."""
    bands: dict[str, str] | None = None
    """What a text of each band of scores is like, such as `"9-10"`."""
    hard: bool = False
    """A constraint that a text satisfies or fails, instead of a score: a failed one vetoes the text."""

    @model_serializer(mode="wrap")
    def _write_stated(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        unstated = {"weight": None, "bands": None, "hard": False}
        return {name: it for name, it in handler(self).items() if name not in unstated or it != unstated[name]}


Criteria = str | list[Criterion]


class PromptRow(Row):
    """What prompts and ladders share: a request, its criteria, and the length of an answer in words."""

    key_fields: ClassVar[tuple[str, ...]] = ("id",)
    text_field: ClassVar[str] = "prompt"
    id: str = Field(min_length=1)
    prompt: str | list[Message] = Field(min_length=1)
    criteria: Criteria | None = None
    length_range: tuple[int, int] | None = None
    meta: dict[str, Any] = Field(default_factory=dict)

    @field_validator("length_range")
    @classmethod
    def _check_range(cls, bounds: tuple[int, int] | None) -> tuple[int, int] | None:
        if bounds is not None and not 0 <= bounds[0] <= bounds[1]:
            raise ValueError(f"needs 0 <= lo <= hi words, got {list(bounds)}")
        return bounds

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation for a writer, as plain dictionaries."""
        if isinstance(self.prompt, str):
            return [{"role": "user", "content": self.prompt}]
        return [{"role": message.role, "content": message.content} for message in self.prompt]

    @property
    def request(self) -> str:
        """The request as one text for a judge, without system turns; several turns are labelled by role."""
        turns = [turn for turn in self.messages if turn["role"] != "system"]
        if len(turns) == 1:
            return turns[0]["content"]
        return "\n\n".join(f"{turn['role'].capitalize()}: {turn['content']}" for turn in turns)

    @property
    def rungs(self) -> list[str]:
        """The models of the references, weakest first; none for a plain prompt."""
        return []


class Prompt(PromptRow):
    """One writing request."""


_SOURCE = "data_source"
"""Field of a prompt that was read from one of several sources."""


def with_source(row: PromptRow, name: str) -> PromptRow:
    """Return a prompt that knows which source of a recipe it is from."""
    return row.model_copy(update={_SOURCE: name})


def source_of(row: PromptRow) -> str | None:
    """Return the source of a prompt, see `with_source`; None if its recipe has a single one."""
    return (row.model_extra or {}).get(_SOURCE)


class Response(Row):
    """A response of a model to a prompt; `sample` numbers several responses of one model."""

    key_fields: ClassVar[tuple[str, ...]] = ("prompt_id", "model", "sample")
    prompt_id: str
    model: str
    sample: int = Field(default=0, ge=0)
    text: str
    finish_reason: str | None = None
    meta: dict[str, Any] = Field(default_factory=dict)
    made_from: dict[str, str] | None = None
    """Short hashes of what it was made from, by name; None for a row of another tool, or of version 0.1."""

    def without_thoughts(self) -> "Response":
        """The row with the thoughts at the beginning of its text in `meta`; itself if there are none."""
        split = split_thoughts(self.text)
        thoughts = "\n\n".join(filter(None, (self.meta.get("thoughts"), split.thoughts)))
        if split.is_complete and split.text == self.text and not thoughts:
            return self
        update: dict[str, Any] = {"text": unwrap_answer(split.text) if thoughts else split.text}
        if thoughts:
            update["meta"] = self.meta | {"thoughts": thoughts}
        if not split.is_complete:
            update["finish_reason"] = "length"
        return self.model_copy(update=update)


class TrainingRow(Row):
    """A training row of supervised fine-tuning: a conversation, a prompt with its completion, or a text."""

    text_field: ClassVar[str] = "text"
    messages: list[Message] | None = None
    """A conversation of any number of turns; its assistant turns are learned."""
    prompt: str | list[Message] | None = None
    completion: str | list[Message] | None = None
    """What is learned after `prompt`. If one of the two is a list of messages, both are a conversation."""
    text: str | None = None
    """A text that is learned in full."""
    finish_reason: str | None = None
    """Why the answer ended; `length` if it was cut off."""

    @model_validator(mode="after")
    def _check_kind(self) -> "TrainingRow":
        kinds = [self.messages is not None, self.completion is not None, self.text is not None]
        if sum(kinds) != 1 or (self.completion is not None and self.prompt is None):
            raise ValueError("needs either `messages`, or `prompt` and `completion`, or `text`")
        return self


class Grade(Row):
    """A judge's pointwise score of one response, with its dimensions."""

    key_fields: ClassVar[tuple[str, ...]] = ("prompt_id", "model", "sample", "judge")
    prompt_id: str
    model: str
    sample: int = Field(default=0, ge=0)
    score: Score
    dimensions: dict[str, Score] | None = None
    judge: str | None = None
    calls: tuple[str, ...] | None = None
    """Hashes of the requests behind it; their answers are in the log beside the file."""
    made_from: dict[str, str] | None = None
    """Short hashes of what it was made from, by name; None for a row of another tool, or of version 0.1."""


class Reference(BaseModel):
    """One rung of a ladder: a text to beat."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    model: str
    text: str
    score: Score
    strength: float | None = None
    """Bradley-Terry strength by pairwise verdicts, from `longform ladders check --reorder`; None if the order follows the
    scores."""


class Ladder(PromptRow):
    """A prompt with its references in ascending quality, including the initial policy's own response.

    Where every reference has a `strength`, the order follows the strengths, else the scores.
    """

    references: list[Reference] = Field(min_length=1)
    policy_score: Score
    potential: float

    @property
    def rungs(self) -> list[str]:
        """The models of the references, weakest first."""
        return [it.model for it in self.references]

    @model_validator(mode="after")
    def _check_order(self) -> "Ladder":
        strengths = [it.strength for it in self.references if it.strength is not None]
        if len(strengths) == len(self.references):
            if strengths != sorted(strengths):
                raise ValueError("references must be in ascending order of strength")
            return self
        scores = [reference.score for reference in self.references]
        if scores != sorted(scores):
            raise ValueError("references must be in ascending order of score")
        return self


UNNAMED_JUDGE = "unnamed"
"""The judge of grades and games that name none."""
Winner = Literal["a", "b", "tie"]
"""The better of two texts; a tie is half a win for each."""
Order = Literal["ab", "ba"]
"""The order in which a judge reads two texts."""
ORDERS: tuple[Order, ...] = ("ab", "ba")


class Game(Row):
    """One comparison of two models on one prompt. `order` is the order in which the judge read them."""

    prompt_id: str
    model_a: str
    model_b: str
    winner: Winner
    order: Order | None = None
    judge: str | None = None
    margin: float | None = None
    sample: int | None = None
    calls: tuple[str, ...] | None = None
    """Hashes of the requests behind it; their answers are in the log beside the file."""


GAME_SCORES: dict[Winner, float] = {"a": 1.0, "tie": 0.5, "b": 0.0}
"""Points of `model_a` in a game, by its winner."""


class Pair(Row):
    """Two responses to one prompt, with a human label and the verdicts of judges in both orders."""

    key_fields: ClassVar[tuple[str, ...]] = ("id",)
    id: str
    prompt: str | list[Message]
    response_a: str
    response_b: str
    label: Winner | None = None
    verdicts: dict[str, dict[Order, Winner | None]] | None = None

    def without_thoughts(self) -> Self:
        """The row without the thoughts at the beginning of its responses; itself if there are none."""
        splits = {name: split_thoughts(getattr(self, name)) for name in ("response_a", "response_b")}
        texts = {name: unwrap_answer(it.text) for name, it in splits.items() if it.thoughts and it.is_complete}
        return self.model_copy(update=texts) if texts else self


def majority(labels: Mapping[str, Winner]) -> Winner:
    """Return the most frequent label; a tie if two labels are equally frequent."""
    counts = Counter(labels.values()).most_common()
    return "tie" if len(counts) > 1 and counts[0][1] == counts[1][1] else counts[0][0]


class PairWithLabels(Pair):
    """A pair with the labels of several people, whose majority is its label."""

    labels: dict[str, Winner] | None = None
    """Labels by person; `label` is then their majority."""

    @model_validator(mode="after")
    def _take_majority(self) -> "PairWithLabels":
        if self.labels:
            object.__setattr__(self, "label", majority(self.labels))
        return self


class Preference(Row):
    """A chosen and a rejected response, for a reward model."""

    prompt: str | list[Message]
    chosen: str
    rejected: str
    margin: float | None = None
