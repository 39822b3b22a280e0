"""What a run records of each response, promotion and validation text, and how a rollout is stored as a row."""

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from longform.statistics.moments import AdvantageMoments


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """One response of the policy in one step, with its verdict and reward."""

    step: int
    row: int
    prompt_id: str
    rung: int
    text: str
    reference: str
    """The text it was compared with."""
    tokens: int
    words: int
    """Of the answer."""
    think_words: int
    """Of the plan before it."""
    finish_reason: str
    outcome: str | None
    """win, tie, loss; None for a missing verdict."""
    cause: str | None
    """Why the reward is missing."""
    reward: float | None
    """The weighted mean of all rewards. None if one is missing: the rollout was masked."""
    scores: dict[str, float] | None = None
    """The score of each reward, by kind."""
    disagreement: float | None = None
    consistent: bool | None = None
    """Of a panel, and of a judge that was asked once more: see `rewards.judged.Rewarded`."""
    advantages: AdvantageMoments | None = None
    """PPO: of the advantages before whitening, with score 0 where there is no reward."""
    calls: tuple[str, ...] = ()
    """Request hashes of the judge calls behind the outcome."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """A prompt that reached `rung` with the update of `step`."""

    step: int
    prompt_id: str
    rung: int


@dataclass(frozen=True, slots=True)
class ValidationText:
    """The policy's response to a held-out prompt after `step`, with the examiner's grade; None if that is missing."""

    step: int
    prompt_id: str
    prompt: str
    text: str
    grade: float | None


def text_hash(text: str) -> str:
    """The key under which a text is stored: its SHA-256 in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


_MOMENTS = ("total", "squares", "tail")
_TEXTS = ("text", "reference")


def rollout_record(rollout: RolloutRecord) -> dict[str, Any]:
    """The columns of a rollout, without the hashes of its two texts."""
    columns = {field.name: getattr(rollout, field.name) for field in fields(rollout) if field.name not in _TEXTS}
    moments = columns.pop("advantages")
    columns |= {f"advantage_{name}": moments and getattr(moments, name) for name in _MOMENTS}
    return columns | {"scores": json.dumps(rollout.scores), "calls": json.dumps(rollout.calls)}


def read_rollout(row: Mapping[str, Any] | sqlite3.Row) -> RolloutRecord:
    """The rollout of a row, which also holds its two texts, compressed; columns that are unknown here are skipped."""
    moments = [row[f"advantage_{name}"] for name in _MOMENTS]
    return RolloutRecord(
        step=row["step"],
        row=row["row"],
        prompt_id=row["prompt_id"],
        rung=row["rung"],
        text=zlib.decompress(row["text"]).decode(),
        reference=zlib.decompress(row["reference"]).decode(),
        tokens=row["tokens"],
        words=row["words"],
        think_words=row["think_words"],
        finish_reason=row["finish_reason"],
        outcome=row["outcome"],
        cause=row["cause"],
        reward=row["reward"],
        scores=json.loads(row["scores"]),
        disagreement=row["disagreement"],
        consistent=None if row["consistent"] is None else bool(row["consistent"]),
        advantages=None if None in moments else AdvantageMoments(row["tokens"], *moments),
        calls=tuple(json.loads(row["calls"])),
    )
