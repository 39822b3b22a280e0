"""What the questions of a replay cost at most, before the first is asked."""

from math import ceil

from longform.evaluation.question_price import QuestionPrice
from longform.evaluation.replay.inputs import ReplayInputs
from longform.planning.assumptions import Assumptions
from longform.planning.judge_load import reward_loads
from longform.planning.text_lengths import lengths_on_record
from longform.records.run_directory import RunDirectory
from longform.text.words import TOKENS_PER_LATIN_WORD


def price_replay(run: RunDirectory, inputs: ReplayInputs) -> dict[str, QuestionPrice]:
    """Return for each judge the price of all questions of a replay, answers of typical length and none on record.

    Args:
        run: Run directory, open for reading.
        inputs: Inputs from `check_replay`.
    """
    recipe = inputs.replayed
    if not recipe.judged:
        return {}
    words = [rollout.words for rollout in run.database.rollouts()]
    lengths = lengths_on_record(inputs.prompts, answer=TOKENS_PER_LATIN_WORD * sum(words) / len(words))
    recorded = len(words) / (recipe.run.steps * recipe.rollouts)  # as a share of the rollouts that the recipe plans
    return {
        load.name: QuestionPrice(
            # The small number is the rounding of the share.
            ceil(load.calls * recorded - 1e-6),
            round(load.prompt_tokens * recorded),
            None if load.cost is None else load.cost * recorded,
        )
        for load in reward_loads(recipe, lengths, inputs.judges, Assumptions())
    }
