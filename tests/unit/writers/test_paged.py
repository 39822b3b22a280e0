"""The paged engine: honest log-probabilities, the same stops, and the model as it was before."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MambaConfig, MambaForCausalLM

from longform.records.errors import BadInputError
from longform.writers.engines import write_completions
from longform.writers.self_check import check_generation
from longform.writers.settings import GenerationSettings
from longform.writers.stops import Stops

VOCABULARY = 29
PROMPTS = [[5, 6], [7], [8, 9, 10, 11], [12, 5, 3], [5, 6], [9]]
STOPS = Stops(frozenset([0, 1]), read=str)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.3,
        max_position_embeddings=128,
    )
    return LlamaForCausalLM(config).eval()


def paged(**settings):
    return GenerationSettings.model_validate({"max_tokens": 20, "engine": "paged"} | settings)


def write(model, settings, stops=STOPS, *, seed=1, prompts=PROMPTS, **more):
    return write_completions(model, prompts, seed=seed, step=1, stops=stops, settings=settings, **more)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_log_probs_are_those_of_a_forward_pass(model, temperature) -> None:
    written = write(model, paged(temperature=temperature))
    assert {it.finish_reason for it in written} == {"stop", "length"}
    for prompt, it in zip(PROMPTS, written, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + it.tokens.tolist()])).logits[0, len(prompt) - 1 : -1]
        expected = torch.log_softmax(logits / temperature, -1).gather(1, it.tokens[:, None])[:, 0]
        assert torch.allclose(it.log_probs, expected, atol=1e-4)


def test_a_response_ends_with_its_first_end_token_or_at_max_tokens(model) -> None:
    for it in write(model, paged()):
        ends = [place for place, token in enumerate(it.tokens.tolist()) if token in STOPS.tokens]
        assert ends == ([len(it.tokens) - 1] if it.finish_reason == "stop" else [])
        assert it.finish_reason == "stop" or len(it.tokens) == 20


def test_a_stop_string_ends_a_response_and_what_was_drawn_behind_it_is_dropped(model) -> None:
    letters = Stops(
        frozenset([0]), read=lambda ids: "".join(chr(97 + it) for it in ids), strings=("k",), completing=frozenset([10])
    )
    written = [it for seed in range(5) for it in write(model, paged(max_tokens=60), letters, seed=seed)]
    stopped = [it for it in written if 10 in it.tokens.tolist()]
    assert stopped
    for it in stopped:
        assert it.tokens.tolist().index(10) == len(it.tokens) - 1
        assert len(it.log_probs) == len(it.tokens)
        assert it.finish_reason == "stop"


def test_greedy_decoding_is_that_of_the_own_engine(model) -> None:
    own = write(model, GenerationSettings(max_tokens=20, temperature=0))
    for one, other in zip(own, write(model, paged(temperature=0)), strict=True):
        assert one.tokens.tolist() == other.tokens.tolist()


def test_draws_follow_from_the_seed_and_leave_other_draws_alone(model) -> None:
    torch.manual_seed(7)
    untouched = torch.rand(3)
    torch.manual_seed(7)
    first = [it.tokens.tolist() for it in write(model, paged())]
    assert torch.equal(torch.rand(3), untouched)
    assert [it.tokens.tolist() for it in write(model, paged())] == first
    assert [it.tokens.tolist() for it in write(model, paged(), seed=2)] != first


def test_more_rows_than_are_written_at_once_all_end(model) -> None:
    seen: list[int] = []
    written = write(model, paged(batch=2), prompts=PROMPTS * 3, on_finished=lambda row, _: seen.append(row))
    assert sorted(seen) == list(range(18))
    assert all(len(it.tokens) for it in written)


def test_the_model_is_as_it_was(model) -> None:
    before = model.config._attn_implementation, model.training
    write(model, paged())
    assert (model.config._attn_implementation, model.training) == before


def test_the_callers_autocast_holds_in_the_engines_thread(model) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        written = write(model, paged())
        logits = model(torch.tensor([PROMPTS[0] + written[0].tokens.tolist()])).logits[0, len(PROMPTS[0]) - 1 : -1]
    expected = torch.log_softmax(logits.float(), -1).gather(1, written[0].tokens[:, None])[:, 0]
    assert torch.allclose(written[0].log_probs, expected, atol=0.05)


def test_the_self_check_covers_the_engine(model) -> None:
    check_generation(model, path="a model", settings=paged())


def test_a_family_that_it_cannot_run_is_refused_with_the_remedy() -> None:
    mamba = MambaForCausalLM(MambaConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1)).eval()
    with pytest.raises(BadInputError, match=r"generation\.engine: paged cannot write with Mamba.*use engine: own"):
        write(mamba, paged())


def test_a_cut_distribution_is_refused() -> None:
    with pytest.raises(ValueError, match="top_p: must be 1 with engine: paged"):
        paged(top_p=0.9)


def test_an_error_of_the_caller_passes_through(model) -> None:
    def fail(row: int, _: object) -> None:
        raise KeyError(row)

    with pytest.raises(KeyError):
        write(model, paged(), on_finished=fail)


class Odd:
    """A model whose architecture, or cache, does not fit: `error` is what transformers raises for it."""

    def __init__(self, error):
        self.error, self.device = error, torch.device("cpu")

    def init_continuous_batching(self, **options):
        raise self.error


def test_nothing_to_write_starts_nothing_and_what_cannot_be_written_is_one_line():
    model = Odd(ValueError("no paged attention\nfor this family"))
    assert write(model, paged(), prompts=[]) == []
    with pytest.raises(BadInputError, match=r"generation\.engine: paged cannot write with Odd") as error:
        write(model, paged())
    assert "no paged attention" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(torch.OutOfMemoryError):  # has a remedy of its own
        write(Odd(torch.OutOfMemoryError("no memory")), paged())
