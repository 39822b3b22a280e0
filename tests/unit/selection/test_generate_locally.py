"""Candidates of a local model: a killed command that is started again writes what an undisturbed one would have."""

import json

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from longform.records.collection import Collection
from longform.records.files import read_rows
from longform.records.schemas import Prompt, Response
from longform.selection.generate import collect_responses_locally
from longform.writers import local
from longform.writers.settings import GenerationSettings

WORDS = ["<s>", "</s>", "<unk>", *(f"w{i}" for i in range(29))]
PROMPTS = [Prompt(id=f"p{i}", prompt=" ".join(WORDS[3 + i : 5 + 2 * i])) for i in range(7)]
SETTINGS = GenerationSettings(max_tokens=12, batch=3)


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(WORDS),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            initializer_range=0.5,
            bos_token_id=0,
            eos_token_id=1,
        )
    ).save_pretrained(folder)
    return local.LocalWriter(str(folder), device="cpu")


def _write(writer, out, *, samples=2, seed=5, stop_after=None):
    def on_progress(done, total):
        if stop_after is not None and done >= stop_after:
            raise KeyboardInterrupt

    return collect_responses_locally(
        PROMPTS, writer, name="tiny", samples=samples, settings=SETTINGS, seed=seed, out=out, on_progress=on_progress
    )


def test_each_response_is_saved_as_it_ends_and_a_restart_writes_the_others(writer, tmp_path, monkeypatch):
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    _write(writer, whole)
    plain, saved = Collection.add, []

    def add(self, row):
        plain(self, row)
        saved.append(row.key)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Collection, "add", add)
    with pytest.raises(KeyboardInterrupt):
        _write(writer, killed)
    (partial,) = tmp_path.glob("killed.jsonl.*")
    assert {json.loads(line)["prompt_id"] for line in partial.read_text().splitlines()} == {key[0] for key in saved}
    monkeypatch.setattr(Collection, "add", plain)
    assert _write(writer, killed).added == 2 * len(PROMPTS) - 2
    assert killed.read_bytes() == whole.read_bytes()


def test_every_prompt_gets_its_samples(writer, tmp_path):
    result = _write(writer, tmp_path / "r.jsonl")
    rows = list(read_rows(tmp_path / "r.jsonl", Response))
    assert [row.key for row in rows] == [(it.id, "tiny", sample) for it in PROMPTS for sample in range(2)]
    assert {row.finish_reason for row in rows} == {"stop", "length"}, (
        "both endings must occur for this test to say much"
    )
    assert len({row.text for row in rows}) > len(rows) / 2
    assert (result.rows, result.added) == (14, 14)


def test_the_seed_decides_the_texts(writer, tmp_path):
    texts = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        _write(writer, tmp_path / name, seed=seed)
        texts.append((tmp_path / name).read_bytes())
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("stop_after", [3, 6, 7, 10])
def test_a_killed_command_ends_with_the_same_file(writer, tmp_path, stop_after):
    _write(writer, tmp_path / "plain.jsonl")
    with pytest.raises(KeyboardInterrupt):
        _write(writer, tmp_path / "r.jsonl", stop_after=stop_after)
    assert not (tmp_path / "r.jsonl").exists()
    result = _write(writer, tmp_path / "r.jsonl")
    assert result.added == 14 - stop_after
    assert (tmp_path / "r.jsonl").read_bytes() == (tmp_path / "plain.jsonl").read_bytes()


def test_a_command_killed_twice_inside_a_batch_ends_with_the_same_file(writer, tmp_path):
    out, partial = tmp_path / "r.jsonl", tmp_path / "r.jsonl.partial"
    _write(writer, tmp_path / "plain.jsonl")
    for lines in (2, 4):
        with pytest.raises(KeyboardInterrupt):
            _write(writer, out, stop_after=6)
        partial.write_bytes(b"".join(partial.read_bytes().splitlines(keepends=True)[:lines]) + b'{"prompt_id": "to')
    _write(writer, out)
    assert out.read_bytes() == (tmp_path / "plain.jsonl").read_bytes()


def test_more_samples_leave_the_first_ones_as_they_are(writer, tmp_path):
    _write(writer, tmp_path / "r.jsonl", samples=1)
    first = list(read_rows(tmp_path / "r.jsonl", Response))
    assert _write(writer, tmp_path / "r.jsonl", samples=2).added == 7
    assert [row for row in read_rows(tmp_path / "r.jsonl", Response) if row.sample == 0] == first
