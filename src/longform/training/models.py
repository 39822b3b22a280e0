"""The models of a PPO run and what they say about a batch: log-probabilities, entropies, values.

Sequences are padded on the right, so no real token ever attends to padding and no attention mask is needed.

Shapes: B rollouts, S tokens of prompt and response, T tokens of the response, D hidden width.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoModelForTokenClassification, PreTrainedModel

from longform.records.errors import BadInputError
from longform.rl.log_probs import token_statistics
from longform.writers.decoding import Written
from longform.writers.local import load_model

_REFERENCE_WEIGHT = "reference_weight.safetensors"


class Critic(nn.Module):
    """Predicts the reward to come before each token, from the text so far and from the reference it will be held against.

    The reward of a pairwise verdict depends on the reference as much as on the response, and no text of the policy says
    which one it is. So the value is that of a token classifier with one label (the policy's backbone and a value head)
    plus one weight times the reference's standardised score. The weight starts at 0.
    """

    def __init__(self, classifier: PreTrainedModel) -> None:
        super().__init__()
        self.classifier = classifier
        self.reference_weight = nn.Parameter(torch.zeros((), device=classifier.device))

    def save(self, folder: Path) -> None:
        """Write the classifier in Hugging Face format, and the weight beside it."""
        self.classifier.save_pretrained(folder)
        save_file({"reference_weight": self.reference_weight.detach()}, folder / _REFERENCE_WEIGHT)

    def load(self, folder: Path) -> None:
        """Take what `save` wrote, in place."""
        saved = AutoModelForTokenClassification.from_pretrained(folder, dtype=self.classifier.dtype)
        self.classifier.load_state_dict(saved.state_dict())
        with torch.no_grad():
            self.reference_weight.copy_(load_file(folder / _REFERENCE_WEIGHT)["reference_weight"])


class PolicyModels(NamedTuple):
    """What a PPO run holds in memory."""

    policy: PreTrainedModel
    critic: Critic
    reference: PreTrainedModel | None
    """The frozen start; None where no KL is asked for."""
    tokenizer: Any


class Batch(NamedTuple):
    """Prompts with their responses, in tokens."""

    tokens: Tensor
    """[B, S] int64."""
    first: Tensor
    """[B] position in `tokens` of each response's first token."""
    mask: Tensor
    """[B, T] float32, 1 on tokens of the response."""
    log_probs: Tensor
    """[B, T] float32, as the tokens were drawn."""
    reference_scores: Tensor
    """[B] float32, standardised scores of the references that the responses are held against."""

    def rows(self, index: Tensor) -> "Batch":
        """The batch of some of the rows, cut to the longest of them."""
        tokens, first, mask = self.tokens[index], self.first[index], self.mask[index]
        length = int(mask.sum(1).max())
        width = int((first + mask.sum(1).long()).max())
        log_probs = self.log_probs[index][:, :length]
        return Batch(tokens[:, :width], first, mask[:, :length], log_probs, self.reference_scores[index])


def load_models(path: str, *, device: str, with_reference: bool, initial_value: float) -> PolicyModels:
    """Policy, critic and reference model at the start of a run, all from the same weights.

    Args:
        path: folder or hub id of the policy.
        device: where they live.
        with_reference: whether a frozen copy is kept.
        initial_value: what the critic predicts everywhere at first: near the mean reward, so that the first
            advantages are about right.

    Raises:
        BadInputError: `path` is no model.
    """
    tokenizer, policy = load_model(path, device=device)
    check_projection(policy, path=path)
    classifier: Any = _load_classifier(path, dtype=policy.dtype)
    with torch.no_grad():
        classifier.score.weight.zero_()
        classifier.score.bias.fill_(initial_value)
    critic = Critic(classifier.to(device).eval())
    reference = load_model(path, device=device)[1].requires_grad_(False) if with_reference else None
    return PolicyModels(policy, critic, reference, tokenizer)


@torch.no_grad()
def check_projection(policy: PreTrainedModel, *, path: str) -> None:
    """Refuse a model whose log-probabilities are not log_softmax(hidden @ weight.T): `token_statistics` assumes it.

    Raises:
        BadInputError: the head has a bias, a cap or a scale (Phi, Gemma 2, Cohere, Granite among others).
    """
    tokens = (torch.arange(8, device=policy.device) % policy.config.vocab_size)[None]
    whole = torch.log_softmax(policy(input_ids=tokens).logits[0, :-1].float(), dim=-1)
    expected = whole.gather(1, tokens[0, 1:, None]).squeeze(1)
    batch = Batch(
        tokens=tokens,
        first=torch.ones(1, dtype=torch.int64, device=policy.device),
        mask=torch.ones(1, 7, device=policy.device),
        log_probs=torch.zeros(1, 7, device=policy.device),
        reference_scores=torch.zeros(1, device=policy.device),
    )
    found, _ = response_statistics(policy, batch, temperature=1.0)
    if not torch.allclose(found[0], expected, atol=1e-2):
        raise BadInputError(f"{path}: its output head has a bias, a cap or a scale, which training does not know yet")


def _load_classifier(path: str, *, dtype: torch.dtype) -> Any:
    try:
        classifier: Any = AutoModelForTokenClassification.from_pretrained(path, num_labels=1, dtype=dtype)
        if classifier.score.bias is not None:
            return classifier
    except (ValueError, AttributeError):
        pass
    raise BadInputError(
        f"{path}: transformers has no token classifier with a `score` head for it, which the critic needs"
    )


def save_models(models: PolicyModels, folder: Path) -> None:
    """Write policy (with tokenizer) and critic in Hugging Face format."""
    models.policy.save_pretrained(folder / "policy")
    models.tokenizer.save_pretrained(folder / "policy")
    models.critic.save(folder / "critic")


def load_weights(models: PolicyModels, folder: Path) -> None:
    """Put the weights of a checkpoint into policy and critic, in place."""
    saved = AutoModelForCausalLM.from_pretrained(folder / "policy", dtype=models.policy.dtype)
    models.policy.load_state_dict(saved.state_dict())
    models.critic.load(folder / "critic")


def make_batch(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Written],
    *,
    reference_scores: Sequence[float],
    device: torch.device,
) -> Batch:
    """Prompts and responses side by side, padded on the right."""
    sequences = [
        torch.cat([torch.tensor(prompt, device=device), response.tokens])
        for prompt, response in zip(prompts, responses, strict=True)
    ]
    return Batch(
        tokens=pad_sequence(sequences, batch_first=True),
        first=torch.tensor([len(prompt) for prompt in prompts], device=device),
        mask=pad_sequence([torch.ones_like(response.log_probs) for response in responses], batch_first=True),
        log_probs=pad_sequence([response.log_probs for response in responses], batch_first=True),
        reference_scores=torch.tensor(reference_scores, dtype=torch.float32, device=device),
    )


def response_statistics(model: PreTrainedModel, batch: Batch, *, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of the response tokens under a causal model, both [B, T] and 0 where masked."""
    hidden = _states_before_tokens(model.get_decoder(), batch)
    chosen = batch.mask.bool()
    targets = batch.tokens.gather(1, _token_positions(batch))[chosen]
    weight = model.get_output_embeddings().weight  # pyright: ignore[reportOptionalMemberAccess]
    statistics = token_statistics(hidden[chosen], weight, targets, temperature=temperature or 1.0)
    return _scattered(statistics.log_probs, chosen), _scattered(statistics.entropy, chosen)


def response_values(critic: Critic, batch: Batch) -> Tensor:
    """[B, T] the critic's prediction before each response token, 0 where masked."""
    classifier: Any = critic.classifier
    hidden = _states_before_tokens(classifier.base_model, batch)
    from_text = classifier.score(hidden).squeeze(-1).float()
    from_reference = critic.reference_weight * batch.reference_scores
    return (from_text + from_reference[:, None]) * batch.mask


def _states_before_tokens(backbone: Any, batch: Batch) -> Tensor:
    """[B, T, D] the hidden state from which each response token is predicted."""
    hidden = backbone(input_ids=batch.tokens, use_cache=False).last_hidden_state
    positions = _token_positions(batch) - 1
    return hidden.gather(1, positions[:, :, None].expand(-1, -1, hidden.shape[2]))


def _token_positions(batch: Batch) -> Tensor:
    """[B, T] where each response token stands in `tokens`; padding points at the last column."""
    steps = torch.arange(batch.mask.shape[1], device=batch.mask.device)
    return (batch.first[:, None] + steps).clamp(max=batch.tokens.shape[1] - 1)


def _scattered(values: Tensor, chosen: Tensor) -> Tensor:
    """[B, T] with `values` where `chosen` is True and 0 elsewhere."""
    return torch.zeros(chosen.shape, dtype=values.dtype, device=values.device).masked_scatter(chosen, values)
