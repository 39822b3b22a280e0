"""Fine-tuning from a recipe: what is learned, what is refused, and a folder that is whole or not there."""

import errno
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from artifacts import save_policy
from longform.cli import main
from longform.miniature.policy import build_model, build_tokenizer
from longform.recipe.loading import load_recipe
from longform.records.errors import BadInputError, StoppedError
from longform.records.files import write_rows
from longform.records.schemas import Ladder, Prompt, Reference, Response
from longform.training.supervised import sft_run, training_rows
from longform.training.supervised.sft_recipe import SftRecipe
from longform.training.supervised.sft_run import prepare_rows, run_sft
from longform.training.supervised.stage import TrainedModel
from longform.writers.loading import load_model

FROM_LADDERS = """
policy: {0}/start
data: {{ladders: {0}/l.jsonl}}
out: {0}/tuned
settings: {{steps: 3, batch_size: 2}}
"""
FROM_RESPONSES = """
policy: {0}/start
data: {{prompts: {0}/p.jsonl, responses: [{0}/r.jsonl]}}
out: {0}/tuned
settings: {{steps: 3, batch_size: 2}}
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=0), tokenizer, folder)
    return folder


@pytest.fixture
def folder(tmp_path, start):
    (tmp_path / "start").symlink_to(start)
    prompts = [Prompt(id=f"p{i}", prompt=f"Write {i}.") for i in range(4)]
    references = [Reference(model="policy", text="Weak.", score=2), Reference(model="b", text="Strong.", score=8)]
    write_rows(tmp_path / "p.jsonl", prompts)
    write_rows(
        tmp_path / "l.jsonl",
        [Ladder(**it.model_dump(), references=references, policy_score=2, potential=6) for it in prompts],
    )
    texts = {"a": "Said by a.", "b": "", "c": "Said by c."}
    write_rows(
        tmp_path / "r.jsonl",
        [Response(prompt_id=it.id, model=model, text=text) for it in prompts for model, text in texts.items()],
    )
    return tmp_path


def _recipe(folder, text=FROM_LADDERS, *overrides):
    (folder / "sft.yaml").write_text(text.format(folder))
    return load_recipe(folder / "sft.yaml", SftRecipe, overrides)


def read_training_rows(recipe):
    """The rows of a recipe that passes all checks."""
    prepare_rows(recipe)
    return training_rows.read_training_rows(recipe.data).rows


def _answers(rows):
    return [row["completion"][0]["content"] for row in rows]


def test_of_a_ladder_the_best_reference_is_learned(folder):
    rows = read_training_rows(_recipe(folder))
    assert _answers(rows) == ["Strong."] * 4
    assert rows[0]["prompt"] == [{"role": "user", "content": "Write 0."}]


def test_of_responses_all_texts_or_one_models_are_learned_but_no_empty_ones(folder):
    assert _answers(read_training_rows(_recipe(folder, FROM_RESPONSES))) == ["Said by a.", "Said by c."] * 4
    assert _answers(read_training_rows(_recipe(folder, FROM_RESPONSES, "data.model=c"))) == ["Said by c."] * 4


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (FROM_LADDERS, ["data.model=a"], "needs either `ladders`, or `prompts` and `responses`"),
        (FROM_LADDERS, ["data.ladders=null"], "needs either `ladders`, or `prompts` and `responses`"),
        (FROM_RESPONSES, ["data.responses=[]"], "needs either `ladders`, or `prompts` and `responses`"),
        (FROM_RESPONSES, ["data.model=nobody"], "no training texts of model 'nobody'"),
        (FROM_RESPONSES, ["data.model=b"], "no training texts of model 'b'"),
        (FROM_LADDERS, ["data.ladders=none.jsonl"], "none.jsonl: cannot be read"),
        (FROM_LADDERS, ["policy=/nowhere"], "/nowhere: not a model folder"),
        (FROM_LADDERS, ["setings.lr=1"], "setings: unknown key; did you mean 'settings'?"),
        (FROM_LADDERS, ["settings.stps=1"], "settings.stps: unknown key; did you mean 'steps'?"),
        (FROM_LADDERS, ["settings.lr=-1"], "settings.lr: Input should be greater than 0"),
    ],
)
def test_a_bad_recipe_is_one_line_and_nothing_is_loaded(folder, monkeypatch, text, overrides, message):
    monkeypatch.setattr(sft_run, "load_trainable", lambda *_, **__: pytest.fail("a model was loaded"))
    with pytest.raises(BadInputError) as caught:
        run_sft(_recipe(folder, text, *overrides), on_progress=lambda *_: None)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_columns_that_are_called_otherwise_are_named_in_the_recipe(folder):
    (folder / "p.csv").write_text("key,question\np0,Write 0.\n")
    (folder / "r.csv").write_text("prompt_id,model,answer\np0,a,Said by a.\n")
    files = {"prompts": str(folder / "p.csv"), "responses": [str(folder / "r.csv")]}
    columns = {"id": "key", "prompt": "question", "text": "answer"}

    def read(columns):
        recipe = {"policy": str(folder / "start"), "data": files | {"columns": columns}, "out": str(folder / "tuned")}
        return read_training_rows(SftRecipe.model_validate(recipe))

    assert _answers(read(columns)) == ["Said by a."]
    with pytest.raises(
        BadInputError, match=r"p\.csv:2: prompt: Field required; .*; `columns: {prompt: NAME}` in the recipe"
    ):
        read({"id": "key"})
    with pytest.raises(BadInputError, match="'promt' is not a field of a row; did you mean 'prompt'"):
        read(columns | {"promt": "x"})


def test_a_response_to_an_unknown_prompt_is_named(folder):
    write_rows(folder / "r.jsonl", [Response(prompt_id="p9", model="a", text="t")])
    with pytest.raises(BadInputError, match=r"data\.responses: prompt_id 'p9' is not an id in .*p\.jsonl"):
        read_training_rows(_recipe(folder, FROM_RESPONSES))


def test_a_policy_without_a_chat_template_is_found_before_it_is_loaded(folder, start, monkeypatch):
    monkeypatch.setattr(sft_run, "load_trainable", lambda *_, **__: pytest.fail("a model was loaded"))
    shutil.copytree(start, folder / "plain", ignore=shutil.ignore_patterns("chat_template*"))
    with pytest.raises(BadInputError, match=r"plain: its tokenizer has no chat template"):
        run_sft(_recipe(folder, FROM_LADDERS, f"policy={folder / 'plain'}"), on_progress=lambda *_: None)


def test_a_folder_that_exists_is_not_written_over(folder):
    (folder / "tuned").mkdir()
    with pytest.raises(BadInputError, match=r"out: .*tuned exists"):
        run_sft(_recipe(folder), on_progress=lambda *_: None)


def test_a_full_disk_leaves_no_half_of_a_writer(folder, monkeypatch):
    def fill_the_disk(_, out):
        (out / "model.safetensors").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TrainedModel, "save", fill_the_disk)
    with pytest.raises(StoppedError, match="tuned: cannot be written: No space left on device"):
        run_sft(_recipe(folder), on_progress=lambda *_: None)
    assert [path.name for path in folder.iterdir() if "tuned" in path.name] == ["tuned.checkpoints"]


def test_the_command_tunes_a_writer_that_transformers_can_load(folder, capsys):
    _recipe(folder)
    with pytest.raises(SystemExit) as ended:
        main(["sft", str(folder / "sft.yaml"), "--set", "settings.lr=1e-3", "--json"])
    assert ended.value.code in (0, None)
    result = json.loads(capsys.readouterr().out)
    assert (result["writer"], result["texts"], result["steps"]) == (str(folder / "tuned"), 4, 3)
    before, after = (AutoModelForCausalLM.from_pretrained(folder / name).state_dict() for name in ("start", "tuned"))
    assert any(not before[name].equal(after[name]) for name in before)
    assert AutoTokenizer.from_pretrained(folder / "tuned").chat_template
    assert load_recipe(folder / "tuned" / "sft.yaml", SftRecipe).settings.lr == 1e-3
    assert not list(folder.glob(".*"))


def test_a_dry_run_prints_the_recipe_and_trains_nothing(folder, capsys, monkeypatch):
    monkeypatch.setattr(sft_run, "fine_tune", lambda *_, **__: pytest.fail("trained"))
    _recipe(folder)
    with pytest.raises(SystemExit):
        main(["sft", str(folder / "sft.yaml"), "--dry-run"])
    assert "# OK: 4 training texts" in capsys.readouterr().out
    assert not (folder / "tuned").exists()


def test_the_recipe_that_comes_with_the_project_is_sound():
    recipe = load_recipe(Path(__file__).parents[3] / "src/longform/recipes/sft.yaml", SftRecipe)
    assert recipe.data.ladders == Path("ladders.jsonl")


FROM_ROWS = """
policy: {0}/start
data: {{rows: [{0}/rows.jsonl]}}
out: {0}/tuned
settings: {{steps: 4, batch_size: 2, max_tokens: 64, lr: 1.0e-3}}
"""
CONVERSATION = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "The fox."}]


def _write_lines(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_rows_of_every_kind_are_read(folder):
    answer = {"role": "assistant", "content": "Yes."}
    _write_lines(
        folder / "rows.jsonl",
        {"messages": CONVERSATION, "prompt": "Hi.", "source": "elsewhere"},
        {"conversations": [{"from": "human", "value": "Hi."}, {"from": "gpt", "value": "The fox."}]},
        {"prompt": "Hi.", "completion": "The fox."},
        {"prompt": "Hi.", "completion": [answer]},
        {"text": "The fox."},
    )
    assert read_training_rows(_recipe(folder, FROM_ROWS)) == [
        {"messages": CONVERSATION},
        {"messages": CONVERSATION},
        {"prompt": "Hi.", "completion": "The fox."},
        {"prompt": CONVERSATION[:1], "completion": [answer]},
        {"text": "The fox."},
    ]


def test_rows_come_from_csv_and_parquet_too(folder):
    (folder / "rows.csv").write_text("question,answer\nHi.,The fox.\n")
    table = pa.table({"messages": [CONVERSATION]})
    pq.write_table(table, folder / "rows.parquet")
    files = f"data.rows=[{folder}/rows.csv, {folder}/rows.parquet]"
    columns = "data.columns={prompt: question, completion: answer}"
    assert read_training_rows(_recipe(folder, FROM_ROWS, files, columns)) == [
        {"prompt": "Hi.", "completion": "The fox."},
        {"messages": CONVERSATION},
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"messages": CONVERSATION, "text": "x"}, "needs either `messages`, or `prompt` and `completion`, or `text`"),
        ({"prompt": "Hi."}, "needs either `messages`, or `prompt` and `completion`, or `text`"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages.0.role"),
    ],
)
def test_a_row_that_is_none_of_them_is_named(folder, row, said):
    _write_lines(folder / "rows.jsonl", {"text": "The fox."}, row)
    with pytest.raises(BadInputError) as refused:
        read_training_rows(_recipe(folder, FROM_ROWS))
    assert "rows.jsonl:2: " in str(refused.value)
    assert said in str(refused.value)


def test_rows_left_out_are_counted_by_cause(folder, capsys):
    cut = {"prompt": "Hi.", "completion": "The", "finish_reason": "length"}
    _write_lines(
        folder / "rows.jsonl",
        {"messages": CONVERSATION},
        {"messages": CONVERSATION[:1]},
        {"prompt": "Hi.", "completion": " "},
        {"prompt": [CONVERSATION[0] | {"content": "The fox. " * 40}], "completion": "Yes."},
        {"prompt": "Hi.", "completion": "The fox. " * 40},
        cut,
    )
    recipe = _recipe(folder, FROM_ROWS)
    found = prepare_rows(recipe)
    assert found.left_out == {
        "without an assistant turn": 1,
        "empty": 1,
        "cut off": 1,
        "longer than settings.max_tokens before anything to learn": 1,
    }
    assert (len(found.training), found.training.cut) == (2, 1)
    assert len(prepare_rows(_recipe(folder, FROM_ROWS, "data.include_cut_off=true")).training) == 3
    with pytest.raises(SystemExit):
        main(["sft", str(folder / "sft.yaml"), "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["left out"] == dict(found.left_out)
    assert printed["cut at max_tokens"] == 1


def test_responses_that_were_cut_off_are_left_out(folder):
    write_rows(
        folder / "r.jsonl",
        [
            Response(prompt_id="p0", model="a", text="Whole.", finish_reason="stop"),
            Response(prompt_id="p1", model="a", text="Cut", finish_reason="length"),
        ],
    )
    assert _answers(read_training_rows(_recipe(folder, FROM_RESPONSES))) == ["Whole."]


def test_a_share_for_validation_holds_out_prompts_with_all_their_rows(folder):
    _write_lines(
        folder / "rows.jsonl",
        *({"prompt": f"Write {n % 12}.", "completion": f"Text {n}."} for n in range(36)),
    )
    found = training_rows.read_training_rows(_recipe(folder, FROM_ROWS).data)
    training, held_out = found.split(0.3, seed=0)
    assert {row["prompt"] for row in training.rows}.isdisjoint(row["prompt"] for row in held_out.rows)
    assert len(training.rows) + len(held_out.rows) == 36
    assert 0 < len(held_out.rows) < 24
    result = run_sft(_recipe(folder, FROM_ROWS, "validation={share: 0.3, every: 2}"))
    assert [it.step for it in result.report.validations] == [2, 4]
    assert len(result.rows.training) == len(training.rows)


def test_adapters_are_a_folder_that_loads_like_any_other(folder):
    _write_lines(folder / "rows.jsonl", {"messages": CONVERSATION})
    run_sft(_recipe(folder, FROM_ROWS, "lora={rank: 2}", "settings.warmup_steps=0", "settings.lr=1e-2"))
    assert (folder / "tuned" / "adapter_config.json").is_file()
    before, after = (load_model(str(folder / name), device="cpu")[1].state_dict() for name in ("start", "tuned"))
    name = "model.layers.0.mlp.up_proj.weight"
    assert not before[name].equal(after[name])
    assert before["model.embed_tokens.weight"].equal(after["model.embed_tokens.weight"])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["devices={count: 2}"], "devices.count: the recipe is planned for 2 GPUs and started in 1 processes"),
        (["devices={count: 3}"], "settings.batch_size: 2 rows cannot be divided evenly among 3 processes"),
        (
            ["devices={count: 2, per_sequence: 2}", "settings.packing=bfd"],
            "settings.packing: rows of a window would see",
        ),
        (["validation={share: 0.3, file: x.jsonl}"], "validation: needs either `share` or `file`"),
        (["validation={share: 0.001}"], "validation.share: 0.001 leaves"),
    ],
)
def test_what_the_processes_or_the_rows_do_not_allow_is_one_line(folder, overrides, said):
    _write_lines(folder / "rows.jsonl", {"messages": CONVERSATION})
    with pytest.raises(BadInputError) as refused:
        recipe = _recipe(folder, FROM_ROWS, *overrides)
        prepare_rows(recipe)
        run_sft(recipe)
    assert said in str(refused.value)
    assert not (folder / "tuned").exists()


def test_context_parallelism_refuses_validation(folder, monkeypatch):
    _write_lines(folder / "rows.jsonl", {"messages": CONVERSATION})
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "PARALLELISM_CONFIG_CP_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInputError, match="validation: is not computed with context parallelism"):
        run_sft(_recipe(folder, FROM_ROWS, "validation={share: 0.3}"))


@pytest.mark.parametrize(
    ("lora", "optimizer", "said"), [({}, "adamw", "lora: adapters"), (None, "muon", "muon needs whole")]
)
def test_sharded_weights_refuse_adapters_and_muon(folder, monkeypatch, lora, optimizer, said):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(BadInputError, match=said):
        run_sft(_recipe(folder, FROM_LADDERS, f"lora={json.dumps(lora)}", f"settings.optimizer={optimizer}"))


def test_a_dry_run_plans_the_memory(folder, capsys):
    _write_lines(folder / "rows.jsonl", {"messages": CONVERSATION})
    _recipe(folder, FROM_ROWS)
    with pytest.raises(SystemExit) as ended:
        main(["sft", str(folder / "sft.yaml"), "--dry-run", "--set", "memory.limit_gb=24"])
    assert not ended.value.code
    printed = capsys.readouterr().out
    assert "# memory of each device in GiB, throughout: weights" in printed
    with pytest.raises(SystemExit) as ended:
        main(["sft", str(folder / "sft.yaml"), "--dry-run", "--set", "memory.limit_gb=0.5"])
    assert ended.value.code == 2
    assert "start: needs up to " in capsys.readouterr().err


class Stopped(Exception):
    """A fine-tuning that is interrupted."""


@pytest.mark.parametrize(
    "settings", [(), ("lora={rank: 2}",), pytest.param(("settings.packing=wrapped",), marks=pytest.mark.full)]
)
def test_an_interrupted_fine_tuning_is_resumed_to_the_same_weights_or_refused(folder, settings):
    _write_lines(folder / "rows.jsonl", *({"prompt": f"Write {n}.", "completion": f"Text {n}."} for n in range(9)))
    settings = (*settings, "settings.steps=12", "checkpoint_every=3")

    def recipe(out, *more):
        return _recipe(folder, FROM_ROWS, *settings, f"out={folder / out}", *more)

    def stop(step, _, __):
        if step == 8:
            raise Stopped

    run_sft(recipe("whole"))
    with pytest.raises(BadInputError, match="no fine-tuning to resume"):
        run_sft(recipe("stopped"), resume=True)
    with pytest.raises(Stopped):
        run_sft(recipe("stopped"), on_progress=stop)
    with pytest.raises(BadInputError, match=r"contains an interrupted fine-tuning; continue with --resume"):
        run_sft(recipe("stopped"))
    with pytest.raises(BadInputError, match=r"was begun with settings\.lr 0\.001, not 0\.1"):
        run_sft(recipe("stopped", "settings.lr=0.1"), resume=True)
    rows = (folder / "rows.jsonl").read_text()
    (folder / "rows.jsonl").write_text(rows.replace("Text 3", "Text 4"))
    with pytest.raises(BadInputError, match=r"rows\.jsonl: has changed since the fine-tuning began"):
        run_sft(recipe("stopped"), resume=True)
    (folder / "rows.jsonl").write_text(rows)
    run_sft(recipe("stopped"), resume=True)
    one, other = (next((folder / name).glob("*model.safetensors")).read_bytes() for name in ("whole", "stopped"))
    assert one == other
    assert not list(folder.glob("*.checkpoints"))


def test_a_tuned_base_model_stops_where_its_template_ends_a_turn(folder, start):
    """The tokenizer's end token is another one than the template writes behind an assistant turn."""
    tokenizer, model = load_model(str(start), device="cpu")
    tokenizer.chat_template = (
        "{% for m in messages %}<|user|>{{ m.content }}<|assistant|>{% endfor %}"
        "{% if add_generation_prompt %}<|user|>{% endif %}"
    )
    save_policy(model, tokenizer, folder / "base")
    _write_lines(folder / "rows.jsonl", {"messages": CONVERSATION})
    run_sft(_recipe(folder, FROM_ROWS, f"policy={folder / 'base'}"))
    ends = json.loads((folder / "tuned" / "generation_config.json").read_text())["eos_token_id"]
    assert {tokenizer.convert_tokens_to_ids("<|assistant|>"), tokenizer.eos_token_id} <= set(ends)
