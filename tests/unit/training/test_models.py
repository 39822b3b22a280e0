import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForTokenClassification

from longform.records.errors import BadInputError
from longform.training.models import Critic, check_projection, make_batch, response_statistics, response_values
from longform.writers.decoding import Written

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
def batch():
    written = [Written(torch.tensor(r), torch.full((len(r),), -float(i)), "stop") for i, r in enumerate(RESPONSES)]
    return make_batch(PROMPTS, written, reference_scores=SCORES, device=torch.device("cpu"))


@torch.no_grad()
def test_log_probs_and_entropies_equal_a_plain_pass_over_each_row(batch):
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


@torch.no_grad()
def test_values_stand_before_the_tokens_they_judge(batch):
    torch.manual_seed(2)
    classifier = LlamaForTokenClassification(_config()).eval()
    critic = Critic(classifier)
    critic.reference_weight.fill_(-0.25)
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
def test_a_saved_critic_loads_with_its_weight_on_the_reference(tmp_path, batch):
    first, second = (Critic(LlamaForTokenClassification(_config()).eval()) for _ in range(2))
    first.reference_weight.fill_(0.5)
    first.save(tmp_path)
    assert not torch.equal(response_values(first, batch), response_values(second, batch))
    second.load(tmp_path)
    torch.testing.assert_close(response_values(first, batch), response_values(second, batch), rtol=0, atol=0)


def test_a_model_whose_head_is_more_than_a_matrix_is_refused():
    model = LlamaForCausalLM(_config()).eval()
    check_projection(model, path="plain")
    model.lm_head.bias = torch.nn.Parameter(torch.linspace(-1, 1, 17))
    with pytest.raises(BadInputError, match="biased: its output head has a bias"):
        check_projection(model, path="biased")
