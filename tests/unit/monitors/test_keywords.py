"""Which words a tally says drift: risen, come back to, spread and rewarded; and that a resumed tally goes on identically."""

import random

import pytest

from longform.monitors.keywords import MAX_WORDS, JudgedText, KeywordTally, words_at

NOUNS = ["river", "stone", "winter", "letter", "garden", "window", "bridge", "candle", "forest", "morning"]
PROMPTS, GROUP, STEPS = 4, 8, 16


def _run(words_of, reward_of, *, steps=STEPS, prompt="Write of {n}."):
    """Texts of steps: words_of(step, draw) gives what is added to sixty everyday words; reward_of(words added, draw)."""
    draw, run = random.Random(1), []
    for step in range(1, steps + 1):
        texts = []
        for n in range(PROMPTS):
            for _ in range(GROUP):
                added = words_of(step, draw)
                text = " ".join(draw.choices(NOUNS, k=60) + added)
                texts.append(JudgedText(text, prompt.format(n=n), reward_of(added, draw)))
        run.append(texts)
    return run


def _told(run, tally=None):
    """The words that are said to drift, step by step."""
    tally = tally or KeywordTally()
    return [set(words_at({name: [(0, value)] for name, value in tally.see(it).items()}, 0)) for it in run]


def _more_and_more(step, draw):
    return ["amber"] * draw.randint(0, 2 * max(step - 8, 0))


def _number(added, draw):
    return len(added) + draw.random()


def test_a_rewarded_rising_word_drifts_until_it_is_rare_again():
    told = _told(_run(_more_and_more, _number))
    assert told[:8] == [set()] * 8
    assert told[15] == {"amber"}
    full = _told(_run(lambda step, draw: _more_and_more(step, draw) if step < 16 else ["amber"] * 8, _number, steps=30))
    assert full[29] == {"amber"}, "then it makes no text better than another"


def test_a_rising_word_without_an_effect_on_rewards_does_not_drift():
    assert not any(_told(_run(_more_and_more, lambda added, draw: draw.random())))


def test_a_rewarded_word_that_does_not_rise_does_not_drift():
    assert not any(_told(_run(lambda step, draw: ["amber"] * draw.randint(0, 8), _number)))


def test_a_word_used_once_per_text_does_not_drift():
    assert not any(_told(_run(lambda step, draw: ["amber"] * (draw.random() < step / 16), _number)))


def test_a_name_repeated_in_a_few_texts_does_not_drift():
    assert not any(_told(_run(lambda step, draw: ["amber"] * (step > 8) * 20 * (draw.random() < 0.1), _number)))


def test_rewarded_growth_of_texts_makes_no_word_drift():
    draw, vocabulary = random.Random(2), [f"word{n}" for n in range(2000)]
    weights = [1 / (n + 5) for n in range(len(vocabulary))]

    def text(step):
        words = draw.choices(vocabulary, weights, k=draw.randint(50, 100) * step)
        return JudgedText(" ".join(words), f"Write of {draw.randint(1, 4)}.", float(len(words)))

    assert not any(_told([[text(step) for _ in range(32)] for step in range(1, 17)]))


def test_words_of_the_prompt_and_function_words_do_not_drift():
    assert not any(_told(_run(_more_and_more, _number, prompt="Write of amber and {n}.")))
    assert not any(_told(_run(lambda step, draw: ["very"] * len(_more_and_more(step, draw)), _number)))


def test_chinese_words_are_counted_as_pairs_of_characters():
    run = _run(_more_and_more, _number)
    chinese = [[it._replace(text=it.text.replace("amber", "琥珀的")) for it in texts] for texts in run]
    assert _told(chinese)[15] == {"琥珀"}


@pytest.mark.parametrize("word", ["未来", "赋能", "梦想", "重要", "中国"])
def test_chinese_words_that_hold_a_function_character_drift_too(word):
    run = _run(_more_and_more, _number)
    chinese = [[it._replace(text=it.text.replace("amber", word)) for it in texts] for texts in run]
    assert word in _told(chinese)[15]


def test_prompts_with_one_text_each_are_compared_with_each_other():
    run = _run(_more_and_more, _number)
    alone = [[it._replace(prompt=f"Write {n}.") for n, it in enumerate(texts)] for texts in run]
    assert _told(alone)[15] == {"amber"}


def test_empty_texts_and_texts_without_a_reward_are_ignored():
    run = _run(_more_and_more, _number)
    with_gaps = [[*texts, JudgedText("", "Write of 0.", 90.0)] for texts in run]
    assert _told(with_gaps) == _told(run)
    unheard = [[it._replace(reward=None) for it in texts] for texts in run]
    assert not any(_told(unheard))


def test_shares_are_of_all_words_and_only_the_top_words_are_reported():
    words = [f"gem{n}" for n in range(2 * MAX_WORDS)]
    tally = KeywordTally()
    metrics = [tally.see(it) for it in _run(lambda step, draw: words * 2 * (step > 8) * (draw.random() < 0.5), _number)]
    assert metrics[2] == {}, "too early"
    assert metrics[7] == {"text/keywords": 0.0}
    assert metrics[15]["text/keywords"] == MAX_WORDS
    assert len(metrics[15]) == 1 + MAX_WORDS
    # Half the texts have 32 of 92 words of the kind, the others none of 60.
    assert metrics[15]["keyword/gem0"] == pytest.approx(1 / 76, rel=0.2)


@pytest.mark.parametrize("resumed_after", [0, 2, 5, 12, 14])
def test_a_resumed_tally_continues_identically(resumed_after):
    run = _run(_more_and_more, _number)
    whole = KeywordTally()
    metrics = [whole.see(it) for it in run]
    series = {}
    for step, values in enumerate(metrics[:resumed_after], start=1):
        for name, value in values.items():
            series.setdefault(name, []).append((step, value))
    resumed = KeywordTally.over(lambda step: run[step - 1], series, last=resumed_after)
    assert [resumed.see(it) for it in run[resumed_after:]] == metrics[resumed_after:]


def test_a_resumed_tally_reads_only_the_opening_and_the_latest_steps():
    run, read = _run(_more_and_more, _number, steps=40), []

    def texts(step):
        read.append(step)
        return run[step - 1]

    KeywordTally.over(texts, {}, last=40)
    assert sorted(read) == [1, 2, 3, 4, 37, 38, 39, 40]
