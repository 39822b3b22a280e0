"""Published sets of people's preferences, read from the published files: as pairs with labels, or as groups with scores.

A row has one of three forms, recognised by its fields: two texts of which one was chosen; a request; or a text with its
score. Which text of a pair comes first is decided by a hash of the content, so labels do not depend on the position.
"""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from longform.evaluation.audit.pairs import AuditedPair
from longform.evaluation.audit.scored_groups import ScoredGroup
from longform.records.adapting import AS_IS, Reading, content_id
from longform.records.errors import BadInputError, RowsWarning
from longform.records.files import read_located_rows
from longform.records.schemas import Row, Winner

PresetName = Literal["litbench", "writingpreferencebench", "hellobench"]

_SWAPPED: Mapping[Winner, Winner] = {"a": "b", "b": "a", "tie": "tie"}
_REMOVED = frozenset({"", "[deleted]", "[removed]"})
"""Texts that replace a story that its author or a moderator has deleted."""


@dataclass(frozen=True, slots=True)
class _Preset:
    """Names of the fields of a published set. Where a field has several names, the first that a row contains is used."""

    chosen: str | None = None
    rejected: str | None = None
    """None: the set has no rows of two texts."""
    request: Sequence[str] = ("prompt",)
    ids: Sequence[str] = ("prompt_id", "id")
    scores: Sequence[str] = ()
    """Fields of a text's score: a number, or a list of numbers to average. Empty: the set has no texts with scores."""
    pair_ids: Sequence[str] = ()
    """Fields that together form a pair's id; empty: the id is a hash of the content."""
    without_texts: str = ""
    """The error if no row has a text: what to do."""
    caution: str = ""
    """Warning printed if the scores are not by people."""


_PRESETS: Mapping[PresetName, _Preset] = {
    "litbench": _Preset(
        chosen="chosen_story",
        rejected="rejected_story",
        pair_ids=("chosen_comment_id", "rejected_comment_id"),
        without_texts="the rows name comments without their texts; LitBench's script rehydrate.py fetches these",
    ),
    "writingpreferencebench": _Preset(
        chosen="chosen", rejected="rejected", request=("prompt", "instruction", "query"), scores=("human_scores",)
    ),
    "hellobench": _Preset(
        request=("instruction", "prompt"),
        scores=("score", "checklist_scores"),
        caution="these scores are GPT-4o's by the checklists of HelloBench: agreement is with that judge, not with people",
    ),
}
PRESETS = tuple(_PRESETS)


@dataclass(frozen=True, slots=True)
class _PublishedText:
    text: str
    model: str | None
    score: float | None


@dataclass(frozen=True, slots=True)
class _PublishedPair:
    id: str
    prompt: str
    chosen: _PublishedText
    rejected: _PublishedText


@dataclass(frozen=True, slots=True)
class _PublishedRows:
    """The rows of a set."""

    pairs: Sequence[_PublishedPair]
    groups: Mapping[str, tuple[str, Sequence[_PublishedText]]]
    """Request and its texts, by prompt id."""


def read_preset_pairs(preset: PresetName, files: Sequence[Path], reading: Reading = AS_IS) -> list[AuditedPair]:
    """Read a published set as pairs with labels. Texts with scores give a pair for every two of one request.

    Args:
        preset: Name of the set.
        files: Its files, in any order, or ids of datasets.
        reading: How many bad rows to skip.

    Raises:
        BadInputError: a row has none of the set's forms, or the files contain no pair.
    """
    published = _read(preset, files, reading)
    pairs = [_audited(it.id, it.prompt, it.chosen, it.rejected, "a") for it in published.pairs]
    for id_, (prompt, texts) in published.groups.items():
        for (number, one), (other_number, other) in combinations(enumerate(texts, 1), 2):
            if one.score is not None and other.score is not None:
                label: Winner = "a" if one.score > other.score else "b" if other.score > one.score else "tie"
                pairs.append(_audited(f"{id_} {number}-{other_number}", prompt, one, other, label))
    if not pairs:
        raise BadInputError(
            f"{files[0]}: no pair of texts that people have compared or scored; is --preset {preset} right?"
        )
    return pairs


def read_preset_groups(preset: PresetName, files: Sequence[Path], reading: Reading = AS_IS) -> list[ScoredGroup]:
    """Read a published set as groups with scores; a pair is a group of two.

    Args:
        preset: Name of the set.
        files: Its files, in any order, or ids of datasets.
        reading: How many bad rows to skip.

    Raises:
        BadInputError: a row has none of the set's forms, or no request has two texts.
    """
    published = _read(preset, files, reading)
    groups = [
        ScoredGroup.model_validate({"id": id_, "prompt": prompt, "responses": [_as_response(it) for it in texts]})
        for id_, (prompt, texts) in published.groups.items()
        if len(texts) > 1
    ]
    groups += [
        ScoredGroup.model_validate(_audited(it.id, it.prompt, it.chosen, it.rejected, "a").model_dump())
        for it in published.pairs
    ]
    if not groups:
        raise BadInputError(f"{files[0]}: no request has two texts to compare; is --preset {preset} right?")
    return groups


def _as_response(text: _PublishedText) -> dict[str, Any]:
    return {"text": text.text, "model": text.model, "score": text.score}


def _audited(id_: str, prompt: str, one: _PublishedText, other: _PublishedText, label: Winner) -> AuditedPair:
    """Build a pair, in an order that a hash of the content decides.

    `label` names the better text before that: a for `one`, b for `other`.
    """
    if int(content_id([prompt, one.text, other.text]), 16) % 2:
        one, other, label = other, one, _SWAPPED[label]
    return AuditedPair(
        id=id_,
        prompt=prompt,
        response_a=one.text,
        response_b=other.text,
        model_a=one.model,
        model_b=other.model,
        label=label,
    )


def _read(preset: PresetName, files: Sequence[Path], reading: Reading) -> _PublishedRows:
    form = _PRESETS[preset]
    pairs: list[_PublishedPair] = []
    seen: Counter[str] = Counter()
    requests: dict[str, str] = {}
    texts: dict[str, list[_PublishedText]] = {}
    scores: dict[tuple[str, str | None], float] = {}
    """By prompt id and model: scores in rows without a text, for texts of other rows."""
    unread = 0
    for location, row in read_located_rows(files, Row, reading):
        fields = row.model_extra or {}
        if form.chosen in fields and form.rejected in fields:
            pair = _read_pair(form, fields, location)
            if pair is None:
                unread += 1
            else:
                seen[pair.id] += 1
                again = f"-{seen[pair.id]}" if seen[pair.id] > 1 else ""
                pairs.append(_PublishedPair(pair.id + again, pair.prompt, pair.chosen, pair.rejected))
            continue
        if not form.scores:
            unread += 1
            continue
        id_, request = _first(fields, form.ids), _first(fields, form.request)
        text, score = fields.get("response"), _score(form, fields, location)
        if id_ is None or not (isinstance(request, str) or isinstance(text, str) or score is not None):
            raise BadInputError(
                f"{location}: not a row of {preset}: needs {' or '.join(form.ids)}, and one of a request, a text and a score"
            )
        id_, model = str(id_), None if fields.get("model") is None else str(fields["model"])
        if isinstance(request, str):
            requests[id_] = request
        if isinstance(text, str):
            if text.strip():
                texts.setdefault(id_, []).append(_PublishedText(text, model, score))
            else:
                unread += 1
        elif score is not None:
            scores[id_, model] = score
    if unread and not pairs and not texts:
        raise BadInputError(f"{files[0]}: {form.without_texts or 'no row has a text'}")
    if unread:
        _warn(f"{files[0]}: left out {unread} {'row' if unread == 1 else 'rows'} without a text")
    if lost := next((id_ for id_ in texts if id_ not in requests), None):
        raise BadInputError(f"{files[0]}: no file has the request of {lost!r}; give the file of requests as well")
    if form.caution:
        _warn(form.caution)
    groups = {
        id_: (
            requests[id_],
            [it if it.score is not None else replace(it, score=scores.get((id_, it.model))) for it in written],
        )
        for id_, written in texts.items()
    }
    return _PublishedRows(pairs, groups)


def _read_pair(form: _Preset, fields: Mapping[str, Any], location: str) -> _PublishedPair | None:
    """Return the pair of a row; None if a text is missing."""
    request = _first(fields, form.request)
    chosen, rejected = (_published_text(fields.get(name or "")) for name in (form.chosen, form.rejected))
    if chosen is None or rejected is None or request is None:
        return None
    if not isinstance(request, str):
        raise BadInputError(f"{location}: {form.request[0]}: not a text")
    names = [str(fields[name]) for name in form.pair_ids if fields.get(name)]
    id_ = "-".join(names) if names and len(names) == len(form.pair_ids) else ""
    return _PublishedPair(id_ or content_id([request, chosen.text, rejected.text]), request, chosen, rejected)


def _published_text(given: Any) -> _PublishedText | None:
    """Return a text, given alone or in an object with its model; None if it was deleted."""
    fields = given if isinstance(given, Mapping) else {"text": given}
    text, model = _first(fields, ("text", "response", "content")), fields.get("model")
    if not isinstance(text, str) or text.strip() in _REMOVED:
        return None
    return _PublishedText(text, model if isinstance(model, str) else None, None)


def _score(form: _Preset, fields: Mapping[str, Any], location: str) -> float | None:
    given = _first(fields, form.scores)
    if given is None:
        return None
    values = given if isinstance(given, list) else [given]
    if not all(isinstance(it, int | float) and not isinstance(it, bool) for it in values):
        raise BadInputError(f"{location}: {' or '.join(form.scores)}: not a number or a list of numbers")
    return fmean(values) if values else None


def _first(fields: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _warn(message: str) -> None:
    warnings.warn(message, RowsWarning, stacklevel=4)
