"""What a signature says when it is found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A failure that a run shows, with the figures behind it."""

    name: str
    """Of the signature, such as `never-wins`; the same in every version."""
    first: int
    """First of the steps that show it."""
    last: int
    evidence: str
    """One sentence with figures."""
    advice: str
    """One sentence: what to change in the recipe."""
