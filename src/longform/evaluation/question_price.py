"""What a number of questions costs at most, before the first is asked."""

from collections.abc import Sequence
from dataclasses import dataclass

from longform.endpoints.models import ModelSpec
from longform.endpoints.request import estimate_prompt_tokens
from longform.planning.assumptions import Assumptions

MEASURED = 200
"""Questions whose length is measured."""


@dataclass(frozen=True, slots=True)
class QuestionPrice:
    """An upper bound: recorded answers are not asked for again."""

    questions: int
    prompt_tokens: int
    cost: float | None
    """In the currency of models.yaml; None without prices."""

    def __str__(self) -> str:
        cost = "of unknown cost, as models.yaml has no prices" if self.cost is None else f"about {self.cost:.2f}"
        return (
            f"the judge gets at most {self.questions:,} questions, about {self.prompt_tokens:,} tokens, {cost}; recorded "
            "answers are not requested again"
        )


def price_questions(sample: Sequence[str], spec: ModelSpec, *, questions: int) -> QuestionPrice:
    """Return the price of `questions` questions that are as long as those of `sample`, with answers of typical length."""
    tokens = sum(estimate_prompt_tokens([{"content": question}]) for question in sample)
    prompt_tokens = round(tokens / max(len(sample), 1) * questions)
    answers = questions * Assumptions().answer_tokens
    prices = spec.prices
    cost = None if prices is None else prices.cost(prompt_tokens=prompt_tokens, completion_tokens=answers)
    return QuestionPrice(questions, prompt_tokens, cost)
