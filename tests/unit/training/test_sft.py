import random

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from longform.miniature.policy import build_model, build_tokenizer
from longform.records.errors import BadInputError
from longform.training.supervised.optimizer import MuonWithAdamW
from longform.training.supervised.sft import train_sft
from longform.training.supervised.sft_recipe import SftSettings

WORDS = ("fox", "rain", "jam", "key", "mill", "Mira")


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def embeddings(model):
    return model.state_dict()["model.embed_tokens.weight"]


def rows(count, answer="At last Mira smiled."):
    stream = random.Random(0)
    return [
        {
            "prompt": [{"role": "user", "content": " ".join(stream.choices(WORDS, k=8))}],
            "completion": [{"role": "assistant", "content": answer}],
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_model_learns_completions_and_nothing_of_the_random_prompts(tokenizer, tmp_path, optimizer):
    settings = SftSettings(steps=30, batch_size=8, lr=5e-3, optimizer=optimizer, warmup_steps=2)
    heard = []
    model = build_model(tokenizer, seed=0)
    report = train_sft(
        model, tokenizer, rows(64), settings, out=tmp_path / "m", on_progress=lambda *news: heard.append(news)
    )
    assert report.final_loss < 0.1  # six words at random cost 1.8 nats each, were prompts in the loss
    assert heard[0][2] > 1
    assert [news[0] for news in heard] == sorted(news[0] for news in heard)
    assert heard[-1][:2] == (30, 30)
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    assert embeddings(saved).equal(embeddings(model))
    assert {path.name for path in tmp_path.iterdir()} == {"m"}


def test_the_same_seed_gives_the_same_weights(tokenizer, tmp_path):
    settings = SftSettings(steps=3, batch_size=4, lr=1e-2, seed=5)

    def trained():
        model = build_model(tokenizer, seed=1)
        train_sft(model, tokenizer, rows(32), settings, out=tmp_path)
        return embeddings(model)

    assert trained().equal(trained())


def test_muon_follows_learning_rates_set_after_its_groups_were_replaced(tokenizer):
    model = build_model(tokenizer, seed=0)
    optimizer = MuonWithAdamW(model, SftSettings(optimizer="muon"))
    optimizer.load_state_dict(optimizer.state_dict())  # accelerate does this, and it makes new groups
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert all(old.equal(new) for old, new in zip(before, model.parameters(), strict=True))


def test_muon_takes_matrices_inside_the_model_and_each_parameter_once(tokenizer):
    model = build_model(tokenizer, seed=0)
    inner, others = (group["params"] for group in MuonWithAdamW(model, SftSettings(optimizer="muon")).param_groups)
    assert all(parameter.ndim == 2 for parameter in inner)
    assert not any(parameter is model.get_input_embeddings().weight for parameter in inner)
    assert len({id(parameter) for parameter in (*inner, *others)}) == len(list(model.parameters()))


def test_rows_and_chat_template_are_needed(tokenizer, tmp_path):
    with pytest.raises(BadInputError, match="no training rows"):
        train_sft(build_model(tokenizer, seed=0), tokenizer, [], SftSettings(), out=tmp_path)
    bare = build_tokenizer()
    bare.chat_template = None
    with pytest.raises(BadInputError, match="chat template"):
        train_sft(build_model(bare, seed=0), bare, rows(2), SftSettings(), out=tmp_path)


def test_unknown_settings_are_refused():
    with pytest.raises(ValidationError):
        SftSettings(learning_rate=1)  # pyright: ignore[reportCallIssue]
