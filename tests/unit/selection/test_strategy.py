"""Selection strategies of other packages: they order the candidates, and each failure is one line."""

import hashlib
import json
import sys
from itertools import count
from pathlib import Path

import pytest

from longform import plugins
from longform.cli import main
from longform.records.errors import BadInputError
from longform.records.files import read_rows
from longform.records.schemas import Grade, Ladder, Prompt
from longform.selection.strategy import load_strategy

_NUMBERS = count()
GRADES = [
    Grade(prompt_id=id_, model=model, score=score)
    for id_, mine, theirs in (("a", 1, 9), ("b", 2, 5), ("c", 3, 7), ("d", 4, 5))
    for model, score in (("me", mine), ("you", theirs))
]
LONGEST = """
def longest(candidates, *, prompts):
    return sorted(candidates, key=lambda it: -len(prompts[it.id].request))
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a module into the current folder; gives its name, new for each. It belongs to no installed package."""
    monkeypatch.setattr(plugins, "packages_distributions", dict)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(source):
        name = f"strategy_{next(_NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        return name

    return write


def _ids(selection):
    return [it.id for it in selection.ladders]


@pytest.mark.parametrize("name", ["margin", "difficulty", "random"])
def test_the_strategies_of_this_package_are_recorded_by_name(choose, name):
    assert choose(GRADES, strategy=name).strategy == {"name": name}


def test_a_plugin_orders_and_top_k_cuts(choose, write):
    prompts = [Prompt(id=id_, prompt="write " * n) for id_, n in (("a", 2), ("b", 9), ("c", 1), ("d", 5))]
    name = f"{write(LONGEST)}:longest"
    assert _ids(choose(GRADES, prompts=prompts, strategy=name)) == ["b", "d", "a", "c"]
    assert _ids(choose(GRADES, prompts=prompts, strategy=name, top_k=2)) == ["b", "d"]


def test_a_plugin_sees_what_passed_the_floor_sorted_by_id_and_its_seed(choose, write):
    name = write("seen = []\ndef f(candidates, seed=7): seen.append((candidates, seed)); return candidates")
    chosen = choose(GRADES[::-1], strategy=f"{name}:f", seed=3, floor=None)
    ((candidates, seed),) = sys.modules[name].seen
    assert [(it.id, it.policy_score, it.best_competitor, it.competitor, it.potential) for it in candidates] == [
        ("a", 1, 9, "you", 8),
        ("b", 2, 5, "you", 3),
        ("c", 3, 7, "you", 4),
        ("d", 4, 5, "you", 1),
    ]
    assert seed == 3
    assert _ids(chosen) == ["a", "b", "c", "d"]


def test_groups_stay_with_select(choose, write):
    prompts = [Prompt(id=id_, prompt="w", meta={"set": group}) for id_, group in zip("abcd", "xxyy", strict=True)]
    name = write("def f(candidates): return reversed(candidates)")
    chosen = choose(GRADES, prompts=prompts, strategy=f"{name}:f", top_k=1, group_by="meta.set")
    assert _ids(chosen) == ["d", "b"]


def test_name_version_and_source_are_recorded(choose, write, tmp_path):
    name = write(LONGEST)
    assert choose(GRADES, strategy=f"{name}:longest").strategy == {
        "name": f"{name}:longest",
        "version": "",
        "source_sha256": hashlib.sha256((tmp_path / f"{name}.py").read_bytes()).hexdigest(),
    }


def test_an_installed_package_offers_one_by_name(choose, write, tmp_path, monkeypatch):
    info = tmp_path / "site" / "pickers-2.5.dist-info"
    info.mkdir(parents=True)
    (tmp_path / "site" / "pickers.py").write_text(LONGEST)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pickers\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text("[longform.selection]\nlongest = pickers:longest\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert choose(GRADES, strategy="longest").strategy["version"] == "2.5"
    with pytest.raises(BadInputError, match="did you mean 'longest'"):
        load_strategy("longes")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(BadInputError) as raised:
        load_strategy("margn")
    assert str(raised.value) == (
        "--strategy: unknown strategy 'margn'; available: margin, difficulty, random, or module.path:Name; "
        "did you mean 'margin'?"
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(): return []", "cannot be called with candidates: too many positional arguments"),
        ("def f(candidates, *, share): return candidates", "missing a required argument: 'share'"),
        ("f = 3", "expected a function, not int"),
        ("class f: ...", "expected a function, not type"),
    ],
)
def test_what_cannot_be_a_strategy_is_refused_before_a_file_is_read(write, source, message):
    name = f"{write(source)}:f"
    with pytest.raises(BadInputError, match=message) as raised:
        load_strategy(name)
    assert str(raised.value).startswith(f"--strategy {name}: ")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return candidates[:-1]", "the result lacks candidate 'd'"),
        ("return candidates + candidates[:1]", "the result repeats or changes candidate 'a'"),
        ("return [it.id for it in candidates]", "returned str; expected the candidates"),
        ("return None", "TypeError: 'NoneType' object is not iterable"),
        ("\n  return candidates[99]", r"IndexError: list index out of range \(strategy_\d+\.py:2\)"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("candidates.clear(); return []", "the result lacks candidate 'a'"),
    ],
)
def test_a_strategy_that_fails_is_one_line(choose, write, body, message):
    name = f"{write(f'def f(candidates): {body}')}:f"
    with pytest.raises(BadInputError, match=message) as raised:
        choose(GRADES, strategy=name)
    assert str(raised.value).startswith(f"--strategy {name}: ")
    assert "\n" not in str(raised.value)


def test_the_command_says_which_source_chose(choose, write, tmp_path, capsys):
    name = write(LONGEST)
    choose(GRADES)  # writes the files
    command = f"select --prompts p.jsonl --responses r.jsonl --grades g.jsonl --policy me --strategy {name}:longest"
    digest = hashlib.sha256((tmp_path / f"{name}.py").read_bytes()).hexdigest()
    for flags in (["--page", "page.html"], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main([*command.split(), "--out", "l.jsonl", *flags])
        assert not ended.value.code
        printed = capsys.readouterr().out
        if flags == ["--json"]:
            assert json.loads(printed)["strategy"]["source_sha256"] == digest
        else:
            assert f"strategy   {name}:longest (source {digest[:12]})" in printed.splitlines()
            assert f"{name}:longest (source {digest[:12]})" in Path("page.html").read_text()
    assert len(list(read_rows("l.jsonl", Ladder))) == 4


def test_a_strategy_that_takes_any_keyword_gets_all_and_one_that_is_not_written_in_python_none(choose, write):
    name = write("seen = {}\ndef f(candidates, **more): seen.update(more); return candidates")
    choose(GRADES, strategy=f"{name}:f", seed=3)
    assert sys.modules[name].seen["seed"] == 3
    assert set(sys.modules[name].seen["prompts"]) == set("abcd")
    assert _ids(choose(GRADES, strategy="builtins:iter")) == ["a", "b", "c", "d"]
