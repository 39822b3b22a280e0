"""A pretraining from its recipe: what is read, what is learned, and what is refused."""

import json
import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from datasets import config
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from artifacts import save_policy
from longform.miniature.base import build_base_tokenizer
from longform.miniature.corpus import documents
from longform.miniature.policy import build_model
from longform.recipe.loading import load_recipe
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.schemas import Prompt, Response
from longform.rl.settings import MemorySettings
from longform.training.supervised.mixture import build_encode, read_windows, write_windows
from longform.training.supervised.pretrain import PretrainSettings, train_on_windows
from longform.training.supervised.pretrain_recipe import PretrainRecipe, plan_pretraining
from longform.training.supervised.pretrain_run import run_pretraining
from longform.training.supervised.pretrain_sources import (
    Document,
    HubTexts,
    PlannedResponses,
    Source,
    TextFiles,
    open_source,
)
from longform.training.supervised.resumable import newest_checkpoint
from longform.training.supervised.stage import StageRun
from longform.writers.think import ThinkPrompt, build_response

RECIPES = Path(__file__).parents[3] / "src/longform/recipes"
PLANNED = "<think>A key, a mill.</think><answer>Mira lived.</answer>"


@pytest.fixture(scope="module")
def tokenizer():
    return build_base_tokenizer()


@pytest.fixture(scope="module")
def base(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("base")
    save_policy(build_model(tokenizer, seed=0), tokenizer, folder)
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch, base):
    """A folder with a base model, two sources of text, planned responses, and a recipe."""
    monkeypatch.chdir(tmp_path)
    Path("base").symlink_to(base)
    _write_texts("books.jsonl", documents(seed=1, count=40))
    pq.write_table(pa.table({"body": documents(seed=2, count=40)}), "papers.parquet")
    prompts = [Prompt(id=f"p{i}", prompt=f"Write {i}.") for i in range(5)]
    write_rows("prompts.jsonl", prompts)
    said = {"p0": PLANNED, "p1": "No tags.", "p2": "<think>Only", "p3": PLANNED[:-12], "p4": f"Hm. {PLANNED}"}
    cut = {"p2", "p3"}
    write_rows(
        "thoughts.jsonl",
        [
            build_response(
                prompt,
                said[prompt.id],
                thinking="on",
                model="m",
                sample=0,
                finish_reason="length" if prompt.id in cut else "stop",
            )
            for prompt in prompts
        ]
        + [Response(prompt_id="p0", model="m", sample=1, text="Said without a plan.", finish_reason="length")],
    )
    return tmp_path


def _write_texts(path, texts):
    Path(path).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def _recipe(**changes):
    content = {
        "policy": "base",
        "sources": [
            {"name": "books", "path": "books.jsonl", "share": 0.6},
            {"name": "papers", "path": "papers.parquet", "field": "body", "share": 0.35},
            {"name": "cot", "prompts": "prompts.jsonl", "responses": ["thoughts.jsonl"], "share": 0.05},
        ],
        "tokens": 4100,
        "out": "out",
        "settings": {"max_tokens": 64, "batch_size": 4, "lr": 5e-3, "warmup_steps": 2},
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(content | changes))
    return load_recipe("recipe.yaml", PretrainRecipe)


def test_a_base_learns_the_mixture_and_says_what_it_was(folder):
    recipe = _recipe()
    packed, trained = [], []
    result = run_pretraining(
        recipe, on_packing=lambda *news: packed.append(news), on_training=lambda *news: trained.append(news)
    )
    assert (packed[0], packed[-1], trained[-1][:2]) == ((0, 64), (64, 64), (16, 16))
    assert result.report.steps == 16
    assert result.report.final_loss < result.report.first_loss - 1
    content = json.loads(Path("out/mixture.json").read_text())
    assert (content["tokens"], content["updates"], content["update_tokens"]) == (4096, 16, 256)
    assert sum(row["tokens"] for row in content["sources"]) == 4096
    for row in result.mixture:
        assert row.reached == pytest.approx(row.share, abs=0.05)
    assert (result.mixture[2].documents, result.mixture[2].epochs) == (1, 1.0)  # a single sound sample
    assert load_recipe("out/pretrain.yaml", PretrainRecipe) == recipe
    assert AutoTokenizer.from_pretrained("out").eos_token == build_base_tokenizer().eos_token
    assert AutoModelForCausalLM.from_pretrained("out").config.max_position_embeddings == 512
    assert not Path("out.checkpoints").exists()


def test_a_planned_response_becomes_what_a_thinking_writer_reads_and_writes(folder):
    source = Source(name="cot", share=1, prompts=Path("prompts.jsonl"), responses=[Path("thoughts.jsonl")])
    opened = open_source(source)
    assert isinstance(opened, PlannedResponses)
    asked = ThinkPrompt("on").text(Prompt(id="p0", prompt="Write 0."))
    (document,) = _read(opened)
    assert document == Document(asked, PLANNED)
    assert opened.count_left_out() == Counter({"cut off": 3, "no plan": 1, "malformed": 1})


def test_a_writers_own_think_prompt_stands_before_its_responses(folder):
    Path("mine.txt").write_text("Think first. {request}\n")
    paths = {"prompts": Path("prompts.jsonl"), "responses": [Path("thoughts.jsonl")], "think_prompt": Path("mine.txt")}
    opened = open_source(Source(name="cot", share=1, **paths))
    assert [document.text for document in _read(opened)] == ["Think first. Write 0."]
    assert Path("mine.txt") in opened.files


def test_a_folder_is_the_rows_of_its_files_in_an_order_that_is_drawn(folder):
    Path("many").mkdir()
    for number in range(6):
        _write_texts(f"many/{number}.jsonl", [f"{number}", "  "])
    Path("many/readme.txt").write_text("no rows")
    opened = open_source(Source(name="many", share=1, path="many"))
    orders = {tuple(document.text for document in _read(opened, seed=seed)) for seed in range(5)}
    assert all(sorted(order) == list("012345") for order in orders)
    assert len(orders) > 1


def test_a_data_set_of_the_hub_is_streamed(folder):
    Path("set").mkdir()
    pq.write_table(pa.table({"body": ["One.", "", "Two."]}), "set/train-0.parquet")
    opened = HubTexts(str(folder / "set"), None, "train", "body")  # a folder in the place of an id
    assert _read(opened) == [Document("One."), Document("Two.")]
    with pytest.raises(BadInputError, match="text: no such text field; available: body"):
        HubTexts(str(folder / "set"), None, "train", "text").check()


def test_what_is_no_path_is_taken_for_an_id_of_the_hub(folder, monkeypatch):
    monkeypatch.setattr(config, "HF_HUB_OFFLINE", True)
    opened = open_source(Source(name="web", share=1, path="owner/texts", subset="en"))
    assert opened == HubTexts("owner/texts", "en", "train", "text")
    with pytest.raises(
        BadInputError,
        match=r"owner/texts: cannot be read as a hub dataset: .*; no local file or folder has this name either$",
    ):
        next(opened.read(random.Random(0)))


def test_the_plan_says_how_often_each_source_is_passed_over(folder):
    plans = plan_pretraining(_recipe())
    counted = plans["books"].counted
    assert counted is not None
    assert (counted.documents, counted.exact) == (40, True)
    assert plans["books"].epochs == pytest.approx(0.6 * 4096 / counted.tokens)
    assert plans["cot"].left_out == {"cut off": 3, "no plan": 1, "malformed": 1}


def test_windows_side_by_side_are_a_matter_of_memory_alone(tokenizer, tmp_path):
    _write_texts(tmp_path / "a.jsonl", documents(seed=4, count=20))
    texts = TextFiles([tmp_path / "a.jsonl"], "text")
    write_windows(
        tmp_path / "w", {"a": texts}, {"a": 1.0}, build_encode(tokenizer), window=32, windows=12, max_epochs=1, seed=0
    )

    def trained(micro_batch):
        model = build_model(tokenizer, seed=1)
        settings = PretrainSettings(max_tokens=32, batch_size=4, lr=1e-3, warmup_steps=0)
        folder = tmp_path / str(micro_batch)
        memory = MemorySettings(max_tokens_per_microbatch=32 * micro_batch)
        run = StageRun(memory, checkpoints=folder, checkpoint_every=2)
        train_on_windows(model, tokenizer, read_windows(tmp_path / "w"), settings, run)
        assert newest_checkpoint(folder) == str(folder / "checkpoint-3")
        return model.state_dict()["model.embed_tokens.weight"]

    torch.testing.assert_close(trained(1), trained(4), rtol=0, atol=1e-4)


def test_a_checkpoint_without_its_mark_is_thrown_away(tmp_path):
    for number in (2, 9, 10):
        (tmp_path / f"checkpoint-{number}").mkdir()
    assert newest_checkpoint(tmp_path / "nowhere") is None
    for number in (2, 9):
        (tmp_path / f"checkpoint-{number}" / "whole").touch()
    assert newest_checkpoint(tmp_path) == str(tmp_path / "checkpoint-9")
    assert not (tmp_path / "checkpoint-10").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sources": []}, "sources: List should have at least 1 item"),
        (
            {"sources": [{"name": "a", "path": "books.jsonl", "share": 0.9}]},
            "sources: the shares sum to 0.9 instead of 1",
        ),
        ({"sources": [{"name": "a", "path": "books.jsonl", "share": 0.5}] * 2}, "sources: duplicate name 'a'"),
        ({"sources": [{"name": "a", "path": "books.jsonl", "share": 0}]}, "sources.0.share: Input should be greater"),
        ({"sources": [{"name": "a", "share": 1}]}, "sources.0: needs either `path`, or `prompts` and `responses`"),
        ({"sources": [{"name": "a", "path": "x", "prompts": "y", "share": 1}]}, "sources.0: needs either `path`"),
        ({"sources": [{"name": "a", "pth": "x", "share": 1}]}, "sources.0.pth: unknown key; did you mean 'path'?"),
        ({"tokens": 200}, "tokens: 200 is less than one update (settings.batch_size 4 x settings.max_tokens 64)"),
        ({"settings": {"micro_batch": 4}}, "micro_batch was replaced by memory.max_tokens_per_microbatch"),
        ({"token": 5}, "token: unknown key; did you mean 'tokens'?"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused_when_it_is_read(folder, changes, said):
    changes = {"settings": {"max_tokens": 64, "batch_size": 4}} | changes
    with pytest.raises(BadInputError) as refused:
        _recipe(**changes)
    assert str(refused.value).startswith("recipe.yaml: ")
    assert said in str(refused.value)


def _alone(**source):
    return {"sources": [{"name": "a", "share": 1.0} | source]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (_alone(path="nowhere.jsonl"), "nowhere.jsonl: cannot be read: No such file"),
        (_alone(path="empty.jsonl"), "empty.jsonl: contains no rows"),
        (_alone(path="blank.jsonl"), "sources: 'a' contains no text"),
        (_alone(path="books.jsonl", field="body"), "books.jsonl:1: body: Field required"),
        (_alone(path="torn.jsonl"), "torn.jsonl:2: text: Field required"),
        (_alone(path="papers.parquet"), "papers.parquet:1: text: Field required"),
        (_alone(path="bare"), "bare: cannot be read: Is a directory, and holds no .parquet, .jsonl"),
        (_alone(path="few.jsonl"), "would need"),
        (
            _alone(prompts="prompts.jsonl", responses=["unsound.jsonl"]),
            "no response has a well-formed plan (1 malformed)",
        ),
        (_alone(prompts="prompts.jsonl", responses=["strange.jsonl"]), "prompt_id 'x' is not an id in prompts.jsonl"),
        (_alone(prompts="nowhere.jsonl", responses=["unsound.jsonl"]), "nowhere.jsonl: cannot be read"),
        ({"policy": "./nowhere"}, "./nowhere: not a model folder"),
        ({"policy": "hollow"}, "hollow: "),
        (
            {"settings": {"max_tokens": 1024, "batch_size": 1}},
            "settings.max_tokens: 1024 is more than the context of base (512 tokens)",
        ),
        ({"out": "bare"}, "out: bare exists; choose another folder"),
    ],
)
def test_what_cannot_be_used_is_one_line_before_anything_is_written(folder, changes, said):
    Path("empty.jsonl").touch()
    Path("blank.jsonl").write_text('{"text": "  "}\n')
    Path("torn.jsonl").write_text('{"text": "Whole."}\n{"txt": "Not."}\n')
    Path("few.jsonl").write_text('{"text": "Few words."}\n')
    meta = {"plan": "A plan.", "well_formed": False}
    write_rows("unsound.jsonl", [Response(prompt_id="p0", model="m", text="Text.", meta=meta)])
    write_rows("strange.jsonl", [Response(prompt_id="x", model="m", text="Text.", meta=meta | {"well_formed": True})])
    for name in ("bare", "hollow"):
        Path(name).mkdir()
    Path("hollow/config.json").write_text("{}")
    before = set(Path().iterdir())
    with pytest.raises(BadInputError) as refused:
        run_pretraining(_recipe(**changes))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert set(Path().iterdir()) - before <= {Path("recipe.yaml")}


def test_exports_are_what_pretrainings_of_their_own_length_give(folder):
    """Export 0 is the initial model; one at half the budget is a run of half the tokens, from the trunk's checkpoint."""
    settings = {"max_tokens": 64, "batch_size": 4, "lr": 5e-3, "warmup_steps": 2, "decay": 0.5}
    one = {"sources": [{"name": "books", "path": "books.jsonl", "share": 1.0}], "settings": settings}
    result = run_pretraining(_recipe(**one, exports=[0, 0.5, 1], tokens=4 * 64 * 12, out="all", checkpoint_every=2))
    assert [path.name for path in result.exports] == ["all-0", "all-50", "all"]
    run_pretraining(_recipe(**one, tokens=4 * 64 * 12, out="whole"))
    # The mixture of half the budget begins with the same windows: there is one source, in one order.
    run_pretraining(_recipe(**one, tokens=4 * 64 * 6, out="half"))
    for export, other in (("all-0", "base"), ("all-50", "half"), ("all", "whole")):
        found, expected = (load_file(Path(name, "model.safetensors")) for name in (export, other))
        assert all(found[name].equal(expected[name]) for name in expected), export
    assert not list(Path().glob("*.checkpoints"))


def test_validation_texts_are_packed_once_and_the_best_weights_are_kept(folder):
    _write_texts("held-out.jsonl", documents(seed=9, count=6))
    recipe = _recipe(validation={"file": "held-out.jsonl", "every": 4})
    result = run_pretraining(recipe)
    assert [it.step for it in result.report.validations] == [4, 8, 12, 16]
    assert result.report.best_step == min(result.report.validations, key=lambda it: it.loss).step


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"exports": [0.5]}, "exports: needs ascending fractions from 0 to 1, with 1 at the end"),
        ({"exports": [0.5, 0.2, 1]}, "exports: needs ascending fractions"),
        ({"exports": [0.01, 1]}, "exports: the smallest one is less than one update of 16"),
        (
            {"exports": [0.5, 1], "settings": {"max_tokens": 64, "batch_size": 4, "schedule": "cosine"}},
            "need `schedule: trap",
        ),
        ({"validation": {"share": 0.1}}, "validation: needs a `file` of its own"),
    ],
)
def test_exports_and_validation_that_cannot_be_meant_are_refused(folder, changes, said):
    with pytest.raises(BadInputError) as refused:
        _recipe(**changes)
    assert said in str(refused.value)


@pytest.mark.parametrize("arm", ["texts", "cot"])
def test_an_arm_differs_from_the_other_in_the_thoughts_alone(arm):
    recipe = load_recipe(RECIPES / "pretrain" / f"{arm}.yaml", PretrainRecipe)
    names = ["books", "reports", "papers", "web"]
    assert [source.name for source in recipe.sources] == names + ["cot"] * (arm == "cot")
    other = load_recipe(RECIPES / "pretrain" / "texts.yaml", PretrainRecipe)
    assert recipe.model_dump(exclude={"sources", "out"}) == other.model_dump(exclude={"sources", "out"})
    assert recipe.out.name == f"pretrained-{arm}"
    thoughts = {"texts": 0.0, "cot": 0.01}[arm]
    for source, before in zip(recipe.sources, other.sources, strict=False):
        assert source.share == pytest.approx(before.share * (1 - thoughts))


def _read(opened, seed=0):
    return list(opened.read(random.Random(seed)))
