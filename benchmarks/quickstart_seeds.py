"""What the quickstart reaches on fresh seeds, beside two controls: learning rate 0, and the same time spent on more SFT.

python benchmarks/quickstart_seeds.py --out runs/seeds --seeds 1001 1002 1003 1004 1005

Every seed has prompts, weights and draws of its own, and none is left out. A seed whose result is in OUT is not run again.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from longform.miniature.evidence import gather_evidence
from longform.miniature.policy import SFT_SETTINGS, sft_rows
from longform.miniature.quickstart import (
    FULL,
    build_ladders,
    gather_candidates,
    prepare_process,
    train_policy,
    train_start,
)
from longform.miniature.server import serve_in_background
from longform.miniature.world_files import write_world
from longform.records.progress import no_progress
from longform.records.run_directory import RunDirectory
from longform.steps.recorder import RunResult
from longform.training.supervised.sft import train_sft
from longform.writers.loading import load_model

CONTROL = ("optim.lr=0", "optim.critic_lr=0", "run.name=control")


def main() -> None:
    """Run the seeds that are missing and print all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    options = parser.parse_args()
    prepare_process()
    for seed in options.seeds:
        folder = options.out / str(seed)
        if not (folder / "figures.json").exists():
            figures = run_seed(folder, seed)
            (folder / "figures.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
        print_seed(seed, json.loads((folder / "figures.json").read_text(encoding="utf-8")))


def run_seed(folder: Path, seed: int) -> dict[str, Any]:
    """The quickstart of one seed and its controls."""
    began = time.perf_counter()
    with serve_in_background() as base_url:
        write_world(folder, base_url=base_url, scale=FULL, seed=seed)
        train_start(folder, scale=FULL, seed=seed, stage=no_progress)
        sft_seconds = time.perf_counter() - began
        gather_candidates(folder, seed=seed, stage=no_progress)
        build_ladders(folder)
        result = train_policy(folder, scale=FULL, seed=seed, overrides=(), stage=no_progress)
        evidence = gather_evidence(folder, result.policy_path, name="trained", seed=seed, stage=no_progress)
        seconds = time.perf_counter() - began

        control = train_policy(folder, scale=FULL, seed=seed, overrides=CONTROL, stage=no_progress)
        more_sft = continue_sft(folder, seed=seed, steps=round(SFT_SETTINGS.steps * result.seconds / sft_seconds))
        sft_evidence = gather_evidence(folder, more_sft, name="more-sft", seed=seed, stage=no_progress)
    return {
        "seconds": seconds,
        "sft_seconds": sft_seconds,
        "ppo_seconds": result.seconds,
        "trained": evidence.as_json(),
        "more_sft": sft_evidence.as_json(),
        "mean_rung": final(result, "curriculum/mean_rung"),
        "control_mean_rung": final(control, "curriculum/mean_rung"),
        "explained_variance": last_third(result, "critic/explained_variance"),
    }


def continue_sft(folder: Path, *, seed: int, steps: int) -> Path:
    """The start, fine-tuned for `steps` more on new lessons."""
    tokenizer, model = load_model(str(folder / "start"), device="cpu")
    settings = SFT_SETTINGS.model_copy(update={"steps": steps, "seed": seed})
    rows = sft_rows(seed=seed + 50_000, count=steps * settings.batch_size)
    train_sft(model, tokenizer, rows, settings, out=folder / "more-sft")
    return folder / "more-sft"


def final(result: RunResult, metric: str) -> float:
    """The last value of a metric."""
    with RunDirectory.read(result.path) as run:
        return run.database.metric(metric)[-1][1]


def last_third(result: RunResult, metric: str) -> float:
    """The mean of a metric over the last third of the steps."""
    with RunDirectory.read(result.path) as run:
        values = [value for _, value in run.database.metric(metric)]
    part = values[-(len(values) // 3) :]
    return sum(part) / len(part)


def print_seed(seed: int, figures: dict[str, Any]) -> None:
    """One seed in two lines."""
    trained, more = figures["trained"], figures["more_sft"]
    estimate, low, high = trained["win_rates"]["start"]
    print(
        f"seed {seed}: win rate against the start {estimate:.3f} [{low:.3f}, {high:.3f}]; "
        f"grade {trained['start']['grade'][0]:.2f} -> {trained['trained']['grade'][0]:.2f}; "
        f"required words {trained['start']['coverage'][0]:.2f} -> {trained['trained']['coverage'][0]:.2f}; "
        f"words {trained['start']['words']:.0f} -> {trained['trained']['words']:.0f}; "
        f"mean rung {figures['mean_rung']:.2f} (learning rate 0: {figures['control_mean_rung']:.2f}); "
        f"explained variance {figures['explained_variance']:.2f}; "
        f"{figures['seconds']:.0f} s (SFT {figures['sft_seconds']:.0f}, PPO {figures['ppo_seconds']:.0f})"
    )
    estimate, low, high = more["win_rates"]["start"]
    print(
        f"  more SFT for the same time: win rate {estimate:.3f} [{low:.3f}, {high:.3f}]; "
        f"grade {more['trained']['grade'][0]:.2f}; required words {more['trained']['coverage'][0]:.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
