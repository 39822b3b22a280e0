"""What a benchmark is: facts about it, the layout of its set, what it asks a judge, and the tables it ends in.

A benchmark asks nobody. `questions` says what is to be asked next, given the answers so far; whoever runs it asks and comes
again until nothing new is asked for. One that needs every answer at once says everything the first time; one whose later
questions hang on earlier answers (a tournament) says them in rounds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from longform.evaluation.benchmarks.card import BenchmarkCard, JudgeSettings
from longform.evaluation.benchmarks.sets import ItemT, read_items
from longform.evaluation.tables import Table
from longform.judging.fences import fence_tag
from longform.judging.judge_template import JudgeTemplate
from longform.records.schemas import Game, Prompt, Response

About = tuple[str, ...]
"""What an answer is about, such as (prompt id, model, sample, criterion). Unique within a run."""


@dataclass(frozen=True, slots=True)
class Material(Generic[ItemT]):
    """The items of a set, and what was written for them."""

    items: Mapping[str, ItemT]
    """By id."""
    responses: Sequence[Response]
    """Of one or several models; each one's `prompt_id` is that of one of the benchmark's `prompts`."""


@dataclass(frozen=True, slots=True)
class JudgeQuestion:
    """One thing to ask the judge."""

    about: About
    message: Callable[[], str]
    """Writes the question when it is asked: five questions about one long text would hold it five times."""
    parse: Callable[[str], Any]
    """What an answer says, as JSON has it; None where it cannot be read. It is asked again then."""
    settings: JudgeSettings | None = None
    """Other ones than the card's."""


@dataclass(slots=True)
class Answers:
    """What the judge has said so far."""

    found: dict[About, Any] = field(default_factory=dict)
    missing: dict[About, str] = field(default_factory=dict)
    """Why there is no answer: a cause of `EndpointError`, `no_answer`, `cut_off` or `too_long`."""

    def __contains__(self, about: About) -> bool:
        return about in self.found or about in self.missing


@dataclass(frozen=True, slots=True)
class JudgePrompt:
    """What all questions of a run share."""

    secret: bytes
    """Behind the tags of the fences."""
    template: JudgeTemplate | None = None
    """The wording that the judge was tuned on, in place of longform's own."""

    def tag(self, prompt_id: str) -> str:
        """The tag of the fences in questions about one prompt."""
        return fence_tag(self.secret, prompt_id, 0)


class Benchmark(Generic[ItemT]):
    """A benchmark; a subclass names `card` and `schema` and makes `tables`."""

    card: BenchmarkCard
    schema: type[ItemT]
    """Of an item: the prompt with what the benchmark knows about it."""

    def layout(self, row: dict[str, Any], number: int) -> dict[str, Any]:  # noqa: ARG002
        """The fields of `schema` from a row as published; `number` counts from 0, where a row has no id."""
        return row

    def read(self, path: Path) -> list[ItemT]:
        """The items of a set: a file, or a folder with the files that `card.files` names.

        Raises:
            BadInputError: names the file and what is wrong with it.
        """
        return read_items(path, self.card, self.schema, self.layout)

    def version(self, items: Sequence[ItemT]) -> str | None:  # noqa: ARG002
        """The name under which this version of the set is known, if it is."""
        return None

    def prompts(self, items: Sequence[ItemT]) -> list[Prompt]:
        """What a writer is asked; the ids are those that responses name."""
        return [Prompt(id=item.id, prompt=item.prompt) for item in items]

    def fitted(self, prompts: Sequence[Prompt], cut: Callable[[str], str]) -> list[Prompt]:  # noqa: ARG002
        """The prompts as a writer with a shorter context can take them in; as they are, where nothing may be cut.

        Args:
            prompts: from `prompts`.
            cut: takes the middle out of a text that is too long, see `text.cutting`.
        """
        return list(prompts)

    def questions(self, material: Material[ItemT], answers: Answers, wording: JudgePrompt) -> Iterable[JudgeQuestion]:  # noqa: ARG002
        """What to ask next. Questions that are answered or missing already may be named again; they are not asked again."""
        return ()

    def games(self, material: Material[ItemT], answers: Answers) -> list[Game]:  # noqa: ARG002
        """The comparisons behind ratings, for `longform arena`; none where texts are not compared."""
        return []

    def tables(self, material: Material[ItemT], answers: Answers) -> list[Table]:
        """What came out, as published, each number with its interval and n; the first table is the overall one.

        Raises:
            BadInputError: there is nothing to make a table of.
        """
        raise NotImplementedError
