import statistics

import numpy as np
import pytest

from longform.judging.pointwise import DIMENSIONS
from longform.miniature.calibration import TARGETS, equal_scores, judge_figures, prompt_share
from longform.miniature.judge import (
    CALIBRATED,
    EXAMINER,
    JUDGE,
    WORD_BONUS,
    grade,
    measure,
    pairwise_verdict,
    pointwise_score,
    second_judge,
)
from longform.miniature.world import parse_request, prompts
from longform.miniature.writers import LEVELS, write_story

REQUESTS = [parse_request(prompt.request) for prompt in prompts(seed=31, split="train", count=160)]
TEXTS = [[write_story(request, level=level) for level in LEVELS] for request in REQUESTS]
EXACT = JUDGE._replace(noise=0.0, position_bias=0.0, tie_band=0.0)


def scores(style, level=1):
    return np.array([pointwise_score(it, row[level], style) for it, row in zip(REQUESTS, TEXTS, strict=True)])


def test_an_offset_is_shared_by_the_texts_of_a_prompt_and_cancels_in_a_comparison():
    style = EXACT._replace(prompt_offset=0.3)
    offsets = [scores(style, level) - scores(EXACT, level) for level in (0, 1)]
    inside = (scores(EXACT, 1) < 8) & (scores(EXACT, 0) > 2)  # away from the limits of the scale
    assert offsets[0][inside] == pytest.approx(offsets[1][inside])
    assert np.std(offsets[0][inside]) == pytest.approx(0.3, rel=0.3)
    for request, (one, other, *_) in zip(REQUESTS, TEXTS, strict=True):
        assert pairwise_verdict(request, one, other, style) == pairwise_verdict(request, one, other, EXACT)


def test_a_squeeze_maps_the_scale_onto_its_range():
    plain, squeezed = scores(EXACT), scores(EXACT._replace(squeeze=(6.0, 9.0)))
    assert squeezed == pytest.approx(6 + (plain - 1) / 3)


def test_integer_scores_are_rounded_last():
    plain, whole = scores(EXACT._replace(squeeze=(6.0, 9.0))), scores(EXACT._replace(squeeze=(6.0, 9.0), integers=True))
    assert set(whole.tolist()) <= {6.0, 7.0, 8.0, 9.0}
    assert np.abs(whole - plain).max() <= 0.5


def test_comparisons_may_have_an_error_of_their_own():
    wrong = {}
    for noise in (None, 0.0, 3.0):
        style = EXACT._replace(noise=0.4, pairwise_noise=noise)
        verdicts = [pairwise_verdict(it, row[0], row[2], style) for it, row in zip(REQUESTS, TEXTS, strict=True)]
        truth = [pairwise_verdict(it, row[0], row[2], EXACT) for it, row in zip(REQUESTS, TEXTS, strict=True)]
        wrong[noise] = sum(one != other for one, other in zip(verdicts, truth, strict=True))
    assert wrong[0.0] == 0 < wrong[None] < wrong[3.0]
    assert (scores(JUDGE._replace(pairwise_noise=3.0)) == scores(JUDGE)).all()


def test_the_second_judge_errs_anew_and_likes_long_texts():
    style = second_judge(JUDGE)
    assert style == JUDGE._replace(seed=1, word_bonus=WORD_BONUS)
    request = REQUESTS[0]
    text = TEXTS[0][1]
    longer = f"{text} {' '.join(text.split()[:20])}"
    exact = EXACT._replace(word_bonus=WORD_BONUS)
    gain = pointwise_score(request, longer, exact) - pointwise_score(request, longer, EXACT)
    before = pointwise_score(request, text, exact) - pointwise_score(request, text, EXACT)
    assert gain - before == pytest.approx(2 * WORD_BONUS)
    assert pairwise_verdict(request, text, text, style._replace(noise=0.0, position_bias=0.0)) == "C"


def test_the_calibrated_judge_errs_as_real_judges_do():
    figures, _ = judge_figures(REQUESTS, TEXTS, CALIBRATED)
    assert figures.correlation == pytest.approx(TARGETS.correlation, abs=0.08)
    assert figures.accuracy == pytest.approx(TARGETS.accuracy, abs=0.05)
    assert figures.prompt_share == pytest.approx(TARGETS.prompt_share, abs=0.08)
    assert figures.low == pytest.approx(TARGETS.low, abs=0.4)
    assert figures.high == pytest.approx(TARGETS.high, abs=0.4)


def test_a_judge_without_errors_has_perfect_figures():
    figures, sizes = judge_figures(REQUESTS[:40], TEXTS[:40], EXAMINER._replace(tie_band=0.0))
    assert figures.correlation > 0.999
    assert figures.accuracy == 1.0
    assert all(it.accuracy == 1.0 and it.ties == 0.0 for it in sizes if it.pairs)


def test_the_accuracy_grows_with_the_size_of_the_difference():
    _, sizes = judge_figures(REQUESTS, TEXTS, CALIBRATED)
    assert sizes[0].accuracy < sizes[-2].accuracy < sizes[-1].accuracy
    assert sum(it.pairs for it in sizes) == len(REQUESTS) * 6


def test_the_share_of_the_prompt_is_found_again():
    draws = np.random.default_rng(0)
    made = draws.normal(0, 1, (2000, 1)) + draws.normal(0, 1, (1, 40)) * 0 + draws.normal(0, 3, (2000, 40))
    assert prompt_share(made) == pytest.approx(0.1, abs=0.01)
    assert prompt_share(np.ones((3, 3))) == 0.0


def test_equal_scores_are_counted_within_prompts():
    assert equal_scores(np.array([[1.0, 1.0, 2.0], [3.0, 3.0, 3.0]])) == pytest.approx(4 / 6)


def test_dimensions_of_the_calibrated_judge_are_integers():
    values = [pointwise_score(REQUESTS[0], TEXTS[0][0], CALIBRATED, dimension=name) for name in DIMENSIONS]
    assert all(value == round(value) for value in values)
    assert statistics.mean(values) != grade(measure(REQUESTS[0], TEXTS[0][0]), CALIBRATED)
