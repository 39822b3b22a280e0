"""Where pairs to label come from: a run, pairs, games or another tool; and an existing file is never taken for another."""

import hashlib
import json
import shutil
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from longform.evaluation.audit.pairs import AuditedPair, read_pairs
from longform.evaluation.labelling.labels import Answer
from longform.evaluation.labelling.run import ORIGIN_SUFFIX, PairSource, blank_rollouts, export_labels, open_labels
from longform.evaluation.labelling.sampling import SampleBy, SampledPairs, sample_run
from longform.records.calls import SqliteCallLog
from longform.records.database import RunDatabase
from longform.records.errors import BadInputError
from longform.records.files import write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Game, PromptRow, Response
from viewed_runs import judge_call

FIXTURE = Path(__file__).parents[2] / "fixtures" / "run-v3"
BLANK = hashlib.sha256(b" ").hexdigest()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of a run of 24 rollouts, of which two have empty responses."""
    for name in ("ladders.jsonl", "models.yaml", "validation.jsonl"):
        shutil.copy(FIXTURE / name, tmp_path / name)
    (tmp_path / "run").mkdir()
    for name in ("recipe.yaml", "run.sqlite"):
        shutil.copy(FIXTURE / "run" / name, tmp_path / "run" / name)
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def change_run(statement: str, *values: object) -> None:
    with closing(sqlite3.connect("run/run.sqlite")) as database:
        database.execute("INSERT OR IGNORE INTO texts (hash, body) VALUES (?, ?)", (BLANK, zlib.compress(b" ")))
        database.execute(statement, values)
        database.commit()


def sample(count: int, by: SampleBy = "random") -> SampledPairs:
    with RunDirectory.read("run") as run:
        return sample_run(run, count, by=by)


def pairs(path: Path, count: int = 3) -> Path:
    rows = [AuditedPair(id=f"q{it}", prompt=f"Why {it}?", response_a="So.", response_b="Thus.") for it in range(count)]
    write_rows(path, rows)
    return path


def test_only_rollouts_that_can_be_shown_are_drawn_and_weighed() -> None:
    drawn = sample(10)
    assert (len(drawn.pairs), drawn.blank) == (10, 2)
    assert sum(it.weight or 0 for it in drawn.pairs) == pytest.approx(22)
    change_run("UPDATE rollouts SET reference_hash = ? WHERE step = 1", BLANK)
    drawn = sample(100)
    assert (len(drawn.pairs), drawn.blank) == (17, 7)
    assert {it.weight for it in drawn.pairs} == {1.0}


def test_a_run_without_anything_to_show_leaves_no_file(folder: Path) -> None:
    change_run("UPDATE rollouts SET reference_hash = ?", BLANK)
    before = set(folder.iterdir())
    with pytest.raises(BadInputError, match="none of its 24 rollouts has a response and a reference"):
        open_labels(PairSource(path=Path("run")), out=Path("out.jsonl"))
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize("by", ["disagreement", "drift"])
def test_a_sample_of_what_the_run_does_not_have_is_refused(by) -> None:
    with pytest.raises(BadInputError, match=f"--by {by}: has no .*; use --by random"):
        sample(10, by)


def test_disagreement_is_found_without_reading_all_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    change_run("UPDATE rollouts SET consistent = 0 WHERE step = 3")
    read = RunDatabase.rollouts

    def rollouts(self: RunDatabase, **wanted: int):
        assert {"step", "row"} <= wanted.keys(), "all rollouts with their texts"
        return read(self, **wanted)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(RunDatabase, "rollouts", rollouts)
    drawn = sample(8, "disagreement").pairs
    assert sum(it.step == 3 for it in drawn) == 4  # pyright: ignore[reportAttributeAccessIssue]
    assert sum(it.weight or 0 for it in drawn) == pytest.approx(22)


def test_a_rollout_of_an_unknown_prompt_is_one_line() -> None:
    change_run("UPDATE rollouts SET prompt_id = 'gone'")
    with pytest.raises(BadInputError, match=r"ladders\.jsonl: has no prompt 'gone', which step \d of run names"):
        sample(1)


def test_a_tie_of_both_orders_has_the_verdict_of_each(folder: Path) -> None:
    recipe = yaml.safe_load(Path("run/recipe.yaml").read_text(encoding="utf-8"))
    recipe["rewards"][0]["position"] = "both"
    Path("run/recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    change_run("UPDATE rollouts SET outcome = 'tie', calls = '[\"one\", \"two\"]' WHERE step > 0")
    with SqliteCallLog(Path("run/run.sqlite")) as log:
        log.record(judge_call("one", "[[A]]"))  # the response, which was read first
        log.record(judge_call("two", "[[A]]"))  # the reference
    assert {str(it.verdicts) for it in sample(4).pairs} == {"{'judge': {'ba': 'b', 'ab': 'a'}}"}
    with SqliteCallLog(Path("run/run.sqlite")) as log:
        log.record(judge_call("two", "[[C]]"))
    assert {str(it.verdicts) for it in sample(4).pairs} == {"{'judge': {'ba': 'b', 'ab': 'tie'}}"}
    change_run("UPDATE rollouts SET outcome = 'loss'")
    assert {str(it.verdicts) for it in sample(4).pairs} == {"{'judge': {'ab': 'a', 'ba': 'a'}}"}


def test_what_cannot_be_shown_is_remembered_beside_the_pairs() -> None:
    out = Path("out.jsonl")
    with open_labels(PairSource(path=Path("run"), sample=5), out=out) as store:
        assert len(store.pairs) == 5
    assert blank_rollouts(out) == 2
    assert blank_rollouts(pairs(Path("pairs.jsonl"))) == 0


def test_an_existing_file_is_continued_only_from_where_it_came(folder: Path) -> None:
    out = folder / "out.jsonl"
    made = PairSource(path=Path("run"), sample=5, seed=3)
    open_labels(made, out=out).close()
    before = out.read_bytes()
    open_labels(made, out=Path("out.jsonl")).close()
    open_labels(PairSource(path=out, seed=8), out=out).close()
    open_labels(PairSource(path=out)).close()
    others = {
        "source run, not other.jsonl": PairSource(path=pairs(folder / "other.jsonl"), seed=3),
        "--sample 5, not 100": PairSource(path=Path("run"), seed=3),
        "--by random, not drift": PairSource(path=Path("run"), sample=5, seed=3, by="drift"),
        "--seed 3, not 0": PairSource(path=Path("run"), sample=5),
    }
    for problem, other in others.items():
        with pytest.raises(BadInputError, match=f"out.jsonl was made with {problem}; run `longform label "):
            open_labels(other, out=out)
    assert out.read_bytes() == before


def test_a_file_of_unknown_origin_is_not_taken_for_the_pairs_of_a_source() -> None:
    out = pairs(Path("out.jsonl"))
    with pytest.raises(BadInputError, match=r"out\.jsonl exists, and it is unknown what its pairs were made from"):
        open_labels(PairSource(path=pairs(Path("other.jsonl"))), out=out)
    open_labels(PairSource(path=out)).close()


def test_a_source_that_cannot_be_labelled_is_one_line(folder: Path) -> None:
    (folder / "empty.jsonl").write_text("")
    (folder / "other.jsonl").write_text('{"id": "x", "text": "y"}\n')
    (folder / "p.csv").write_text("id,prompt,response_a,response_b\n1,Why?,So.,Thus.\n")
    write_rows("g.jsonl", [Game(prompt_id="p", model_a="x", model_b="y", winner="a")])
    pairs(folder / "p.parquet")
    problems = {
        "gone.jsonl": "gone.jsonl: no such file or folder",
        "empty.jsonl": "empty.jsonl: contains no rows",
        "other.jsonl": "contains neither pairs .* nor games .*; its fields are 'id', 'text'",
        "p.csv": "p.csv: labels are written as JSON Lines; name a .jsonl file with --out",
        "p.parquet": "p.parquet: labels are written as JSON Lines; name a .jsonl file with --out",
        "g.jsonl": "--out: required with g.jsonl",
        "run": "--out: required with run",
    }
    before = set(folder.iterdir())
    for name, problem in problems.items():
        with pytest.raises(BadInputError, match=problem):
            open_labels(PairSource(path=Path(name)))
    assert set(folder.iterdir()) == before
    with open_labels(PairSource(path=Path("p.csv")), out=Path("from_csv.jsonl")) as store:
        assert list(store.pairs) == ["1"]


def test_flags_of_a_run_are_refused_for_pairs() -> None:
    path = pairs(Path("pairs.jsonl"))
    with pytest.raises(BadInputError, match="--sample: only valid for a run"):
        open_labels(PairSource(path=path, sample=3))
    with pytest.raises(BadInputError, match="--by drift: only valid for a run"):
        open_labels(PairSource(path=path, by="drift"))


def test_pairs_of_games_and_arrays_of_pairs_are_made_into_files(folder: Path) -> None:
    write_rows("g.jsonl", [Game(prompt_id="p", model_a="x", model_b="y", winner="a")])
    write_rows("prompts.jsonl", [PromptRow(id="p", prompt="Write.")])
    write_rows("texts.jsonl", [Response(prompt_id="p", model=m, text=f"By {m}.") for m in "xy"])
    games = PairSource(path=Path("g.jsonl"), prompts=Path("prompts.jsonl"), responses=[Path("texts.jsonl")])
    open_labels(games, out=Path("games_out.jsonl")).close()
    assert [it.response_b for it in read_pairs(["games_out.jsonl"])] == ["By y."]
    array = [{"id": "a", "prompt": "Why?", "response_a": "So.", "response_b": "Thus."}]
    (folder / "array.json").write_text(json.dumps(array))
    open_labels(PairSource(path=Path("array.json")), out=Path("array_out.jsonl")).close()
    assert [it.id for it in read_pairs(["array_out.jsonl"])] == ["a"]


def test_games_without_their_texts_and_a_run_without_references_are_one_line(folder: Path) -> None:
    write_rows("g.jsonl", [Game(prompt_id="p", model_a="x", model_b="y", winner="a")])
    write_rows("others.jsonl", [PromptRow(id="q", prompt="Write.")])
    write_rows("prompts.jsonl", [PromptRow(id="p", prompt="Write.")])
    write_rows("texts.jsonl", [Response(prompt_id="p", model="x", text="By x.")])
    problems = {
        r"g\.jsonl: games have no texts; name their --prompts and --responses": (None, []),
        r"others\.jsonl: has no prompt 'p', which g\.jsonl names": (Path("others.jsonl"), [Path("texts.jsonl")]),
        r"texts\.jsonl: has no text of 'y' for prompt 'p', sample 0": (Path("prompts.jsonl"), [Path("texts.jsonl")]),
    }
    for problem, (prompts, responses) in problems.items():
        with pytest.raises(BadInputError, match=problem):
            open_labels(PairSource(path=Path("g.jsonl"), prompts=prompts, responses=responses), out=Path("out.jsonl"))
    recipe = yaml.safe_load(Path("run/recipe.yaml").read_text())
    alone = {"method": "grpo", "data": {"prompts": "prompts.jsonl", "per_step": 2, "group": 2}}
    Path("run/recipe.yaml").write_text(
        yaml.safe_dump({name: recipe[name] for name in ("policy", "run")} | alone | {"rewards": [{"kind": "length"}]})
    )
    with pytest.raises(
        BadInputError, match="run: its responses were not compared with references, so there are no pairs"
    ):
        sample(1)


def test_a_file_that_cannot_be_continued_is_one_line_and_stays_free_for_the_next_try(folder: Path) -> None:
    source, out = PairSource(path=Path("run"), sample=2), folder / "out.jsonl"
    open_labels(source, out=out).close()
    origin = folder / f"out.jsonl{ORIGIN_SUFFIX}"
    before = origin.read_bytes()
    for content in ("{", "[]"):
        origin.write_text(content)
        with pytest.raises(BadInputError, match=rf"{origin.name}: cannot be read: "):
            blank_rollouts(out)
    origin.write_bytes(before)
    with pytest.raises(BadInputError, match=r"--overlap 1\.5: must be between 0 and 1"):
        open_labels(source, out=out, overlap=1.5)
    open_labels(source, out=out).close()
    (folder / "broken.jsonl").write_text("{\n")
    for name in ("broken.jsonl", "broken.json"):
        (folder / name).write_text("[3]" if name.endswith("json") else "3\n")
        with pytest.raises(BadInputError, match=rf"{name}\S*: "):
            open_labels(PairSource(path=Path(name)), out=folder / "made.jsonl")
    assert not (folder / "made.jsonl").exists()


def test_the_pairs_of_a_run_are_exported_as_they_were_drawn_for_a_file() -> None:
    source, out = PairSource(path=Path("run"), sample=3), Path("out.jsonl")
    with open_labels(source, out=out) as store:
        first = next(iter(store.pairs))
        store.add(Answer(person="me", pair_id=first, choice="tie", seconds=1))
    assert export_labels(source, Path("t.json"), "label-studio", out=out) == 3
    annotated = {it["data"]["id"]: len(it["annotations"]) for it in json.loads(Path("t.json").read_text())}
    assert annotated == {it: int(it == first) for it in store.pairs}


def test_a_refused_import_leaves_no_file(folder: Path) -> None:
    row = {"data": {"id": "x", "prompt": "Why?", "response_a": "So.", "response_b": "Thus."}}
    (folder / "t.json").write_text(json.dumps([row, row]))
    before = set(folder.iterdir())
    with pytest.raises(BadInputError, match="duplicate"):
        open_labels(PairSource(path=Path("t.json")), out=Path("out.jsonl"))
    assert set(folder.iterdir()) == before


def test_an_export_has_the_labels_of_the_log_and_writes_one_file(folder: Path) -> None:
    path = pairs(folder / "pairs.jsonl")
    with open_labels(PairSource(path=path)) as store:
        store.add(Answer(person="me", pair_id="q1", choice="tie", seconds=1))
    before = {it: it.read_bytes() for it in folder.iterdir() if it.is_file()}
    assert export_labels(PairSource(path=path), Path("t.json"), "label-studio") == 3
    assert [len(it["annotations"]) for it in json.loads(Path("t.json").read_text())] == [0, 1, 0]
    assert before.items() <= {it: it.read_bytes() for it in folder.iterdir() if it.is_file()}.items()
    with pytest.raises(BadInputError, match="exists"):
        export_labels(PairSource(path=path), path, "argilla")
    assert before.items() <= {it: it.read_bytes() for it in folder.iterdir() if it.is_file()}.items()
