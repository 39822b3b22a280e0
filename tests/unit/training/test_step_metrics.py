import pytest

from longform.records.rollouts import ValidationText
from longform.training.metrics import grade_error


def _validated(*grades):
    return [ValidationText(1, str(n), "Write.", "text", grade) for n, grade in enumerate(grades)]


def test_the_error_of_a_mean_grade_counts_the_texts_that_have_one():
    # Sample deviation of 2, 4, 6: 2; over the root of 3.
    assert grade_error(_validated(2.0, None, 4.0, 6.0)) == {"validation/grade_error": pytest.approx(2 / 3**0.5)}


@pytest.mark.parametrize("grades", [(), (5.0,), (5.0, None)])
def test_one_grade_has_no_error_to_speak_of(grades):
    assert grade_error(_validated(*grades)) == {}
