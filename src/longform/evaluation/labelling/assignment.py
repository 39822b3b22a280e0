"""Random assignment of pairs to people, and of the order in which the two texts are shown; reproducible from a seed."""

import hashlib
import unicodedata
from collections.abc import Sequence
from functools import cached_property

from longform.records.errors import BadInputError
from longform.records.schemas import Order


class Assignment:
    """Assigns pairs to people: everybody gets all shared pairs and an equal part of the others.

    Args:
        pair_ids: Ids of the pairs.
        people: Names of the people.
        overlap: Share of the pairs that all of them label, 0 to 1.
        seed: Random seed.

    Raises:
        BadInputError: two people have the same name, or a name or the share is not usable.
    """

    def __init__(self, pair_ids: Sequence[str], people: Sequence[str], *, overlap: float = 1.0, seed: int = 0) -> None:
        if not 0 <= overlap <= 1:
            raise BadInputError(f"--overlap {overlap}: must be between 0 and 1")
        for name in people:
            if not name.strip() or people.count(name) > 1:
                raise BadInputError(f"--people {name!r}: every person needs a name of their own")
            if "," in name:
                raise BadInputError(f"--people {name!r}: separate names by spaces: {' '.join(name.split(','))}")
            if "/" in name or name in (".", "..") or any(unicodedata.category(it) in ("Cc", "Cs") for it in name):
                raise BadInputError(
                    f"--people {name!r}: names are part of an address; use no slash and no control character"
                )
        self.people, self._seed = list(people), seed
        self._pair_ids = sorted(pair_ids, key=lambda it: self._draw("which", it))
        self._shared = round(overlap * len(self._pair_ids))

    def pairs_of(self, person: str) -> list[str]:
        """Ids of the pairs that a person labels, in the order in which they are shown."""
        return self._assigned[person]

    def order(self, person: str, pair_id: str) -> Order:
        """The order in which a person sees the texts of a pair: `ab` shows response_a first."""
        return "ab" if self._draw("order", person, pair_id) % 2 else "ba"

    @cached_property
    def _assigned(self) -> dict[str, list[str]]:
        shared, own = self._pair_ids[: self._shared], self._pair_ids[self._shared :]
        return {
            person: sorted([*shared, *own[index :: len(self.people)]], key=lambda it: self._draw("when", person, it))
            for index, person in enumerate(self.people)
        }

    def _draw(self, *what: str) -> int:
        """A random number that depends on the seed and on what it is drawn for."""
        text = "\0".join([str(self._seed), *what])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
