"""The dominant language of a text, guessed from its script and function words: Chinese, Japanese, Korean or English.

Texts mix languages: Chinese requests name English terms and Japanese titles, English ones quote a Chinese character.
Words are compared, with `HAN_PER_WORD` Chinese characters to a word. The language of the first words weighs more, since a
request begins with what is to be done: 帮我写一封 cover letter for a designer is Chinese.
"""

import re

from longform.text.function_words import FUNCTION_WORDS

ENGLISH_SHARE = 0.1
"""Minimum fraction of specifically English words in an English text: they are half of prose, but fewer in lists."""
PLAIN_ENGLISH_SHARE = 0.03
"""The same for texts whose letters are all ASCII: price lists and tables have few function words."""
HAN_PER_WORD = 1.5
"""Chinese characters per English word of the same text."""
OPENING = 3
"""Minimum number of Chinese characters in a text that is Chinese because it begins so."""
OPENING_WEIGHT = 4
"""Weight of the East Asian words of a text that begins with them."""

_SHARED = frozenset("a also am an as d do had he her i in is it me no of on or over s so t us was we will".split())  # noqa: SIM905
"""English function words that also occur in other languages with Latin script."""
_REQUESTS = frozenset("write please create make give help explain describe generate story essay word words".split())  # noqa: SIM905
_ENGLISH = (FUNCTION_WORDS - _SHARED) | _REQUESTS
_HAN = re.compile(r"[\u3400-\u9fff]")
_KANA = re.compile(r"[\u3040-\u30ff]")
_HIRAGANA = re.compile(r"[\u3040-\u309f]")
_HANGUL = re.compile(r"[\uac00-\ud7af\u1100-\u11ff]")
_LETTER_WORD = re.compile(r"[^\W\d_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u1100-\u11ff]+")
_FIRST_LETTER = re.compile(r"[^\W\d_]")
_QUOTED = re.compile(
    r"《[^《》\n]{1,60}》|〈[^〈〉\n]{1,60}〉|「[^「」\n]{1,40}」|『[^『』\n]{1,40}』|“[^“”\n]{1,40}”|\"[^\"\n]{1,40}\""
)
_JAPANESE_GRAMMAR = re.compile("[をはがにで]|です|ます|ください|こと")
_CHINESE_GRAMMAR = re.compile("[请請这這们們吗嗎你您吧呢么麼让讓帮幫给的了是写寫]")
_CHINESE_REQUEST = re.compile(
    r"[\s#*]*(?:请|請(?=[你您用写寫帮幫将將把以为為翻])|帮我|幫我|麻烦|麻煩你|翻[译譯]|[总總][结結]|概括下|[润潤]色|改[写寫][下以这這]|写[一个篇份封首]"
    r"|寫[一個篇份封首]|给我[写寫]|給我寫|用(?:中文|英[文语語]|日[文语語]|[韩韓][文语語])[写寫]|[把将將](?:下面|以下|这|這)|你是一[个個名位]|角色[：:]"
    r"|(?:英[语語])?作文[：:])"
)
"""A request that begins in Chinese is one, however long a text in another language is that follows: 请翻译：The fox ..."""
KANA_SHARE = 0.1
"""Minimum fraction of kana in Japanese text, which mixes kana with Han characters; Chinese texts quote few kana."""


def guess_language(text: str) -> str | None:
    """Return `zh`, `ja` or `ko` if that script dominates, `en` if English function words are common, else None."""
    if _CHINESE_REQUEST.match(text):
        return "zh"
    plain = _QUOTED.sub(" ", text)
    if not _FIRST_LETTER.search(plain):
        plain = text
    han, kana, hangul = (len(script.findall(plain)) for script in (_HAN, _KANA, _HANGUL))
    others = [word.lower() for word in _LETTER_WORD.findall(plain)]
    first = _FIRST_LETTER.search(plain)
    begins = first is not None and not _LETTER_WORD.match(first[0]) and han + kana + hangul >= OPENING
    east_asian = (han + kana + hangul) / HAN_PER_WORD
    if east_asian and east_asian * (OPENING_WEIGHT if begins else 1) >= len(others):
        return _east_asian(plain, han, kana, hangul)
    english = sum(word in _ENGLISH for word in others)
    share = ENGLISH_SHARE if any(not word.isascii() for word in others) else PLAIN_ENGLISH_SHARE
    return "en" if others and english >= share * len(others) else None


def _east_asian(text: str, han: int, kana: int, hangul: int) -> str:
    """Return the language of a text in East Asian scripts."""
    if hangul > kana and 2 * hangul >= han:
        return "ko"
    if kana > KANA_SHARE * (han + kana):
        japanese, chinese = (len(grammar.findall(text)) for grammar in (_JAPANESE_GRAMMAR, _CHINESE_GRAMMAR))
        return "ja" if japanese >= chinese and _HIRAGANA.search(text) else "zh"
    return "zh"
