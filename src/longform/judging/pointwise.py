"""The pointwise judge: how good is one text, by which dimensions?"""

from dataclasses import dataclass
from functools import partial

from longform.judging.answers import parse_scores
from longform.judging.questioner import Questioner
from longform.judging.templates import ask_pointwise
from longform.records.schemas import PromptRow


@dataclass(frozen=True, slots=True)
class Graded:
    """A judge's score of one text."""

    score: float | None
    """Mean of the dimensions, 1 to 10; None: no grade."""
    dimensions: dict[str, float] | None = None
    cause: str | None = None
    """Why there is no grade: a cause of `EndpointError`, `no_grade`, `cut_off` or `too_long`."""
    calls: tuple[str, ...] = ()
    """Request hashes of the answers behind it."""
    cost: float | None = 0.0
    """What those answers cost, also if another request paid for them; None where it is not known."""
    disagreement: float | None = None
    """Of a panel: standard deviation of its scores; None where fewer than two were heard."""
    unheard: int = 0
    """Of a panel: grades that did not come in."""


class PointwiseJudge(Questioner):
    """Asks a model to score a text."""

    async def grade(self, prompt: PromptRow, text: str, *, step: int = 0, sample: int = 0) -> Graded:
        """The grade of `text`, written for `prompt`; `sample` numbers several grades of one text.

        Raises:
            BadInputError: the endpoint needs mending.
            StoppedError: the budget is spent.
        """
        question = ask_pointwise(prompt, text, tag=self._tag(prompt.id, step))
        parse = partial(parse_scores, dimensions=question.dimensions)
        asked = await self._ask(question.message, parse, nothing="no_grade", sample=sample)
        if asked.found is None:
            return Graded(None, None, asked.cause, asked.calls, asked.cost)
        score = sum(asked.found.values()) / len(asked.found)
        return Graded(score, asked.found, None, asked.calls, asked.cost)
