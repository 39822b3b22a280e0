"""The interface of a benchmark: its facts, the format of its data, its questions to the judge, and its tables.

A benchmark makes no calls. `questions` returns what to ask next, given the answers so far, and is called until it returns
nothing new. A benchmark whose questions do not depend on answers returns all of them at once; one whose later questions
depend on earlier answers, such as a tournament, returns them in rounds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from longform.evaluation.benchmarks.card import BenchmarkCard, JudgeSettings
from longform.evaluation.benchmarks.grouping import ScoredItem
from longform.evaluation.benchmarks.sets import ItemT, read_items
from longform.evaluation.tables import Table
from longform.judging.answers import fence_tag
from longform.judging.judge import AnswerShape
from longform.judging.judge_template import JudgeTemplate
from longform.records.schemas import Game, Prompt, Response

About = tuple[str, ...]
"""Key of an answer, such as (prompt id, model, sample, criterion); unique within a run."""


@dataclass(frozen=True, slots=True)
class Material(Generic[ItemT]):
    """The items of a benchmark, and the responses to them."""

    items: Mapping[str, ItemT]
    """Items by id."""
    responses: Sequence[Response]
    """Responses of one or more models; `prompt_id` is the id of one of the benchmark's `prompts`."""


@dataclass(frozen=True, slots=True)
class JudgeQuestion:
    """A question to the judge."""

    about: About
    message: Callable[[], str]
    """Builds the question when it is asked, because five questions about one long text would hold it five times."""
    parse: Callable[[str], Any]
    """Parses an answer to a JSON value; None if it is malformed, which triggers a retry."""
    settings: JudgeSettings | None = None
    """Settings that differ from the card's."""
    shape: AnswerShape[Any] | None = None
    """Of the answer, for a judge with structured output that is asked in longform's own words."""


@dataclass(slots=True)
class Answers:
    """The judge's answers so far."""

    values: dict[About, Any] = field(default_factory=dict)
    missing: dict[About, str] = field(default_factory=dict)
    """Cause of each missing answer: a cause of `EndpointError`, `no_answer`, `cut_off` or `too_long`."""
    calls: dict[About, tuple[str, ...]] = field(default_factory=dict)
    """Hashes of the requests behind each answer."""

    def __contains__(self, about: About) -> bool:
        return about in self.values or about in self.missing


@dataclass(frozen=True, slots=True)
class JudgePrompt:
    """Settings shared by all questions of a run."""

    secret: bytes
    """Secret of the fence tags."""
    template: JudgeTemplate | None = None
    """Custom template of the judge, in place of longform's prompts."""

    def tag(self, prompt_id: str) -> str:
        """Return the fence tag for questions about a prompt."""
        return fence_tag(self.secret, prompt_id, 0)


class Benchmark(Generic[ItemT]):
    """A benchmark; subclasses define `card`, `schema` and `tables`."""

    card: BenchmarkCard
    schema: type[ItemT]
    """Type of an item: the prompt with the benchmark's metadata."""
    turns: int = 1
    """Number of texts that a writer writes for an item, one after the other in one conversation."""

    def layout(self, row: dict[str, Any], number: int) -> dict[str, Any]:  # noqa: ARG002
        """Map a published row to the fields of `schema`; `number` counts from 0, for rows without an id."""
        return row

    def read(self, path: Path) -> list[ItemT]:
        """Read the items from a file, or from a folder with the files in `card.files`.

        Raises:
            BadInputError: a file is invalid.
        """
        return read_items(path, self.card, self.schema, self.layout)

    def version(self, items: Sequence[ItemT]) -> str | None:  # noqa: ARG002
        """Return the published version of the data, if known."""
        return None

    def prompts(self, items: Sequence[ItemT]) -> list[Prompt]:
        """Return the prompts for the writer; responses refer to their ids."""
        return [Prompt(id=item.id, prompt=item.prompt) for item in items]

    def turn(self, items: Sequence[ItemT], number: int, texts: Mapping[str, str]) -> list[Prompt]:  # noqa: ARG002
        """Return the prompts of a turn; those of later turns are conversations that contain the earlier texts.

        Args:
            items: The items.
            number: Of the turn, from 1 to `turns`.
            texts: One writer's texts so far, by prompt id. Items that lack one for an earlier turn get no prompt.
        """
        return self.prompts(items)

    def fitted(self, prompts: Sequence[Prompt], cut: Callable[[str], str]) -> list[Prompt]:  # noqa: ARG002
        """Shorten the prompts for a writer with a short context; unchanged if the benchmark does not allow it.

        Args:
            prompts: Result of `prompts`.
            cut: Truncates a text in the middle if it is too long (see `text.cutting`).
        """
        return list(prompts)

    def questions(self, material: Material[ItemT], answers: Answers, wording: JudgePrompt) -> Iterable[JudgeQuestion]:  # noqa: ARG002
        """Return the next questions; may include answered or missing ones, which are not asked again."""
        return ()

    def games(self, material: Material[ItemT], answers: Answers) -> list[Game]:  # noqa: ARG002
        """Return the comparisons behind ratings, for `longform arena`; empty if texts are not compared."""
        return []

    def scored(self, material: Material[ItemT], answers: Answers) -> list[ScoredItem]:  # noqa: ARG002
        """Return the items behind the overall score, each with that one value; empty if it is no mean over items."""
        return []

    def tables(self, material: Material[ItemT], answers: Answers) -> list[Table]:
        """Return the result tables, as published, with interval and n for each number; the first table is the overall
        result.

        Raises:
            BadInputError: there are no results.
        """
        raise NotImplementedError
