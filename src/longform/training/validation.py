"""Validation during a run: an examiner, never the reward's judge, grades responses to prompts the run does not train on.

Validation never promotes, and its texts are drawn from a stream of their own, the same at every visit: a change of the
grade is a change of the policy.
"""

from collections.abc import Sequence

from longform.judging.answers import LOWEST_SCORE
from longform.judging.pointwise import Graded, PointwiseJudge
from longform.records.rollouts import ValidationText
from longform.records.schemas import Prompt
from longform.text.structure import parse_response
from longform.training.judge_thread import JudgeThread
from longform.training.models import PolicyModels
from longform.writers.decoding import Written, decode_in_batches
from longform.writers.local import encode_prompts, find_stops
from longform.writers.settings import GenerationSettings

_STREAM = 0  # training steps count from 1


class Validation:
    """Grades the policy on held-out prompts every few steps."""

    def __init__(
        self,
        prompts: Sequence[Prompt],
        examiner: PointwiseJudge,
        thread: JudgeThread,
        *,
        every: int,
        settings: GenerationSettings,
        seed: int,
    ) -> None:
        self._prompts, self._examiner, self._thread = prompts, examiner, thread
        self._every, self._settings, self._seed = every, settings, seed

    def is_due(self, step: int, *, last: int) -> bool:
        """Whether `step` is one to validate after."""
        return step % self._every == 0 or step == last

    def measure(self, models: PolicyModels, *, step: int = 0) -> list[ValidationText]:
        """The policy's responses after `step`, with their grades."""
        stops = find_stops(models.as_policy(), models.tokenizer, self._settings)
        encoded = encode_prompts(models.tokenizer, self._prompts, settings=self._settings)
        texts: dict[int, str] = {}

        def grade(row: int, written: Written) -> None:
            texts[row] = stops.response_text(written.tokens)
            self._thread.submit(row, self._grade(self._prompts[row], texts[row], step=step))

        with models.autocast():
            decode_in_batches(
                models.as_policy(),
                encoded,
                seed=self._seed,
                step=_STREAM,
                stops=stops,
                settings=self._settings,
                on_finished=grade,
            )
        grades = [graded.score for graded in self._thread.collect()]
        return [
            ValidationText(step, prompt.id, prompt.request, texts[row], grades[row])
            for row, prompt in enumerate(self._prompts)
        ]

    async def _grade(self, prompt: Prompt, text: str, *, step: int) -> Graded:
        """The examiner's grade of the answer; where there is none the lowest, without a call."""
        answer = parse_response(text, self._settings.think).answer
        return await self._examiner.grade(prompt, answer, step=step) if answer else Graded(LOWEST_SCORE)
