"""The same words are the same text; near is a true similarity, not one that hashes suggest."""

import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longform.selection.duplicates import HASHES, MIN_RECALL, DedupIndex, TokenizedText, bands_and_rows

WORDS = ["".join(random.Random(i).choices("abcdefghij", k=6)) for i in range(4000)]


def _text(seed, count=100):
    return random.Random(seed).choices(WORDS, k=count)


def _similarity(first, second):
    """Of runs of three words, by plain sets."""
    one, other = ({tuple(it[i : i + 3]) for i in range(len(it) - 2)} for it in (first, second))
    return len(one & other) / len(one | other)


def _changed(words, seed, count):
    source, changed = random.Random(seed), list(words)
    for place in source.sample(range(len(words)), count):
        changed[place] = f"new{seed}x{place}"
    return changed


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Write a story, please!", "write  a STORY\nplease"),
        ("写一篇关于春天的作文。", "写一篇关于春天的作文！"),
        ("写一篇２０００字的作文", "写一篇 2000 字的作文"),
        ("写一篇关于梦想与未来的散文，不少于八百字。", "寫一篇關於夢想與未來的散文，不少於八百字。"),
        ("他看着远处著名的山岭", "他看著遠處著名的山嶺"),
    ],
)
def test_case_marks_and_white_space_do_not_count(first, second):
    seen = DedupIndex(0.8)
    seen.add("a", TokenizedText(first))
    assert seen.find_same(TokenizedText(second)) == "a"


@pytest.mark.parametrize(("first", "second"), [("Write a story.", "Write a poem."), ("写春天", "写秋天"), ("a", "b")])
def test_other_words_are_another_text(first, second):
    seen = DedupIndex(0.8)
    seen.add("a", TokenizedText(first))
    assert seen.find_same(TokenizedText(second)) is None
    assert seen.find_near(TokenizedText(second)) is None


def test_the_first_of_equal_texts_is_named():
    seen = DedupIndex(0.8)
    for id_ in ("a", "b"):
        seen.add(id_, TokenizedText("write a story"))
    assert seen.find_same(TokenizedText("write a story")) == "a"
    assert seen.find_near(TokenizedText("write a story")) == ("a", 1.0)


def test_near_texts_are_found_and_less_like_ones_are_not():
    seen, originals = DedupIndex(0.8), [_text(i) for i in range(200)]
    for i, words in enumerate(originals):
        seen.add(str(i), TokenizedText(" ".join(words)))
    found = missed = 0
    for i, words in enumerate(originals):
        for count in (1, 2, 3, 4, 6, 9):
            changed = _changed(words, i, count)
            likeness, true = seen.find_near(TokenizedText(" ".join(changed))), _similarity(words, changed)
            if true < 0.8:
                assert likeness is None
            elif likeness:
                assert likeness.id == str(i)
                assert likeness.similarity == pytest.approx(true, abs=1e-3)
                found += 1
            else:
                missed += 1
    assert found > 400
    assert missed <= 0.01 * (found + missed)


def test_a_near_text_is_found_among_many_of_one_template():
    seen, template = DedupIndex(0.8), _text(0, 120)
    for i in range(400):
        seen.add(str(i), TokenizedText(" ".join([*template, *_text(i + 1, 60)])))
    copy = TokenizedText(" ".join([*template, *_text(351, 60)[:-1], "other"]))
    likeness = seen.find_near(copy)
    assert likeness is not None
    assert likeness.id == "350"


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=60), st.lists(st.text(min_size=1, max_size=60), max_size=5))
def test_what_is_found_is_near(text, others):
    seen = DedupIndex(0.6)
    kept = {}
    for i, other in enumerate(others):
        if (wording := TokenizedText(other)).units:
            seen.add(str(i), wording)
            kept[str(i)] = wording
    wording = TokenizedText(text)
    if not wording.units:
        return
    likeness = seen.find_near(wording)
    if likeness:
        ours, theirs = set(wording.shingles.tolist()), set(kept[likeness.id].shingles.tolist())
        assert likeness.similarity == len(ours & theirs) / len(ours | theirs) >= 0.6
    same = seen.find_same(wording)
    assert (same is not None) == any(it.units == wording.units for it in kept.values())


@pytest.mark.parametrize("near", [0.5, 0.7, 0.8, 0.9, 0.97, 1.0])
def test_pairs_at_the_threshold_meet_as_often_as_promised(near):
    bands, rows = bands_and_rows(near)
    assert bands * rows <= HASHES
    assert 1 - (1 - near**rows) ** bands >= MIN_RECALL


def test_signatures_are_the_same_in_every_process():
    command = (
        "from longform.selection import duplicates as d; print(d.TokenizedText('a b c d 写作').signature.tolist())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", command], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
