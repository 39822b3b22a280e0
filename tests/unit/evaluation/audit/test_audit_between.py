"""Judges against each other and people, and panels."""

import pytest
from audited import make_pair, make_pairs

from longform.evaluation.audit.agreement import find_panel, measure_between, read_raters
from longform.evaluation.audit.pairs import HUMANS
from longform.evaluation.estimates import Bootstrap, ClusteredEstimate
from longform.statistics.krippendorff import Metric, alpha_of_coincidences, coincidences

BOOTSTRAP = Bootstrap(200)
LETTERS = {"a": "a", "b": "b", "t": "tie", "-": None}


def judged_by(**letters: str):
    """Pairs by one string a judge, a letter a pair, the same in both orders; `people` are the labels."""
    people = letters.pop("people", "-" * len(next(iter(letters.values()))))
    return [
        make_pair(
            number,
            f"{label}--",
            verdicts={
                judge: dict.fromkeys(("ab", "ba"), LETTERS[told[number]])
                for judge, told in letters.items()
                if told[number] != "."
            },
        )
        for number, label in enumerate(people)
    ]


def between(pairs, judges):
    raters = read_raters(pairs, judges)
    found = measure_between(raters, BOOTSTRAP)
    return found, {(it.one, it.other): it for it in found.pairs}


def test_kappa_is_weighted_so_that_a_tie_is_half_an_error():
    _, pairs = between(judged_by(j="aaatbb", k="aatabb"), ["j", "k"])
    # Both have marginals a 3, t 1, b 2 of 6. Observed penalties 1 + 1 of 6.
    # By chance, penalties 1 (a-t, t-b) and 2 (a-b): (2*3*1*1 + 2*1*2*1 + 2*3*2*2) / 36 = 34/36.
    it = pairs["j", "k"]
    assert it.agreement.value.estimate == pytest.approx(4 / 6)
    assert it.kappa.value.estimate == pytest.approx(1 - (2 / 6) / (34 / 36))
    assert (it.agreement.n, it.agreement.prompts) == (12, 6)


def test_people_are_a_rater_where_there_are_labels():
    found, pairs = between(judged_by(j="aabb", k="aabb", people="ab-b"), ["j", "k"])
    assert set(pairs) == {("j", "k"), ("j", HUMANS), ("k", HUMANS)}
    assert pairs["j", HUMANS].agreement.value.estimate == pytest.approx(2 / 3)
    assert pairs["j", HUMANS].agreement.n == 6
    assert found.alpha_nominal is not None
    assert found.alpha_nominal.value.estimate == 1.0  # of the judges alone


def test_alpha_takes_judges_that_were_not_asked_everything():
    said = {"j": "aab-.", "k": "abbat", "l": ".abtt"}
    found, _ = between(judged_by(**said), list(said))
    units = [[LETTERS.get(told[place]) for told in said.values()] for place in range(5) for _ in ("ab", "ba")]
    figures: dict[Metric, ClusteredEstimate | None] = {"nominal": found.alpha_nominal, "ordinal": found.alpha_ordinal}
    for metric, figure in figures.items():
        expected = float(alpha_of_coincidences(coincidences(units, order=("a", "tie", "b")).sum(axis=0), metric=metric))
        assert figure is not None
        assert figure.value.estimate == pytest.approx(expected)
        assert (figure.n, figure.prompts) == (10, 5)


def test_one_judge_alone_has_no_alpha():
    found, pairs = between(make_pairs(["-aa"]), ["j"])
    assert (found.alpha_nominal, found.alpha_ordinal, pairs) == (None, None, {})


def test_judges_that_were_never_asked_the_same_are_not_compared():
    _, pairs = between(judged_by(j="a.", k=".a"), ["j", "k"])
    assert pairs == {}


def test_judges_whose_errors_differ_make_a_panel():
    people = "ab" * 30
    wrong = str.maketrans("ab", "ba")
    j = "".join(it.translate(wrong) if n % 4 == 0 else it for n, it in enumerate(people))
    k = "".join(it.translate(wrong) if n % 4 == 1 else it for n, it in enumerate(people))
    raters = read_raters(judged_by(j=j, k=k, people=people), ["j", "k"])
    panel = find_panel(raters, ["j", "k"], BOOTSTRAP)
    assert panel is not None
    # Alone: (45 - 15) / 60. Together: 30 right, 30 ties, none wrong: 30 / sqrt(30 * 60).
    assert panel.follows.value.estimate == pytest.approx(0.5**0.5)
    assert panel.gain.value.estimate == pytest.approx(0.5**0.5 - 0.5)
    assert panel.gain.value.low > 0


def test_judges_with_the_same_errors_gain_nothing():
    people, j = "ab" * 30, "aa" * 30
    raters = read_raters(judged_by(j=j, k=j, people=people), ["j", "k"])
    panel = find_panel(raters, ["j", "k"], BOOTSTRAP)
    assert panel is not None
    assert panel.gain.value == (0.0, 0.0, 0.0)


def test_of_three_the_panel_that_gains_most_is_found():
    people = "ab" * 30
    wrong = str.maketrans("ab", "ba")

    def errs_at(*places):
        return "".join(it.translate(wrong) if n % 6 in places else it for n, it in enumerate(people))

    said = {"j": errs_at(0, 1), "k": errs_at(2, 3), "l": errs_at(0, 1)}
    panel = find_panel(read_raters(judged_by(**said, people=people), list(said)), list(said), BOOTSTRAP)
    assert panel is not None
    assert panel.judges == ("j", "k")


@pytest.mark.parametrize(("people", "judges"), [("--", ["j", "k"]), ("ab", ["j"])])
def test_a_panel_needs_labels_and_two_judges(people, judges):
    assert find_panel(read_raters(judged_by(j="ab", k="ab", people=people), judges), judges, BOOTSTRAP) is None
