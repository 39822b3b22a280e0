r"""Words, sentences and paragraphs of English and Chinese prose, length scores, and estimates of tokens.

`count_words` is the counter of LongBench-Write's and LongWriter-Zero's length scores: characters U+4E00-9FFF plus matches of
`\b[a-zA-Z]+\b`. It is reproduced exactly, quirks included, so that lengths are comparable with published ones: digits count
0, "don't" counts 2, "café" counts 0, and Latin letters next to Chinese characters ("用Python写") count 0, because Python's
`\b` has no boundary between them.

Sentences are split at end marks only, which is fast and accurate enough for counting and comparing; a short list of
abbreviations prevents the most common false splits. A line break ends a sentence only if it ends a paragraph. In Chinese,
marks inside a quotation do not end a sentence that goes on with who spoke (“你好！”他说。). By the national standard on
punctuation (GB/T 15834), ； separates clauses and …… marks an omission: ； never ends a sentence, …… only before a closing
quotation mark, a blank or the end.
"""

import re
from bisect import bisect
from math import ceil

_HAN_RUN = re.compile(r"[\u4e00-\u9fff]+")
_LATIN_WORD = re.compile(r"\b[a-zA-Z]+\b")
_LATIN_RUN = re.compile(r"[a-zA-Z]+")
_TYPOGRAPHIC_MARKS = "‘’“”–—…"
_ASCII_WORDS = {code: chr(code) if chr(code).isalnum() or code == ord("_") else " " for code in range(128)}
_LETTERS_MARKED = bytes(ord("a" if code < 128 and chr(code).isalpha() else " ") for code in range(256))
"""Translates the bytes of ASCII text: each letter becomes an "a", all else a blank."""
_ASCII_SPACE = bytes(code for code in range(128) if chr(code).isspace())
_WIDE_SPACE = re.compile(r"\s\s+")

_KANA = re.compile(r"[\u3041-\u30ff\uff66-\uff9f]")
MIN_KANA = 10
"""Every tenth character at least is kana in Japanese; Chinese and English texts quote fewer."""
_OTHERS = (
    r"\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0300-\u03ff\u0400-\u052f\u0531-\u0587\u0591-\u05f4\u0620-\u06ff\u0750-\u077f"
    r"\u0900-\u0dff\u10a0-\u11ff\u1200-\u137f\u1e00-\u1fff\uac00-\ud7af"
)
_OTHER_LETTER = re.compile(f"[{_OTHERS}]")
_ALPHABETIC_RUN = re.compile(f"[a-zA-Z{_OTHERS}]+")
_UNSPACED = re.compile(r"[\u0e00-\u109f\u1780-\u17ff]")
_LETTER = re.compile(r"[^\W\d_]|[\u0e00-\u109f\u1780-\u17ff]")

TOKENS_PER_LATIN_WORD = 1.3
LETTERS_PER_TOKEN = 4
LENGTH_BIN_STARTS = (500, 2000, 4000)
LENGTH_BINS = ("below 500", "500 to 1999", "2000 to 3999", "4000 and more")
"""Names of the length bins of LongBench-Write, in words."""


def count_words(text: str) -> int:
    """Count the words of `text` as LongWriter does."""
    return count_han(text) + _count_latin(text)


def count_words_of_any_script(text: str) -> int:
    """Count the words of `text` as LongWriter does and, where they are most of it, those of other scripts.

    Words between blanks are counted in Cyrillic, Greek, Hangul, Arabic, Hebrew, Indic and other alphabets, and in Latin with
    diacritics (Vietnamese). Japanese is counted by characters, as lengths in 字 are. Texts in Chinese or in plain Latin have
    LongWriter's count, also where they quote a word in another script. See `is_countable` for what remains.
    """
    published = count_words(text)
    if text.isascii():
        return published
    kana = len(_KANA.findall(text))
    if kana * MIN_KANA < published + kana:
        kana = 0
    others = sum(not word.isascii() for word in _ALPHABETIC_RUN.findall(text)) if _OTHER_LETTER.search(text) else 0
    return published + kana + (others if others > published + kana else 0)


def is_countable(text: str) -> bool:
    """Whether the words of `text` can be counted: not in Thai, Lao, Khmer, Burmese or Tibetan, which have no blanks."""
    return 2 * len(_UNSPACED.findall(text)) <= len(_LETTER.findall(text))


def length_bin_name(words: float) -> str:
    """Return the name of the length bin of a number of words."""
    return LENGTH_BINS[bisect(LENGTH_BIN_STARTS, words)]


def _count_latin(text: str) -> int:
    r"""Count the matches of `\b[a-zA-Z]+\b`."""
    if not text.isascii():
        for mark in _TYPOGRAPHIC_MARKS:
            text = text.replace(mark, " ")
    if text.isascii():
        # Equivalent and twice as fast: words without a digit or an underscore.
        return sum(map(str.isalpha, text.translate(_ASCII_WORDS).split()))
    return len(_LATIN_WORD.findall(text))


def count_han(text: str) -> int:
    """Count the characters U+4E00-9FFF in `text`."""
    return 0 if text.isascii() else sum(map(len, _HAN_RUN.findall(text)))


def estimate_tokens(text: str) -> int:
    """Estimate the number of tokens of `text` without its tokenizer, erring on the high side.

    Latin text counts 1.3 tokens per word, or one per four letters if that is more. Every other character except white space
    (Chinese characters, digits, punctuation) counts as one token. In a run of white space, every four characters after the
    first count as one token, and so does every non-ASCII one.
    """
    if text.isascii():  # by bytes, which is faster
        content = text.encode()
        marked = content.translate(_LETTERS_MARKED)
        words, letters = marked.count(b" a") + marked.startswith(b"a"), marked.count(b"a")
        visible = len(content.translate(None, _ASCII_SPACE))
    else:
        latin = _LATIN_RUN.findall(text)
        words, letters = len(latin), sum(map(len, latin))
        visible = sum(map(len, text.split()))
    wide_spaces = sum(ceil(len(run) / 4) if run.isascii() else len(run) for run in _WIDE_SPACE.findall(text))
    return ceil(max(TOKENS_PER_LATIN_WORD * words, letters / LETTERS_PER_TOKEN)) + visible - letters + wide_spaces


def longbench_length_score(*, required: int, written: int) -> float:
    """Score a text's length: S_l of LongBench-Write (arXiv 2408.07055), 0 to 100.

    With x words required and y written: 100 max(0, 1 - (y/x - 1) / 3) if y > x, else 100 max(0, 1 - (x/y - 1) / 2). The
    score is 100 at the required length, and 0 above four times and below a third of it. An empty text scores 0 (the
    published code divides by zero).

    Raises:
        ValueError: `required` is not positive, or `written` is negative.
    """
    if required < 1 or written < 0:
        raise ValueError(f"needs a positive required length and a written one, got {required} and {written}")
    if not written:
        return 0.0
    if written > required:
        return 100 * max(0.0, 1 - (written / required - 1) / 3)
    return 100 * max(0.0, 1 - (required / written - 1) / 2)


_BLANK_LINE = re.compile(r"\n[^\S\n]*+\n\s*+")
_CLOSERS = "\"'”’)\\]）】」』》"
# A run of marks is matched as a whole and checked by what follows it; a lookahead inside would rescan long runs.
_MARKS = re.compile(rf"[.!?…。！？][.!?…。！？{_CLOSERS}]*+")
_ASKING = re.compile("[?!]")
_HAN_AROUND = re.compile(r"[\u4e00-\u9fff]{2}")
"""Before and behind a Western mark of a Chinese text: 是吗?真的!"""
_CHINESE_END = re.compile("[。！？]")
_QUOTE_CLOSED = re.compile(r"[”’」』\"]\Z")
_GOES_ON = re.compile(r"\s*[，、；：—…,;:]")
"""After a quotation whose sentence goes on: “救命！”，然后倒下了。"""
_SPEAKER = re.compile(
    r"[^\s，。！？：；、“”‘’「」『』…]{1,10}?"
    r"(?:说|說|道|问|問|答|喊|叫|嚷|吼|骂|罵|叹|嘆|笑|应|應|念|想|嘀咕|低语|低語|开口|開口|回|劝|勸|催|求|哭|插嘴|打断|打斷)"
)
"""Who spoke, after a quotation: 他说, 老人笑道."""
_NEW_START = re.compile(r"\s++[^a-z]")
_ABBREVIATION = re.compile(
    r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Mt|Gen|Col|Lt|Capt|Sgt|Rev|Hon|Gov|vs|cf|e\.g|i\.e|No|Vol|[A-HJ-Z])\Z"
)
_LONGEST_ABBREVIATION = 6


def paragraphs(text: str) -> list[str]:
    """Split a text into stripped, non-empty paragraphs at blank lines or, if there are none, at line breaks."""
    text = text.replace("\r\n", "\n").strip()
    parts = _BLANK_LINE.split(text) if _BLANK_LINE.search(text) else text.split("\n")
    return [part.strip() for part in parts if part.strip()]


def sentences(text: str) -> list[str]:
    """Split a text into stripped, non-empty sentences with their closing quotation marks; none crosses a paragraph."""
    return [sentence for group in sentences_by_paragraph(text) for sentence in group]


def sentences_by_paragraph(text: str) -> list[list[str]]:
    """Return the sentences of each paragraph."""
    return [_split(paragraph) for paragraph in paragraphs(text)]


def _split(paragraph: str) -> list[str]:
    parts = []
    start = 0
    for marks in _MARKS.finditer(paragraph):
        if _ends_sentence(paragraph, start, marks):
            parts.append(paragraph[start : marks.end()].strip())
            start = marks.end()
    parts.append(paragraph[start:].strip())
    return [sentence for sentence in parts if sentence]


def _ends_sentence(paragraph: str, start: int, marks: re.Match[str]) -> bool:
    """Whether marks end a sentence: Chinese ones unless a speaker or a comma follows, Western ones only before a blank, or
    `?` and `!` between Chinese characters.

    "3.14", "e.g. this", '"Stop!" he said' and “你好！”他说 are therefore not split.
    """
    closes = _QUOTE_CLOSED.search(marks[0]) is not None
    if _CHINESE_END.search(marks[0]) or (closes and "……" in marks[0]):
        return not (closes and (_SPEAKER.match(paragraph, marks.end()) or _GOES_ON.match(paragraph, marks.end())))
    if _ASKING.search(marks[0]) and _HAN_AROUND.match(
        paragraph[max(0, marks.start() - 1)] + paragraph[marks.end() :][:1]
    ):
        return True
    if not _NEW_START.match(paragraph, marks.end()):
        return False
    before = paragraph[max(start, marks.start() - _LONGEST_ABBREVIATION) : marks.start()]
    return marks[0] != "." or not _ABBREVIATION.search(before)
