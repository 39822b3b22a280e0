"""One optimizer step of the policy, compared with gradients of a plain forward pass over each row."""

import numpy as np
import pytest
import torch
from toy import PER_STEP, save_model, train_toy

from longform.records.schemas import Prompt
from longform.rl.losses import sequence_weights, token_weights
from longform.rl.settings import MemorySettings
from longform.text.structure import ParsedResponse
from longform.training.models import FullModels
from longform.training.rollouts import Rollout, make_batch
from longform.training.update import mini_batches, update_policy
from longform.writers.decoding import Completion

PROMPTS = [[1, 2, 3], [4], [5, 6]]
RESPONSES = [[2, 7], [5, 6, 7, 3], [4]]
TEMPERATURE, COEFFICIENT = 0.7, 0.3


@pytest.fixture
def start(tmp_path):
    return save_model(tmp_path / "start", initializer_range=0.5)


def _batch():
    rollouts = [
        Rollout(
            Prompt(id="p", prompt="Write."),
            0,
            "",
            0.0,
            prompt,
            Completion(torch.tensor(response), torch.zeros(len(response)), "stop"),
            "",
            ParsedResponse("", "", True),
        )
        for prompt, response in zip(PROMPTS, RESPONSES, strict=True)
    ]
    return make_batch(rollouts, device=torch.device("cpu"))


def _no_loss(log_probs_bt, micro):
    zero = log_probs_bt.sum() * 0
    return zero, zero, zero


def _weighted_entropy(policy, weights_BT):
    """The sum over tokens of weight times entropy, from the plain logits of each row."""
    total = torch.zeros(())
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        logits = policy(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1] / TEMPERATURE
        entropies = torch.distributions.Categorical(logits=logits).entropy()
        total = total + (entropies * weights_BT[row, : len(response)]).sum()
    return total


@pytest.mark.parametrize("weigh", [token_weights, sequence_weights])
@pytest.mark.parametrize("max_tokens", [None, 5])
def test_a_step_along_the_entropy_bonus_alone_ascends_the_weighted_entropy_of_the_tokens(start, weigh, max_tokens):
    models = FullModels(str(start), device="cpu", with_reference=False, initial_value=None, memory=MemorySettings())
    parameters, batch = models.policy_parameters(), _batch()
    entropy = _weighted_entropy(models.policy, weigh(batch.mask))
    ascent = torch.cat([it.flatten() for it in torch.autograd.grad(entropy, parameters)])
    before = torch.cat([it.detach().flatten() for it in parameters])
    (mini_batch,) = mini_batches(
        batch,
        torch.arange(3),
        size=3,
        epochs=1,
        shuffle=np.random.default_rng(0),
        weigh=weigh,
        max_tokens=max_tokens,
    )
    metrics = update_policy(
        models,
        torch.optim.SGD(parameters, lr=1.0),
        mini_batch,
        _no_loss,
        temperature=TEMPERATURE,
        entropy_coef=COEFFICIENT,
        max_grad_norm=1e9,
    )
    moved = torch.cat([it.detach().flatten() for it in parameters]) - before
    assert ascent.norm() > 0.1
    torch.testing.assert_close(moved, COEFFICIENT * ascent, rtol=1e-4, atol=1e-5)
    assert metrics["policy/entropy"] == pytest.approx(entropy.item(), abs=1e-5)
    assert metrics["policy/loss"] == 0


@pytest.mark.parametrize("method", ["ppo", "grpo"])
def test_a_run_with_an_entropy_bonus_ends_with_more_entropy(start, tmp_path, method):
    last = {}
    for coefficient in (0.0, 1.0):
        sections = {
            "method": method,
            "data": {"ladders": "unused.jsonl", "per_step": PER_STEP // 8, "group": 8},
            "optim": {"lr": 3e-3, "warmup_steps": 0, "mini_batch": 8, "entropy_coef": coefficient},
        }
        _, metrics = train_toy(start, tmp_path / str(coefficient), sections, steps=5)
        last[coefficient] = metrics["policy/entropy"][5]
    assert last[1.0] > last[0.0] + 0.1
