"""What a file of rows holds, by the fields of its first row."""

from collections.abc import Collection, Mapping
from typing import Literal

RowKind = Literal["pairs", "ladders", "preferences", "games", "grades", "responses", "prompts"]
FIELDS: Mapping[RowKind, frozenset[str]] = {
    "pairs": frozenset({"response_a"}),
    "ladders": frozenset({"references"}),
    "preferences": frozenset({"chosen", "rejected"}),
    "games": frozenset({"prompt_id", "model_a", "model_b", "winner"}),
    "grades": frozenset({"prompt_id", "model", "score"}),
    "responses": frozenset({"prompt_id", "model", "text"}),
    "prompts": frozenset({"id", "prompt"}),
}
"""Fields by which a kind is recognised; of several kinds that match, the first counts."""


def kind_of_row(fields: Collection[str]) -> RowKind | None:
    """The kind of a row with these fields; None if they are of no known kind."""
    return next((kind for kind, telling in FIELDS.items() if telling.issubset(fields)), None)
