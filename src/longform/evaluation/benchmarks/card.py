"""The facts about a benchmark: home, licence, files, and how its responses are written and judged as published."""

from collections.abc import Mapping
from dataclasses import dataclass

from longform.text.structure import Thinking


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How the benchmark has responses written, as published."""

    max_tokens: int
    temperature: float
    top_p: float = 1.0
    think: Thinking = "off"
    """Whether a plan or tags are asked for; the text is then the answer alone."""


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """How the benchmark has its judge asked, as published."""

    max_tokens: int
    temperature: float
    retries: int
    """How often to ask again after an answer that cannot be read."""
    top_p: float = 1.0
    slots: tuple[str, ...] = ("request", "text")
    """What a judge's own template must hold, as {slot}."""
    optional_slots: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BenchmarkCard:
    """What is to be known about a benchmark before it is run."""

    name: str
    measures: str
    """One line."""
    home: str
    """Address of its public home."""
    licence: str
    """Of its set."""
    files: Mapping[str, str]
    """Name -> address of each file of the set; the first one holds the items, the others may be missing."""
    fields: frozenset[str]
    """Fields of every row of the first file, by which the set of another benchmark is recognised."""
    writing: SamplingSettings
    judging: JudgeSettings | None = None
    """None: needs no judge."""
    comparing: JudgeSettings | None = None
    """Of questions that compare two texts, where these are asked otherwise."""
    deviations: tuple[str, ...] = ()
    """What is done otherwise than published, a sentence each."""
