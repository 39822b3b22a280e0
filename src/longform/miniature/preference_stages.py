"""Preference pairs and reward models in the miniature world, by the functions of `longform generate`, `grade`, `select`,
`train`, `preferences` and `reward-model`.

    graded-prompts.jsonl -> graded-WRITER.jsonl -> graded-scores.jsonl -> pairs-scores.jsonl
                                                 -> ladders.jsonl -> first/ (a short run) -> pairs-verdicts.jsonl
    dropped-prompts.jsonl -> pairs-dropping.jsonl

The examiner is not involved in the pairs.
"""

import json
from pathlib import Path
from typing import Any

from longform.engines import train
from longform.miniature.chain import MIN_MARGIN, PRETRAINED, SOURCES, WRITING, ChainScale, stage_recipe
from longform.miniature.quickstart import placed_recipe
from longform.miniature.world import WIDE_RANGES, prompts
from longform.miniature.writers import LEVELS
from longform.recipe.loading import dump_recipe
from longform.recipe.verdict_preferences import preferences_from_verdicts
from longform.records.files import write_rows, write_text
from longform.records.progress import Stage
from longform.selection.dropping_run import preferences_from_dropping
from longform.selection.generate import generate
from longform.selection.grade import grade
from longform.selection.preferences import preferences_from_scores
from longform.selection.select import select
from longform.selection.settings import SelectionSettings
from longform.training.supervised.reward_model_recipe import RewardModelRecipe, read_split, run_reward_model

OWN = "own"
"""Model name of the pretrained base in responses files."""
MAX_TOKENS = 220
GRADED_PROMPTS, GRADES, LADDERS = "graded-prompts.jsonl", "graded-scores.jsonl", "ladders.jsonl"
FIRST_RUN = "first"
"""Name of the short run whose verdicts become pairs."""


def gather_preferences(folder: Path, *, scale: ChainScale, seed: int, stage: Stage) -> None:
    """Run all stages up to the pairs from scores, verdicts and dropped requirements: `folder`/pairs-*.jsonl."""
    write_preference_prompts(folder, scale=scale, seed=seed)
    write_texts_to_grade(folder, seed=seed, stage=stage)
    grade_texts(folder, stage=stage)
    pair_by_scores(folder, seed=seed)
    build_ladders(folder, scale=scale)
    train_first(folder, scale=scale, seed=seed, stage=stage)
    preferences_from_verdicts(folder / FIRST_RUN, out=_pairs(folder, "verdicts"))
    pair_by_dropping(folder, seed=seed, stage=stage)


def write_preference_prompts(folder: Path, *, scale: ChainScale, seed: int) -> None:
    """Write the prompts of the graded texts and those whose requirements are dropped, mostly of short stories."""
    graded = prompts(seed=seed + 400_000, split="train", count=scale.graded_prompts, ranges=WIDE_RANGES)
    count = scale.dropped_prompts
    short = prompts(seed=seed + 500_000, split="train", count=3 * count // 4, ranges=WIDE_RANGES[:1])
    dropped = short + prompts(seed=seed + 550_000, split="train", count=count // 4, ranges=WIDE_RANGES)
    write_rows(folder / GRADED_PROMPTS, graded)
    write_rows(folder / "dropped-prompts.jsonl", dropped)


def write_texts_to_grade(folder: Path, *, seed: int, stage: Stage) -> None:
    """Write a response of the pretrained base and of each level's writer to the graded prompts."""
    for name in (OWN, *LEVELS):
        generate(
            folder / GRADED_PROMPTS,
            writer=str(folder / PRETRAINED) if name == OWN else name,
            name=OWN if name == OWN else None,
            out=_graded(folder, name),
            models=folder / "models.yaml",
            max_tokens=MAX_TOKENS,
            seed=seed,
            progress=stage,
        )


def grade_texts(folder: Path, *, stage: Stage) -> None:
    """Have the judge grade these responses."""
    grade(
        _all_graded(folder),
        prompts=folder / GRADED_PROMPTS,
        judge="judge",
        out=folder / GRADES,
        models=folder / "models.yaml",
        progress=stage,
    )


def pair_by_scores(folder: Path, *, seed: int) -> None:
    """Pair responses whose grades differ clearly."""
    preferences_from_scores(
        folder / GRADED_PROMPTS,
        responses=_all_graded(folder),
        grades=[folder / GRADES],
        out=_pairs(folder, "scores"),
        margin=MIN_MARGIN,
        seed=seed,
    )


def build_ladders(folder: Path, *, scale: ChainScale) -> None:
    """Choose the prompts from which the pretrained base can learn most, with the graded responses as references."""
    chosen = select(
        prompts=folder / GRADED_PROMPTS,
        responses=_all_graded(folder),
        grades=[folder / GRADES],
        settings=SelectionSettings(policy=OWN, top_k=scale.ladders),
    )
    write_rows(folder / LADDERS, chosen.ladders)


def train_first(folder: Path, *, scale: ChainScale, seed: int, stage: Stage) -> None:
    """Train a policy against the ladders for a few steps; the run records the judge's verdicts."""
    paths = {"policy": PRETRAINED, "data.ladders": LADDERS}
    recipe = placed_recipe("first", folder, paths, [f"run.seed={seed}", *scale.first_run])
    write_text(folder / "first.yaml", dump_recipe(recipe))
    with stage("PPO against the ladders, for verdicts") as advance:
        train(recipe, on_step=lambda report: report.show(advance))


def pair_by_dropping(folder: Path, *, seed: int, stage: Stage) -> None:
    """Pair the best writer's texts with their revisions for requests from which a model removed requirements."""
    preferences_from_dropping(
        folder / "dropped-prompts.jsonl",
        writer=list(LEVELS)[-1],
        rewriter="rewriter",
        revise=True,
        out=_pairs(folder, "dropping"),
        models=folder / "models.yaml",
        max_tokens=MAX_TOKENS,
        seed=seed,
        progress=stage,
    )


def train_writing_models(folder: Path, *, scale: ChainScale, seed: int, stage: Stage) -> None:
    """Train two reward models in the folders `WRITING`: one on grades and verdicts, one on dropped requirements.

    A single model trained on all pairs learned neither well: events, length and order, which dominate grades, take a few
    hundred steps; whether the required words are the right ones takes many more.
    """
    for out, (name, kinds) in zip(WRITING, SOURCES.items(), strict=True):
        named = json.dumps([str(_pairs(folder, kind)) for kind in kinds])
        overrides = [f"preferences={named}", f"settings.seed={seed}", *scale.reward_model]
        recipe = stage_recipe(folder, name, RewardModelRecipe, {"base": PRETRAINED, "out": out}, overrides)
        with stage(f"training a reward model: {out}") as advance:

            def on_progress(step: int, steps: int, loss: float, advance: Any = advance) -> None:
                advance(step, steps, f"loss {loss:.2f}")

            run_reward_model(recipe, read_split(recipe), on_progress=on_progress)


def _all_graded(folder: Path) -> list[Path]:
    return [_graded(folder, name) for name in (OWN, *LEVELS)]


def _graded(folder: Path, name: str) -> Path:
    return folder / f"graded-{name}.jsonl"


def _pairs(folder: Path, kind: str) -> Path:
    return folder / f"pairs-{kind}.jsonl"
