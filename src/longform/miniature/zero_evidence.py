"""What LongWriter-Zero in the miniature came to: structure, length, plans, and the writers against each other.

The base is shown in two forms. Asked to think, it tells how rarely it keeps the structure; in the comparison it competes in
the kinder form, with the plain request and its whole reply as the text.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from longform.endpoints.client import Endpoint
from longform.endpoints.models import read_models
from longform.judging.pointwise import PointwiseJudge
from longform.miniature.evidence import mean_grade, play
from longform.miniature.judge import measure
from longform.miniature.longwriter_zero import BASELINES
from longform.miniature.quickstart import Stage
from longform.miniature.world import parse_request
from longform.records.calls import SqliteCallLog
from longform.records.files import read_rows
from longform.records.schemas import Prompt, Response
from longform.selection.generate import collect_responses_locally
from longform.statistics.bootstrap import Interval, clustered_interval
from longform.text.structure import Thinking as ThinkMode
from longform.text.words import count_words
from longform.writers.local import LocalWriter
from longform.writers.settings import GenerationSettings

BASE, TRAINED, THINKING_BASE = "base", "trained", "base-thinking"
FEW_WORDS = 5
"""A plan with fewer words is a withered one."""


@dataclass(frozen=True, slots=True)
class WriterFigures:
    """One writer's texts for the held-out prompts: means, with 95% intervals over prompts."""

    grade: Interval
    """The examiner's absolute grade, 1 to 10."""
    fluency: Interval
    """`Measures.fluency`: 0 to 1."""
    coverage: Interval
    """Share of the required words that are used."""
    in_range: Interval
    """Share of the texts whose words lie inside the range asked for."""
    words: float


@dataclass(frozen=True, slots=True)
class Thinking:
    """What a writer does when it is asked for a structure."""

    structure: Interval
    """Share of the responses that keep the structure."""
    plan_words: float | None
    """Mean over the plans of those that keep it; None where none does, or no plan is asked for."""
    short_plans: float | None
    """Share of these plans that are shorter than `FEW_WORDS`."""


@dataclass(frozen=True, slots=True)
class ZeroEvidence:
    """The trained writer beside its base and the supervised baselines."""

    writers: dict[str, WriterFigures]
    thinking: dict[str, Thinking]
    """Of the base and the trained writer."""
    win_rates: dict[str, Interval]
    """Of the trained writer against each other one, ties half, both orders."""
    no_verdicts: int
    """Games that are missing."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def gather_evidence(
    folder: Path,
    trained: Path,
    generation: GenerationSettings,
    *,
    seed: int,
    stage: Stage,
    others: Sequence[str] = (),
) -> ZeroEvidence:
    """Let all writers write for the held-out prompts, and the examiner compare them.

    Args:
        folder: of the quickstart.
        trained: model folder of the trained writer.
        generation: how the trained writer was asked in its training.
        seed: of the draws.
        stage: opens a stage of progress.
        others: further model folders in `folder`, which write with the plain request.
    """
    rows = list(read_rows(folder / "held-out.jsonl", Prompt))
    plain = GenerationSettings(max_tokens=generation.max_tokens, temperature=generation.temperature)
    writers = {
        TRAINED: (trained, generation),
        THINKING_BASE: (folder / "base", generation),
        BASE: (folder / "base", plain),
        **{name: (folder / name, plain) for name in (*(f"sft-{it}" for it in BASELINES), *others)},
    }
    with stage("held-out responses") as advance:
        for place, (name, (model, settings)) in enumerate(writers.items()):
            collect_responses_locally(
                rows,
                LocalWriter(str(model)),
                name=name,
                samples=1,
                settings=settings,
                seed=seed,
                out=held_out_path(folder, name),
                on_progress=lambda done, total, place=place: advance(place * total + done, len(writers) * total),
            )
    responses = {name: list(read_rows(held_out_path(folder, name), Response)) for name in writers}
    asked = {BASE: responses.pop(THINKING_BASE), TRAINED: responses[TRAINED]}
    thinking = {name: _thinking(found, generation.think) for name, found in asked.items()}
    texts = {name: {row.prompt_id: row.text for row in written} for name, written in responses.items()}
    with SqliteCallLog(folder / "evaluation.sqlite") as log, stage("the examiner's comparison") as advance:
        examiner = Endpoint("examiner", read_models(folder / "models.yaml")["examiner"], call_log=log)

        async def examine() -> ZeroEvidence:
            others = [name for name in texts if name != TRAINED]
            async with examiner:
                rates, missing = await play(
                    rows, texts, examiner, name=TRAINED, opponents=others, advance=advance, secret=log.secret()
                )
                pointwise = PointwiseJudge(examiner, secret=log.secret())
                figures = {name: await _figures(rows, texts[name], pointwise) for name in texts}
            return ZeroEvidence(figures, thinking, rates, missing)

        return asyncio.run(examine())


def _thinking(responses: Sequence[Response], mode: ThinkMode) -> Thinking:
    sound = [float(it.meta["well_formed"]) for it in responses]
    plans = [len(it.meta["plan"].split()) for it in responses if it.meta["well_formed"] and mode == "on"]
    return Thinking(
        structure=clustered_interval(sound, [it.prompt_id for it in responses]),
        plan_words=sum(plans) / len(plans) if plans else None,
        short_plans=sum(words < FEW_WORDS for words in plans) / len(plans) if plans else None,
    )


async def _figures(rows: Sequence[Prompt], texts: dict[str, str], examiner: PointwiseJudge) -> WriterFigures:
    measured = [measure(parse_request(row.request), texts[row.id]) for row in rows]
    words = [count_words(texts[row.id]) for row in rows]
    inside = [lo <= it <= hi for it, (lo, hi) in zip(words, (_range(row) for row in rows), strict=True)]
    ids = [row.id for row in rows]
    return WriterFigures(
        grade=await mean_grade(rows, texts, examiner),
        fluency=clustered_interval([it.fluency for it in measured], ids),
        coverage=clustered_interval([it.coverage for it in measured], ids),
        in_range=clustered_interval([float(it) for it in inside], ids),
        words=sum(words) / len(words),
    )


def _range(prompt: Prompt) -> tuple[int, int]:
    assert prompt.length_range is not None, "the miniature's prompts have one"
    return prompt.length_range


def held_out_path(folder: Path, writer: str) -> Path:
    """Where a writer's responses to the held-out prompts stand."""
    return folder / f"held-out-{writer}.jsonl"
