"""The estimate of a run: time, tokens and cost, and every assumption behind them."""

from dataclasses import dataclass

from longform.planning.assumptions import Assumptions
from longform.planning.judge_load import (
    SCORE_SECONDS,
    JudgeLoad,
    find_specs,
    group_notes,
    reward_loads,
    validation_load,
    validations,
)
from longform.planning.shapes import find_shape, parameters_in_name
from longform.planning.speed import (
    GRAPH_SECONDS,
    LAUNCH_SECONDS,
    Policy,
    find_machine,
    updating_seconds,
    writing_seconds,
)
from longform.planning.text_lengths import TextLengths, find_lengths
from longform.planning.workload import Workload
from longform.records.errors import BadInputError
from longform.writers.settings import SERVED


@dataclass(frozen=True, slots=True)
class StepSeconds:
    """Time of a step by stage."""

    writing: float
    judging: float
    """From the end of generation to the last verdict: calls start as responses end."""
    updating: float

    @property
    def total(self) -> float:
        """The whole step."""
        return self.writing + self.judging + self.updating

    @property
    def bottleneck(self) -> str:
        """The slowest part."""
        parts = {"writing": self.writing, "judging": self.judging, "updating": self.updating}
        return max(parts, key=lambda name: parts[name])


@dataclass(frozen=True, slots=True)
class Estimate:
    """Estimated resources of a run."""

    policy: Policy
    lengths: TextLengths
    rollouts: int
    visits: float | None
    """Visits per prompt; None if the number of prompts is unknown."""
    written: float
    """Generated tokens, including validation."""
    trained: float
    """Tokens in updates, including prompts, counted once per epoch."""
    judges: tuple[JudgeLoad, ...]
    """The judges of the rewards, then the examiner."""
    step: StepSeconds
    hours: float
    gpu_hours: float
    gpu_cost: float | None
    notes: tuple[str, ...]
    """Assumptions."""

    @property
    def cost(self) -> float:
        """Cost of all calls with a known price."""
        return sum(it.cost or 0.0 for it in self.judges)

    @property
    def unpriced(self) -> list[str]:
        """Judges without prices."""
        return [it.name for it in self.judges if it.cost is None]


def estimate_run(run: Workload, given: Assumptions | None = None) -> Estimate:
    """Estimate a run on either engine.

    Raises:
        BadInputError: a file is invalid, or the size of the policy is unknown.
    """
    given = given or Assumptions()
    policy, policy_notes = find_policy(run, given)
    lengths = find_lengths(run, given)
    specs, judge_notes = find_specs(run)
    judges = reward_loads(run, lengths, specs, given)
    examiner = validation_load(run, lengths, specs, given)
    machine = find_machine(run, policy, given)
    visits_of_validation = validations(run)

    def write(responses: int) -> float:
        return writing_seconds(
            machine,
            policy,
            responses=responses,
            prompt=lengths.prompt,
            response=lengths.response,
            longest=lengths.longest,
        )

    length = lengths.prompt + lengths.response
    writing = write(run.rollouts)
    waiting = _waiting(judges, writing=writing)
    step = StepSeconds(writing, waiting, updating_seconds(machine, policy, run, length=length))
    validating = write(lengths.validation_prompts)
    validating += _waiting([examiner] if examiner else [], writing=validating)
    hours = (run.run.steps * step.total + visits_of_validation * validating) / 3600
    rollouts = run.run.steps * run.rollouts
    price, gpus = given.price_per_gpu_hour, max(machine.gpus, machine.per_copy)
    return Estimate(
        policy=policy,
        lengths=lengths,
        rollouts=rollouts,
        visits=run.run.steps * run.data.per_step / lengths.prompts if lengths.prompts else None,
        written=(rollouts + visits_of_validation * lengths.validation_prompts) * lengths.response,
        trained=rollouts * length * run.optim.epochs,
        judges=(*judges, *([examiner] if examiner else [])),
        step=step,
        hours=hours,
        gpu_hours=hours * gpus,
        gpu_cost=None if price is None else price * hours * gpus,
        notes=(*policy_notes, *lengths.notes, *judge_notes, *group_notes(run), *_stated(run, given)),
    )


def find_policy(run: Workload, given: Assumptions) -> tuple[Policy, tuple[str, ...]]:
    """The size of the policy, and the assumption behind it.

    Raises:
        BadInputError: the size is unknown.
    """
    shape = find_shape(run.policy)
    if given.parameters is not None:
        return Policy(given.parameters, shape), ()
    if shape is not None:
        return Policy(shape.parameters, shape), ()
    named = parameters_in_name(run.policy)
    if named is None:
        raise BadInputError(
            f"{run.policy}: its config.json is not on this machine, and its name does not state a size; pass "
            "--parameters, such as 7.6e9"
        )
    return Policy(named, None), (f"{run.policy} has {named:,.0f} parameters, according to its name",)


def _waiting(judges: list[JudgeLoad], *, writing: float) -> float:
    """Seconds from the end of generation to the last verdict: a call or its rounds, or what the rate limits held back."""
    if not judges:
        return 0.0
    return max(max(it.latency for it in judges), max(it.seconds for it in judges) - writing)


def _stated(run: Workload, given: Assumptions) -> tuple[str, ...]:
    """Assumptions behind the figures."""
    notes = [
        f"GPU type {given.gpu}: updates reach {given.utilisation:.0%} of the peak, "
        f"generation {given.bandwidth_share:.0%} of the bandwidth",
        "start-up, weight synchronisation and checkpoints are not counted",
    ]
    if run.engine == "local" and run.generation.engine in SERVED:
        notes.append(
            f"a decoding step of {run.generation.engine} takes {GRAPH_SECONDS * 1000:g} ms besides reading memory; it "
            f"writes {run.generation.batch} responses at once, if its cache holds them"
        )
    elif run.engine == "local":
        notes.append(
            f"a decoding step of transformers takes {LAUNCH_SECONDS * 1000:g} ms per layer besides reading memory"
        )
    if run.judged or run.validation:
        notes.insert(
            1,
            f"a judge answers after {given.judge_latency:g} s with {given.answer_tokens} tokens; calls start as responses "
            "end; retries and prices of cached prompts are not counted",
        )
    if run.served:
        notes.append(f"a served reward model scores a text in {SCORE_SECONDS:g} s; its GPUs are not counted")
    elif any(it.kind == "writing" for it in run.rewards):
        notes.append("the passes of the reward model are not counted")
    if any(it.kind == "likelihood" for it in run.rewards):
        notes.append("the passes of the likelihood reward's model are not counted")
    if run.method == "grpo" and run.grpo.resample:
        notes.append(f"up to {run.grpo.resample} rounds of dynamic sampling per step are not counted")
    return tuple(notes)
