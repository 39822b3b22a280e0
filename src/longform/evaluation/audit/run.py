"""An audit: read pairs, ask judges for what is missing, measure each judge and the panel, advise."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from longform.endpoints.recorded import RecordedCalls
from longform.evaluation.audit.advice import Advice, PanelAdvice, advise, advise_panel, rank
from longform.evaluation.audit.agreement import InterRaterAgreement, find_panel, measure_between, read_raters
from longform.evaluation.audit.asking import QUESTIONS_OF_ATTACK, Auditor
from longform.evaluation.audit.figures import JudgeFigures, causes, measure_judge, read_cases
from longform.evaluation.audit.pairs import AuditedPair, keep_others, read_pairs
from longform.evaluation.estimates import Bootstrap
from longform.judging.pairwise import PairwiseJudge
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.paths import check_out
from longform.records.progress import ProgressDisplay, no_progress
from longform.records.schemas import ORDERS, Winner

FaultKind = Literal["wrong", "inconsistent"]


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


class Fault(NamedTuple):
    """A pair that a judge got wrong, or was inconsistent on."""

    judge: str
    pair: AuditedPair
    ab: Winner | None
    ba: Winner | None


class AuditResult(NamedTuple):
    """An audit with the pairs behind it."""

    audit: Audit
    pairs: list[AuditedPair]
    cost: str | None
    """Cost and number of calls, in words; None if no judge was asked."""

    def faults(self, kind: FaultKind, *, limit: int) -> list[Fault]:
        """The first `limit` faults of each judge, see `find_faults`."""
        return [it for one in self.audit.judges for it in find_faults(self.pairs, one.judge, kind, limit=limit)]


def audit(
    pairs: Sequence[Path],
    *,
    judges: Sequence[str] = (),
    models: Path = Path("models.yaml"),
    out: Path | None = None,
    repeats: int = 0,
    attacks: int = 24,
    budget: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
    progress: ProgressDisplay = no_progress,
    on_plan: Callable[[str], None] = lambda line: None,
) -> AuditResult:
    """Measure how far judges can be trusted: against people, themselves and each other.

    Recorded verdicts are measured without a call. What is missing of `judges` is requested in both orders; a second call
    resumes, and the rows of other judges in `out` stay.

    Args:
        pairs: files of pairs.
        judges: names in `models` to ask.
        models: models.yaml.
        out: the pairs with all verdicts; needed with `judges`. Calls are recorded next to it.
        repeats: extra repeats per question (test-retest).
        attacks: pairs of each judge to try attacks on.
        budget: cost above which calls stop.
        resamples: bootstrap samples behind the intervals.
        seed: of the draws, and of the choice of pairs to attack.
        progress: display of the progress.
        on_plan: called with an upper bound on the calls, in words, before the first one.

    Raises:
        BadInputError: a bad row, arguments that do not go together, an unknown judge, a missing key, an `out` that would
            lose something, or no verdicts at all.
        StoppedError: the budget is spent.
    """
    if out is not None:
        check_out(out, *pairs)
    rows, cost = read_pairs(pairs), None
    if judges:
        if out is None:
            raise BadInputError("--out: names the file for the judges' verdicts; it is missing")
        if twice := next((name for name in judges if judges.count(name) > 1), None):
            raise BadInputError(f"--judge {twice}: listed twice")
        if out.exists():
            rows = keep_others(rows, out, judges)
        for name in judges:  # check all of them before the first call is paid
            RecordedCalls(out, models, name, budget=budget).log.close()
        on_plan(_describe_plan(len(rows), len(judges), repeats=repeats, attacks=attacks))
        for name in judges:
            with RecordedCalls(out, models, name, budget=budget) as calls:
                rows = asyncio.run(
                    _ask(calls, name, rows, repeats=repeats, attacks=attacks, seed=seed, progress=progress)
                )
                cost = calls.cost()
        write_rows(out, rows)
    else:
        given = {"--out": out is not None, "--repeat": bool(repeats), "--budget": budget is not None}
        if flag := next((flag for flag, is_given in given.items() if is_given), None):
            raise BadInputError(f"{flag}: only valid with --judge")
    if not any(row.judges for row in rows):
        raise BadInputError(f"{pairs[0]}: holds no verdicts; name a --judge to ask for them")
    return AuditResult(measure_audit(rows, Bootstrap(resamples, seed)), rows, cost)


async def _ask(
    calls: RecordedCalls,
    name: str,
    rows: list[AuditedPair],
    *,
    repeats: int,
    attacks: int,
    seed: int,
    progress: ProgressDisplay,
) -> list[AuditedPair]:
    """The pairs with the missing answers of one judge."""
    async with calls.endpoint() as endpoint:
        secret = calls.log.secret()
        auditor = Auditor(PairwiseJudge(endpoint, secret=secret), log=calls.log)
        with progress(f"judging with {name}") as advance:
            rows = await auditor.judge_pairs(rows, repeats=repeats, on_progress=advance)
        if not attacks:
            return rows
        with progress(f"attacking {name}") as advance:
            return await auditor.attack_pairs(rows, count=attacks, seed=seed, on_progress=advance)


def _describe_plan(pairs: int, judges: int, *, repeats: int, attacks: int) -> str:
    """An upper bound on the calls, in words."""
    verdicts, attacked = len(ORDERS) * pairs * (1 + repeats), min(attacks, pairs)
    who = f"each of {judges} judges" if judges > 1 else "the judge"
    more = (
        f" and {QUESTIONS_OF_ATTACK * attacked} for attacks on {attacked} pairs (--attacks 0 asks none)"
        if attacked
        else ""
    )
    return f"{who} gets at most {verdicts} questions for verdicts{more}; recorded answers are not requested again"


def measure_audit(pairs: Sequence[AuditedPair], bootstrap: Bootstrap | None = None) -> Audit:
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


def find_faults(pairs: Sequence[AuditedPair], judge: str, kind: FaultKind, *, limit: int) -> list[Fault]:
    """The first `limit` pairs that `judge` got wrong or was inconsistent on, in the order of the file.

    `wrong`: every verdict differs from the label. `inconsistent`: the two orders differ.
    """
    faults = []
    for pair in pairs:
        ab, ba = pair.verdict(judge, "ab"), pair.verdict(judge, "ba")
        verdicts = {ab, ba} - {None}
        is_wrong = pair.label is not None and bool(verdicts) and pair.label not in verdicts
        if is_wrong if kind == "wrong" else len(verdicts) == 2:
            faults.append(Fault(judge, pair, ab, ba))
    return faults[:limit]
