"""What a run records of each response, promotion and validation text, and how a rollout becomes a row of its database."""

import hashlib
import json
import zlib
from dataclasses import dataclass
from typing import Any

from longform.statistics.moments import AdvantageMoments


@dataclass(frozen=True, slots=True)
class Rollout:
    """One response of the policy in one step, and what became of it."""

    step: int
    row: int
    prompt_id: str
    rung: int
    text: str
    reference: str
    """The text it was held against."""
    tokens: int
    words: int
    """Of the answer."""
    think_words: int
    """Of the plan before it."""
    finish_reason: str
    outcome: str | None
    """win, tie, loss; None where there is no verdict."""
    cause: str | None
    """Why there is no reward."""
    reward: float | None
    """The weighted mean of all rewards. None where one is missing: the rollout was masked out."""
    scores: dict[str, float] | None = None
    """What each reward gave, by kind."""
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
    """What the policy wrote for a held-out prompt after `step`, with the examiner's grade; None where it gave none."""

    step: int
    prompt_id: str
    prompt: str
    text: str
    grade: float | None


def text_hash(text: str) -> str:
    """The name under which a text is stored: its SHA-256 in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


ROLLOUT_COLUMNS = (
    "step", "row", "prompt_id", "rung", "text_hash", "reference_hash", "tokens", "words", "think_words",
    "finish_reason", "outcome", "cause", "reward", "scores", "disagreement", "consistent", "advantage_total",
    "advantage_squares", "advantage_tail", "calls",
)  # fmt: skip


def rollout_record(rollout: Rollout, *, text_hash: str, reference_hash: str) -> tuple[Any, ...]:
    """A rollout as a row of its table; its texts stand under their hashes."""
    moments = rollout.advantages[1:] if rollout.advantages else (None, None, None)
    return (
        rollout.step, rollout.row, rollout.prompt_id, rollout.rung, text_hash, reference_hash, rollout.tokens, rollout.words,
        rollout.think_words, rollout.finish_reason, rollout.outcome, rollout.cause, rollout.reward,
        json.dumps(rollout.scores), rollout.disagreement, rollout.consistent, *moments, json.dumps(rollout.calls),
    )  # fmt: skip


def read_rollout(record: tuple[Any, ...]) -> Rollout:
    """The rollout of a row in which compressed texts stand in place of their hashes."""
    fields: dict[str, Any] = dict(zip(ROLLOUT_COLUMNS, record, strict=True))
    text, reference = (zlib.decompress(fields.pop(name)).decode() for name in ("text_hash", "reference_hash"))
    moments = [fields.pop(f"advantage_{name}") for name in ("total", "squares", "tail")]
    advantages = None if None in moments else AdvantageMoments(fields["tokens"], *moments)
    consistent, calls = fields.pop("consistent"), tuple(json.loads(fields.pop("calls")))
    scores = json.loads(fields.pop("scores"))
    return Rollout(
        **fields,
        text=text,
        reference=reference,
        scores=scores,
        consistent=None if consistent is None else bool(consistent),
        advantages=advantages,
        calls=calls,
    )
