"""Contents of the pages about rollouts: the list with its conditions, one rollout, and the history of a prompt."""

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from longform.records.database import RolloutRecord
from longform.records.errors import BadInputError
from longform.records.rollout_search import (
    MAX_COUNT,
    FoundRollouts,
    RolloutFacts,
    RolloutFilter,
    Sorting,
    find_rollouts,
    words_query,
)
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder, PromptRow
from longform.report.rollouts import Segment, show_rollouts
from longform.report.verdict import stored_recipe
from longform.viewer.links import Links
from longform.viewer.static_search import MAX_ROLLOUTS, index_rollouts, script_data

PAGE = 50
MAX_TEXTS = 1000
"""Texts of a prompt, or of a group, on one page."""
_EXCERPT = 160
_NO_VERDICT = "no_verdict/"
"""Metrics of missing rewards: their share, and their numbers by cause and by length."""
_FIELDS = {
    "step": "step, or first step",
    "to": "last step",
    "prompt": "prompt id",
    "outcome": "outcome",
    "cause": "no reward because of",
    "min_reward": "reward from",
    "max_reward": "reward to",
    "min_words": "words from",
    "max_words": "words to",
    "min_disagreement": "disagreement from",
    "q": "words in the response",
    "sort": "order",
}
"""Fields of the form, and their labels."""
_SORTINGS: dict[Sorting, str] = {
    "step": "by step",
    "latest": "latest first",
    "-reward": "highest reward",
    "reward": "lowest reward",
    "-words": "longest",
    "words": "shortest",
    "-disagreement": "judges disagree most",
}


class RolloutLine(NamedTuple):
    """A rollout in the list."""

    facts: RolloutFacts
    address: str
    opening: list[Segment]


def read_filter(query: Mapping[str, str]) -> RolloutFilter:
    """The conditions of an address; `step` alone means that step.

    Raises:
        BadInputError: a value is no number, or no known choice.
    """
    first, last = _whole(query, "step"), _whole(query, "to")
    outcome = query.get("outcome") or None
    sort: Sorting | None = next((it for it in _SORTINGS if it == (query.get("sort") or "step")), None)
    if sort is None:
        raise BadInputError(f"order: {query['sort']!r} is unknown")
    if outcome not in (None, "win", "tie", "loss", "none"):
        raise BadInputError(f"outcome: {outcome!r} is none of win, tie, loss, none")
    return RolloutFilter(
        first_step=first,
        last_step=first if last is None else last,
        prompt_id=query.get("prompt") or None,
        outcome=outcome,
        cause=query.get("cause") or None,
        min_reward=_number(query, "min_reward"),
        max_reward=_number(query, "max_reward"),
        min_words=_whole(query, "min_words"),
        max_words=_whole(query, "max_words"),
        min_disagreement=_number(query, "min_disagreement"),
        text=query.get("q", ""),
        sort=sort,
    )


def list_content(
    run: RunDirectory, key: str, query: Mapping[str, str], links: Links, *, indexed: float
) -> dict[str, Any]:
    """The list of rollouts.

    Args:
        run: Run directory, open for reading.
        key: Of the run.
        query: Conditions, and `at`, the place of the first rollout in the list.
        links: Addresses.
        indexed: Share of the run's rollouts that the full-text index has.
    """
    conditions = {name: value for name in _FIELDS if (value := query.get(name))}
    offset, problem = 0, ""
    found = FoundRollouts([], 0)
    try:
        offset = _whole(query, "at") or 0
        found = find_rollouts(run.path, read_filter(query), offset=offset, limit=PAGE)
    except BadInputError as error:
        problem = str(error)
    lines = [
        RolloutLine(
            facts,
            links.rollout(key, facts.step, facts.row, conditions | {"at": offset + number}),
            _opening(_text_of(run, facts), query.get("q", "")),
        )
        for number, facts in enumerate(found.rollouts)
    ]
    return _form_content(run, key, conditions) | {
        "problem": problem,
        "count": f"at least {MAX_COUNT:,}" if found.total >= MAX_COUNT else f"{found.total:,}",
        "lines": lines,
        "first": offset + 1,
        "last": offset + len(lines),
        "earlier": links.rollouts(key, conditions | {"at": max(0, offset - PAGE)}) if offset else "",
        "later": links.rollouts(key, conditions | {"at": offset + PAGE}) if offset + PAGE < found.total else "",
        "indexed": f"{100 * indexed:.0f}%" if indexed < 1 else "",
    }


def rollout_content(
    run: RunDirectory,
    key: str,
    step: int,
    row: int,
    query: Mapping[str, str],
    links: Links,
    *,
    prompts: Mapping[str, PromptRow],
) -> dict[str, Any]:
    """The page of one rollout, with the others of its group and its neighbours in the list that it was chosen from.

    Raises:
        KeyError: there is no such rollout.
    """
    record = next(run.database.rollouts(step=step, row=row), None)
    if record is None:
        raise KeyError(f"step {step}, row {row}")
    conditions = {name: value for name in _FIELDS if (value := query.get(name))}
    at = _whole(query, "at")
    neighbours: dict[str, str] = {"earlier": "", "later": ""}
    if at is not None:
        for name, place in (("earlier", at - 1), ("later", at + 1)):
            found = find_rollouts(run.path, read_filter(query), offset=place, limit=1).rollouts if place >= 0 else []
            if found:
                neighbours[name] = links.rollout(key, found[0].step, found[0].row, conditions | {"at": place})
    same = RolloutFilter(first_step=step, last_step=step, prompt_id=record.prompt_id)
    group = find_rollouts(run.path, same, limit=MAX_TEXTS).rollouts
    (shown,) = show_rollouts(
        run.path, [record], prompts=prompts, recipe=stored_recipe(run), address=partial(links.rollout, key)
    )
    return {
        "key": key,
        "it": shown,
        "group": [
            RolloutLine(it, links.rollout(key, it.step, it.row), _opening(_text_of(run, it), ""))
            for it in group
            if it.row != row
        ],
        "history": links.prompt(key, record.prompt_id),
        "back": links.rollouts(key, conditions or {"step": step}),
        **neighbours,
    }


def prompt_content(
    run: RunDirectory,
    key: str,
    prompt_id: str,
    links: Links,
    *,
    prompts: Mapping[str, PromptRow],
    found: FoundRollouts | None = None,
) -> dict[str, Any]:
    """The history of a prompt: its rungs, and all texts that were written for it.

    Args:
        run: Run directory, open for reading.
        key: Of the run.
        prompt_id: The prompt.
        links: Addresses.
        prompts: Those of the run, by id.
        found: The first `MAX_TEXTS` of its rollouts; looked up by default.

    Raises:
        KeyError: there is no such prompt.
    """
    found = found or find_rollouts(run.path, RolloutFilter(prompt_id=prompt_id), limit=MAX_TEXTS)
    if not found.total and prompt_id not in prompts:
        raise KeyError(f"prompt {prompt_id}")
    promotions = [it for it in run.database.promotions() if it.prompt_id == prompt_id]
    prompt = prompts.get(prompt_id)
    references = prompt.references if isinstance(prompt, Ladder) else []
    rungs = [(f"after step {it.step}", it.rung) for it in promotions]
    if promotions and found.rollouts and found.rollouts[0].step <= promotions[0].step:
        rungs = [("at first", found.rollouts[0].rung), *rungs]
    return {
        "key": key,
        "prompt_id": prompt_id,
        "request": prompt.request if prompt else None,
        "rungs": [
            (
                when,
                rung,
                f"{references[rung].model}, score {references[rung].score:.3g}" if rung < len(references) else "",
            )
            for when, rung in rungs
        ],
        "lines": [
            RolloutLine(it, links.rollout(key, it.step, it.row), _opening(_text_of(run, it), ""))
            for it in found.rollouts
        ],
        "count": found.total,
    }


def search_content(run: RunDirectory, key: str, links: Links, *, steps: Sequence[int], total: int) -> dict[str, Any]:
    """The list of rollouts of a bundle, which a script fills.

    Args:
        run: Run directory, open for reading.
        key: Of the run.
        links: Addresses.
        steps: The steps with rollouts.
        total: Number of rollouts of the run.
    """
    listed = islice(run.database.rollouts(), max(0, total - MAX_ROLLOUTS), None)
    index = index_rollouts(listed, opening=_EXCERPT)
    pages = {step: links.step(key, step) for step in steps}
    return _form_content(run, key, {}) | {
        "lines": [],
        "count": f"{len(index.rollouts):,}",
        "left_out": f"{total:,}" if total > MAX_ROLLOUTS else "",
        "data": script_data(index._asdict() | {"pages": pages}),
    }


def _form_content(run: RunDirectory, key: str, conditions: Mapping[str, str]) -> dict[str, Any]:
    return {
        "key": key,
        "fields": _FIELDS,
        "sortings": _SORTINGS,
        "causes": _causes(run, conditions.get("cause")),
        "conditions": conditions,
    }


def step_content(
    run: RunDirectory, key: str, step: int, links: Links, *, prompts: Mapping[str, PromptRow]
) -> dict[str, Any]:
    """All rollouts of a step on one page, for a bundle."""
    shown = show_rollouts(
        run.path,
        run.database.rollouts(step=step),
        prompts=prompts,
        recipe=stored_recipe(run),
        address=partial(links.rollout, key),
    )
    return {"key": key, "step": step, "rollouts": shown}


def _causes(run: RunDirectory, chosen: str | None) -> list[str]:
    """Why rewards of a run are missing, by its metrics: quicker than to read all rollouts."""
    names = {name.removeprefix(_NO_VERDICT) for name in run.database.metric_names(_NO_VERDICT)}
    causes = {it for it in names if it != "share" and not it.startswith("words_")}
    return sorted(causes | ({chosen} if chosen and chosen != "any" else set()))


def _text_of(run: RunDirectory, facts: RolloutFacts) -> str:
    try:
        record: RolloutRecord | None = next(run.database.rollouts(step=facts.step, row=facts.row), None)
    except BadInputError:
        return "(its text is damaged)"
    return record.text if record else ""


def _opening(text: str, searched: str) -> list[Segment]:
    """The beginning of a text in one line, or the place of the first word that was searched for."""
    line = " ".join(text.split())
    words = [re.escape(it.strip('"')) for it in words_query(searched).split()]
    found = re.search("|".join(words), line, re.IGNORECASE) if words else None
    if found is None:
        return [Segment(line[:_EXCERPT] + ("…" if len(line) > _EXCERPT else ""))]
    start = max(0, found.start() - _EXCERPT // 3)
    end = start + _EXCERPT
    return [
        Segment(("…" if start else "") + line[start : found.start()]),
        Segment(found[0], ("value",)),
        Segment(line[found.end() : end] + ("…" if end < len(line) else "")),
    ]


def _whole(query: Mapping[str, str], name: str) -> int | None:
    given = query.get(name, "").strip()
    if not given:
        return None
    if not re.fullmatch(r"[0-9]{1,12}", given):
        raise BadInputError(f"{_FIELDS.get(name, name)}: {given!r} is not a whole number")
    return int(given)


def _number(query: Mapping[str, str], name: str) -> float | None:
    given = query.get(name, "").strip()
    if not given:
        return None
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadInputError(f"{_FIELDS[name]}: {given!r} is not a number")
    return value
