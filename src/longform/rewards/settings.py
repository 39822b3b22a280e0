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
"""The value of `model` that stands for the policy before the first step."""


class _Settings(BaseModel):
    """What all rewards have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    weight: float = Field(default=1.0, gt=0)
    """Weight in the mean over all rewards of a recipe; only the ratio of the weights counts."""
    sources: list[str] | None = Field(default=None, min_length=1)
    """Names in `data.sources` to whose prompts the reward applies; for other prompts the mean is over the other rewards.
    None: all."""

    def applies_to(self, source: str | None) -> bool:
        """Whether the reward applies to the prompts of a source; the source is None for a recipe without `data.sources`."""
        return self.sources is None or source in self.sources


class _JudgedSettings(_Settings):
    """What every reward that asks a judge has in common."""

    judge: str | Names
    """A name in models.yaml, or several: a panel."""
    samples: int = Field(default=1, ge=1)
    """How often each judge is asked about one text."""
    max_judge_failure_rate: float = Field(default=0.5, ge=0, le=1)
    """Maximum share of a step's rollouts without a reward; above it the run stops, and can be resumed."""

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
    """The pairwise reward: a judge compares the policy's response with the current reference of its prompt."""

    kind: Literal["pairwise"]
    position: Literal["first", "second", "both"] = "second"
    """Position of the policy's response (paper: second, which judges favour less). `both` asks in both orders."""
    combine: Literal["vote", "mean"] = "vote"
    """How several votes are combined: the outcome of the majority, or the mean of their values."""
    values: Literal["paper", "released"] = "paper"
    """Values of win, tie and loss: 1, 0.5, 0 in the paper; 1.1, 0.55, 0.1 in the released code."""
    recheck: float = Field(default=0.0, ge=0, le=1)
    """Share of (prompt, step) pairs about which the first judge is asked again, to measure its consistency."""


class PointwiseSettings(_JudgedSettings):
    """The pointwise reward: a judge grades the response alone from 1 to 10, rescaled to 0 to 1 (the paper's ablation). It
    grades by the prompt's list of criteria, else by six general dimensions. A failed hard constraint makes the reward 0.

    There is no comparison with a reference, so prompts are not promoted.
    """

    kind: Literal["pointwise"]
    per_criterion: bool = False
    """Ask about each of the prompt's criteria in a call of its own and average the scores, as WritingBench's critic was
    tuned."""
    required: float | None = Field(default=None, gt=0, le=1)
    """grpo: a response with a score below this gets a negative advantage, whatever its other rewards, if another response of
    its group reaches it (RLMR). 0.01: only failed hard constraints and the lowest grade. None: no such constraint."""


class GroupSettings(_JudgedSettings):
    """The group reward, for grpo: a judge compares the responses to a prompt with each other. Scores are between 0 and 1.

    A response that the judge did not compare or place has no score; if fewer than two of a group have one, none has.
    """

    kind: Literal["group"]
    by: ComparisonMethod
    """How responses are compared. peer: one response, drawn at random, is the opponent of all others: n - 1 questions for n
    responses. anchors: each is compared with texts of its ladder. list: one question orders all of them, shuffled.
    round-robin: all pairs, n (n - 1) / 2 questions. elimination: single elimination, seeded by a round of `peer`, at most
    2n - 3 questions."""
    position: Literal["first", "second", "both"] = "second"
    """Position of the response, for peer and anchors. In round-robin and elimination each response is first in half of its
    games. `both` asks in both orders. Not valid with list."""
    combine: Literal["vote", "mean"] = "vote"
    """How several votes on a pair are combined: the outcome of the majority, or the mean share of a win. Not valid with
    list, which uses all orders."""
    anchors: int = Field(default=1, ge=0)
    """anchors: number of rungs below and above the current one to compare with as well."""

    @model_validator(mode="after")
    def _check_list(self) -> "GroupSettings":
        if self.by == "list" and (self.position != "second" or self.combine != "vote"):
            raise ValueError("by: list compares no pairs; leave out `position` and `combine`")
        if self.by != "anchors" and self.anchors != 1:
            raise ValueError("`anchors` is only valid with by: anchors")
        return self


class _MeasuredSettings(_Settings):
    """What every reward that is computed from the text has in common."""

    required: float | None = Field(default=None, gt=0, le=1)
    """grpo: a response with a score below this gets a negative advantage, whatever its other rewards, if another response of
    its group reaches it. None: no such constraint."""


class LengthSettings(_MeasuredSettings):
    """The length reward: 1 for an answer inside its prompt's `length_range`, less the further it is outside."""

    kind: Literal["length"]
    max_words: int | None = Field(default=None, ge=1)
    """Where the reward of a longer answer reaches 0 (L_max). None: at twice the upper end of the prompt's range (ours)."""
    cut_off: float = Field(default=0.5, ge=0, le=1)
    """Factor for the reward of an answer that was cut off at `max_tokens` (ours): its full length is unknown, and it has no
    ending."""


class FormatSettings(_MeasuredSettings):
    """The format reward: 0 if the response lacks the structure that `generation.think` asks for, else 1 minus the penalties
    for repetition and the like.

    Each penalty is a weight times a share between 0 and 1. The weights are ours: the paper gives no formula.
    """

    kind: Literal["format"]
    repetition: float = Field(default=1.0, ge=0)
    """Weight of the share of repeated sentences, of repeated paragraphs, or of four-word sequences repeated beyond the
    natural level, whichever is largest. Paraphrases of earlier sentences are not detected."""
    stuffing: float = Field(default=0.0, ge=0)
    """Weight of the share of words that repeat single words beyond natural use."""
    copying: float = Field(default=0.0, ge=0)
    """Weight of the share of the answer that is copied from the request or from the current reference."""
    slop: float = Field(default=0.0, ge=0)
    """Weight of the share of words in phrases of `slop_list`, beyond the share that nine of ten human texts stay below."""
    slop_list: Path | None = None
    """File of `longform slop mine`, with a list for each language."""

    @model_validator(mode="after")
    def _check_slop(self) -> "FormatSettings":
        if (self.slop > 0) != (self.slop_list is not None):
            raise ValueError("`slop` and `slop_list` go together: the weight, and the file of `longform slop mine`")
        return self


class AnswerSettings(_MeasuredSettings):
    """The answer reward: 1 if the final answer of a response is the one in its prompt's `meta.answer`, else 0; for tasks
    whose answer can be verified.

    The last well-formed answer counts, in `\\boxed{...}` or after "answer:" or "the answer is". A response that was cut off
    at `max_tokens` has no answer.
    """

    kind: Literal["answer"]
    form: AnswerForm | Literal["verdict"] = "exact"
    """exact: the same text, apart from case, spaces and surrounding punctuation. choice: one letter. number: the same
    number in any notation, without its unit. verdict: `[[A]]`, `[[B]]`, or `[[C]]` for a tie, as a pairwise judge answers.
    `meta.answer` may be a list of correct answers."""


class WritingSettings(_Settings):
    """The writing reward: a reward model's score of the answer (LongWriter-Zero).

    Scores of a folder written by `longform reward-model` are standardised by its `scores.json`; those of other models are
    used as they are.
    """

    kind: Literal["writing"]
    model: str | Names
    """Folder or hub id of the reward model, or several, whose scores are averaged."""
    shares: list[Annotated[float, Field(gt=0)]] | None = None
    """Weights of several reward models in their mean; only the ratio counts. None: equal weights."""
    endpoint: str | Names | None = None
    """Name in models.yaml under which vLLM serves the reward model (`vllm serve MODEL --runner pooling`), one for each of
    `model`, of which only the tokenizer and `scores.json` are then read. None: the model is loaded beside the policy."""
    max_judge_failure_rate: float = Field(default=0.5, ge=0, le=1)
    """With `endpoint`: maximum share of a step's rollouts without a score; above it the run stops, and can be resumed."""
    batch: int = Field(default=16, ge=1)
    """Without `endpoint`: number of responses scored at once. Batching changes scores by rounding; a run with batch 1 is
    reproducible."""
    max_tokens: int | None = Field(default=None, ge=2)
    """Maximum input length, prompt and answer together; the end of a longer answer is cut, and `reward/writing/cut` is the
    share of such answers. None: as in the training of the reward model, or its context length."""

    @property
    def models(self) -> list[str]:
        """All reward models."""
        return [self.model] if isinstance(self.model, str) else self.model

    @property
    def endpoints(self) -> list[str]:
        """Names of their endpoints, in the same order; empty if they are loaded."""
        return [self.endpoint] if isinstance(self.endpoint, str) else self.endpoint or []

    @model_validator(mode="after")
    def _check_counts(self) -> "WritingSettings":
        if len(set(self.endpoints)) < len(self.endpoints):
            raise ValueError("`endpoint` lists a name twice; each endpoint serves one reward model")
        if self.endpoints and len(self.endpoints) != len(self.models):
            raise ValueError(
                f"`endpoint` lists {len(self.endpoints)} names and `model` {len(self.models)}; give one endpoint per model"
            )
        if self.shares and len(self.shares) != len(self.models):
            raise ValueError(
                f"`shares` lists {len(self.shares)} weights and `model` {len(self.models)} models; give one per model"
            )
        return self


class LikelihoodSettings(_Settings):
    """The likelihood reward (VR-CLI, arXiv 2503.22828): how much a response's plan lowers the perplexity of the true
    continuation under a frozen model. No judge is asked. Needs `generation.think: on` and `engine: local`.

    A response without a plan, or to a prompt without a continuation, has no score and is masked.
    """

    kind: Literal["likelihood"]
    model: str = START
    """The frozen model: `start` is the policy before the first step, anything else a folder or hub id. It is loaded beside
    the policy and takes memory of its own, also with `lora`."""
    field: str = Field(default="meta.continuation", pattern=r"^(meta\.)?[^.]+$")
    """Field of the prompts file with the true continuation, such as `continuation`, or `meta.continuation` for a key of
    `meta`."""
    template: Path | None = None
    """Text file with `{request}` and `{plan}`: the frozen model's prompt with a plan. Without a plan its prompt is the
    request alone. None: the request, an empty line, and the plan in `<plan>` tags."""
    values: Literal["paper", "improvement"] = "paper"
    """Score for the improvement of the perplexity in percent. paper: 0 below 0.05, 0.5 below 1, 0.9 below 2, else 1.
    improvement: the improvement divided by 100, at least 0."""
    max_tokens: int = Field(default=4096, ge=1)
    """Maximum length of a continuation; of a longer one only the beginning is used."""


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
        """A name must be installed, except in the stored recipe of a run, where it was installed then."""
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
    """The tag of a reward's settings class; None without a kind."""
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
