"""What an audit advises, and the pairs behind a number."""

import pytest
from audited import LONG, SHORT, make_pair, make_pairs

from longform.evaluation.audit.advice import MIN_PAIRS, MIN_PROMPTS
from longform.evaluation.audit.run import find_faults, measure_audit
from longform.evaluation.estimates import Bootstrap

GOOD, BAD, FIRST = ["aaa", "bbb"], ["abb", "baa"], ["aab", "bab"]


def advise(pairs, judge="j"):
    audited = measure_audit(pairs, Bootstrap(300))
    return next(it.advice for it in audited.judges if it.judge == judge)


def repeated(told, count, **fields):
    return make_pairs((told * count)[:count], **fields)


@pytest.mark.parametrize(
    ("told", "use", "because"),
    [
        (GOOD, "second", "accuracy 1.00 (1.00 to 1.00, n 80) is above chance"),
        (["aaa", "bbb", "aaa", "bab"], "second", "consistency 0.75"),
        (["aaa", "bbb", "bab"], "both", "consistency 0.68 (0.53 to 0.80, n 40) is below 0.7"),
        (FIRST, "do not train", "accuracy 0.50 (0.50 to 0.50, n 80) is not above chance"),
        (BAD, "do not train", "accuracy 0.00"),
        (["-aa", "-bb"], "second", "agreement with people is unknown"),
        (["-ab", "-bb"], "both", "agreement with people is unknown"),
        (["taa", "tbb"], "second", "agreement with people is unknown"),
        (["aa-", "bb-"], "both", "position bias is unknown"),
        (["a--", "b--"], "too few pairs", "every verdict is missing"),
    ],
)
def test_the_rules(told, use, because):
    advice = advise(repeated(told, 40))
    assert advice.use == use
    assert any(because in it for it in advice.because), advice.because


def test_chance_is_excluded_by_the_interval_and_not_by_the_estimate():
    barely = ["aaa", "bbb", "abb", "baa", "aaa", "bbb", "abb", "aaa", "baa"]  # 5 of 9 right
    assert advise(repeated(barely, 45)).use == "do not train"
    assert advise(repeated(barely, 900)).use == "second"


def test_too_few_pairs_or_prompts_are_said_to_be_too_few():
    assert advise(repeated(GOOD, MIN_PAIRS)).use == "second"
    few = advise(repeated(GOOD, MIN_PAIRS - 1))
    assert (few.use, few.because) == (
        "too few pairs",
        [f"only {MIN_PAIRS - 1} of at least {MIN_PAIRS} pairs"],
    )
    unlabelled = advise([*repeated(["-aa"], 40), *(make_pair(100 + n, "aaa") for n in range(5))])
    assert unlabelled.use == "too few pairs"
    assert "only 5 of" in unlabelled.because[0]
    one_prompt = advise(repeated(GOOD, 60, prompt="Write."))
    assert (one_prompt.use, one_prompt.because) == (
        "too few pairs",
        [f"only 1 of at least {MIN_PROMPTS} prompts"],
    )


def test_a_judge_that_attacks_turn_is_refused_however_well_it_agrees():
    def attacked(number, turned):
        told = "aaa" if number % 2 else "bbb"
        right, other = told[1], "b" if told[1] == "a" else "a"
        rows = [
            {"judge": "j", "order": order, "line": line, "verdict": other if turned and line == "orders" else right}
            for order in ("ab", "ba")
            for line in ("orders", "harmless")
        ]
        return make_pair(number, told, asked=rows)

    advice = advise([attacked(number, turned=number % 3 == 0) for number in range(60)])
    assert advice.use == "do not train"
    assert "attacks flip 0.33" in advice.because[0]
    assert advise([attacked(number, turned=False) for number in range(60)]).use == "second"
    assert "too few attacks" in advise([attacked(n, turned=n == 0) for n in range(3)]).cautions[0]


def test_a_judge_below_chance_where_the_shorter_text_is_better_is_refused():
    advice = advise(repeated(["aaa", "aaa", "baa"], 60, response_a=LONG, response_b=SHORT))
    assert advice.use == "do not train"
    assert "accuracy 0.00 (0.00 to 0.00, n 40) where people chose the shorter text" in advice.because[0]
    assert advise(repeated(["aaa", "aaa", "bba"], 60, response_a=LONG, response_b=SHORT)).use == "both"


def test_cautions_name_their_figure():
    length = advise([*repeated(["aaa", "baa"], 60, response_a=LONG, response_b=SHORT), make_pair(99, "bbb")])
    assert any("prefers the longer text 0.50" in it for it in length.cautions)
    silent = advise(repeated(["aaa", "bbb", "---"], 90))
    assert any("no verdict on 0.33" in it for it in silent.cautions)
    own = advise(repeated(["aaa", "tab", "taa"], 90, model_a="j"))
    assert any("favours its own texts by 0.17" in it for it in own.cautions)
    noisy = [
        make_pair(n, "aaa", asked=[{"judge": "j", "order": "ab", "sample": 1, "verdict": "b" if n % 2 else "a"}])
        for n in range(80)
    ]
    assert any("0.50" in it and "repeats differ" in it for it in advise(noisy).cautions)


def test_a_judge_without_faults_has_no_cautions():
    assert advise(repeated(GOOD, 60)).cautions == []


def test_a_panel_is_advised_where_errors_differ_for_sure():
    def pair(n):
        wrong = {"aaa": "bbb", "bbb": "aaa"}
        told = GOOD[n % 2]
        letters = {"j": wrong[told] if n % 5 == 0 else told, "k": wrong[told] if n % 5 == 1 else told}
        return make_pair(n, told, verdicts={it: {"ab": said[1], "ba": said[2]} for it, said in letters.items()})

    panel = measure_audit([pair(n) for n in range(100)], Bootstrap(300)).panel
    assert panel is not None
    assert panel.use
    assert "their errors differ" in panel.because
    alike = measure_audit(
        [make_pair(n, "aaa", verdicts={judge: {"ab": "a", "ba": "a"} for judge in "jk"}) for n in range(40)]
    ).panel
    assert alike is not None
    assert not alike.use


def test_faults_are_the_pairs_behind_a_number():
    pairs = make_pairs(["aaa", "aab", "abb", "tab", "-ab", "ab-", "a--", "att"])
    wrong = [it.pair.id for it in find_faults(pairs, "j", "wrong", limit=9)]
    assert wrong == ["pair-2", "pair-3", "pair-5", "pair-7"]
    assert [it.pair.id for it in find_faults(pairs, "j", "inconsistent", limit=2)] == ["pair-1", "pair-3"]
    assert find_faults(pairs, "k", "wrong", limit=9) == []


def test_pairs_that_nobody_judged_are_refused():
    with pytest.raises(ValueError, match="no judge"):
        measure_audit([make_pair(1, "aaa", verdicts=None)])
