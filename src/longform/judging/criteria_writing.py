"""A judge writes the criteria of a request: names, descriptions, weights, score bands, and hard constraints.

The format is that of WritingBench (arXiv 2503.05244), with weights and constraints. Contrastive criteria come from a better
and a worse text for the request (OpenRubrics, arXiv 2510.07743). Request and texts are fenced. An answer that breaks a rule
is requested again, never repaired.
"""

import json
from functools import partial
from typing import Any, ClassVar, NamedTuple

from longform.endpoints.client import Endpoint
from longform.judging.answers import fence, last_object, only_object
from longform.judging.judge import AnswerShape, BaseJudge, JudgeReply, object_schema
from longform.records.schemas import Criterion, PromptRow
from longform.wording import Wording, load_wording

BANDS = ("1-2", "3-4", "5-6", "7-8", "9-10")
"""Bands of the scores by a criterion, as WritingBench publishes them."""
MAX_WEIGHT = 5
MAX_CONSTRAINTS = 5
_KEYS = ("criteria", "constraints")
_LONGEST_NAME, _LONGEST_TEXT = 80, 1000
"""Maximum lengths in characters."""
_NOT_IN_NAMES = frozenset('{}"\\')


class TextContrast(NamedTuple):
    """Two texts for one request, of which one is better."""

    better: str
    worse: str


class CriteriaJudge(BaseJudge):
    """Asks a model for the criteria of requests.

    Args:
        endpoint: the judge.
        secret: the run's secret, from which the tags of the fences are derived.
        count: criteria per request, without constraints.
        retries: how often to ask again after an answer that cannot be parsed.

    Raises:
        BadInputError: the judge has a template of its own, which cannot ask this question.
    """

    max_tokens: ClassVar = 4096

    def __init__(self, endpoint: Endpoint, *, secret: bytes, count: int = 5, retries: int = 2) -> None:
        super().__init__(endpoint, secret=secret, retries=retries)
        self._count = count

    async def write(self, prompt: PromptRow, contrast: TextContrast | None = None) -> JudgeReply[list[Criterion]]:
        """The criteria of a request, constraints last; the cause of an answer that cannot be parsed is `no_criteria`.

        Raises:
            BadInputError: the endpoint is misconfigured.
            StoppedError: the budget is spent.
        """
        question = ask_for_criteria(
            prompt, contrast, count=self._count, tag=self._tag(prompt.id), wording=self._wording
        )
        shape = AnswerShape(_schema(), parse=partial(parse_structured_criteria, count=self._count))
        parse = partial(parse_criteria, count=self._count)
        return await self._query(question, parse, unparsed="no_criteria", shape=shape)


def ask_for_criteria(
    prompt: PromptRow, contrast: TextContrast | None = None, *, count: int, tag: str, wording: Wording | None = None
) -> str:
    """The message that asks for `count` criteria of a request, and with `contrast` for ones that separate its two texts."""
    wording = wording or load_wording()
    say = partial(wording.text, language=wording.language_of(prompt.request))
    texts = {} if contrast is None else {"BETTER": contrast.better, "WORSE": contrast.worse}
    fences = [fence(label, it, tag=tag) for label, it in ({"REQUEST": prompt.request} | texts).items()]
    task = say("criteria.task").format(
        count=count,
        heaviest=MAX_WEIGHT,
        most=MAX_CONSTRAINTS,
        differ=f"{say('criteria.differ')}\n" if texts else "",
        shape=_example(),
    )
    return "\n\n".join([say("criteria.contrast" if texts else "criteria.role"), *fences, say("criteria.fenced"), task])


def parse_criteria(answer: str, *, count: int) -> list[Criterion] | None:
    """The criteria of the last well-formed `{"criteria": [...], "constraints": [...]}`; None if there is none.

    A well-formed answer has exactly `count` criteria with name, description, a weight of 1 to 5 and a text for each band,
    and at most five constraints with name and description. No name is used twice.
    """
    return last_object(answer, _KEYS, partial(_checked, count=count))


def parse_structured_criteria(answer: str, *, count: int) -> list[Criterion] | None:
    """The criteria of an answer that a JSON schema has constrained."""
    found = only_object(answer, _KEYS)
    return None if found is None else _checked(found, count=count)


def _checked(found: dict[str, Any], *, count: int) -> list[Criterion] | None:
    scored, constraints = found["criteria"], found["constraints"]
    if not (isinstance(scored, list) and isinstance(constraints, list)):
        return None
    if len(scored) != count or len(constraints) > MAX_CONSTRAINTS:
        return None
    criteria = [*map(_scored, scored), *map(_constraint, constraints)]
    valid = [it for it in criteria if it is not None]
    names = {it.name.casefold() for it in valid}
    return valid if len(names) == len(criteria) else None


def _scored(item: Any) -> Criterion | None:
    if not _has_keys(item, "name", "description", "weight", "bands"):
        return None
    weight, bands = item["weight"], item["bands"]
    if type(weight) is not int or not 1 <= weight <= MAX_WEIGHT or not _has_keys(bands, *BANDS):
        return None
    if not all(map(_is_text, bands.values())):
        return None
    named = _constraint({"name": item["name"], "description": item["description"]})
    return named and named.model_copy(
        update={"hard": False, "weight": weight, "bands": {it: bands[it] for it in BANDS}}
    )


def _constraint(item: Any) -> Criterion | None:
    if not (_has_keys(item, "name", "description") and _is_text(item["name"]) and _is_text(item["description"])):
        return None
    name = " ".join(item["name"].split())
    if len(name) > _LONGEST_NAME or _NOT_IN_NAMES & set(name):
        return None
    return Criterion(name=name, description=item["description"].strip(), hard=True)


def _has_keys(item: Any, *names: str) -> bool:
    return isinstance(item, dict) and item.keys() == set(names)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value.strip()) > 0 and len(value) <= _LONGEST_TEXT


def _example() -> str:
    """The format of an answer, with dots for texts."""
    bands = dict.fromkeys(BANDS, "...")
    criterion = json.dumps({"name": "...", "description": "...", "weight": "N", "bands": bands}).replace('"N"', "N")
    constraint = json.dumps({"name": "...", "description": "..."})
    return f'{{"criteria": [{criterion}, ...], "constraints": [{constraint}, ...]}}'


def _schema() -> dict[str, Any]:
    text = {"type": "string"}
    weight = {"type": "integer", "minimum": 1, "maximum": MAX_WEIGHT}
    criterion = {
        "name": text,
        "description": text,
        "weight": weight,
        "bands": object_schema(dict.fromkeys(BANDS, text)),
    }
    constraint = {"name": text, "description": text}
    return {
        "criteria": {"type": "array", "items": object_schema(criterion)},
        "constraints": {"type": "array", "items": object_schema(constraint)},
    }
