"""A judge's own wording: a text file with slots, for judges that were tuned on another wording than longform's.

The file is cut at its slots and never formatted, so braces in it, and in what goes into the slots, are text. Texts stand in
it defused but without fences, which such a judge has never seen.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from longform.endpoints.client import Endpoint
from longform.judging.answers import defuse
from longform.records.errors import BadInputError


@dataclass(frozen=True, slots=True)
class JudgeTemplate:
    """A wording with slots."""

    name: str
    """Of its file."""
    sha256: str
    """Of its content, in hex."""
    parts: tuple[str, ...]
    """Text and names of slots by turns; text first and last."""

    @classmethod
    def read(cls, path: Path, *, needs: Sequence[str], takes: Sequence[str] = ()) -> "JudgeTemplate":
        """The template of a file.

        Args:
            path: a UTF-8 text file.
            needs: the slots that it must hold, each at least once, as `{slot}`.
            takes: those that it may hold besides.

        Raises:
            BadInputError: the file cannot be read, or lacks a slot.
        """
        try:
            content = path.read_bytes()
            text = content.decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise BadInputError(f"{path}: the judge's template cannot be read: {reason}") from error
        parts = tuple(re.split(r"\{(" + "|".join(map(re.escape, (*needs, *takes))) + r")\}", text))
        missing = [f"{{{slot}}}" for slot in needs if slot not in parts[1::2]]
        if missing:
            raise BadInputError(f"{path}: the judge's template lacks {', '.join(missing)}, where that is to stand")
        return cls(path.name, hashlib.sha256(content).hexdigest(), parts)

    def fill(self, **texts: str) -> str:
        """The question with `texts` in the slots, defused."""
        return "".join(defuse(texts[part]) if index % 2 else part for index, part in enumerate(self.parts))


def refuse_template(endpoint: Endpoint) -> None:
    """Refuse a judge with a template where every question is in longform's own words.

    Raises:
        BadInputError: names the endpoint and the template.
    """
    template = endpoint.spec.template
    if template is not None:
        raise BadInputError(
            f"endpoint {endpoint.name}: its template {template.name} is for `longform bench` alone; "
            "to ask it in longform's own words, give it a second name in models.yaml, without template"
        )
