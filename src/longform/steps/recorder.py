"""The records of a run: every engine commits a step's promotions, puts the step on record and watches it in the same way."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from longform.curriculum.schedule import Curriculum, RungUpdate
from longform.monitors.keywords import JudgedText, KeywordTally
from longform.monitors.series import Finding
from longform.monitors.watch import Watch
from longform.records.calls import CallTotals
from longform.records.database import ComparedText, Promotion, RolloutRecord, RunDatabase, ValidationText
from longform.records.progress import Advance
from longform.rewards.reward import RewardResults, calls_of, missing_cause, outcome_of, scores_by_kind
from longform.statistics.moments import AdvantageMoments
from longform.steps.metrics import judged_texts, validation_metrics
from longform.text.structure import ParsedResponse, Thinking
from longform.text.words import count_words_of_any_script
from longform.tracking.tracker import SampleText

SAMPLES = 4
"""Texts of a step that are shown."""
SAMPLE_LINES = 6
"""Of a response that is shown while a run trains."""
_PHASES = {"waiting_for_judge": "judging"}
"""Timers that people know by another name."""


class StepReport(NamedTuple):
    """The progress of a run after a step."""

    step: int
    steps: int
    metrics: dict[str, float]
    warnings: list[Finding]
    """Failures that begin with this step."""
    samples: Sequence[SampleText] = ()
    """Some of its texts, every `run.show_every` steps."""
    spent: float = 0.0
    """Known cost of all judge calls so far."""

    def show(self, advance: Advance) -> None:
        """Show the step on a display of progress."""
        advance(self.step, self.steps, self.note, self.sample)

    @property
    def sample(self) -> list[str]:
        """The first sample in a few lines: request, outcome, reward, and the beginning of the response."""
        if not self.samples:
            return []
        first = self.samples[0]
        reward = "no reward" if first.reward is None else f"reward {first.reward:.2f}"
        outcome = f"{first.outcome}, " if first.outcome else ""
        request = next((line for line in first.prompt.splitlines() if line.strip()), "")
        lines = [line for line in first.response.splitlines() if line.strip()]
        more = [f"  ... ({len(lines) - SAMPLE_LINES} more lines)"] if len(lines) > SAMPLE_LINES else []
        head = [f"step {self.step}: {request}", f"  {outcome}{reward}:"]
        return [*head, *(f"  {line}" for line in lines[:SAMPLE_LINES]), *more]

    @property
    def note(self) -> str:
        """The main figures in a few words."""
        reward, structure = self.metrics.get("reward/mean"), self.metrics.get("text/structure")
        shown = "no verdict" if reward is None else f"reward {reward:.2f}"
        kept = "" if structure is None else f"  structure {structure:.2f}"
        cost = f"  cost {self.spent:.{2 if self.spent >= 0.1 else 4}f}" if self.spent else ""
        rung = self.metrics["curriculum/mean_rung"]
        climbs = rung > 0 or "curriculum/at_top" in self.metrics  # not where prompts have no ladders
        return f"{shown}{cost}{kept}" + (f"  mean rung {rung:.2f}" if climbs else "")


class RunResult(NamedTuple):
    """A finished run."""

    path: Path
    policy_path: Path
    """The trained policy, in Hugging Face format."""
    steps: int
    seconds: float
    """Spent in its steps."""
    calls: CallTotals


class StepRecord:
    """What a local loop measures in one step.

    Args:
        on_phase: called with the name of each part of the step when it begins.
    """

    def __init__(self, on_phase: Callable[[str], None] = lambda name: None) -> None:
        self._on_phase = on_phase
        self.rollouts: Sequence[RolloutRecord] = ()
        self.updates: Sequence[RungUpdate] = ()
        self.metrics: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        """Metrics `seconds/NAME` of what was timed so far."""

    @contextmanager
    def timer(self, name: str) -> Iterator[None]:
        """Add the seconds of a block to the metric `seconds/NAME`."""
        self._on_phase(_PHASES.get(name, name))
        began = time.perf_counter()
        yield
        self.seconds[f"seconds/{name}"] = self.seconds.get(f"seconds/{name}", 0.0) + time.perf_counter() - began

    def finish(
        self, rollouts: Sequence[RolloutRecord], metrics: dict[str, float], updates: Sequence[RungUpdate]
    ) -> None:
        """The rollouts of the step, its metrics, and the promotions that are committed with its update."""
        self.rollouts, self.updates = rollouts, updates
        self.metrics = metrics | self.seconds


class RunRecorder:
    """The records of a run, from the step that its database ends with.

    Args:
        database: of the run; nothing else is written.
        curriculum: promotions are committed to it.
        id_at: the id of the prompt at an index.
        request_of: the request of a prompt, by its id.
        thinking: the structure that responses are asked to have.
        steps: of the run.
        validate: grades held-out prompts after a step; None if this engine does not validate here.
        validate_every: steps from one validation to the next; the last step is always validated.
        checkpoint: called after each step that is on record.
        on_step: called with the report of each step.
        on_phase: called with what a step is at: writing, judging, updating or validating.
        show_every: steps from one report with texts to the next; 0: none has texts.
        spent: known cost of all judge calls so far.
    """

    def __init__(
        self,
        database: RunDatabase,
        curriculum: Curriculum,
        *,
        id_at: Callable[[int], str],
        request_of: Callable[[str], str],
        thinking: Thinking,
        steps: int,
        validate: Callable[[int], list[ValidationText]] | None = None,
        validate_every: int = 1,
        checkpoint: Callable[[int], None] = lambda step: None,
        on_step: Callable[[StepReport], None] = lambda report: None,
        on_phase: Callable[[str], None] = lambda name: None,
        show_every: int = 0,
        spent: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._database, self._curriculum = database, curriculum
        self._id_at, self._request_of = id_at, request_of
        self._thinking: Thinking = thinking
        self._steps = steps
        self._validate, self._validate_every = validate, validate_every
        self._checkpoint, self._on_step, self._on_phase = checkpoint, on_step, on_phase
        self._show_every, self._spent = show_every, spent
        self._samples: list[SampleText] = []
        if validate is not None and database.last_step() == 0:
            on_phase("validating")
            texts = validate(0)
            database.record_step(0, seconds=0.0, metrics=validation_metrics(texts), validations=texts)
        series = database.metrics()
        self._watch = Watch.over(series)
        self._keywords = KeywordTally.over(
            lambda step: self._judged(database.rollouts(step=step)), series, last=database.last_step()
        )

    @contextmanager
    def step(self, step: int) -> Iterator[StepRecord]:
        """One step of a local loop. When the block ends, its promotions are committed, it is validated if that is due,
        put on record with all of this, saved, and reported.

        Raises:
            StoppedError: the disk is full.
        """
        began, record = time.perf_counter(), StepRecord(self._on_phase)
        yield record
        promotions = self.commit(step, record.updates)
        texts: list[ValidationText] = []
        metrics = record.metrics
        if self._validate is not None and (step % self._validate_every == 0 or step == self._steps):
            with record.timer("validating"):
                texts = self._validate(step)
            metrics = metrics | validation_metrics(texts) | record.seconds
        metrics = self.record(
            step,
            seconds=time.perf_counter() - began,
            metrics=metrics,
            rollouts=record.rollouts,
            promotions=promotions,
            validations=texts,
        )
        self._checkpoint(step)
        self._on_step(self.report(step, metrics))

    def commit(self, step: int, updates: Sequence[RungUpdate]) -> list[Promotion]:
        """Apply the staged updates of a step to the curriculum; the promotions that took effect."""
        committed = self._curriculum.commit(updates)
        return [Promotion(step, self._id_at(it.prompt_index), it.rung) for it in committed]

    def record(
        self,
        step: int,
        *,
        seconds: float,
        metrics: dict[str, float],
        rollouts: Sequence[RolloutRecord],
        promotions: Sequence[Promotion],
        validations: Sequence[ValidationText] = (),
    ) -> dict[str, float]:
        """Put a step on record, all of it or nothing; its metrics, with those of its promotions and keywords.

        Args:
            step: whose promotions are committed.
            seconds: that it took.
            metrics: of its rollouts, its update and its validation.
            rollouts: of the step.
            promotions: returned by `commit`.
            validations: responses that were graded after it.

        Raises:
            StoppedError: the disk is full.
        """
        metrics = {
            **metrics,
            **self._keywords.see(self._judged(rollouts)),
            "curriculum/mean_rung": float(self._curriculum.rungs.mean()),
            "curriculum/promotions": float(len(promotions)),
            **({} if (at_top := self._curriculum.at_top) is None else {"curriculum/at_top": at_top}),
            **({} if (passed := self._curriculum.criteria_passed) is None else {"curriculum/criteria_passed": passed}),
        }
        self._database.record_step(
            step, seconds=seconds, metrics=metrics, rollouts=rollouts, promotions=promotions, validations=validations
        )
        is_shown = self._show_every > 0 and step % self._show_every == 0
        self._samples = self._sampled(rollouts) if is_shown else []
        return metrics

    def report(self, step: int, metrics: dict[str, float]) -> StepReport:
        """The report of a step that is on record with all its metrics; once for each step."""
        warnings = self._watch.see(step, metrics)
        return StepReport(step, self._steps, metrics, warnings, self._samples, self._spent())

    def _sampled(self, rollouts: Sequence[RolloutRecord]) -> list[SampleText]:
        """Texts from equal parts of the step's rows: of different prompts, where there are as many."""
        count = min(SAMPLES, len(rollouts))
        chosen = [rollouts[number * len(rollouts) // count] for number in range(count)]
        return [
            SampleText(self._request_of(it.prompt_id), it.reference, it.text, it.outcome, it.reward) for it in chosen
        ]

    def _judged(self, rollouts: Iterable[RolloutRecord]) -> list[JudgedText]:
        return judged_texts(rollouts, self._request_of, thinking=self._thinking)


def record_rollout(
    results: RewardResults,
    response: ParsedResponse,
    *,
    step: int,
    row: int,
    group: int,
    prompt_id: str,
    rung: int,
    text: str,
    reference: str,
    tokens: int,
    finish_reason: str,
    reward: float | None,
    advantages: AdvantageMoments | None = None,
) -> RolloutRecord:
    """The record of a rewarded rollout: the same row of the same table for every engine.

    Args:
        results: of its rewards.
        response: parsed from `text`.
        step, row: its place in the run.
        group: responses per prompt; those of a prompt have adjacent rows.
        prompt_id: the prompt.
        rung: of its prompt in this step.
        text: whole, with the tags of its structure.
        reference: the reference it was compared with; empty if there is none.
        tokens: sampled tokens.
        finish_reason: `stop` or `length`.
        reward: the weighted mean of the rewards; None if one is missing.
        advantages: of its tokens, if this engine has them.
    """
    return RolloutRecord(
        step=step,
        row=row,
        prompt_id=prompt_id,
        rung=rung,
        text=text,
        reference=reference,
        tokens=tokens,
        words=count_words_of_any_script(response.answer),
        think_words=count_words_of_any_script(response.think),
        finish_reason=finish_reason,
        outcome=outcome_of(results),
        cause=missing_cause(results),
        reward=reward,
        scores=scores_by_kind(results),
        disagreement=next((it.disagreement for it in results.values() if it.disagreement is not None), None),
        consistent=next((it.consistent for it in results.values() if it.consistent is not None), None),
        advantages=advantages,
        calls=calls_of(results),
        compared=_compared_texts(results, first_row=row - row % group),
    )


def _compared_texts(results: RewardResults, *, first_row: int) -> dict[str, list[ComparedText]] | None:
    """The texts of each call that compares a group, whose responses begin at `first_row`; None without such calls."""
    found = {
        call: [ComparedText(None if it.member is None else first_row + it.member, it.rung) for it in texts]
        for result in results.values()
        for call, texts in (result.read or {}).items()
    }
    return found or None
