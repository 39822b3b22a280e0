"""A laboratory for studies in the miniature: REINFORCE on seven switches instead of a language model, in seconds a seed.

The policy decides for each flaw of `Skill` whether it writes with the master's probability or with the novice's (in a
speciality: with that of the lessons there). Its parameters are a logit per flaw, shared by all prompts, plus one per flaw
and kind of prompt; the stories come from the miniature's grammar. Selection order, ladders, curriculum, length reward, group
advantages and judge functions are longform's own. So the laboratory says which differences between arms the world and its
judge allow, and how many seeds they need, before a model is trained. It says nothing about what a model finds hard to learn.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal, NamedTuple

import numpy as np

from longform.curriculum.schedule import Curriculum, PromptOutcome
from longform.curriculum.settings import CurriculumSettings
from longform.judging.pairwise import WinTieLoss
from longform.judging.pointwise import DIMENSIONS
from longform.miniature.judge import (
    EXAMINER,
    JUDGES,
    JudgeStyle,
    grade,
    measure,
    pairwise_verdict,
    pointwise_score,
)
from longform.miniature.kinds import KINDS, POOR, PromptKind, kind_of
from longform.miniature.study_world import (
    WorldSettings,
    held_out_prompts,
    world_prompts,
    write_as_competitor,
)
from longform.miniature.world import StoryRequest, parse_request
from longform.miniature.writers import LEVELS, Skill, compose_story
from longform.records.schemas import Prompt, Reference
from longform.rewards.judged import VALUES
from longform.rewards.measured import MAX_PER_UPPER, length_reward
from longform.rl.group_advantages import group_advantages
from longform.selection.potential import candidate, ordered
from longform.selection.select import ladder_references
from longform.selection.settings import Strategy
from longform.statistics.power import paired_power, seeds_needed
from longform.text.words import count_words

POLICY = "policy"
_FLAWS = len(Skill._fields)
_START: dict[PromptKind, float] = {"mastered": 0.4, "ordinary": -0.4, "speciality": -2.2, "broken": -0.4}
"""Logits of writing without a flaw before training, alike for all flaws. They give mean grades of 7.7, 6.4, 2.8 and 2.1;
the language model after SFT in a world with kinds has 6.0, 4.6, 2.4 and 1.7 (seed 1)."""
_OUTCOMES: dict[str, WinTieLoss] = {"A": "loss", "B": "win", "C": "tie"}
"""The policy's response is second."""


class LabArm(NamedTuple):
    """One way of training."""

    strategy: Strategy | None = None
    """Order in which the prompts of `top_share` are chosen; None: all prompts."""
    curriculum: CurriculumSettings = CurriculumSettings()
    reward: Literal["pairwise", "pointwise"] = "pairwise"
    """Reward of PPO-like training with one response a prompt; `advantages` comes first."""
    advantages: Literal["balanced", "summed"] | None = None
    """Train on groups with two rewards of equal weight, writing (the pointwise score) and length."""
    scales: tuple[float, float] = (1.0, 1.0)
    """What the two rewards, each 0 to 1, are multiplied by, as raw scores of different origin are."""


class LabSettings(NamedTuple):
    """Sizes of a training run in the laboratory."""

    steps: int = 45
    per_step: int = 40
    """Responses of a step; in groups of `group` for an arm with `advantages`."""
    group: int = 8
    top_share: float = 0.3
    """Fraction of the prompts that a strategy chooses."""
    lr: float = 0.25
    """Step size of REINFORCE, at advantages with a standard deviation of 1. With it the arms end in the plain world about
    where those of the language model do (benchmarks/RESULTS.md, "Arms and baselines")."""


class LabContrast(NamedTuple):
    """Arms to compare in a world; differences are those of the first arm from each other one."""

    world: WorldSettings
    arms: dict[str, LabArm]


CONTRASTS: dict[str, LabContrast] = {
    "selection": LabContrast(
        WorldSettings(kinds=True),
        {name: LabArm(strategy=name) for name in ("margin", "difficulty", "random")},
    ),
    "curriculum": LabContrast(
        WorldSettings(),
        {
            "dynamic": LabArm(),
            "staged": LabArm(curriculum=CurriculumSettings(mode="staged")),
            "mixed": LabArm(curriculum=CurriculumSettings(mode="mixed")),
            "fixed-best": LabArm(curriculum=CurriculumSettings(mode="fixed", reference="best")),
            "fixed-self": LabArm(curriculum=CurriculumSettings(mode="fixed", reference="self")),
        },
    ),
    "reward": LabContrast(
        WorldSettings(judge="calibrated"), {"pairwise": LabArm(), "pointwise": LabArm(reward="pointwise")}
    ),
    "advantages": LabContrast(
        WorldSettings(judge="calibrated"),
        {how: LabArm(advantages=how, scales=(20.0, 1.0)) for how in ("balanced", "summed")},
    ),
    "advantages-length": LabContrast(
        WorldSettings(judge="calibrated"),
        {how: LabArm(advantages=how, scales=(1.0, 10.0)) for how in ("balanced", "summed")},
    ),
}
"""The papers' contrasts: Writing-RL's selection, scheduling and comparison reward, LongWriter-Zero's advantages."""


@dataclass(frozen=True, slots=True)
class LabDifference:
    """The difference of two arms over seeds, and the power of a paired t-test to find it."""

    mean: float
    sd: float
    """Over seeds, of the paired difference."""
    power_5: float
    """Power at 5 seeds, two-sided at 5%."""
    power_10: float
    """Power at 10 seeds."""
    seeds: int | None
    """Seeds for a power of .8; None: more than a hundred."""

    @property
    def is_trained(self) -> bool:
        """Whether ten seeds are enough for a power of .8: the rule for training models on a contrast."""
        return self.power_10 >= 0.8


def difference(first: Sequence[float], other: Sequence[float]) -> LabDifference:
    """Compare two arms.

    Args:
        first: Results of the first arm by seed.
        other: Results of the other arm by the same seeds, at least two.
    """
    paired = [one - two for one, two in zip(first, other, strict=True)]
    mean, sd = fmean(paired), stdev(paired)
    return LabDifference(mean, sd, paired_power(mean, sd, 5), paired_power(mean, sd, 10), seeds_needed(mean, sd))


def run_arm(arm: LabArm, world: WorldSettings, *, seed: int, lab: LabSettings = LabSettings()) -> float:  # noqa: B008
    """Train one arm; return the examiner's mean grade on the held-out prompts. A function of its arguments.

    Args:
        arm: The arm.
        world: Settings of the world; `lesson_steps` has no effect.
        seed: Seed of prompts, draws and texts.
        lab: Sizes.
    """
    policy = _SwitchPolicy(world, seed)
    judge = JUDGES[world.judge]
    pool = _pool(policy, world, seed, judge)
    if arm.strategy is not None:
        pool = _chosen(pool, arm.strategy, seed=seed, count=round(lab.top_share * len(pool)))
    if arm.advantages is not None:
        _train_in_groups(policy, pool, arm.advantages, arm.scales, judge, seed=seed, lab=lab)
    else:
        _train(policy, pool, arm, judge, seed=seed, lab=lab)
    held_out = held_out_prompts(world, seed=seed, count=world.held_out_prompts)
    requests = [parse_request(row.request) for row in held_out]
    return fmean(grade(measure(request, policy.write(request).text), EXAMINER) for request in requests)


class _GradedPrompt(NamedTuple):
    """A prompt with its graded responses, weakest first."""

    row: Prompt
    request: StoryRequest
    ladder: list[Reference]


class _SwitchDraw(NamedTuple):
    """A response and its score function: the gradient of its log-probability in the logits of its kind."""

    text: str
    kind: int
    gradient: np.ndarray
    """[flaws]"""


class _SwitchPolicy:
    """Seven switches, with a logit each for all prompts and one for each kind."""

    def __init__(self, world: WorldSettings, seed: int) -> None:
        self.shared = np.zeros(_FLAWS)
        self.by_kind = np.array([[_START[kind if world.kinds else "ordinary"]] * _FLAWS for kind in KINDS])
        self._kinds = world.kinds
        self._seed, self._stream = seed, np.random.default_rng([seed, 1])
        self._written = 0

    def kind(self, request: StoryRequest) -> int:
        return KINDS.index(kind_of(request) if self._kinds else "ordinary")

    def write(self, request: StoryRequest) -> _SwitchDraw:
        kind = self.kind(request)
        chances = 1 / (1 + np.exp(-(self.shared + self.by_kind[kind])))
        flawless = self._stream.random(_FLAWS) < chances
        worst_skill = POOR if KINDS[kind] == "speciality" else LEVELS["novice"]
        skill = Skill(
            *(best if it else worst for it, best, worst in zip(flawless, LEVELS["master"], worst_skill, strict=True))
        )
        self._written += 1
        text = compose_story(request, skill, random.Random(f"laboratory/{self._seed}/{self._written}"))
        return _SwitchDraw(text, kind, flawless - chances)

    def update(self, draws: Sequence[_SwitchDraw], advantages: np.ndarray, *, lr: float) -> None:
        """Take a step of REINFORCE."""
        for draw, advantage in zip(draws, advantages, strict=True):
            step = lr * float(advantage) / len(draws) * draw.gradient
            self.shared += step
            self.by_kind[draw.kind] += step


def _pool(policy: _SwitchPolicy, world: WorldSettings, seed: int, judge: JudgeStyle) -> list[_GradedPrompt]:
    pool = []
    for row in world_prompts(world, seed=seed, count=world.train_prompts):
        request = parse_request(row.request)
        texts = {
            writer: write_as_competitor(request, writer=writer, sample=0, kinds=world.kinds) for writer in LEVELS
        } | {POLICY: policy.write(request).text}
        graded = [
            Reference(model=model, text=text, score=_mean_score(request, text, judge)) for model, text in texts.items()
        ]
        pool.append(_GradedPrompt(row, request, ladder_references(graded, policy=POLICY)))
    return pool


def _chosen(pool: Sequence[_GradedPrompt], strategy: Strategy, *, seed: int, count: int) -> list[_GradedPrompt]:
    by_id = {it.row.id: it for it in pool}
    scored = [
        candidate(it.row.id, {reference.model: reference.score for reference in it.ladder}, policy=POLICY)
        for it in pool
    ]
    kept = ordered([it for it in scored if it is not None], strategy=strategy, seed=seed)[:count]
    return [by_id[it.id] for it in kept]


def _train(
    policy: _SwitchPolicy, pool: Sequence[_GradedPrompt], arm: LabArm, judge: JudgeStyle, *, seed: int, lab: LabSettings
) -> None:
    """Train with one response a prompt; a regression on the rung's score and the kind takes the part of the critic."""
    ladders = [(it.row.id, [reference.model for reference in it.ladder]) for it in pool]
    curriculum = Curriculum.of(ladders, arm.curriculum, policy=POLICY, seed=seed, steps=lab.steps)
    for step in range(1, lab.steps + 1):
        drawn = curriculum.draw(step, min(lab.per_step, len(pool)))
        draws = [policy.write(pool[it.prompt_index].request) for it in drawn]
        references = [pool[it.prompt_index].ladder[it.rung] for it in drawn]
        requests = [pool[it.prompt_index].request for it in drawn]
        if arm.reward == "pointwise":
            rewards = [(_mean_score(it, draw.text, judge) - 1) / 9 for it, draw in zip(requests, draws, strict=True)]
            known = np.zeros(len(draws))
        else:
            outcomes: list[WinTieLoss] = [
                _OUTCOMES[pairwise_verdict(it, reference.text, draw.text, judge)]
                for it, reference, draw in zip(requests, references, draws, strict=True)
            ]
            rewards = [VALUES["paper"][outcome] for outcome in outcomes]
            known = np.array([reference.score for reference in references])
            visits = zip(drawn, outcomes, strict=True)
            curriculum.commit(
                curriculum.stage([PromptOutcome(it.prompt_index, it.rung, (outcome,)) for it, outcome in visits])
            )
        policy.update(draws, _whitened(np.array(rewards), known, np.array([draw.kind for draw in draws])), lr=lab.lr)


def _whitened(rewards: np.ndarray, known: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Return rewards minus their regression on the reference's score and the kind, with a standard deviation of 1."""
    inputs = np.column_stack([known, kinds[:, None] == np.arange(len(KINDS))])
    rest = rewards - inputs @ np.linalg.lstsq(inputs, rewards, rcond=None)[0]
    return rest / (rest.std() + 1e-8)


def _train_in_groups(
    policy: _SwitchPolicy,
    pool: Sequence[_GradedPrompt],
    how: Literal["balanced", "summed"],
    scales: tuple[float, float],
    judge: JudgeStyle,
    *,
    seed: int,
    lab: LabSettings,
) -> None:
    curriculum = Curriculum([1] * len(pool), [0] * len(pool), CurriculumSettings(), seed=seed, steps=lab.steps)
    for step in range(1, lab.steps + 1):
        drawn = curriculum.draw(step, min(lab.per_step // lab.group, len(pool)))
        requests = [pool[it.prompt_index].request for it in drawn]
        draws = [[policy.write(request) for _ in range(lab.group)] for request in requests]
        scores = np.array(
            [
                [((_mean_score(request, it.text, judge) - 1) / 9, _length_reward(request, it.text)) for it in group]
                for request, group in zip(requests, draws, strict=True)
            ]
        ) * np.array(scales)
        found = group_advantages(scores, np.ones(scores.shape[:2], dtype=bool), weights=[1.0, 1.0], how=how)
        policy.update([draw for group in draws for draw in group], found.advantages.ravel(), lr=lab.lr)


def _length_reward(request: StoryRequest, text: str) -> float:
    lower, upper = request.length_range
    return length_reward(count_words(text), lower=lower, upper=upper, longest=MAX_PER_UPPER * upper)


def _mean_score(request: StoryRequest, text: str, judge: JudgeStyle) -> float:
    return fmean(pointwise_score(request, text, judge, dimension=name) for name in DIMENSIONS)
