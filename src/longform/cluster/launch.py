"""Runs a recipe on verl: checks and composes everything, starts Ray, then calls verl's entry point."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import ray
from omegaconf import DictConfig, OmegaConf
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from longform.cluster.checks import check_cluster, check_devices
from longform.cluster.config import compose_config
from longform.cluster.plugin import WITHOUT_TRL
from longform.cluster.start import check_alone, data_folder, open_actor, write_data
from longform.planning.cluster import check_cluster_memory, check_disk, checkpoint_folder
from longform.planning.memory import GIB
from longform.recipe.begin import begin_run
from longform.recipe.inputs import TrainingInputs, check_inputs
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError, StoppedError
from longform.records.files import write_text
from longform.records.run_directory import RunDirectory
from longform.steps.recorder import RunResult, StepReport

_PAUSE_SECONDS = 1.0
"""Polling interval for finished steps."""


def train_on_cluster(
    recipe: Recipe,
    *,
    resume: bool = False,
    on_step: Callable[[StepReport], None],
    on_start: Callable[[int], None] = lambda step: None,
) -> RunResult:
    """Run a recipe to its end on verl.

    Args:
        recipe: of the run.
        resume: continue from the newest checkpoint.
        on_step: called with the report of each step.
        on_start: called before the first step with the number of finished steps: 0, unless the run is resumed.

    Raises:
        BadInputError: something in the recipe cannot be used, or the run exists and `resume` is False.
        StoppedError: the run stopped and can be resumed.
    """
    if resume and not recipe.run_path.exists():
        raise BadInputError(f"{recipe.run_path}: no such run to resume")
    inputs = check_inputs(recipe)
    check_cluster(recipe, inputs)
    check_devices(recipe)
    check_cluster_memory(recipe)
    check_disk(recipe)
    is_begun = _check_run(recipe, resume=resume) > 0
    data = data_folder(recipe) if is_begun else write_data(recipe, inputs)
    config = _compose(recipe, data, resume=resume)
    with _plain_errors(), _ray(config, recipe):
        actor = open_actor(recipe, inputs, data=Path(config.data.train_files), name=recipe.run.name, resume=resume)
        try:
            write_text(recipe.run_path / "verl.yaml", OmegaConf.to_yaml(config))
            on_start(checkpoint_step(recipe) or 0)
            _run(config, actor, on_step, stall_timeout_hours=recipe.machines.stall_timeout_hours)
            calls, seconds = ray.get(actor.totals.remote())
        finally:
            ray.get(actor.release.remote())
    policy = checkpoint_folder(recipe) / f"global_step_{recipe.run.steps}" / "actor" / "huggingface"
    return RunResult(recipe.run_path, policy, recipe.run.steps, seconds, calls)


def _check_run(recipe: Recipe, *, resume: bool) -> int:
    """Check that the run can be begun or resumed and matches its checkpoints; returns its last recorded step.

    Raises:
        BadInputError: another process has the run, it has other settings, or records and checkpoints do not match.
    """
    with RunDirectory.open(recipe.run_path) as run:
        begin_run(run, recipe, resume=resume)
        last = run.database.last_step()
    checkpoints, every = checkpoint_folder(recipe), recipe.run.checkpoint_every
    newest = checkpoint_step(recipe)
    if not resume and newest is not None:
        raise BadInputError(f"{checkpoints}: contains checkpoints of another run; choose another run.name or folder")
    if resume and last > every and newest is None:
        raise BadInputError(
            f"{checkpoints}: contains no checkpoint, but the run is at step {last}; is the folder mounted?"
        )
    return last


def checkpoint_step(recipe: Recipe) -> int | None:
    """The step of verl's newest checkpoint, from which a run is resumed; None without one."""
    newest = checkpoint_folder(recipe) / "latest_checkpointed_iteration.txt"
    return int(newest.read_text()) if newest.exists() else None


def plan_run(recipe: Recipe, inputs: TrainingInputs) -> list[str]:
    """Check everything that can be checked on this machine without starting anything; returns the plan in lines.

    Raises:
        BadInputError: a check failed.
    """
    check_cluster(recipe, inputs)
    plan = check_cluster_memory(recipe)
    disk = check_disk(recipe)
    _compose(recipe, data_folder(recipe))
    lines = [f"plan in GiB, {line}" for line in plan.lines()]
    return [*lines, f"checkpoints of up to {disk / GIB:.0f} GiB fit into {checkpoint_folder(recipe)}"]


def _compose(recipe: Recipe, data: Path, *, resume: bool = False) -> DictConfig:
    """Verl's configuration, also validated by verl."""
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    checkpoints = checkpoint_folder(recipe).absolute()
    config = compose_config(recipe, data=data.absolute(), checkpoints=checkpoints, resume=resume)
    try:
        with redirect_stdout(StringIO()):
            validate_config(
                config=config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config)
            )
    except (AssertionError, ValueError) as error:
        raise BadInputError(f"verl refuses the configuration: {' '.join(str(error).split())}") from error
    return config


@contextmanager
def _ray(config: DictConfig, recipe: Recipe) -> Iterator[None]:
    """Ray with verl's settings: an existing cluster, or one for the duration of the run."""
    from verl.trainer.constants_ppo import get_ppo_ray_runtime_env

    asked = OmegaConf.to_container(config.ray_kwargs.ray_init, resolve=True)
    assert isinstance(asked, dict)
    env = OmegaConf.to_container(OmegaConf.create(get_ppo_ray_runtime_env(config)), resolve=True)
    assert isinstance(env, dict)
    env["env_vars"] = {**env.get("env_vars", {}), "TRANSFER_QUEUE_ENABLE": "1", WITHOUT_TRL: "1"}
    env |= {name: value for name, value in asked.pop("runtime_env", {}).items() if value is not None}
    address = {"address": recipe.machines.ray_address} if recipe.machines.ray_address else {}
    settings: dict[Any, Any] = {"log_to_driver": False, "include_dashboard": False, **asked, **address}
    if address:
        for name in ("include_dashboard", "num_cpus", "num_gpus"):
            settings.pop(name, None)
    try:
        ray.init(runtime_env=env, **settings)
    except (OSError, ValueError, RuntimeError) as error:
        raise BadInputError(f"Ray cannot be started or reached: {_first_line(error)}") from error
    try:
        check_alone()
        yield
    finally:
        ray.shutdown()


def _run(config: DictConfig, actor: Any, on_step: Callable[[StepReport], None], *, stall_timeout_hours: float) -> None:
    """Call verl's entry point on a thread, and pass on the reports of its steps."""
    from verl.trainer.main_ppo import TaskRunnerV1, run_ppo

    # The task runner needs the node of the run actor, which has the data.
    strategy = NodeAffinitySchedulingStrategy(node_id=ray.get_runtime_context().get_node_id(), soft=False)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            run_ppo(config, task_runner_class=TaskRunnerV1.options(scheduling_strategy=strategy))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="verl", daemon=True)
    thread.start()

    def is_over() -> bool:
        thread.join(_PAUSE_SECONDS)
        return not thread.is_alive()

    follow(is_over, lambda seen: ray.get(actor.reports.remote(seen)), on_step, stall_timeout_hours=stall_timeout_hours)
    if failures:
        raise failures[0]


def follow(
    is_over: Callable[[], bool],
    reports: Callable[[int], list[StepReport]],
    on_step: Callable[[StepReport], None],
    *,
    stall_timeout_hours: float,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Pass on the reports of steps until the run is over.

    Args:
        is_over: whether the run has ended, after a pause.
        reports: those of the steps after the first ones.
        on_step: called with each.
        stall_timeout_hours: longest time without another report.
        clock: in seconds.

    Raises:
        StoppedError: no step was finished for so long.
    """
    seen, latest = 0, clock()
    ended = False
    while not ended:
        ended = is_over()
        for report in reports(seen):
            seen, latest = seen + 1, clock()
            on_step(report)
        if not ended and clock() - latest > stall_timeout_hours * 3600:
            raise StoppedError(
                f"no step was finished for {stall_timeout_hours:g} h; a worker may be gone: --resume starts new ones. "
                "cluster.stall_timeout_hours may be raised with it"
            )


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Re-raise errors of other processes as they were raised there."""
    try:
        yield
    except RayTaskError as error:
        cause: Any = error.cause
        while isinstance(cause, RayTaskError):
            cause = cause.cause
        if isinstance(cause, BadInputError | StoppedError):
            raise cause from None
        logs = f"Ray's logs are in {Path(gettempdir(), 'ray', 'session_latest', 'logs').resolve()}"
        raise StoppedError(f"verl stopped: {type(cause).__name__}: {_first_line(cause)}; {logs}") from error
    except RayError as error:
        raise StoppedError(f"Ray stopped: {_first_line(error)}") from error


def _first_line(error: BaseException | None) -> str:
    return next(iter(str(error).strip().splitlines()), "")
