"""Ask a judge model about labelled pairs in both orders, greedily, and keep its learning curve."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from longform.judging.answers import Letter, parse_verdict
from longform.judging.pairwise import winner_of
from longform.records.files import write_text
from longform.records.schemas import ORDERS, Order, Prompt, Response, Winner
from longform.training.judge_model.pairs import LabelledPair, ask_about
from longform.wording import Wording
from longform.writers.local import LocalWriter
from longform.writers.settings import GenerationSettings

CURVE = "curve.json"
"""File of the learning curve, in the folder of checkpoints."""
Verdicts = dict[Order, Winner | None]
"""The verdicts on one pair by order; None if missing."""


class JudgeCurvePoint(NamedTuple):
    """A point of the learning curve: the judge model after a stage, on the held-out pairs."""

    stage: str
    """base, fine-tuned or rl."""
    step: int
    """Number of updates by reinforcement learning."""
    accuracy: float | None
    """Accuracy over both orders on pairs without labelled ties, where a tie counts half; None without a verdict."""
    missing: float
    """Share of the questions without a verdict."""


def ask_judge_model(
    path: str,
    pairs: Sequence[LabelledPair],
    *,
    wording: Wording,
    generation: GenerationSettings,
    trust_remote_code: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Verdicts]:
    """The verdicts of a local judge model on pairs in both orders. An answer that was cut off has no verdict.

    Args:
        path: folder or hub id of the judge model.
        pairs: the pairs.
        wording: wording of the questions.
        generation: maximum lengths of prompt and answer, and the chat template; the answers are greedy.
        trust_remote_code: whether code in its folder may run.
        on_progress: called with (questions answered, questions).

    Raises:
        BadInputError: the model cannot be loaded, or a question is too long.
    """
    asked: list[tuple[LabelledPair, Order]] = [(pair, order) for pair in pairs for order in ORDERS]
    prompts = [Prompt(id=f"{it.id}/{order}", prompt=ask_about(it, order, wording=wording)) for it, order in asked]
    settings = generation.model_copy(update={"temperature": 0.0, "top_p": 1.0})
    done = 0

    def answered(_: Response) -> None:
        nonlocal done
        done += 1
        on_progress(done, len(prompts))

    with LocalWriter(path, precision="auto", trust_remote_code=trust_remote_code) as writer:
        writer.prepare(settings, longest_prompt=writer.longest_prompt(prompts, settings), self_check=False)
        responses = writer.write(prompts, settings=settings, seed=0, name="judge", on_response=answered)
    verdicts: list[Verdicts] = [{} for _ in pairs]
    for number, ((_, order), response) in enumerate(zip(asked, responses, strict=True)):
        letter: Letter | None = None if response.finish_reason == "length" else parse_verdict(response.text)
        verdicts[number // len(ORDERS)][order] = None if letter is None else winner_of(letter, order)
    return verdicts


def judge_curve_point(
    stage: str, step: int, pairs: Sequence[LabelledPair], verdicts: Sequence[Verdicts]
) -> JudgeCurvePoint:
    """The point of the learning curve for verdicts on labelled pairs."""
    given = [(pair.label, said) for pair, both in zip(pairs, verdicts, strict=True) for said in both.values()]
    right = [
        0.5 if said == "tie" else float(said == label)
        for label, said in given
        if said is not None and label in ("a", "b")
    ]
    missing = float(np.mean([said is None for _, said in given]))
    return JudgeCurvePoint(stage, step, float(np.mean(right)) if right else None, missing)


def draw_pairs(pairs: Sequence[LabelledPair], *, count: int | None, seed: int) -> list[LabelledPair]:
    """Draw `count` of the pairs; all of them if there are fewer, or for None. A function of pairs and seed."""
    return list(pairs) if count is None or len(pairs) <= count else random.Random(seed).sample(list(pairs), k=count)


class JudgeCurve:
    """The learning curve of a judge model, stored beside its checkpoints so that a resumed training continues it.

    Args:
        folder: folder of the checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CURVE
        stored = json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else []
        self.points = [JudgeCurvePoint(*it) for it in stored]

    def has(self, stage: str, step: int) -> bool:
        """Whether the point has been computed before."""
        return any((it.stage, it.step) == (stage, step) for it in self.points)

    def add(self, point: JudgeCurvePoint) -> None:
        """Store a point."""
        self.points.append(point)
        write_text(self._path, json.dumps(self.points) + "\n")
