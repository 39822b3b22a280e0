"""Ask a benchmark's questions in rounds; resumable per answer.

The log of calls is the only state: after a restart, answers are found by their question, so an answer is never reused
after a change of the data, the texts, the prompt or the judge.
"""

from collections import Counter

from longform.endpoints.client import Endpoint
from longform.endpoints.concurrency import map_bounded
from longform.endpoints.errors import describe_causes
from longform.evaluation.benchmarks.benchmark import Answers, Benchmark, ItemT, JudgePrompt, JudgeQuestion, Material
from longform.judging.judge import query
from longform.records.errors import StoppedError
from longform.records.progress import Progress


async def ask_judge(
    benchmark: Benchmark[ItemT],
    material: Material[ItemT],
    endpoint: Endpoint,
    wording: JudgePrompt,
    *,
    on_progress: Progress,
) -> Answers:
    """Return the judge's answers to all questions of a benchmark.

    Raises:
        BadInputError: the endpoint is down or refuses the key.
        StoppedError: the budget is exhausted, or no question was answered.
    """
    answers = Answers()

    async def work(question: JudgeQuestion) -> None:
        settings = question.settings or benchmark.card.judging
        assert settings is not None
        asked = await query(
            endpoint,
            question.message(),
            question.parse,
            unparsed="no_answer",
            retries=settings.retries,
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            top_p=settings.top_p,
            shape=question.shape if wording.template is None else None,
        )
        answers.calls[question.about] = asked.calls
        if asked.value is None:
            answers.missing[question.about] = str(asked.cause)
        else:
            answers.values[question.about] = asked.value
        on_progress(len(answers.values) + len(answers.missing), total)

    total = 0
    while new := [it for it in benchmark.questions(material, answers, wording) if it.about not in answers]:
        total = len(answers.values) + len(answers.missing) + len(new)
        await map_bounded(new, work, workers=endpoint.workers)
    if answers.missing and not answers.values:
        causes = describe_causes(Counter(answers.missing.values()))
        raise StoppedError(f"endpoint {endpoint.name}: no well-formed answer to any question ({causes})")
    return answers
