import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForTokenClassification, PreTrainedTokenizerFast

from longform.records.schemas import Prompt
from longform.rl.settings import MemorySettings
from longform.text.structure import ParsedResponse
from longform.training import offload
from longform.training.forward import (
    Batch,
    Critic,
    cut_batch,
    measure_in_pieces,
    response_statistics,
    response_values,
)
from longform.training.models import FullModels
from longform.training.rollouts import Rollout, make_batch
from longform.writers.decoding import Completion

PROMPTS = [[5, 6, 7], [8], [9, 10]]
SCORES = [-1.0, 0.0, 2.0]
RESPONSES = [[11, 12], [5, 6, 7, 8], [9]]


def _config():
    config = LlamaConfig(
        vocab_size=17,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.5,
    )
    config.num_labels = 1
    return config


@pytest.fixture
def start(tmp_path_factory):
    """A model folder with random weights; nothing here asks for its tokenizer."""
    folder = tmp_path_factory.mktemp("start")
    torch.manual_seed(4)
    LlamaForCausalLM(_config()).save_pretrained(folder)
    raw = Tokenizer(WordLevel({"a": 0}, unk_token="a"))
    PreTrainedTokenizerFast(tokenizer_object=raw).save_pretrained(folder)
    return folder


@pytest.fixture
def batch():
    written = [Completion(torch.tensor(r), torch.full((len(r),), -float(i)), "stop") for i, r in enumerate(RESPONSES)]
    request = Prompt(id="p", prompt="Write.")
    rollouts = [
        Rollout(request, 0, "", score, prompt, it, "", ParsedResponse("", "", True))
        for prompt, it, score in zip(PROMPTS, written, SCORES, strict=True)
    ]
    return make_batch(rollouts, device=torch.device("cpu"))


@pytest.mark.parametrize("packed", [False, True])
@torch.no_grad()
def test_log_probs_and_entropies_equal_a_plain_pass_over_each_row(batch, packed):
    batch = batch._replace(is_packed=packed)
    torch.manual_seed(1)
    model = LlamaForCausalLM(_config()).eval()
    log_probs, entropies = response_statistics(model, batch, temperature=0.7)
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        log_p = torch.log_softmax(model(torch.tensor([prompt + response])).logits[0] / 0.7, dim=-1)
        for t, token in enumerate(response):
            before = log_p[len(prompt) + t - 1]
            assert log_probs[row, t].item() == pytest.approx(before[token].item(), abs=1e-5)
            assert entropies[row, t].item() == pytest.approx(-(before.exp() * before).sum().item(), abs=1e-5)
        assert not log_probs[row, len(response) :].any()


@pytest.mark.parametrize("packed", [False, True])
@torch.no_grad()
def test_values_stand_before_the_tokens_they_judge(batch, packed):
    batch = batch._replace(is_packed=packed)
    torch.manual_seed(2)
    classifier = LlamaForTokenClassification(_config()).eval()
    critic = Critic(classifier.base_model, classifier.score, torch.nn.Parameter(torch.tensor(-0.25)))
    values = response_values(critic, batch)
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True)):
        plain = classifier(torch.tensor([prompt + response])).logits[0, :, 0] - 0.25 * SCORES[row]
        np.testing.assert_allclose(values[row, : len(response)], plain[len(prompt) - 1 : -1], atol=1e-5)


@torch.no_grad()
def test_some_rows_of_a_batch_are_those_rows_cut_to_the_longest(batch):
    model = LlamaForCausalLM(_config()).eval()
    whole, _ = response_statistics(model, batch, temperature=1.0)
    part = batch.rows(torch.tensor([2, 0]))
    assert part.mask.shape == (2, 2)
    assert part.tokens.shape == (2, 5)
    some, _ = response_statistics(model, part, temperature=1.0)
    torch.testing.assert_close(some, whole[[2, 0], :2])
    assert part.log_probs[0].tolist() == [-2.0, 0.0]


@torch.no_grad()
def test_saved_models_load_with_the_critics_weight_on_the_reference(tmp_path, start, batch):
    first, second = (
        FullModels(str(start), device="cpu", with_reference=False, initial_value=value, memory=MemorySettings())
        for value in (0.5, 0.0)
    )
    with first.as_critic() as critic:
        critic.reference_weight.fill_(0.5)
    assert not torch.equal(first.values(batch, max_tokens=None), second.values(batch, max_tokens=None))
    first.save(tmp_path)
    second.load(tmp_path)
    torch.testing.assert_close(
        first.values(batch, max_tokens=None), second.values(batch, max_tokens=None), rtol=0, atol=0
    )


def test_offloaded_activations_give_the_same_gradients(start, batch, monkeypatch):
    monkeypatch.setattr(offload, "SMALLEST", 1)
    found = []
    for offloads in (False, True):
        models = FullModels(str(start), device="cpu", with_reference=False, initial_value=None, memory=MemorySettings())
        models.offload_activations(offloads=offloads)
        with models.learning(), models.as_policy() as policy:
            response_statistics(policy, batch, temperature=1.0)[0].sum().backward()
        found.append([it.grad for it in models.policy_parameters()])
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)


def test_weights_are_not_copied_with_the_activations(monkeypatch):
    monkeypatch.setattr(offload, "SMALLEST", 1)
    layer, inputs = torch.nn.Linear(8, 8), torch.randn(4, 8, requires_grad=True)
    copies = []
    monkeypatch.setattr(torch, "empty", lambda *a, empty=torch.empty, **k: copies.append(a) or empty(*a, **k))
    with offload.offloaded([layer]):
        torch.tanh(layer(inputs))
    assert len(copies) == 2, "the layer's input and the result"


def test_one_role_is_active_at_a_time(start):
    models = FullModels(str(start), device="cpu", with_reference=False, initial_value=0.5, memory=MemorySettings())
    with models.as_policy(), pytest.raises(AssertionError, match="critic is entered while policy is active"):
        models.as_critic().__enter__()
    with models.as_critic():
        pass


def test_pieces_hold_no_more_tokens_than_asked_for_and_every_row_once(batch):
    rows = torch.arange(3)
    pieces = cut_batch(batch, rows, max_tokens=10)
    assert sorted(torch.cat(pieces).tolist()) == [0, 1, 2]
    assert all(len(piece) * int(batch.lengths[piece].max()) <= 10 for piece in pieces)
    assert len(pieces) == 2
    assert [it.tolist() for it in cut_batch(batch, rows, max_tokens=1)] == [[0], [1], [2]], "a row is never cut"


def test_packed_pieces_are_counted_without_padding(batch):
    packed, rows = batch._replace(is_packed=True), torch.arange(3)
    for limit in (1, 7, 9, 10, 12, 100):
        pieces = cut_batch(packed, rows, max_tokens=limit)
        assert sorted(torch.cat(pieces).tolist()) == [0, 1, 2]
        assert all(int(batch.lengths[piece].sum()) <= limit for piece in pieces if len(piece) > 1)
        assert len(pieces) <= len(cut_batch(batch, rows, max_tokens=limit))


def test_packed_rows_have_the_gradients_of_padded_ones(batch):
    torch.manual_seed(1)
    model = LlamaForCausalLM(_config())
    found = []
    for packed in (False, True):
        model.zero_grad()
        log_probs, entropies = response_statistics(model, batch._replace(is_packed=packed), temperature=1.0)
        (log_probs.sum() + 0.1 * entropies.sum()).backward()
        found.append(torch.cat([it.grad.flatten() for it in model.parameters() if it.grad is not None]))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)


def test_on_a_cpu_pieces_are_small_unless_asked_for():
    lengths = torch.tensor([450, 120, 100, 80, 2000, 60])
    mask = (torch.arange(2000) < lengths[:, None]).float()
    batch = Batch(mask.long(), torch.zeros(6, dtype=torch.int64), mask, mask, mask[:, 0])
    pieces = cut_batch(batch, torch.arange(6), max_tokens=None)
    assert [it.tolist() for it in pieces] == [[4], [0], [1, 2, 3, 5]]
    assert len(cut_batch(batch, torch.arange(6), max_tokens=12_000)) == 1


def test_measuring_in_pieces_is_measuring_at_once(batch):
    torch.manual_seed(3)
    model = LlamaForCausalLM(_config()).eval()

    def log_probs(part):
        return response_statistics(model, part, temperature=1.0)[0]

    whole = measure_in_pieces(log_probs, batch, max_tokens=None)
    torch.testing.assert_close(measure_in_pieces(log_probs, batch, max_tokens=6), whole)
