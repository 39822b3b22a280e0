"""Reliability of a judge model on held-out pairs: the figures of an audit, and its learning curve."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from longform.evaluation.audit.figures import JudgeFigures, causes, measure_judge, read_cases
from longform.evaluation.audit.pairs import AuditedPair, read_pairs
from longform.evaluation.estimates import Bootstrap, ClusteredEstimate
from longform.evaluation.tables import Column, Table, plain, warn_of_few
from longform.records.errors import BadInputError
from longform.records.files import write_text
from longform.training.judge_model.asking import JudgeCurvePoint, ask_judge_model, draw_pairs
from longform.training.judge_model.pairs import read_labelled_pairs
from longform.training.judge_model.recipe import JudgeExaminationSettings, JudgeModelRecipe
from longform.training.judge_model.run import HELD_OUT, read_facts
from longform.training.supervised.preferences import EXAMINATION
from longform.wording import load_wording
from longform.writers.paths import is_model_folder

_SHOWN = {
    "accuracy": "accuracy, ties half (chance 0.5)",
    "consistent_and_correct": "right in both orders",
    "consistency": "both orders agree",
    "first_lead": "first text wins, minus 0.5",
    "longer_wins": "prefers the longer text",
    "humans_longer_wins": "  the labels do",
    "ties": "ties",
    "no_verdict": "no verdict",
}
"""Figures of an audit, by their names in the table."""


@dataclass(frozen=True, slots=True)
class JudgeExamination:
    """Evaluation of a judge model on labelled pairs, asked in both orders. Intervals are over prompts."""

    judge: str
    pairs: int
    prompts: int
    figures: JudgeFigures
    """Accuracy, position bias, length bias and missing verdicts, as in an audit."""
    causes: Counter[str]
    """Of missing verdicts."""
    curve: Sequence[JudgeCurvePoint] = ()

    @property
    def tables(self) -> list[Table]:
        """The figures, and the learning curve if there is one."""
        figures: list[tuple[str, ClusteredEstimate]] = [
            (name, figure) for field, name in _SHOWN.items() if (figure := getattr(self.figures, field)) is not None
        ]
        columns = [Column("figure", is_text=True), Column("95% interval", digits=3), Column("n"), Column("prompts")]
        notes = [f"{count} verdicts are missing: {cause}." for cause, count in self.causes.most_common()]
        examined = Table(
            f"Evaluation on {self.pairs} pairs of {self.prompts} prompts, each in both orders",
            columns,
            [[name, it.cell, it.n, it.prompts] for name, it in figures],
            [*notes, *warn_of_few(it.prompts for _, it in figures)],
        )
        if not self.curve:
            return [examined]
        columns = [Column("stage", is_text=True), Column("step"), Column("accuracy", digits=3)]
        rows = [[it.stage, it.step, it.accuracy, it.missing] for it in self.curve]
        title = "Learning curve on the held-out pairs"
        return [examined, Table(title, [*columns, Column("no verdict", digits=3)], rows, [])]


def examine_judge_pairs(
    pairs: Sequence[AuditedPair], judge: str, *, seed: int = 0, curve: Sequence[JudgeCurvePoint] = ()
) -> JudgeExamination:
    """Measure the verdicts of a judge in labelled pairs.

    Args:
        pairs: with its verdicts.
        judge: its name in them.
        seed: of the bootstrap.
        curve: to be kept with the result.

    Raises:
        ValueError: no pair has a verdict of this judge.
    """
    cases = read_cases(pairs).get(judge)
    if not cases:
        raise ValueError(f"no pair has a verdict of {judge}")
    figures = measure_judge(cases, Bootstrap(seed=seed))
    return JudgeExamination(judge, len(cases), len({it.prompt for it in cases}), figures, causes(cases), curve)


def examine_judge_folder(
    recipe: JudgeModelRecipe,
    pairs: Path | None = None,
    *,
    curve: Sequence[JudgeCurvePoint] = (),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> JudgeExamination:
    """Evaluate the judge model in the folder of a recipe, and write the result into it.

    Its own held-out pairs have its verdicts already; about others it is asked. The file is `examination.json` for its own,
    examination-NAME.json for others.

    Args:
        recipe: of its training.
        pairs: labelled pairs; None: its held-out ones.
        curve: its learning curve, to be written with the result.
        on_progress: called with (questions answered, questions).

    Raises:
        BadInputError: there is no judge model in the folder, or the file has a bad pair or none with a label.
    """
    folder = recipe.out
    if not is_model_folder(str(folder)):
        raise BadInputError(f"out: no judge model at {folder}; run without --examine to train one")
    facts = read_facts(folder)
    if pairs is None or pairs.resolve() == (folder / HELD_OUT).resolve():
        name, rows = EXAMINATION, read_pairs([folder / HELD_OUT])
    else:
        name = f"{Path(EXAMINATION).stem}-{pairs.stem}.json"
        rows = _asked(recipe, pairs, recipe.examination, wording=facts.wording, on_progress=on_progress)
    found = examine_judge_pairs(rows, folder.name, seed=recipe.seed, curve=curve)
    write_text(folder / name, json.dumps(plain(found), indent=1) + "\n")
    return found


def _asked(
    recipe: JudgeModelRecipe,
    path: Path,
    settings: JudgeExaminationSettings,
    *,
    wording: int,
    on_progress: Callable[[int, int], None],
) -> list[AuditedPair]:
    """Pairs of a file with the verdicts of the judge model alone."""
    labelled, _ = read_labelled_pairs([path], judge=recipe.judge)
    drawn = draw_pairs(labelled, count=settings.max_pairs, seed=recipe.seed)
    verdicts = ask_judge_model(
        str(recipe.out),
        drawn,
        wording=load_wording(wording),
        generation=recipe.generation,
        trust_remote_code=recipe.trust_remote_code,
        on_progress=on_progress,
    )
    return [
        AuditedPair.model_validate(it.model_dump() | {"verdicts": {recipe.out.name: both}})
        for it, both in zip(drawn, verdicts, strict=True)
    ]
