"""How long `longform pool` takes for a chat log, how much memory, and which of the planted copies it finds.

    .venv/bin/python benchmarks/pool_scale.py [--rows 100000] [--keep FOLDER]

The log is made up, in WildChat-1M's Parquet layout: a quarter Chinese, the rest English; words drawn from a Zipf
distribution; first turns of lengths like real ones (median 60 words, heavy tail to 8,000), answers and flags around them.
15% of the rows copy an earlier one: a third with other case, marks and white space, the others with words replaced, so that
some lie above the threshold of near duplicates and some below. Truth is the similarity of each planted pair, by plain sets
of words here. Of the others one in 200 holds a prompt of a made-up benchmark. 100,000 rows must take at most 2 minutes and
2 GB on 2 cores.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NEAR = 0.8
ROWS_PER_FILE = 5000
SHARE_COPIED = 0.15
SHARE_CONTAMINATED = 0.005
MEDIAN_WORDS, SPREAD, MOST_WORDS = 60, 1.5, 8000
BENCHMARK = 400


def main() -> None:
    """Make the log and gather from it, each in a process of its own, and print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, help="a folder for the files, kept")
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make_log(options.keep, options.rows)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.keep or Path(scratch)).resolve()
        again = ["--make", "--keep", str(folder), "--rows", str(options.rows)]
        subprocess.run([sys.executable, __file__, *again], check=True)
        pooled = [
            str(folder / "log"),
            "--decontaminate",
            str(folder / "benchmark.jsonl"),
            "--near-dup-threshold",
            str(NEAR),
        ]
        files = ["--out", str(folder / "pool.jsonl"), "--dropped", str(folder / "dropped.jsonl")]
        seconds, worked, megabytes = measure([sys.executable, "-m", "longform", "pool", *pooled, *files])
        print(f"{options.rows:,} rows: {seconds:.1f} s ({worked:.1f} s of one core), peak {megabytes:,.0f} MB")
        report(folder)


def measure(command: list[str]) -> tuple[float, float, float]:
    """Seconds, seconds of one core, and peak resident megabytes of a command."""
    began = time.perf_counter()
    child = subprocess.Popen(command)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit("the command failed")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def report(folder: Path) -> None:
    """Compare what was dropped with what was planted."""
    truth = {row["id"]: row for row in read(folder / "truth.jsonl")}
    dropped = {row["id"]: row for row in read(folder / "dropped.jsonl")}
    alike = {id_ for id_, row in dropped.items() if row["reason"] in ("duplicate", "near duplicate")}
    copies = {id_ for id_, row in truth.items() if row["kind"] == "copy" and row["similarity"] >= NEAR}
    same = {id_ for id_ in copies if truth[id_]["similarity"] == 1.0}
    unlike = {id_ for id_, row in truth.items() if row["kind"] == "copy"} - copies
    held = {id_ for id_, row in truth.items() if row["kind"] == "held"}
    tested = {id_ for id_, row in dropped.items() if row["reason"] == "in a benchmark"}
    named = [id_ for id_ in alike & copies if dropped[id_]["of"] == truth[id_]["of"]]
    near = copies - same
    print(f"planted: {len(same)} with the same words, {len(near)} near, {len(unlike)} less like than {NEAR}")
    print(f"same words found: {share(same & alike, same)}, near ones {share(near & alike, near)}")
    print(f"precision {share(alike & copies, alike)}, the right original named {share(set(named), alike & copies)}")
    print(f"benchmark prompts found: {share(held & tested, held)}, precision {share(held & tested, tested)}")


def share(part: set[str], whole: set[str]) -> str:
    """A share with its counts."""
    return f"{len(part) / max(len(whole), 1):.4f} ({len(part)}/{len(whole)})"


def make_log(folder: Path, rows: int) -> None:
    """Write `log/*.parquet`, `benchmark.jsonl` and `truth.jsonl`."""
    source = random.Random(0)
    writer = Writer()
    benchmark = [writer.words(chinese=i % 4 == 0, count=source.randint(8, 60)) for i in range(BENCHMARK)]
    write(folder / "benchmark.jsonl", [{"id": f"b{i}", "prompt": join(words)} for i, words in enumerate(benchmark)])
    (folder / "log").mkdir(parents=True, exist_ok=True)
    truth: list[dict[str, Any]] = []
    originals: list[tuple[str, list[str]]] = []
    for first in range(0, rows, ROWS_PER_FILE):
        batch = []
        for number in range(first, min(first + ROWS_PER_FILE, rows)):
            id_ = f"{number:032x}"
            kind = source.random()
            if originals and kind < SHARE_COPIED:
                of, words = source.choice(originals)
                copied = list(words) if kind < SHARE_COPIED / 3 else replace_words(words, source, writer)
                truth.append({"id": id_, "kind": "copy", "of": of, "similarity": similarity(words, copied)})
                batch.append(row(id_, disguise(copied, source), writer, source))
                continue
            chinese = source.random() < 0.25
            words = writer.words(chinese=chinese, count=writer.length())
            if kind > 1 - SHARE_CONTAMINATED:
                held = source.choice([it for it in benchmark if is_chinese(it[0]) == chinese])
                words = [*words, *held, *writer.words(chinese=chinese, count=5)]
                truth.append({"id": id_, "kind": "held"})
            elif len(words) >= 10:
                originals.append((id_, words))
            batch.append(row(id_, join(words), writer, source))
        pq.write_table(pa.Table.from_pylist(batch), folder / "log" / f"{first:07d}.parquet", row_group_size=1000)
    write(folder / "truth.jsonl", truth)


class Writer:
    """Made-up texts: words (English) or characters (Chinese) drawn from a Zipf distribution."""

    def __init__(self) -> None:
        self.draws = np.random.default_rng(0)
        source = random.Random(0)
        english = {"".join(source.choices("etaoinshrdlucmfwyp", k=source.randint(2, 9))) for _ in range(30_000)}
        self.english = np.array(sorted(english, key=lambda word: (len(word), word)), dtype=object)
        self.chinese = np.array([chr(0x4E00 + 5 * i) for i in range(3000)], dtype=object)
        self.sums = {len(it): np.cumsum(1 / np.arange(1, len(it) + 1)) for it in (self.english, self.chinese)}
        self.answers = [join(self.words(chinese=i % 4 == 0, count=300)) for i in range(500)]

    def length(self) -> int:
        """Words of a first turn."""
        return int(min(max(self.draws.lognormal(np.log(MEDIAN_WORDS), SPREAD), 6), MOST_WORDS))

    def words(self, *, chinese: bool, count: int) -> list[str]:
        """`count` words or characters."""
        vocabulary = self.chinese if chinese else self.english
        sums = self.sums[len(vocabulary)]
        return vocabulary[np.searchsorted(sums, self.draws.random(count) * sums[-1])].tolist()


def is_chinese(text: str) -> bool:
    """Whether a text begins with a Chinese character."""
    return "\u4e00" <= text[0] <= "\u9fff"


def join(words: list[str]) -> str:
    """A text with marks and lines."""
    stop, blank = ("。", "") if is_chinese(words[0]) else (". ", " ")
    return stop.join(blank.join(words[i : i + 15]) for i in range(0, len(words), 15)) + stop.strip()


def disguise(words: list[str], source: random.Random) -> str:
    """The same words with other case, marks and white space."""
    text = join(words).replace("。", source.choice(["。", "！", "；\n"]))
    return text.replace(". ", source.choice([" - ", "!  ", ".\n\n"])).upper()


def replace_words(words: list[str], source: random.Random, writer: Writer) -> list[str]:
    """The words with up to a tenth of them replaced, at least one."""
    copied = list(words)
    for _ in range(max(1, round(source.uniform(0, 0.1) * len(words)))):
        copied[source.randrange(len(copied))] = writer.words(chinese=is_chinese(words[0]), count=1)[0]
    return copied


def similarity(first: list[str], second: list[str]) -> float:
    """Jaccard similarity of the runs of three words."""
    one, other = ({tuple(it[i : i + 3]) for i in range(len(it) - 2)} for it in (first, second))
    return len(one & other) / len(one | other)


def row(id_: str, prompt: str, writer: Writer, source: random.Random) -> dict[str, Any]:
    """A row of WildChat-1M: one to four exchanges, each with what the log knows of it."""
    texts = [prompt, *source.choices(writer.answers, k=2 * min(int(source.expovariate(0.7)), 3) + 1)]
    language = "Chinese" if is_chinese(prompt) else "English"
    turns = [
        {
            "content": text,
            "country": "Nowhere",
            "hashed_ip": f"{source.getrandbits(256):064x}",
            "header": {"accept-language": "en-US,en;q=0.9", "user-agent": "Mozilla/5.0 (made up)"},
            "language": language,
            "redacted": False,
            "role": ("user", "assistant")[i % 2],
            "toxic": False,
            "turn_identifier": source.getrandbits(31),
        }
        for i, text in enumerate(texts)
    ]
    kinds = ("harassment", "hate", "self-harm", "sexual", "violence")
    moderation = {
        "categories": dict.fromkeys(kinds, False),
        "category_scores": {kind: source.random() for kind in kinds},
        "flagged": False,
    }
    return {
        "conversation_hash": id_,
        "model": "made-up",
        "conversation": turns,
        "turn": len(turns) // 2,
        "language": language,
        "openai_moderation": [moderation] * len(turns),
        "detoxify_moderation": [{kind: source.random() for kind in kinds}] * len(turns),
        "toxic": False,
        "redacted": False,
    }


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON Lines file."""
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a JSON Lines file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(it, ensure_ascii=False) + "\n" for it in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
