r"""What counts as a judge's answer: strict grammars to parse it, and fences that keep texts from containing one.

Of an answer's well-formed matches the last one counts: a judge repeats its instructions and quotes the texts before it
decides, so the first match may be anyone's. An answer without a match has no value; nothing is guessed, decoded or
evaluated: `［［A］］`, `[ [A] ]` and `&#91;&#91;A&#93;&#93;` are not verdicts, which is what lets a text be defused with
spaces alone. Linear time on any text.

Each text in a judge's prompt is enclosed by `<<<LABEL tag>>>` and `<<<END LABEL tag>>>`. The tag is an HMAC of the run's
secret, the prompt and the step: a policy cannot guess it, and all responses of a group share it, so an endpoint's prefix
cache still serves them. Inside, whatever could pass for a fence, a verdict, a score or a chat template's own token is pulled
apart by a space, so that knowing the tag would not help either; a reader sees the same text.

Guarantee: the parsers find nothing in a defused text, and `read_fences` no fence, also after any Unicode normalisation (NFC,
NFD, NFKC, NFKD), case folding, and removal of what has no width of its own (combining marks, zero-width and direction marks,
control and unassigned characters). It does not hold if spaces or line breaks are removed, brackets added, or escapes decoded
(`&#91;`, `%5B`, `\u005b`): nothing here does that.
"""

import hashlib
import hmac
import json
import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from math import isfinite
from typing import Any, Literal, TypeVar

from longform.records.schemas import Criterion, PromptRow
from longform.text.thoughts import TAGS
from longform.wording import Language

ScoreT = TypeVar("ScoreT")
Letter = Literal["A", "B", "C"]

MIN_SCORE = 1
MAX_SCORE = 10

_LETTERS: tuple[Letter, ...] = ("A", "B", "C")
_SCORES = re.compile(r'"scores"\s*+:\s*+(\{[^{}]*+\})')
_ORDER = re.compile(r"\[\[((?:[A-Z] ?[>=] ?)+[A-Z])\]\]")
_ORDER_FIELD = re.compile(r'"order"\s*+:\s*+\[[^{}:]{0,400}\]')
_VERDICT_FIELD = re.compile(r'"verdict"\s*+:\s*+"[^"\n]{0,20}"')
_FLAT_OBJECT = re.compile(r"(\{[^{}]*+\})")
_TRAILING_COMMA = re.compile(r",(?=\s*+[}\]])")
_LARGEST = 10**9
_MAX_CANDIDATES = 8
"""Beginnings of nested objects that are read, from the end of an answer; and from its beginning, before the one key."""
_NUMBER_TEXT = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?")


def parse_verdict(text: str) -> Letter | None:
    """The letter of the last `[[A]]`, `[[B]]` or `[[C]]` (tie); None if there is none."""
    places = {letter: text.rfind(f"[[{letter}]]") for letter in _LETTERS}
    last = max(_LETTERS, key=lambda letter: places[letter])
    return last if places[last] >= 0 else None


def parse_structured_verdict(text: str) -> Letter | None:
    """The letter of the one `verdict` in an answer that a JSON schema has constrained."""
    found = only_object(text, ["verdict"])
    return next((letter for letter in _LETTERS if found is not None and letter == found["verdict"]), None)


LIST_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVW"
"""Of the texts of a list, in the order in which they are read. X, Y and Z stand in the example of the question."""
LetterOrder = tuple[tuple[str, ...], ...]
"""Letters from the best text to the worst; those of equal texts are together."""


def parse_order(text: str, letters: Collection[str]) -> LetterOrder | None:
    """The last `[[C > A = D]]` that has at least two of `letters`, each once, and no other; None if there is none.

    Texts that it leaves out have no place. A single letter is a verdict, not an order.
    """
    for match in reversed(list(_ORDER.finditer(text))):
        levels = tuple(tuple(part.strip() for part in level.split("=")) for level in match[1].split(">"))
        if _is_order(levels, letters):
            return levels
    return None


def parse_structured_order(text: str, letters: Collection[str]) -> LetterOrder | None:
    """The order in an answer that a JSON schema has constrained: `{"order": [["C"], ["A", "D"]]}`."""
    found = only_object(text, ["order"])
    levels = found["order"] if found is not None else None
    if not isinstance(levels, list) or not all(isinstance(it, list) for it in levels):
        return None
    order = tuple(tuple(level) for level in levels if level)
    return order if _is_order(order, letters) else None


def _is_order(levels: tuple[tuple[Any, ...], ...], letters: Collection[str]) -> bool:
    placed = [letter for level in levels for letter in level]
    is_known = all(isinstance(letter, str) and letter in letters for letter in placed)
    return is_known and len(placed) >= 2 and len(set(placed)) == len(placed)


def parse_letter_probabilities(text: str, *, tie_band: float) -> Letter | None:
    """The letter with the greater probability, or C if A and B are no further apart than `tie_band`.

    Both are rescaled to sum to 1; None if they hold less than half of the probability, since the judge then wants to say
    something else.
    """
    try:
        answer = json.loads(text)
        a, b = float(answer["A"]), float(answer["B"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if not (isfinite(a) and isfinite(b) and min(a, b) >= 0 and a + b >= 0.5):
        return None
    lead = (a - b) / (a + b)
    return "C" if abs(lead) <= tie_band else "A" if lead > 0 else "B"


def parse_scores(text: str, dimensions: Collection[str]) -> dict[str, float] | None:
    """The last `{"scores": {"<dimension>": 1..10, ...}}` with all `dimensions`, in their order; else None."""

    def score(value: Any) -> float | None:
        number = read_number(value)
        return number if number is not None and MIN_SCORE <= number <= MAX_SCORE else None

    return last_values(text, dimensions, score)


def value_place(answer: str) -> tuple[int, int] | None:
    """Where the last verdict, order or scores stand in a judge's answer, for pages that mark it; None if there is none.

    It says where, not what: `[[B]]`, a `"verdict"` or a `"scores"` that no parser accepts may be marked.
    """
    letters = [(place, place + 5) for letter in _LETTERS if (place := answer.rfind(f"[[{letter}]]")) >= 0]
    patterns = (_VERDICT_FIELD, _SCORES, _ORDER, _ORDER_FIELD)
    others = [span for pattern in patterns for span in [it.span() for it in pattern.finditer(answer)][-1:]]
    return max([*letters, *others], default=None)


def last_values(
    text: str,
    names: Collection[str],
    read: Callable[[Any], ScoreT | None],
    *,
    wrapped: bool = True,
    accept: Callable[[dict[str, ScoreT]], bool] = lambda values: True,
) -> dict[str, ScoreT] | None:
    """The last JSON object in `text` that holds all of `names`, each once, with values that `read` accepts.

    A trailing comma and further keys are accepted, since they cannot be misread.

    Args:
        text: a judge's answer.
        names: the keys, which give the order of the result.
        read: the value that a JSON value stands for; None refuses the object.
        wrapped: the object is the value of a key `"scores"`; else it is any object without nested ones.
        accept: a condition on the object as a whole.
    """
    wanted = set(names)
    for match in reversed(list((_SCORES if wrapped else _FLAT_OBJECT).finditer(text))):
        try:
            pairs: list[tuple[str, Any]] = json.loads(_TRAILING_COMMA.sub("", match[1]), object_pairs_hook=list)
        except (ValueError, RecursionError):  # the latter from thousands of nested brackets
            continue
        chosen = [(name, value) for name, value in pairs if name in wanted]
        values = {name: value for name, given in chosen if (value := read(given)) is not None}
        if len(chosen) == len(values) and values.keys() == wanted and accept(values):
            return {name: values[name] for name in names}
    return None


def only_object(answer: str, names: Collection[str]) -> dict[str, Any] | None:
    """The JSON object in `answer` that holds all of `names`; None if there is none, or if a name is a key twice.

    For judges that do not answer in longform's form: with their own template, or constrained by a schema. Such a judge may
    quote a text anywhere, so an answer with two values by one name has none. Trailing commas and line breaks in strings are
    accepted. Of many braces before the key only the first and last few are read, so the time stays linear.
    """
    answer = _TRAILING_COMMA.sub("", answer)
    end = len(answer)
    for name in names:
        keys = list(re.finditer(re.escape(json.dumps(name, ensure_ascii=False)) + r"\s*+:", answer))
        if len(keys) != 1:
            return None
        end = min(end, keys[0].start())
    decoder = json.JSONDecoder(strict=False)
    starts = [brace.start() for brace in re.finditer(r"\{", answer[:end])]
    if len(starts) > 2 * _MAX_CANDIDATES:
        starts = starts[:_MAX_CANDIDATES] + starts[-_MAX_CANDIDATES:]
    for start in starts:
        try:
            found, _ = decoder.raw_decode(answer, start)
        except (ValueError, RecursionError):  # the latter from thousands of nested brackets
            continue
        if isinstance(found, dict) and all(name in found for name in names):
            return found
    return None


def last_object(answer: str, names: Sequence[str], read: Callable[[dict[str, Any]], ScoreT | None]) -> ScoreT | None:
    """The value of the last JSON object in `answer` with exactly the keys `names`, of which the first begins it.

    For answers with objects inside objects. A key that stands twice in one of them refuses the object; a trailing comma is
    accepted. Of many candidates only the last few are read, so the time stays linear.

    Args:
        answer: a judge's.
        names: the keys.
        read: the value that an object stands for; None refuses it.
    """
    decoder = json.JSONDecoder(strict=False, object_pairs_hook=_distinct)
    starts = [it.start() for it in re.finditer(r"\{\s*+" + re.escape(json.dumps(names[0])) + r"\s*+:", answer)]
    for start in reversed(starts[-_MAX_CANDIDATES:]):
        for candidate in (answer[start:], _TRAILING_COMMA.sub("", answer[start:])):
            try:
                found, _ = decoder.raw_decode(candidate)
            except (ValueError, RecursionError):  # the latter from thousands of nested brackets
                continue
            if found.keys() == set(names) and (value := read(found)) is not None:
                return value
    return None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("duplicate key")
    return dict(pairs)


def read_number(value: Any) -> float | None:
    """A JSON number, or a text that holds nothing but one; None for anything else. True and false are not numbers."""
    if is_number(value):
        return float(value) if -_LARGEST <= value <= _LARGEST else None
    if isinstance(value, str) and _NUMBER_TEXT.fullmatch(value.strip()):
        return float(value)
    return None


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


TAG_LENGTH = 12

# Controls, lone surrogates and tag characters (invisible ASCII), which carry no visible text at all.
_INVISIBLE = ((0, 8), (0x0E, 0x1F), (0x7F, 0x84), (0x86, 0x9F), (0xD800, 0xDFFF), (0xE0000, 0xE007F))
_VISIBLE: dict[int, str | None] = {
    **{point: None for first, last in _INVISIBLE for point in range(first, last + 1)},
    **str.maketrans({"⟦": "[[", "⟧": "]]", "〚": "[[", "〛": "]]", "⋘": "<<<", "⋙": ">>>", "⫷": "<<<", "⫸": ">>>"}),
}
"""Translates a text: what is invisible goes, and single signs that look like several become these."""
_SQUARE_OPEN = r"\[［﹇【〔〖〘⁅❲⦋⦍⦏⟬⸢⹕⹗"
_SQUARE_CLOSE = r"\]］﹈】〕〗〙⁆❳⦌⦎⦐⟭⸣⹖⹘"
_DOUBLE_ANGLE_OPEN = "«≪⟪⪡"
_DOUBLE_ANGLE_CLOSE = "»≫⟫⪢"
_ANGLE_OPEN = f"<＜﹤≮‹〈〈《⟨❬❮❰⧼˂ᐸᚲ{_DOUBLE_ANGLE_OPEN}"
_ANGLE_CLOSE = f">＞﹥≯›〉〉》⟩❭❯❱⧽˃ᐳ{_DOUBLE_ANGLE_CLOSE}"
_QUOTES = '"＂“”„‟″'
_PIPES = "|｜"
_COLONS = "：﹕︰"
_SIGNS = f"{_SQUARE_OPEN}{_SQUARE_CLOSE}{_ANGLE_OPEN}{_ANGLE_CLOSE}{_QUOTES}{_PIPES}"
# What a later step may drop without a trace: marks, invisible and unassigned characters. It is told by what it is not
# (letter, digit, space or ASCII), since a list of them would never be whole; only odd line ends, blank letters and letters
# that normalise to marks are named. Line breaks and tabs are no part of it: `>` at the start of several lines is Markdown.
_VANISHING = rf"(?:[^\w\s!-~{_SIGNS}]|[\r\x0b\x0c\x85\u115f\u1160\u3164\uffa0\uff9e\uff9f])"

_SCORES_KEY = frozenset({"scores"})
# Tokens of chat templates, without the slash of a closing one.
_SQUARE_TOKENS = frozenset(
    {
        "inst",
        "inst]",
        "system_prompt",
        "model_settings",
        "tool_calls",
        "tool_results",
        "tool_content",
        "available_tools",
    }
    | {"think", "args", "call_id", "prefix", "suffix", "middle", "sys", "system", "user", "assistant", "s"}
    | {"gmask", "mask", "smask", "img", "img_break", "img_end", "audio", "begin_audio", "eos", "bos", "pad", "unk"}
    | {"cls", "sep"}
)
_ANGLE_TOKENS = frozenset(
    {
        "s",
        "bos",
        "eos",
        "pad",
        "unk",
        "sop",
        "eop",
        "eoh",
        "eoa",
        "eom",
        "sys",
        "seed:bos",
        "seed:eos",
        "seed:tool_call",
    }
    | {"reserved_106", "reserved_107", "start_of_turn", "end_of_turn", "beginning_of_sentence", "end_of_sentence"}
    | {"think", "answer", "tool_call", "tool_response", "reduced", "thinking", "seed:think", "arg_key", "arg_value"}
    | {"seed:cot_budget_reflect", "longcat_s", "longcat_tool_call", "longcat_user", "longcat_assistant"}
    | {"bos_token", "eos_token", "pad_token", "unk_token", "cls", "sep", "mask", "mask_token", "eop_token"}
    | {
        "eot",
        "eod",
        "eos_id",
        "eom_id",
        "end_of_utterance",
        "start_of_image",
        "end_of_image",
        "image_soft_token",
        "image",
    }
    | {"start_of_audio", "end_of_audio", "audio_soft_token", "im_start", "im_end", "role", "_user", "_bot", "_system"}
    | {"_end", "end_of_text", "endoftext", "user", "assistant", "system", "human", "bot", "tool", "tools"}
    | {tag[1:-1].removeprefix("/").casefold() for tag in TAGS if re.fullmatch(r"<[^|<>]+>", tag)}
    | {"minimax:tool_call", "start_function_call", "end_function_call", "function_call", "function_results", "invoke"}
)
_NUMBERED_TOKEN = re.compile(
    r"(?:extra_id|unused|tokens_unused|special|reserved|reserved_special_token|placeholder|dummy)_?[0-9]{1,4}"
)


_DROPPED = re.compile(f"{_VANISHING}+")
_ANGLE = re.compile(f"[{_ANGLE_OPEN}{_ANGLE_CLOSE}]")
_BRACKET = re.compile(f"[{_SQUARE_OPEN}{_SQUARE_CLOSE}{_ANGLE_OPEN}{_ANGLE_CLOSE}◁▷]")
_OPENING = re.compile(r"<<<([A-Z]+(?: [A-Z]+)?) ([0-9a-f]{12})>>>\n")


def _before(sign: str, other: str) -> str:
    """A regex of `sign` where nothing visible stands between it and `other`."""
    return f"[{sign}](?={_VANISHING}*+[{other}])"


def _run(signs: str) -> str:
    """A regex of two or more of `signs` in a row; nothing follows it, so that hostile text costs linear time."""
    return f"[{signs}](?:{_VANISHING}*+[{signs}])+"


def _named(opening: str, closing: str) -> re.Pattern[str]:
    """A bracket or quote and the one word up to the next; what closes is looked at only, so that it can open as well."""
    return re.compile(f"([{opening}])([^{opening}{closing}\n\t ]*+)(?=[{closing}])")


_SQUARE_PAIR = re.compile(f"{_before(_SQUARE_OPEN, _SQUARE_OPEN)}|{_before(_SQUARE_CLOSE, _SQUARE_CLOSE)}")
_ANGLE_RUN = re.compile(f"{_run(_ANGLE_OPEN)}|{_run(_ANGLE_CLOSE)}")
_TILDED = re.compile(rf"[{_SQUARE_CLOSE}](?={_VANISHING}*+[~～])|[~～](?={_VANISHING}*+[{_SQUARE_OPEN}])")
_PIPED = re.compile(
    f"{_before(_ANGLE_OPEN + _SQUARE_OPEN, _PIPES)}|{_before(_PIPES, _ANGLE_CLOSE + _SQUARE_CLOSE)}"
    f"|{_before(_ANGLE_OPEN, _SQUARE_OPEN)}|{_before(_SQUARE_CLOSE, _ANGLE_CLOSE)}"
)
"""<|user|>, [|user|] and <[user]>."""
_QUOTED = _named(_QUOTES, _QUOTES)
# A name in quotes before a colon: the key of a JSON object, whatever parser looks for it.
_KEY = re.compile(
    rf"([{_QUOTES}])(?=[^\s{_QUOTES}][^{_QUOTES}\n]{{0,300}}[{_QUOTES}][^\w!-~{_SIGNS}{_COLONS}]*+[:{_COLONS}])"
)
# Tags of thoughts that the other patterns do not know. At them an answer that quotes a text would be split.
_OTHER_TAG = re.compile("|".join(re.escape(tag) for tag in TAGS if not tag.startswith("<")), re.IGNORECASE)
_IN_ANGLES = _named(_ANGLE_OPEN, _ANGLE_CLOSE)
_IN_SQUARES = _named(_SQUARE_OPEN, _SQUARE_CLOSE)


def fence_tag(secret: bytes, prompt_id: str, step: int) -> str:
    """The tag of the fences of one prompt in one step: 12 hex digits of HMAC-SHA256(secret, prompt id, NUL, step)."""
    message = f"{prompt_id}\0{step}".encode("utf-8", "replace")
    return hmac.new(secret, message, hashlib.sha256).hexdigest()[:TAG_LENGTH]


def fence(label: str, text: str, *, tag: str) -> str:
    """`text`, defused, between the fences of `label`."""
    return f"<<<{label} {tag}>>>\n{defuse(text)}\n<<<END {label} {tag}>>>"


def fence_prompt(prompt: PromptRow, criteria: str, *, tag: str) -> list[str]:
    """The fenced request of a prompt and, if there are any, its criteria."""
    fences = [fence("REQUEST", prompt.request, tag=tag)]
    return [*fences, fence("CRITERIA", criteria, tag=tag)] if criteria else fences


def criteria_text(prompt: PromptRow, language: Language = "en") -> str:
    """The criteria of a prompt as text, a line each, with their weights and which are required; empty without any."""
    if isinstance(prompt.criteria, str):
        return prompt.criteria
    if prompt.criteria is None:
        return ""
    lines = (
        f"- {one_line(c.name)}: {one_line(c.description)}".rstrip(": ") + _standing(c, language)
        for c in prompt.criteria
    )
    return "\n".join(lines)


def _standing(criterion: Criterion, language: Language) -> str:
    """What a criterion counts; empty if that is not stated."""
    if criterion.hard:
        return "（必须满足）" if language == "zh" else " (required)"
    if criterion.weight is None:
        return ""
    return f"（权重{criterion.weight:g}）" if language == "zh" else f" (weight {criterion.weight:g})"


def one_line(text: str) -> str:
    """`text`, defused, on one line."""
    return " ".join(defuse(text).split())


def defuse(text: str) -> str:
    """`text` as a reader sees it, without anything that a judge or the parser of its answer could take for its own.

    `[[A]]` becomes `[ [A] ]`, `<<<` becomes `< < <`, also for look-alike brackets and with invisible characters in
    between; `"scores"` becomes `" scores"`, and so does any key of a JSON object; `<reduced>`, `<|im_end|>`, `</s>`,
    `[INST]` and their like get a space. Only spaces come
    in, and only what has no visible form goes. Defusing twice changes nothing more. Linear time.
    """
    text = text.translate(_VISIBLE)
    text = _QUOTED.sub(_spread_if(_SCORES_KEY), text)
    text = _KEY.sub(_with_space, text)
    if not _BRACKET.search(text):  # as in most prose; the passes below take most of the time
        return text
    text = _OTHER_TAG.sub(lambda tag: f"{tag[0][0]} {tag[0][1:]}", text)
    text = _SQUARE_PAIR.sub(_with_space, text)
    text = _TILDED.sub(_with_space, text)
    text = _ANGLE_RUN.sub(_spread_angles, text)
    text = _PIPED.sub(_with_space, text)
    text = _IN_ANGLES.sub(_spread_if(_ANGLE_TOKENS), text)
    return _IN_SQUARES.sub(_spread_if(_SQUARE_TOKENS), text)


def read_fences(message: str) -> dict[str, str]:
    """The fenced texts of a judge request, by label, as they were fenced (defused).

    The first fence decides the tag; fences with another one are part of a text.

    Raises:
        ValueError: there is no fence, or one is not closed.
    """
    found: dict[str, str] = {}
    tag = None
    position = 0
    while opening := _OPENING.search(message, position):
        label = opening[1]
        tag = tag or opening[2]
        position = opening.end()
        if opening[2] != tag:
            continue
        closing = f"\n<<<END {label} {tag}>>>"
        end = message.find(closing, position)
        if end < 0:
            raise ValueError(f"the fence {label} is not closed")
        found[label] = message[position:end]
        position = end + len(closing)
    if not found:
        raise ValueError("the message holds no fence")
    return found


def _with_space(found: re.Match[str]) -> str:
    return f"{found[0]} "


def _spread_angles(run: re.Match[str]) -> str:
    """Spaces between the angles of a run that amounts to three; `<<` and `»` are ordinary writing."""
    angles = _ANGLE.findall(run[0])
    weight = sum(2 if angle in _DOUBLE_ANGLE_OPEN + _DOUBLE_ANGLE_CLOSE else 1 for angle in angles)
    return _ANGLE.sub(_with_space, run[0]).rstrip(" ") if weight > 2 else run[0]


def _spread_if(reserved: frozenset[str]) -> Callable[[re.Match[str]], str]:
    """A space after the opening sign of a name that reads as a reserved one."""

    def spread(named: re.Match[str]) -> str:
        name = _plain(named[2])
        return (
            f"{named[1]} {named[2]}"
            if name.removeprefix("/") in reserved or _NUMBERED_TOKEN.fullmatch(name)
            else named[0]
        )

    return spread


def _plain(name: str) -> str:
    """`name` in small plain letters, not in Unicode's variants of them (`ｓ`, `𝐬`, `ⓢ`, `ś`), without hidden characters.

    Character by character: normalising a text as a whole sorts its runs of combining marks, in quadratic time.
    """
    return _DROPPED.sub("", "".join(unicodedata.normalize("NFKD", character) for character in name)).casefold()
