r"""Fences around what a judge reads, so that a text cannot speak to the judge.

Each text stands between `<<<LABEL tag>>>` and `<<<END LABEL tag>>>`. The tag is an HMAC of the run's secret, the prompt and
the step: a policy cannot guess it, and all responses of a group share it, so an endpoint's prefix cache still serves
them. Inside, whatever could pass for a fence, a verdict, a score or a chat template's own token is pulled apart by a
space; a reader sees the same text.
"""

import hashlib
import hmac
import re

TAG_LENGTH = 12

# Characters without width, or drawn over their neighbour: they hide between two brackets.
_HIDDEN = (
    r"\u00ad\u0300-\u036f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\u3164\ufe00-\ufe0f\ufeff\uffa0"
)
_SQUARE_OPEN = r"\[［【〔〖〚⟦⁅❲⦋"
_SQUARE_CLOSE = r"\]］】〕〗〛⟧⁆❳⦌"
_ANGLE_OPEN = r"<＜‹«〈〈《⟨⟪❮❰≪˂ᐸ﹤"
_ANGLE_CLOSE = r">＞›»〉〉》⟩⟫❯❱≫˃ᐳ﹥"


def _run(brackets: str, *, least: int) -> str:
    """A run of at least so many of `brackets`; possessive, so that hostile text costs linear time."""
    return rf"[{brackets}](?:[{_HIDDEN}]*+[{brackets}]){{{least - 1},}}+"


_BRACKET_RUN = re.compile(
    "|".join(
        [
            _run(_SQUARE_OPEN, least=2),
            _run(_SQUARE_CLOSE, least=2),
            _run(_ANGLE_OPEN, least=3),
            _run(_ANGLE_CLOSE, least=3),
            _run("«≪⟪", least=2),
            _run("»≫⟫", least=2),
            "[⟦⟧〚〛]",
        ]
    )
)
_SPELLED = str.maketrans({"⋘": "<<<", "⋙": ">>>"})
_DOUBLE = str.maketrans({"⟦": "[ [", "⟧": "] ]", "〚": "[ [", "〛": "] ]"})
_IGNORED = re.compile(rf"[{_HIDDEN}]+")
_SCORES_KEY = re.compile(rf'"[{_HIDDEN}]*+scores[{_HIDDEN}]*+"', re.IGNORECASE)
_TEMPLATE_TOKEN = re.compile(
    r"<(?=[|｜])|(?<=[|｜])>|<(?=/?(?:s|bos|eos|think|answer|start_of_turn|end_of_turn)>)|\[(?=/?INST\])|<(?=</?SYS>>)",
    re.IGNORECASE,
)
# Tag characters (invisible ASCII) and lone surrogates carry no visible text at all.
_INVISIBLE = re.compile("[\U000e0000-\U000e007f\ud800-\udfff]")
_OPENING = re.compile(r"<<<([A-Z]+(?: [A-Z]+)?) ([0-9a-f]{12})>>>\n")


def fence_tag(secret: bytes, prompt_id: str, step: int) -> str:
    """The tag of the fences of one prompt in one step: 12 hex digits of HMAC-SHA256(secret, prompt id, NUL, step)."""
    message = f"{prompt_id}\0{step}".encode("utf-8", "replace")
    return hmac.new(secret, message, hashlib.sha256).hexdigest()[:TAG_LENGTH]


def fence(label: str, text: str, *, tag: str) -> str:
    """`text`, defused, between the fences of `label`."""
    return f"<<<{label} {tag}>>>\n{defuse(text)}\n<<<END {label} {tag}>>>"


def defuse(text: str) -> str:
    """`text` as a reader sees it, without anything that a judge or the parser of its answer could take for its own.

    `[[A]]` becomes `[ [A] ]`, `<<<` becomes `< < <`, also for look-alike brackets and with invisible characters in
    between; `"scores"` becomes `'scores'`; `<|im_end|>` and its like get a space. Linear time.
    """
    text = _INVISIBLE.sub("", text).translate(_SPELLED)
    text = _BRACKET_RUN.sub(lambda run: " ".join(_IGNORED.sub("", run[0])).translate(_DOUBLE), text)
    text = _SCORES_KEY.sub("'scores'", text)
    return _TEMPLATE_TOKEN.sub(lambda bracket: " >" if bracket[0] == ">" else f"{bracket[0]} ", text)


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
