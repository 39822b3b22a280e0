"""Every figure of an audit against cases worked by hand."""

import math

import pytest
from audited import LONG, SHORT, make_pair, make_pairs
from hypothesis import given
from hypothesis import strategies as st

from longform.evaluation.audit.figures import causes, longer_side, measure_judge, read_cases
from longform.evaluation.audit.pairs import AuditedPair
from longform.evaluation.estimates import Bootstrap

# Letters: label, verdict with a first, verdict with b first.
TOLD = ["aaa", "aab", "bbb", "baa", "tat", "ttt", "att", "bab"]
MIRROR = {"a": "b", "b": "a", "t": "t", "-": "-"}


def measure(pairs: list[AuditedPair]):
    return measure_judge(read_cases(pairs)["j"], Bootstrap(200))


def told(figure):
    return None if figure is None else (round(figure.value.estimate, 4), figure.n)


def test_agreement_counts_as_auto_j_does_and_beside_it_by_order():
    figures = measure(make_pairs(TOLD))
    assert told(figures.consistent_and_correct) == (3 / 8, 8)  # aaa, bbb, ttt
    assert told(figures.consistent_and_correct_decided) == (0.3333, 6)
    # By order: aaa 2, aab 1, bbb 2, baa 0, tat 1, ttt 2, att 0, bab 1.
    assert told(figures.each_order_correct) == (9 / 16, 16)
    assert told(figures.each_order_correct_decided) == (0.5, 12)
    assert told(figures.accuracy) == (round(7 / 12, 4), 12)  # att has two halves more
    assert figures.accuracy is not None
    assert figures.accuracy.prompts == 6


def test_position_bias_is_what_the_first_text_wins_beyond_a_half():
    figures = measure(make_pairs(TOLD))
    assert told(figures.consistency) == (5 / 8, 8)  # aaa, bbb, baa, ttt, att
    assert told(figures.contradiction) == (2 / 8, 8)  # aab, bab
    # First text: aab and bab win twice each, tat 1.5, the others 1 of 2: 10.5 of 16.
    assert told(figures.first_lead) == (round(10.5 / 16 - 0.5, 4), 8)
    assert told(figures.ties) == (5 / 16, 16)


def test_a_judge_that_always_takes_the_first_text_is_found():
    figures = measure(make_pairs(["aab", "bab"] * 20))
    assert told(figures.consistent_and_correct) == (0.0, 40)
    assert told(figures.accuracy) == (0.5, 80)
    assert told(figures.first_lead) == (0.5, 40)
    assert figures.follows_both_orders is not None
    assert math.isnan(figures.follows_both_orders.value.estimate)


def test_following_is_a_cosine_of_verdicts_and_labels():
    figures = measure(make_pairs(["aaa", "aab", "ttt", "baa"]))
    # One order: products 2 + 0 + 0 - 2; squares of verdicts 6, of labels 6.
    assert told(figures.follows_one_order) == (0.0, 8)
    figures = measure(make_pairs(["aaa", "aab", "tta", "bbb"]))
    # One order: products 2 + 0 + 0 + 2 = 4, squares 7 and 6. Both: 1 + 0 + 0 + 1 = 2, squares 1 + 0 + .25 + 1 and 3.
    assert told(figures.follows_one_order) == (round(4 / math.sqrt(42), 4), 8)
    assert told(figures.follows_both_orders) == (round(2 / math.sqrt(2.25 * 3), 4), 4)


def test_no_verdict_is_counted_apart_and_in_no_other_figure():
    pairs = make_pairs(["aaa", "a-a", "b-b", "---"])
    figures = measure(pairs)
    assert told(figures.no_verdict) == (0.5, 8)
    assert told(figures.consistency) == (1.0, 1)
    assert told(figures.accuracy) == (1.0, 4)
    assert causes(read_cases(pairs)["j"]) == {"unknown": 4}


def test_one_order_alone_has_no_consistency():
    figures = measure([make_pair(1, "aaa", verdicts={"j": {"ab": "a"}})])
    assert figures.consistency is figures.first_lead is figures.consistent_and_correct is None
    assert told(figures.accuracy) == (1.0, 1)
    assert told(figures.no_verdict) == (0.0, 1)


def test_without_labels_agreement_is_left_out():
    figures = measure(make_pairs(["-aa", "-ab"]))
    assert (
        figures.consistent_and_correct is figures.accuracy is figures.follows_one_order is figures.length_lean is None
    )
    assert told(figures.consistency) == (0.5, 2)


def test_length_bias_is_held_against_people():
    a_longer = make_pairs(["aaa", "baa", "bab", "taa"], response_a=LONG, response_b=SHORT)
    equal = make_pairs(["bbb"], response_a="word " * 21, response_b="word " * 20)
    figures = measure(a_longer + [it.model_copy(update={"id": "equal"}) for it in equal])
    assert told(figures.longer_wins) == (7 / 8, 8)
    assert told(figures.humans_longer_wins) == (0.3333, 3)
    assert told(figures.length_lean) == ((0 + 0 + 1 + 1 + 1 + 0 + 0.5 + 0.5) / 8, 8)
    assert told(figures.accuracy_longer) == (1.0, 2)
    assert told(figures.accuracy_shorter) == (0.25, 4)


@pytest.mark.parametrize(("a", "b", "side"), [(11, 10, 0), (12, 10, 1), (10, 12, -1), (0, 0, 0), (0, 1, -1)])
def test_about_equal_lengths_are_equal(a: int, b: int, side: int):
    assert longer_side(a, b) == side


def test_self_preference_is_held_against_labels():
    own = {"model_a": "gpt", "model_b": "other", "judge_model": {"j": "gpt"}}
    figures = measure([*make_pairs(["baa", "aaa", "tab"], **own), make_pair(9, "bbb", model_a="x", model_b="y")])
    assert told(figures.own_wins) == (round(5 / 6, 4), 6)
    assert told(figures.self_lean) == (round((1 + 1 + 0 + 0 + 0.5 - 0.5) / 6, 4), 6)


def test_self_preference_is_held_against_other_judges_where_there_are_no_labels():
    others = {"k": {"ab": "b", "ba": "b"}}, {"k": {"ab": "b"}, "l": {"ba": "a"}}  # means -1 and 0
    pairs = [
        make_pair(n, "---", model_b="j", model_a="x", verdicts={"j": {"ab": own, "ba": own}} | others[n])
        for n, own in enumerate("ab")
    ]
    figures = measure(pairs)
    assert told(figures.self_lean) == ((-1 - 1 + 0.5 + 0.5) / 4, 4)


@pytest.mark.parametrize(
    ("judge_model", "judges", "names"),
    [
        (None, ["j"], {"j"}),
        ("gpt", ["j"], {"j", "gpt"}),
        ("gpt", ["j", "k"], {"j"}),  # whose model it is cannot be told
        ({"j": "gpt"}, ["j", "k"], {"j", "gpt"}),
        ({"k": "gpt"}, ["j", "k"], {"j"}),
    ],
)
def test_a_judge_is_known_by_its_name_and_its_model(judge_model, judges, names):
    pair = make_pair(1, "aaa", judge_model=judge_model, verdicts={it: {"ab": "a"} for it in judges})
    assert pair.names_of("j") == names


def test_texts_both_by_the_judge_say_nothing_of_self_preference():
    assert measure(make_pairs(["aaa"], model_a="j", model_b="j")).own_wins is None


def test_repeats_attacks_tokens_and_costs_come_from_what_was_asked():
    def asked(order, verdict, **fields):
        return {"judge": "j", "order": order, "verdict": verdict} | fields

    pair = make_pair(
        1,
        "aaa",
        asked=[
            asked("ab", "a", cost=0.25, prompt_tokens=10, completion_tokens=2),
            asked("ab", "b", sample=1, cost=0.75, prompt_tokens=10, completion_tokens=4),
            asked("ba", "a", sample=1),
            asked("ba", None, sample=2, cause="timeout"),
            asked("ab", "b", line="orders"),
            asked("ba", "a", line="orders"),
            asked("ab", "tie", line="harmless"),
            asked("ba", "a", line="harmless"),
        ],
    )
    figures = measure([pair])
    assert told(figures.retest) == (0.5, 2)
    assert told(figures.turned_by_attack) == (0.5, 2)
    assert told(figures.turned_by_harmless) == (0.5, 2)
    assert told(figures.attack_effect) == (0.0, 2)
    assert told(figures.cost) == (0.5, 2)
    assert told(figures.prompt_tokens) == (10.0, 2)
    assert told(figures.completion_tokens) == (3.0, 2)
    assert told(figures.ties) == (0.0, 2)
    assert causes(read_cases([pair])["j"]) == {"timeout": 1}


def test_pairs_of_one_prompt_are_one_piece_of_evidence():
    stories = ["aaa", "bbb", "aab", "bab", "abb", "baa"] * 4
    apart = measure(make_pairs(stories)).accuracy
    together = measure(
        [it.model_copy(update={"prompt": f"p{n // 6}"}) for n, it in enumerate(make_pairs(stories))]
    ).accuracy
    assert apart is not None
    assert together is not None
    assert (apart.prompts, together.prompts) == (24, 4)
    assert together.value.high - together.value.low < 1e-9  # each prompt holds the same six
    assert apart.value.high - apart.value.low > 0.1


@given(st.lists(st.text("abt-", min_size=3, max_size=3), min_size=1, max_size=12))
def test_which_text_is_called_a_changes_nothing(stories: list[str]):
    """The other text first is the other order: a swapped pair has its letters mirrored and its orders exchanged."""
    swapped = [MIRROR[it[0]] + MIRROR[it[2]] + MIRROR[it[1]] for it in stories]
    one = measure(make_pairs(stories, response_a=LONG, response_b=SHORT, model_a="j"))
    other = measure(make_pairs(swapped, response_a=SHORT, response_b=LONG, model_b="j"))
    for name in one.__slots__:
        assert told(getattr(one, name)) == pytest.approx(told(getattr(other, name)), nan_ok=True), name
