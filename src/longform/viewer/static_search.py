"""The data of a bundle's page of rollouts, which finds them without a server: facts, beginnings, and an index of words."""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

from longform.records.database import RolloutRecord
from longform.records.rollout_search import RolloutFacts
from longform.report.rendering import visible

MAX_ROLLOUTS = 50_000
"""The latest rollouts of a run that its page in a bundle lists; a browser must hold all of them."""
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]|[^\W_]+")


class StaticIndex(NamedTuple):
    """What the page's script (`templates/search.js`) reads."""

    rollouts: list[list[Any]]
    """For each rollout the fields of `RolloutFacts`, and the beginning of its text."""
    words: dict[str, list[int]]
    """The rollouts with each word: the place of the first one in `rollouts`, then the distances to the next ones."""


def index_rollouts(records: Iterable[RolloutRecord], *, opening: int) -> StaticIndex:
    """Index rollouts.

    Args:
        records: In the order of their steps and rows.
        opening: Number of characters of a text's beginning.
    """
    rollouts: list[list[Any]] = []
    places: dict[str, list[int]] = {}
    latest: dict[str, int] = {}
    for place, record in enumerate(records):
        facts = [getattr(record, name) for name in RolloutFacts._fields]
        rollouts.append([*facts, " ".join(record.text[: 4 * opening].split())[:opening]])
        for word in words_of(record.text):
            places.setdefault(word, []).append(place - latest.get(word, 0))
            latest[word] = place
    return StaticIndex(rollouts, places)


def script_data(data: Mapping[str, Any]) -> Markup:
    """JSON for a `script` element of a page, which ends at the first `</script`."""
    text = visible(json.dumps(data, separators=(",", ":"), ensure_ascii=False))
    return Markup(text.replace("<", r"\u003c"))


def words_of(text: str) -> list[str]:
    """The distinct words of a text without case and accents; each ideograph and kana is a word. search.js does the same."""
    if not text.isascii():
        text = "".join(it for it in unicodedata.normalize("NFD", text) if unicodedata.category(it)[0] != "M")
    return list(dict.fromkeys(_WORD.findall(text.lower())))
