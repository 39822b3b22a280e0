"""What a study costs: hours of training, calls and money, by kind of task, with the assumptions behind them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from longform.endpoints.models import ModelSpec, read_models
from longform.endpoints.request import estimate_prompt_tokens
from longform.evaluation.benchmarks.benchmark import Answers, JudgePrompt, Material
from longform.evaluation.benchmarks.catalogue import find_benchmark, read_set
from longform.evaluation.tables import Cell, Column, Table
from longform.judging.answers import fence_tag
from longform.judging.pairwise import ask_pairwise
from longform.judging.pointwise import ask_pointwise
from longform.planning.assumptions import Assumptions
from longform.planning.estimate import estimate_run
from longform.records.files import read_rows
from longform.records.resume import flatten
from longform.records.schemas import Prompt, Response
from longform.studies.examine import BenchExam, CompareExam, EloExam, GradeExam
from longform.studies.status import KINDS
from longform.studies.tasks import StudyPlan, StudyTask
from longform.studies.work import HELD_OUT, CriteriaWork, GradeWork, PoolWork, SftWork, TrainWork, WriteWork
from longform.text.words import estimate_tokens
from longform.writers.paths import is_model_folder

_ASSUMED_PROMPTS, _ASSUMED_PROMPT_TOKENS, _ASSUMED_RESPONSE_TOKENS = 200, 300, 2000
_CRITERIA_TOKENS = 900
"""Tokens of an answer with five criteria and their bands."""
_MAX_MEASURED = 200
"""Number of prompts of a file whose length is measured."""
_TAG = fence_tag(b"estimate", "", 0)


@dataclass(slots=True)
class TaskLoad:
    """The tasks of one kind."""

    tasks: int = 0
    hours: float = 0.0
    """Of training by reinforcement learning; other hours are not estimated."""
    gpu_hours: float = 0.0
    calls: float = 0.0
    cost: float = 0.0
    """Of calls with known prices."""


class StudyEstimate(NamedTuple):
    """What a study costs."""

    kinds: Mapping[str, TaskLoad]
    unpriced: list[str]
    """Models without prices, or that models.yaml does not have yet."""
    gpu_cost: float | None
    notes: list[str]

    @property
    def cost(self) -> float:
        """Of all calls with known prices."""
        return sum(it.cost for it in self.kinds.values())

    @property
    def gpu_hours(self) -> float:
        """Of all training by reinforcement learning."""
        return sum(it.gpu_hours for it in self.kinds.values())

    @property
    def table(self) -> Table:
        """The tasks by kind."""
        columns = [Column("tasks", is_text=True), Column("number"), Column("hours", 1), Column("GPU-hours", 0)]
        columns += [Column("calls"), Column("cost", 2)]
        rows: list[list[Cell]] = [
            [kind, it.tasks, it.hours or None, it.gpu_hours or None, it.calls or None, it.cost or None]
            for kind, it in self.kinds.items()
        ]
        return Table("Tasks of the study", columns, rows)


def estimate_study(plan: StudyPlan, given: Assumptions) -> StudyEstimate:
    """Estimate a study: every run as `longform estimate` does, and the calls of all other tasks.

    Raises:
        BadInputError: a file is invalid, or the size of a policy is unknown.
    """
    estimator = _Estimator(plan, given)
    for task in plan.tasks.values():
        estimator.add(task)
    return estimator.result()


class _PromptsSize(NamedTuple):
    """Size of a set of prompts."""

    prompts: int
    tokens: float
    """Of a prompt, on average."""


@dataclass
class _Estimator:
    plan: StudyPlan
    given: Assumptions
    kinds: dict[str, TaskLoad] = field(
        default_factory=lambda: {kind: TaskLoad() for kind in dict.fromkeys(KINDS.values())}
    )
    unpriced: dict[str, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    runs: dict[str, tuple[float, float, float, float]] = field(default_factory=dict)
    """Arm -> hours, GPU-hours, calls and cost of one of its runs."""

    def __post_init__(self) -> None:
        """Read each file once in an estimate, and anew in the next."""
        self._specs, self._measured, self._questions = cache(_specs), cache(_measure), cache(_count_questions)

    def add(self, task: StudyTask) -> None:
        """Add a task."""
        work = task.work
        load = self.kinds[KINDS[type(work)]]
        load.tasks += 1
        if isinstance(work, GradeExam):
            work = work.grading
        if isinstance(work, TrainWork):
            self._add_run(load, task, work)
        elif isinstance(work, WriteWork):
            if not work.writer.is_local:
                sized, answer = self._size(work.prompts, work.limit), self._response_tokens
                self._ask(load, work.models, work.writer.source, sized.prompts * work.samples, sized.tokens, answer)
        elif isinstance(work, CriteriaWork):
            sized = self._size(work.prompts, None)
            self._ask(load, work.models, work.judge, sized.prompts, sized.tokens, _CRITERIA_TOKENS)
        elif isinstance(work, GradeWork):
            sized = self._size(work.prompts, None)
            responses = sum(self._responses(it, sized.prompts) for it in work.responses)
            tokens = sized.tokens + self._response_tokens + _frame(pairwise=False)
            self._ask(load, work.models, work.judge, responses, tokens, self.given.answer_tokens)
        elif isinstance(work, CompareExam | EloExam):
            sized = self._size(work.prompts, None)
            opponents = len(work.opponents) if isinstance(work, EloExam) else 1
            games = 2 * self._responses(work.responses, sized.prompts) * opponents
            tokens = sized.tokens + 2 * self._response_tokens + _frame(pairwise=True)
            self._ask(load, work.models, work.judge, games, tokens, self.given.answer_tokens)
        elif isinstance(work, BenchExam) and work.judge is not None:
            questions = self._questions(work.name, work.data)
            if questions is None:
                self.notes[f"{work.data} is not there: calls of {work.name} are not counted"] = None
                return
            tokens = _ASSUMED_PROMPT_TOKENS + self._response_tokens + _frame(pairwise=False)
            self._ask(load, work.models, work.judge, questions, tokens, self.given.answer_tokens)

    def result(self) -> StudyEstimate:
        """The sum of all tasks."""
        kinds = {kind: it for kind, it in self.kinds.items() if it.tasks}
        price = self.given.price_per_gpu_hour
        gpu_hours = sum(it.gpu_hours for it in kinds.values())
        response = self._response_tokens
        notes = [
            *self.notes,
            f"a response of an examination has {response:,.0f} tokens (--tokens-per-response), an answer of a judge "
            f"{self.given.answer_tokens:,}",
            "hours of fine-tuning, of writing for examinations and of waiting for judges are not estimated",
        ]
        return StudyEstimate(kinds, list(self.unpriced), None if price is None else price * gpu_hours, notes)

    @property
    def _response_tokens(self) -> float:
        return self.given.tokens_per_response or _ASSUMED_RESPONSE_TOKENS

    def _add_run(self, load: TaskLoad, task: StudyTask, work: TrainWork) -> None:
        """Add a run; the runs of an arm differ in their seed only, so each arm is estimated once."""
        content = work.recipe.model_dump(mode="json", exclude={"run": {"name", "seed"}})
        made = str(self.plan.folder)  # paths of what the study makes differ by seed
        arm = str(
            {name: "" if str(it).startswith(made) else it for name, it in flatten({**content, "policy": ""}).items()}
        )
        if arm not in self.runs:
            found = estimate_run(work.recipe.changed("policy", self._size_of(work.recipe.policy)), self.given)
            calls = sum(it.calls for it in found.judges)
            self.runs[arm] = (found.hours, found.gpu_hours, calls, found.cost)
            self.unpriced |= dict.fromkeys(found.unpriced)
            name = task.title.partition(",")[0]
            self.notes |= dict.fromkeys(f"{name}: {note}" for note in found.notes[:3])
        hours, gpu_hours, calls, cost = self.runs[arm]
        load.hours += hours
        load.gpu_hours += gpu_hours
        load.calls += calls
        load.cost += cost

    def _size_of(self, policy: str) -> str:
        """The model whose size a policy has: the one that the study fine-tunes it from, or the policy itself."""
        made = {
            str(it.work.recipe.out): it.work.recipe.policy
            for it in self.plan.tasks.values()
            if isinstance(it.work, SftWork)
        }
        while policy in made and not is_model_folder(policy):
            policy = made[policy]
        return policy

    def _ask(self, load: TaskLoad, models: Path, name: str, calls: float, tokens: float, answer: float) -> None:
        load.calls += calls
        spec = self._specs(models).get(name)
        if spec is None or spec.prices is None:
            self.unpriced[name] = None
        else:
            load.cost += calls * (spec.prices.prompt * tokens + spec.prices.completion * answer) / 1e6

    def _size(self, path: Path, limit: int | None) -> _PromptsSize:
        found = self._measured(path) or self._collected(path)
        if found is None:
            self.notes[f"{path.name} is not there yet: {_ASSUMED_PROMPTS} prompts are assumed"] = None
            found = _PromptsSize(_ASSUMED_PROMPTS, self.given.tokens_per_prompt or _ASSUMED_PROMPT_TOKENS)
        return found._replace(prompts=min(found.prompts, limit or found.prompts))

    def _responses(self, path: Path, prompts: int) -> int:
        """The responses in a file to so many prompts: those of the task that writes it, or else one to each prompt."""
        written = (it.work for it in self.plan.tasks.values() if isinstance(it.work, WriteWork) and it.work.out == path)
        work = next(written, None)
        return prompts if work is None else work.samples * min(prompts, work.limit or prompts)

    def _collected(self, path: Path) -> _PromptsSize | None:
        """The size of a file that a step with a limit will collect, or that gets criteria."""
        tokens = self.given.tokens_per_prompt or _ASSUMED_PROMPT_TOKENS
        for task in self.plan.tasks.values():
            if isinstance(task.work, CriteriaWork) and path == task.work.out:
                return self._size(task.work.prompts, None)
            if isinstance(task.work, PoolWork) and path.parent == task.folder:
                aside, limit = task.work.held_out, task.work.settings.limit
                if path.name == HELD_OUT:
                    return _PromptsSize(aside, tokens)
                return None if limit is None else _PromptsSize(limit - aside, tokens)
        return None


def _measure(path: Path) -> _PromptsSize | None:
    """The size of a file of prompts; None if it does not exist."""
    if not path.exists():
        return None
    rows = list(read_rows(path, Prompt))
    return _PromptsSize(
        len(rows), fmean(estimate_prompt_tokens(row.messages) for row in rows[:_MAX_MEASURED]) if rows else 0.0
    )


def _count_questions(name: str, data: Path) -> int | None:
    """The questions that a benchmark asks about one model's responses at first; None if its data is not there."""
    if not data.exists():
        return None
    benchmark = find_benchmark(name)
    items = read_set(benchmark, data)
    responses = [Response(prompt_id=it.id, model="policy", text="a text") for it in benchmark.prompts(items)]
    material = Material({it.id: it for it in items}, responses)
    return sum(1 for _ in benchmark.questions(material, Answers(), JudgePrompt(b"estimate")))


def _specs(path: Path) -> Mapping[str, ModelSpec]:
    return read_models(path) if path.exists() else {}


@cache
def _frame(*, pairwise: bool) -> int:
    """Tokens of a judge's question without request and texts."""
    prompt = Prompt(id="-", prompt="-")
    asked = (
        ask_pairwise(prompt, text_a="", text_b="", tag=_TAG)
        if pairwise
        else ask_pointwise(prompt, "", tag=_TAG).message
    )
    return estimate_tokens(asked)
