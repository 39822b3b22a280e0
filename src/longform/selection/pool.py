"""Collect writing prompts from several sources, without duplicates, benchmark prompts and unsuitable ones.

Prompts are checked in the order of the sources, each against the prompts kept so far. The earlier of two duplicates is kept,
and a dropped prompt never causes another to be dropped.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from longform.records.adapting import AS_IS, Reading
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.paths import check_out
from longform.records.progress import ProgressDisplay, no_progress
from longform.records.schemas import Prompt, Response, Row
from longform.selection.contamination import Benchmarks
from longform.selection.duplicates import DedupIndex, TokenizedText
from longform.selection.formats import RawPrompt, make_prompt
from longform.selection.sources import read_source, source_files, source_name
from longform.text.languages import guess_language
from longform.text.words import count_words

PROMPTS_BETWEEN_NEWS = 1000


class PoolOutcome(StrEnum):
    """The outcome of a prompt: the first that applies, in this order."""

    EMPTY = "empty"
    TOXIC = "toxic"
    REDACTED = "redacted"
    LANGUAGE = "other language"
    SHORT = "too short"
    LONG = "too long"
    BENCHMARK = "in a benchmark"
    DUPLICATE = "duplicate"
    NEAR = "near duplicate"
    NOT_DRAWN = "not sampled"
    KEPT = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """Criteria for keeping prompts."""

    languages: frozenset[str] = frozenset()
    """Language codes; empty: all, including unknown ones."""
    min_words: int = 5
    max_words: int = 10_000
    near_dup_threshold: float = 0.8
    """Minimum Jaccard similarity of near-duplicates."""
    keep_redacted: bool = False
    limit: int | None = None
    """Size of a random sample of the remaining prompts; None keeps all."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.min_words > self.max_words:
            raise BadInputError(f"--min-words {self.min_words}: larger than --max-words {self.max_words}")


class Dropped(Row):
    """A dropped prompt, its location in its source, and the reason."""

    key_fields: ClassVar[tuple[str, ...]] = ("place",)
    id: str
    source: str
    place: str
    reason: PoolOutcome
    of: str | None = None
    """Id of the similar prompt: in a benchmark, or kept earlier (even if it was not sampled in the end)."""
    by: str | None = None
    """The overlap: a similarity, or a run of words."""


class _DropReason(NamedTuple):
    fate: PoolOutcome
    of: str | None = None
    by: str | None = None


class Kept(NamedTuple):
    """A kept prompt, its location in its source, and the source's own answer."""

    prompt: Prompt
    source: str
    place: str
    answer: str | None = None


@dataclass(slots=True)
class Pool:
    """Kept and dropped prompts, with counts by source."""

    kept: list[Kept] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    sources: dict[str, Counter[PoolOutcome]] = field(default_factory=dict)
    """Number of prompts by source and outcome."""

    @property
    def prompts(self) -> list[Prompt]:
        """The kept prompts, in the order of the sources."""
        return [it.prompt for it in self.kept]

    @property
    def responses(self) -> list[Response]:
        """The sources' own answers, with the source as the model; their prompts without one are left out."""
        return [
            Response(prompt_id=it.prompt.id, model=source_name(it.source), text=it.answer)
            for it in self.kept
            if it.answer is not None
        ]

    def total(self) -> Counter[PoolOutcome]:
        """Number of prompts of all sources by outcome."""
        return sum(self.sources.values(), Counter())

    def outcomes(self) -> dict[PoolOutcome, int]:
        """Number of prompts by outcome, without zeros, in the order of the checks."""
        total = self.total()
        return {outcome: total[outcome] for outcome in PoolOutcome if total[outcome]}


def build_pool(
    sources: Sequence[str],
    settings: PoolSettings,
    *,
    out: Path,
    decontaminate: Sequence[str] = (),
    dropped: Path | None = None,
    responses: Path | None = None,
    reading: Reading = AS_IS,
    progress: ProgressDisplay = no_progress,
) -> Pool:
    """Collect the prompts of all sources and write them to `out`.

    Args:
        sources: Files, folders or dataset ids (see `sources.read_source`).
        settings: Criteria for keeping prompts.
        out: Prompts file to write.
        decontaminate: Sources of benchmark prompts to exclude.
        dropped: File with one row per dropped prompt and the reason.
        responses: File for the sources' own answers to the kept prompts.
        reading: How the files are read: renamed columns, and bad rows to skip.
        progress: Progress display.

    Raises:
        BadInputError: a source cannot be read, a file would be overwritten, no prompt is left, or `responses` is asked for
            and no source has answers.
    """
    inputs = [path for source in (*sources, *decontaminate) for path in source_files(source)]
    check_out(out, *inputs)
    written = {out.resolve(): "--out"}
    for flag, path in {"--dropped": dropped, "--responses": responses}.items():
        if path is not None:
            check_out(path, *inputs, flag=flag)
            if (other := written.setdefault(path.resolve(), flag)) != flag:
                raise BadInputError(f"{flag} {path}: the same file as {other}")
    with progress("collecting prompts") as advance:
        pool = gather(sources, settings, decontaminate=decontaminate, reading=reading, on_progress=advance)
    if not pool.kept:
        causes = ", ".join(f"{count} {outcome}" for outcome, count in pool.outcomes().items())
        raise BadInputError(f"no prompt of {', '.join(sources)} is left: {causes}")
    if responses is not None and not pool.responses:
        raise BadInputError(
            f"--responses {responses}: no kept prompt has an answer in its source; answers are read from `messages` and "
            "`conversation`"
        )
    if dropped is not None:
        write_rows(dropped, pool.dropped)
    if responses is not None:
        write_rows(responses, pool.responses)
    write_rows(out, pool.prompts)
    return pool


def gather(
    sources: Sequence[str],
    settings: PoolSettings,
    *,
    decontaminate: Sequence[str] = (),
    reading: Reading = AS_IS,
    on_progress: Callable[[int, int], None] = lambda kept, read: None,
) -> Pool:
    """Collect the prompts of all sources.

    Args:
        sources: Files, folders or dataset ids (see `sources.read_source`).
        settings: Criteria for keeping prompts.
        decontaminate: Sources of benchmark prompts to exclude.
        reading: How the files are read: renamed columns, and bad rows to skip.
        on_progress: Called with (prompts kept, prompts read).

    Raises:
        BadInputError: a source cannot be read.
    """
    benchmarks = Benchmarks(_benchmark_wordings(decontaminate, reading), near=settings.near_dup_threshold)
    seen, taken, pool, read = DedupIndex(settings.near_dup_threshold), set[str](), Pool(), 0
    for source in dict.fromkeys(sources):
        name, fates = source_name(source), pool.sources.setdefault(source, Counter())
        for place, offer in read_source(source, reading):
            wording, language = TokenizedText(offer.request), offer.language or guess_language(offer.request)
            cause = _unfit(offer, wording, language, settings) or _unoriginal(wording, benchmarks, seen)
            id_ = own_id(offer)
            if cause is None:
                id_ = id_ if id_ not in taken else f"{id_}-{_hash(offer.request)}"
                taken.add(id_)
                seen.add(id_, wording)
                prompt = make_prompt(offer, id=id_, meta=_meta(offer, name, language))
                pool.kept.append(Kept(prompt, source, place, offer.answer))
            else:
                pool.dropped.append(_dropped(id_, source, place, cause))
            fates[cause.fate if cause else PoolOutcome.KEPT] += 1
            read += 1
            if read % PROMPTS_BETWEEN_NEWS == 0:
                on_progress(len(pool.kept), read)
    on_progress(len(pool.kept), read)
    if settings.limit is not None:
        _draw(pool, settings.limit, settings.seed)
    return pool


def own_id(offer: RawPrompt) -> str:
    """Return the source's id or a hash of the text, with the format's prefix if it is not unique by itself."""
    return "-".join(filter(None, (offer.prefix, offer.id or _hash(offer.request))))


def _unfit(
    offer: RawPrompt, wording: TokenizedText, language: str | None, settings: PoolSettings
) -> _DropReason | None:
    """Return why a prompt is unsuitable by itself; None if it is not."""
    if not wording.units:
        return _DropReason(PoolOutcome.EMPTY)
    if offer.toxic:
        return _DropReason(PoolOutcome.TOXIC)
    if offer.redacted and not settings.keep_redacted:
        return _DropReason(PoolOutcome.REDACTED)
    if settings.languages and language not in settings.languages:
        return _DropReason(PoolOutcome.LANGUAGE)
    # The word count covers only Latin and Chinese scripts; prompts in other scripts are not short because of that.
    words = max(count_words(offer.request), len(wording.units))
    if words < settings.min_words:
        return _DropReason(PoolOutcome.SHORT)
    return _DropReason(PoolOutcome.LONG) if words > settings.max_words else None


def _unoriginal(wording: TokenizedText, benchmarks: Benchmarks, seen: DedupIndex) -> _DropReason | None:
    """Return the overlap of a prompt with benchmark prompts or earlier prompts; None without one."""
    if overlap := benchmarks.find(wording):
        return _DropReason(PoolOutcome.BENCHMARK, overlap.id, overlap.by)
    if same := seen.find_same(wording):
        return _DropReason(PoolOutcome.DUPLICATE, same)
    if near := seen.find_near(wording):
        return _DropReason(PoolOutcome.NEAR, near.id, f"similarity {near.similarity:.2f}")
    return None


def _meta(offer: RawPrompt, source: str, language: str | None) -> dict[str, Any]:
    meta = {"language": language, "language_from": "source" if offer.language else "text"} if language else {}
    return {"source": source} | meta


def _dropped(id_: str, source: str, place: str, cause: _DropReason) -> Dropped:
    return Dropped(id=id_, source=source, place=place, reason=cause.fate, of=cause.of, by=cause.by)


def _draw(pool: Pool, limit: int, seed: int) -> None:
    """Keep a random sample of `limit` prompts, in order; the beginning of a log covers only one period."""
    count = len(pool.kept)
    chosen = set(random.Random(seed).sample(range(count), min(limit, count)))
    for i, it in enumerate(pool.kept):
        if i not in chosen:
            pool.dropped.append(_dropped(it.prompt.id, it.source, it.place, _DropReason(PoolOutcome.NOT_DRAWN)))
            pool.sources[it.source][PoolOutcome.KEPT] -= 1
            pool.sources[it.source][PoolOutcome.NOT_DRAWN] += 1
    pool.kept = [it for i, it in enumerate(pool.kept) if i in chosen]


def _benchmark_wordings(decontaminate: Sequence[str], reading: Reading) -> Iterator[tuple[str, TokenizedText]]:
    for source in decontaminate:
        for _, offer in read_source(source, reading):
            yield f"{source_name(source)}:{own_id(offer)}", TokenizedText(offer.request)


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
