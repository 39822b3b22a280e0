"""Ask a judge whether the words that a run uses more and more often are out of place in its texts.

`monitors/keywords.py` finds words that rise and go with the reward. A word may rise for a good reason: this asks about a
sample of the latest responses that use one, at most one question a response.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from longform.endpoints.concurrency import map_bounded
from longform.endpoints.recorded import RecordedCalls, check_endpoint
from longform.evaluation.estimates import Bootstrap, ClusteredEstimate
from longform.evaluation.question_price import MEASURED, price_questions
from longform.judging.answers import fence_tag
from longform.judging.keywords import KeywordJudge, ask_about_keyword
from longform.monitors.keywords import words_at
from longform.monitors.series import TEXTS, latest_window
from longform.recipe.inputs import read_recorded_prompts
from longform.recipe.loading import load_stored_recipe
from longform.recipe.recipe import Recipe
from longform.records.progress import ProgressDisplay, no_progress
from longform.records.run_directory import RunDirectory
from longform.records.schemas import PromptRow
from longform.text.repetition import content_terms, units
from longform.text.structure import parse_response

CALLS = "keywords"
"""The calls are recorded in `keywords.calls.sqlite` of the run directory."""


class KeywordUse(NamedTuple):
    """A recorded response and the rising word that it uses most."""

    prompt: PromptRow
    text: str
    word: str
    step: int


@dataclass(slots=True)
class KeywordCheck:
    """What a judge says about the rising words of a run."""

    judge: str
    words: dict[str, float]
    """Rising words with their shares of all words, at the last step; empty if no word rises, and nothing is asked."""
    asked: int = 0
    """Responses that were asked about."""
    out_of_place: ClusteredEstimate | None = None
    """Share of the responses with a verdict in which the word is out of place; None without any."""
    by_word: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Word -> responses in which it is out of place, and responses with a verdict."""
    no_verdict: Counter[str] = field(default_factory=Counter)
    """Missing verdicts by cause."""
    cost: str = ""
    """Cost and number of calls so far, in words."""


def check_keywords(
    run: Path,
    *,
    judge: str,
    models: Path | None = None,
    questions: int = 40,
    budget: float | None = None,
    seed: int = 0,
    progress: ProgressDisplay = no_progress,
    on_plan: Callable[[str], None] = lambda line: None,
) -> KeywordCheck:
    """Ask a judge about the rising words in a sample of a run's latest responses; recorded answers are not asked again.

    Args:
        run: Run directory; calls are recorded in it.
        judge: A name in `models`.
        models: Path to models.yaml; by default that of the run's recipe.
        questions: Maximum number of responses to ask about.
        budget: Stop before the calls cost more than this.
        seed: Random seed of the sample and of the interval.
        progress: Progress display.
        on_plan: Called with the price, as text, before the first call.

    Raises:
        BadInputError: not a run, its prompts have changed, an unknown judge, a missing key, or a budget without prices.
        StoppedError: the budget is exhausted.
    """
    with RunDirectory.read(run) as opened:
        recipe = load_stored_recipe(opened.recipe_path, Recipe)
        models = models or recipe.models
        spec = check_endpoint(judge, models, budget=budget)
        series = opened.database.metrics()
        words = words_at(series, opened.database.last_step())
        result = KeywordCheck(judge, words)
        window = latest_window(series, count=TEXTS)
        if not words or window is None:
            return result
        prompts = {it.id: it for it in read_recorded_prompts(opened, recipe.data)}
        uses = list(_find_uses(opened, recipe, prompts, list(words), steps=range(window.first, window.last + 1)))
    if len(uses) > questions:
        uses = [uses[index] for index in sorted(random.Random(seed).sample(range(len(uses)), questions))]
    tag = fence_tag(b"price", "", 0)
    sample = [ask_about_keyword(it.prompt, it.text, it.word, tag=tag) for it in uses[:MEASURED]]
    on_plan(str(price_questions(sample, spec, questions=len(uses))))
    verdicts: dict[int, bool] = {}
    with RecordedCalls(run / CALLS, models, judge, budget=budget) as calls, progress(f"asking {judge}") as advance:

        async def ask() -> None:
            async with calls.endpoint() as endpoint:
                asked = KeywordJudge(endpoint, secret=calls.log.secret())

                async def work(index: int) -> None:
                    use = uses[index]
                    reply = await asked.is_out_of_place(use.prompt, use.text, use.word, step=use.step)
                    if reply.value is None:
                        result.no_verdict[str(reply.cause)] += 1
                    else:
                        verdicts[index] = reply.value
                    advance(len(verdicts) + result.no_verdict.total(), len(uses))

                await map_bounded(range(len(uses)), work, workers=endpoint.workers)

        asyncio.run(ask())
        result.cost = calls.cost()
    result.asked = len(uses)
    result.out_of_place = Bootstrap(seed=seed).mean(
        [(float(verdicts[index]), uses[index].prompt.id) for index in sorted(verdicts)]
    )
    for index in sorted(verdicts):
        bad, all_ = result.by_word.get(uses[index].word, (0, 0))
        result.by_word[uses[index].word] = (bad + verdicts[index], all_ + 1)
    return result


def _find_uses(
    run: RunDirectory, recipe: Recipe, prompts: dict[str, PromptRow], words: Sequence[str], *, steps: range
) -> Iterator[KeywordUse]:
    """Yield the responses of some steps that use one of `words`, each with the word that it uses most."""
    for step in steps:
        for rollout in run.database.rollouts(step=step):
            answer = parse_response(rollout.text, recipe.generation.think).answer
            counts = Counter(content_terms(units(answer)))
            used = [word for word in words if counts[word]]
            if used:
                most = max(used, key=lambda word: (counts[word], word))
                yield KeywordUse(prompts[rollout.prompt_id], answer, most, step)
