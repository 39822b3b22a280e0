"""Where measures find something in a text, and where two texts differ."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from longform.text.repetition import copied_share, stuffed_share, units
from longform.text.spans import (
    copied_spans,
    differences,
    repeated_sentence_spans,
    stuffed_spans,
    unit_spans,
)

TEXTS = st.text(alphabet=st.sampled_from("aBİßǅΣ ’'.,!?\n\r雪人落在 _9-“”…"), max_size=80)


@given(TEXTS)
def test_every_unit_has_the_place_where_it_stands(text: str) -> None:
    spans = unit_spans(text)
    # The lower case of İ is two characters, one of them a mark; that of Σ depends on its neighbours.
    is_special = "İ" in text or "Σ" in text
    assert [text[start:end].lower() for start, end in spans] == units(text) or is_special
    assert all(one.end <= other.start or is_special for one, other in pairwise(spans))


def test_a_copied_passage_is_marked_from_its_first_to_its_last_word() -> None:
    source = "The keeper lit the lamp at dusk and counted the ships that passed along the coast."
    answer = "Nobody knows. THE KEEPER lit the lamp at dusk, and counted the ships that drowned."
    (span,) = copied_spans(answer, source)
    assert answer[span.start : span.end] == "THE KEEPER lit the lamp at dusk, and counted the ships that"


@given(TEXTS, TEXTS)
def test_there_are_copied_passages_exactly_where_the_share_is_above_zero(answer: str, source: str) -> None:
    if len(unit_spans(answer)) == len(units(answer)):
        assert bool(copied_spans(answer, source)) == (copied_share(answer, source) > 0)


def test_stuffed_words_are_marked_beyond_their_natural_use() -> None:
    text = "glow " * 30 + "the sea is wide and old"
    marked = [text[start:end] for start, end in stuffed_spans(text)]
    assert set(marked) == {"glow"}
    assert len(marked) / len(units(text)) == stuffed_share(text)


def test_a_sentence_that_returns_is_marked_at_its_second_place() -> None:
    text = (
        "The old lighthouse stood alone on the cliff.\r\nA storm came.\r\nThe old lighthouse stood alone on the cliff."
    )
    (span,) = repeated_sentence_spans(text)
    assert span.start == text.rindex("The old")
    assert text[span.start : span.end] == "The old lighthouse stood alone on the cliff."


def test_a_sentence_that_returns_over_another_line_break_is_marked_where_it_stands() -> None:
    sentence = "The keeper of the old lighthouse counted\r\nthe ships that passed along the coast."
    text = f"{sentence}\r\n\r\nNobody came. {sentence}"
    (span,) = repeated_sentence_spans(text)
    assert text[span.start : span.end].split() == sentence.split()
    assert span.start > len(sentence)


def test_equal_texts_do_not_differ() -> None:
    assert differences("One two.", "One two.") == ([], [], 1.0)


def test_a_changed_word_is_the_difference_on_both_sides() -> None:
    one, other = "She walked along the river to the mill.", "She walked along the canal to the mill."
    found = differences(one, other)
    assert [one[start:end] for start, end in found.one] == ["river"]
    assert [other[start:end] for start, end in found.other] == ["canal"]
    assert found.common == 16 / 18


def test_texts_without_a_common_passage_differ_throughout() -> None:
    found = differences("Alpha beta gamma delta.", "One two three four.")
    assert found.common == 0.0
    assert found.one == [(0, 23)]


def test_chinese_differs_by_characters() -> None:
    one, other = "雪落在街上，很安静。", "雨落在街上，很安静。"
    found = differences(one, other)
    assert [one[start:end] for start, end in found.one] == ["雪"]
