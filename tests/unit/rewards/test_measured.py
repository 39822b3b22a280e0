"""The length reward by hand, the format reward charge by charge, the answer reward, and what they make of bad input."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.records.schemas import PromptRow
from longform.rewards import measured
from longform.rewards.measured import AnswerReward, FormatReward, LengthReward, expected_answers, length_reward
from longform.rewards.settings import FormatSettings
from longform.text.structure import ParsedResponse, parse_response

SENTENCES = (
    "Every evening the keeper carried two cans of oil up the winding stairs.",
    "Her brother had drowned off the northern reef in a gale.",
    "The inspector praised the careful repair but fined her for the missing tin.",
    "When the harbour froze, villagers brought bread and salted herring across the ice.",
)
TEXT = " ".join(SENTENCES)
TURNED = "Up the winding stairs the keeper carried two cans of oil every evening."


def scored(reward, answer, *, prompt="Write.", reference="", sound=True, length_range=None):
    row = PromptRow(id="p1", prompt=prompt, length_range=length_range)
    response = answer if isinstance(answer, ParsedResponse) else ParsedResponse("", answer, sound)
    rewarded = asyncio.run(reward.score(row, response=response, reference=reference, step=3))
    assert rewarded.cost == 0.0
    assert rewarded.calls == ()
    assert rewarded.score is not None
    return rewarded.score


def format_score(answer, *, prompt="Write.", reference="", sound=True, **charges):
    chosen: dict[str, Any] = {"repetition": 0.0, **charges}
    reward = FormatReward(FormatSettings(kind="format", **chosen))
    return scored(reward, answer, prompt=prompt, reference=reference, sound=sound)


@pytest.mark.parametrize(
    ("words", "score"),
    [(0, 0.0), (1, 0.01), (99, 0.99), (100, 1.0), (200, 1.0), (250, 0.75), (399, 0.005), (400, 0.0), (9999, 0.0)],
)
def test_length_is_worth_what_the_formula_says(words, score):
    assert length_reward(words, lower=100, upper=200, longest=400) == pytest.approx(score)


@pytest.mark.parametrize(
    ("words", "lower", "upper", "longest", "score"),
    [
        (0, 0, 100, 200, 0.0),
        (1, 0, 100, 200, 1.0),
        (100, 50, 100, 100, 1.0),
        (101, 50, 100, 100, 0.0),
        (0, 0, 0, 0, 0.0),
        (1, 0, 0, 0, 0.0),
        (1, 1, 1, 2, 1.0),
    ],
)
def test_the_ends_of_the_formula_are_guarded(words, lower, upper, longest, score):
    assert length_reward(words, lower=lower, upper=upper, longest=longest) == score


@pytest.mark.parametrize(("lower", "upper", "longest"), [(200, 100, 400), (100, 200, 199), (-1, 100, 200)])
def test_a_range_out_of_order_is_an_error(lower, upper, longest):
    with pytest.raises(ValueError, match="lower <= upper <= longest"):
        length_reward(150, lower=lower, upper=upper, longest=longest)


def test_words_are_not_negative():
    with pytest.raises(ValueError, match="at least 0"):
        length_reward(-1, lower=1, upper=2, longest=3)


@given(st.integers(0, 10**6), st.lists(st.integers(0, 10**6), min_size=3, max_size=3).map(sorted))
def test_length_scores_lie_between_0_and_1_and_fall_away_from_the_range(words, bounds):
    lower, upper, longest = bounds
    score = length_reward(words, lower=lower, upper=upper, longest=longest)
    assert 0.0 <= score <= 1.0
    assert (score == 1.0) >= (max(1, lower) <= words <= upper)
    nearer = words + 1 if words < lower else words - 1 if words > upper else words
    assert length_reward(nearer, lower=lower, upper=upper, longest=longest) >= score or nearer == 0


def test_the_length_reward_counts_the_answer_alone():
    parts = parse_response("<think>one two three four</think><answer>five six</answer>", "on")
    assert scored(LengthReward(), parts, length_range=(4, 6)) == 0.5
    assert scored(LengthReward(), "写".ljust(5, "文"), length_range=(4, 6)) == 1.0
    for counted in ("Он долго смотрел на море.", "그는 오래 바다를 보았다.", "彼は海を", "Anh ấy nhìn biển."):
        assert scored(LengthReward(), counted, length_range=(4, 6)) == 1.0


def test_the_length_reward_reaches_0_at_twice_the_range_or_where_it_is_told():
    answer = "word " * 9
    assert scored(LengthReward(), answer, length_range=(4, 6)) == pytest.approx(3 / 6)
    assert scored(LengthReward(max_words=10), answer, length_range=(4, 6)) == pytest.approx(1 / 4)
    assert scored(LengthReward(max_words=6), answer, length_range=(4, 6)) == 0.0


def test_an_answer_that_was_cut_off_earns_no_full_length_reward():
    whole, cut = (ParsedResponse("", "word " * 5, True, is_cut_off=it) for it in (False, True))
    assert scored(LengthReward(), whole, length_range=(4, 6)) == 1.0
    assert scored(LengthReward(), cut, length_range=(4, 6)) == 0.5
    assert scored(LengthReward(cut_off=0.0), cut, length_range=(4, 6)) == 0.0
    assert scored(LengthReward(), cut, length_range=(10, 20)) == pytest.approx(0.25)


def test_an_empty_answer_is_worth_nothing():
    assert scored(LengthReward(), "", length_range=(0, 6)) == 0.0
    assert format_score("") == 0.0


def test_a_prompt_without_a_range_has_no_length_reward():
    with pytest.raises(ValueError, match="prompt p1 has no length_range"):
        scored(LengthReward(), "word")


def test_a_range_beyond_the_longest_answer_is_an_error():
    with pytest.raises(ValueError, match="longest"):
        scored(LengthReward(max_words=5), "word", length_range=(4, 6))


@pytest.mark.parametrize(
    "text",
    [
        "An answer without tags.",
        "<answer>first</answer><think>then</think>",
        "<think>a plan<answer>an answer</answer></think>",
        "<think>a</think><answer>b</answer><answer>c</answer>",
        "<think>a</think><answer></answer>",
    ],
)
def test_a_broken_structure_has_format_0(text):
    assert format_score(parse_response(text, "on")) == 0.0


def test_a_sound_structure_without_charges_has_format_1():
    assert format_score(parse_response(f"<think>plan</think>\n<answer>{TEXT}</answer>", "on"), repetition=1.0) == 1.0


def test_every_charge_is_its_weight_times_its_share():
    repeated = f"{TEXT} {SENTENCES[0]}"
    assert format_score(repeated, repetition=1.0) == pytest.approx(1 - 1 / 5)
    assert format_score(repeated, repetition=0.5) == pytest.approx(1 - 0.5 / 5)
    assert format_score(repeated) == 1.0
    assert format_score(f"{TEXT} {TURNED}", repetition=1.0) == 1.0
    stuffed = " ".join([f"word{i}" for i in range(90)] + ["lamp"] * 10)
    assert format_score(stuffed, stuffing=2.0) == pytest.approx(1 - 2 * 4 / 100)
    copied = format_score(f"{repeated} {stuffed}", reference=TEXT, stuffing=1.0, copying=1.0)
    assert copied == pytest.approx(
        format_score(f"{repeated} {stuffed}", stuffing=1.0)
        + format_score(f"{repeated} {stuffed}", reference=TEXT, copying=1.0)
        - 1
    )


def test_of_sentences_and_paragraphs_the_larger_share_is_charged():
    # 6 of 10 sentences and 1 of 3 paragraphs, then 1 of 3 paragraphs and no sentence that is long enough.
    text = f"{TEXT}\n\n{SENTENCES[0]} {SENTENCES[1]}\n\n{TEXT}"
    assert format_score(text, repetition=1.0) == pytest.approx(1 - 6 / 10)
    short = "Nobody spoke. Nobody knew. Nobody slept."
    assert format_score(f"{short}\n\n{TEXT}\n\n{short}", repetition=1.0) == pytest.approx(1 - 1 / 3)


def test_copying_is_charged_from_the_request_or_from_the_reference():
    reference = " ".join(f"reference{i}" for i in range(50))
    request = " ".join(f"request{i}" for i in range(50))
    own = " ".join(f"own{i}" for i in range(50))
    assert format_score(f"{own} {reference}", prompt=request, reference=reference, copying=1.0) == pytest.approx(0.5)
    assert format_score(f"{own} {request}", prompt=request, reference=reference, copying=1.0) == pytest.approx(0.5)
    assert format_score(f"{own} {own}", prompt=request, reference=reference, copying=1.0) == 1.0


def test_charges_never_take_more_than_all():
    assert format_score(" ".join([SENTENCES[0]] * 10), repetition=5.0) == 0.0


@given(
    st.lists(st.sampled_from([*SENTENCES, TURNED, "lamp " * 9, "\n\n"]), max_size=10),
    st.lists(st.floats(0, 3), min_size=3, max_size=3),
    st.integers(0, 2),
)
def test_format_scores_lie_between_0_and_1_and_fall_with_every_charge(parts, weights, raised):
    names = ("repetition", "stuffing", "copying")
    charges: dict[str, Any] = dict(zip(names, weights, strict=True))
    score = format_score(" ".join(parts), reference=TEXT, **charges)
    charges[names[raised]] += 1.0
    assert 0.0 <= format_score(" ".join(parts), reference=TEXT, **charges) <= score <= 1.0


def test_only_what_takes_long_leaves_the_thread(monkeypatch):
    hops = []

    async def to_thread(call, *args):
        hops.append(len(args[0]))
        return call(*args)

    monkeypatch.setattr(measured.asyncio, "to_thread", to_thread)
    charges: dict[str, Any] = {"stuffing": 1.0, "copying": 1.0}
    format_score(TEXT, **charges)
    format_score(TEXT * 100, repetition=1.0)
    assert hops == []
    format_score(TEXT * 100, **charges)
    assert hops == [len(TEXT) * 100]


@pytest.mark.parametrize(
    "loop",
    [
        "the old man walked down to the river in the morning. " * 200,
        "My essay\n\n" + "- Buy fresh bread and some milk at the shop\n" * 200,
        "The cat sat down. " * 300,
        "and so he went on and on and on, " * 200,
        "他走了很久，又走了很久，" * 200,
    ],
)
def test_a_loop_is_charged_whatever_parts_its_sentences(loop):
    assert format_score(loop, repetition=1.0) < 0.1


@pytest.mark.parametrize(("share", "charged"), [(0.0, 0.0), (0.3, 0.0), (0.65, 0.5), (1.0, 1.0)])
def test_natural_repetition_of_ngrams_is_free(monkeypatch, share, charged):
    monkeypatch.setattr(measured, "repeated_ngram_share", lambda text: share)
    assert measured.looping_share("text") == pytest.approx(charged)


def answer_score(text, answer, form, *, is_cut_off=False):
    row = PromptRow(id="p1", prompt="Which?", meta={"answer": answer})
    response = ParsedResponse("", text, True)._replace(is_cut_off=is_cut_off)
    return asyncio.run(AnswerReward(form).score(row, response=response, reference="", step=1)).score


def test_a_stated_answer_is_worth_1_and_everything_else_0():
    assert answer_score("Answer: (b)", "B", "choice") == 1
    assert answer_score("Answer: A", "B", "choice") == 0
    assert answer_score("B", "B", "choice") == 0, "it is not stated as an answer"
    assert answer_score("The answer is 0.50.", 0.5, "number") == 1
    assert answer_score("The answer is 3.", 3, "number") == 1
    assert answer_score("Answer: rhine", ["Rhine", "The Rhine"], "exact") == 1
    assert answer_score("", "B", "choice") == 0


def test_a_verdict_is_the_last_letter_in_double_brackets():
    assert answer_score("[[A]] has the better end, but [[B]]", "B", "verdict") == 1
    assert answer_score("[[C]]", "B", "verdict") == 0, "a tie about a decided pair"
    assert answer_score("[[A]]", "C", "verdict") == 0, "a decision about a tied pair"
    assert answer_score("The answer is B.", "B", "verdict") == 0, "no verdict"
    assert answer_score("[[B]]", "B", "verdict", is_cut_off=True) == 0
    with pytest.raises(ValueError, match="of form verdict"):
        expected_answers(PromptRow(id="p", prompt="?", meta={"answer": "D"}), "verdict")


def test_a_response_that_was_cut_off_has_not_stated_its_final_answer():
    assert answer_score("Answer: B", "B", "choice", is_cut_off=True) == 0


@pytest.mark.parametrize("answer", [None, "", [], ["A", None], {"a": 1}, True, "A or B", "river"])
def test_an_expected_answer_that_is_not_well_formed_is_refused(answer):
    with pytest.raises(ValueError, match=r"meta\.answer: the answer reward needs an answer of form choice"):
        expected_answers(PromptRow(id="p", prompt="?", meta={"answer": answer}), "choice")


def test_a_prompt_without_an_answer_is_refused():
    with pytest.raises(ValueError, match="got None"):
        expected_answers(PromptRow(id="p", prompt="?"), "number")
