"""How many words does a request ask for? A judge predicts the range, as LongWriter-Zero's length reward needs it.

The answer is checked against the rules of `text.length_rules`. One that breaks a rule is asked for again, with the rule
named: the reward would otherwise learn from a length that the request forbids.
"""

import re
from dataclasses import dataclass

from longform.endpoints.client import Endpoint
from longform.judging.prompt_templates import ask_length_range, name_broken_rules
from longform.judging.questioner import Questioner
from longform.records.schemas import PromptRow
from longform.text.length_rules import Range, Rule, rule_violations

_NUMBER = r"(-?(?:0|[1-9][0-9]{0,8}))"
_RANGE = re.compile(rf'\{{\s*+"range"\s*+:\s*+\[\s*+{_NUMBER}\s*+,\s*+{_NUMBER}\s*+\]\s*+\}}')


@dataclass(frozen=True, slots=True)
class PredictedLength:
    """A judge's range for one request."""

    range: Range | None
    """None: no range that keeps the rules; [0, 0]: none can be given."""
    cause: str | None = None
    """Why there is none: a cause of `EndpointError`, `no_range`, `cut_off`, `too_long` or `broken_rules`."""
    broken: tuple[Rule, ...] = ()
    """What the last answer broke."""
    repetitions: int = 0
    """How often it was asked again because of a broken rule."""


class LengthJudge(Questioner):
    """Asks a model how long the answer to a request will be.

    Args:
        endpoint: the judge.
        secret: the run's, behind the tags of the fences.
        retries: how often to ask again after an answer that breaks a rule.
        unread: how often to ask again after an answer that cannot be read.

    Raises:
        BadInputError: the endpoint has a template of its own, which is not used here.
    """

    def __init__(self, endpoint: Endpoint, *, secret: bytes, retries: int = 2, unread: int = 1) -> None:
        super().__init__(endpoint, secret=secret, retries=unread)
        self._repetitions = retries

    async def predict(self, prompt: PromptRow) -> PredictedLength:
        """The range of words of a good answer.

        Raises:
            BadInputError: the endpoint needs mending.
            StoppedError: the budget is spent.
        """
        message = question = ask_length_range(prompt, tag=self._tag(prompt.id))
        broken: list[Rule] = []
        for repetition in range(self._repetitions + 1):
            # Of another sample, or the same wrong answer would make the same question, which is on record.
            asked = await self._ask(message, parse_range, nothing="no_range", sample=repetition)
            if asked.found is None:
                return PredictedLength(None, asked.cause, repetitions=repetition)
            broken = rule_violations(prompt.request, asked.found)
            if not broken:
                return PredictedLength(asked.found, repetitions=repetition)
            message = f"{question}\n\n{name_broken_rules(prompt, asked.found, broken)}"
        return PredictedLength(None, "broken_rules", tuple(broken), self._repetitions)


def parse_range(text: str) -> Range | None:
    """The last `{"range": [lo, hi]}` with two whole numbers; None where there is none."""
    matches = list(_RANGE.finditer(text))
    return (int(matches[-1][1]), int(matches[-1][2])) if matches else None
