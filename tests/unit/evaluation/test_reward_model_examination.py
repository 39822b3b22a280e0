import math
import random

import numpy as np
import pytest

from longform.evaluation.reward_model import calibrate, examine, favoured_words, insert
from longform.records.schemas import Preference
from longform.text.words import count_words


def pair(prompt, chosen, rejected):
    return Preference(prompt=prompt, chosen=chosen, rejected=rejected)


def story(words, of="tree"):
    return " ".join([of] * words)


PAIRS = [
    pair("one", story(10), story(5)),
    pair("one", story(4), story(8)),
    pair("two", story(20), story(19)),
    pair("two", story(30), story(10)),
    pair("three", story(6), story(6, of="stone")),
]


def by_length(texts):
    return [float(count_words(text)) for _, text in texts]


def test_a_model_that_scores_by_length_is_right_where_longer_is_better_and_that_is_seen():
    found = examine(by_length, PAIRS, spread=1.0)
    assert (found.pairs, found.prompts) == (5, 3)
    # Three pairs right, one wrong, one tie of equal lengths.
    assert found.accuracy.estimate == pytest.approx(3.5 / 5)
    assert found.longer_wins == found.accuracy
    assert found.length_correlation.estimate == pytest.approx(1)
    # Of equal length are 20 and 19, and 6 and 6: one right, one tie.
    assert found.equal_length_pairs == 2
    assert found.equal_length_accuracy is not None
    assert found.equal_length_accuracy.estimate == pytest.approx(0.75)


def test_a_model_that_knows_the_chosen_texts_is_always_right_whatever_their_length():
    chosen = {(it.prompt, it.chosen) for it in PAIRS}
    found = examine(lambda texts: [float((it.request, text) in chosen) for it, text in texts], PAIRS, spread=1.0)
    assert found.accuracy.estimate == 1
    assert found.longer_wins.estimate < 1


def test_the_calibration_is_that_of_the_raw_differences():
    # sigmoid(0) = .5, sigmoid(1) = .731, sigmoid(3) = .953.
    bins = calibrate(np.array([0.0, 1.0, 1.0, 3.0]), np.array([0.5, 1.0, 0.0, 1.0]))
    assert [(it.low, it.pairs, it.observed) for it in bins] == [(0.5, 1, 0.5), (0.7, 2, 0.5), (0.9, 1, 1.0)]
    assert [it.expected for it in bins] == pytest.approx([0.5, 0.7311, 0.9526], abs=1e-4)


def test_the_calibration_error_weighs_the_bins_by_their_pairs():
    pairs = [pair(str(place), "a", "b") for place in range(4)]

    def score(texts):
        # A raw lead of 1 in three pairs, of -1 in one: sigmoid(1) = .731 expected, .75 observed.
        return [(-0.5 if prompt.request == "3" else 0.5) * (text == "a") for prompt, text in texts]

    found = examine(score, pairs, spread=2.0)
    (only,) = found.calibration
    assert (only.low, only.pairs, only.observed) == (0.7, 4, 0.75)
    assert only.expected == pytest.approx(1 / (1 + math.exp(-1)))
    assert found.calibration_error == pytest.approx(0.75 - 0.7311, abs=1e-4)


def test_a_word_that_alone_raises_the_score_is_found_and_one_that_does_nothing_is_not():
    pairs = [
        pair(f"request {place}", f"quantum river {place} flows softly", f"the stone {place} rests")
        for place in range(8)
    ]

    def score(texts):
        return [0.5 * text.split().count("quantum") for _, text in texts]

    found = examine(score, pairs, spread=1.0)
    assert [it.word for it in found.keywords] == ["quantum"]
    assert found.keywords[0].shift.estimate == pytest.approx(1.5), "three insertions of 0.5 each"
    assert found.probed > 3


def test_a_model_that_only_likes_length_or_nothing_likes_no_word():
    pairs = [
        pair(f"request {place}", f"quantum river {place} flows softly", f"the stone {place} rests here")
        for place in range(20)
    ]
    pairs += [it.model_copy(update={"chosen": it.rejected, "rejected": it.chosen}) for it in pairs[:8]]
    assert examine(by_length, pairs, spread=1.0).keywords == []
    for seed in range(3):

        def score(texts, seed=seed):
            return [random.Random(f"{seed}/{text}").gauss(0, 1) for _, text in texts]

        assert examine(score, pairs, spread=1.0, seed=seed).keywords == []


def test_probed_words_are_those_that_more_chosen_than_rejected_texts_use():
    pairs = [pair("p", "moon moon river", "stone"), pair("q", "moon stone", "stone"), pair("r", "sky", "moon")]
    pairs.append(pair("s", "stone", "cloud"))
    assert favoured_words(pairs, most=9) == (["moon", "river", "sky"], ["stone", "cloud"])


def test_chinese_words_are_probed_by_pairs_of_characters_and_put_between_characters():
    favoured, _ = favoured_words([pair("写", "月亮高", "石头")], most=9)
    assert favoured[0] in {"月亮", "亮高"}
    text = insert("今天天气很好我们去公园", "月亮", FirstPlaces())
    assert text == "月亮月亮月亮今天天气很好我们去公园"


def test_an_inserted_word_stands_between_words():
    assert insert("one two", "moon", FirstPlaces()) == "moon moon moon one two"


def test_no_pairs_are_refused():
    with pytest.raises(ValueError, match="at least one pair"):
        examine(by_length, [], spread=1.0)


class FirstPlaces(random.Random):
    def randint(self, a, b):
        return a


def test_progress_has_a_total_that_is_reached():
    told = []
    found = examine(by_length, PAIRS, spread=1.0, words=3, texts=2, on_progress=lambda *news: told.append(news))
    done, total = told[-1]
    assert done == total > 2 * len(PAIRS)
    assert {total for _, total in told} == {total}
    assert found.probed == 1  # "tree"


def test_a_budget_draws_pairs_by_the_seed():
    drawn = [examine(by_length, PAIRS, spread=1.0, max_pairs=3, seed=seed) for seed in (0, 0, 1)]
    assert [it.pairs for it in drawn] == [3, 3, 3]
    assert drawn[0].accuracy == drawn[1].accuracy
