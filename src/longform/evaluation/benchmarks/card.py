"""The facts about a benchmark: source, licence, files, and its published generation and judge settings."""

from collections.abc import Mapping
from dataclasses import dataclass

from longform.text.structure import Thinking


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """Published generation settings."""

    max_tokens: int
    temperature: float
    top_p: float = 1.0
    think: Thinking = "off"
    """Whether the writer is asked for a plan or tags; the text is then only the answer."""


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """Published judge settings."""

    max_tokens: int
    temperature: float
    retries: int
    """Number of retries after a malformed answer."""
    top_p: float = 1.0
    slots: tuple[str, ...] = ("request", "text")
    """Slots that a custom judge template must contain, as {slot}."""
    optional_slots: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BenchmarkCard:
    """The facts about a benchmark."""

    name: str
    measures: str
    """One-line description."""
    home: str
    """Address of the public source."""
    licence: str
    """Licence of the data."""
    files: Mapping[str, str]
    """File name -> address; the first file contains the items, the others are optional."""
    fields: frozenset[str]
    """Fields of every row of the first file; used to detect data of another benchmark."""
    writing: SamplingSettings
    judging: JudgeSettings | None = None
    """None: no judge needed."""
    comparing: JudgeSettings | None = None
    """Settings of pairwise questions, if they differ."""
    deviations: tuple[str, ...] = ()
    """Deviations from the published protocol, one sentence each."""
