"""Asking an endpoint one small question of each kind, to see what it supports before a run depends on it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from longform.endpoints.client import Endpoint
from longform.endpoints.errors import EndpointError
from longform.endpoints.failures import quote
from longform.endpoints.limits import FailureWatch
from longform.endpoints.models import ModelSpec, find_model, read_models
from longform.endpoints.probe import find_listed
from longform.endpoints.recorded import RecordedCalls
from longform.judging import accepted
from longform.judging.judge import BaseJudge
from longform.judging.pairwise import PairwiseJudge
from longform.judging.pointwise import PointwiseJudge
from longform.records.calls import CallRecord
from longform.records.errors import BadInputError
from longform.records.schemas import Criterion, Prompt
from longform.text.words import count_words, estimate_tokens

ProbeKind = Literal["chat", "pairwise", "pointwise", "criterion", "long"]
"""`criterion`: the score by one criterion, as with `per_criterion`."""
KINDS: tuple[ProbeKind, ...] = ("chat", "pairwise", "pointwise", "long")
"""The questions of `longform probe`."""
LONG_REQUEST = "Write a story of about 600 words about a lighthouse."
LONG_ANSWER_TOKENS = 1500
_QUESTION_TOKENS = 900
"""Maximum number of tokens of a judge's question about the short texts below."""

PROBED = Prompt(
    id="probe",
    prompt="Write two sentences about rain.",
    criteria=[Criterion(name="clarity", description="easy to understand")],
)
"""The prompt of the texts that a judge is asked about."""
_GOOD = "Rain taps the roof all evening, patient as an old friend. By morning the street shines and smells of stone."
_BAD = "Rain is rain. It rains and rain is wet because rain is rain."


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of one question."""

    kind: ProbeKind
    is_usable: bool
    """Whether the answer could be used."""
    text: str
    """In one line: what was answered, or why it could not be used and what to set in models.yaml."""
    is_refused: bool = False
    """Whether the endpoint refused the request itself, not the text."""


@dataclass(slots=True)
class ProbeReport:
    """What an endpoint supports."""

    name: str
    results: list[ProbeResult] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    """Thinking, token parameter, temperature, structured output, context, usage and speed, in words."""
    cost: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether every question got a usable answer."""
        return all(it.is_usable for it in self.results)


def probe_log(name: str, models: Path) -> Path:
    """The file beside which the answers are recorded, next to models.yaml, so that they are not asked for again."""
    return models.parent / f"probe-{name}"


def greatest_price(spec: ModelSpec, kinds: Sequence[ProbeKind] = KINDS) -> float | None:
    """The maximum cost of the questions, with all retries; None without prices."""
    if spec.prices is None:
        return None
    total = 0.0
    if "chat" in kinds:  # `accepted` tries settings and features as well
        small = spec.prices.cost(
            prompt_tokens=_QUESTION_TOKENS, completion_tokens=spec.longest_answer(accepted.ANSWER_TOKENS)
        )
        total += accepted.MAX_QUESTIONS * (spec.retries + 1) * small
    for kind in kinds:
        default = {"chat": accepted.ANSWER_TOKENS, "long": LONG_ANSWER_TOKENS}.get(kind, BaseJudge.max_tokens)
        answer = spec.longest_answer(default)
        questions = 1 if kind in ("chat", "long") else 2  # a judge is asked again after an answer that cannot be parsed
        once = spec.prices.cost(prompt_tokens=_QUESTION_TOKENS, completion_tokens=answer)
        total += questions * (spec.retries + 1) * once
    return total


def probe(
    name: str,
    *,
    models: Path = Path("models.yaml"),
    kinds: Sequence[ProbeKind] = KINDS,
    budget: float | None = None,
) -> ProbeReport:
    """Ask the model called `name` one question of each of `kinds`.

    Args:
        name: in models.yaml.
        models: path of models.yaml.
        kinds: of questions.
        budget: stop before the calls cost more than this.

    Raises:
        BadInputError: an unknown name, a missing key, or an endpoint that is not reachable or does not have the model.
        StoppedError: the budget is spent.
    """
    spec = find_model(read_models(models), name, path=models)
    listed = asyncio.run(find_listed(name, spec))
    report = ProbeReport(name)
    with RecordedCalls(probe_log(name, models), models, name, budget=budget) as calls:
        found = asyncio.run(_ask_all(calls, spec, kinds, report.results))
        report.cost = calls.cost()
        made = calls.log.read(name)
    report.facts = {"models list": listed.text, **_facts(spec, made, listed.context), **found}
    return report


async def _ask_all(
    calls: RecordedCalls, spec: ModelSpec, kinds: Sequence[ProbeKind], results: list[ProbeResult]
) -> dict[str, str]:
    """Ask one question of each kind, in order, and add what it showed to `results`.

    Returns:
        What the endpoint accepts, if "chat" is among `kinds`: what helps against a refusal, and what it offers besides.
    """
    found: dict[str, str] = {}
    async with calls.endpoint() as endpoint:
        for kind in kinds:
            endpoint.failures = FailureWatch(endpoint.name)  # each question quotes its own failure
            try:
                result = await _ask(endpoint, kind, calls.log.secret())
            except BadInputError as error:
                about_question = "models.yaml" in str(error) or "template" in str(error)
                if not (results or endpoint.is_proven or about_question):
                    raise  # a key, an address or a name: no other question would be answered
                result = ProbeResult(kind, False, str(error), is_refused=kind in ("chat", "long"))
            results.append(result)
            if result.is_refused and "settings" not in found:
                found["settings"] = await _settings(calls, spec)
        is_proven = endpoint.is_proven
    if "chat" in kinds and is_proven:
        found |= await _abilities(calls, spec)
    return found


async def _settings(calls: RecordedCalls, spec: ModelSpec) -> str:
    """Describe the changes to models.yaml with which an endpoint that refused a request answers, found by trying."""
    changes = await accepted.find_changes(calls.endpoint, spec)
    if changes is None:
        return f"none of {', '.join(change.text for change in accepted.CHANGES)} helps"
    return f"it answers with {', '.join(change.text for change in changes)} in models.yaml"


async def _abilities(calls: RecordedCalls, spec: ModelSpec) -> dict[str, str]:
    """Describe features of the endpoint that models.yaml does not use yet; each is tried once."""
    async with calls.endpoint({"retries": 0}) as endpoint:
        abilities = {"logprobs": await accepted.letter_probabilities(endpoint)}
        if spec.structured is None:
            abilities["structured output"] = await accepted.structured_output(endpoint)
    return abilities


async def _ask(endpoint: Endpoint, kind: ProbeKind, secret: bytes) -> ProbeResult:
    if kind in ("chat", "long"):
        return await _ask_chat(endpoint, kind)
    if kind == "pairwise":
        verdict = await PairwiseJudge(endpoint, secret=secret).compare(PROBED, response=_GOOD, reference=_BAD, step=0)
        value = verdict.value
    else:
        grader = PointwiseJudge(endpoint, secret=secret, per_criterion=kind == "criterion")
        graded = await grader.grade(PROBED, _GOOD)
        value = None if graded.value is None else f"{graded.value.score:g} of 10"
    if value is None:
        return ProbeResult(kind, False, f"no usable answer ({endpoint.failures.first})")
    return ProbeResult(kind, True, f"{value} for the better text" if kind == "pairwise" else value)


async def _ask_chat(endpoint: Endpoint, kind: ProbeKind) -> ProbeResult:
    question = accepted.GREETING if kind == "chat" else LONG_REQUEST
    tokens = accepted.ANSWER_TOKENS if kind == "chat" else LONG_ANSWER_TOKENS
    try:
        answer = await endpoint.chat(
            [{"role": "user", "content": question}], temperature=0.7, max_tokens=tokens, sends_top_p=kind == "long"
        )
    except EndpointError as error:
        return ProbeResult(kind, False, quote(error), is_refused=error.cause == "rejected")
    if kind == "chat":
        return ProbeResult(kind, True, quote(answer.text[:60]))
    ending = "cut off" if answer.finish_reason == "length" else "complete"
    return ProbeResult(kind, True, f"{count_words(answer.text)} words, {ending}")


def _facts(spec: ModelSpec, calls: Sequence[CallRecord], listed_context: int | None) -> dict[str, str]:
    """What the recorded calls say about the endpoint."""
    answered = [it for it in calls if it.outcome == "ok"]
    thinking = [it for it in answered if it.thoughts or it.thought_tokens]
    written = [(it.completion_tokens or estimate_tokens(it.text), it.latency_seconds) for it in answered]
    tokens, seconds = sum(it[0] for it in written), sum(it[1] for it in written)
    context = spec.context or listed_context
    facts = {
        "thinking": _thinking(thinking, answered),
        "token parameter": f"{spec.token_parameter} is accepted" if answered else "no answer",
        "temperature": "left out" if spec.is_set("temperature") and spec.temperature is None else "is accepted",
        "structured output": "json_schema is used" if spec.structured else "not tried",
        "context": f"{context:,} tokens" if context else "unknown (set `context` in models.yaml)",
        "usage": "estimated: the endpoint does not state tokens"
        if any(it.is_estimated for it in answered)
        else "stated by the endpoint",
        "speed": f"{tokens / seconds:.0f} tokens a second" if seconds else "unknown",
    }
    served = {it.served_model for it in answered if it.served_model}
    if served:
        facts["answered by"] = ", ".join(sorted(served))
    return facts if answered else {"context": facts["context"]}


def _thinking(thinking: Sequence[CallRecord], answered: Sequence[CallRecord]) -> str:
    if not thinking:
        return "no thoughts"
    counted = [it.thought_tokens or estimate_tokens(it.thoughts) for it in thinking]
    return f"in {len(thinking)} of {len(answered)} answers, up to {max(counted):,} tokens"
