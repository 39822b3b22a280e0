"""The commands from a chat log to preferences, against the served world: through HTTP, as a newcomer would run them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from artifacts import save_policy
from longform.cli import main
from longform.miniature.chats import STORY, UNNEEDED, Chat
from longform.miniature.policy import build_model, build_tokenizer
from longform.miniature.world import complete_request, parse_request
from longform.records.files import read_rows, write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder, Prompt
from longform.selection.preferences import SourcedPreference

RECIPE = {
    "policy": "start",
    "models": "models.yaml",
    "data": {"ladders": "ladders.jsonl", "per_step": 16},
    "rewards": [{"kind": "pairwise", "judge": "judge"}],
    "generation": {"max_tokens": 24},
    "optim": {"mini_batch": 16},
    "run": {"name": "run", "steps": 1},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The folder that `serve-miniature --world` writes, while it serves."""
    folder = tmp_path_factory.mktemp("served") / "world"
    command = [sys.executable, "-m", "longform", "serve-miniature", "--world", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert {it["base_url"] for it in yaml.safe_load((folder / "models.yaml").read_text()).values()} == {address}
        yield folder
        process.terminate()


@pytest.fixture(autouse=True)
def inside(world, monkeypatch):
    monkeypatch.chdir(world)


@pytest.fixture(scope="module")
def prepared(world):
    """Training prompts by `pool`, `filter` and `lengths`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(world)
        run("pool chats.jsonl --language en --out pool.jsonl --dropped dropped.jsonl")
        run("filter pool.jsonl --judge judge --out filtered.jsonl")
        run("lengths filtered.jsonl --judge judge --out lengths.jsonl")


def run(command):
    with pytest.raises(SystemExit) as caught:
        main(command.split())
    assert not caught.value.code, command


def kinds():
    return {it.conversation_hash: it.kind for it in read_rows("chats.jsonl", Chat)}


def ids(path):
    return [it.id for it in read_rows(path, Prompt)]


def test_the_pool_and_the_filter_keep_every_story_request_and_nothing_else(prepared):
    marked = kinds()
    assert {marked[it] for it in ids("pool.jsonl")} == {STORY, *UNNEEDED}
    assert ids("filtered.jsonl") == [it for it, kind in marked.items() if kind == STORY]
    assert [it.request for it in read_rows("filtered.jsonl", Prompt)] == [
        it.request for it in read_rows("prompts.jsonl", Prompt)
    ]


def test_the_filter_names_the_criteria_that_the_world_marks(prepared, capsys):
    run("filter pool.jsonl --judge judge --out filtered.jsonl --json")
    said = json.loads(capsys.readouterr().out)
    marked = kinds()
    pooled = [marked[it] for it in ids("pool.jsonl")]
    assert said["failures"] == {}
    assert said["dropped"] == {name: pooled.count(name) for name in UNNEEDED} | {
        "long": pooled.count("long") + pooled.count("writing")
    }


def test_predicted_ranges_contain_the_length_that_the_world_means(prepared):
    rows = list(read_rows("lengths.jsonl", Prompt))
    assert len(rows) == 100
    for it in rows:
        assert it.length_range is not None
        low, high = parse_request(it.request).length_range
        assert it.length_range[0] <= low < high <= it.length_range[1]
        assert it.meta["length_judge"] == "judge"


def test_the_judge_also_drops_requirements(prepared):
    write_rows("few.jsonl", list(read_rows("lengths.jsonl", Prompt))[:12])
    run("preferences dropping few.jsonl --writer master --rewriter judge --revise --out dropping.jsonl")
    whole = {it.id: it.request for it in read_rows("few.jsonl", Prompt)}
    for it in read_rows("dropping.jsonl.reduced.jsonl", Prompt):
        assert len(it.request) < len(whole[it.id.partition("-reduced-")[0]])
        complete_request(it.request, seed=0)
    pairs = list(read_rows("dropping.jsonl", SourcedPreference))
    assert len(pairs) >= 9
    assert all(it.prompt == whole[it.prompt_id] and it.chosen != it.rejected for it in pairs)


@pytest.mark.slow
def test_from_training_prompts_to_preferences_by_the_verdicts_of_a_run(prepared):
    write_rows("some.jsonl", list(read_rows("lengths.jsonl", Prompt))[:24])
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=3), tokenizer, Path("start"))
    run("generate some.jsonl --writer start --name policy --max-tokens 24 --out own.jsonl")
    for writer in ("novice", "master"):
        run(f"generate some.jsonl --writer {writer} --out {writer}.jsonl")
    texts = "own.jsonl novice.jsonl master.jsonl"
    run(f"grade {texts} --prompts some.jsonl --judge judge --out grades.jsonl")
    run(f"select --prompts some.jsonl --responses {texts} --grades grades.jsonl --policy policy --out ladders.jsonl")
    ladders = list(read_rows("ladders.jsonl", Ladder))
    assert len(ladders) == 24
    assert sum(it.rungs[-1] == "master" for it in ladders) > 20
    Path("recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    run("probe examiner")
    run("train recipe.yaml --set run.folder=runs --dry-run")
    run("train recipe.yaml --set run.folder=runs")
    run("preferences verdicts runs/run --out verdicts.jsonl")
    with RunDirectory.read(Path("runs/run")) as stored:
        judged = {(it.text, it.reference): it.outcome for it in stored.database.rollouts()}
    pairs = list(read_rows("verdicts.jsonl", SourcedPreference))
    assert len(pairs) >= 4
    for it in pairs:
        assert judged.get((it.chosen, it.rejected)) == "win" or judged.get((it.rejected, it.chosen)) == "loss"


def test_a_folder_with_files_is_not_written_over(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit) as caught:
        main(["serve-miniature", "--world", str(tmp_path)])
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"longform: --world {tmp_path}: is not empty\n"
    assert [it.name for it in tmp_path.iterdir()] == ["mine.txt"]
