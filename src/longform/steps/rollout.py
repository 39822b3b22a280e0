"""A judged response as it goes on record: the same row of the same table for every engine."""

from longform.records.rollouts import Rollout
from longform.rewards.rewarded import ScoreSheet
from longform.statistics.moments import AdvantageMoments
from longform.text.words import count_words


def record_rollout(
    sheet: ScoreSheet,
    *,
    step: int,
    row: int,
    prompt_id: str,
    rung: int,
    text: str,
    reference: str,
    tokens: int,
    finish_reason: str,
    reward: float | None,
    advantages: AdvantageMoments | None = None,
) -> Rollout:
    """The rollout with its reward.

    Args:
        sheet: what the rewards made of it.
        step, row: where it stands in the run.
        prompt_id: what it was written for.
        rung: of its prompt in this step.
        text: whole, with the tags of its structure.
        reference: the text it was held against; empty where there is none.
        tokens: that were drawn.
        finish_reason: `stop` or `length`.
        reward: that it learns from; None where it has none.
        advantages: of its tokens, where this engine knows them.
    """
    return Rollout(
        step=step,
        row=row,
        prompt_id=prompt_id,
        rung=rung,
        text=text,
        reference=reference,
        tokens=tokens,
        words=count_words(sheet.response.answer),
        think_words=count_words(sheet.response.think),
        finish_reason=finish_reason,
        outcome=sheet.outcome,
        cause=sheet.cause,
        reward=reward,
        scores=sheet.scores,
        disagreement=sheet.disagreement,
        consistent=sheet.consistent,
        advantages=advantages,
        calls=sheet.calls,
    )
