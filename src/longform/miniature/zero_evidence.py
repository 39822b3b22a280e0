"""Results of LongWriter-Zero in the miniature world: format, length, plans, and comparisons of the writers.

The base appears in two forms. With the think prompt, it shows how rarely it keeps the format; in the comparison it gets the
plain prompt and its whole response counts as the text, which favours it.
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
from longform.miniature.world import parse_request
from longform.records.calls import SqliteCallLog
from longform.records.files import read_rows
from longform.records.progress import Stage
from longform.records.schemas import Prompt, Response
from longform.selection.generate import collect_responses_locally
from longform.statistics.bootstrap import Interval, clustered_interval
from longform.text.structure import Thinking
from longform.text.words import count_words
from longform.writers.local import LocalWriter
from longform.writers.settings import GenerationSettings

BASE, TRAINED, THINKING_BASE = "base", "trained", "base-thinking"
FEW_WORDS = 5
"""Plans with fewer words count as short."""


@dataclass(frozen=True, slots=True)
class ZeroFigures:
    """Results of one writer on the held-out prompts: means, with 95% intervals over prompts."""

    grade: Interval
    """The examiner's absolute grade, 1 to 10."""
    fluency: Interval
    """`Measures.fluency`: 0 to 1."""
    coverage: Interval
    """Fraction of the required words that are used."""
    in_range: Interval
    """Fraction of the texts within the requested length range."""
    words: float


@dataclass(frozen=True, slots=True)
class FormatFigures:
    """How well a writer keeps the requested format."""

    structure: Interval
    """Fraction of the responses that keep the format."""
    plan_words: float | None
    """Mean length of the plans of well-formed responses; None without such responses or if no plan is requested."""
    short_plans: float | None
    """Fraction of these plans with fewer than `FEW_WORDS` words."""


@dataclass(frozen=True, slots=True)
class ZeroEvidence:
    """Results of the trained writer, its base and the SFT baselines."""

    writers: dict[str, ZeroFigures]
    thinking: dict[str, FormatFigures]
    """Format of the base and the trained writer."""
    win_rates: dict[str, Interval]
    """Win rates of the trained writer vs. each other writer; ties count half, both orders are judged."""
    no_verdicts: int
    """Number of missing games."""

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-serializable dictionary."""
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
    """Have all writers write for the held-out prompts and the examiner compare them.

    Args:
        folder: Folder of the quickstart.
        trained: Model folder of the trained writer.
        generation: Generation settings of the trained writer's run.
        seed: Sampling seed.
        stage: Opens a progress stage.
        others: Further model folders in `folder`, which get the plain prompt.
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
        for index, (name, (model, settings)) in enumerate(writers.items()):
            collect_responses_locally(
                rows,
                LocalWriter(str(model)),
                name=name,
                samples=1,
                settings=settings,
                seed=seed,
                out=held_out_path(folder, name),
                on_progress=lambda done, total, index=index: advance(index * total + done, len(writers) * total),
            )
    responses = {name: list(read_rows(held_out_path(folder, name), Response)) for name in writers}
    asked = {BASE: responses.pop(THINKING_BASE), TRAINED: responses[TRAINED]}
    thinking = {name: _format_figures(own, generation.think) for name, own in asked.items()}
    texts = {name: {row.prompt_id: row.text for row in written} for name, written in responses.items()}
    with SqliteCallLog(folder / "evaluation.sqlite") as log, stage("comparisons by the examiner") as advance:
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


def _format_figures(responses: Sequence[Response], mode: Thinking) -> FormatFigures:
    sound = [float(it.meta["well_formed"]) for it in responses]
    plans = [len(it.meta["plan"].split()) for it in responses if it.meta["well_formed"] and mode == "on"]
    return FormatFigures(
        structure=clustered_interval(sound, [it.prompt_id for it in responses]),
        plan_words=sum(plans) / len(plans) if plans else None,
        short_plans=sum(words < FEW_WORDS for words in plans) / len(plans) if plans else None,
    )


async def _figures(rows: Sequence[Prompt], texts: dict[str, str], examiner: PointwiseJudge) -> ZeroFigures:
    measured = [measure(parse_request(row.request), texts[row.id]) for row in rows]
    words = [count_words(texts[row.id]) for row in rows]
    inside = [lo <= it <= hi for it, (lo, hi) in zip(words, (_range(row) for row in rows), strict=True)]
    ids = [row.id for row in rows]
    return ZeroFigures(
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
    """Return the path of a writer's responses to the held-out prompts."""
    return folder / f"held-out-{writer}.jsonl"
