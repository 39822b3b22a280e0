"""A run's estimate: every figure of a run, and every assumption behind them."""

from dataclasses import dataclass

from longform.planning.assumptions import Assumptions
from longform.planning.judge_load import (
    SCORE_SECONDS,
    JudgeLoad,
    find_specs,
    reward_loads,
    validation_load,
    validations,
)
from longform.planning.shapes import find_shape, parameters_in_name
from longform.planning.speed import (
    LAUNCH_SECONDS,
    Policy,
    find_machine,
    updating_seconds,
    writing_seconds,
)
from longform.planning.text_lengths import TextLengths, find_lengths
from longform.planning.workload import Workload
from longform.records.errors import BadInputError


@dataclass(frozen=True, slots=True)
class StepSeconds:
    """Where the time of a step goes."""

    writing: float
    judging: float
    """From the end of writing to the last verdict: calls start as responses end."""
    updating: float

    @property
    def total(self) -> float:
        """Of the whole step."""
        return self.writing + self.judging + self.updating

    @property
    def bottleneck(self) -> str:
        """The part that takes the most time."""
        parts = {"writing": self.writing, "judging": self.judging, "updating": self.updating}
        return max(parts, key=lambda name: parts[name])


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take."""

    policy: Policy
    lengths: TextLengths
    rollouts: int
    visits: float | None
    """Of each prompt; None where their number is not known."""
    written: float
    """Tokens of responses, those of validation included."""
    trained: float
    """Tokens that go through the update, prompts included, once per epoch."""
    judges: tuple[JudgeLoad, ...]
    """Those of the rewards, then the examiner."""
    step: StepSeconds
    hours: float
    gpu_hours: float
    gpu_cost: float | None
    notes: tuple[str, ...]
    """What was assumed."""

    @property
    def cost(self) -> float:
        """Of all calls whose price is known."""
        return sum(it.cost or 0.0 for it in self.judges)

    @property
    def unpriced(self) -> list[str]:
        """Judges without a price."""
        return [it.name for it in self.judges if it.cost is None]


def estimate_run(run: Workload, given: Assumptions | None = None) -> Estimate:
    """What a run will take on either engine.

    Raises:
        BadInputError: a file is there and bad, or nothing tells how large the policy is.
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
    price = given.price_per_gpu_hour
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
        gpu_hours=hours * machine.gpus,
        gpu_cost=None if price is None else price * hours * machine.gpus,
        notes=(*policy_notes, *lengths.notes, *judge_notes, *_stated(run, given)),
    )


def find_policy(run: Workload, given: Assumptions) -> tuple[Policy, tuple[str, ...]]:
    """The size of a run's policy, and how it was found.

    Raises:
        BadInputError: nothing tells it.
    """
    shape = find_shape(run.policy)
    if given.parameters is not None:
        return Policy(given.parameters, shape), ()
    if shape is not None:
        return Policy(shape.parameters, shape), ()
    named = parameters_in_name(run.policy)
    if named is None:
        raise BadInputError(
            f"{run.policy}: no config.json is at hand, and its name states no size; give --parameters, such as 7.6e9"
        )
    return Policy(named, None), (f"{run.policy} has {named:,.0f} weights, as its name says",)


def _waiting(judges: list[JudgeLoad], *, writing: float) -> float:
    """Seconds from the end of writing to the last verdict: of the last response, or of what the limits held back."""
    if not judges:
        return 0.0
    return max(max(it.latency for it in judges), max(it.seconds for it in judges) - writing)


def _stated(run: Workload, given: Assumptions) -> tuple[str, ...]:
    """Defaults that went into the figures."""
    notes = [
        f"cards are of the kind {given.gpu}: updates reach {given.utilisation:.0%} of its peak, "
        f"writing {given.bandwidth_share:.0%} of its bandwidth",
        "starting up, moving weights between writing and updating, and checkpoints are not counted",
    ]
    if run.engine == "local":
        notes.append(
            f"a decoding step of transformers takes {LAUNCH_SECONDS * 1000:g} ms a layer beside reading memory"
        )
    if run.judged or run.validation:
        notes.insert(
            1,
            f"a judge answers after {given.judge_latency:g} s with {given.answer_tokens} tokens; calls start as responses "
            "end; retries and discounts for cached prompts are not counted",
        )
    if run.served:
        notes.append(f"a served reward model scores a text in {SCORE_SECONDS:g} s; its machines are not counted")
    elif any(it.kind == "writing" for it in run.rewards):
        notes.append("the reward model's own passes are not counted")
    if run.method == "grpo" and run.grpo.resample:
        notes.append(f"up to {run.grpo.resample} rounds of further prompts a step are not counted")
    return tuple(notes)
