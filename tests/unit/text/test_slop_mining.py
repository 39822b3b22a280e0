"""Phrases mined against human text: what is overused, what is not, and how much of a text is listed."""

import random

import pytest

from longform.text.slop_mining import MinedPhrase, listed_share, mine_phrases

PLAIN = ["boat", "went", "dawn", "came", "back", "fish", "whole", "village", "share", "noon", "the", "out", "with"]


def _plain(seed):
    return random.Random(seed).sample(PLAIN, len(PLAIN))


def _text(seed, *phrases):
    return " ".join([*_plain(seed), *phrases])


def _mine(model, human):
    return {it.phrase for it in mine_phrases(model, human, is_chinese=False)}


HUMAN = [_text(n, "a lantern" if n % 20 == 0 else "") for n in range(60)]


def test_what_the_model_repeats_over_requests_is_listed_with_what_it_stands_in():
    model = {f"p{n}": [_text(100 + n, "tapestry of whispered secrets")] for n in range(30)}
    found = _mine(model, HUMAN)
    assert {("tapestry",), ("whispered", "secrets"), ("tapestry", "of", "whispered")} <= found
    assert not any(set(it) <= set(PLAIN) for it in found)


def test_a_phrase_of_one_request_or_of_people_too_is_not_listed():
    of_one = {f"p{n}": [_text(200 + n, "zeppelin") if n == 0 else _text(n)] * 20 for n in range(10)}
    assert ("zeppelin",) not in _mine(of_one, HUMAN)
    shared = {f"p{n}": [_text(300 + n, "tapestry")] for n in range(30)}
    assert _mine(shared, [_text(n, "tapestry") for n in range(30)]) == set()


def test_figures_are_per_million_words_and_the_most_certain_come_first():
    model = {f"p{n}": [_text(400 + n, "tapestry" if n % 2 else "tapestry loom")] for n in range(30)}
    found = [it for it in mine_phrases(model, HUMAN, is_chinese=False) if len(it.phrase) == 1]
    assert [it.phrase for it in found] == [("tapestry",), ("loom",)]
    assert isinstance(found[0], MinedPhrase) and found[0].keyness > found[1].keyness > 15.1
    words = 30 * (len(PLAIN) + 1) + 15
    assert found[0].model == pytest.approx(1e6 * 30 / words) and found[0].human == 0


def test_chinese_is_mined_in_characters():
    model = {f"p{n}": [f"他心中涌起一股暖流{n}。"] for n in range(30)}
    found = mine_phrases(model, [f"他走到河边看船{n}。" for n in range(30)], is_chinese=True)
    assert ("暖", "流") in {it.phrase for it in found}
    assert {len(it.phrase) for it in found} <= {2, 3, 4}


def test_the_share_counts_each_word_once():
    phrases = frozenset({("tapestry",), ("a", "tapestry", "of")})
    assert listed_share("A tapestry of light, and bread.", phrases, (1, 3)) == pytest.approx(3 / 6)
    assert listed_share("", phrases, (1, 3)) == listed_share("bread", phrases, (1, 3)) == 0.0
