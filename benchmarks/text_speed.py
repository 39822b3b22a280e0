"""How long the measures of a 14,000-token answer take.

    .venv/bin/python benchmarks/text_speed.py

Length + format (repetition alone, n-grams among it) must take at most 10 ms together, rewording by MinHash at most
100 ms.
Drafts are made up: words (English) or characters (Chinese) drawn from a Zipf distribution, which is as hard for the counters
as prose. 14,000 tokens are about 10,800 English words (1.3 tokens each) or 14,000 Chinese characters with marks.
"""

import asyncio
import random
import statistics
import time
from collections.abc import Callable

from longform.records.schemas import PromptRow
from longform.rewards.measured import FormatReward, LengthReward
from longform.rewards.settings import FormatSettings
from longform.text.repetition import (
    copied_share,
    repeated_ngram_share,
    repeats,
    reworded_sentence_share,
    stuffed_share,
)
from longform.text.structure import ParsedResponse
from longform.text.words import count_words

TOKENS = 14_000
RUNS = 200
PROMPT = PromptRow(id="p", prompt="Write.", length_range=(8_000, 12_000))


def main() -> None:
    """Print the fastest and the median time of each measure."""
    length, form = LengthReward(), FormatReward(FormatSettings(kind="format"))

    async def score(draft: str) -> None:
        for reward in (length, form):
            await reward.score(PROMPT, response=ParsedResponse("", draft, True), reference="", step=0)

    with asyncio.Runner() as runner:
        for language, draft in (("English", english_draft(TOKENS)), ("Chinese", chinese_draft(TOKENS))):
            print(f"{language}: {len(draft):,} characters, {count_words(draft):,} words")
            report("count_words", lambda d: count_words(d), draft)
            report("repeated_ngram_share", lambda d: repeated_ngram_share(d), draft)
            report("both", lambda d: (count_words(d), repeated_ngram_share(d)), draft)
            report("repeats", lambda d: repeats(d), draft)
            report("length + format (n-grams among it)", lambda d: runner.run(score(d)), draft)
            report("reworded_sentence_share", lambda d: reworded_sentence_share(d), draft, runs=20)
            report("stuffed_share", lambda d: stuffed_share(d), draft, runs=20)
            report("copied_share", lambda d: copied_share(d, d[:-1]), draft, runs=20)


def report(name: str, measure: Callable[[str], object], draft: str, *, runs: int = RUNS) -> None:
    """Time `measure` on `draft` and print it in milliseconds."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        measure(draft)
        times.append(1000 * (time.perf_counter() - started))
    print(f"  {name:<26} min {min(times):7.2f} ms   median {statistics.median(times):7.2f} ms")


def english_draft(tokens: int) -> str:
    """Sentences of made-up words in paragraphs."""
    source = random.Random(0)
    vocabulary = ["".join(source.choices("etaoinshrdlucmfwyp", k=source.randint(2, 9))) for _ in range(4000)]
    weights = [1 / rank for rank in range(1, len(vocabulary) + 1)]
    words = source.choices(vocabulary, weights, k=int(tokens / 1.3))
    return "\n\n".join(
        " ".join(" ".join(words[j : j + 15]).capitalize() + "." for j in range(i, i + 90, 15))
        for i in range(0, len(words), 90)
    )


def chinese_draft(tokens: int) -> str:
    """Sentences of drawn characters in paragraphs."""
    source = random.Random(0)
    vocabulary = [chr(0x4E00 + 5 * i) for i in range(3000)]
    weights = [1 / rank for rank in range(1, len(vocabulary) + 1)]
    signs = source.choices(vocabulary, weights, k=int(tokens * 20 / 22))
    return "\n".join(
        "".join(
            "".join(signs[j : j + 10]) + "，" + "".join(signs[j + 10 : j + 20]) + "。" for j in range(i, i + 100, 20)
        )
        for i in range(0, len(signs), 100)
    )


if __name__ == "__main__":
    main()
