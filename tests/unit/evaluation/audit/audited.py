"""Pairs for the audit's tests, told in a few letters."""

from collections.abc import Sequence
from typing import Any

from longform.evaluation.audit.pairs import AuditedPair

WORDS: dict[str, Any] = {"a": "a", "b": "b", "t": "tie", "-": None}
LONG, SHORT = "long " * 30, "short " * 20


def make_pair(number: int, told: str, **fields: Any) -> AuditedPair:
    """A pair from `LABEL AB BA` of judge j, in letters: `a`, `b`, `t` for a tie, `-` for none; each has its own prompt."""
    label, ab, ba = (WORDS[it] for it in told)
    row: dict[str, Any] = {
        "id": f"pair-{number}",
        "prompt": f"Write {number}.",
        "response_a": "One text.",
        "response_b": "Other text.",
        "label": label,
        "verdicts": {"j": {"ab": ab, "ba": ba}},
    }
    return AuditedPair.model_validate(row | fields)


def make_pairs(told: Sequence[str], **fields: Any) -> list[AuditedPair]:
    """A pair for each of `told`."""
    return [make_pair(number, it, **fields) for number, it in enumerate(told)]
