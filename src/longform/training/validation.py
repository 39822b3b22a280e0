"""Validation during a run: an examiner, never the reward's judge, grades responses to prompts the run does not train on.

Validation never promotes, and its texts are drawn from a stream of their own, the same at every visit: a change of the
grade is a change of the policy.
"""

from collections.abc import Sequence

from longform.judging.pointwise import PointwiseJudge
from longform.records.database import ValidationText
from longform.records.schemas import Prompt
from longform.training.judge_thread import JudgeThread
from longform.training.models import PolicyModels
from longform.writers.decoding import Written, decode_in_batches
from longform.writers.local import encode_prompt, response_text, stop_tokens
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

    def measure(self, models: PolicyModels, *, step: int) -> tuple[dict[str, float], list[ValidationText]]:
        """Mean grade of the policy's responses and how many got none, and the responses themselves."""
        stops = stop_tokens(models.as_policy(), models.tokenizer)
        encoded = [encode_prompt(models.tokenizer, it, limit=self._settings.max_prompt_tokens) for it in self._prompts]

        texts: dict[int, str] = {}

        def grade(row: int, written: Written) -> None:
            texts[row] = response_text(models.tokenizer, written, stops)
            self._thread.submit(row, self._examiner.grade(self._prompts[row], texts[row], step=step))

        with models.autocast():
            decode_in_batches(
                models.as_policy(),
                encoded,
                seed=self._seed,
                step=_STREAM,
                stop_tokens=stops,
                settings=self._settings,
                on_finished=grade,
            )
        grades = [graded.score for graded in self._thread.collect()]
        records = [
            ValidationText(step, prompt.id, prompt.request, texts[row], grades[row])
            for row, prompt in enumerate(self._prompts)
        ]
        scores = [score for score in grades if score is not None]
        metrics = {"validation/no_grade": float(len(grades) - len(scores))}
        if scores:
            metrics["validation/grade"] = sum(scores) / len(scores)
        return metrics, records
