"""One rollout as it is shown on a page: the texts with what was found in them marked, rewards, and the judges' answers."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from longform.judging.answers import LIST_LETTERS, value_place
from longform.recipe.recipe import Recipe
from longform.records.database import RolloutRecord
from longform.records.errors import BadInputError
from longform.records.recorded_calls import RecordedCall, find_call_log, has_calls, read_calls
from longform.records.schemas import Ladder, PromptRow
from longform.rewards.measured import FormatReward, looping_share
from longform.rewards.settings import FormatSettings
from longform.text.repetition import copied_share, repeated_ngram_share, repeats, stuffed_share
from longform.text.spans import (
    Span,
    copied_spans,
    differences,
    flagged_spans,
    repeated_ngram_spans,
    repeated_sentence_spans,
    stuffed_spans,
)
from longform.text.structure import Thinking, parse_response

MIN_COMMON = 0.2
"""Share of common words from which differing passages are marked; below it nearly everything differs."""
MAX_MARKED = 200_000
"""Characters of response and reference up to which passages are marked."""
KINDS = {
    "differs": "differs from the other text",
    "repeated": "repeats an earlier sentence or passage",
    "copied": "copied from the request or the reference",
    "stuffed": "used beyond natural use",
    "slop": "a phrase of the slop list",
    "value": "the verdict or scores that were read",
}
"""Marks of passages, and what they mean."""


class Segment(NamedTuple):
    """A part of a text, with the marks that all of it has."""

    text: str
    kinds: tuple[str, ...] = ()

    @property
    def classes(self) -> str:
        """Names of the marks, for the style of the page."""
        return " ".join(self.kinds)

    @property
    def meaning(self) -> str:
        """The marks in words."""
        return "; ".join(KINDS[kind] for kind in self.kinds)


class TextOfCall(NamedTuple):
    """A text that a judge compared, as it is shown."""

    letter: str
    """By which the judge names it: A is the text that it read first."""
    name: str
    address: str = ""
    """Of its page, if there is one."""
    is_own: bool = False
    """Whether it is the response on whose page it is shown."""


class ShownCall(NamedTuple):
    """One call to a judge about a rollout."""

    endpoint: str
    model: str
    outcome: str
    answer: list[Segment]
    thoughts: str
    tokens: str
    seconds: str
    cost: str
    question: str = ""
    """Which of several questions about the same texts it answers."""
    texts: Sequence[TextOfCall] = ()
    """For a comparison within a group: its texts in the order in which the judge read them."""


class ShownRollout(NamedTuple):
    """A rollout as it is shown."""

    step: int
    row: int
    prompt_id: str
    outcome: str | None
    facts: dict[str, str]
    rewards: dict[str, str]
    """Score by kind of reward."""
    penalties: dict[str, str]
    """What the format reward takes off for the answer, by penalty."""
    request: str | None
    """None if the prompts of the run cannot be read."""
    thoughts: str
    response: list[Segment]
    reference: list[Segment]
    """Empty without a reference."""
    common: float | None
    """Share of the words that response and reference have in common passages; None without a reference."""
    marks: list[str]
    """What is marked in the response, in words with numbers."""
    calls: list[ShownCall]

    @property
    def differs_throughout(self) -> bool:
        """Whether response and reference have too little in common for their differences to be marked."""
        return self.common is not None and self.common < MIN_COMMON


def show_rollouts(
    run: Path,
    rollouts: Iterable[RolloutRecord],
    *,
    prompts: Mapping[str, PromptRow],
    recipe: Recipe | None = None,
    address: Callable[[int, int], str] = lambda step, row: "",
) -> list[ShownRollout]:
    """Prepare rollouts of a run for a page.

    Args:
        run: Run directory, whose judge calls are read.
        rollouts: Of the run.
        prompts: By id; those that are missing are shown without their request.
        recipe: Of the run: the format of its responses, and what is penalized; None if it cannot be read.
        address: Of the page of the rollout of a step and row; empty if there is none.

    Raises:
        BadInputError: the records are damaged.
    """
    thinking: Thinking = recipe.generation.think if recipe else "off"
    format_reward = _format_reward(recipe)
    records = list(rollouts)
    calls = calls_by_hash(run, [it for record in records for it in record.calls])
    return [
        show_rollout(
            it,
            calls=calls,
            prompt=prompts.get(it.prompt_id),
            thinking=thinking,
            format_reward=format_reward,
            address=address,
        )
        for it in records
    ]


def show_rollout(
    record: RolloutRecord,
    *,
    calls: Mapping[str, Sequence[RecordedCall]],
    prompt: PromptRow | None,
    thinking: Thinking = "off",
    format_reward: FormatReward | None = None,
    address: Callable[[int, int], str] = lambda step, row: "",
) -> ShownRollout:
    """Prepare one rollout for a page.

    Args:
        record: The rollout.
        calls: Calls by the hash of their request.
        prompt: Its prompt, if it can be read.
        thinking: Format of its response.
        format_reward: The format reward of its run, if there is one.
        address: Of the page of the rollout of a step and row; empty if there is none.
    """
    parsed = parse_response(record.text, thinking)
    text = parsed.answer if parsed.well_formed and parsed.answer else record.text
    request = prompt.request if prompt else ""
    is_penalized = format_reward is not None and prompt is not None and text is parsed.answer
    if len(text) + len(record.reference) <= MAX_MARKED:
        found = _find_passages(text, request=request, reference=record.reference, format_reward=format_reward)
    else:
        found, is_penalized = _Passages({}, {}, None, ["nothing, the texts are too long"]), False
    penalties: dict[str, float] = {}
    if format_reward and is_penalized:
        penalties = format_reward.penalties(text, request=request, reference=record.reference)
    return ShownRollout(
        step=record.step,
        row=record.row,
        prompt_id=record.prompt_id,
        outcome=record.outcome,
        facts=_facts(record, prompt, well_formed=parsed.well_formed),
        rewards={kind: f"{score:.3g}" for kind, score in (record.scores or {}).items()},
        penalties={name: f"-{penalty:.3g}" for name, penalty in penalties.items() if penalty > 0},
        request=prompt.request if prompt else None,
        thoughts=parsed.think if text is parsed.answer else "",
        response=marked(text, found.response),
        reference=marked(record.reference, found.reference) if record.reference else [],
        common=found.common,
        marks=found.marks,
        calls=[
            call._replace(texts=_compared_texts(record, hash_, prompt, address))
            for hash_ in record.calls
            for call in show_calls([hash_], calls)
        ],
    )


class _Passages(NamedTuple):
    """Passages to mark, by the kind of their mark."""

    response: Mapping[str, Sequence[Span]]
    reference: Mapping[str, Sequence[Span]]
    common: float | None
    marks: list[str]
    """The marks of the response in words."""


def _find_passages(text: str, *, request: str, reference: str, format_reward: FormatReward | None) -> _Passages:
    """Find what to mark in a response and its reference, which may be empty."""
    repeated_sentences = repeated_sentence_spans(text)
    looping = repeated_ngram_spans(text) if looping_share(text) > 0 else []
    listed = format_reward.slop_words(text) if format_reward else []
    spans: dict[str, list[Span]] = {
        "repeated": _merged([*repeated_sentences, *looping]),
        "copied": _merged([*copied_spans(text, request), *copied_spans(text, reference)]),
        "stuffed": stuffed_spans(text),
        "slop": flagged_spans(text, listed) if listed else [],
    }
    marks = _marks(
        text, spans, sources=(request, reference), repeated=len(repeated_sentences), is_looping=bool(looping)
    )
    if not reference:
        return _Passages(spans, {}, None, marks)
    differing = differences(reference, text)
    if differing.common < MIN_COMMON:
        return _Passages(spans, {}, differing.common, marks)
    return _Passages(spans | {"differs": differing.other}, {"differs": differing.one}, differing.common, marks)


def _marks(
    text: str, spans: Mapping[str, Sequence[Span]], *, sources: Sequence[str], repeated: int, is_looping: bool
) -> list[str]:
    """What is marked in a text, with the shares that the format reward penalizes."""
    found: list[str] = []
    if repeated:
        found.append(f"{_counted(repeated, 'repeated sentence')} ({repeats(text).sentences:.0%} of the longer ones)")
    if is_looping:
        found.append(f"loops ({repeated_ngram_share(text):.0%} of the four-word sequences repeat an earlier one)")
    if spans["copied"]:
        share = max(copied_share(text, source) for source in sources)
        found.append(f"{_counted(len(spans['copied']), 'copied passage')} ({share:.0%} of the words)")
    if spans["stuffed"]:
        found.append(f"{_counted(len(spans['stuffed']), 'stuffed word')} ({stuffed_share(text):.0%})")
    if spans["slop"]:
        found.append(_counted(len(spans["slop"]), "passage") + " of the slop list")
    return found


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" + ("" if count == 1 else "s")


def _compared_texts(
    record: RolloutRecord, call: str, prompt: PromptRow | None, address: Callable[[int, int], str]
) -> list[TextOfCall]:
    """The texts that a call compared with the rollout's; none if it did not compare texts of the group."""
    texts = (record.compared or {}).get(call, ())
    shown: list[TextOfCall] = []
    for letter, it in zip(LIST_LETTERS, texts, strict=False):
        if it.row == record.row:
            shown.append(TextOfCall(letter, "this response", is_own=True))
        elif it.row is not None:
            shown.append(TextOfCall(letter, f"row {it.row}", address(record.step, it.row)))
        else:
            shown.append(TextOfCall(letter, _reference_name(prompt, it.rung or 0)))
    return shown


def _reference_name(prompt: PromptRow | None, rung: int) -> str:
    """The reference at a rung of a prompt, in words; None stands for a prompt that cannot be read."""
    if not isinstance(prompt, Ladder):
        return f"rung {rung}"
    if rung >= len(prompt.references):
        return f"rung {rung}, an earlier response of the policy"
    reference = prompt.references[rung]
    return f"rung {rung} ({reference.model}, score {reference.score:.3g})"


def _format_reward(recipe: Recipe | None) -> FormatReward | None:
    """The format reward of a recipe; if its list of phrases is not readable from here, without that penalty."""
    settings = next((it for it in recipe.rewards if isinstance(it, FormatSettings)), None) if recipe else None
    if settings is None:
        return None
    try:
        return FormatReward(settings)
    except BadInputError:
        return FormatReward(settings.model_copy(update={"slop": 0.0, "slop_list": None}))


def show_calls(hashes: Iterable[str], calls: Mapping[str, Sequence[RecordedCall]]) -> list[ShownCall]:
    """Prepare the calls of requests for a page, in the order of the requests."""
    return [_shown(call) for hash_ in hashes for call in calls.get(hash_, ())]


def calls_by_hash(path: Path, hashes: Sequence[str]) -> dict[str, list[RecordedCall]]:
    """The recorded calls of requests, by the hash of the request.

    Args:
        path: Run directory, or a file with a log of calls beside it.
        hashes: Of the requests.

    Raises:
        BadInputError: there is no log, or it is damaged.
    """
    if not hashes:
        return {}
    log = find_call_log(path)
    if not has_calls(log):
        return {}
    found: dict[str, list[RecordedCall]] = {}
    wanted = list(dict.fromkeys(hashes))
    for start in range(0, len(wanted), 500):  # SQLite limits the number of values in a query
        for call in read_calls(log, hashes=wanted[start : start + 500]):
            found.setdefault(call.request_hash, []).append(call)
    return found


def marked(text: str, spans: Mapping[str, Sequence[Span]]) -> list[Segment]:
    """Split a text at the ends of its marked passages, which may overlap.

    Args:
        text: The text.
        spans: Passages by the kind of their mark.
    """
    begins: dict[int, list[str]] = {}
    ends: dict[int, list[str]] = {}
    for kind, found in spans.items():
        for start, end in found:
            begins.setdefault(start, []).append(kind)
            ends.setdefault(end, []).append(kind)
    cuts = sorted({0, len(text), *begins, *ends})
    open_: Counter[str] = Counter()
    segments: list[Segment] = []
    for start, end in pairwise(cuts):
        open_.subtract(ends.get(start, ()))
        open_.update(begins.get(start, ()))
        segments.append(Segment(text[start:end], tuple(kind for kind in spans if open_[kind] > 0)))
    return segments or [Segment(text)]


def _facts(record: RolloutRecord, prompt: PromptRow | None, *, well_formed: bool) -> dict[str, str]:
    asked = (
        "" if prompt is None or prompt.length_range is None else " (asked for {} to {})".format(*prompt.length_range)
    )
    facts = {
        "reward": "none" if record.reward is None else f"{record.reward:.3g}",
        "rung": f"{record.rung}",
        "words": f"{record.words}{asked}" + (f" after a plan of {record.think_words}" if record.think_words else ""),
        "tokens": f"{record.tokens}",
    }
    if record.cause:
        facts["no reward"] = record.cause
    if record.finish_reason == "length":
        facts["ended"] = "cut off at max_tokens"
    if not well_formed:
        facts["structure"] = "broken"
    if record.disagreement is not None:
        facts["disagreement"] = f"{record.disagreement:.2g}"
    if record.consistent is not None:
        facts["asked again"] = "same verdict" if record.consistent else "another verdict"
    return facts


def _shown(call: RecordedCall) -> ShownCall:
    place = value_place(call.text)
    answer = call.text or call.message
    return ShownCall(
        endpoint=call.endpoint,
        model=call.served_model or call.model,
        outcome=call.outcome,
        answer=marked(answer, {"value": [Span(*place)]} if place else {}),
        thoughts=call.thoughts,
        tokens=f"{call.prompt_tokens or 0} + {call.completion_tokens or 0} tokens",
        seconds=f"{call.latency_seconds:.2g} s",
        cost="cost unknown" if call.cost is None else f"cost {call.cost:.4g}",
    )


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Passages of several sources without overlap."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.start <= found[-1].end:
            found[-1] = Span(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(span)
    return found
