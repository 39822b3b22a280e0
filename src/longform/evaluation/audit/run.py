"""Can a judge be trusted, before money goes into training? Everything here follows from recorded verdicts.

The rooms of an audit: `audit_pairs` reads, `audit_asking` asks live judges, `audit_figures` measures a judge by itself,
`audit_between` judges against each other, `audit_advice` holds the thresholds, `audit_tables` shows.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from longform.evaluation.audit.advice import Advice, PanelAdvice, advise, advise_panel, rank
from longform.evaluation.audit.agreement import InterRaterAgreement, find_panel, measure_between, read_raters
from longform.evaluation.audit.figures import JudgeFigures, causes, measure_judge, read_cases
from longform.evaluation.audit.pairs import AuditedPair
from longform.evaluation.estimates import Bootstrap
from longform.records.schemas import Winner

Fault = Literal["wrong", "inconsistent"]


class JudgeAudit(NamedTuple):
    """One judge."""

    judge: str
    pairs: int
    """It was asked about."""
    figures: JudgeFigures
    causes: Counter[str]
    """Why there was no verdict, over all that was asked, repeats and attacks too."""
    advice: Advice


@dataclass(frozen=True, slots=True)
class Audit:
    """All judges on the pairs."""

    pairs: int
    prompts: int
    labelled: int
    labelled_ties: int
    judges: list[JudgeAudit]
    between: InterRaterAgreement
    panel: PanelAdvice | None


class Shown(NamedTuple):
    """A pair behind a number."""

    judge: str
    pair: AuditedPair
    ab: Winner | None
    ba: Winner | None


def audit_pairs(pairs: Sequence[AuditedPair], bootstrap: Bootstrap | None = None) -> Audit:
    """Measure every judge that was asked about the pairs.

    Raises:
        ValueError: no judge was.
    """
    bootstrap = bootstrap or Bootstrap()
    cases = read_cases(pairs)
    if not cases:
        raise ValueError("no judge was asked about these pairs")
    names = list(cases)
    figures = {name: measure_judge(cases[name], bootstrap) for name in names}
    advice = {name: advise(name, figures[name]) for name in names}
    raters = read_raters(pairs, names)
    panel = find_panel(raters, rank(figures, advice), bootstrap)
    return Audit(
        pairs=len(pairs),
        prompts=len({it.request.request for it in pairs}),
        labelled=sum(it.label is not None for it in pairs),
        labelled_ties=sum(it.label == "tie" for it in pairs),
        judges=[JudgeAudit(it, len(cases[it]), figures[it], causes(cases[it]), advice[it]) for it in names],
        between=measure_between(raters, bootstrap),
        panel=advise_panel(panel),
    )


def find_faults(pairs: Sequence[AuditedPair], judge: str, fault: Fault, *, most: int) -> list[Shown]:
    """The first `most` pairs that `judge` got wrong or was inconsistent on, in the order of the file.

    `wrong`: every verdict heard names another outcome than the label. `inconsistent`: the two orders differ.
    """
    found = []
    for pair in pairs:
        ab, ba = pair.verdict(judge, "ab"), pair.verdict(judge, "ba")
        heard = {ab, ba} - {None}
        is_wrong = pair.label is not None and bool(heard) and pair.label not in heard
        if is_wrong if fault == "wrong" else len(heard) == 2:
            found.append(Shown(judge, pair, ab, ba))
    return found[:most]
