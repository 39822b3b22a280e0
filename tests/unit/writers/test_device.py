"""The device of a local model, and the precision of its weights there."""

import pytest
import torch

from longform.records.errors import BadInputError, DeviceWarning
from longform.writers.decoding import choose_tokens, drawing_device
from longform.writers.device import choose_device, choose_precision, fast_precision
from longform.writers.settings import GenerationSettings


@pytest.fixture
def machine(monkeypatch):
    def has(*, gpus=0, apple=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)

    return has


def test_auto_takes_a_gpu_then_apples_then_the_processor(machine):
    for gpus, apple, expected in ((1, True, "cuda"), (0, True, "mps"), (0, False, "cpu")):
        machine(gpus=gpus, apple=apple)
        assert choose_device() == expected
    assert choose_device("cpu") == "cpu"


def test_a_device_that_is_not_there_is_one_line(machine):
    machine()
    with pytest.raises(BadInputError, match="device: mps is not available to this build of torch on this machine"):
        choose_device("mps")


def test_gpus_that_stay_unused_are_named(machine):
    machine(gpus=4)
    with pytest.warns(DeviceWarning, match="4 GPUs are visible and one is used"):
        assert choose_device() == "cuda"
    machine(gpus=1)
    choose_device()


def test_a_writer_is_loaded_in_bfloat16_on_a_gpu_alone_unless_told_otherwise():
    assert choose_precision("auto", "cuda") == choose_precision("bfloat16", "cpu") == torch.bfloat16
    assert choose_precision("auto", "cpu") == choose_precision("float32", "cuda") == torch.float32


def test_tokens_are_drawn_in_float64_whatever_the_device():
    uniforms = torch.tensor([0.2500000001, 0.7499999999], dtype=torch.float64)
    chosen, log_probs = choose_tokens(torch.zeros(2, 4), uniforms, GenerationSettings())
    assert chosen.tolist() == [1, 2]
    assert log_probs.dtype == torch.float32
    assert [drawing_device(torch.device(it)).type for it in ("cpu", "cuda", "mps")] == ["cpu", "cuda", "cpu"]


def test_bfloat16_is_fast_on_a_gpu_and_on_processors_with_instructions_for_it(monkeypatch):
    for able, expected in (({"avx512_bf16": True}, "bfloat16"), ({"avx2": True, "avx512_bf16": False}, "float32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert fast_precision("cpu") == expected
        assert fast_precision("cuda") == "bfloat16"
