"""What the miniature's SFT reaches: time, speed, and what its texts keep of the request, for each seed.

python benchmarks/miniature_sft.py [--seeds 3] [--prompts 256] [--threads 2]
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

import torch

from longform.miniature.fluency import tokenize
from longform.miniature.judge import EXAMINER, JUDGE, Measures, grade, measure
from longform.miniature.policy import SFT_SETTINGS, build_model, build_tokenizer, sft_rows
from longform.miniature.world import POOLS, REQUIRED_CLASSES, StoryRequest, parse_request, prompts
from longform.miniature.writers import LEVELS, write_story
from longform.training.supervised.sft import train_sft
from longform.writers.local import LocalWriter
from longform.writers.settings import GenerationSettings


def main() -> None:
    """Train one policy per seed and print what it does on held-out prompts, then the built-in writers beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    held_out = prompts(seed=options.first_seed + 99, split="held-out", count=options.prompts)
    requests = [parse_request(prompt.request) for prompt in held_out]
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            settings = SFT_SETTINGS.model_copy(update={"seed": seed})
            tokenizer = build_tokenizer()
            rows = sft_rows(seed=seed, count=settings.steps * settings.batch_size)
            tokens = sum(len(tokenizer(row["completion"][0]["content"])["input_ids"]) for row in rows)
            prepared = time.perf_counter() - began
            report = train_sft(build_model(tokenizer, seed=seed), tokenizer, rows, settings, out=Path(folder))
            seconds = time.perf_counter() - began
            writer = LocalWriter(folder)
            responses = writer.write(held_out, settings=GenerationSettings(max_tokens=160), seed=seed, name="sft")
        print(
            f"seed {seed}: {report.steps} steps of {settings.batch_size}, {seconds:.0f} s (rows {prepared:.1f} s), "
            f"{tokens / seconds:.0f} completion tokens a second, loss {report.final_loss:.3f}"
        )
        describe("  sft", requests, [response.text for response in responses])
    for level in LEVELS:
        describe(f"  {level}", requests, [write_story(request, level=level) for request in requests])


def describe(name: str, requests: Sequence[StoryRequest], texts: Sequence[str]) -> None:
    """Print what texts keep of their requests, and how judge and examiner grade them."""
    measured = [measure(request, text) for request, text in zip(requests, texts, strict=True)]
    kept = {kind: mean(r.entities[kind] in tokenize(t) for r, t in zip(requests, texts, strict=True)) for kind in POOLS}
    means = {field: mean(getattr(it, field) for it in measured) for field in Measures._fields}
    grades = [grade(it, EXAMINER) for it in measured]
    judged = mean(grade(it, JUDGE) for it in measured)
    print(
        f"{name:12} kept: {figures(kept)} required {mean(kept[kind] for kind in REQUIRED_CLASSES):.2f}",
        f"{'':12} measures: {figures(means)}",
        f"{'':12} examiner {mean(grades):.2f} (sd {stdev(grades):.2f}), judge {judged:.2f}",
        sep="\n",
    )


def figures(values: Mapping[str, float]) -> str:
    """Names and figures on one line."""
    return " ".join(f"{name} {value:.2f}" for name, value in values.items())


if __name__ == "__main__":
    main()
