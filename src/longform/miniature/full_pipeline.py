"""The full LongWriter-Zero pipeline in the miniature world, from a chat log and raw text to an arena of all writers."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from longform.miniature import chain, longwriter_zero
from longform.miniature.chain_evidence import ChainEvidence, gather_chain_evidence
from longform.miniature.preference_stages import gather_preferences, train_writing_models
from longform.miniature.prompt_stages import PromptCounts, collect_prompts
from longform.miniature.quickstart import prepare_process
from longform.miniature.server import serve_in_background
from longform.miniature.world import WIDE_RANGES
from longform.miniature.world_files import write_world
from longform.records.progress import Stage
from longform.steps.recorder import RunResult


class FullPipelineResult(NamedTuple):
    """The trained writer's run, what it is worth, and where its prompts came from."""

    run: RunResult
    evidence: ChainEvidence
    prompts: PromptCounts


def run_full_pipeline(
    folder: Path, *, smoke: bool, seed: int, overrides: Sequence[str], stage: Stage
) -> FullPipelineResult:
    """Run every stage; all files are in `folder`.

    Args:
        folder: Folder to write.
        smoke: Run every stage with so few steps that nothing is learned.
        seed: Seed of the world, the models and the sampling.
        overrides: Overrides of the RL recipe, after those of the pipeline.
        stage: Opens a progress stage.

    Raises:
        BadInputError: an override has an unknown key or an invalid value.
    """
    scale, before = (longwriter_zero.SMOKE, chain.SMOKE) if smoke else (longwriter_zero.FULL, chain.FULL)
    changes = [*chain.learning_overrides(folder), *overrides]
    recipe = longwriter_zero.pipeline_recipe(folder, scale=scale, seed=seed, overrides=changes)  # fail fast
    prepare_process()
    with serve_in_background() as base_url:
        write_world(folder, base_url=base_url, scale=scale, seed=seed, ranges=WIDE_RANGES)
        prompts = collect_prompts(folder, seed=seed, stage=stage)
        longwriter_zero.train_base(folder, scale=scale, seed=seed, stage=stage)
        prepare_reward_models(folder, scale=before, seed=seed, stage=stage)
        longwriter_zero.tune_baselines(folder, scale=scale, seed=seed, stage=stage)
        run = longwriter_zero.train_policy(folder, scale=scale, seed=seed, overrides=changes, stage=stage)
        evidence = gather_chain_evidence(folder, run.policy_path, recipe.generation, seed=seed, stage=stage)
    return FullPipelineResult(run, evidence, prompts)


def prepare_reward_models(folder: Path, *, scale: chain.ChainScale, seed: int, stage: Stage) -> None:
    """Run the stages from the base in `folder`/base to the reward models."""
    chain.write_texts(folder, scale=scale, seed=seed)
    chain.pretrain(folder, scale=scale, seed=seed, stage=stage)
    gather_preferences(folder, scale=scale, seed=seed, stage=stage)
    train_writing_models(folder, scale=scale, seed=seed, stage=stage)
