import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from longform.rl.log_probs import OutputHead, Tile, token_statistics


def _plain(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    log_p = torch.log_softmax(hidden @ weight.T / temperature, dim=-1)
    return log_p[torch.arange(len(targets)), targets], -(log_p.exp() * log_p).sum(-1)


def _example(count: int, *, vocabulary: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    hidden = torch.randn(count, width, generator=stream)
    weight = torch.randn(vocabulary, width, generator=stream)
    return hidden, weight, torch.randint(0, vocabulary, (count,), generator=stream)


def _loss(log_probs: Tensor, entropy: Tensor) -> Tensor:
    return (log_probs * torch.arange(1, len(log_probs) + 1) + 0.3 * entropy).sum()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 9),
    tokens=st.integers(1, 10),
    vocabulary=st.integers(1, 12),
    temperature=st.sampled_from([0.5, 1.0, 1.7]),
)
def test_values_and_gradients_equal_full_logits_for_any_tile(seed, count, tokens, vocabulary, temperature):
    hidden, weight, targets = _example(count, vocabulary=11, width=6, seed=seed)
    results = []
    for function in (
        lambda h, w: token_statistics(
            h, OutputHead(w), targets, temperature=temperature, tile=Tile(tokens, vocabulary)
        ),
        lambda h, w: _plain(h, w, targets, temperature),
    ):
        h, w = hidden.double().requires_grad_(), weight.double().requires_grad_()
        log_probs, entropy = function(h, w)
        _loss(log_probs, entropy).backward()
        results.append((log_probs, entropy, h.grad, w.grad))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(("scale", "cap"), [(1.0, None), (0.25, None), (1.0, 2.0), (0.5, 1.5)])
def test_gradients_are_those_of_finite_differences_for_any_head(scale, cap):
    hidden, weight, targets = _example(3, vocabulary=7, width=4)
    bias = torch.linspace(-1, 1, 7)
    assert torch.autograd.gradcheck(
        lambda h, w, b: token_statistics(h, OutputHead(w, b, scale, cap), targets, temperature=0.8, tile=Tile(2, 3)),
        tuple(it.double().requires_grad_() for it in (hidden, weight, bias)),
    )


def test_a_bias_a_scale_and_a_cap_change_the_logits_as_the_families_define_them():
    hidden, weight, targets = _example(4, vocabulary=7, width=5)
    bias = torch.linspace(-1, 1, 7)
    found = token_statistics(hidden, OutputHead(weight, bias, 0.5, 2.0), targets, temperature=0.7, tile=Tile(2, 3))
    logits = 2.0 * torch.tanh(0.5 * (hidden @ weight.T + bias) / 2.0)
    log_p = torch.log_softmax(logits / 0.7, dim=-1)
    torch.testing.assert_close(found.log_probs, log_p[torch.arange(4), targets])
    torch.testing.assert_close(found.entropy, -(log_p.exp() * log_p).sum(-1))


@pytest.mark.parametrize("frozen", [0, 1], ids=["hidden", "weight"])
def test_what_is_frozen_gets_no_gradient_and_the_other_gets_the_same(frozen):
    hidden, weight, targets = _example(5, vocabulary=7, width=4)
    whole = [hidden.clone().requires_grad_(), weight.clone().requires_grad_()]
    part = [hidden.clone().requires_grad_(frozen != 0), weight.clone().requires_grad_(frozen != 1)]
    for h, w in (whole, part):
        _loss(*token_statistics(h, OutputHead(w), targets, tile=Tile(2, 3))).backward()
    assert part[frozen].grad is None
    torch.testing.assert_close(part[1 - frozen].grad, whole[1 - frozen].grad)


def test_large_logits_neither_overflow_nor_lose_the_entropy():
    hidden, weight, targets = _example(6, vocabulary=50, width=8)
    log_probs, entropy = token_statistics(hidden * 100, OutputHead(weight), targets, tile=Tile(4, 16))
    expected = _plain(hidden.double() * 100, weight.double(), targets, 1.0)
    torch.testing.assert_close(log_probs.double(), expected[0], atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(entropy.double(), expected[1], atol=1e-3, rtol=1e-3)


def test_no_tensor_of_all_tokens_by_the_vocabulary_is_kept():
    hidden, weight = torch.randn(4096, 4, requires_grad=True), torch.randn(512, 4)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        log_probs, entropy = token_statistics(
            hidden, OutputHead(weight), torch.zeros(4096, dtype=torch.int64), tile=Tile(64, 64)
        )
        (log_probs + entropy).sum().backward()
    assert max(kept) <= hidden.numel()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_results_are_float32_and_gradients_of_the_inputs_dtype(dtype):
    hidden, weight, targets = _example(5, vocabulary=7, width=4)
    h, w = hidden.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_()
    statistics = token_statistics(h, OutputHead(w), targets)
    _loss(*statistics).backward()
    assert statistics.log_probs.dtype == statistics.entropy.dtype == torch.float32
    assert h.grad is not None and w.grad is not None
    assert h.grad.dtype == w.grad.dtype == dtype


@pytest.mark.parametrize("mode", ["bf16 inputs", "autocast over float32 weights", "autocast over bf16 states"])
def test_bf16_stays_close_to_float32(mode):
    hidden, weight, targets = _example(64, vocabulary=300, width=32)
    weight = weight / 32**0.5
    exact_h, exact_w = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
    exact = token_statistics(exact_h, OutputHead(exact_w), targets)
    _loss(*exact).backward()

    h = (hidden if mode == "autocast over float32 weights" else hidden.bfloat16()).requires_grad_()
    w = (weight.bfloat16() if mode == "bf16 inputs" else weight).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mode.startswith("autocast")):
        near = token_statistics(h, OutputHead(w), targets, tile=Tile(20, 70))
    _loss(*near).backward()  # outside of autocast, as training loops do

    assert near.log_probs.dtype == near.entropy.dtype == torch.float32
    torch.testing.assert_close(near.log_probs, exact.log_probs, atol=0.04, rtol=0)
    torch.testing.assert_close(near.entropy, exact.entropy, atol=0.02, rtol=0)
    for ours, true in ((h, exact_h), (w, exact_w)):
        assert ours.grad is not None and true.grad is not None
        assert ours.grad.dtype == ours.dtype
        error = (ours.grad.float() - true.grad).norm() / true.grad.norm()
        assert error < 0.01


def test_autocast_computes_in_its_dtype_forward_and_backward():
    hidden, weight, targets = _example(9, vocabulary=40, width=16)
    results = []
    for cast in (False, True):
        h, w = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=cast):
            statistics = (
                token_statistics(h, OutputHead(w), targets)
                if cast
                else token_statistics(h.bfloat16(), OutputHead(w.bfloat16()), targets)
            )
        _loss(*statistics).backward()
        results.append((*statistics, h.grad, w.grad))
    for under_autocast, in_bf16 in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(under_autocast, in_bf16, atol=0.02, rtol=0.01)
    assert torch.equal(results[0][0], results[1][0])
