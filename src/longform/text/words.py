r"""Counting words, the LongWriter way, and estimating tokens.

`count_words` is the counter behind LongBench-Write's and LongWriter-Zero's length scores: characters U+4E00-9FFF plus
matches of `\b[a-zA-Z]+\b`. It is kept exactly, traps included, so that lengths compare with published ones: digits count
nothing, "don't" counts 2, "café" counts 0, and Latin letters glued to Chinese ones ("用Python写") count nothing, since
Python's `\b` sees no boundary between them.
"""

import re
from bisect import bisect
from math import ceil

_HAN_RUN = re.compile(r"[\u4e00-\u9fff]+")
_LATIN_WORD = re.compile(r"\b[a-zA-Z]+\b")
_LATIN_RUN = re.compile(r"[a-zA-Z]+")
_TYPOGRAPHIC_MARKS = "‘’“”–—…"
_ASCII_WORDS = {code: chr(code) if chr(code).isalnum() or code == ord("_") else " " for code in range(128)}
_SPACE_RUN = re.compile(r"\s+")

TOKENS_PER_LATIN_WORD = 1.3
LETTERS_PER_TOKEN = 4
LENGTH_BIN_STARTS = (500, 2000, 4000)
LENGTH_BINS = ("below 500", "500 to 1999", "2000 to 3999", "4000 and more")
"""Names of the length bins of LongBench-Write, in words."""


def count_words(text: str) -> int:
    """Words of `text` as LongWriter counts them."""
    return count_han(text) + _count_latin(text)


def length_bin_name(words: float) -> str:
    """The one of `LENGTH_BINS` that a number of words falls into."""
    return LENGTH_BINS[bisect(LENGTH_BIN_STARTS, words)]


def _count_latin(text: str) -> int:
    r"""Matches of `\b[a-zA-Z]+\b`."""
    if not text.isascii():
        for mark in _TYPOGRAPHIC_MARKS:
            text = text.replace(mark, " ")
    if text.isascii():
        # The same, and twice as fast: words without a digit or an underscore.
        return sum(map(str.isalpha, text.translate(_ASCII_WORDS).split()))
    return len(_LATIN_WORD.findall(text))


def count_han(text: str) -> int:
    """Characters U+4E00-9FFF in `text`."""
    return 0 if text.isascii() else sum(map(len, _HAN_RUN.findall(text)))


def estimate_tokens(text: str) -> int:
    """A guess, rather too high than too low, of the tokens of `text` under a tokenizer that is not at hand.

    Latin text counts 1.3 tokens a word, or one per four letters where that is more; every other character that is no
    white space (a Chinese one, a digit, a punctuation mark) counts one. A run of white space beyond one character counts
    one for each four, or for each that is not ASCII.
    """
    latin = _LATIN_RUN.findall(text)
    spaces = _SPACE_RUN.findall(text)
    letters = sum(map(len, latin))
    others = len(text) - letters - sum(map(len, spaces))
    wide_spaces = sum(ceil(len(run) / 4) if run.isascii() else len(run) for run in spaces if len(run) > 1)
    return ceil(max(TOKENS_PER_LATIN_WORD * len(latin), letters / LETTERS_PER_TOKEN)) + others + wide_spaces
