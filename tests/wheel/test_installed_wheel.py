"""The wheel has every file of the package; the how-to pages and the examples run with it, outside the tree."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from zipfile import ZipFile

import pytest

from longform.judging.answers import read_fences

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAMED_DATA = re.compile(r"`([\w-]+\.jsonl)`:\n\n```json\n(.*?)```", re.DOTALL)
FILE_NAME = re.compile(r"# ([\w-]+\.py)\n")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def _call(command, folder, *, site=None):
    env = {**os.environ, "PYTHONPATH": str(site or ""), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that nothing is written into the tree; without network."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    _call([*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", "dist", "."], source)
    (path,) = (source / "dist").glob("longform-*.whl")
    return path


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    _call([*PIP, "install", "--no-deps", "--no-index", "--target", folder, wheel], folder)
    return folder


@pytest.fixture
def run(site, tmp_path):
    """Runs `python ARGUMENTS` or a `longform` command in a folder of its own, with the installed wheel."""

    def run(command, *, folder=tmp_path):
        arguments = shlex.split(command, comments=True) if isinstance(command, str) else command
        if arguments[0] == "longform":
            arguments = ["-m", *arguments]
        return _call([sys.executable, *arguments], folder, site=site)

    return run


def _blocks(page, language):
    return [text for kind, text in BLOCK.findall((DOCS / page).read_text()) if kind == language]


def _commands(page):
    lines = "".join(_blocks(page, "sh")).replace("\\\n", "").splitlines()
    return [line for line in lines if line.strip()]


def _write_modules(page, folder):
    """Writes the Python blocks of a page that begin with their file's name, and its data."""
    for text in _blocks(page, "python"):
        if name := FILE_NAME.match(text):
            (folder / name[1]).write_text(text)
    for name, text in NAMED_DATA.findall((DOCS / page).read_text()):
        (folder / name).write_text(text)


def _install_entry_points(page, folder):
    """Records the entry points of a page's TOML block as pip does, beside its modules."""
    (content,) = (tomllib.loads(text) for text in _blocks(page, "toml"))
    info = folder / "own_package-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-package\nVersion: 1.5\n")
    groups = content["project"]["entry-points"]
    text = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in groups.items()
    )
    (info / "entry_points.txt").write_text(text)


def _write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _write_graded(folder):
    """Responses of two models to the prompts of `longform init`, and their grades."""
    ids = [json.loads(line)["id"] for line in (folder / "prompts.jsonl").read_text().splitlines()]
    for model in ("policy", "competitor"):
        rows = [{"prompt_id": id_, "model": model, "text": f"By the {model} on {id_}."} for id_ in ids]
        _write_rows(folder / f"r-{model}.jsonl", rows)
    grades = [
        {"prompt_id": id_, "model": model, "score": score}
        for number, id_ in enumerate(ids)
        for model, score in (("policy", 3 + number), ("competitor", 9 - number))
    ]
    _write_rows(folder / "grades.jsonl", grades)


def test_the_wheel_has_every_file_of_the_package(wheel):
    tracked = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "longform").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with ZipFile(wheel) as opened:
        assert {name for name in opened.namelist() if name.startswith("longform/")} == tracked


def test_the_installed_package_has_recipes_and_begins_a_project(run, site, tmp_path):
    assert Path(run(["-c", "import longform; print(longform.__file__)"]).strip()).is_relative_to(site)
    listed = json.loads(run("longform recipe list --json"))
    assert {"arms/panel", "cluster/writing-rl-qwen2.5-7b"} <= listed.keys()
    run("longform recipe copy arms/panel")
    assert (tmp_path / "panel.yaml").exists() and (tmp_path / "recipe.schema.json").exists()
    assert json.loads(run("longform init mine --json"))["kept"] == []


def test_the_page_on_rewards_runs(run, tmp_path):
    _write_modules("own-reward.md", tmp_path)
    _install_entry_points("own-reward.md", tmp_path)
    (rewards,) = _blocks("own-reward.md", "yaml")
    text = "policy: p\ndata: {ladders: l.jsonl}\nrun: {name: r, steps: 1}\n" + rewards
    (tmp_path / "recipe.yaml").write_text(text)
    (tmp_path / "short.yaml").write_text(text.replace("my_rewards:short_sentences", "short-sentences"))
    source = """
from longform import load_recipe
from longform.records.schemas import Prompt
from longform.rewards.plugin import try_rewards
for recipe in ("recipe.yaml", "short.yaml"):
    print(*try_rewards(load_recipe(recipe).rewards, Prompt(id="1", prompt="One. Two words.")), sep="\\n")
"""
    first, second = run(["-c", source]).splitlines()
    assert first.startswith("reward my_rewards:short_sentences (") and "returned 1 for" in first
    assert second.startswith("reward short-sentences (version 1.5, source ") and "returned 1 for" in second


def _judge(request, number):
    read_fences(request["messages"][-1]["content"])
    return 'Natural enough. {"scores": {"naturalness": 7}}'


def test_the_page_on_benchmarks_runs(run, tmp_path, serve):
    _write_modules("own-benchmark.md", tmp_path)
    _install_entry_points("own-benchmark.md", tmp_path)
    (tmp_path / "models.yaml").write_text(f"judge: {{base_url: '{serve(_judge).url}', model: j}}\n")
    card, measured, judged = (run(command) for command in _commands("own-benchmark.md"))
    assert "required-words" in card
    assert "75.0" in measured, "three of four words"
    assert "7.00" in judged
    listed = run("longform bench list")
    assert "required-words" in listed and "natural-words" in listed


def test_the_page_on_selection_strategies_runs(run, tmp_path):
    run("longform init")
    _write_graded(tmp_path)
    _write_modules("own-strategy.md", tmp_path)
    _install_entry_points("own-strategy.md", tmp_path)
    (command,) = _commands("own-strategy.md")
    assert "strategy   my_strategies:upper_half (source " in run(command)
    ladders = [json.loads(line) for line in (tmp_path / "ladders.jsonl").read_text().splitlines()]
    assert [it["policy_score"] for it in ladders] == [4, 5, 3], "margin alone would be 3, 4, 5"
    assert "upper-half (version 1.5, " in run(command.replace("my_strategies:upper_half", "upper-half"))


def test_the_page_on_python_runs_and_names_what_exists(run, tmp_path):
    run("longform init")
    _write_graded(tmp_path)
    (source,) = _blocks("python.md", "python")
    assert run(["-c", source]) == "3 ladders\n3 responses per step\n"
    for name in re.findall(r"^::: (\S+)$", (DOCS / "python.md").read_text(), re.MULTILINE):
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute) or import_module(name), name


def test_the_examples_run(run, tmp_path):
    for path in (ROOT / "examples").glob("*.py"):
        shutil.copy(path, tmp_path)
    steps = run("rl_loop.py").splitlines()
    assert steps[-1].startswith("step  40  mean reward ")
    source = """
from longform.records.schemas import Prompt
from longform.rewards.plugin import try_rewards
from longform.rewards.settings import PluginRewardSettings as Settings
rewards = [Settings(kind="own_reward:dialogue"), Settings(kind="own_reward:BannedPhrases", settings={"phrases": ["rain"]})]
print(*try_rewards(rewards, Prompt(id="1", prompt="A dialogue on rain.")), sep="\\n")
"""
    dialogue, phrases = run(["-c", source]).splitlines()
    assert "returned 0 for" in dialogue
    assert "returned 0.9 for" in phrases
