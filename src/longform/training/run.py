"""A reinforcement-learning run from its recipe: everything is checked, opened, and handed to the training loop."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch

from longform.curriculum.schedule import Curriculum
from longform.endpoints.client import Endpoint
from longform.endpoints.limits import Budget
from longform.endpoints.models import ModelSpec
from longform.judging.pointwise import PointwiseJudge
from longform.planning.device import MemoryPlan, check_memory
from longform.recipe.begin import begin_run
from longform.recipe.inputs import TrainingInputs, check_inputs
from longform.recipe.recipe import Recipe
from longform.records.calls import SqliteCallLog
from longform.records.errors import BadInputError, StoppedError
from longform.records.run_directory import RunDirectory
from longform.records.schemas import PromptRow
from longform.rewards.reward_set import build_rewards
from longform.steps.recorder import RunRecorder, RunResult, StepReport
from longform.training.checkpoint import TrainingState, finish_step, resume_from
from longform.training.grpo import train_grpo
from longform.training.lora import AdaptedModels
from longform.training.models import FullModels, PolicyModels
from longform.training.ppo import train_ppo
from longform.training.rollouts import JudgeThread, RolloutGenerator
from longform.training.validation import Validation
from longform.wording import Wording
from longform.writers.local import encode_prompts, load_tokenizer

FIRST_VALUE = 0.5
"""What the critic predicts before it has seen anything: a tie."""


def train(recipe: Recipe, *, resume: bool = False, on_step: Callable[[StepReport], None]) -> RunResult:
    """Run a recipe to its end.

    Raises:
        BadInputError: something the recipe names cannot be used, or the run exists and `resume` is False.
        StoppedError: the run stopped and can be resumed.
    """
    if resume and not recipe.run_path.exists():
        raise BadInputError(f"{recipe.run_path}: no such run to resume")
    inputs = check_inputs(recipe)
    check_start(recipe, inputs)
    with RunDirectory.open(recipe.run_path) as run, SqliteCallLog(run.database_path) as log:
        wording = begin_run(run, recipe, resume=resume)
        models = load_models(recipe, device="cuda" if torch.cuda.is_available() else "cpu")
        seed, steps = recipe.run.seed, recipe.run.steps
        ladders = [(it.id, it.rungs) for it in inputs.prompts]
        curriculum = Curriculum.of(ladders, recipe.curriculum, policy=recipe.policy_name, seed=seed, steps=steps)
        state = TrainingState.start(models, curriculum, recipe.optim)
        resume_from(run, state)
        with JudgeThread() as thread, _endpoints(inputs.judges, log, thread, limit=recipe.run.budget) as endpoints:
            rewards = build_rewards(recipe.rewards, endpoints, secret=log.secret(), seed=seed, wording=wording)
            generator = RolloutGenerator(
                inputs.prompts,
                models,
                rewards,
                thread,
                group=recipe.data.group,
                settings=recipe.generation,
                seed=seed,
                read_text=run.database.text,
                wording=wording,
            )
            validation = _validation(recipe, inputs, models, endpoints, thread, secret=log.secret(), wording=wording)
            with _out_of_memory():
                recorder = build_recorder(recipe, run, state, validation, prompts=inputs.prompts, on_step=on_step)
                (train_ppo if recipe.method == "ppo" else train_grpo)(recipe, state, generator, recorder)
        policy = run.checkpoint_path(steps) / "policy"
        return RunResult(run.path, policy, steps, run.database.seconds(), log.totals())


def check_start(recipe: Recipe, inputs: TrainingInputs) -> MemoryPlan:
    """Check what can be told without the weights: every prompt in tokens, and the memory that the run needs.

    Raises:
        BadInputError: a prompt is too long, the tokenizer cannot be loaded, or the run can't fit.
    """
    plan = check_memory(recipe)
    tokenizer = load_tokenizer(recipe.policy)
    encode_prompts(tokenizer, [*inputs.prompts, *inputs.validation_prompts], settings=recipe.generation)
    return plan


def load_models(recipe: Recipe, *, device: str) -> PolicyModels:
    """The models of a run at its start, all from the weights of `recipe.policy`: the policy, with PPO the critic, and
    with KL the reference model.

    Raises:
        BadInputError: it is no model, or one that cannot be trained here.
    """
    with_reference, memory = recipe.optim.kl_coef > 0, recipe.memory
    initial_value = FIRST_VALUE if recipe.method == "ppo" else None
    if recipe.lora is None:
        return FullModels(
            recipe.policy, device=device, with_reference=with_reference, initial_value=initial_value, memory=memory
        )
    return AdaptedModels(
        recipe.policy,
        device=device,
        with_reference=with_reference,
        initial_value=initial_value,
        memory=memory,
        lora=recipe.lora,
        seed=recipe.run.seed,
    )


def build_recorder(
    recipe: Recipe,
    run: RunDirectory,
    state: TrainingState,
    validation: Validation | None,
    *,
    prompts: Sequence[PromptRow],
    on_step: Callable[[StepReport], None],
) -> RunRecorder:
    """The recorder of a local run: it validates, and writes checkpoints, as often as the recipe says.

    Args:
        recipe: of the run.
        run: its directory.
        state: what a checkpoint holds.
        validation: before the first step, when it is due, and after the last step; None: never.
        prompts: of the run.
        on_step: called with the report of each step.
    """
    return RunRecorder(
        run.database,
        state.curriculum,
        id_at=[it.id for it in prompts].__getitem__,
        request_of={it.id: it.request for it in prompts}.__getitem__,
        thinking=recipe.generation.think,
        steps=recipe.run.steps,
        validate=None if validation is None else validation.measure,
        validate_every=1 if recipe.validation is None else recipe.validation.every,
        checkpoint=partial(finish_step, recipe=recipe, run=run, state=state),
        on_step=on_step,
    )


@contextmanager
def _out_of_memory() -> Iterator[None]:
    """A device without memory left stops the run, resumably, with what to change."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise StoppedError(
            "the device has no memory left; continue with --resume and a smaller memory.max_tokens_per_microbatch, or with "
            "memory.gradient_checkpointing=true"
        ) from error


@contextmanager
def _endpoints(
    judges: dict[str, ModelSpec], log: SqliteCallLog, thread: JudgeThread, *, limit: float | None
) -> Iterator[dict[str, Endpoint]]:
    """The judges' endpoints, on one budget; closed in the end on the loop that they ran in."""
    totals = log.totals()
    budget = Budget(
        limit,
        spent=totals.cost,
        unknown=totals.unknown_costs,
        estimated=totals.estimated_costs,
        resume="--resume and a larger run.budget",
    )
    endpoints = {name: Endpoint(name, spec, call_log=log, budget=budget) for name, spec in judges.items()}
    try:
        yield endpoints
    finally:
        thread.clear()
        for number, endpoint in enumerate(endpoints.values()):
            thread.submit(number, endpoint.close())
        thread.collect()


def _validation(
    recipe: Recipe,
    inputs: TrainingInputs,
    models: PolicyModels,
    endpoints: dict[str, Endpoint],
    thread: JudgeThread,
    *,
    secret: bytes,
    wording: Wording,
) -> Validation | None:
    settings = recipe.validation
    if settings is None:
        return None
    return Validation(
        inputs.validation_prompts,
        models,
        PointwiseJudge(endpoints[settings.judge], secret=secret, wording=wording, per_criterion=settings.per_criterion),
        thread,
        settings=recipe.generation,
        seed=recipe.run.seed,
        wording=wording,
    )
