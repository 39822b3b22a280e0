"""Validation during a run: an examiner, never the reward's judge, grades responses to prompts the run does not train on.

Validation never promotes. Its responses are sampled from a random stream of their own, which is the same in every
validation, so a change of the grade comes from a change of the policy.
"""

from collections.abc import Sequence

from longform.judging.examiner import Examined, TextExaminer
from longform.records.database import ValidationText
from longform.records.schemas import Prompt
from longform.rewards.judge_thread import JudgeThread
from longform.text.structure import parse_response
from longform.training.policy_writer import PolicyWriter
from longform.wording import Wording
from longform.writers.decoding import Completion

_STREAM = 0  # training steps count from 1


class Validation:
    """Grades the policy on held-out prompts."""

    def __init__(
        self,
        prompts: Sequence[Prompt],
        writer: PolicyWriter,
        examiner: TextExaminer,
        thread: JudgeThread,
        *,
        wording: Wording | None = None,
    ) -> None:
        self._prompts, self._writer, self._examiner, self._thread = prompts, writer, examiner, thread
        self._encoded = writer.encode(prompts, wording=wording)

    def measure(self, step: int) -> list[ValidationText]:
        """The policy's responses after `step`, with their grades."""
        texts: dict[int, str] = {}

        def grade(row: int, completion: Completion) -> None:
            texts[row] = self._writer.text(completion)
            self._thread.submit(row, self._grade(self._prompts[row], texts[row], step=step))

        self._writer.write(self._encoded, step=_STREAM, on_finished=grade)
        grades = self._thread.collect()
        return [
            ValidationText(step, prompt.id, prompt.request, texts[row], *grades[row])
            for row, prompt in enumerate(self._prompts)
        ]

    async def _grade(self, prompt: Prompt, text: str, *, step: int) -> Examined:
        """The examiner's grade of the answer."""
        answer = parse_response(text, self._writer.thinking).answer
        return await self._examiner.examine(prompt, answer, step=step)
