"""Rewards computed from the text alone: length and format (LongWriter-Zero, arXiv 2506.18841), and verifiable answers.

No model is asked, so they always have a score. The paper gives a formula for length (eq. 3) but none for format; ours is
described in `FormatSettings`.
"""

import asyncio
from typing import Literal

from longform.judging.answers import parse_verdict
from longform.records.schemas import PromptRow
from longform.rewards.reward import RewardResult
from longform.rewards.settings import FormatSettings
from longform.rewards.slop_lists import SlopLists
from longform.text.final_answers import AnswerForm, final_answer, normalise_answer
from longform.text.repetition import (
    copied_share,
    repeated_ngram_share,
    repeats,
    stuffed_share,
)
from longform.text.structure import ParsedResponse
from longform.text.words import count_words_of_any_script

MAX_PER_UPPER = 2
"""Where the length reward reaches 0, in upper ends of the range. Ours: the paper names no number."""
NATURAL_REPETITION = 0.3
"""Share of four-word sequences that a normal text may repeat: a poem with a refrain has 0.22, other texts have less."""
_SHORT = 2_000
"""Maximum characters for which all penalties together take less than 10 ms, so that no thread is needed."""


class LengthReward:
    """1 for an answer whose words lie in its prompt's `length_range`, less the further they lie outside.

    Args:
        max_words: where the reward of a longer answer reaches 0; None: at twice the upper end of the range.
        cut_off: factor for an answer that was cut off at the token limit.
    """

    def __init__(self, max_words: int | None = None, *, cut_off: float = 0.5) -> None:
        self._max_words, self._cut_off = max_words, cut_off

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> RewardResult:  # noqa: ARG002
        """`length_reward` of the answer, times `cut_off` if it was cut off; plan and tags do not count.

        Raises:
            ValueError: the prompt has no `length_range`, or one beyond `max_words`; a recipe is checked for both.
        """
        if prompt.length_range is None:
            raise ValueError(f"prompt {prompt.id} has no length_range")
        lower, upper = prompt.length_range
        longest = MAX_PER_UPPER * upper if self._max_words is None else self._max_words
        words = count_words_of_any_script(response.answer)
        score = length_reward(words, lower=lower, upper=upper, longest=longest)
        return RewardResult(self._cut_off * score if response.is_cut_off else score)


class FormatReward:
    """0 if the structure is broken or the answer is empty, else 1 minus the penalties, at least 0.

    Args:
        settings: the penalties.

    Raises:
        BadInputError: the list of phrases cannot be read.
    """

    def __init__(self, settings: FormatSettings) -> None:
        self._settings = settings
        self._slop = None if settings.slop_list is None else SlopLists.read(settings.slop_list)
        self._is_quick = settings.stuffing == settings.copying == 0

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> RewardResult:  # noqa: ARG002
        """Copying is measured against the request and the reference. Long texts are measured in another thread."""
        if not response.well_formed or not response.answer:
            return RewardResult(0.0)
        texts = response.answer, prompt.request, reference
        if self._is_quick or sum(map(len, texts)) <= _SHORT:
            return RewardResult(self._score(*texts))
        return RewardResult(await asyncio.to_thread(self._score, *texts))

    def penalties(self, answer: str, *, request: str, reference: str) -> dict[str, float]:
        """The penalties of a well-formed answer by their names in the recipe; those whose weight is 0 are left out.

        Args:
            answer: of the response.
            request, reference: what it may have been copied from.
        """
        weights, found = self._settings, dict[str, float]()
        if weights.repetition > 0:
            found["repetition"] = weights.repetition * max(*repeats(answer), looping_share(answer))
        if weights.stuffing > 0:
            found["stuffing"] = weights.stuffing * stuffed_share(answer)
        if weights.copying > 0:
            found["copying"] = weights.copying * max(copied_share(answer, source) for source in (request, reference))
        if self._slop is not None:
            found["slop"] = weights.slop * self._slop.excess(answer)
        return found

    def slop_words(self, answer: str) -> list[bool]:
        """Which units of an answer are in phrases that the slop penalty counts; none without a list."""
        return [] if self._slop is None else self._slop.list_for(answer).listed(answer)

    def _score(self, answer: str, request: str, reference: str) -> float:
        total = 0.0
        for penalty in self.penalties(answer, request=request, reference=reference).values():
            total += penalty  # not `sum`, whose last digit differs between versions of Python
        return max(0.0, 1.0 - total)


def looping_share(text: str) -> float:
    """The share of repeated four-word sequences beyond the natural level, 0 to 1.

    It also finds loops that have no full stops, or whose sentences or list items are too short to be compared.
    """
    return max(0.0, repeated_ngram_share(text) - NATURAL_REPETITION) / (1 - NATURAL_REPETITION)


def length_reward(words: int, *, lower: int, upper: int, longest: int) -> float:
    """The score for the length of an answer, 0 to 1 (paper: eq. 3).

    Args:
        words: number of words of the answer; an empty answer scores 0, whatever the range.
        lower: minimum number of words requested; 0: no minimum, but an empty answer still scores 0.
        upper: maximum number of words requested.
        longest: number of words from which an answer scores 0 (L_max); the paper gives no value.

    Raises:
        ValueError: unless 0 <= lower <= upper <= longest and 0 <= words.
    """
    if not 0 <= lower <= upper <= longest:
        raise ValueError(f"needs 0 <= lower <= upper <= longest words, got {lower}, {upper}, {longest}")
    if words < 0:
        raise ValueError(f"words must be at least 0, got {words}")
    if words == 0:
        return 0.0
    if words < lower:
        return words / lower
    if words <= upper:
        return 1.0
    return max(0, longest - words) / (longest - upper) if longest > upper else 0.0


class AnswerReward:
    """1 if the final answer of a response is an expected one, else 0.

    Args:
        form: of the answers.
    """

    def __init__(self, form: AnswerForm | Literal["verdict"] = "exact") -> None:
        self._form: AnswerForm | Literal["verdict"] = form

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> RewardResult:  # noqa: ARG002
        """1 or 0; a response that was cut off scores 0.

        Raises:
            ValueError: the prompt has no well-formed `meta.answer`; a recipe is checked for it.
        """
        expected = expected_answers(prompt, self._form)
        if response.is_cut_off:
            return RewardResult(0.0)
        if self._form == "verdict":
            return RewardResult(float(parse_verdict(response.answer) in expected))
        answer = await asyncio.to_thread(final_answer, response.answer, self._form)
        return RewardResult(float(answer in expected))


def expected_answers(prompt: PromptRow, form: AnswerForm | Literal["verdict"]) -> set[str]:
    """The normalised answers in `meta.answer` of a prompt, which is one answer or a list of correct ones.

    Raises:
        ValueError: there is none, or one is not well-formed.
    """
    stated = prompt.meta.get("answer")
    answers = stated if isinstance(stated, list) else [stated]
    expected: set[str] = set()
    for it in answers:
        is_plain = isinstance(it, str | int | float) and not isinstance(it, bool)
        if not is_plain or (value := _normalise(str(it), form)) is None:
            raise ValueError(f"meta.answer: the answer reward needs an answer of form {form}, got {it!r}")
        expected.add(value)
    if not expected:
        raise ValueError(f"meta.answer: the answer reward needs an answer of form {form}, got an empty list")
    return expected


def _normalise(answer: str, form: AnswerForm | Literal["verdict"]) -> str | None:
    return parse_verdict(f"[[{answer}]]") if form == "verdict" else normalise_answer(answer, form)
