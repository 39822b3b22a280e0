"""Whatever a user gets wrong ends in one clear line, the stated exit code, and nothing half-written.

Cases run `longform.cli.main` in this process; a few run the installed command, as a shell would.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import pytest
import torch
import yaml

from artifacts import save_policy
from longform.cli import main
from longform.miniature.policy import build_model, build_tokenizer

KEY = "sk-very-secret-0123456789"
REFERENCES = [{"model": "policy", "text": "weak", "score": 2}, {"model": "a", "text": "strong", "score": 8}]
LADDER = {"id": "p0", "prompt": "Write.", "references": REFERENCES, "policy_score": 2, "potential": 6}
RECIPE = {
    "policy": "policy",
    "models": "models.yaml",
    "data": {"ladders": "ladders.jsonl", "per_step": 2},
    "rewards": [{"kind": "pairwise", "judge": "judge"}],
    "generation": {"max_tokens": 8},
    "optim": {"mini_batch": 2},
    "run": {"name": "r", "steps": 1},
}
SFT = {"policy": "policy", "data": {"ladders": "ladders.jsonl"}, "out": "tuned", "settings": {"steps": 1}}


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=0), tokenizer, folder)
    return folder


@pytest.fixture
def world(tmp_path, monkeypatch, policy, serve):
    """A folder in which every command would work; the judge behind it refuses every key but asks for none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JUDGE_KEY", KEY)
    server = serve(lambda request, number: "[[C]]")
    Path("policy").symlink_to(policy)
    _rows("prompts.jsonl", {"id": "p0", "prompt": "Write."}, {"id": "p1", "prompt": "Write more."})
    _rows("responses.jsonl", *({"prompt_id": f"p{i}", "model": m, "text": m} for i in (0, 1) for m in ("policy", "a")))
    _rows("grades.jsonl", *({"prompt_id": f"p{i}", "model": m, "score": i} for i in (0, 1) for m in ("policy", "a")))
    _rows("ladders.jsonl", LADDER, {**LADDER, "id": "p1"})
    _yaml("models.yaml", {"judge": {"base_url": server.url, "model": "j", "retries": 0, "key_env": "JUDGE_KEY"}})
    _yaml("recipe.yaml", RECIPE)
    _yaml("sft.yaml", SFT)
    return tmp_path


def _rows(name, *rows):
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def _yaml(name, content):
    Path(name).write_text(yaml.safe_dump(content, sort_keys=False))


def _change(name, **fields):
    _yaml(name, {**yaml.safe_load(Path(name).read_text()), **fields})


def _add(name, text):
    with Path(name).open("a") as file:
        file.write(text)


def _files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if not path.is_dir()}


def _fails(capsys, command: str, *, code=2):
    """Run a command that must fail; returns what it says after `longform: `."""
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    said = capsys.readouterr()
    assert ended.value.code == code, said.err
    *progress, message = said.err.splitlines()
    assert message.startswith("longform: "), said.err
    assert not [line for line in progress if line.startswith("longform: ")], "one line, said once"
    assert "Traceback" not in said.err
    assert KEY not in said.err + said.out
    return message.removeprefix("longform: ")


SELECT = (
    "select --prompts prompts.jsonl --responses responses.jsonl --grades grades.jsonl --policy policy --out out.jsonl"
)
GENERATE = "generate prompts.jsonl --writer judge --out out.jsonl"
GRADE = "grade responses.jsonl --prompts prompts.jsonl --judge judge --out out.jsonl"
TRAIN = "train recipe.yaml"
TUNE = "sft sft.yaml"


def test_the_world_of_these_tests_is_sound(world, capsys):
    commands: list[str] = [SELECT, f"{TRAIN} --dry-run", f"{TUNE} --dry-run"]
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            main(command.split())
        assert ended.value.code in (0, None), capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("selekt", "selekt"),
        ("select --prompts prompts.jsonl", "--responses"),
        (f"{SELECT} --flor 3", "--flor"),
        (f"{SELECT} --top-k many", "--top-k"),
        (f"{SELECT} --top-k 0", 'Invalid value "0" for --top-k. Must be >= 1.'),
        (f"{SELECT} --strategy best", "--strategy"),
        (f"{SELECT} --floor high", "--floor high: needs a score such as 4.5 or a percentile such as p20"),
        (f"{SELECT} --floor 9", "no prompt in prompts.jsonl has a ladder; 2 fell below the floor"),
        (f"{SELECT} --group-by meta.kind", "prompt p0: meta.kind: missing, but required by --group-by"),
        (f"{GENERATE} --samples 0", "--samples"),
        (f"{GENERATE} --max-tokens 0", "--max-tokens"),
        (f"{GENERATE} --temperature=-1", "--temperature"),
        (f"{GENERATE} --budget=-1", "--budget"),
        (f"{GRADE} --budget=-1", "--budget"),
        ("serve-miniature --port 99999999", "--port"),
        ("serve-miniature --port text", "--port"),
        (f"{TRAIN} --set", "--set"),
        (f"{TRAIN} --set run.steps", "--set run.steps: needs KEY=VALUE"),
        ("train", "recipe"),
        (f"{GENERATE} --models none.yaml", "none.yaml: cannot be read: No such file or directory"),
        (GENERATE.replace("prompts.jsonl", "nothing.jsonl"), "nothing.jsonl: cannot be read"),
    ],
)
def test_a_flag_is_named(world, capsys, command, message):
    before = _files(world)
    assert message.lower() in _fails(capsys, command).lower()
    assert _files(world) == before


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (SELECT, "prompts.jsonl"),
        (SELECT, "responses.jsonl"),
        (SELECT, "grades.jsonl"),
        (GENERATE, "prompts.jsonl"),
        (GRADE, "responses.jsonl"),
        (GRADE, "prompts.jsonl"),
        (TRAIN, "ladders.jsonl"),
        (TUNE, "ladders.jsonl"),
    ],
)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.unlink(), ": cannot be read: No such file or directory"),
        (lambda file: file.write_text(""), ": contains no rows"),
        (lambda file: file.write_text(" \n\n"), ": contains no rows"),
        (lambda file: _add(file, "{oops\n"), ": Invalid JSON"),
        (lambda file: _add(file, '["a list"]\n'), ": Input should be an object"),
        (lambda file: _add(file, '{"odd": 1}\n'), ": Field required"),
        (lambda file: _add(file, file.read_text().splitlines()[0] + "\n"), ": duplicate key, first in row 1"),
        (lambda file: file.write_bytes(b"\xff\xfe\x00"), "Invalid JSON"),
        (lambda file: (file.unlink(), file.mkdir()), ": cannot be read: Is a directory"),
    ],
    ids=["missing", "empty", "blank", "no JSON", "no object", "missing field", "duplicate", "binary", "folder"],
)
def test_a_bad_file_is_named_with_its_line(world, capsys, command, file, spoil, message):
    spoil(world / file)
    before = _files(world)
    said = _fails(capsys, command)
    assert said.startswith(file)
    assert message in said
    assert _files(world) == before


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{**LADDER, "references": []}], "ladders.jsonl:1: references: List should have at least 1 item"),
        (
            [{**LADDER, "references": REFERENCES[::-1]}],
            "ladders.jsonl:1: references must be in ascending",
        ),
        ([{**LADDER, "prompt": ""}], "ladders.jsonl:1: prompt"),
        ([{**LADDER, "id": ""}], "ladders.jsonl:1: id: String should have at least 1 character"),
        ([{**LADDER, "length_range": [9, 1]}], "ladders.jsonl:1: length_range: needs 0 <= lo <= hi"),
        ([LADDER], "ladders.jsonl: has 1 prompts, fewer than data.per_step (2)"),
    ],
)
def test_a_bad_ladder_is_named(world, capsys, rows, message):
    _rows("ladders.jsonl", *rows)
    assert message in _fails(capsys, TRAIN)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("length_range", "changes", "message"),
    [
        (None, "", "prompts.jsonl: prompt p: has no length_range, which the length reward needs"),
        ([9, 1], "", "prompts.jsonl:1: length_range: needs 0 <= lo <= hi"),
        ([0, 0], "", "its length_range ends at 0; leave it out"),
        ([1, 9], "rewards.max_words=9", "its length_range ends at 9; rewards.length.max_words"),
        ([1, 9], "data.group=1", "data.group: must be at least 2 with grpo"),
        ([1, 9], "rewards=[]", "rewards: List should have at least 1 item"),
        ([1, 9], "generation.think_prompt=none.txt", "think_prompt: only valid with think: on or direct"),
        ([1, 9], "generation.think=maybe", "generation.think: Input should be"),
    ],
)
def test_bad_input_of_longwriter_zero_is_one_line(world, capsys, length_range, changes, message):
    _rows("prompts.jsonl", {"id": "p", "prompt": "Write.", **({"length_range": length_range} if length_range else {})})
    data = {"prompts": "prompts.jsonl", "per_step": 1, "group": 2}
    _yaml("recipe.yaml", RECIPE | {"method": "grpo", "data": data, "rewards": [{"kind": "length"}]})
    assert message in _fails(capsys, f"{TRAIN} --set {changes}" if changes else TRAIN)
    assert not Path("runs").exists()


def test_a_language_whose_words_cannot_be_counted_is_refused_with_the_remedy(world, capsys):
    _rows("prompts.jsonl", {"id": "p", "prompt": "เขียนเรื่องเกี่ยวกับทะเล", "length_range": [100, 200]})
    data = {"prompts": "prompts.jsonl", "per_step": 1, "group": 2}
    _yaml("recipe.yaml", RECIPE | {"method": "grpo", "data": data, "rewards": [{"kind": "length"}]})
    said = _fails(capsys, f"{TRAIN} --dry-run")
    assert "prompts.jsonl: prompt p: the words of its language cannot be counted" in said
    assert "train without rewards.length" in said


def test_a_policy_that_nobody_graded_is_named_with_those_that_are(world, capsys):
    said = _fails(capsys, SELECT.replace("--policy policy", "--policy polcy"))
    assert said == "grades.jsonl: no grade of the policy 'polcy'; available models: a, policy"
    assert not Path("out.jsonl").exists()


def test_a_graded_response_that_is_missing_is_named(world, capsys):
    _rows("responses.jsonl", {"prompt_id": "p0", "model": "policy", "text": "t"})
    assert "responses.jsonl: missing the graded response of" in _fails(capsys, SELECT)


def test_a_response_to_an_unknown_prompt_is_named(world, capsys):
    _add("responses.jsonl", '{"prompt_id": "p9", "model": "a", "text": "t"}\n')
    before = _files(world)
    assert "prompts.jsonl: no prompt 'p9', but 'a' has a response to it" in _fails(capsys, GRADE)
    assert not Path("out.jsonl.partial").exists()
    assert _files(world).keys() - before.keys() <= {world / "out.jsonl.calls.sqlite", world / "out.jsonl.calls.secret"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optm": {"lr": 1}}, "recipe.yaml: optm: unknown key; did you mean 'optim'?"),
        ({"run": {"name": "r", "steps": 1, "stepz": 2}}, "recipe.yaml: run.stepz: unknown key; did you mean 'steps'?"),
        ({"run": {"name": "r"}}, "recipe.yaml: run.steps: Field required"),
        ({"run": None}, "recipe.yaml: run: Input should be"),
        ({"run": {"name": "a/b", "steps": 1}}, "recipe.yaml: run.name: String should match"),
        ({"run": {"name": "..", "steps": 1}}, "recipe.yaml: run.name: "),
        ({"policy": "nowhere"}, "nowhere: not a model folder (it has no config.json)"),
        ({"policy": "/nowhere/at/all"}, "/nowhere/at/all: not a model folder"),
        ({"models": "no.yaml"}, "no.yaml: cannot be read: No such file or directory"),
        (
            {"rewards": [{"kind": "pairwise", "judge": "juge"}]},
            "models.yaml: has no model 'juge'; did you mean 'judge'?",
        ),
        ({"rewards": []}, "recipe.yaml: rewards: List should have at least 1 item"),
        ({"rewards": [{"kind": "best"}]}, "recipe.yaml: rewards.0"),
        (
            {"validation": {"prompts": "prompts.jsonl", "judge": "judge"}},
            "validation.judge: 'judge' also gives the reward",
        ),
        ({"optim": {"mini_batch": 99}}, "optim.mini_batch: 99 exceeds the 2 rollouts of a step"),
        ({"optim": {"lr": "fast"}}, "recipe.yaml: optim.lr: Input should be a valid number"),
        ({"optim": {"lr": float("nan")}}, "recipe.yaml: optim.lr: "),
        ({1: 2}, "recipe.yaml: 1: "),
    ],
)
def test_a_bad_recipe_is_named_by_its_field(world, capsys, change, message):
    _change("recipe.yaml", **{str(key): value for key, value in change.items() if isinstance(key, str)})
    if 1 in change:
        _add("recipe.yaml", "1: 2\n")
    before = _files(world)
    assert message in _fails(capsys, TRAIN)
    assert _files(world) == before
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", ["recipe.yaml", "sft.yaml", "models.yaml"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.unlink(), ": cannot be read: No such file or directory"),
        (lambda file: file.write_text(""), ": "),
        (lambda file: file.write_text("- a\n- list\n"), ": "),
        (lambda file: file.write_text("a: [1\n"), ": not YAML"),
        (lambda file: file.write_text("a: \tb: !!python/object:os.system {}\n"), ": not YAML"),
        (lambda file: file.write_bytes(b"\xff\xfe\x00"), ": not YAML"),
        (lambda file: file.write_text("[" * 10_000), ": not YAML"),
        (lambda file: _add(file, file.read_text()), "duplicate key"),
    ],
    ids=["missing", "empty", "list", "torn", "tag", "binary", "deep", "duplicate key"],
)
def test_a_yaml_file_that_cannot_be_used_is_named(world, capsys, name, spoil, message):
    spoil(world / name)
    said = _fails(capsys, TUNE if name == "sft.yaml" else TRAIN)
    assert said.startswith(name)
    assert message in said
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "file",
    [
        "config.json",
        "tokenizer.json",
        "model.safetensors",
    ],
)
def test_a_model_folder_that_is_broken_is_named(world, capsys, policy, file):
    Path("broken").mkdir()
    for path in policy.iterdir():
        (Path("broken") / path.name).symlink_to(path)
    (Path("broken") / file).unlink()
    (Path("broken") / file).write_text("{torn")
    for command in (f"{TUNE} --set policy=broken", f"{TRAIN} --set policy=broken"):
        assert "broken" in _fails(capsys, command)
        assert not Path("tuned").exists()


@pytest.mark.parametrize("command", [GENERATE, GRADE, TRAIN])
@pytest.mark.parametrize("key", [None, "", "two words", "käse"])
def test_a_key_that_cannot_be_used_is_found_before_anything_is_written(world, capsys, monkeypatch, command, key):
    if key is None:
        monkeypatch.delenv("JUDGE_KEY")
    else:
        monkeypatch.setenv("JUDGE_KEY", key)
    before = _files(world)
    said = _fails(capsys, command)
    assert said.startswith("endpoint judge: the environment variable JUDGE_KEY")
    assert not key or key not in said
    assert _files(world) == before


@pytest.mark.parametrize("command", [GENERATE, GRADE])
def test_an_unknown_model_is_found_before_anything_is_written(world, capsys, command):
    before = _files(world)
    assert (
        _fails(capsys, command.replace(" judge ", " juge "))
        == "models.yaml: has no model 'juge'; did you mean 'judge'?"
    )
    assert _files(world) == before


@pytest.mark.parametrize("command", [GENERATE, GRADE, TRAIN])
def test_an_endpoint_that_is_down_is_named_and_leaves_no_result(world, capsys, command):
    url = "http://127.0.0.1:9/v1"
    _yaml("models.yaml", {"judge": {"base_url": url, "model": "j", "retries": 0}})
    said = _fails(capsys, command)
    assert said.startswith(f"endpoint judge at {url} cannot be reached")
    assert not [path for path in world.iterdir() if path.name in ("out.jsonl", "out.jsonl.partial")]


@pytest.mark.parametrize(("command", "status"), [(GENERATE, 401), (GENERATE, 403), (GRADE, 401), (TRAIN, 401)])
def test_an_endpoint_that_refuses_the_key_is_named_and_the_key_is_not(world, forks, serve, reply, command, status):
    server = serve(lambda request, number: reply(f"wrong key {KEY}", status=status))
    _yaml("models.yaml", {"judge": {"base_url": server.url, "model": "j", "key_env": "JUDGE_KEY"}})
    done = forks.run(world, command.split(), code=2, JUDGE_KEY=KEY)
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].endswith(f"refuses the key from $JUDGE_KEY (HTTP {status}): wrong key ***")
    assert "Traceback" not in done.stderr
    assert KEY not in done.stderr
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    kept = [path for path in world.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert kept == [], "no file holds the key"


@pytest.mark.parametrize("command", [GENERATE, GRADE])
def test_a_command_that_gathers_nothing_stops_and_says_why(world, capsys, serve, reply, command):
    server = serve(lambda request, number: reply("busy", status=500))
    _yaml("models.yaml", {"judge": {"base_url": server.url, "model": "j", "retries": 0}})
    said = _fails(capsys, command, code=3)
    assert "server_error" in said
    assert not Path("out.jsonl").exists()


def test_a_spent_budget_stops_and_says_how_to_go_on(world, capsys, serve):
    server = serve(lambda request, number: "A text.")
    priced = {"base_url": server.url, "model": "j", "concurrency": 1, "prices": {"prompt": 1e6, "completion": 1e6}}
    _yaml("models.yaml", {"judge": priced})
    said = _fails(capsys, f"{GENERATE} --budget 1", code=3)
    assert "resume with the same command and a larger --budget" in said
    assert not Path("out.jsonl").exists()
    assert Path("out.jsonl.partial").read_text().count("\n") == 1


@pytest.mark.parametrize("command", [SELECT, GENERATE, GRADE])
def test_a_folder_that_cannot_be_written_is_named(world, capsys, command):
    Path("file").write_text("in the way")
    said = _fails(capsys, command.replace("--out out.jsonl", "--out file/out.jsonl"))
    assert "file" in said
    assert Path("file").read_text() == "in the way"


def test_a_result_over_a_folder_is_refused(world, capsys):
    Path("out.jsonl").mkdir()
    assert _fails(capsys, SELECT).startswith("out.jsonl: cannot be written")


def _with_a_full_disk(forks, command, *, limit):
    """Run a command that cannot write more than so many bytes into any file; returns its exit code and message."""
    full = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    forks.start(Path.cwd(), command.split(), first=full, JUDGE_KEY=KEY)
    done = forks.wait()
    assert done.stderr.count("longform: ") == 1, done.stderr
    return done.returncode, done.stderr.splitlines()[-1].removeprefix("longform: ")


def test_a_full_disk_leaves_no_ladders(world, forks):
    assert _with_a_full_disk(forks, SELECT, limit=50) == (2, "out.jsonl: cannot be written: File too large")
    assert [path.name for path in world.iterdir() if "out" in path.name] == []


@pytest.mark.parametrize("limit", [10, 100_000])
def test_a_full_disk_stops_the_training(world, forks, limit):
    code, message = _with_a_full_disk(forks, TRAIN, limit=limit)
    assert code in (2, 3)
    assert message.startswith("runs/r")
    assert not list(Path("runs").glob("r/checkpoints/*"))


def test_a_full_disk_leaves_no_tuned_writer(world, forks):
    code, message = _with_a_full_disk(forks, TUNE, limit=100_000)
    assert (code, message) == (3, "tuned.checkpoints: cannot be written: File too large; continue with --resume")
    assert not (world / "tuned").exists()


def test_a_run_that_exists_asks_for_resume(world, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*TRAIN.split()])
    assert ended.value.code in (0, None), capsys.readouterr().err
    before = _files(world)
    for command in (TRAIN, f"{TRAIN} --dry-run"):
        assert "this run exists; continue it with --resume, or choose another run.name" in _fails(capsys, command)
    assert "was begun with optim.lr" in _fails(capsys, f"{TRAIN} --dry-run --resume --set optim.lr=1")
    said = _fails(capsys, f"{TRAIN} --resume --set optim.lr=1")
    assert "optim.lr" in said
    assert {
        path: time for path, time in _files(world).items() if "lock" not in path.name and "sqlite" not in path.name
    } == {path: time for path, time in before.items() if "lock" not in path.name and "sqlite" not in path.name}


@pytest.mark.parametrize("command", ["report nothing", "report .", "runs nothing", "runs policy"])
def test_what_is_no_run_is_named(world, capsys, command):
    before = _files(world)
    said = _fails(capsys, command)
    assert said.startswith(command.split()[1])
    assert _files(world) == before


def test_a_run_with_a_broken_database_is_named(world, capsys):
    Path("broken").mkdir()
    Path("broken/run.sqlite").write_text("no database " * 100)
    for command in ("report broken", "runs broken"):
        assert "broken/run.sqlite" in _fails(capsys, command)


def _run_command(*arguments, stdout: int | TextIO = subprocess.PIPE, code=""):
    script = f"{code}\nfrom longform.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )


def test_the_installed_command_fails_like_any_other(world):
    installed = Path(sys.executable).with_name("longform")
    done = subprocess.run([installed, "select", "--flor", "3"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("longform: ")
    assert done.stderr.count("\n") == 1


def test_a_result_that_cannot_be_printed_is_one_line(world):
    with Path("/dev/full").open("w") as full:
        done = _run_command(*SELECT.split(), stdout=full)
    assert done.returncode == 3
    assert done.stderr == "longform: output: cannot be written: No space left on device\n"


def test_a_reader_that_goes_away_is_no_error(world):
    read, write = os.pipe()
    os.close(read)
    done = _run_command(*SELECT.split(), stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


LIST_MODULES = "import atexit, sys; atexit.register(lambda: print('imported', *sys.modules))"


@pytest.mark.parametrize("arguments", [["--help"], ["select", "--help"], ["train", "--help"], ["--version"], []])
def test_help_never_loads_torch(arguments):
    done = _run_command(*arguments, code=LIST_MODULES)
    assert done.returncode == 0, done.stderr
    assert not {"torch", "transformers", "trl", "pyarrow", "aiohttp", "numpy"} & set(
        done.stdout.splitlines()[-1].split()
    )


def test_selecting_never_loads_torch(world):
    done = _run_command(*SELECT.split(), code=LIST_MODULES)
    assert done.returncode == 0, done.stderr
    assert not {"torch", "transformers", "trl", "aiohttp"} & set(done.stdout.splitlines()[-1].split())


def test_a_budget_without_prices_counts_nothing_and_is_refused(world, capsys):
    models = yaml.safe_load(Path("models.yaml").read_text())
    for spec in models.values():
        spec.pop("prices", None)
    Path("models.yaml").write_text(yaml.safe_dump(models))
    assert "--budget: models.yaml has no prices for 'judge'" in _fails(capsys, f"{GRADE} --budget 1")
    assert "run.budget: models.yaml has no prices for 'judge'" in _fails(capsys, f"{TRAIN} --set run.budget=1")


def test_a_device_that_is_not_there_is_refused_before_a_run_begins(world, capsys):
    absent = "cuda" if not torch.cuda.is_available() else "mps"
    for flag in ("", " --dry-run"):
        said = _fails(capsys, f"{TRAIN} --set run.name=absent --set device={absent}{flag}")
        assert f"device: {absent} is not available" in said
    assert not Path("runs/absent").exists()


def test_a_run_that_does_not_exist_is_not_resumed(world, capsys):
    for flags in ("--resume", "--resume --dry-run"):
        assert "runs/nosuch: no such run to resume" in _fails(capsys, f"{TRAIN} {flags} --set run.name=nosuch")
    assert not Path("runs/nosuch").exists()


def test_a_writer_that_is_written_as_a_path_has_to_be_a_model(world, capsys):
    assert "--writer ./nowhere: not a model folder" in _fails(
        capsys, "generate prompts.jsonl --writer ./nowhere --out out.jsonl"
    )


def test_one_model_under_two_names_is_one_judge(world, capsys):
    models = yaml.safe_load(Path("models.yaml").read_text())
    Path("models.yaml").write_text(yaml.safe_dump(models | {"twin": models["judge"]}))
    panel = _fails(capsys, f"{TRAIN} --set rewards.judge=[judge,twin]")
    assert "rewards: 'judge' and 'twin' are the same model in models.yaml" in panel
