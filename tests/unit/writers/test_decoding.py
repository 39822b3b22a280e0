from functools import wraps

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from longform.writers.decoding import choose_tokens, decode, uniform_draws
from longform.writers.settings import GenerationSettings
from longform.writers.stops import Stops

VOCABULARY = 23
STOP = 3
STOPS = Stops(frozenset([STOP]), read=str)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.5,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(config).eval()


PROMPTS = [[5, 6], [7], [8, 9, 10, 11], [12, 5], [6, 6, 6], [9], [10, 4], [11]] * 3


def _decode(model, prompts, **given_settings):
    generation = GenerationSettings(**{"max_tokens": 24, **given_settings})
    draws = uniform_draws(seed=4, step=1, rows=range(len(prompts)), count=generation.max_tokens)
    return decode(model, prompts, draws=draws, stops=STOPS, settings=generation)


def _plain(model, prompt, draws, max_tokens):
    """One row at a time, without cache, padding or batching."""
    ids, log_probs = list(prompt), []
    for t in range(max_tokens):
        log_p = torch.log_softmax(model(torch.tensor([ids])).logits[0, -1], dim=-1)
        token = int((log_p.double().exp().cumsum(0) <= draws[t]).sum().clamp(max=VOCABULARY - 1))
        ids.append(token)
        log_probs.append(float(log_p[token]))
        if token == STOP:
            break
    return ids[len(prompt) :], log_probs


@torch.no_grad()
def test_batched_decoding_equals_one_row_at_a_time_without_cache(model):
    written = _decode(model, PROMPTS)
    assert {it.finish_reason for it in written} == {"stop", "length"}, (
        "both endings must occur for this test to say much"
    )
    draws = uniform_draws(seed=4, step=1, rows=range(len(PROMPTS)), count=24)
    for prompt, row, response in zip(PROMPTS, draws, written, strict=True):
        tokens, log_probs = _plain(model, prompt, row, 24)
        assert response.tokens.tolist() == tokens
        np.testing.assert_allclose(response.log_probs, log_probs, atol=1e-4)
        assert response.finish_reason == ("stop" if tokens[-1] == STOP else "length")


@torch.no_grad()
@pytest.mark.parametrize("window", [None, 8])
def test_long_texts_are_read_as_without_a_cache(window):
    """Beyond the first room of keys and values, and with layers that see the last tokens alone."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    heads = {"num_key_value_heads": 1, "initializer_range": 0.5, "sliding_window": window}
    model = MistralForCausalLM(MistralConfig(vocab_size=200, **sizes, **heads)).eval()
    prompts, count = [[5, 6], [7, 8, 9], [5, 6], [11]], 150
    draws = uniform_draws(seed=1, step=1, rows=range(len(prompts)), count=count)
    written = decode(model, prompts, draws=draws, stops=STOPS, settings=GenerationSettings(max_tokens=count))
    assert max(len(it.tokens) for it in written) > 100
    assert min(len(it.tokens) for it in written) < 100, "a row must leave for this test to say much"
    for prompt, response in zip(prompts, written, strict=True):
        ids = torch.tensor([*prompt, *response.tokens.tolist()])
        log_p = torch.log_softmax(model(ids[None]).logits[0, len(prompt) - 1 : -1], dim=-1)
        torch.testing.assert_close(
            response.log_probs, log_p.gather(1, response.tokens[:, None])[:, 0], atol=1e-4, rtol=0
        )


def test_what_is_written_can_be_learned_from(model):
    response = _decode(model, PROMPTS)[0]
    assert not response.tokens.is_inference()
    assert not response.log_probs.is_inference()


def test_a_group_reads_its_prompt_once(model, monkeypatch):
    shapes = []
    forward = LlamaForCausalLM.forward

    @wraps(forward)
    def watched(self, *arguments, **inputs):
        shapes.append(tuple(inputs["input_ids"].shape))
        return forward(self, *arguments, **inputs)

    monkeypatch.setattr(LlamaForCausalLM, "forward", watched)
    _decode(model, [[5, 6, 7]] * 4 + [[8]] * 4)
    assert shapes[0] == (2, 3)
    assert shapes[1][1] == 1
    assert [rows for rows, _ in shapes[1:]] == sorted((rows for rows, _ in shapes[1:]), reverse=True)


def test_finished_rows_are_handed_over_while_others_are_being_written(model):
    order = []
    draws = uniform_draws(seed=4, step=1, rows=range(len(PROMPTS)), count=24)
    written = decode(
        model,
        PROMPTS,
        draws=draws,
        stops=STOPS,
        settings=GenerationSettings(max_tokens=24),
        on_finished=lambda row, it: order.append((row, len(it.tokens))),
    )
    assert sorted(row for row, _ in order) == list(range(len(PROMPTS)))
    lengths = [length for _, length in order]
    assert lengths == sorted(lengths)
    assert [len(it.tokens) for it in written] == [length for _, length in sorted(order)]


def test_the_same_draws_write_the_same_text_and_others_do_not(model):
    first, second = _decode(model, PROMPTS), _decode(model, PROMPTS)
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(first, second, strict=True))
    draws = uniform_draws(seed=4, step=2, rows=range(len(PROMPTS)), count=24)
    other = decode(model, PROMPTS, draws=draws, stops=STOPS, settings=GenerationSettings(max_tokens=24))
    assert any(not torch.equal(a.tokens, b.tokens) for a, b in zip(first, other, strict=True))


def test_a_row_has_its_own_stream_whatever_the_batch():
    whole = uniform_draws(seed=1, step=2, rows=range(5), count=7)
    np.testing.assert_array_equal(uniform_draws(seed=1, step=2, rows=[3], count=7), whole[3:4])
    assert len(np.unique(whole)) == whole.size


def test_temperature_zero_takes_the_likeliest_token():
    logits = torch.tensor([[0.0, 3.0, 1.0]])
    chosen, _ = choose_tokens(logits, torch.tensor([0.99]), GenerationSettings(temperature=0))
    assert chosen.item() == 1


def test_top_p_never_draws_from_the_tail():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).expand(1000, -1)
    chosen, _ = choose_tokens(logits, torch.arange(1000) / 1000, GenerationSettings(top_p=0.7))
    counts = np.bincount(chosen, minlength=4)
    np.testing.assert_allclose(counts, [625, 375, 0, 0], atol=2)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), temperature=st.floats(0.3, 2))
def test_tokens_are_drawn_with_their_probabilities(seed, temperature):
    torch.manual_seed(seed)
    logits = torch.randn(1, 6)
    chosen, log_probs = choose_tokens(
        logits.expand(2000, -1), (torch.arange(2000) + 0.5) / 2000, GenerationSettings(temperature=temperature)
    )
    expected = torch.softmax(logits[0] / temperature, dim=-1)
    np.testing.assert_allclose(np.bincount(chosen, minlength=6) / 2000, expected, atol=1e-3)
    torch.testing.assert_close(log_probs, expected.log()[chosen])


def test_under_autocast_weights_are_cast_once_and_not_for_each_token():
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    ).eval()
    casts = []
    for tokens in (2, 12):
        settings = GenerationSettings(max_tokens=tokens)
        draws = uniform_draws(seed=0, step=1, rows=[0], count=tokens)
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.profiler.profile(record_shapes=True) as profile:
            decode(model, [[5]], draws=draws, stops=Stops(frozenset(), read=str), settings=settings)
        events = profile.key_averages(group_by_input_shape=True)
        weights = ([16, 8], [8, 8])  # of the head, and of a projection
        casts.append(sum(it.count for it in events if it.key == "aten::_to_copy" and it.input_shapes[0] in weights))
    assert casts[0] == casts[1] > 0
