"""Tokens a second of the own engine, of transformers' static generation and of the paged engine, on this machine.

    python benchmarks/own_speed.py [--rows 64 16 4 1] [--rounds 3] [--engines own static paged] [--threads 2]

A random model of SmolLM2-135M's shape in float32. Prompts have 24 tokens; one token in 77 ends a response, which is cut at
192. The engines take turns. A speed is the tokens of a round up to the ends of the responses, divided by its time; the best
round counts.
"""

import argparse
import time
from typing import Any

import torch
from packing import build_model

from longform.writers.engines import write_completions
from longform.writers.settings import GenerationSettings
from longform.writers.stops import Stops

PROMPT, LONGEST, VOCABULARY, EVERY = 24, 192, 49152, 77
ENDS = frozenset(range(0, VOCABULARY, EVERY))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[64, 16, 4, 1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", nargs="+", default=["own", "static"], choices=["own", "static", "paged"])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = build_model().eval()
    for rows in options.rows:
        random = torch.Generator().manual_seed(rows)
        prompts = torch.randint(VOCABULARY, (rows, PROMPT), generator=random)
        best = dict.fromkeys(options.engines, 0.0)
        for number in range(options.rounds):
            for name in options.engines:
                start = time.perf_counter()
                tokens = written(model, prompts, name, seed=number)
                best[name] = max(best[name], tokens / (time.perf_counter() - start))
        print(f"{rows} rows: " + ", ".join(f"{name} {it:.0f}" for name, it in best.items()), flush=True)


def written(model: Any, prompts: torch.Tensor, engine: Any, *, seed: int) -> int:
    """Tokens of the responses that an engine writes."""
    if engine == "static":
        torch.manual_seed(seed)
        found = model.generate(
            prompts, do_sample=True, top_k=0, max_new_tokens=LONGEST, eos_token_id=sorted(ENDS), pad_token_id=0
        )[:, PROMPT:]
        is_end = torch.isin(found, torch.tensor(sorted(ENDS)))
        lengths = torch.where(is_end.any(1), is_end.int().argmax(1) + 1, found.shape[1])
        return int(lengths.sum())
    settings = GenerationSettings(max_tokens=LONGEST, engine=engine, batch=len(prompts))
    stops = Stops(ENDS, read=str)
    completions = write_completions(model, prompts.tolist(), seed=seed, step=1, stops=stops, settings=settings)
    return sum(len(it.tokens) for it in completions)


if __name__ == "__main__":
    main()
