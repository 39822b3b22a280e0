"""A model of a few thousand weights, a judge that is a function of the text, and runs of both methods on them."""

from contextlib import suppress
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from longform.curriculum.schedule import Curriculum
from longform.recipe.recipe import Recipe
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder, Reference
from longform.rewards.judge_thread import JudgeThread
from longform.rewards.judged import VALUES
from longform.rewards.reward import RewardResult
from longform.rewards.reward_set import RewardSet
from longform.training.checkpoint import TrainingState, resume_from
from longform.training.grpo import train_grpo
from longform.training.policy_writer import PolicyWriter
from longform.training.ppo import train_ppo
from longform.training.rollouts import RolloutGenerator
from longform.training.run import build_recorder, load_models, serve_policy

WORDS = ["[end]", "write", "good", "bad", "so", "and", "then", "very"]
PER_STEP = 32


class CountingJudge:
    """Finds a text better than the reference that uses `good` more often; silent where `is_silent` says so."""

    def __init__(self, is_silent=lambda text: False):
        self.is_silent = is_silent

    async def score(self, prompt, *, response, reference, step):
        if self.is_silent(response.answer):
            return RewardResult(None, None, "timeout")
        ours, theirs = response.answer.split().count("good"), reference.split().count("good")
        outcome = "win" if ours > theirs else "tie" if ours == theirs else "loss"
        return RewardResult(VALUES["paper"][outcome], outcome)


def save_model(folder, **settings):
    """A model folder with random weights and a word-level tokenizer."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = LlamaConfig(vocab_size=len(WORDS), bos_token_id=None, eos_token_id=0, pad_token_id=0, **(sizes | settings))
    LlamaForCausalLM(config).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


def build_tokenizer():
    """One token for each of `WORDS`."""
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="write"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="[end]", pad_token="[end]")


def ladder(number):
    references = [Reference(model=f"m{n}", text=" ".join(["good"] * n + ["bad"]), score=n) for n in range(6)]
    return Ladder(id=str(number), prompt="write so", references=references, policy_score=0, potential=5)


def train_toy(start, folder, sections, *, steps, rewards=None, groups=None, stop_after=None):
    """A run to its end, or until `stop_after`; one that stands in `folder` already is resumed."""

    def on_step(report):
        if report.step == stop_after:
            raise KeyboardInterrupt

    recipe = Recipe.model_validate(
        {
            "policy": str(start),
            "data": {"ladders": "unused.jsonl", "per_step": PER_STEP},
            "rewards": [{"kind": "pairwise", "judge": "unused"}],
            "generation": {"max_tokens": 12},
            "run": {"name": "toy", "folder": str(folder), "steps": steps, "seed": 3, "checkpoint_every": 2},
            **sections,
        }
    )
    prompts = [ladder(number) for number in range(64)]
    models = load_models(recipe, device="cpu")
    curriculum = Curriculum.of(
        [(it.id, it.rungs) for it in prompts], recipe.curriculum, policy="m0", seed=3, steps=steps
    )
    state = TrainingState.start(models, curriculum, recipe.optim, optimizer_bits=recipe.memory.optimizer_bits)
    with (
        serve_policy(recipe, longest=64) as server,
        RunDirectory.open(recipe.run_path) as run,
        JudgeThread() as thread,
    ):
        source = RolloutGenerator(
            prompts,
            PolicyWriter(models, recipe.generation, seed=3, server=server),
            RewardSet(
                {"pairwise": CountingJudge()} if rewards is None else rewards,
                groups=groups,
                flat_groups_only=recipe.data.flat_groups is not None,
            ),
            thread,
            group=recipe.data.group,
            read_text=run.database.text,
        )
        resume_from(run, state)
        with suppress(KeyboardInterrupt):
            recorder = build_recorder(recipe, run, state, None, prompts=prompts, on_step=on_step)
            (train_ppo if recipe.method == "ppo" else train_grpo)(recipe, state, source, recorder)
        return state, {name: dict(points) for name, points in run.database.metrics().items()}


def policy_weights(state):
    return torch.cat([parameter.detach().flatten() for parameter in state.models.policy_parameters()])
