"""A reinforcement-learning run from its recipe: checks it, loads the models, and calls the training loop."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch

from longform.endpoints.client import Endpoint
from longform.endpoints.limits import Budget
from longform.endpoints.models import ModelSpec
from longform.judging.examiner import TextExaminer
from longform.planning.device import MemoryPlan, check_memory
from longform.recipe.begin import begin_run
from longform.recipe.inputs import TrainingInputs, check_inputs, new_curriculum
from longform.recipe.recipe import Recipe
from longform.records.calls import SqliteCallLog
from longform.records.errors import BadInputError, StoppedError
from longform.records.run_directory import RunDirectory
from longform.records.schemas import PromptRow
from longform.rewards.judge_thread import JudgeThread
from longform.rewards.reward_set import build_rewards
from longform.steps.recorder import RunRecorder, RunResult, StepReport
from longform.training.checkpoint import TrainingState, finish_step, resume_from
from longform.training.grpo import train_grpo
from longform.training.lora import AdaptedModels
from longform.training.models import FullModels, PolicyModels
from longform.training.policy_writer import PolicyWriter
from longform.training.ppo import train_ppo
from longform.training.rollouts import RolloutGenerator
from longform.training.self_check import check_architecture, check_models, check_served
from longform.training.validation import Validation
from longform.wording import Wording
from longform.writers.device import choose_device
from longform.writers.encoding import encode_prompts
from longform.writers.loading import check_generation_config, check_weights, load_config, load_tokenizer
from longform.writers.self_check import check_context, check_stops
from longform.writers.served.server import EngineServer, check_server, open_server

FIRST_VALUE = 0.5
"""Value that an untrained critic predicts everywhere: the score of a tie."""


def train(
    recipe: Recipe,
    *,
    resume: bool = False,
    self_check: bool = True,
    on_step: Callable[[StepReport], None],
    on_start: Callable[[int], None] = lambda step: None,
    on_phase: Callable[[str], None] = lambda name: None,
) -> RunResult:
    """Run a recipe to its end.

    Args:
        recipe: the recipe.
        resume: continue from the newest checkpoint.
        self_check: check first that log-probabilities at generation and in training agree (training/self_check.py).
        on_step: called with the report of each step.
        on_start: called before the first step with the number of finished steps: 0, unless the run is resumed.
        on_phase: called with the current phase of a step: writing, judging, updating or validating.

    Raises:
        BadInputError: something the recipe names cannot be used, or the run exists and `resume` is False.
        StoppedError: the run stopped and can be resumed.
    """
    if resume and not recipe.run_path.exists():
        raise BadInputError(f"{recipe.run_path}: no such run to resume")
    inputs = check_inputs(recipe)
    start = check_start(recipe, inputs)
    with RunDirectory.open(recipe.run_path) as run, SqliteCallLog(run.database_path) as log:
        wording = begin_run(run, recipe, resume=resume)
        models = load_models(recipe, device=choose_device(recipe.device))
        models.settle_rope(start.longest)
        if self_check:
            check_models(
                models,
                path=recipe.policy,
                settings=recipe.generation,
                longest_prompt=start.longest_prompt,
                packed=recipe.memory.packing,
            )
        seed, steps = recipe.run.seed, recipe.run.steps
        curriculum = new_curriculum(recipe, inputs.prompts)
        state = TrainingState.start(models, curriculum, recipe.optim, optimizer_bits=recipe.memory.optimizer_bits)
        resume_from(run, state)
        on_start(state.step)
        budget = _budget(log, recipe.run.budget)
        with (
            serve_policy(recipe, longest=start.longest) as server,
            JudgeThread() as thread,
            _endpoints(inputs.judges, log, thread, budget=budget) as endpoints,
        ):
            writer = PolicyWriter(models, recipe.generation, seed=seed, server=server)
            if server is not None and self_check:
                check_served(models, server, path=recipe.policy, settings=recipe.generation)
            rewards = build_rewards(
                recipe.rewards,
                endpoints,
                secret=log.secret(),
                seed=seed,
                wording=wording,
                flat_groups_only=recipe.data.flat_groups is not None,
                promotes_best=recipe.curriculum.promote_by == "sample",
                policy=recipe.policy,
                trust_remote_code=recipe.trust_remote_code,
            )
            generator = RolloutGenerator(
                inputs.prompts,
                writer,
                rewards,
                thread,
                group=recipe.data.group,
                read_text=run.database.text,
                wording=wording,
            )
            validation = _validation(recipe, inputs, writer, endpoints, thread, secret=log.secret(), wording=wording)
            with _out_of_memory():
                recorder = build_recorder(
                    recipe,
                    run,
                    state,
                    validation,
                    prompts=inputs.prompts,
                    on_step=on_step,
                    on_phase=on_phase,
                    spent=lambda: budget.spent,
                )
                (train_ppo if recipe.method == "ppo" else train_grpo)(recipe, state, generator, recorder)
        policy = run.checkpoint_path(steps) / "policy"
        return RunResult(run.path, policy, steps, run.database.seconds(), log.totals())


class RunStart(NamedTuple):
    """Results of the checks of a run before its weights are loaded."""

    memory: MemoryPlan
    longest_prompt: int
    """Tokens of the longest prompt."""
    longest: int
    """Maximum tokens of prompt and response together."""


def check_start(recipe: Recipe, inputs: TrainingInputs) -> RunStart:
    """Check what needs no weights: the generation server, the device, the length of every prompt in tokens, the context of
    the policy, and memory.

    Raises:
        BadInputError: a prompt is too long or refused by the chat template, the tokenizer cannot be loaded, or the run can't
            fit.
    """
    check_server(recipe.generation)
    if recipe.memory.limit_gb is None:  # else it may be a plan for another machine
        choose_device(recipe.device)
    tokenizer = load_tokenizer(recipe.policy, trust_remote_code=recipe.trust_remote_code)
    encoded = encode_prompts(tokenizer, [*inputs.prompts, *inputs.validation_prompts], settings=recipe.generation)
    longest_prompt = max(map(len, encoded))
    config = load_config(recipe.policy, trust_remote_code=recipe.trust_remote_code)
    check_context(config, path=recipe.policy, settings=recipe.generation, longest_prompt=longest_prompt)
    check_generation_config(recipe.policy)
    check_stops(tokenizer, path=recipe.policy, settings=recipe.generation, trust_remote_code=recipe.trust_remote_code)
    check_weights(
        recipe.policy,
        trust_remote_code=recipe.trust_remote_code,
        may_be_elsewhere=recipe.memory.limit_gb is not None,
    )
    memory = check_memory(recipe, longest_prompt=longest_prompt)
    return RunStart(memory, longest_prompt, longest_prompt + recipe.generation.max_tokens)


def check_policy(recipe: Recipe, start: RunStart) -> str:
    """Check the architecture of the policy without its weights; returns what was checked, in words.

    Raises:
        BadInputError: a check failed.
    """
    return check_architecture(
        recipe.policy,
        settings=recipe.generation,
        longest_prompt=start.longest_prompt,
        memory=recipe.memory,
        trust_remote_code=recipe.trust_remote_code,
    )


def load_models(recipe: Recipe, *, device: str) -> PolicyModels:
    """The models of a run at its start, all from the weights of `recipe.policy`: the policy, with PPO the critic, and
    with KL the reference model.

    Raises:
        BadInputError: it is no model, or one that cannot be trained here.
    """
    shared: dict[str, Any] = {
        "device": device,
        "with_reference": recipe.optim.kl_coef > 0,
        "initial_value": FIRST_VALUE if recipe.method == "ppo" else None,
        "memory": recipe.memory,
        "trust_remote_code": recipe.trust_remote_code,
    }
    models = (
        FullModels(recipe.policy, **shared)
        if recipe.lora is None
        else AdaptedModels(recipe.policy, **shared, lora=recipe.lora, seed=recipe.run.seed)
    )
    models.set_attention(recipe.memory.attention)
    models.offload_activations(offloads=recipe.memory.offload_activations)
    return models


def build_recorder(
    recipe: Recipe,
    run: RunDirectory,
    state: TrainingState,
    validation: Validation | None,
    *,
    prompts: Sequence[PromptRow],
    on_step: Callable[[StepReport], None],
    on_phase: Callable[[str], None] = lambda name: None,
    spent: Callable[[], float] = lambda: 0.0,
) -> RunRecorder:
    """The recorder of a local run: it validates, and writes checkpoints, as often as the recipe says.

    Args:
        recipe: of the run.
        run: its directory.
        state: what a checkpoint holds.
        validation: before the first step, when it is due, and after the last step; None: never.
        prompts: of the run.
        on_step: called with the report of each step.
        on_phase: called with the current phase of a step.
        spent: known cost of all judge calls so far.
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
        on_phase=on_phase,
        show_every=recipe.run.show_every,
        spent=spent,
    )


@contextmanager
def _out_of_memory() -> Iterator[None]:
    """A context that turns running out of device memory into a `StoppedError` with the settings to change."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise StoppedError(
            "the device is out of memory; continue with --resume and a smaller memory.max_tokens_per_microbatch, or with "
            "memory.gradient_checkpointing=true"
        ) from error


def _budget(log: SqliteCallLog, limit: float | None) -> Budget:
    totals = log.totals()
    return Budget(
        limit,
        spent=totals.cost,
        unknown=totals.unknown_costs,
        estimated=totals.estimated_costs,
        resume="--resume and a larger run.budget",
    )


@contextmanager
def _endpoints(
    judges: dict[str, ModelSpec], log: SqliteCallLog, thread: JudgeThread, *, budget: Budget
) -> Iterator[dict[str, Endpoint]]:
    """A context with the judges' endpoints on one budget; they are closed on the event loop that used them."""
    endpoints = {name: Endpoint(name, spec, call_log=log, budget=budget) for name, spec in judges.items()}
    try:
        yield endpoints
    finally:
        thread.clear()
        for number, endpoint in enumerate(endpoints.values()):
            thread.submit(number, endpoint.close())
        thread.collect()


def serve_policy(recipe: Recipe, *, longest: int) -> AbstractContextManager[EngineServer | None]:
    """A context with the generation server for the engines vllm and sglang, and None for other engines."""
    return open_server(
        recipe.generation,
        model=recipe.policy,
        longest=longest,
        precision=recipe.memory.precision,
        seed=recipe.run.seed,
        adapter_rank=recipe.lora.rank if recipe.lora else None,
        trust_remote_code=recipe.trust_remote_code,
    )


def _validation(
    recipe: Recipe,
    inputs: TrainingInputs,
    writer: PolicyWriter,
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
        writer,
        TextExaminer(
            endpoints[settings.judge],
            secret=secret,
            wording=wording,
            per_criterion=settings.per_criterion,
            without_criteria=settings.without_criteria,
        ),
        thread,
        wording=wording,
    )
