"""The final answer of a response: many phrasings, hostile ones, and what is no answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost import assert_linear
from longform.text.final_answers import final_answer, normalise_answer


@pytest.mark.parametrize(
    "text",
    [
        "Answer: B",
        "answer: b",
        "ANSWER: (B)",
        "Answer：B",
        "Final answer: B.",
        "The answer is B.",
        "The correct answer is (B).",
        "So the final answer is: B",
        "**Answer:** B",
        "**Answer**: **B**",
        "Answer: [B]",
        "Answer: B) the river Rhine",
        "Answer: (B) the river Rhine",
        "Answer: B. The river Rhine",
        "The answer is B. It names the river.",
        "Therefore \\boxed{B}.",
        "Therefore $\\boxed{\\text{B}}$.",
        "Answer: $B$",
        "Answer = B",
        "答案：B",
        "答案是B。",
        "最终答案为 B",
        "正确答案: (B)",
        "Ａｎｓｗｅｒ： Ｂ",
        "Answer: A\nOn reflection, that is wrong.\nAnswer: B",
        "\\boxed{A} is tempting.\nThe answer is B",
        "The answer is A?\n\\boxed{B}",
        "Answer: B\nAnswer: I am not sure whether I can say more",
        "Answer: B\r\n",
        "**Answer:**\n\n(B)\n\nIt names the river.",
        "The answer is option B.",
        "The answer is B because A names a lake",
        "The answer is \\(B\\).",
        "答案选B",
        "答案是选项B，因为它是河",
        "Some think the answer is A. The answer is B",
    ],
)
def test_the_last_well_formed_choice_counts(text):
    assert final_answer(text, "choice") == "B"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "B",
        "I choose B",
        "Answer:",
        "Answer:\nA) red\nB) blue",
        "Answer: A or B",
        "Answer: A, B",
        "Answer: A/B",
        "Answer: A and B",
        "Answer: A) or B)",
        "Answer: (A) or (B)",
        "Answer: A. B",
        "Answer: A. Or B.",
        "Answer: AB",
        "Answer: a good choice",
        "Answer: not B",
        "The answer isB",
        "The answers are B",
        "Answer\nB",
        "\\boxed{B",
        "\\boxed{A, B}",
        "\\boxed{}",
        "Answer: 2",
    ],
)
def test_what_names_no_single_choice_is_no_answer(text):
    assert final_answer(text, "choice") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Answer: 42", "42"),
        ("The answer is 42.", "42"),
        ("The answer is 42. This is because 6 times 7 is 42.", "42"),
        ("Answer: 1,234,567", "1234567"),
        ("Answer: -3.50", "-7/2"),
        ("Answer: +7", "7"),
        ("Answer: .5", "1/2"),
        ("Answer: 1/2", "1/2"),
        ("Answer: 0.5", "1/2"),
        ("Answer: 5e-1", "1/2"),
        ("Answer: $1,200.00", "1200"),
        ("Answer: -$5", "-5"),
        ("Answer: 50%", "50"),
        ("Answer: 42 apples", "42"),
        ("Answer: 12 km per hour", "12"),
        ("Answer: 12 km/h", "12"),
        ("$\\boxed{42}$", "42"),
        ("\\boxed{42\\text{ km}}", "42"),
        ("答案是42。", "42"),
        ("答案：４２", "42"),
        ("Answer: 42\nAnswer: unknown", "42"),
        ("$\\boxed{\\frac{1}{2}}$", "1/2"),
        ("\\boxed{-\\dfrac{3}{4}}", "-3/4"),
        ("\\boxed{\\frac12}", "1/2"),
        ("\\boxed{1{,}234}", "1234"),
        ("\\boxed{1\\,234\\,567}", "1234567"),
        ("\\boxed{50\\%}", "50"),
        ("Answer: \u22125", "-5"),
        ("Answer: 007", "7"),
        ("The answer is \\(42\\).", "42"),
        ("Answer:\n42", "42"),
        ("Answer: x = -5", "-5"),
        ("Answer: 42, because 6 times 7 is 42", "42"),
        ("Answer: 42 square metres", "42"),
        ("Answer: 5€", "5"),
        ("\\boxed{42\\,\\text{km}}", "42"),
        ("\\boxed{90^{\\circ}}", "90"),
        ("\\boxed{2\\times 10^{3}}", "2000"),
        ("Answer: 2 × 10³", "2000"),
        ("Answer: 2 × 10⁻³", "1/500"),
        ("答案是42元", "42"),
        ("答案 为 3.5 公里，因为路很长", "7/2"),
    ],
)
def test_numbers_are_equal_however_they_are_written(text, value):
    assert final_answer(text, "number") == value


@pytest.mark.parametrize(
    "text",
    [
        "42",
        "Answer: about 42",
        "Answer: 10³",
        "Answer: x = 5 or x = 6",
        "Answer:\n41\n42",
        "答案是3万",
        "答案是3分之一",
        "答案是3个或4个",
        "答案是42是错的",
        "Answer: 41 or 42",
        "Answer: 41, 42",
        "Answer: 41-42",
        "Answer: 42. Or 43.",
        "Answer: 42 or forty-three",
        "Answer: 42 is wrong",
        "Answer: 1/0",
        "\\boxed{5\\frac{1}{2}}",
        "\\boxed{\\frac{1}{0}}",
        "\\boxed{\\frac{1}{2}\\frac{1}{3}}",
        "Answer: 1,23",
        "Answer: 1.2.3",
        "Answer: forty-two",
        "Answer: 4 2",
        "Answer: 1e9999999",
        "Answer: " + "9" * 500,
        "Answer: ٤٢",
        "Answer: NaN",
        "Answer: inf",
        "Answer: __import__('os')",
    ],
)
def test_what_is_not_one_number_is_no_answer(text):
    assert final_answer(text, "number") is None


@pytest.mark.parametrize(
    "text",
    [
        "Answer: St. Louis",
        "answer:   st.  louis.",
        "The answer is **St. Louis**",
        'The final answer is "St. Louis".',
        "\\boxed{\\text{St. Louis}}",
        "Answer: Paris\nAnswer: ST. LOUIS",
    ],
)
def test_an_exact_answer_is_the_rest_of_its_line(text):
    assert final_answer(text, "exact") == "st. louis"


def test_an_exact_answer_is_not_a_text():
    assert final_answer("Answer: " + "word " * 60, "exact") is None
    assert final_answer("Answer: **", "exact") is None
    assert final_answer("St. Louis", "exact") is None


def test_an_expected_answer_is_normalised_in_the_same_way():
    assert normalise_answer("(b)", "choice") == "B"
    assert normalise_answer("0.50", "number") == normalise_answer("1/2", "number")
    assert normalise_answer(" St. Louis ", "exact") == "st. louis"
    assert normalise_answer("B or C", "choice") is None


@given(st.text(), st.sampled_from(["exact", "choice", "number"]))
def test_no_text_makes_it_fail(text, form):
    final_answer(text, form)
    final_answer(f"Answer: {text}", form)
    final_answer(f"\\boxed{{{text}}}", form)


@pytest.mark.parametrize(
    "piece",
    [
        "\\boxed{",
        "Answer: ",
        "answer is ",
        "答案",
        "{",
        "(A) ",
        "1,",
        "\\text{",
        "**",
        "answer **",
        "A. ",
        "$ ",
        "answer:\n",
        "³",
    ],
)
def test_it_takes_linear_time(piece):
    def read(length: int) -> None:
        for form in ("exact", "choice", "number"):
            final_answer(piece * (length // len(piece)), form)
            final_answer("Answer: " + piece * (length // len(piece)), form)

    assert_linear(read, 5_000)
