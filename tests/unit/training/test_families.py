"""Every family that the documentation names is generated with, trained and resumed correctly.

`make test` generates and updates once with each; `make test-families` does the rest of the matrix.
"""

import copy
from typing import Any

import pytest
import torch
from families import FAMILIES, OTHERS, build_family, save_family
from toy import policy_weights, train_toy
from transformers import AutoModelForCausalLM

from longform.records.errors import BadInputError
from longform.rewards.reward import RewardResult
from longform.rl.settings import LoraSettings, MemorySettings
from longform.training.lora import AdaptedModels
from longform.training.models import learning_mode, prepare_learning
from longform.training.self_check import check_models, check_training_forward
from longform.training.supervised.sft import train_sft
from longform.training.supervised.sft_recipe import SftSettings
from longform.writers.decoding import decode_in_batches
from longform.writers.loading import load_model
from longform.writers.rope import settle_rope
from longform.writers.self_check import check_causal, check_generation, check_switches
from longform.writers.settings import GenerationSettings
from longform.writers.stops import Stops

PPO = {"optim": {"lr": 1e-3, "critic_lr": 1e-3, "warmup_steps": 0, "critic_warmup_steps": 0, "kl_coef": 0.01}}
GRPO = {
    "method": "grpo",
    "data": {"ladders": "unused.jsonl", "per_step": 8, "group": 4},
    "optim": {"lr": 1e-3, "warmup_steps": 0, "kl_coef": 0.01},
}
KINDS = {"ppo": PPO, "grpo": GRPO, "lora": GRPO | {"lora": {"rank": 4}}, "lora ppo": PPO | {"lora": {"rank": 4}}}
WITHOUT_ADAPTERS = ("DeepSeek V3",)
"""peft 0.21 wraps the routers of these families in a way that their own code does not expect."""
ADAPTED: dict[str, Any] = {
    "device": "cpu",
    "with_reference": False,
    "initial_value": None,
    "lora": LoraSettings(rank=4),
    "memory": MemorySettings(),
    "seed": 0,
}
SETTINGS = GenerationSettings(max_tokens=24, temperature=0.7, batch=4)
VOCABULARY = 64


class EvenJudge:
    """Finds a text better that has an even number of characters, whatever its language."""

    async def score(self, prompt, *, response, reference, step):
        is_even = len(response.answer) % 2 == 0
        return RewardResult(float(is_even), "win" if is_even else "loss")


def _train(start, folder, kind, *, steps, stop_after=None):
    return train_toy(start, folder, kind, steps=steps, rewards={"pairwise": EvenJudge()}, stop_after=stop_after)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}

    def folder(name):
        if name not in made:
            made[name] = save_family(name, tmp_path_factory.mktemp("family"))
        return made[name]

    return folder


def _finite(metrics, name):
    return all(torch.isfinite(torch.tensor(value)) for value in metrics[name].values())


@pytest.mark.parametrize("name", [*FAMILIES, *OTHERS])
def test_log_probabilities_at_generation_are_those_of_single_float64_passes(name):
    """Rows that end early, unequal prompts, a shared prompt, windows and switches that are crossed."""
    model = build_family(name, vocabulary=VOCABULARY)
    check_causal(model.config, path=name)
    settle_rope(model, longest=64)
    random = torch.Generator().manual_seed(1)
    prompts = [torch.randint(3, VOCABULARY, (length,), generator=random).tolist() for length in (3, 20, 7, 1, 12, 26)]
    prompts.append(prompts[2])
    stops = Stops(frozenset(range(5)), read=str)
    written = decode_in_batches(model, prompts, seed=1, step=1, stops=stops, settings=SETTINGS)
    assert len({len(it.tokens) for it in written}) > 1, "some rows end early"
    exact = copy.deepcopy(model)
    with torch.no_grad():
        try:
            exact = exact.double()
            exact(input_ids=torch.tensor([[1, 2]]))
        except RuntimeError:  # routers of experts compute in float32
            exact = model
        for prompt, it in zip(prompts, written, strict=True):
            ids = torch.tensor([[*prompt, *it.tokens.tolist()]])
            logits = exact(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1] / SETTINGS.temperature
            expected = torch.log_softmax(logits, -1).gather(1, it.tokens[:, None])[:, 0]
            torch.testing.assert_close(it.log_probs.double(), expected.double(), atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_makes_a_step_of_ppo(name, folders, tmp_path):
    state, metrics = _train(folders(name), tmp_path, PPO, steps=1)
    assert metrics["policy/skipped"] == {1: 0.0}
    assert metrics["policy/grad_norm"][1] > 0
    assert metrics["critic/grad_norm"][1] > 0
    assert _finite(metrics, "policy/loss")
    start = AutoModelForCausalLM.from_pretrained(folders(name), dtype=torch.float32)
    assert not torch.equal(policy_weights(state), torch.cat([it.detach().flatten() for it in start.parameters()]))


@pytest.mark.families
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*FAMILIES, *OTHERS])
def test_a_family_trains_and_resumes_to_the_same_weights(name, kind, folders, tmp_path):
    if name in WITHOUT_ADAPTERS and "lora" in kind:
        models = AdaptedModels(str(folders(name)), **ADAPTED)
        with pytest.raises(BadInputError, match="generation fails for this architecture"):
            check_models(models, path=name, settings=SETTINGS, longest_prompt=30)
        return
    whole, metrics = _train(folders(name), tmp_path / "whole", KINDS[kind], steps=3)
    _train(folders(name), tmp_path / "parts", KINDS[kind], steps=3, stop_after=2)
    resumed, _ = _train(folders(name), tmp_path / "parts", KINDS[kind], steps=3)
    assert torch.equal(policy_weights(whole), policy_weights(resumed))
    assert set(metrics["policy/skipped"].values()) == {0.0}
    assert max(metrics["policy/grad_norm"].values()) > 0


@pytest.mark.families
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", [*FAMILIES, *OTHERS])
def test_the_self_check_raises_no_false_alarm(name, checkpointing):
    model = build_family(name, vocabulary=VOCABULARY)
    check_switches(model.config, path=name, settings=SETTINGS, longest_prompt=30)
    rows = check_generation(model, path=name, settings=SETTINGS)
    prepare_learning([model], gradient_checkpointing=checkpointing)
    with learning_mode([model]):
        check_training_forward(model, rows, path=name, temperature=0.7)


@pytest.mark.families
@pytest.mark.parametrize("name", [*FAMILIES, *OTHERS])
def test_a_family_is_fine_tuned_and_saved(name, folders, tmp_path):
    tokenizer, model = load_model(str(folders(name)), device="cpu")
    before = torch.cat([it.detach().flatten() for it in model.parameters()])
    rows = [{"prompt": "write so", "completion": " good and then very good"}] * 4
    settings = SftSettings(steps=12, batch_size=4, lr=1e-2, warmup_steps=1)
    report = train_sft(model, tokenizer, rows, settings, out=tmp_path / "tuned")
    assert report.final_loss < report.first_loss
    _, saved = load_model(str(tmp_path / "tuned"), device="cpu")
    after = torch.cat([it.detach().flatten() for it in saved.parameters()])
    assert torch.isfinite(after).all()
    assert not torch.equal(after, before)
