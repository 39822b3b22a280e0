"""LongWriter-Zero's whole chain in the miniature, the reward models held against the examiner, and the arms of pretraining.

    python benchmarks/longwriter_zero_chain.py --out runs/chain --seeds 2101 [--arms] [--reward-models]

Each seed runs `longform quickstart --method longwriter-zero --full-pipeline`; `--reward-models` stops there. Printed of
its reward models, together and each alone: the share of held-out pairs that they decide as the examiner does, of pairs by
writers of two levels, of texts for a whole and a reduced request, and of texts and their revisions. With `--arms` two more
writers are trained, from the base itself and from one pretrained without planned answers, by the same reward models, and
join the arena.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import yaml

from longform.cli.output import print_table, progress
from longform.endpoints.client import Endpoint
from longform.endpoints.models import read_models
from longform.evaluation.arena.ratings import rate_arena
from longform.evaluation.reward_model import agreement_with
from longform.miniature import chain
from longform.miniature import longwriter_zero as steps
from longform.miniature.chain_evidence import examiner_pairs, play_all
from longform.miniature.full_pipeline import prepare_reward_models
from longform.miniature.judge import EXAMINER, pointwise_score
from longform.miniature.quickstart import prepare_process
from longform.miniature.server import serve_in_background
from longform.miniature.world import WIDE_RANGES, complete_request, parse_request, prompts, reduce_request
from longform.miniature.world_files import write_world
from longform.miniature.writers import revise_story, write_story
from longform.miniature.zero_evidence import held_out_path
from longform.records.calls import SqliteCallLog
from longform.records.files import read_rows, write_rows
from longform.records.schemas import Game, Preference, Prompt, Response
from longform.rewards.writing_model import WritingModel, mean_scores
from longform.selection.generate import collect_responses_locally
from longform.training.supervised.pretrain_recipe import PretrainRecipe
from longform.training.supervised.pretrain_run import run_pretraining
from longform.writers.local import LocalWriter

ARMS = {"none": "base", "texts": "pretrained-texts"}
"""Where the learning of each arm begins; the chain's own begins at a base that has also read planned answers."""
PAIRS = 1000


def main() -> None:
    """Run what is missing and print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--arms", action="store_true")
    parser.add_argument("--reward-models", action="store_true")
    options = parser.parse_args()
    prepare_process()
    for seed in options.seeds:
        folder = options.out / str(seed)
        if options.reward_models:
            train_reward_models(folder, seed)
        elif not (folder / "evidence.json").exists():
            command = [
                "quickstart",
                "--method",
                "longwriter-zero",
                "--full-pipeline",
                "--seed",
                str(seed),
                "--out",
                str(folder),
            ]
            subprocess.run([sys.executable, "-m", "longform", *command], check=True)
        show_reward_models(folder, seed)
        if options.arms and not options.reward_models:
            for arm in ARMS:
                train_arm(folder, arm, seed)
            show_arms(folder)


def train_reward_models(folder: Path, seed: int) -> None:
    """The chain as far as its reward models, where they are not there yet."""
    if all((folder / name / "scores.json").exists() for name in chain.WRITING):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with serve_in_background() as base_url:
        write_world(folder, base_url=base_url, scale=steps.FULL, seed=seed, ranges=WIDE_RANGES)
        steps.train_base(folder, scale=steps.FULL, seed=seed, stage=progress)
        prepare_reward_models(folder, scale=chain.FULL, seed=seed, stage=progress)


def show_reward_models(folder: Path, seed: int) -> None:
    """The chain's reward models, together and each alone, against the examiner."""
    rows = prompts(seed=seed + 600_000, split="held-out", count=PAIRS, ranges=WIDE_RANGES)
    kinds = {
        "two levels, clearly apart": examiner_pairs(rows, seed=seed, margin=chain.MIN_MARGIN),
        "two levels, all": examiner_pairs(rows, seed=seed),
        "whole and reduced": reduced_pairs(rows, revised=False),
        "text and revision": reduced_pairs(rows, revised=True),
    }
    table = []
    models = {name: WritingModel(str(folder / name)) for name in chain.WRITING}
    panels = {"both": (list(models.values()), chain.SHARES), **{name: ([it], None) for name, it in models.items()}}
    for name, (asked, shares) in panels.items():
        for kind, pairs in kinds.items():
            found = agreement_with(partial(mean_scores, asked, shares=shares), pairs)
            table.append([name, kind, str(len(pairs)), f"{found.estimate:.3f}", f"{found.low:.3f} to {found.high:.3f}"])
    print_table(f"seed {seed}: decided as the examiner does", ["reward model", "pairs", "n", "share", "95%"], table)


def reduced_pairs(rows: Sequence[Prompt], *, revised: bool) -> list[Preference]:
    """The best writer's texts for whole and reduced requests, the latter revisions of the former or written anew, with the
    examiner's opinion; equal ones are left out.
    """
    found = []
    for place, row in enumerate(rows):
        request = parse_request(row.request)
        reduced, sample = reduce_request(request, random.Random(row.id)), 2000 + place
        whole = write_story(request, level="master", sample=sample)
        if revised:
            other = revise_story(whole, reduced, sample=sample)
        else:
            other = write_story(complete_request(reduced, seed=place), level="master", sample=sample)
        one, two = (pointwise_score(request, text, EXAMINER) for text in (whole, other))
        if abs(one - two) >= EXAMINER.tie_band:
            chosen, rejected = (whole, other) if one > two else (other, whole)
            found.append(Preference(prompt=row.request, chosen=chosen, rejected=rejected))
    return found


def train_arm(folder: Path, arm: str, seed: int) -> None:
    """A writer that learned like the chain's, from another start; its responses to the held-out prompts."""
    out = held_out_path(folder, f"trained-{arm}")
    if out.exists():
        return
    start = folder / ARMS[arm]
    if not start.exists():
        content = yaml.safe_load((folder / "pretrain.yaml").read_text(encoding="utf-8"))
        *raw, planned = content["sources"]
        sources = [source | {"share": source["share"] / (1 - planned["share"])} for source in raw]
        run_pretraining(PretrainRecipe.model_validate(content | {"sources": sources, "out": start}))
    overrides = [*chain.learning_overrides(folder), f"policy={json.dumps(str(start))}", f"run.name=arm-{arm}"]
    with serve_in_background() as base_url:
        rename_server(folder, base_url)
        result = steps.train_policy(folder, scale=steps.FULL, seed=seed, overrides=overrides, stage=progress)
    recipe = steps.pipeline_recipe(folder, scale=steps.FULL, seed=seed, overrides=overrides)
    rows = list(read_rows(folder / "held-out.jsonl", Prompt))
    writer = LocalWriter(str(result.policy_path))
    with progress(f"held-out responses of {arm}") as advance:
        collect_responses_locally(
            rows,
            writer,
            name=f"trained-{arm}",
            samples=1,
            settings=recipe.generation,
            seed=seed,
            out=out,
            on_progress=advance,
        )


def show_arms(folder: Path) -> None:
    """All writers in one arena, the arms among them; and how often each keeps the structure."""
    rows = list(read_rows(folder / "held-out.jsonl", Prompt))
    names = ["trained", "base", "pretrained", "sft-weak", "sft-middle", "sft-best", *(f"trained-{arm}" for arm in ARMS)]
    written = {name: list(read_rows(held_out_path(folder, name), Response)) for name in names}
    texts = {name: {row.prompt_id: row.text for row in found} for name, found in written.items()}
    with serve_in_background() as base_url, SqliteCallLog(folder / "arms.sqlite") as log, progress("arena") as advance:
        rename_server(folder, base_url)
        examiner = Endpoint("examiner", read_models(folder / "models.yaml")["examiner"], call_log=log)

        async def play() -> list[Game]:
            async with examiner:
                return await play_all(rows, texts, examiner, advance=advance, secret=log.secret())

        games = asyncio.run(play())
    write_rows(folder / "games-arms.jsonl", games)
    kept = {
        name: [row.meta["well_formed"] for row in found if "well_formed" in row.meta] for name, found in written.items()
    }
    print_table(
        "arena with the arms",
        ["writer", "rating", "95%", "games won", "structure"],
        [
            [
                it.model,
                f"{it.rating.estimate:.0f}",
                f"{it.rating.low:.0f} to {it.rating.high:.0f}",
                f"{it.win_rate.estimate:.3f}",
                f"{sum(kept[it.model]) / len(kept[it.model]):.3f}" if kept[it.model] else "-",
            ]
            for it in rate_arena(games).standings
        ],
    )


def rename_server(folder: Path, base_url: str) -> None:
    """Let models.yaml name the server that runs now."""
    path = folder / "models.yaml"
    models = {name: spec.model_dump(mode="json") | {"base_url": base_url} for name, spec in read_models(path).items()}
    path.write_text(json.dumps(models), encoding="utf-8")


if __name__ == "__main__":
    main()
