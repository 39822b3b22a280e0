"""Tables of a comparison. Digits differ by row, so numbers are formatted here rather than by column."""

from collections.abc import Mapping, Sequence

from longform.evaluation.compare.cross_judge import CrossJudge, Survival
from longform.evaluation.compare.measures import Contrast
from longform.evaluation.compare.run import Comparison, Group
from longform.evaluation.estimates import ClusteredEstimate
from longform.evaluation.tables import Cell, Column, Table, show, warn_of_few
from longform.statistics.paired import MAX_EXACT

_MIN_SHOWN_P = 0.0001
_WHO_IS_BETTER = ("grade", "wins")


def compare_tables(comparison: Comparison) -> list[Table]:
    """Return all non-empty tables."""
    tables = [_means(comparison), _shares(comparison), _matrix(comparison), _agreement(comparison.judges)]
    tables += [
        _by_group("By group", "group", comparison.groups, comparison),
        _by_group(f"By {comparison.bins_of}", "words", comparison.bins if len(comparison.bins) > 1 else (), comparison),
    ]
    return [it for it in tables if it is not None and it.rows]


def describe_test(comparison: Comparison) -> str:
    """Describe the p-value in one line."""
    _, draws, seed = comparison.sampling
    return (
        f"p: two-sided sign-flip permutation test over prompts, exact where at most {MAX_EXACT} differ, else by "
        f"{draws} draws, seed {seed}; not corrected for the number of rows."
    )


def _means(comparison: Comparison) -> Table:
    rows = [_contrast_row([it.measure], it) for it in comparison.contrasts]
    notes = ["Numbers are means over prompts with 95% intervals.", describe_test(comparison)]
    notes += warn_of_few(it.difference.prompts for it in comparison.contrasts)
    return Table(
        f"{comparison.b} against {comparison.a}", [Column("", is_text=True), *_columns(comparison)], rows, notes
    )


def _by_group(title: str, column: str, groups: Sequence[Group], comparison: Comparison) -> Table:
    """Tabulate grades, wins and words; the other measures of a group are only in the JSON."""
    rows = [
        _contrast_row([group.name, it.measure], it)
        for group in groups
        for it in group.contrasts
        if it.kind in _WHO_IS_BETTER or it.measure == "words"
    ]
    names = [Column(column, is_text=True), Column("measure", is_text=True)]
    notes = warn_of_few(it.difference.prompts for group in groups for it in group.contrasts)
    return Table(title, [*names, *_columns(comparison)], rows, notes)


def _columns(comparison: Comparison) -> list[Column]:
    return [Column(comparison.a), Column(comparison.b), Column("difference"), Column("p"), Column("prompts")]


def _contrast_row(names: Sequence[str], it: Contrast) -> list[Cell]:
    means = [show(figure.cell, digits=it.digits) for figure in (it.a, it.b, it.difference)]
    p = f"{it.test.p:.4f}" if it.test.p >= _MIN_SHOWN_P else f"<{_MIN_SHOWN_P}"
    return [*names, *means, p, it.difference.prompts]


def _shares(comparison: Comparison) -> Table:
    who = [it for it in comparison.contrasts if it.kind in _WHO_IS_BETTER]
    rows: list[list[Cell]] = [
        [it.measure, *(show(share.cell, digits=2) for share in (it.higher, it.equal, it.lower)), it.higher.prompts]
        for it in who
    ]
    columns = [Column("", is_text=True), *map(Column, ("better", "equal", "worse", "prompts"))]
    unanimous = any(share.value.low == share.value.high for it in who for share in (it.higher, it.lower))
    notes = warn_of_few(it.higher.prompts for it in who)
    if unanimous:
        notes.append("An interval of zero width means that all prompts agree, not that the share is known exactly.")
    return Table(f"Fraction of prompts on which {comparison.b} is", columns, rows, notes)


def _matrix(comparison: Comparison) -> Table | None:
    """Tabulate the results by judge."""
    cross = comparison.judges
    if cross is None:
        return None
    names = ["win rate", "of it confirmed", "gain in grades", "of it confirmed", "games", "no verdict"]
    rows: list[list[Cell]] = [
        [
            it.judge,
            "reward" if it.gave_reward else "",
            _shown(it.wins and it.wins.b, 3),
            _survives(it.wins_survive),
            _shown(it.grades and it.grades.difference, 2),
            _survives(it.grades_survive),
            it.games,
            sum(it.no_verdict.values()),
        ]
        for it in cross.rows
    ]
    columns = [Column("judge", is_text=True), Column("gave", is_text=True), *map(Column, names)]
    # Leave out columns without numbers.
    used = [index for index in range(len(columns)) if index == 0 or any(row[index] not in (None, "") for row in rows)]
    return Table(
        f"{comparison.b} against {comparison.a}, judge by judge",
        [columns[index] for index in used],
        [[row[index] for index in used] for row in rows],
        _matrix_notes(cross),
    )


def _matrix_notes(cross: CrossJudge) -> list[str]:
    asked = [it.judge for it in cross.rows]
    if not set(cross.reward_judges) & set(asked):
        gave = ", ".join(cross.reward_judges)
        why = f"the reward judge, {gave}, was not queried" if gave else "the reward judge is unknown"
        notes = [f"No share of the gain: {why}."] if len(asked) > 1 or gave else []
    else:
        who = " and ".join(name for name in cross.reward_judges if name in asked)
        notes = [
            f"Confirmed: the gain (difference of win rates, or gain in grades) divided by the gain according to {who};",
            "1 is all of it; on the prompts that both judged.",
        ]
    for what, survivals in (
        ("verdicts", [it.wins_survive for it in cross.rows]),
        ("grades", [it.grades_survive for it in cross.rows]),
    ):
        undefined = next((it for it in survivals if it is not None and it.share is None), None)
        if undefined is not None:
            gain = show(undefined.reward_gain.cell, digits=3)
            notes.append(f"Undefined: the reward judge's own gain in {what}, {gain}, is not significantly above 0.")
    if settled := max(it.without_call for it in cross.rows):
        notes.append(
            f"{settled} games of each judge were decided without a call, because the texts are equal or one is empty."
        )
    for it in cross.rows:
        if it.games and it.wins is None:
            notes.append(f"No win rate for {it.judge}: no pair has a verdict in both orders.")
        elif it.wins is not None and it.wins.half_pairs:
            notes.append(
                f"Pairs with a verdict of {it.judge} in only one order, left out of its win rate: {it.wins.half_pairs}."
            )
        for what, causes in (("No verdict", it.no_verdict), ("No grade", it.no_grade)):
            if causes:
                notes.append(f"{what} of {it.judge}: {_counts(causes)}.")
    contrasts = [contrast for it in cross.rows for contrast in (it.wins, it.grades) if contrast is not None]
    return [*notes, "n: prompts.", *warn_of_few(it.difference.prompts for it in contrasts)]


def _agreement(cross: CrossJudge | None) -> Table | None:
    if cross is None or cross.between is None:
        return None
    rows: list[list[Cell]] = [
        [it.one, it.other, it.agreement.cell, it.kappa.cell, it.agreement.n, it.agreement.prompts]
        for it in cross.between.pairs
    ]
    columns = [Column("judge", is_text=True), Column("and", is_text=True), Column("agreement", digits=3)]
    columns += [Column("kappa", digits=3), Column("games"), Column("prompts")]
    notes = ["Cohen's kappa with linear weights on B wins, tie, A wins."]
    notes += warn_of_few(it.agreement.prompts for it in cross.between.pairs)
    return Table("Agreement of the judges on the same games", columns, rows, notes)


def _survives(survival: Survival | None) -> str:
    if survival is None:
        return ""
    return "undefined" if survival.share is None else _shown(survival.share, 2)


def _shown(figure: ClusteredEstimate | None, digits: int) -> str:
    """Format a figure with its n, because figures in a row may be based on different prompts."""
    return "" if figure is None else f"{show(figure.cell, digits=digits)}, n {figure.prompts}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda it: -it[1]))
