"""Settings of rewards in a recipe."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from longform.plugins import describe_unknown, is_attribute, plugin_names
from longform.statistics.group_games import ComparisonMethod
from longform.text.final_answers import AnswerForm

Names = Annotated[list[str], Field(min_length=1)]
START = "start"
"""As a model: the policy as it is before the first step."""


class _Settings(BaseModel):
    """What all rewards have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    weight: float = Field(default=1.0, gt=0)
    """Its part in the mean over all rewards of a recipe; only the ratio of the weights counts."""
    sources: list[str] | None = Field(default=None, min_length=1)
    """Names in `data.sources` whose prompts it is for: elsewhere it is not computed, and the mean is over the others. None:
    all."""

    def applies_to(self, source: str | None) -> bool:
        """Whether it is for the prompts of a source; None is the only one."""
        return self.sources is None or source in self.sources


class _JudgedSettings(_Settings):
    """What every reward that asks a judge has in common."""

    judge: str | Names
    """A name of models.yaml, or several: a panel."""
    samples: int = Field(default=1, ge=1)
    """How often each judge is asked about one text."""
    max_judge_failure_rate: float = Field(default=0.5, ge=0, le=1)
    """Share of a step's rollouts that may stay without a reward before the run stops; it can be resumed."""

    @field_validator("judge", mode="after")
    @classmethod
    def _check_names(cls, judge: str | list[str]) -> str | list[str]:
        if not isinstance(judge, str) and len(set(judge)) < len(judge):
            raise ValueError(
                "names a judge twice, whose answer would count twice; `samples` asks a judge several times"
            )
        return judge

    @property
    def judges(self) -> list[str]:
        """The names of all judges."""
        return [self.judge] if isinstance(self.judge, str) else self.judge


class PairwiseSettings(_JudgedSettings):
    """The pairwise reward: a judge compares the policy's response with the reference its prompt faces."""

    kind: Literal["pairwise"]
    position: Literal["first", "second", "both"] = "second"
    """Where the policy's response stands (paper: second, the place that judges favour less). `both` asks twice."""
    combine: Literal["vote", "mean"] = "vote"
    """Of several votes: the outcome of the majority, or the mean of what the votes are worth."""
    values: Literal["paper", "released"] = "paper"
    """What win, tie and loss are worth: 1, 0.5, 0 in the paper; 1.1, 0.55, 0.1 in the released code."""
    recheck: float = Field(default=0.0, ge=0, le=1)
    """Share of (prompt, step) pairs whose verdict is asked for once more, to see how far the judge agrees with itself."""


class PointwiseSettings(_JudgedSettings):
    """The pointwise reward: a judge grades the response by itself, 1 to 10, brought to 0 to 1 (the paper's ablation): by the
    prompt's criteria if it has a list of them, else by six general dimensions. A failed hard constraint makes it 0.

    It compares with no reference, so no prompt is ever promoted.
    """

    kind: Literal["pointwise"]
    per_criterion: bool = False
    """Ask about each of the prompt's criteria in a call of its own and average the scores, as WritingBench's critic was
    tuned."""
    required: float | None = Field(default=None, gt=0, le=1)
    """grpo: a response whose score lies below this, as with every failed hard constraint, gets a negative advantage,
    whatever its other rewards, where another of its group reaches it (RLMR). 0.01: only failed hard constraints and the
    lowest grade. None: no such constraint."""


class GroupSettings(_JudgedSettings):
    """The group reward: a judge compares the responses to a prompt with each other, for grpo. Scores lie between 0 and 1.

    A response that the judge did not place has no score, and neither has a group with fewer than two that it placed.
    """

    kind: Literal["group"]
    by: ComparisonMethod
    """peer: one response, drawn, is the opponent of all others: n - 1 questions for n responses. anchors: each is compared
    with fixed texts of its ladder. list: one question orders all of them, read in a shuffled order. round-robin: each meets
    each, n (n - 1) / 2 questions. elimination: single elimination, seeded by a round of `peer`, at most 2n - 3 questions."""
    position: Literal["first", "second", "both"] = "second"
    """Where the response stands, for peer and anchors. In round-robin and elimination each response is first in half of its
    games. `both` asks twice. Not for list."""
    combine: Literal["vote", "mean"] = "vote"
    """Of several votes on a pair: the outcome of the majority, or the mean share of a win. Not for list, where all orders
    count together."""
    anchors: int = Field(default=1, ge=0)
    """anchors: how many rungs below and above the one that is faced are compared with besides it."""

    @model_validator(mode="after")
    def _check_list(self) -> "GroupSettings":
        if self.by == "list" and (self.position != "second" or self.combine != "vote"):
            raise ValueError("by: list has no pairs; leave `position` and `combine` out")
        if self.by != "anchors" and self.anchors != 1:
            raise ValueError("`anchors` is only valid with by: anchors")
        return self


class _MeasuredSettings(_Settings):
    """What every reward that is measured on the page has in common."""

    required: float | None = Field(default=None, gt=0, le=1)
    """grpo: a response whose score lies below this gets a negative advantage, whatever its other rewards, where another
    of its group reaches it. None: no such constraint."""


class LengthSettings(_MeasuredSettings):
    """The length reward: 1 for an answer inside its prompt's `length_range`, less the further it lies outside."""

    kind: Literal["length"]
    max_words: int | None = Field(default=None, ge=1)
    """Where the reward of a longer answer reaches 0 (L_max). None: at twice the upper end of the prompt's range (ours)."""
    cut_off: float = Field(default=0.5, ge=0, le=1)
    """What is left of the reward of an answer that `max_tokens` cut off (ours): it would have been longer, nobody knows how
    much, and a text without its ending is no success."""


class FormatSettings(_MeasuredSettings):
    """The format reward: 0 where the structure that `generation.think` asks for is broken, else 1 less what the answer is
    charged for repetition and the like.

    Each charge is a weight times a share between 0 and 1. The weights are ours: the paper names no formula.
    """

    kind: Literal["format"]
    repetition: float = Field(default=1.0, ge=0)
    """Of the share of repeated sentences, of repeated paragraphs, or of four-word sequences repeated beyond what is
    natural, whichever is largest. A sentence that says an earlier one again in other words is not detected."""
    stuffing: float = Field(default=0.0, ge=0)
    """Of the share of words that are spent on repeating single words."""
    copying: float = Field(default=0.0, ge=0)
    """Of the share of the answer that is copied from the request or from the reference that is faced."""
    slop: float = Field(default=0.0, ge=0)
    """Of the share of words in phrases of `slop_list`, beyond what nine of ten human texts have."""
    slop_list: Path | None = None
    """File of `longform slop mine`, with a list for each language."""

    @model_validator(mode="after")
    def _check_slop(self) -> "FormatSettings":
        if (self.slop > 0) != (self.slop_list is not None):
            raise ValueError("`slop` and `slop_list` go together: the weight, and the file of `longform slop mine`")
        return self


class AnswerSettings(_MeasuredSettings):
    """The answer reward: 1 if the final answer that a response states is the one in its prompt's `meta.answer`, else 0; for
    tasks whose answer can be verified.

    The last well-formed answer counts, in `\\boxed{...}` or after "answer:" or "the answer is"; a response that states none,
    or that `max_tokens` cut off, has none.
    """

    kind: Literal["answer"]
    form: AnswerForm | Literal["verdict"] = "exact"
    """exact: the same text, apart from case, spaces and marks around it. choice: one letter. number: the same number,
    however it is written; a unit is ignored. verdict: `[[A]]`, `[[B]]`, or `[[C]]` for a tie, as a pairwise judge answers.
    `meta.answer` may be a list of answers that count as right."""


class WritingSettings(_Settings):
    """The writing reward: a reward model's score of the answer (LongWriter-Zero), brought to spread 1 where the model
    says what its scores are like, as those of `longform reward-model` do.
    """

    kind: Literal["writing"]
    model: str | Names
    """Folder or hub id of the reward model, or several, whose mean counts; only a folder of ours says what its scores are
    like."""
    shares: list[Annotated[float, Field(gt=0)]] | None = None
    """Of several reward models: what each counts in the mean, where only the ratio matters. None: all the same."""
    endpoint: str | Names | None = None
    """Name of models.yaml under which vLLM serves the reward model (`vllm serve MODEL --runner pooling`), one for each of
    `model`, which then gives the tokenizer and the scale alone. None: it is loaded where the policy is trained."""
    max_judge_failure_rate: float = Field(default=0.5, ge=0, le=1)
    """With `endpoint`: share of a step's rollouts that may stay without a score before the run stops; it can
    be resumed.
    """
    batch: int = Field(default=16, ge=1)
    """Without `endpoint`: responses that it reads at once. A batch changes scores by rounding; at 1 a run
    repeats itself.
    """
    max_tokens: int | None = Field(default=None, ge=2)
    """Longest input, prompt and answer together; a longer answer is read without its end, and `reward/writing/cut`
    tells how often. None: as in the training of the reward model, or as long as it can read."""

    @property
    def models(self) -> list[str]:
        """All reward models."""
        return [self.model] if isinstance(self.model, str) else self.model

    @property
    def endpoints(self) -> list[str]:
        """Where they are served, in the same order; empty where they are loaded."""
        return [self.endpoint] if isinstance(self.endpoint, str) else self.endpoint or []

    @model_validator(mode="after")
    def _check_counts(self) -> "WritingSettings":
        if len(set(self.endpoints)) < len(self.endpoints):
            raise ValueError("`endpoint` names one twice, and each serves one reward model")
        if self.endpoints and len(self.endpoints) != len(self.models):
            raise ValueError(f"`endpoint` names {len(self.endpoints)}, and `model` {len(self.models)}: one serves one")
        if self.shares and len(self.shares) != len(self.models):
            raise ValueError(f"`shares` holds {len(self.shares)}, and `model` {len(self.models)}")
        return self


class LikelihoodSettings(_Settings):
    """The likelihood reward (VR-CLI, arXiv 2503.22828): how much a response's plan lowers the perplexity of the text that
    really follows, under a frozen model. It asks no judge. With `generation.think: on`, engine local.

    A response without a plan, or to a prompt without a continuation, has no score and is masked.
    """

    kind: Literal["likelihood"]
    model: str = START
    """`start`: the policy as it is before the first step. Else a folder or hub id. It is loaded beside the policy, frozen,
    and takes its memory, also where the policy is adapters."""
    field: str = Field(default="meta.continuation", pattern=r"^(meta\.)?[^.]+$")
    """The field of a prompt's row that holds the text that really follows, or `meta.` and a key of its meta."""
    template: Path | None = None
    """A text file with `{request}` and `{plan}` in it, which is the model's prompt with the plan; without one it is the
    request by itself. None: the request, an empty line, and the plan in `<plan>` tags."""
    values: Literal["paper", "improvement"] = "paper"
    """What the improvement of the perplexity in percent is worth. paper: 0 below 0.05, 0.5 below 1, 0.9 below 2, else 1.
    improvement: a hundredth of it, at least 0."""
    max_tokens: int = Field(default=4096, ge=1)
    """Longest continuation; of a longer one the beginning is read."""


class PluginRewardSettings(_Settings):
    """A reward of another package, or of a Python file in the current folder. Training runs its code; reading a recipe
    or a run does not.
    """

    kind: str
    """`module.path:Name` of a function or class, or the name of an installed entry point of `longform.rewards`."""
    required: float | None = None
    """grpo: a response whose score is below this gets a negative advantage, whatever its other rewards, if another
    response of its group reaches it. None: no such constraint."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the class, or of each call of the function."""

    @field_validator("kind")
    @classmethod
    def _check_kind(cls, kind: str, info: ValidationInfo) -> str:
        """A recipe that is stored with a run names what was installed then."""
        if ":" in kind and not is_attribute(kind):
            raise ValueError(f"{kind!r}: a reward of your own is written module.path:Name")
        is_stored = bool(info.context and info.context.get("stored"))
        if not (is_stored or is_attribute(kind) or kind in (installed := plugin_names("longform.rewards"))):
            raise ValueError(describe_unknown(kind, [*BUILTIN_REWARDS, *installed], what="reward"))
        return kind


BUILTIN_REWARDS = ("pairwise", "pointwise", "group", "length", "format", "answer", "writing", "likelihood")
"""Kinds of rewards in this package."""
_PLUGIN = "plugin"


def _tag(value: Any) -> str | None:
    """Which settings class the kind of a reward belongs to; None if there is no kind."""
    kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    return kind if kind is None or kind in BUILTIN_REWARDS else _PLUGIN


JudgedSettings = PairwiseSettings | PointwiseSettings | GroupSettings
ConstraintSettings = PointwiseSettings | LengthSettings | FormatSettings | AnswerSettings | PluginRewardSettings
RewardSettings = Annotated[
    Annotated[PairwiseSettings, Tag("pairwise")]
    | Annotated[PointwiseSettings, Tag("pointwise")]
    | Annotated[GroupSettings, Tag("group")]
    | Annotated[LengthSettings, Tag("length")]
    | Annotated[FormatSettings, Tag("format")]
    | Annotated[AnswerSettings, Tag("answer")]
    | Annotated[WritingSettings, Tag("writing")]
    | Annotated[LikelihoodSettings, Tag("likelihood")]
    | Annotated[PluginRewardSettings, Tag(_PLUGIN)],
    Discriminator(_tag, custom_error_type="missing_kind", custom_error_message="needs a `kind`"),
]
