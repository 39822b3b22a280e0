"""Run an audit: read pairs, request missing answers, measure each judge and the panel, make recommendations."""

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
from longform.evaluation.audit.criteria import WITHOUT, CriteriaGain, measure_criteria
from longform.evaluation.audit.figures import JudgeFigures, causes, measure_judge, read_cases
from longform.evaluation.audit.pairs import AuditedPair, keep_others, read_pairs
from longform.evaluation.audit.people import PeopleAgreement, measure_people
from longform.evaluation.audit.presets import PresetName, read_preset_pairs
from longform.evaluation.estimates import Bootstrap
from longform.judging.pairwise import PairwiseJudge
from longform.records.adapting import AS_IS, Reading
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.paths import check_out
from longform.records.progress import ProgressDisplay, no_progress
from longform.records.schemas import ORDERS, Winner
from longform.wording import CURRENT, VERSIONS, load_wording

FaultKind = Literal["wrong", "inconsistent"]


class JudgeAudit(NamedTuple):
    """The audit of one judge."""

    judge: str
    pairs: int
    """Number of pairs it was asked about."""
    figures: JudgeFigures
    causes: Counter[str]
    """Causes of missing verdicts, including repeats and attacks."""
    advice: Advice


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit of all judges."""

    pairs: int
    prompts: int
    labelled: int
    labelled_ties: int
    weighted: bool
    """Whether the pairs count by weights, so that figures are those of the pairs they were sampled from."""
    judges: list[JudgeAudit]
    between: InterRaterAgreement
    panel: PanelAdvice | None
    people: PeopleAgreement | None = None
    """None unless the pairs have `labels`."""
    criteria: Sequence[CriteriaGain] = ()
    """Of the judges that were asked with and without criteria."""


class Fault(NamedTuple):
    """A pair on which a judge was wrong or inconsistent."""

    judge: str
    pair: AuditedPair
    ab: Winner | None
    ba: Winner | None


class AuditResult(NamedTuple):
    """An audit with the pairs behind it."""

    audit: Audit
    pairs: list[AuditedPair]
    cost: str | None
    """Cost and number of calls, formatted; None if no judge was queried."""

    def faults(self, kind: FaultKind, *, limit: int) -> list[Fault]:
        """Return the first `limit` faults of each judge (see `find_faults`)."""
        return [it for one in self.audit.judges for it in find_faults(self.pairs, one.judge, kind, limit=limit)]


def audit(
    pairs: Sequence[Path],
    *,
    judges: Sequence[str] = (),
    preset: PresetName | None = None,
    models: Path = Path("models.yaml"),
    out: Path | None = None,
    repeats: int = 0,
    attacks: int = 24,
    budget: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
    reading: Reading = AS_IS,
    wording: int | None = None,
    criteria: bool = False,
    progress: ProgressDisplay = no_progress,
    on_plan: Callable[[str], None] = lambda line: None,
) -> AuditResult:
    """Measure how reliable judges are: agreement with people, with themselves and with each other.

    Recorded verdicts are evaluated without any call. Missing verdicts of `judges` are requested in both orders; a second
    call resumes, and rows of other judges in `out` are kept.

    Args:
        pairs: Pairs files.
        judges: Judges to query: names in `models`.
        preset: Name of the published set that the files belong to (see `presets`); None: pairs files.
        models: Path to models.yaml.
        out: Output file, the pairs with all verdicts; needed with `judges`. Calls are recorded next to it.
        repeats: Extra repeats per question (test-retest).
        attacks: Number of pairs per judge to attack.
        budget: Stop before the calls cost more than this.
        resamples: Number of bootstrap samples.
        seed: Random seed of the resampling and of the choice of pairs to attack.
        reading: How the files are read: renamed columns, and bad rows to skip.
        wording: Version of the question's wording. Its verdicts are recorded under a name such as `judge@2`, so wordings are
            compared like judges. None: the current one, under the judge's name.
        criteria: Also ask about pairs with criteria without showing these; recorded under `JUDGE@no-criteria`.
        progress: Progress display.
        on_plan: Called before the first call with an upper bound on the number of calls, as text.

    Raises:
        BadInputError: a row is invalid, arguments conflict, a judge is unknown, a key is missing, `out` would lose data, or
            there are no verdicts.
        StoppedError: the budget is exhausted.
    """
    if out is not None:
        check_out(out, *pairs)
    rows = read_pairs(pairs, reading) if preset is None else read_preset_pairs(preset, pairs, reading)
    cost = None
    if judges:
        if out is None:
            raise BadInputError("--out: required with --judge; the file for the verdicts")
        _check_questions(rows, judges, source=pairs[0], wording=wording, criteria=criteria)
        variants = [True, False] if criteria else [True]
        if out.exists():
            asked_as = [_asked_as(name, wording, with_criteria=it) for name in judges for it in variants]
            rows = keep_others(rows, out, asked_as)
        for name in judges:  # check all judges before the first call
            RecordedCalls(out, models, name, budget=budget).log.close()
        bare = sum(bool(row.criteria) for row in rows) if criteria else 0
        on_plan(_describe_plan(len(rows), len(judges), repeats=repeats, attacks=attacks, bare=bare))
        for name in judges:
            with RecordedCalls(out, models, name, budget=budget) as calls:
                for variant in variants:
                    rows = asyncio.run(
                        _ask(
                            calls,
                            name,
                            rows,
                            repeats=repeats if variant else 0,
                            attacks=attacks if variant else 0,
                            seed=seed,
                            wording=wording,
                            with_criteria=variant,
                            progress=progress,
                        )
                    )
                cost = calls.cost()
        write_rows(out, rows)
    else:
        given = {
            "--out": out is not None,
            "--repeat": bool(repeats),
            "--budget": budget is not None,
            "--wording": wording is not None,
            "--criteria": criteria,
        }
        if flag := next((flag for flag, is_given in given.items() if is_given), None):
            raise BadInputError(f"{flag}: only valid with --judge")
    if not any(row.judges or row.labels for row in rows):
        raise BadInputError(f"{pairs[0]}: no verdicts; request some with --judge")
    return AuditResult(measure_audit(rows, Bootstrap(resamples, seed)), rows, cost)


def _check_questions(
    rows: Sequence[AuditedPair], judges: Sequence[str], *, source: Path, wording: int | None, criteria: bool
) -> None:
    """Check what an audit asks its judges.

    Raises:
        BadInputError: the wording is unknown, a judge is listed twice, or criteria are needed and no pair has any.
    """
    if wording is not None and wording not in VERSIONS:
        raise BadInputError(f"--wording {wording}: unknown version; available: {', '.join(map(str, VERSIONS))}")
    if twice := next((name for name in judges if judges.count(name) > 1), None):
        raise BadInputError(f"--judge {twice}: listed twice")
    if criteria and not any(row.criteria for row in rows):
        raise BadInputError(
            f"--criteria: no pair of {source} has criteria; write them with `longform criteria {source}`"
        )


async def _ask(
    calls: RecordedCalls,
    name: str,
    rows: list[AuditedPair],
    *,
    repeats: int,
    attacks: int,
    seed: int,
    wording: int | None,
    with_criteria: bool,
    progress: ProgressDisplay,
) -> list[AuditedPair]:
    """Add the missing answers of one judge to the pairs."""
    async with calls.endpoint() as endpoint:
        secret = calls.log.secret()
        asked = PairwiseJudge(endpoint, secret=secret, wording=load_wording(wording or CURRENT))
        asked_as = _asked_as(name, wording, with_criteria=with_criteria)
        auditor = Auditor(asked, log=calls.log, name=asked_as, with_criteria=with_criteria)
        with progress(f"judging with {name}{'' if with_criteria else ' without criteria'}") as advance:
            rows = await auditor.judge_pairs(rows, repeats=repeats, on_progress=advance)
        if not attacks:
            return rows
        with progress(f"attacking {name}") as advance:
            return await auditor.attack_pairs(rows, count=attacks, seed=seed, on_progress=advance)


def _asked_as(name: str, wording: int | None, *, with_criteria: bool) -> str:
    """Return the name of a judge in the answers."""
    return f"{name}{'' if wording is None else f'@{wording}'}{'' if with_criteria else WITHOUT}"


def _describe_plan(pairs: int, judges: int, *, repeats: int, attacks: int, bare: int = 0) -> str:
    """Describe an upper bound on the number of calls; `bare` pairs are asked about without criteria as well."""
    verdicts, attacked = len(ORDERS) * (pairs * (1 + repeats) + bare), min(attacks, pairs)
    who = f"each of {judges} judges" if judges > 1 else "the judge"
    more = (
        f" and {QUESTIONS_OF_ATTACK * attacked} for attacks on {attacked} pairs (--attacks 0 disables them)"
        if attacked
        else ""
    )
    return f"{who} gets at most {verdicts} questions for verdicts{more}; recorded answers are not requested again"


def measure_audit(pairs: Sequence[AuditedPair], bootstrap: Bootstrap | None = None) -> Audit:
    """Measure every judge that was asked about the pairs, and the people who labelled them.

    Raises:
        ValueError: no judge was asked, and the pairs have no `labels`.
    """
    bootstrap = bootstrap or Bootstrap()
    cases, people = read_cases(pairs), measure_people(pairs, bootstrap)
    if not cases and people is None:
        raise ValueError("no judge was asked about these pairs")
    names = list(cases)
    figures = {name: measure_judge(cases[name], bootstrap) for name in names}
    advice = {name: advise(name, figures[name]) for name in names}
    raters = read_raters(pairs, names)
    candidates = [name for name in rank(figures, advice) if not name.endswith(WITHOUT)]
    panel = find_panel(raters, candidates, bootstrap)
    return Audit(
        pairs=len(pairs),
        prompts=len({it.request.request for it in pairs}),
        labelled=sum(it.label is not None for it in pairs),
        labelled_ties=sum(it.label == "tie" for it in pairs),
        weighted=len({it.relative_weight for it in pairs}) > 1,
        judges=[JudgeAudit(it, len(cases[it]), figures[it], causes(cases[it]), advice[it]) for it in names],
        between=measure_between(raters, bootstrap),
        panel=advise_panel(panel),
        people=people,
        criteria=measure_criteria(pairs, bootstrap),
    )


def find_faults(pairs: Sequence[AuditedPair], judge: str, kind: FaultKind, *, limit: int) -> list[Fault]:
    """Return the first `limit` pairs that `judge` got wrong or was inconsistent on, in file order.

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
