"""The likelihood reward (VR-CLI, arXiv 2503.22828): how much a plan lowers a frozen model's perplexity of the true text.

With y the continuation, x the request and a the plan, the improvement in percent is

    I = 100 (1 - PPL(y | x, a) / PPL(y | x))

y has the same tokens in both terms. Texts are read one at a time, so a score depends on nothing else in the step. torch is
imported on use.
"""

import asyncio
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from longform.records.errors import BadInputError
from longform.records.schemas import PromptRow
from longform.rewards.reward import NO_CONTINUATION, NO_PLAN, RewardResult
from longform.rewards.settings import START, LikelihoodSettings
from longform.rewards.writing_model import without_special_tokens
from longform.text.structure import OPENING_TAG, ParsedResponse
from longform.writers.chat_template import render_chat

REQUEST, PLAN = "{request}", "{plan}"
"""Slots of a template."""
TEMPLATE = f"{REQUEST}\n\n<plan>\n{PLAN}\n</plan>"
"""Default template of the frozen model's prompt with a plan."""
PAPER_VALUES = ((0.05, 0.0), (1.0, 0.5), (2.0, 0.9), (math.inf, 1.0))
"""Improvements in percent below which a plan has each value."""
TOO_LONG = "too_long"
"""Cause of a missing score: request, plan and continuation are longer than the model's context."""


def perplexity_improvement(loss: float, *, without_plan: float) -> float:
    """100 (1 - PPL with the plan / PPL without it), from mean negative log-likelihoods per token in nats."""
    return -100 * math.expm1(loss - without_plan)


def improvement_value(improvement: float, values: str) -> float:
    """The score for an improvement in percent, 0 to 1; see `LikelihoodSettings.values`."""
    if values == "improvement":
        return max(0.0, improvement / 100)
    return next(value for bound, value in PAPER_VALUES if improvement < bound)


def read_plan_template(path: Path | None) -> str:
    """The template of a recipe, stripped of surrounding white space; None: the built-in one.

    Raises:
        BadInputError: the file cannot be read, or does not contain each slot exactly once.
    """
    if path is None:
        return TEMPLATE
    try:
        template = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise BadInputError(f"{path}: rewards.likelihood.template cannot be read: {reason}") from error
    for slot in (REQUEST, PLAN):
        if (count := template.count(slot)) != 1:
            raise BadInputError(
                f"{path}: rewards.likelihood.template must contain {slot} exactly once, not {count} times"
            )
    return template


def fill_plan_template(template: str, *, request: str, plan: str) -> str:
    """The template with both slots filled; slots inside the request or the plan are left alone."""
    before, _, after = template.partition(REQUEST)
    return before.replace(PLAN, plan) + request + after.replace(PLAN, plan)


def continuation_of(prompt: PromptRow, field: str) -> str | None:
    """The true continuation of a prompt; None if its row has none.

    Raises:
        ValueError: the field is not a text.
    """
    *inside, name = field.split(".")
    found = (prompt.meta if inside else prompt.model_extra or {}).get(name)
    if found is not None and not isinstance(found, str):
        raise ValueError(f"{field}: the likelihood reward needs a text, got {type(found).__name__}")
    return found.strip() or None if found is not None else None


class LikelihoodReader:
    """Builds the input of the frozen model, without its weights.

    Args:
        settings: of the recipe.
        policy: of the recipe, which is the model `start`.
        trust_remote_code: whether code in the model's folder may run.

    Raises:
        BadInputError: there is no such model, its tokenizer cannot be loaded, or the template is invalid.
    """

    def __init__(self, settings: LikelihoodSettings, *, policy: str, trust_remote_code: bool = False) -> None:
        from longform.writers.loading import load_tokenizer

        self.settings = settings
        self.path = frozen_model(settings, policy=policy)
        self.template = read_plan_template(settings.template)
        self.tokenizer: Any = load_tokenizer(self.path, trust_remote_code=trust_remote_code)

    def context(self, prompt: PromptRow, plan: str | None) -> list[int]:
        """[C] the tokens before the continuation: the conversation with the plan in its last user turn, up to the start of
        the assistant's turn; without a chat template, the turns separated by empty lines.

        Raises:
            BadInputError: the chat template refuses the conversation.
        """
        turns = prompt.messages
        if plan is not None:
            asking = next((turn for turn in reversed(turns) if turn["role"] == "user"), turns[-1])
            plan = without_special_tokens(self.tokenizer, plan)
            asking["content"] = fill_plan_template(self.template, request=asking["content"], plan=plan)
        if self.tokenizer.chat_template:
            text = render_chat(self.tokenizer, turns, name=f"prompt {prompt.id}")
            if text.rstrip().endswith(OPENING_TAG):  # of reasoning models: the continuation is no thought
                text = text.rstrip().removesuffix(OPENING_TAG)
            return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        ids = list(self.tokenizer("\n\n".join([*(turn["content"] for turn in turns), ""]))["input_ids"])
        if self.tokenizer.eos_token_id is not None and ids[-1:] == [self.tokenizer.eos_token_id]:
            ids.pop()
        return ids

    def continuation(self, text: str) -> list[int]:
        """[Y] the tokens of a continuation, at most `max_tokens`."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])[: self.settings.max_tokens]


class LikelihoodReward:
    """The reward of `LikelihoodSettings`. Loads the model; reads one text at a time in a thread of its own.

    Args:
        settings: of the recipe.
        policy: of the recipe, which is the model `start`.
        trust_remote_code: whether code in the model's folder may run.

    Raises:
        BadInputError: the model or the template cannot be used.
    """

    def __init__(self, settings: LikelihoodSettings, *, policy: str, trust_remote_code: bool = False) -> None:
        import torch

        from longform.writers.loading import context_length, load_model
        from longform.writers.rope import settle_rope

        self.reader = LikelihoodReader(settings, policy=policy, trust_remote_code=trust_remote_code)
        self._settings = settings
        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        _, model = load_model(self.reader.path, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
        self._model: Any = model.requires_grad_(False)
        self._longest = context_length(model.config)
        settle_rope(model, longest=self._longest or 0)  # or a plan could switch the frequencies
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="likelihood")
        self._without_plan: dict[str, float] = {}

    async def score(self, prompt: PromptRow, *, response: ParsedResponse, reference: str, step: int) -> RewardResult:  # noqa: ARG002
        """The value of the plan's improvement, or why there is none."""
        continuation = continuation_of(prompt, self._settings.field)
        if continuation is None:
            return RewardResult(None, cause=NO_CONTINUATION)
        if not response.think:
            return RewardResult(None, cause=NO_PLAN)
        loop = asyncio.get_running_loop()
        improvement = await loop.run_in_executor(self._worker, self._improvement, prompt, response.think, continuation)
        if improvement is None:
            return RewardResult(None, cause=TOO_LONG)
        return RewardResult(improvement_value(improvement, self._settings.values), improvement=improvement)

    def _improvement(self, prompt: PromptRow, plan: str, continuation: str) -> float | None:
        ids = self.reader.continuation(continuation)
        context = self.reader.context(prompt, plan)
        if self._longest is not None and len(context) + len(ids) > self._longest:
            return None
        if prompt.id not in self._without_plan:
            self._without_plan[prompt.id] = self.loss(self.reader.context(prompt, None), ids)
        return perplexity_improvement(self.loss(context, ids), without_plan=self._without_plan[prompt.id])

    def loss(self, context: Sequence[int], continuation: Sequence[int]) -> float:
        """Mean negative log-likelihood per token of a continuation after a context, in nats."""
        import torch

        from longform.rl.log_probs import output_head, token_statistics

        model = self._model
        with torch.no_grad():
            tokens = torch.tensor([[*context, *continuation]], device=model.device)
            hidden = model.get_decoder()(input_ids=tokens, use_cache=False).last_hidden_state[0]
            before = hidden[len(context) - 1 : -1]
            targets = tokens[0, len(context) :]
            return -token_statistics(before, output_head(model), targets).log_probs.double().mean().item()


def frozen_model(settings: LikelihoodSettings, *, policy: str) -> str:
    """The folder or hub id of the model of a likelihood reward."""
    return policy if settings.model == START else settings.model


def check_continuations(
    settings: LikelihoodSettings,
    prompts: Sequence[PromptRow],
    *,
    policy: str,
    plan_tokens: int,
    source: Path,
    trust_remote_code: bool = False,
) -> None:
    """Check that prompts have continuations, and that these fit the model's context after a plan; loads no weights.

    Args:
        settings: of the recipe.
        prompts: the prompts that the reward applies to.
        policy: of the recipe.
        plan_tokens: maximum length of a plan.
        source: file of the prompts, for errors.
        trust_remote_code: whether code in the model's folder may run.

    Raises:
        BadInputError: no prompt has a continuation, one is not a text, or one does not fit.
    """
    from longform.writers.loading import context_length, load_config

    reader = LikelihoodReader(settings, policy=policy, trust_remote_code=trust_remote_code)
    longest = context_length(load_config(reader.path, trust_remote_code=trust_remote_code))
    found = False
    for prompt in prompts:
        try:
            text = continuation_of(prompt, settings.field)
        except ValueError as error:
            raise BadInputError(f"{source}: prompt {prompt.id}: {error}") from None
        if text is None:
            continue
        found = True
        context, ids = reader.context(prompt, ""), reader.continuation(text)
        needed = len(context) + plan_tokens + len(ids)
        if longest is not None and needed > longest:
            raise BadInputError(
                f"{source}: prompt {prompt.id}: its request, a plan of generation.max_tokens {plan_tokens} and "
                f"{len(ids)} tokens of its continuation do not fit into the context of {reader.path}, {longest} tokens; "
                "lower rewards.likelihood.max_tokens or generation.max_tokens"
            )
    if not found:
        raise BadInputError(
            f"{source}: no prompt has {settings.field}, the true continuation; set rewards.likelihood.field to its field"
        )
