"""Updates of the supervised stages: micro-batches, order of the rows, schedules, validation, resuming, one GPU."""

import math
from collections import Counter

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from test_reward_model import pairs
from test_sft import rows
from toy import save_model

from longform.miniature.policy import build_model, build_tokenizer, sft_rows
from longform.records.errors import BadInputError, LongformWarning
from longform.rl.microbatches import cut_by_tokens
from longform.rl.settings import LoraSettings, MemorySettings
from longform.training.supervised import processes, stage
from longform.training.supervised.encoding import encode_rows
from longform.training.supervised.optimizer import last_step_at_peak, scheduled_factor
from longform.training.supervised.pretrain import PretrainSegment, PretrainSettings, plan_segments
from longform.training.supervised.processes import Processes, find_processes, warn_of_idle_gpus
from longform.training.supervised.reward_model import RewardModelSettings, learn_pairs
from longform.training.supervised.settings import StageValidation, SupervisedMemory, SupervisedSettings
from longform.training.supervised.sft import fine_tune, use_one_gpu
from longform.training.supervised.sft_recipe import SftSettings
from longform.training.supervised.stage import StageRun, training_order


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture
def gradients_as_updates(monkeypatch):
    """One update of plain gradient descent with a rate of 1, so that weights move by their gradient."""
    monkeypatch.setattr(stage, "build_optimizer", lambda model, _: torch.optim.SGD(model.parameters(), lr=1.0))


UNCUT = 100_000


def run(limit=None, **more):
    return StageRun(MemorySettings(max_tokens_per_microbatch=limit), **more)


def moved(before, model):
    return {name: tensor - before[name] for name, tensor in model.state_dict().items()}


def assert_equal_gradients(one, other):
    assert max(change.abs().max().item() for change in one.values()) > 1e-3
    for name, change in one.items():
        torch.testing.assert_close(change, other[name], rtol=0, atol=1e-5)


ONE_STEP = {"steps": 1, "warmup_steps": 0, "schedule": "constant", "max_grad_norm": 1e9}


@pytest.mark.parametrize("limit", [1, 150, pytest.param(400, marks=pytest.mark.full)])
def test_cutting_a_batch_into_micro_batches_leaves_the_gradient_as_it_is(tokenizer, gradients_as_updates, limit):
    encoded = encode_rows(tokenizer, sft_rows(seed=1, count=11), max_tokens=90)
    settings = SftSettings(batch_size=12, **ONE_STEP)  # one row is blank

    def gradient(limit):
        model = build_model(tokenizer, seed=0)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        fine_tune(model, tokenizer, encoded, settings, run(limit))
        return moved(before, model)

    assert_equal_gradients(gradient(UNCUT), gradient(limit))


def test_on_a_cpu_micro_batches_are_small_unless_asked_for(tokenizer):
    encoded = encode_rows(tokenizer, sft_rows(seed=1, count=12), max_tokens=90)

    def sizes(limit):
        seen, model = [], build_model(tokenizer, seed=0)
        model.register_forward_pre_hook(
            lambda _, __, inputs: seen.append(inputs["input_ids"].numel()), with_kwargs=True
        )
        fine_tune(model, tokenizer, encoded, SftSettings(batch_size=12, **ONE_STEP), run(limit))
        return seen

    assert len(sizes(None)) > 1
    assert max(sizes(None)) <= 512 < max(sizes(UNCUT))
    assert len(sizes(UNCUT)) == 1


@pytest.mark.parametrize("limit", [1, 40, pytest.param(64, marks=pytest.mark.full)])
def test_the_same_holds_for_pairs(tmp_path, gradients_as_updates, limit):
    base = str(save_model(tmp_path / "base"))
    several = [it.model_copy(update={"chosen": it.chosen + " very" * n, "margin": n}) for n, it in enumerate(pairs(7))]
    settings = RewardModelSettings(batch_size=8, max_tokens=16, center=0.1, margin=0.5, **ONE_STEP)

    def weights(limit):
        trained = learn_pairs(base, several, pairs(4, 48), settings, run(limit), lora=None)
        return trained.trained.model.state_dict(), trained.report.final_loss

    (whole, whole_loss), (cut, cut_loss) = weights(None), weights(limit)
    assert whole_loss == pytest.approx(cut_loss, abs=1e-5)
    for name, tensor in whole.items():
        torch.testing.assert_close(tensor, cut[name], rtol=0, atol=1e-5)


def test_pieces_hold_all_rows_once_and_no_more_tokens_than_allowed():
    lengths = [5, 100, 7, 30, 31, 2]
    pieces = cut_by_tokens(lengths, max_tokens=64)
    assert sorted(row for piece in pieces for row in piece) == list(range(6))
    assert all(len(piece) == 1 or len(piece) * max(lengths[row] for row in piece) <= 64 for piece in pieces)


def test_every_epoch_has_each_row_once_and_ends_with_blanks():
    order = training_order(10, batch_size=4, steps=6, seed=3)
    first, second = order[:12], order[12:]
    for epoch in (first, second):
        assert Counter(epoch) == Counter(range(10)) + Counter({10: 2})
        assert epoch[-2:] == [10, 10]
    assert first != second
    assert training_order(3, batch_size=2, steps=3, seed=0, shuffle=False) == [0, 1, 2, 3, 0, 1]


def test_epochs_become_updates():
    settings = SftSettings(epochs=2.5, batch_size=8)
    assert settings.updates(32) == 10
    assert settings.updates(33) == round(2.5 * 5)
    assert SftSettings(steps=7).updates(33) == 7


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": 2, "steps": 5}, "steps and epochs both set"),
        ({"warmup_ratio": 0.1, "warmup_steps": 5}, "warmup_steps and warmup_ratio both set"),
        ({"schedule": "cosine", "decay": 0.3}, "decay belongs to `schedule: trapezoid`"),
        ({"seed": 2**32}, "seed"),
    ],
)
def test_settings_that_say_two_things_are_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        SftSettings(**settings)


def test_a_resolved_recipe_can_be_read_again():
    settings = SftSettings(epochs=2, warmup_ratio=0.1, schedule="cosine")
    assert SftSettings.model_validate(settings.model_dump()) == settings


def factors(steps, **settings):
    return [scheduled_factor(done, SupervisedSettings(**settings), steps=steps) for done in range(steps)]


def test_each_schedule_rises_holds_and_falls_as_it_says():
    constant = factors(10, warmup_steps=4, schedule="constant")
    assert constant == [0.25, 0.5, 0.75] + [1.0] * 7
    linear = factors(10, warmup_ratio=0.2, schedule="linear")
    assert linear == pytest.approx([0.5, 1.0] + [(11 - step) / 9 for step in range(3, 11)])
    cosine = factors(10, warmup_steps=1, schedule="cosine")
    assert cosine == pytest.approx([0.5 * (1 + math.cos(math.pi * step / 10)) for step in range(10)])
    assert all(0 < factor <= 1 for factor in cosine + linear + constant)
    trapezoid = factors(10, warmup_steps=0, decay=0.4)
    assert trapezoid == pytest.approx([1.0] * 7 + [0.75, 0.5, 0.25])
    assert last_step_at_peak(SupervisedSettings(decay=0.4), steps=10) == 7


def test_a_branch_decays_where_the_trunk_goes_on():
    settings = PretrainSettings(decay=0.4, warmup_steps=0)
    segments = plan_segments([0, 0.1, 0.3, 1.0], settings, updates=100)
    assert segments == [
        PretrainSegment(None, 0, 6),
        PretrainSegment(0.1, 6, 10),
        PretrainSegment(None, 6, 18),
        PretrainSegment(0.3, 18, 30),
        PretrainSegment(1.0, 18, 100),
    ]
    assert plan_segments([1.0], settings, updates=100) == [PretrainSegment(1.0, 0, 100)]
    for segment in segments:
        if segment.share is not None:
            assert scheduled_factor(segment.start, settings, steps=segment.end) == 1
            assert scheduled_factor(segment.end - 1, settings, steps=segment.end) < 0.4
    assert scheduled_factor(19, settings, steps=30) < 1


def test_the_batch_is_divided_among_processes_or_refused():
    assert Processes(0, 8, 2, True).rows_each(16) == 4
    with pytest.raises(
        BadInputError, match=r"settings\.batch_size: 10 rows cannot be divided evenly among 4 processes"
    ):
        Processes(0, 4, 1, False).rows_each(10)


def test_processes_are_those_of_the_launcher(monkeypatch):
    assert find_processes() == Processes(0, 1, 1, False)
    settings = {"RANK": "3", "WORLD_SIZE": "8", "PARALLELISM_CONFIG_CP_SIZE": "2", "ACCELERATE_USE_FSDP": "true"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    found = find_processes()
    assert found == Processes(3, 8, 2, True)
    assert (found.is_main, found.data_parallel_size) == (False, 4)


def test_a_single_process_uses_one_of_several_gpus_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with pytest.warns(LongformWarning, match="4 GPUs are visible and one is used; `accelerate launch"):
        warn_of_idle_gpus(find_processes())
    monkeypatch.undo()
    arguments = stage.TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    arguments._n_gpu = 4
    assert use_one_gpu(arguments).train_batch_size == arguments.per_device_train_batch_size
    assert arguments.n_gpu == 1


def test_the_best_weights_are_kept_and_a_stage_that_gets_worse_ends_early(tokenizer, tmp_path):
    training, validation = (encode_rows(tokenizer, rows(16, answer), max_tokens=64) for answer in ("Yes.", "No."))
    settings = SftSettings(steps=40, batch_size=8, lr=5e-3, warmup_steps=0)
    model = build_model(tokenizer, seed=0)
    watched = StageValidation(share=0.5, every=3, patience=2)
    own = run(checkpoints=tmp_path, checkpoint_every=3, validation=watched)
    trained = fine_tune(model, tokenizer, training, settings, own, validation=validation)
    losses = [it.loss for it in trained.report.validations]
    best = losses.index(min(losses))
    assert len(losses) == best + 3, "it ends two validations after the best"
    assert trained.report.steps == 3 * (best + 3) < 40
    assert trained.report.best_step == 3 * (best + 1)
    kept = load_file(tmp_path / f"checkpoint-{trained.report.best_step}" / "model.safetensors")
    state = trained.model.state_dict()
    assert all(kept[name].equal(state[name]) for name in kept)
    model = build_model(tokenizer, seed=1)
    again = fine_tune(model, tokenizer, training, settings, own, validation=validation)
    assert again.report.validations == trained.report.validations, "killed after its last update, it ends there again"
    assert all(kept[name].equal(value) for name, value in again.model.state_dict().items() if name in kept)


def test_the_validation_loss_is_a_mean_over_all_tokens_however_they_are_batched(tokenizer):
    training, validation = (encode_rows(tokenizer, sft_rows(seed=seed, count=7), max_tokens=200) for seed in (1, 2))

    def validated(batch_size, limit):
        settings = SftSettings(steps=1, batch_size=batch_size, lr=1e-9)
        model = build_model(tokenizer, seed=0)
        watched = run(limit, validation=StageValidation(share=0.5, every=1))
        return (
            fine_tune(model, tokenizer, training, settings, watched, validation=validation).report.validations[-1].loss
        )

    model = build_model(tokenizer, seed=0)
    total = count = 0
    for ids, labels in zip(validation.ids, validation.labels, strict=True):
        chosen = torch.tensor(labels[1:]) != stage.IGNORED
        logs = model(torch.tensor(ids)[None].long()).logits[0, :-1].log_softmax(-1)
        total -= logs.gather(1, torch.tensor(ids)[1:, None].long())[chosen].sum().item()
        count += int(chosen.sum())
    for batch_size, limit in ((7, None), (2, 300), (3, 1)):
        assert validated(batch_size, limit) == pytest.approx(total / count, abs=1e-5)


class Stopped(Exception):
    """A stage that is interrupted."""


@pytest.mark.parametrize("lora", [None, pytest.param(LoraSettings(rank=2), marks=pytest.mark.full)])
def test_an_interrupted_training_of_a_reward_model_ends_with_the_same_weights_and_curve(tmp_path, lora):
    base = str(save_model(tmp_path / "base"))
    settings = RewardModelSettings(steps=12, batch_size=4, max_tokens=16, lr=1e-2, warmup_steps=2, evaluate_every=5)

    def train(folder, stops_at=None):
        def on_progress(step, _, __):
            if step == stops_at:
                raise Stopped

        own = run(checkpoints=folder, checkpoint_every=3)
        return learn_pairs(base, pairs(18), pairs(6, 48), settings, own, lora=lora, on_progress=on_progress)

    whole = train(tmp_path / "whole")
    with pytest.raises(Stopped):
        train(tmp_path / "stopped", stops_at=8)
    assert stage.newest_checkpoint(tmp_path / "stopped") == str(tmp_path / "stopped" / "checkpoint-6")
    resumed = train(tmp_path / "stopped")
    one, other = whole.trained.model.state_dict(), resumed.trained.model.state_dict()
    assert all(one[name].equal(other[name]) for name in one)
    assert whole.report.curve == resumed.report.curve


def test_defaults_of_memory_follow_the_device():
    assert SupervisedMemory().resolved(on_gpu=False) == MemorySettings()
    on_gpu = SupervisedMemory().resolved(on_gpu=True)
    assert (on_gpu.precision, on_gpu.gradient_checkpointing) == ("bfloat16", True)
    own = SupervisedMemory(precision="float32", gradient_checkpointing=False).resolved(on_gpu=True)
    assert own == MemorySettings()
    assert processes.find_processes().is_main
