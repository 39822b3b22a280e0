"""Every arm of src/longform/recipes/arms and the baselines, from one start, in the miniature.

    python benchmarks/arms.py --out runs/arms --seeds 3001 [--arms dynamic fixed-best ...] [--smoke]

An arm's recipe gives its rewards, its curriculum and its groups; everything else is the quickstart's, and all arms of a
seed share its world, start, candidates and ladders. `reference-sft` goes on with the start's fine-tuning on the best
references of the ladders, `continued-sft` on new lessons, both for as many steps as the start had. The examiner compares
each result with the start on held-out prompts. An arm whose result is in OUT is not run again, and none is left out.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import yaml

from longform.cli.output import print_table, progress
from longform.miniature.evidence import gather_evidence
from longform.miniature.policy import SFT_SETTINGS, sft_rows
from longform.miniature.quickstart import (
    FULL,
    SMOKE,
    Scale,
    build_ladders,
    gather_candidates,
    prepare_process,
    train_policy,
    train_start,
)
from longform.miniature.server import serve_in_background
from longform.miniature.world_files import write_world
from longform.records.run_directory import RunDirectory
from longform.training.supervised.sft import train_sft
from longform.training.supervised.sft_recipe import SftRecipe
from longform.training.supervised.sft_run import run_sft
from longform.training.supervised.training_rows import SftData
from longform.writers.loading import load_model

RECIPES = Path(__file__).parents[1] / "src/longform/recipes/arms"
BASELINES = ("continued-sft", "reference-sft")
NAMES = {"big": "master", "judge-2": "judge", "judge-3": "judge"}
"""Models of the recipes, and who stands in for them; a panel is then one judge asked three times."""


def main() -> None:
    """Run the arms that are missing and print all of them."""
    arms = [*sorted(path.stem for path in RECIPES.glob("*.yaml")), *BASELINES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--arms", nargs="+", choices=arms, default=arms)
    parser.add_argument("--smoke", action="store_true", help="every stage, but nothing is learned")
    options = parser.parse_args()
    prepare_process()
    for seed in options.seeds:
        folder = options.out / str(seed)
        run_seed(folder, seed, arms=options.arms, scale=SMOKE if options.smoke else FULL)
        print_seed(folder, seed)


def run_seed(folder: Path, seed: int, *, arms: list[str], scale: Scale) -> None:
    """What all arms share, then each arm that has no result yet."""
    with serve_in_background() as base_url:
        write_world(folder, base_url=base_url, scale=scale, seed=seed)
        if not (folder / "ladders.jsonl").exists():
            train_start(folder, scale=scale, seed=seed, stage=progress)
            gather_candidates(folder, seed=seed, stage=progress)
            build_ladders(folder)
        for arm in arms:
            result = folder / f"result-{arm}.json"
            if not result.exists():
                found = (
                    run_baseline(folder, arm, seed, scale) if arm in BASELINES else run_arm(folder, arm, seed, scale)
                )
                result.write_text(json.dumps(found, indent=1), encoding="utf-8")


def run_arm(folder: Path, arm: str, seed: int, scale: Scale) -> dict[str, Any]:
    """Train as the arm's recipe says, and look at the result."""
    began = time.perf_counter()
    result = train_policy(folder, scale=scale, seed=seed, overrides=arm_overrides(arm), stage=progress)
    evidence = gather_evidence(folder, result.policy_path, name=arm, seed=seed, stage=progress)
    with RunDirectory.read(result.path) as run:
        grades = dict(run.database.metric("validation/grade"))
        rung = run.database.metric("curriculum/mean_rung")[-1][1]
    return {
        "evidence": evidence.as_json(),
        "validation": grades,
        "mean_rung": rung,
        "judge_calls": result.calls.calls,
        "seconds": time.perf_counter() - began,
    }


def arm_overrides(arm: str) -> list[str]:
    """The sections that make the arm, as overrides of the quickstart's recipe, with as many rollouts a step."""
    text = (RECIPES / f"{arm}.yaml").read_text(encoding="utf-8")
    recipe = yaml.safe_load(text)
    for reward in recipe["rewards"]:
        if isinstance(reward["judge"], list):
            reward |= {"judge": NAMES[reward["judge"][1]], "samples": len(reward["judge"])}
    reference = recipe["curriculum"].get("reference")
    if reference in NAMES:
        recipe["curriculum"]["reference"] = NAMES[reference]
    sections = {name: json.dumps(recipe[name]) for name in ("rewards", "curriculum")}
    overrides = [f"run.name={arm}", *(f"{name}={value}" for name, value in sections.items())]
    group = recipe["data"].get("group", 1)
    return overrides if group == 1 else [*overrides, f"data.group={group}", f"data.per_step={64 // group}"]


def run_baseline(folder: Path, arm: str, seed: int, scale: Scale) -> dict[str, Any]:
    """More fine-tuning of the start, for as many steps as it had."""
    began = time.perf_counter()
    settings = scale.sft.model_copy(update={"seed": seed + 1})
    with progress(arm) as advance:

        def on_progress(step: int, steps: int, loss: float) -> None:
            advance(step, steps, f"loss {loss:.2f}")

        if arm == "reference-sft":
            data = SftData(ladders=folder / "ladders.jsonl")
            recipe = SftRecipe(policy=str(folder / "start"), data=data, out=folder / arm, settings=settings)
            run_sft(recipe, on_progress=on_progress)
        else:
            tokenizer, model = load_model(str(folder / "start"), device="cpu")
            rows = sft_rows(seed=seed + 50_000, count=SFT_SETTINGS.batch_size * settings.steps)
            train_sft(model, tokenizer, rows, settings, out=folder / arm, on_progress=on_progress)
    evidence = gather_evidence(folder, folder / arm, name=arm, seed=seed, stage=progress)
    return {"evidence": evidence.as_json(), "seconds": time.perf_counter() - began}


def print_seed(folder: Path, seed: int) -> None:
    """A table of all arms that have a result."""
    rows = []
    for path in sorted(folder.glob("result-*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        rate, low, high = found["evidence"]["win_rates"]["start"]
        trained = found["evidence"]["trained"]
        rows.append(
            [
                path.stem.removeprefix("result-"),
                f"{rate:.3f} [{low:.3f}, {high:.3f}]",
                f"{found['evidence']['win_rates']['master'][0]:.3f}",
                f"{trained['grade'][0]:.2f}",
                f"{trained['coverage'][0]:.2f}",
                f"{trained['words']:.0f}",
                f"{found['mean_rung']:.2f}" if "mean_rung" in found else "",
                str(found.get("judge_calls", "")),
                f"{found['seconds']:.0f}",
            ]
        )
    rows.sort(key=lambda row: row[1], reverse=True)
    columns = ["arm", "against the start", "master", "grade", "words used", "words", "rung", "judge calls", "s"]
    print_table(f"seed {seed}: held-out prompts, examiner, both orders", columns, rows)


if __name__ == "__main__":
    main()
