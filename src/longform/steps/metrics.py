"""The scores of a step, the mask of the rollouts that take part, staged promotions, and the step's metrics.

Pure, and the same for every engine. A rollout with a missing score is masked; a missing verdict never counts as a loss.

Measures of texts are means over the answers that hold a word: an answer that a broken structure has left empty repeats
nothing and copies nothing, and a policy that learns the structure must not seem to learn to repeat itself.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from longform.curriculum.criteria import group_means
from longform.curriculum.schedule import Curriculum, PromptDraw, PromptOutcome, RungUpdate
from longform.judging.judge import total_cost
from longform.judging.pairwise import OUTCOMES
from longform.monitors.keywords import JudgedText
from longform.recipe.recipe import Recipe
from longform.records.database import RolloutRecord, ValidationText
from longform.records.errors import StoppedError
from longform.records.schemas import PromptRow
from longform.rewards.reward import UNSCORED, RewardResults, criterion_scores, missing_cause, outcome_of, scores_by_kind
from longform.rewards.settings import GroupSettings
from longform.rl.group_advantages import GroupAdvantages
from longform.text.diversity import distinct_share, self_bleu
from longform.text.repetition import (
    copied_share,
    repeated_ngram_share,
    repeated_sentence_share,
    reworded_sentence_share,
    stuffed_share,
)
from longform.text.structure import ParsedResponse, Thinking, parse_response
from longform.text.words import LENGTH_BIN_STARTS, count_words_of_any_script


class StepScores(NamedTuple):
    """The rewards of a step and what follows from them. N rollouts, K rewards."""

    results: Sequence[RewardResults]
    """[N]."""
    by_reward: np.ndarray
    """[N, K] float64, in the order of the recipe; NaN where a reward is not for the source of the prompt, and 0 and
    meaningless where the mask is False."""
    scores: np.ndarray
    """[N] float32, the weighted mean over rewards."""
    mask: np.ndarray
    """[N] bool: the rollouts that have a score of every reward."""
    updates: list[RungUpdate]
    """Staged, to be committed with the update of the policy."""

    def reward(self, row: int) -> float | None:
        """The score of a rollout; None if a reward is missing."""
        return float(self.scores[row]) if self.mask[row] else None


def finalize_step(
    results: Sequence[RewardResults],
    draws: Sequence[PromptDraw],
    text_hashes: Sequence[str],
    curriculum: Curriculum,
    *,
    weights: Sequence[float],
    kinds: Sequence[str] | None = None,
    min_responses: int = 1,
    left_out: np.ndarray | None = None,
) -> StepScores:
    """Scores, mask and staged promotions of a step.

    A win counts only if its rollout takes part in the update that the promotion is committed with.

    Args:
        results: [N]; the rollouts of a prompt are adjacent.
        draws: [prompts] the prompts of the step and the rungs they face; rollouts divide evenly over them.
        text_hashes: [N] of the responses, one of which may become a rung (curriculum.top: self).
        curriculum: read only; `Curriculum.commit` applies the promotions after the update.
        weights: [K] of the rewards, in the order of the recipe.
        kinds: [K] of the rewards; None if every reward has a result for every response.
        min_responses: rollouts with scores that a group needs to take part; two with GRPO.
        left_out: [N] bool, rollouts that take no part for another reason.
    """
    by_kind = [scores_by_kind(it) for it in results]
    mask = np.array([scores is not None for scores in by_kind])
    by_reward = np.array([_row(scores, kinds, len(weights)) for scores in by_kind], dtype=np.float64)
    scores = weighted_means(by_reward, weights)
    group = len(results) // len(draws)
    visits = []
    for index, draw in enumerate(draws):
        rows = slice(index * group, (index + 1) * group)
        counts = mask[rows] & (mask[rows].sum() >= min_responses)
        if left_out is not None:
            counts &= ~left_out[rows]
        outcomes = tuple(outcome_of(it) if one else None for it, one in zip(results[rows], counts, strict=True))
        means = group_means(draw.criteria, [criterion_scores(it) for it in results[rows]])
        visits.append(PromptOutcome(draw.prompt_index, draw.rung, outcomes, tuple(text_hashes[rows]), means))
    return StepScores(results, by_reward, scores.astype(np.float32), mask, curriculum.stage(visits))


def _row(scores: dict[str, float] | None, kinds: Sequence[str] | None, count: int) -> list[float]:
    if scores is None:
        return [0.0] * count
    return list(scores.values()) if kinds is None else [scores.get(kind, float("nan")) for kind in kinds]


def weighted_means(by_reward: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """The weighted mean of each response's rewards, [N], over those that are for its prompt (not NaN).

    Args:
        by_reward: [N, K], with at least one reward for each response.
        weights: [K].
    """
    missing = np.isnan(by_reward)
    if not missing.any():
        return by_reward @ (np.asarray(weights) / sum(weights))
    shares = np.where(missing, 0.0, np.asarray(weights, dtype=np.float64))
    return (np.nan_to_num(by_reward) * shares).sum(1) / shares.sum(1)


def check_judge_failure_rate(results: Sequence[RewardResults], *, step: int, limit: float, setting: str) -> None:
    """Stop a run whose judge has stopped working.

    Args:
        results: [N] of the rollouts.
        step: named in the error.
        limit: the largest fraction of missing scores that a step may have.
        setting: the name of the limit in the recipe.

    Raises:
        StoppedError: the fraction is above `limit`; names the causes and their counts.
    """
    missing = [cause for it in results if (cause := missing_cause(it)) not in (None, *UNSCORED)]
    if len(missing) > limit * len(results):
        hint = ""
        if "too_long" in missing:
            hint = (
                "; the context of the judge in models.yaml is too small for its question, or a reward model is served with "
                "a context that is too small"
            )
        counts = ", ".join(f"{missing.count(cause)} {cause}" for cause in sorted(set(missing)))
        raise StoppedError(
            f"step {step}: {len(missing)} of {len(results)} rollouts have no score ({counts}); "
            f"{setting} is {limit:g} and may be raised with --resume{hint}"
        )


MAX_COMPARED = 64
"""Answers of a step whose rewording, stuffing and copying are measured, the first ones: prompts are drawn at random, and
one answer of 14,000 tokens takes 0.1 s."""


MAX_DIVERSE = 32
"""Answers of a step whose diversity is measured: of 1,000 words each they take 0.1 s."""
MAX_GROUPS, MAX_OF_GROUP = 4, 8
"""Groups whose diversity is measured, and answers of each."""


def step_metrics(
    rollouts: Sequence[RolloutRecord],
    prompts: Sequence[PromptRow],
    responses: Sequence[ParsedResponse],
    scores: StepScores,
    recipe: Recipe,
) -> dict[str, float]:
    """Metrics of one step's rollouts. Means of rewards and outcomes are over those that have one.

    Args:
        rollouts: [N]; those of a prompt are adjacent.
        prompts: [N] of the rollouts.
        responses: [N] parsed from their texts.
        scores: of the step.
        recipe: of the run.
    """
    words = [it.words for it in rollouts]
    metrics = {
        **_reward_metrics(scores.scores[scores.mask]),
        **_judge_metrics(scores.results),
        **_length_metrics(rollouts, prompts),
        **_answer_metrics(rollouts, prompts, [it.answer for it in responses]),
        **diversity_metrics([it.answer for it in responses], [it.prompt_id for it in rollouts]),
        "no_verdict/share": float(np.mean(~scores.mask)),
        **_missing_score_metrics(scores.results, words),
        "curriculum/mean_rung_faced": float(np.mean([it.rung for it in rollouts])),
    }
    if recipe.generation.think != "off":
        metrics |= _structure_metrics(responses, recipe.generation.think)
    if compared := [it.kind for it in recipe.rewards if isinstance(it, GroupSettings)]:
        metrics["group/judged"] = judged_groups(scores.results, compared[0], group=recipe.data.group)
    if len(recipe.rewards) > 1:
        size = recipe.data.group if recipe.data.group > 1 else len(rollouts)
        by_reward = scores.by_reward.reshape(-1, size, len(recipe.rewards))
        kinds = [it.kind for it in recipe.rewards]
        of_each = by_reward_metrics(by_reward, scores.mask.reshape(-1, size), kinds=kinds, weights=recipe.weights)
        metrics |= of_each
        shares = [of_each[name] for kind in kinds if (name := f"reward/{kind}/share") in of_each]
        if shares and (recipe.method == "ppo" or recipe.advantages == "summed"):
            metrics["reward/largest_share"] = max(shares)
    return metrics


def judged_groups(results: Sequence[RewardResults], kind: str, *, group: int) -> float:
    """The share of the groups of a step that a judge compared; with data.flat_groups not all of them.

    Args:
        results: [N], those of a prompt adjacent.
        kind: of the reward.
        group: responses per prompt.
    """
    asked = [bool(it[kind].calls) if kind in it else False for it in results]
    return float(np.mean([any(asked[start : start + group]) for start in range(0, len(asked), group)]))


def _structure_metrics(parts: Sequence[ParsedResponse], thinking: Thinking) -> dict[str, float]:
    """How many responses keep the structure, and how long the plans of these are."""
    plans = [count_words_of_any_script(it.think) for it in parts if it.well_formed and thinking == "on"]
    metrics = {"text/structure": float(np.mean([it.well_formed for it in parts]))}
    return metrics | ({"text/think_words": float(np.mean(plans))} if plans else {})


def _length_metrics(rollouts: Sequence[RolloutRecord], prompts: Sequence[PromptRow]) -> dict[str, float]:
    ranges = [(it.words, prompt.length_range) for it, prompt in zip(rollouts, prompts, strict=True)]
    inside = [wanted[0] <= words <= wanted[1] for words, wanted in ranges if wanted is not None]
    return {
        "text/count": float(len(rollouts)),
        "text/words": float(np.mean([it.words for it in rollouts])),
        "text/tokens": float(np.mean([it.tokens for it in rollouts])),
        "text/cut_off": float(np.mean([it.finish_reason == "length" for it in rollouts])),
    } | ({"text/in_range": float(np.mean(inside))} if inside else {})


def _answer_metrics(
    rollouts: Sequence[RolloutRecord], prompts: Sequence[PromptRow], answers: Sequence[str]
) -> dict[str, float]:
    """Repetition, rewording, stuffing and copying in the answers."""
    sources = zip(answers, prompts, rollouts, strict=True)
    written = [(answer, prompt.request, it.reference) for answer, prompt, it in sources if answer]
    compared = written[:MAX_COMPARED]
    measured = {
        "text/repetition": [repeated_ngram_share(answer) for answer, *_ in written],
        "text/repeated_sentences": [repeated_sentence_share(answer) for answer, *_ in written],
        "text/redundancy": [reworded_sentence_share(answer) for answer, *_ in compared],
        "text/stuffing": [stuffed_share(answer) for answer, *_ in compared],
        "text/copied_from_prompt": [copied_share(answer, request) for answer, request, _ in compared],
        "text/copied_from_reference": [copied_share(answer, faced) for answer, _, faced in compared if faced],
    }
    return {name: float(np.mean(shares)) for name, shares in measured.items() if shares}


def diversity_metrics(answers: Sequence[str], prompt_ids: Sequence[str]) -> dict[str, float]:
    """How much the answers of a step differ, and those to one prompt: distinct word pairs and self-BLEU.

    Over a step, the answers of different prompts come first: two of one prompt are alike for a reason of their own.

    Args:
        answers: [N]; empty ones are left out.
        prompt_ids: [N] of their prompts.
    """
    by_prompt: dict[str, list[str]] = {}
    for answer, id_ in zip(answers, prompt_ids, strict=True):
        if answer.strip():
            by_prompt.setdefault(id_, []).append(answer)
    groups = [it for it in by_prompt.values() if len(it) > 1]
    longest = max(map(len, by_prompt.values()), default=0)
    mixed = [it[index] for index in range(longest) for it in by_prompt.values() if index < len(it)]
    measured = {
        "text/distinct": [distinct_share(mixed[:MAX_DIVERSE])],
        "text/self_bleu": [self_bleu(mixed[:MAX_DIVERSE])],
        "text/group_distinct": [distinct_share(it[:MAX_OF_GROUP]) for it in groups[:MAX_GROUPS]],
        "text/group_self_bleu": [self_bleu(it[:MAX_OF_GROUP]) for it in groups[:MAX_GROUPS]],
    }
    known = {name: [it for it in found if it is not None] for name, found in measured.items()}
    return {name: float(np.mean(found)) for name, found in known.items() if found}


def judged_texts(
    rollouts: Iterable[RolloutRecord], request_of: Callable[[str], str], *, thinking: Thinking
) -> list[JudgedText]:
    """The answers of rollouts on record, for the tally of keywords.

    Args:
        rollouts: of a step.
        request_of: what a prompt asks for, by its id.
        thinking: what structure the responses were asked to have.
    """
    return [
        JudgedText(parse_response(it.text, thinking).answer, request_of(it.prompt_id), it.reward) for it in rollouts
    ]


def validation_metrics(validated: Sequence[ValidationText]) -> dict[str, float]:
    """Mean grade of the texts that have one, with its standard error, and how many have none."""
    grades = [it.grade for it in validated if it.grade is not None]
    metrics = {"validation/no_grade": float(len(validated) - len(grades))}
    if grades:
        metrics["validation/grade"] = float(np.mean(grades))
    bare = [it.bare_grade for it in validated if it.bare_grade is not None]
    if bare:
        metrics["validation/bare_grade"] = float(np.mean(bare))
        metrics |= _error("validation/bare_grade_error", bare)
    cost = total_cost(it.cost for it in validated)
    if cost is not None:
        metrics["validation/cost"] = cost
    return metrics | grade_error(validated)


def grade_error(validated: Sequence[ValidationText]) -> dict[str, float]:
    """Standard error of the mean grade of a validation; nothing where fewer than two texts have one."""
    return _error("validation/grade_error", [it.grade for it in validated if it.grade is not None])


def _error(name: str, grades: Sequence[float]) -> dict[str, float]:
    return {name: float(np.std(grades, ddof=1)) / len(grades) ** 0.5} if len(grades) > 1 else {}


def _reward_metrics(scores: np.ndarray) -> dict[str, float]:
    count = {"reward/count": float(len(scores))}
    return count | ({"reward/mean": float(scores.mean()), "reward/spread": float(scores.std())} if len(scores) else {})


def _judge_metrics(results: Sequence[RewardResults]) -> dict[str, float]:
    """Outcomes, cost, how far the judges agree with each other and with themselves, and what a reward model left unread."""
    rewarded = [result for by_kind in results for result in by_kind.values()]
    cost = total_cost(it.cost for it in rewarded)
    metrics = {} if cost is None else {"judge/cost": cost}
    outcomes = Counter(it.outcome for it in rewarded if it.outcome is not None)
    metrics |= {f"outcome/{name}": outcomes[name] / outcomes.total() for name in OUTCOMES if outcomes}
    disagreements = [it.disagreement for it in rewarded if it.disagreement is not None]
    if disagreements:
        metrics["judge/disagreement"] = float(np.mean(disagreements))
    missing_votes = [it.missing_votes for it in rewarded if it.missing_votes is not None]
    if missing_votes:
        metrics["judge/unheard"] = float(np.mean(missing_votes))
    read = [by_kind["writing"].is_truncated for by_kind in results if "writing" in by_kind]
    if read:
        metrics["reward/writing/cut"] = float(np.mean(read))
    vetoed = [it.is_vetoed for it in rewarded if it.is_vetoed is not None]
    if vetoed:
        metrics["reward/pointwise/vetoed"] = float(np.mean(vetoed))
    improved = [it.improvement for it in rewarded if it.improvement is not None]
    if improved:
        metrics["reward/likelihood/improvement"] = float(np.mean(improved))
    consistent = [it.consistent for it in rewarded if it.consistent is not None]
    if consistent:
        metrics |= {"judge/inconsistency": 1 - float(np.mean(consistent)), "judge/rechecked": float(len(consistent))}
    return metrics


def _missing_score_metrics(results: Sequence[RewardResults], words: Sequence[int]) -> dict[str, float]:
    """Counts of missing rewards by cause and by the length bin of the response."""
    missing = [
        (cause, length_bin(count))
        for it, count in zip(results, words, strict=True)
        if (cause := missing_cause(it)) is not None
    ]
    causes, bins = Counter(cause for cause, _ in missing), Counter(name for _, name in missing)
    return {f"no_verdict/{cause}": float(count) for cause, count in causes.items()} | {
        f"no_verdict/words_{name}": float(count) for name, count in bins.items()
    }


def by_reward_metrics(
    by_reward: np.ndarray, mask: np.ndarray, *, kinds: Sequence[str], weights: Sequence[float]
) -> dict[str, float]:
    """What each of several rewards brings: its mean, its spread within groups, and its share of the sum's.

    The share is cov(w_k r_k, sum) / var(sum) within groups, so that the shares add up to 1; a reward whose share is near 1
    decides alone where rewards are summed.

    Args:
        by_reward: [P, G, K].
        mask: [P, G] which rollouts have rewards.
        kinds, weights: [K].
    """
    present = mask[:, :, None] & ~np.isnan(by_reward)
    counts = present.sum(1)
    if not mask.any():
        return {}
    means = np.where(present, by_reward, 0.0).sum(1) / np.maximum(counts, 1)
    deviations = np.where(present, by_reward - means[:, None], 0.0)
    spreads = np.sqrt((deviations**2).sum(1) / np.maximum(counts - 1, 1))
    weighed = deviations * np.asarray(weights)
    if np.isnan(by_reward).any():  # the weights of a response are those of its own rewards
        weighed = weighed / np.maximum((present * np.asarray(weights)).sum(2, keepdims=True), 1e-12)
    total = weighed.sum(2, keepdims=True)
    variance = float((total**2).sum())
    metrics: dict[str, float] = {}
    for k, kind in enumerate(kinds):
        if not present[:, :, k].any():
            continue
        metrics[f"reward/{kind}/mean"] = float(by_reward[:, :, k][present[:, :, k]].mean())
        metrics[f"reward/{kind}/spread"] = float(spreads[counts[:, k] > 0, k].mean())
        if variance > 0:
            metrics[f"reward/{kind}/share"] = float((weighed[:, :, k : k + 1] * total).sum()) / variance
    return metrics


def kl_to_start(log_probs: Any, reference: Any, mask: Any) -> dict[str, float]:
    """Mean log-ratio of policy and reference model over all response tokens of a step, in nats; empty without a reference
    model.

    Args:
        log_probs: [B, T] tensor, of the policy as the tokens were sampled.
        reference: [B, T] tensor, of the reference model; None if there is none.
        mask: [B, T] tensor, 1 on response tokens.
    """
    if reference is None:
        return {}
    return {"policy/kl_to_start": float(((log_probs - reference) * mask).sum() / mask.sum().clamp(min=1))}


def group_metrics(groups: GroupAdvantages) -> dict[str, float]:
    """Shares of the groups of a step that were skipped, and that have no spread in any reward."""
    skipped = ~groups.mask.any(1)
    return {
        "group/skipped": float(skipped.mean()),
        "group/without_spread": float((~groups.informative & ~skipped).mean()),
    }


def length_bin(words: int) -> str:
    """The length bin of a text, such as `500-2000`."""
    edges = (0, *LENGTH_BIN_STARTS)
    low = max(edge for edge in edges if words >= edge)
    higher = [edge for edge in LENGTH_BIN_STARTS if edge > low]
    return f"{low}-{higher[0]}" if higher else f"{low}+"
