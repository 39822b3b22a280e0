"""Verdicts through verl's reward workers: what Ray, the workers and the run's host add to the judge's own latency.

    python benchmarks/cluster_rewards.py [--verdicts 512] [--latency 0.5] [--in-flight 64] [--workers 2] [--runs 3]

A judge over HTTP answers after `--latency`, and its endpoint allows `--in-flight` calls at once, so `verdicts / in-flight`
rounds of it are the least that any client needs. Printed is the ratio to that of the time through the workers of unmodified
verl's `RewardLoopManager`, each response handed over by itself as verl's agent loops do. No GPU, no model but a tokenizer.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from longform.cli.output import print_table
from longform.endpoints.models import read_models
from longform.miniature.policy import build_tokenizer
from longform.miniature.server import serve_in_background
from longform.miniature.world import parse_request, prompts
from longform.miniature.writers import write_story
from longform.recipe.inputs import TrainingInputs
from longform.recipe.recipe import Recipe
from longform.records.files import write_rows
from longform.records.schemas import Ladder, Reference

MOST = 1.25
"""Times the judge's own latency."""


def main() -> None:
    """Measure and print; exits with 1 where the limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verdicts", type=int, default=512)
    parser.add_argument("--latency", type=float, default=0.5)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    with (
        tempfile.TemporaryDirectory() as scratch,
        serve_in_background(latency_seconds=options.latency) as base_url,
    ):
        recipe, ladders = write_run(Path(scratch), base_url, options)
        least = options.latency * options.verdicts / options.in_flight
        seconds = measure(recipe, ladders, runs=options.runs)
    rows = [[str(n + 1), f"{it:.2f}", f"{it / least:.2f}"] for n, it in enumerate(seconds)]
    print_table(f"{options.verdicts} verdicts, {least:.1f} s of latency", ["run", "seconds", "times"], rows)
    sys.exit(max(seconds) > MOST * least)


def write_run(folder: Path, base_url: str, options: argparse.Namespace) -> tuple[Recipe, list[Ladder]]:
    """A recipe of a cluster run, and its ladders."""
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(folder / "policy")
    ladders = []
    for row in prompts(seed=1, split="train", count=options.verdicts):
        text = write_story(parse_request(row.request), level="apprentice")
        reference = Reference(model="apprentice", text=text, score=5)
        ladders.append(Ladder(**row.model_dump(), references=[reference], policy_score=1, potential=4))
    write_rows(folder / "ladders.jsonl", ladders)
    judge = {"base_url": base_url, "model": "miniature-judge", "concurrency": options.in_flight}
    (folder / "models.yaml").write_text(yaml.safe_dump({"judge": judge}), encoding="utf-8")
    recipe = {
        "engine": "cluster",
        "policy": str(folder / "policy"),
        "models": str(folder / "models.yaml"),
        "data": {"ladders": str(folder / "ladders.jsonl"), "per_step": options.verdicts},
        "rewards": [{"kind": "pairwise", "judge": "judge"}],
        "generation": {"max_tokens": 256, "max_prompt_tokens": 128},
        "cluster": {"reward_workers": options.workers},
        "run": {"name": "rewards", "folder": str(folder / "runs"), "steps": 1},
    }
    return Recipe.model_validate(recipe), ladders


def measure(recipe: Recipe, ladders: list[Ladder], *, runs: int) -> list[float]:
    """Seconds for all verdicts, each run with texts of its own; the workers are up before the first."""
    import ray

    from longform.cluster.config import compose_config
    from longform.cluster.start import open_actor, write_data

    inputs = TrainingInputs(ladders, [], read_models(recipe.models))
    data = write_data(recipe, inputs)
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    try:
        actor = open_actor(recipe, inputs, data=data / "train.parquet", name=recipe.run.name, resume=False)
        config = compose_config(recipe, data=data, checkpoints=recipe.run_path / "checkpoints")
        from verl.experimental.reward_loop import RewardLoopManager

        manager = RewardLoopManager(config)
        manager.compute_rm_score(batch_of(recipe, ladders[:4], sample=99))
        seconds = []
        for run in range(runs):
            batch = batch_of(recipe, ladders, sample=run)
            finished = [batch[n : n + 1] for n in range(len(ladders))]
            workers = manager.reward_loop_worker_handles
            began = time.perf_counter()
            scores = ray.get([workers[n % len(workers)].compute_score.remote(it) for n, it in enumerate(finished)])
            seconds.append(time.perf_counter() - began)
            assert len(scores) == len(ladders)
        calls, _ = ray.get(actor.totals.remote())
        assert calls.answered >= runs * len(ladders) * 0.9, "most texts differ, so nearly every verdict was asked for"
        return seconds
    finally:
        ray.shutdown()


def batch_of(recipe: Recipe, ladders: list[Ladder], *, sample: int) -> Any:
    """Finished responses as verl hands them to its reward workers."""
    import numpy as np
    import torch
    from torch.nn.utils.rnn import pad_sequence
    from transformers import AutoTokenizer
    from verl import DataProto

    tokenizer = AutoTokenizer.from_pretrained(recipe.policy)
    texts = [write_story(parse_request(it.request), level="novice", sample=sample) for it in ladders]
    responses = [torch.tensor(tokenizer.encode(text, add_special_tokens=False)) for text in texts]
    padded = pad_sequence(responses, batch_first=True, padding_value=tokenizer.pad_token_id or 0)
    mask = pad_sequence([torch.ones_like(it) for it in responses], batch_first=True)
    told = [
        {
            "split": "train",
            "row": json.dumps({"id": it.id, "prompt": it.prompt}),
            "rungs": [],
            "reference": it.references[0].text,
            "step": 1,
        }
        for it in ladders
    ]
    return DataProto.from_dict(
        tensors={
            "prompts": torch.zeros(len(texts), 1, dtype=torch.long),
            "responses": padded,
            "attention_mask": torch.cat([torch.ones(len(texts), 1, dtype=torch.long), mask], dim=1),
        },
        non_tensors={"extra_info": np.array(told, dtype=object)},
    )


if __name__ == "__main__":
    main()
