"""Reward models: the encoding of a prompt and a text, and their score (LongWriter-Zero, arXiv 2506.18841).

A reward model is a folder or hub id with a sequence classifier of one output, as `longform reward-model` and most libraries
write it. Folders of `longform reward-model` also contain `scores.json`, the distribution of their scores on held-out texts,
by which scores are standardised to mean 0 and standard deviation 1. The scores of other models are used as they are.

torch is imported on use, only in runs with this reward.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longform.records.errors import BadInputError
from longform.records.schemas import PromptRow
from longform.writers.paths import check_model_path, is_model_folder

if TYPE_CHECKING:
    import torch

SCORES = "scores.json"
"""File in the folder of a model trained by `longform reward-model`."""
_HEAD = "ForSequenceClassification"


class ScoreScale(BaseModel):
    """The distribution of a reward model's scores on held-out texts, and its maximum input length."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    mean: float = 0.0
    spread: float = Field(default=1.0, gt=0)
    """Standard deviation."""
    lowest: float | None = None
    """Lowest score; None if unknown."""
    max_tokens: int | None = Field(default=None, ge=2)
    """Maximum input length in training; None: the model's context length."""

    def standardised(self, score: float) -> float:
        """A score with mean 0 and spread 1 over the held-out texts."""
        return (score - self.mean) / self.spread


class Encoded(NamedTuple):
    """A prompt and a text as a reward model reads them."""

    ids: list[int]
    is_cut: bool
    """The end of the text did not fit."""


class WritingReader:
    """Encodes the input of a reward model, without loading its weights.

    Args:
        path: folder or hub id.
        max_tokens: maximum input length; the end of a longer text is cut. None: as in training, or the context length.
        field: recipe key of the path, for errors.
        trust_remote_code: whether code in the model's folder may run.

    Raises:
        BadInputError: there is no such model, or it has no head with one output.
    """

    def __init__(
        self,
        path: str,
        *,
        max_tokens: int | None = None,
        field: str = "rewards.writing.model",
        trust_remote_code: bool = False,
    ) -> None:
        from transformers import AutoConfig

        from longform.writers.loading import load_tokenizer

        check_writing_model(path, field=field)
        self.scale = read_scale(path)
        self.tokenizer: Any = load_tokenizer(path, trust_remote_code=trust_remote_code)
        try:
            config: Any = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
        except Exception as error:  # what a broken folder makes transformers raise has no bounds
            raise BadInputError(f"{field}: {path} cannot be loaded as a reward model: {_reason(error)}") from error
        longest = getattr(config.get_text_config(), "max_position_embeddings", None)
        self.max_tokens: int | None = max_tokens or self.scale.max_tokens or longest
        own = config.get_text_config().pad_token_id
        self.padding: int = padding_id(self.tokenizer) if own is None else own

    def encode(self, prompt: PromptRow, text: str) -> Encoded:
        """A prompt and a text written for it, as the model reads them."""
        return encode(self.tokenizer, prompt, text, max_tokens=self.max_tokens)


class WritingModel(WritingReader):
    """A reward model, loaded; see `WritingReader`.

    Raises:
        BadInputError: there is no such model, it has no head with one output, or it cannot be loaded.
    """

    def __init__(
        self,
        path: str,
        *,
        max_tokens: int | None = None,
        field: str = "rewards.writing.model",
        trust_remote_code: bool = False,
    ) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification

        super().__init__(path, max_tokens=max_tokens, field=field, trust_remote_code=trust_remote_code)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if self.device == "cuda" else torch.float32
        try:
            model: Any = AutoModelForSequenceClassification.from_pretrained(
                path, dtype=dtype, trust_remote_code=trust_remote_code
            )
        except Exception as error:  # as above
            raise BadInputError(f"{field}: {path} cannot be loaded as a reward model: {_reason(error)}") from error
        if model.config.num_labels != 1:
            raise BadInputError(
                f"{field}: {path} has {model.config.num_labels} outputs; a reward model must have exactly one"
            )
        self.model = model.to(self.device).eval().requires_grad_(False)
        model.config.get_text_config().pad_token_id = self.padding

    def raw_scores(self, texts: Sequence[Encoded]) -> list[float]:
        """The model's output for each text; all go through it at once."""
        import torch

        ids, mask = pad([it.ids for it in texts], padding=self.padding, device=self.device)
        with torch.inference_mode():
            return self.model(input_ids=ids, attention_mask=mask).logits[:, 0].float().tolist()

    def scores(self, pairs: Sequence[tuple[PromptRow, str]], *, batch: int = 16) -> list[float]:
        """Standardised scores of (prompt, text) pairs, in their order; inputs of similar length share a batch."""
        encoded = [self.encode(prompt, text) for prompt, text in pairs]
        by_length = sorted(range(len(encoded)), key=lambda index: len(encoded[index].ids))
        scores = [0.0] * len(encoded)
        for start in range(0, len(by_length), batch):
            indices = by_length[start : start + batch]
            for index, score in zip(indices, self.raw_scores([encoded[it] for it in indices]), strict=True):
                scores[index] = self.scale.standardised(score)
        return scores


def mean_scores(
    models: Sequence[WritingModel], pairs: Sequence[tuple[PromptRow, str]], *, shares: Sequence[float] | None = None
) -> list[float]:
    """The mean of several reward models' standardised scores of (prompt, text) pairs, weighted by `shares`."""
    found = zip(*(model.scores(pairs) for model in models), strict=True)
    return [fmean(scores, weights=shares) for scores in found]


def check_writing_model(path: str, *, field: str = "rewards.writing.model") -> None:
    """Check the folder of a reward model without loading weights; a hub id is not checked.

    Raises:
        BadInputError: there is no such folder, or the model is not a sequence classifier.
    """
    check_model_path(path)
    if not is_model_folder(path):
        return
    try:
        config = json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))
        architectures = [str(name) for name in config.get("architectures") or []]
    except (OSError, ValueError, AttributeError, TypeError):
        raise BadInputError(f"{field}: {path} has no readable config.json; name the folder of a reward model") from None
    if not any(name.endswith(_HEAD) for name in architectures):
        found = architectures[0] if architectures else "a model of unknown architecture"
        raise BadInputError(
            f"{field}: {path} is {found}, not a sequence classifier; train a reward model with `longform reward-model`"
        )
    read_scale(path)


def check_prompts_fit(path: str, prompts: Iterable[PromptRow], *, max_tokens: int | None, source: Path) -> None:
    """Check that every prompt leaves room for an answer in a reward model's input; loads its tokenizer, not its weights.

    Raises:
        BadInputError: names the first such prompt of the file `source`.
    """
    reader = WritingReader(path, max_tokens=max_tokens)
    for prompt in prompts:
        asked = len(encode(reader.tokenizer, prompt, "", max_tokens=None).ids)
        if reader.max_tokens is not None and asked >= reader.max_tokens:
            raise BadInputError(
                f"{source}: prompt {prompt.id}: has {asked} tokens, but rewards.writing.max_tokens is {reader.max_tokens} "
                "for prompt and answer together"
            )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def read_scale(path: str) -> ScoreScale:
    """The score scale of a reward model, from its `scores.json`; without that file, one that leaves scores unchanged.

    Raises:
        BadInputError: the file is invalid.
    """
    scores_path = Path(path) / SCORES
    if not scores_path.is_file():
        return ScoreScale()
    try:
        return ScoreScale.model_validate_json(scores_path.read_bytes())
    except (OSError, ValidationError) as error:
        raise BadInputError(
            f"{scores_path}: not the score scale of a reward model; restore the file, or train the model again"
        ) from error


def encode(tokenizer: Any, prompt: PromptRow, text: str, *, max_tokens: int | None) -> Encoded:
    """Encode the input of a reward model: the conversation with `text` as its last turn, by the tokenizer's chat template.

    Without a template the input is the request, an empty line, the text and the end token. If it is longer than
    `max_tokens`, the end of the text is cut; the tokens that close the conversation stay, because the score is read there.

    Raises:
        BadInputError: the prompt alone is too long.
    """
    ids = _ids(tokenizer, prompt, text)
    if max_tokens is None or len(ids) <= max_tokens:
        return Encoded(ids, is_cut=False)
    empty = _ids(tokenizer, prompt, "")
    if len(empty) >= max_tokens:
        raise BadInputError(
            f"prompt {prompt.id}: has {len(empty)} tokens, but the reward model reads at most {max_tokens} in all"
        )
    tail = 0
    while tail < len(empty) and empty[-1 - tail] == ids[-1 - tail]:
        tail += 1
    return Encoded([*ids[: max_tokens - tail], *ids[len(ids) - tail :]], is_cut=True)


def without_special_tokens(tokenizer: Any, text: str) -> str:
    """`text` with the tokenizer's special tokens, such as the end of a turn, broken up by a space.

    Otherwise a policy that writes them could insert turns into the conversation that is scored.
    """
    special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special and len(str(token)) > 1}
    while found := next((token for token in special if token in text), None):
        text = text.replace(found, f"{found[0]} {found[1:]}")
    return text


def _ids(tokenizer: Any, prompt: PromptRow, text: str) -> list[int]:
    text = without_special_tokens(tokenizer, text)
    if tokenizer.chat_template:
        turns = [*prompt.messages, {"role": "assistant", "content": text}]
        written = tokenizer.apply_chat_template(turns, tokenize=False)
        return list(tokenizer(written, add_special_tokens=False)["input_ids"])
    ids = list(tokenizer(f"{prompt.request}\n\n{text}")["input_ids"])
    end = tokenizer.eos_token_id
    return ids if end is None or ids[-1:] == [end] else [*ids, end]


def padding_id(tokenizer: Any) -> int:
    """The padding token of a tokenizer, or else its end token."""
    found = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return 0 if found is None else found


def pad(rows: Sequence[list[int]], *, padding: int, device: str) -> "tuple[torch.Tensor, torch.Tensor]":
    """([N, T] token ids, [N, T] attention mask) of rows padded on the right."""
    import torch

    length = max(map(len, rows))
    ids = torch.tensor([[*row, *[padding] * (length - len(row))] for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows], device=device)
    return ids, mask
