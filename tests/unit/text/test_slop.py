"""Stock words and phrases against counts by hand, and a model's pet words."""

from hypothesis import given
from hypothesis import strategies as st

from longform.text.function_words import FUNCTION_WORDS
from longform.text.slop import MAX_PET_WORDS, count_stock, pet_words
from longform.text.stock_phrases import COMMON_WORDS, PAIRS, TRIPLES, WORDS


def test_words_pairs_and_triples_weigh_one_two_and_eight():
    assert count_stock("The cat sat down.") == (0, 4)
    assert count_stock("A TAPESTRY here").weighted == 1
    assert count_stock("Her eyes widened.").weighted == 2
    assert count_stock("It sent a shiver up.").weighted == 8
    mixed = count_stock("Her eyes widened; a tapestry of lies.")  # pair 2, word 1, triple "a tapestry of" 8
    assert mixed == (11, 7)


def test_a_text_without_a_word_has_none():
    assert count_stock("") == (0, 0)
    assert count_stock("字字字").weighted == 0


def test_typographic_marks_and_line_separators_part_words():
    assert count_stock("couldn’t help\u2028shimmering").weighted == 8 + 1


def test_the_lists_hold_what_can_be_found():
    assert all(word == word.lower() and word.isalpha() for word in WORDS | COMMON_WORDS)
    assert {len(pair) for pair in PAIRS} == {2}
    assert {len(triple) for triple in TRIPLES} == {3}
    for phrase in PAIRS | TRIPLES:
        assert count_stock(" ".join(phrase)).weighted >= 2


def test_a_pet_word_recurs_across_prompts_and_is_not_common():
    texts = {
        "1": ["Marlow Marlow Marlow said the door the door the door, oak oak oak oak oak oak"],
        "2": ["Marlow marlow MARLOW said; cellar cellar cellar cellar cellar cellar cellar", "said said said said"],
    }
    assert pet_words(texts) == ["marlow"]  # oak is short, cellar of one prompt, said and door common
    assert pet_words({"1": texts["1"]}) == []


def test_five_times_are_not_enough():
    assert pet_words({"1": ["marlow " * 3], "2": ["marlow " * 2]}) == []
    assert pet_words({"1": ["marlow " * 3], "2": ["marlow " * 3]}) == ["marlow"]


@given(st.dictionaries(st.text(max_size=3), st.lists(st.text("abcd ", max_size=200), max_size=3), max_size=4))
def test_pet_words_are_bounded_and_never_function_words(texts):
    found = pet_words(texts)
    assert len(found) <= MAX_PET_WORDS
    assert len(set(found)) == len(found)
    assert not FUNCTION_WORDS & set(found)
