"""Judging whether a word that a policy uses more and more often belongs in a text.

The word comes from the policy's texts, so it is fenced like them.
"""

from functools import partial
from typing import Any

from longform.judging.answers import fence, last_values
from longform.judging.judge import AnswerShape, BaseJudge, JudgeReply
from longform.records.schemas import PromptRow
from longform.wording import Wording, load_wording

OUT_OF_PLACE = "out_of_place"
"""The key under which a judge answers."""


class KeywordJudge(BaseJudge):
    """Asks a model whether the uses of a word in a text are out of place.

    Raises:
        BadInputError: the judge has a template of its own, which cannot ask this question.
    """

    async def is_out_of_place(self, prompt: PromptRow, text: str, word: str, *, step: int) -> JudgeReply[bool]:
        """Whether `word` is out of place in `text`; the cause of an answer that cannot be parsed is `no_verdict`.

        Raises:
            BadInputError: the endpoint is misconfigured.
            StoppedError: the budget is spent.
        """
        question = ask_about_keyword(prompt, text, word, tag=self._tag(prompt.id, step), wording=self._wording)
        shape: AnswerShape[bool] = AnswerShape({OUT_OF_PLACE: {"type": "boolean"}})
        return await self._query(question, parse_out_of_place, unparsed="no_verdict", shape=shape)


def ask_about_keyword(prompt: PromptRow, text: str, word: str, *, tag: str, wording: Wording | None = None) -> str:
    """The message that asks whether a word is out of place in a text written for a request."""
    wording = wording or load_wording()
    say = partial(wording.text, language=wording.language_of(prompt.request))
    fences = [fence(label, it, tag=tag) for label, it in (("REQUEST", prompt.request), ("WORD", word), ("TEXT", text))]
    task = say("keyword.task").format(shape=f'{{"{OUT_OF_PLACE}": V}}')
    return "\n\n".join([say("keyword.role"), *fences, say("keyword.fenced"), task])


def parse_out_of_place(answer: str) -> bool | None:
    """The last `{"out_of_place": true}` or `false` of an answer; None if there is none."""

    def boolean(value: Any) -> bool | None:
        return value if type(value) is bool else None

    found = last_values(answer, (OUT_OF_PLACE,), boolean, wrapped=False)
    return None if found is None else found[OUT_OF_PLACE]
