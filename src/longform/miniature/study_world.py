"""Worlds for studies: the miniature with kinds of prompts and a judge that errs as real judges do, and its examination.

A world is a function of (settings, seed). Its server answers for every seed, because a request alone decides who writes
what for it and how it is judged. A world is examined before any arm of a study is trained in it: does the margin of one
sample predict that of the next, and do the judge's errors match their calibration?
"""

import math
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from longform.miniature.calibration import TARGETS, CalibrationFigures, SizedAccuracy, judge_figures
from longform.miniature.judge import EXAMINER, JUDGES, grade, measure
from longform.miniature.kinds import BROKEN_RANGE, kind_of, prompts_of_kinds, write_lesson, write_of_kind
from longform.miniature.policy import SFT_SETTINGS, build_model, build_tokenizer, sft_rows
from longform.miniature.reading import READING_WORDS, questions, with_reading_lessons
from longform.miniature.server import serve_in_background
from longform.miniature.trail_base import write_trail_documents
from longform.miniature.trail_corpus import prompts_with_trails
from longform.miniature.world import StoryRequest, parse_request, prompts
from longform.miniature.world_files import models_yaml, write_world
from longform.miniature.writers import LESSON_LEVELS, LEVELS, write_story
from longform.records.files import write_rows, write_text
from longform.records.schemas import Prompt, TrainingRow

MIN_MARGIN_CORRELATION = 0.6
"""Correlation of the margins of two samples that a world with kinds must reach."""
EXAMINED_PROMPTS = 300
POLICY_LIKE = "policy"
"""Name of the writer that writes as the lessons do, in an examination."""
_VALIDATION, _HELD_OUT, _MORE_LESSONS = 100_000, 200_000, 500_000  # offsets of the seeds of separate streams


class WorldSettings(BaseModel):
    """The section `world` of a study."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: bool = False
    """Whether prompts are of kinds: mastered, ordinary, speciality and broken (see `miniature/kinds.py`)."""
    trails: bool = False
    """Whether stories must begin with the end of a trail, and the untrained model learns from documents.jsonl (see
    `miniature/trails.py`). Not with `kinds`."""
    reading: bool = False
    """Whether there are also questions about a word of a story, which half of the lessons answer (see
    `miniature/reading.py`). Not with `trails`."""
    judge: Literal["mild", "calibrated"] = "mild"
    """Errors of the training judge: small, or fitted to those of real judges (see `miniature/calibration.py`)."""
    train_prompts: int = Field(default=320, ge=1)
    """Number of training prompts."""
    validation_prompts: int = Field(default=64, ge=1)
    """Number of validation prompts; none is broken."""
    held_out_prompts: int = Field(default=200, ge=1)
    """Number of held-out prompts; none is broken."""
    lesson_steps: int = Field(default=SFT_SETTINGS.steps, ge=1)
    """SFT steps that lessons.jsonl, or documents.jsonl, lasts for, at 16 rows a step."""

    @model_validator(mode="after")
    def _check_parts(self) -> "WorldSettings":
        if self.trails and (self.kinds or self.reading):
            raise ValueError("trails are a world of their own: leave `kinds` and `reading` out")
        return self


@dataclass(frozen=True, slots=True)
class WorldExamination:
    """What was measured in a world without any training."""

    prompts: int
    """Number of training prompts examined."""
    margin_correlation: float
    """Correlation over prompts of the margins of two samples, by the examiner's grades."""
    shares: dict[str, float]
    """Fraction of the prompts by kind; a plain world has one kind, ordinary."""
    grades: dict[str, dict[str, float]]
    """Mean grade by kind and writer; `policy` writes as the lessons do."""
    judge: CalibrationFigures
    """Figures of the training judge, over the prompts that are not broken."""
    targets: CalibrationFigures
    """Figures of real scores, which the calibrated judge imitates."""
    accuracy_by_size: list[SizedAccuracy]
    """The training judge's verdicts by the true difference of the two texts."""

    @property
    def margin_is_predictable(self) -> bool:
        """Whether the margin belongs to the prompt rather than to one response."""
        return self.margin_correlation > MIN_MARGIN_CORRELATION

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-serializable dictionary; an accuracy without any verdict is None."""
        sizes = [{**it._asdict(), "accuracy": _number(it.accuracy)} for it in self.accuracy_by_size]
        judges = {"judge": self.judge._asdict(), "targets": self.targets._asdict()}
        return asdict(self) | judges | {"accuracy_by_size": sizes, "margin_is_predictable": self.margin_is_predictable}


def write_study_world(folder: Path, *, base_url: str, settings: WorldSettings, seed: int) -> None:
    """Write the files of a world: prompts.jsonl, validation.jsonl, held-out.jsonl, models.yaml, the SFT data lessons.jsonl
    and lessons-more.jsonl (another stream, for continued SFT), and the untrained policy in untrained/. A world with trails
    has documents.jsonl in place of lessons, and the prompts think.txt and direct.txt; one with reading has also
    questions.jsonl and held-out-questions.jsonl.

    Args:
        folder: Folder to write; created if missing.
        base_url: Address of the server of `serve_study_world`, with the same settings.
        settings: Settings of the world.
        seed: Seed of prompts, lessons and initial weights.

    Raises:
        BadInputError: the folder cannot be written.
    """
    write_world(folder, base_url=base_url, scale=settings, seed=seed)
    write_text(folder / "models.yaml", models_yaml(base_url, judges=("judge", "judge-2")))
    if settings.kinds or settings.trails:
        _write_prompts(folder, settings, prompts_of_kinds if settings.kinds else prompts_with_trails, seed=seed)
    if settings.reading:
        asked = {
            "questions": questions(seed=seed, split="train", count=settings.train_prompts),
            "held-out-questions": questions(seed=seed + _HELD_OUT, split="held-out", count=settings.held_out_prompts),
        }
        for name, rows in asked.items():
            write_rows(folder / f"{name}.jsonl", rows)
    count = settings.lesson_steps * SFT_SETTINGS.batch_size
    if settings.trails:
        write_trail_documents(folder, seed=seed, count=count)
        return
    for name, stream in {"lessons": seed, "lessons-more": seed + _MORE_LESSONS}.items():
        lessons = sft_rows(seed=stream, count=count, kinds=settings.kinds)
        if settings.reading:
            lessons = with_reading_lessons(lessons, seed=stream)
        write_rows(folder / f"{name}.jsonl", [TrainingRow.model_validate(row) for row in lessons])
    words = [" ".join(map(str, BROKEN_RANGE))] * 2 if settings.kinds else []
    tokenizer = build_tokenizer(more=[*words, *([READING_WORDS] * 2 if settings.reading else [])])
    build_model(tokenizer, seed=seed).save_pretrained(folder / "untrained")
    tokenizer.save_pretrained(folder / "untrained")


def _write_prompts(folder: Path, settings: WorldSettings, draw: Callable[..., list[Prompt]], *, seed: int) -> None:
    files = {
        "prompts": draw(seed=seed, split="train", count=settings.train_prompts),
        "validation": draw(seed=seed + _VALIDATION, split="held-out", count=settings.validation_prompts),
        "held-out": draw(seed=seed + _HELD_OUT, split="held-out", count=settings.held_out_prompts),
    }
    for name, rows in files.items():
        write_rows(folder / f"{name}.jsonl", rows)


def serve_study_world(settings: WorldSettings, *, port: int = 0) -> AbstractContextManager[str]:
    """Run the server of worlds with these settings, for every seed, in a child process; yield its base URL.

    Port 0 chooses a free port. A resumed study reuses its recorded answers only under the same address.

    Raises:
        BadInputError: the server did not start, for example because the port is taken.
    """
    return serve_in_background(port=port, judge=settings.judge, kinds=settings.kinds)


def world_prompts(settings: WorldSettings, *, seed: int, count: int) -> list[Prompt]:
    """Return the first `count` training prompts of a world."""
    if settings.kinds:
        return prompts_of_kinds(seed=seed, split="train", count=count)
    if settings.trails:
        return prompts_with_trails(seed=seed, split="train", count=count)
    return prompts(seed=seed, split="train", count=count)


def held_out_prompts(settings: WorldSettings, *, seed: int, count: int) -> list[Prompt]:
    """Return the first `count` held-out prompts of a world."""
    if settings.kinds:
        return prompts_of_kinds(seed=seed + _HELD_OUT, split="held-out", count=count)
    if settings.trails:
        return prompts_with_trails(seed=seed + _HELD_OUT, split="held-out", count=count)
    return prompts(seed=seed + _HELD_OUT, split="held-out", count=count)


def write_as_competitor(request: StoryRequest, *, writer: str, sample: int, kinds: bool) -> str:
    """Write what a competitor of `LEVELS` writes in a world, as its server does."""
    if kinds:
        return write_of_kind(request, writer=writer, sample=sample)
    return write_story(request, level=writer, sample=sample)


def write_like_lessons(request: StoryRequest, *, sample: int, kinds: bool) -> str:
    """Write as the lessons of a world do: an idealization of the policy after SFT."""
    stream = random.Random(f"policy-like/{sample}/{request.text}")
    if kinds:
        return write_lesson(request, stream)
    (level,) = stream.choices(list(LESSON_LEVELS), weights=list(LESSON_LEVELS.values()))
    return write_story(request, level=level, sample=stream.randrange(1_000_000))


def examine_world(settings: WorldSettings, *, seed: int = 1) -> WorldExamination:
    """Measure a world without any training: how predictable margins are, who writes well for which kind, how the judge errs.

    Args:
        settings: Settings of the world.
        seed: Seed of the prompts.
    """
    rows = world_prompts(settings, seed=seed, count=EXAMINED_PROMPTS)
    requests = [parse_request(row.request) for row in rows]
    kinds = [kind_of(request) if settings.kinds else "ordinary" for request in requests]
    samples = [_texts(requests, sample=sample, kinds=settings.kinds) for sample in (0, 1)]
    grades = [
        np.array(
            [
                [grade(measure(request, it), EXAMINER) for it in row]
                for request, row in zip(requests, texts, strict=True)
            ]
        )
        for texts in samples
    ]
    margins = [it[:, :-1].max(1) - it[:, -1] for it in grades]
    judged = [index for index, kind in enumerate(kinds) if kind != "broken"]
    figures, by_size = judge_figures(
        [requests[index] for index in judged], [samples[0][index] for index in judged], JUDGES[settings.judge]
    )
    writers = (*LEVELS, POLICY_LIKE)
    return WorldExamination(
        prompts=len(rows),
        margin_correlation=float(np.corrcoef(*margins)[0, 1]),
        shares={kind: kinds.count(kind) / len(kinds) for kind in sorted(set(kinds))},
        grades={
            kind: dict(zip(writers, grades[0][[it == kind for it in kinds]].mean(0).tolist(), strict=True))
            for kind in sorted(set(kinds))
        },
        judge=figures,
        targets=TARGETS,
        accuracy_by_size=by_size,
    )


def _texts(requests: Sequence[StoryRequest], *, sample: int, kinds: bool) -> list[list[str]]:
    """Return the texts of the competitors and, last, of the policy-like writer, [requests][writers]."""
    return [
        [
            *(write_as_competitor(request, writer=writer, sample=sample, kinds=kinds) for writer in LEVELS),
            write_like_lessons(request, sample=sample, kinds=kinds),
        ]
        for request in requests
    ]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
