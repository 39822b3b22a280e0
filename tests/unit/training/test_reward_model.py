import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toy import WORDS, save_model
from transformers import AutoModelForSequenceClassification

from longform.records.errors import BadInputError
from longform.records.files import read_rows, write_rows
from longform.records.schemas import Preference, PromptRow
from longform.rewards.writing_model import WritingModel, encode
from longform.rl.settings import LoraSettings
from longform.training.supervised import reward_model_recipe
from longform.training.supervised.preferences import read_preferences
from longform.training.supervised.reward_model import (
    RewardModelSettings,
    curve_point,
    learn_pairs,
    load_classifier,
    pair_scores,
    train_reward_model,
)
from longform.training.supervised.reward_model_recipe import RewardModelRecipe, read_split, run_reward_model
from longform.writers.loading import load_model, load_tokenizer

SETTINGS = RewardModelSettings(steps=40, batch_size=8, max_tokens=16, lr=1e-2, warmup_steps=2, evaluate_every=20)


def pairs(count, start=0):
    """`good` beats `bad`, whatever else a text says."""
    words = ("so", "and", "then", "very")
    return [
        Preference(
            prompt=f"write {words[n % 4]} {words[n // 4 % 4]} {words[n // 16 % 4]}",
            chosen=f"{words[n % 4]} good and",
            rejected=f"{words[(n + 1) % 4]} bad and",
        )
        for n in range(start, start + count)
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "model"
    out.mkdir()
    report = train_reward_model(str(base), pairs(48), pairs(16, 48), SETTINGS, lora=None, out=out)
    return out, report


def right(model, preferences):
    scored = [(PromptRow(id="p", prompt=it.prompt), text) for it in preferences for text in (it.chosen, it.rejected)]
    scores = model.scores(scored)
    return sum(better > worse for better, worse in zip(scores[::2], scores[1::2], strict=True)) / len(preferences)


def test_it_learns_which_text_is_better_on_prompts_it_has_not_seen(trained):
    out, report = trained
    assert right(WritingModel(str(out)), pairs(16, 48)) == 1
    assert report.final_loss < 0.1
    assert (report.pairs, report.held_out, report.cut) == (48, 16, 0)


def test_the_learning_curve_begins_before_the_first_step_and_rises(trained):
    _, report = trained
    assert [it.step for it in report.curve] == [0, 20, 40]
    assert report.curve[0].accuracy < 0.9 < report.curve[-1].accuracy
    assert report.curve[-1].loss < report.curve[0].loss


class CountsGood(torch.nn.Module):
    """Scores a text by how often it says `good`."""

    device = torch.device("cpu")

    def __init__(self):
        super().__init__()
        text = SimpleNamespace(pad_token_id=WORDS.index("[end]"))
        self.config = SimpleNamespace(get_text_config=lambda: text)

    def forward(self, input_ids, attention_mask):
        goods = ((input_ids == WORDS.index("good")) * attention_mask).sum(dim=1, keepdim=True)
        return SimpleNamespace(logits=goods.float())


@pytest.mark.parametrize("batch", [1, 2, 4, 5, 8])
def test_a_point_of_the_curve_is_a_mean_over_pairs_however_they_are_batched(batch):
    """Two right, one tie and two wrong of five are 0.5; the mean over batches of four pairs would be 0.3125."""
    good, bad = WORDS.index("good"), WORDS.index("bad")
    goods = [(2, 1), (1, 1), (0, 1), (3, 1), (0, 2)]
    rows = [{"chosen_ids": [good] * a + [bad], "rejected_ids": [good] * b + [bad]} for a, b in goods]
    scores = pair_scores(CountsGood().eval(), rows, batch=batch)
    assert scores.tolist() == [list(map(float, pair)) for pair in goods]
    point = curve_point(7, scores, np.array([0.5, 0, 0, 0, 0]), center=0.1)
    assert (point.step, point.accuracy) == (7, 0.5)
    bradley_terry = sum(math.log1p(math.exp(-lead)) for lead in (0.5, 0, -1, 2, -2)) / 5
    assert point.loss == pytest.approx(bradley_terry + 0.1 * (9 + 4 + 1 + 16 + 4) / 5)


def test_the_curve_begins_and_ends_with_the_accuracy_over_all_held_out_pairs(base, tmp_path):
    held_out = pairs(4, 48) + [it.model_copy(update={"chosen": it.rejected, "rejected": it.chosen}) for it in pairs(1)]
    settings = SETTINGS.model_copy(update={"steps": 30, "batch_size": 4})
    report = train_reward_model(str(base), pairs(40, 8), held_out, settings, lora=None, out=tmp_path)
    assert [it.step for it in report.curve] == [0, 20, 30]
    assert report.curve[-1].accuracy == right(WritingModel(str(tmp_path)), held_out) == 0.8
    tokenizer, model = load_classifier(str(base), seed=settings.seed)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(tmp_path / "first")
    tokenizer.save_pretrained(tmp_path / "first")
    assert report.curve[0].accuracy == right(WritingModel(str(tmp_path / "first")), held_out)


def test_scores_of_the_held_out_texts_have_mean_0_and_spread_1(trained):
    out, _ = trained
    held_out = list(read_rows(out / "held-out.jsonl", Preference))
    texts = {(str(it.prompt), text) for it in held_out for text in (it.chosen, it.rejected)}
    scores = torch.tensor(WritingModel(str(out)).scores([(PromptRow(id="p", prompt=p), text) for p, text in texts]))
    assert scores.mean().item() == pytest.approx(0, abs=1e-4)
    assert scores.std(correction=0).item() == pytest.approx(1, abs=1e-4)
    scale = json.loads((out / "scores.json").read_text())
    assert (scale["lowest"] - scale["mean"]) / scale["spread"] == pytest.approx(scores.min().item(), abs=1e-4)


def test_the_same_seed_gives_the_same_model(base, trained, tmp_path):
    train_reward_model(str(base), pairs(48), pairs(16, 48), SETTINGS, lora=None, out=tmp_path)
    one, other = (AutoModelForSequenceClassification.from_pretrained(it).state_dict() for it in (trained[0], tmp_path))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_with_adapters_a_plain_folder_comes_out_and_the_frozen_weights_have_not_moved(base, tmp_path):
    settings = SETTINGS.model_copy(update={"steps": 60, "lr": 3e-2})
    lora = LoraSettings(rank=4)
    train_reward_model(str(base), pairs(48), pairs(16, 48), settings, lora=lora, out=tmp_path)
    assert not (tmp_path / "adapter_config.json").exists()
    assert right(WritingModel(str(tmp_path)), pairs(16, 48)) >= 0.9
    before = load_model(str(base), device="cpu")[1].state_dict()
    after = AutoModelForSequenceClassification.from_pretrained(tmp_path).state_dict()
    assert torch.equal(before["model.embed_tokens.weight"], after["model.embed_tokens.weight"])
    changed = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(before[changed], after[changed])


def test_margins_ask_for_a_lead(base, tmp_path):
    """With a margin of 5 a pair that leads by less still has a loss; without, the same training leads by less."""
    leads = []
    for margin in (0.0, 0.5):
        out = tmp_path / str(margin)
        out.mkdir()
        settings = SETTINGS.model_copy(update={"margin": margin})
        apart = [it.model_copy(update={"margin": 10.0}) for it in pairs(48)]
        train_reward_model(str(base), apart, pairs(16, 48), settings, lora=None, out=out)
        model = WritingModel(str(out))
        prompt = PromptRow(id="p", prompt="write so so")
        better, worse = model.scores([(prompt, "so good and"), (prompt, "so bad and")])
        leads.append((better - worse) * model.scale.spread)
    assert leads[1] > leads[0] + 2


def test_texts_that_are_cut_are_counted_and_learned_as_they_will_be_read(base, tmp_path):
    long = [it.model_copy(update={"chosen": it.chosen + " very" * 30}) for it in pairs(16)]
    settings = SETTINGS.model_copy(update={"steps": 2})
    report = train_reward_model(str(base), long, pairs(4, 48), settings, lora=None, out=tmp_path)
    assert report.cut == 16
    assert WritingModel(str(tmp_path)).max_tokens == 16


def test_a_new_head_is_a_function_of_the_seed_and_the_weights_below_are_the_models(base):
    heads = [load_classifier(str(base), seed=seed)[1] for seed in (1, 1, 2)]
    assert torch.equal(heads[0].score.weight, heads[1].score.weight)
    assert not torch.equal(heads[0].score.weight, heads[2].score.weight)
    name = "layers.0.mlp.up_proj.weight"
    below = load_model(str(base), device="cpu")[1].get_decoder().state_dict()
    assert torch.equal(heads[0].model.state_dict()[name], below[name])


def test_the_first_loss_is_that_of_bradley_and_terry(base):
    """Before a step is made, TRL's loss on the pairs held out is -log sigmoid of the plain score differences."""
    tokenizer, model = load_classifier(str(base), seed=SETTINGS.seed)
    losses = []
    for it in pairs(16, 48):
        prompt = PromptRow(id="p", prompt=it.prompt)
        ids = [encode(tokenizer, prompt, text, max_tokens=None).ids for text in (it.chosen, it.rejected)]
        with torch.inference_mode():
            better, worse = (model.eval()(input_ids=torch.tensor([side])).logits.item() for side in ids)
        losses.append(-torch.nn.functional.logsigmoid(torch.tensor(better - worse)).item())
    assert sum(losses) / len(losses) == pytest.approx(first_loss(base), abs=1e-4)


def first_loss(base):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        settings = SETTINGS.model_copy(update={"steps": 1})
        report = train_reward_model(str(base), pairs(8), pairs(16, 48), settings, lora=None, out=Path(folder))
    return report.curve[0].loss


def recipe(base, tmp_path, **more):
    write_rows(tmp_path / "pairs.jsonl", pairs(64))
    content = {
        "base": str(base),
        "preferences": [tmp_path / "pairs.jsonl"],
        "held_out": 0.25,
        "out": tmp_path / "out",
        "settings": {"steps": 2, "batch_size": 4, "max_tokens": 16},
    }
    return RewardModelRecipe.model_validate(content | more)


def test_prompts_are_held_out_whole(base, tmp_path):
    write_rows(tmp_path / "twice.jsonl", [it for it in pairs(64) for _ in range(2)])
    split = read_split(recipe(base, tmp_path, preferences=[tmp_path / "twice.jsonl"]))
    assert {str(it.prompt) for it in split.training}.isdisjoint(str(it.prompt) for it in split.held_out)
    assert len(split.training) + len(split.held_out) == 128
    assert 0.1 < len(split.held_out) / 128 < 0.45


def test_which_prompts_are_held_out_does_not_depend_on_the_others(base, tmp_path):
    few = tmp_path / "few.jsonl"
    write_rows(few, pairs(32))
    some = {str(it.prompt) for it in read_split(recipe(base, tmp_path, preferences=[few])).held_out}
    every = {str(it.prompt) for it in read_split(recipe(base, tmp_path)).held_out}
    assert some == every & {str(it.prompt) for it in pairs(32)}


def test_a_finished_folder_holds_the_recipe_the_scale_and_the_pairs_held_out(base, tmp_path):
    asked = recipe(base, tmp_path)
    result = run_reward_model(asked, read_split(asked), on_progress=lambda step, steps, loss: None)
    assert {"reward-model.yaml", "scores.json", "held-out.jsonl", "model.safetensors"} <= {
        it.name for it in result.path.iterdir()
    }
    assert load_tokenizer(str(result.path)).eos_token == "[end]"


def test_equal_texts_and_empty_ones_are_named_by_file_and_pair(tmp_path):
    path = tmp_path / "pairs.jsonl"
    write_rows(path, [*pairs(1), Preference(prompt="p", chosen="same ", rejected="same")])
    with pytest.raises(BadInputError, match=r"pairs\.jsonl:2: chosen and rejected are equal"):
        read_preferences(path)
    write_rows(path, [Preference(prompt="p", chosen=" ", rejected="x")])
    with pytest.raises(BadInputError, match=":1: chosen: is empty"):
        read_preferences(path)


def test_too_few_prompts_to_hold_any_out_are_refused(base, tmp_path):
    write_rows(tmp_path / "one.jsonl", pairs(1))
    with pytest.raises(BadInputError, match=r"held_out: 0\.25 leaves"):
        read_split(recipe(base, tmp_path, preferences=[tmp_path / "one.jsonl"]))


def test_pairs_for_validation_come_from_a_file_or_from_the_others(base, tmp_path):
    write_rows(tmp_path / "own.jsonl", pairs(3))
    own = read_split(recipe(base, tmp_path, validation={"file": tmp_path / "own.jsonl"}))
    assert own.validation == pairs(3) and len(own.training) + len(own.held_out) == 64
    shared = read_split(recipe(base, tmp_path, validation={"share": 0.3}))
    assert shared.validation and len(shared.training) + len(shared.held_out) + len(shared.validation) == 64
    with pytest.raises(BadInputError, match=r"validation\.share: holds out no prompt; raise it, or name a"):
        read_split(recipe(base, tmp_path, validation={"share": 0.0001}))


def test_a_folder_that_exists_is_left_alone(base, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(BadInputError, match="exists; choose another folder"):
        read_split(recipe(base, tmp_path))


def test_pairs_of_held_out_prompts_are_never_trained_on(base, tmp_path, monkeypatch):
    learned = []

    def note(path, training, held_out, settings, run, *, validation, **more):
        learned.append((training, held_out, validation))
        return learn_pairs(path, training, held_out, settings, run, validation=validation, **more)

    monkeypatch.setattr(reward_model_recipe, "learn_pairs", note)
    asked = recipe(base, tmp_path, validation={"share": 0.3, "every": 1})
    result = run_reward_model(asked)
    ((training, held_out, validation),) = learned
    parts = [{str(it.prompt) for it in part} for part in (training, held_out, validation)]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert {str(it.prompt) for it in pairs(64)} == parts[0] | parts[1] | parts[2]
    assert [str(it.prompt) for it in read_rows(result.path / "held-out.jsonl", Preference)] == [
        str(it.prompt) for it in held_out
    ]
    assert len(result.report.stage.validations) == 2
