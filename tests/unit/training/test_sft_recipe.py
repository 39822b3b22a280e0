"""Fine-tuning from a recipe: what is learned, what is refused, and a folder that is whole or not there."""

import errno
import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from artifacts import save_policy
from longform.cli import main
from longform.miniature.policy import build_model, build_tokenizer
from longform.recipe.loading import load_recipe
from longform.records.errors import BadInputError, StoppedError
from longform.records.files import write_rows
from longform.records.schemas import Ladder, Prompt, Reference, Response
from longform.training import sft_recipe
from longform.training.sft import SftReport
from longform.training.sft_recipe import SftRecipe, read_lessons, run_sft

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


def _answers(lessons):
    return [lesson["completion"][0]["content"] for lesson in lessons]


def test_of_a_ladder_the_best_reference_is_learned(folder):
    lessons = read_lessons(_recipe(folder))
    assert _answers(lessons) == ["Strong."] * 4
    assert lessons[0]["prompt"] == [{"role": "user", "content": "Write 0."}]


def test_of_responses_all_texts_or_one_models_are_learned_but_no_empty_ones(folder):
    assert _answers(read_lessons(_recipe(folder, FROM_RESPONSES))) == ["Said by a.", "Said by c."] * 4
    assert _answers(read_lessons(_recipe(folder, FROM_RESPONSES, "data.model=c"))) == ["Said by c."] * 4


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
    monkeypatch.setattr(sft_recipe, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
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
        return read_lessons(SftRecipe.model_validate(recipe))

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
        read_lessons(_recipe(folder, FROM_RESPONSES))


def test_a_policy_without_a_chat_template_is_found_before_it_is_loaded(folder, start, monkeypatch):
    monkeypatch.setattr(sft_recipe, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    shutil.copytree(start, folder / "plain", ignore=shutil.ignore_patterns("chat_template*"))
    with pytest.raises(BadInputError, match=r"plain: its tokenizer has no chat template"):
        run_sft(_recipe(folder, FROM_LADDERS, f"policy={folder / 'plain'}"), on_progress=lambda *_: None)


def test_a_folder_that_exists_is_not_written_over(folder):
    (folder / "tuned").mkdir()
    with pytest.raises(BadInputError, match=r"out: .*tuned exists"):
        run_sft(_recipe(folder), on_progress=lambda *_: None)


def test_a_full_disk_leaves_no_half_of_a_writer(folder, monkeypatch):
    def fill_the_disk(*_, out, **__):
        (out / "model.safetensors").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sft_recipe, "train_sft", fill_the_disk)
    with pytest.raises(StoppedError, match="tuned: cannot be written: No space left on device"):
        run_sft(_recipe(folder), on_progress=lambda *_: None)
    assert not [path for path in folder.iterdir() if "tuned" in path.name]


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
    monkeypatch.setattr(sft_recipe, "train_sft", lambda *_, **__: SftReport(0, 0.0))
    _recipe(folder)
    with pytest.raises(SystemExit):
        main(["sft", str(folder / "sft.yaml"), "--dry-run"])
    assert "# OK: 4 training texts" in capsys.readouterr().out
    assert not (folder / "tuned").exists()


def test_the_recipe_that_comes_with_the_project_is_sound():
    recipe = load_recipe(Path(__file__).parents[3] / "src/longform/recipes/sft.yaml", SftRecipe)
    assert recipe.data.ladders == Path("ladders.jsonl")
