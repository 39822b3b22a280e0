"""A table of stock words, overused words and repetition by model."""

from collections.abc import Mapping, Sequence

import numpy as np

from longform.evaluation.tables import Cell, Column, Table, explain, warn_of_few
from longform.statistics.bootstrap import clustered_interval, interval_of_sums
from longform.text.languages import guess_language
from longform.text.repetition import repeated_ngram_share, units
from longform.text.slop import count_stock, pet_words

_SHOWN = 5


def stock_table(texts: Mapping[str, Mapping[str, Sequence[str]]]) -> Table:
    """Tabulate slop, pet words, and repetition within texts.

    Args:
        texts: Model -> item -> texts.
    """
    columns = [
        Column("model", is_text=True),
        Column("slop", 1),
        Column("pet words %", 2),
        Column("repeated 4-grams %", 2),
    ]
    columns += [Column("n"), Column("prompts"), Column("most frequent pet words", is_text=True)]
    notes = [
        "slop: stock words, pairs (twice) and triples (eight times) per 1,000 words, by longform's own English lists",
        "pet words: a model's own 100 most frequent uncommon words, as a percentage of all its words; ranked by count "
        "(EQ-Bench: by overuse relative to a corpus)",
    ]
    rows = [_row(model, by_item) for model, by_item in texts.items()]
    if unlisted := [model for model, by_item in texts.items() if not _is_listed(by_item)]:
        notes.append(
            f"no figure for slop and pet words of {', '.join(unlisted)}: the lists are of English words, "
            "and most of the texts are not in English"
        )
    notes += warn_of_few(len(by_item) for by_item in texts.values())
    return Table("Stock words and repetition", columns, rows, notes)


def _row(model: str, texts: Mapping[str, Sequence[str]]) -> list[Cell]:
    pets = pet_words(texts)
    chosen = frozenset(pets)
    items = [item for item, written in texts.items() for _ in written]
    every = [text for written in texts.values() for text in written]
    stock = [count_stock(text) for text in every]
    own = [sum(word in chosen for word in units(text)) for text in every]
    slop = np.array([[1000.0 * it.weighted, it.words] for it in stock])
    share = np.array([[100.0 * count, it.words] for count, it in zip(own, stock, strict=True)])
    repeated = [100 * repeated_ngram_share(text) for text in every]
    intervals = (
        interval_of_sums(slop, items, _ratio),
        interval_of_sums(share, items, _ratio),
        clustered_interval(repeated, items),
    )
    cells: list[Cell] = [explain(it, prompts=len(texts)) for it in intervals]
    if not _is_listed(texts):
        cells[:2], pets = [None, None], []
    return [model, *cells, len(every), len(texts), ", ".join(pets[:_SHOWN])]


def _is_listed(texts: Mapping[str, Sequence[str]]) -> bool:
    """Whether the English lists apply to most of the texts; in a Chinese text, 0 stock words means nothing."""
    every = [text for written in texts.values() for text in written if text.strip()]
    return not every or 2 * sum(map(_is_english, every)) > len(every)


def _is_english(text: str) -> bool:
    """Whether a text is English, or of unknown language without foreign letters."""
    language = guess_language(text)
    return language == "en" or (language is None and not any(sign.isalpha() and not sign.isascii() for sign in text))


def _ratio(sums: np.ndarray) -> np.ndarray:
    """Return first sum / second, [draws], from sums, [draws, 2]; NaN for texts without a word."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums[:, 1] > 0, sums[:, 0] / sums[:, 1], np.nan)
