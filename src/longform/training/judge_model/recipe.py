"""The recipe of a judge model, and the split of its pairs into training and held-out prompts."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.schemas import Prompt, TrainingRow
from longform.rl.settings import GrpoSettings
from longform.tracking.available import check_trackers
from longform.training.judge_model.pairs import (
    LabelledPair,
    questions,
    read_labelled_pairs,
    read_run_verdicts,
    training_rows_of_pairs,
    training_rows_of_runs,
)
from longform.training.supervised.resumable import check_out
from longform.training.supervised.settings import SupervisedRecipe
from longform.training.supervised.sft_recipe import SftRecipe, SftSettings
from longform.training.supervised.training_rows import SftData, is_held_out
from longform.wording import CURRENT, load_wording
from longform.writers.paths import check_model_path
from longform.writers.settings import GenerationSettings

MIN_HELD_OUT = 2
"""Minimum number of held-out prompts; one prompt gives no interval."""
ROWS, QUESTIONS = "rows.jsonl", "questions.jsonl"
"""Training files of the two stages, in the folder of checkpoints."""
FINE_TUNED, REINFORCED = "fine-tuned", "rl"
"""Folders of the two stages, in the folder of checkpoints."""


class JudgeRlSettings(BaseModel):
    """Reinforcement learning of a judge model: GRPO with a reward of 1 for an answer whose verdict is the pair's label.

    A tie on a pair with a winner, a winner on a tied pair, and an answer without a verdict or cut off at `max_tokens` have a
    reward of 0. Each pair gives two questions, one for each order.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=200, ge=1)
    """Updates."""
    per_step: int = Field(default=16, ge=1)
    """Questions per step."""
    group: int = Field(default=8, ge=2)
    """Answers per question."""
    evaluate_every: int = Field(default=50, ge=1)
    """Steps between points of the learning curve."""
    optim: GrpoSettings = GrpoSettings()


class JudgeExaminationSettings(BaseModel):
    """Budget of the examination of a judge model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_pairs: int | None = Field(default=None, ge=1)
    """Number of held-out pairs to draw; None: all. Each is asked about in both orders."""


class JudgeModelRecipe(SupervisedRecipe):
    """Recipe of a judge model."""

    base: str
    """Folder or hub id of the language model to start from; needs a chat template."""
    pairs: list[Path] = Field(min_length=1)
    """Pairs files with labels, as `longform label` and `audit` write them. The fine-tuning learns the `reasons` of pairs."""
    judge: str | None = None
    """A judge whose verdicts in the pairs files replace missing labels, where both orders agree."""
    runs: list[Path] = Field(default_factory=list)
    """Run directories whose recorded pairwise verdicts the fine-tuning learns, with their reasons."""
    held_out: float = Field(default=0.1, gt=0, lt=1)
    """Fraction of the prompts to hold out with all their pairs and verdicts; chosen by hash of the prompt and `seed`."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Random seed of the held-out prompts and of reinforcement learning; the fine-tuning has `sft.seed`."""
    sft: SftSettings | None = SftSettings()
    """Fine-tuning on verdicts with reasons. null: skip this stage."""
    rl: JudgeRlSettings | None = JudgeRlSettings()
    """Reinforcement learning on labels. null: skip this stage."""
    generation: GenerationSettings = GenerationSettings(max_tokens=1024, max_prompt_tokens=16_384)
    """Length limits, chat template and sampling of its answers; the examination is greedy."""
    examination: JudgeExaminationSettings = JudgeExaminationSettings()

    @model_validator(mode="after")
    def _check_stages(self) -> "JudgeModelRecipe":
        if self.sft is None and self.rl is None:
            raise ValueError("sft, rl: both are null, so there is nothing to train; set one of them")
        if self.generation.think != "off" or not self.generation.uses_chat_template:
            raise ValueError("generation: a judge needs `think: off` and `chat_template: on`")
        if self.rl is not None and self.generation.temperature == 0:
            raise ValueError("generation.temperature: must not be 0: all answers of a group would be equal")
        if self.devices.count > 1:
            raise ValueError("devices: a judge model is trained on one device; leave it out")
        if self.validation is not None:
            raise ValueError("validation: the held-out pairs examine every stage; leave it out")
        return self

    def fine_tuning(self) -> SftRecipe:
        """The recipe of the fine-tuning stage; `sft` must not be null."""
        assert self.sft is not None
        return SftRecipe(
            policy=self.base,
            data=SftData(rows=[self.checkpoints / ROWS]),
            out=self.checkpoints / FINE_TUNED,
            settings=self.sft,
            **{name: getattr(self, name) for name in _SHARED},
        )

    def reinforcement(self, policy: str, *, on_gpu: bool) -> Recipe:
        """The recipe of the reinforcement learning stage, starting from `policy`; `rl` must not be null."""
        assert self.rl is not None
        content = {
            "method": "grpo",
            "policy": policy,
            "trust_remote_code": self.trust_remote_code,
            "data": {
                "prompts": str(self.checkpoints / QUESTIONS),
                "per_step": self.rl.per_step,
                "group": self.rl.group,
            },
            "rewards": [{"kind": "answer", "form": "verdict"}],
            "generation": self.generation.model_dump(mode="json"),
            "optim": self.rl.optim.model_dump(mode="json"),
            "lora": None if self.lora is None else self.lora.model_dump(mode="json"),
            "memory": self.memory.resolved(on_gpu=on_gpu).model_dump(mode="json"),
            "run": {
                "name": REINFORCED,
                "folder": str(self.checkpoints),
                "seed": self.seed,
                "steps": self.rl.steps,
                "checkpoint_every": self.checkpoint_every,
                "keep_checkpoints": self.keep_checkpoints,
                "keep_policies": self.rl.evaluate_every,
                "track": self.track,
            },
        }
        return Recipe.model_validate(content)


_SHARED = ("trust_remote_code", "lora", "memory", "checkpoint_every", "keep_checkpoints", "track")


class JudgeSplit(NamedTuple):
    """The training data of both stages, and the held-out pairs."""

    rows: list[TrainingRow]
    """For the fine-tuning; empty without it."""
    questions: list[Prompt]
    """For reinforcement learning."""
    pairs: int
    """Number of training pairs with a label."""
    held_out: list[LabelledPair]
    left_out: Counter[str]
    """Number of rows that were left out, by reason."""


def read_split(recipe: JudgeModelRecipe) -> JudgeSplit:
    """Read and split pairs and verdicts, and check the recipe's files before a model is loaded.

    Raises:
        BadInputError: a file is missing or invalid, no pair has a label, a stage has nothing to learn, there are too few
            prompts to hold any out, there is no model at `base`, or `out` exists.
    """
    check_trackers(recipe.track, key="track")
    check_model_path(recipe.base)
    check_out(recipe)
    labelled, left_out = read_labelled_pairs(recipe.pairs, judge=recipe.judge)
    wording = load_wording(CURRENT)

    def trains(request: str) -> bool:
        return not is_held_out(request, recipe.held_out, seed=recipe.seed)

    training = [it for it in labelled if trains(it.request.request)]
    held_out = [it for it in labelled if not trains(it.request.request)]
    num_held_out = len({it.request.request for it in held_out})
    if not training or num_held_out < MIN_HELD_OUT:
        num_training = len({it.request.request for it in training})
        raise BadInputError(
            f"held_out: {recipe.held_out} leaves {num_training} prompts for training and holds out {num_held_out}; at least "
            f"{MIN_HELD_OUT} must be held out: change held_out, or add prompts to `pairs`"
        )
    rows: list[TrainingRow] = []
    if recipe.sft is not None:
        recorded = [it for run in recipe.runs for it in read_run_verdicts(run) if trains(it.request)]
        rows = training_rows_of_pairs(training, left_out, wording=wording) + training_rows_of_runs(
            recorded, wording=wording
        )
        if not rows:
            raise BadInputError(
                "sft: no verdicts to learn: no training pair has `reasons`, and `runs` gives none; add some or set sft: null"
            )
    asked = questions(training, wording=wording)
    if recipe.rl is not None and len(asked) < recipe.rl.per_step:
        raise BadInputError(
            f"rl.per_step: {recipe.rl.per_step} is more than the {len(asked)} questions about {len(training)} training "
            "pairs; lower it, or add pairs"
        )
    return JudgeSplit(rows, asked, len(training), held_out, left_out)
