"""Rewards on scales of their own, for studies of how advantages are combined.

`kind: "longform.miniature.raw_rewards:length"` is the length score times `scale`, and `:writing` a grade of the
training judge's kind times `scale`, as an unstandardised reward model's score is.
"""

from collections.abc import Sequence

from longform.miniature.judge import JUDGES, pointwise_score
from longform.miniature.world import parse_request
from longform.rewards.measured import MAX_PER_UPPER, length_reward
from longform.text.words import count_words


def length(prompt: str, response: str, reference: str, *, length_range: Sequence[int], scale: float = 1.0) -> float:  # noqa: ARG001
    """LongWriter-Zero's length score (eq. 3), 0 to `scale`."""
    lo, hi = length_range
    return scale * length_reward(count_words(response), lower=lo, upper=hi, longest=MAX_PER_UPPER * hi)


def writing(prompt: str, response: str, reference: str, *, judge: str = "mild", scale: float = 1.0) -> float:  # noqa: ARG001
    """The grade of a judge of the miniature, 0 to `scale`, without a call."""
    return scale * (pointwise_score(parse_request(prompt), response, JUDGES[judge], dimension="all") - 1) / 9
