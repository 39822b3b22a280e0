"""Request the missing answers of an audit: verdicts in both orders, repeats, and verdicts on texts with an injected line.

Recorded answers cost nothing, so running a command again resumes it. Attacks are appended to texts that lose in both orders
and that people do not prefer: only there a flipped verdict is certainly an error.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from longform.endpoints.concurrency import map_bounded
from longform.evaluation.audit.pairs import AuditAnswer, AuditedPair
from longform.judging.attacks import ATTACKS, HARMLESS, Attack, append_line
from longform.judging.pairwise import WINNERS, PairwiseJudge, Verdict
from longform.records.calls import CallLog
from longform.records.progress import Progress
from longform.records.schemas import ORDERS, Order

PairSide = Literal["a", "b"]
_LINES = 2
"""Lines appended to an attacked text, one at a time: the attack, and a neutral control."""
QUESTIONS_OF_ATTACK = _LINES * len(ORDERS)
"""Maximum number of calls per attacked pair."""


@dataclass(frozen=True, slots=True)
class _AuditQuestion:
    """One question about the pair at index `index`; an attack is appended to the text of `side`."""

    index: int
    order: Order
    sample: int = 0
    attack: Attack | None = None
    side: PairSide = "a"


class Auditor:
    """Queries one judge about pairs.

    Args:
        judge: Queried in both orders, whatever its `position`.
        log: Record of the calls, for token counts.
        name: Name of the judge in the answers; by default its endpoint's.
        with_criteria: Show the judge the criteria of a prompt. False: hide them, and ask only about pairs that have some.
    """

    def __init__(
        self, judge: PairwiseJudge, *, log: CallLog, name: str | None = None, with_criteria: bool = True
    ) -> None:
        self._judge = judge
        self._with_criteria = with_criteria
        self._name = name or judge.endpoint.name
        self._log = log
        self.endpoint = judge.endpoint

    async def judge_pairs(
        self, pairs: Sequence[AuditedPair], *, repeats: int = 0, on_progress: Progress
    ) -> list[AuditedPair]:
        """Add the missing verdicts in both orders, and `repeats` extra repeats per question.

        Raises:
            BadInputError: the endpoint is misconfigured.
            StoppedError: the budget is exhausted.
        """
        name = self._name
        questions = []
        for index, pair in enumerate(pairs):
            if not self._with_criteria and not pair.criteria:
                continue
            known = {(it.order, it.sample) for it in pair.answers(name) if it.line is None and it.verdict is not None}
            wanted = [_AuditQuestion(index, order, sample) for sample in range(repeats + 1) for order in ORDERS]
            questions += [it for it in wanted if (it.order, it.sample) not in known]
        return await self._ask_all(pairs, questions, on_progress)

    async def attack_pairs(
        self, pairs: Sequence[AuditedPair], *, count: int, seed: int = 0, on_progress: Progress
    ) -> list[AuditedPair]:
        """Judge up to `count` pairs with an attack, and with a neutral line, appended to the worse text.

        Raises:
            BadInputError: the endpoint is misconfigured.
            StoppedError: the budget is exhausted.
        """
        name = self._name
        worse: dict[int, PairSide] = {
            index: side for index, pair in enumerate(pairs) if (side := worse_side(pair, name)) is not None
        }
        chosen = list(worse)
        random.Random(seed).shuffle(chosen)
        questions = []
        for number, index in enumerate(chosen[:count]):
            known = {(it.order, it.line) for it in pairs[index].answers(name) if it.verdict is not None}
            for line in (ATTACKS[number % len(ATTACKS)], HARMLESS):
                questions += [
                    _AuditQuestion(index, it, 0, line, worse[index]) for it in ORDERS if (it, line.name) not in known
                ]
        return await self._ask_all(pairs, questions, on_progress)

    async def _ask_all(
        self, pairs: Sequence[AuditedPair], questions: Sequence[_AuditQuestion], on_progress: Progress
    ) -> list[AuditedPair]:
        by_pair: dict[int, list[AuditAnswer]] = {}
        done = 0

        async def work(question: _AuditQuestion) -> None:
            nonlocal done
            by_pair.setdefault(question.index, []).append(await self._ask(pairs[question.index], question))
            done += 1
            on_progress(done, len(questions))

        await map_bounded(questions, work, workers=self.endpoint.workers)
        model = (self._name, self.endpoint.spec.model)
        order = {question: number for number, question in enumerate(ORDERS)}
        for answers in by_pair.values():
            answers.sort(key=lambda it: (it.line or "", it.sample, order[it.order]))
        return [
            pair.with_asked(by_pair[index], model=model) if index in by_pair else pair
            for index, pair in enumerate(pairs)
        ]

    async def _ask(self, pair: AuditedPair, question: _AuditQuestion) -> AuditAnswer:
        texts = {"a": pair.response_a, "b": pair.response_b}
        if question.attack is not None:
            letter = "A" if question.order[0] == question.side else "B"
            texts[question.side] = append_line(
                texts[question.side], question.attack, prompt=pair.request, letter=letter
            )
        request = pair.request
        verdict = await self._judge.compare_in_order(
            request if self._with_criteria else request.model_copy(update={"criteria": None}),
            response=texts["a"],
            reference=texts["b"],
            order=question.order,
            step=0,
            sample=question.sample,
        )
        prompt_tokens, completion_tokens = self._tokens(verdict)
        return AuditAnswer(
            judge=self._name,
            order=question.order,
            sample=question.sample,
            line=question.attack.name if question.attack is not None else None,
            verdict=WINNERS[verdict.value] if verdict.value is not None else None,
            cause=verdict.cause,
            cost=verdict.cost,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            calls=verdict.calls,
        )

    def _tokens(self, verdict: Verdict) -> tuple[int | None, int | None]:
        """Return prompt and completion tokens of the answers behind a verdict; None if any is unknown."""
        answers = [self._log.find(it) for it in verdict.calls]
        asked = [it.prompt_tokens if it is not None else None for it in answers]
        written = [it.completion_tokens if it is not None else None for it in answers]
        return _total(asked), _total(written)


def worse_side(pair: AuditedPair, judge: str) -> PairSide | None:
    """Return the text that loses in both orders according to `judge`, unless people prefer it; None if there is none."""
    verdicts = {pair.verdict(judge, order) for order in ORDERS}
    if verdicts == {"a"} and pair.label != "b":
        return "b"
    if verdicts == {"b"} and pair.label != "a":
        return "a"
    return None


def _total(numbers: Sequence[int | None]) -> int | None:
    known = [it for it in numbers if it is not None]
    return sum(known) if numbers and len(known) == len(numbers) else None
