import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from longform.rl.log_probs import token_statistics


def _plain(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    log_p = torch.log_softmax(hidden @ weight.T / temperature, dim=-1)
    return log_p[torch.arange(len(targets)), targets], -(log_p.exp() * log_p).sum(-1)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 9),
    chunk=st.integers(1, 10),
    temperature=st.sampled_from([0.5, 1.0]),
)
def test_values_and_gradients_equal_full_logits_for_any_chunk(seed, count, chunk, temperature):
    torch.manual_seed(seed)
    hidden, weight = torch.randn(count, 6).double(), torch.randn(11, 6).double()
    targets = torch.randint(0, 11, (count,))
    grads = []
    for function in (
        lambda h, w: token_statistics(h, w, targets, temperature=temperature, chunk_tokens=chunk),
        lambda h, w: _plain(h, w, targets, temperature),
    ):
        h, w = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        log_probs, entropy = function(h, w)
        (log_probs * torch.arange(1, count + 1) + 0.3 * entropy).sum().backward()
        grads.append((log_probs.double(), entropy.double(), h.grad, w.grad))
    for ours, plain in zip(*grads, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-5)


def test_no_tensor_of_all_tokens_by_the_vocabulary_is_kept():
    hidden, weight = torch.randn(4096, 4, requires_grad=True), torch.randn(512, 4)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        log_probs, entropy = token_statistics(hidden, weight, torch.zeros(4096, dtype=torch.int64), chunk_tokens=64)
        (log_probs + entropy).sum().backward()
    assert max(kept) <= hidden.numel()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_results_are_float32_whatever_the_weights_are(dtype):
    statistics = token_statistics(
        torch.randn(3, 4, dtype=dtype), torch.randn(7, 4, dtype=dtype), torch.tensor([0, 1, 2])
    )
    assert statistics.log_probs.dtype == statistics.entropy.dtype == torch.float32
