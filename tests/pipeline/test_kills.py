"""Fifty kills over generate, grade, select and train; in the end nothing tells the files from those of an undisturbed run.

Every kill is a SIGKILL to a living process that has done new work. Checkpoints and ladders are written through a slow disk,
so that some of the kills fall into the writing itself.
"""

import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pytest
from chaos import Chaos
from world import GRADE, SELECT, START, TRAIN, build_world, generate, run, without_calls

from artifacts import verdict_export
from forks import Forks
from longform.records.recorded_calls import total_calls
from longform.records.run_directory import RunDirectory

pytestmark = pytest.mark.slow
FULL = bool(os.environ.get("LONGFORM_TEST_FULL"))  # `make test-full`
STEPS = 40 if FULL else 12
CONCURRENCY = 4
LATENCY_SECONDS = 0.04
GENERATE = [*generate("master"), "--samples", "4"]
SETTINGS = ("--set", f"run.steps={STEPS}", "--set", "run.checkpoint_every=2", "--set", "data.per_step=8")
SETTINGS += ("--set", "optim.mini_batch=4")
KILLS = {"generate": 16, "grade": 16, "select": 6, "train": 12}
if not FULL:
    KILLS = {"generate": 1, "grade": 1, "select": 3, "train": 4}
SLOW_DISK = "import os, time; sync = os.fsync; os.fsync = lambda file: (time.sleep({}), sync(file))"


class Side(NamedTuple):
    """A folder and the endpoint that its commands ask."""

    folder: Path
    chaos: Chaos

    def file(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


@dataclass
class Ended:
    """Two folders that went the same way, one of them through kills."""

    whole: Side
    killed: Side
    kills: Counter[str]
    in_writing: Counter[str]
    """Kills that left something half-written behind."""
    between: set[bytes]
    """What `ladders.jsonl` held right after a kill of select."""
    before_select: bytes


@pytest.fixture(scope="module")
def ended(tmp_path_factory, forks) -> Iterator[Ended]:
    folders = [tmp_path_factory.mktemp(name) for name in ("whole", "killed")]
    with (
        Chaos(latency_seconds=LATENCY_SECONDS) as one,
        Chaos(latency_seconds=LATENCY_SECONDS) as other,
    ):
        whole, killed = Side(folders[0], one), Side(folders[1], other)
        for side in (whole, killed):
            build_world(side.folder, side.chaos.url, num_prompts=36, concurrency=CONCURRENCY)
            forks.run(side.folder, START)
        for command in (generate("novice"), GENERATE, GRADE, SELECT):
            forks.run(whole.folder, command)
        run(whole.folder, [*TRAIN, *SETTINGS])  # no fork, but a process as a shell starts it
        yield _go_through_kills(forks, whole, killed, random.Random(11))


def _go_through_kills(forks: Forks, whole: Side, killed: Side, rng: random.Random) -> Ended:
    kills, in_writing, between = Counter(), Counter(), set()
    folder = killed.folder

    def kill(stage: str, *, flags: tuple[str, ...] = (), slow: float = 0.0, works: Callable[[], bool]) -> None:
        command = {"generate": GENERATE, "grade": GRADE, "select": SELECT, "train": [*TRAIN, *SETTINGS]}[stage]
        pid = forks.start(folder, command, *flags, first=SLOW_DISK.format(slow) if slow else "")
        _wait_until(works)
        os.kill(pid, signal.SIGKILL)
        assert forks.wait().returncode == -signal.SIGKILL, "the command ended before it was killed"
        kills[stage] += 1

    forks.run(folder, generate("novice"))
    for stage, out in (("generate", "master.jsonl.partial"), ("grade", "grades.jsonl.partial")):
        for _ in range(KILLS[stage]):
            goal = _num_lines(folder / out) + rng.randint(1, 4)
            kill(stage, works=lambda out=out, goal=goal: _num_lines(folder / out) >= goal and _nap(rng, 0.04))
        forks.run(folder, {"generate": GENERATE, "grade": GRADE}[stage])

    forks.run(folder, SELECT, "--top-k", "5")
    before_select = killed.file("ladders.jsonl")
    for number in range(KILLS["select"]):
        began = time.time()
        kill("select", slow=0.3, works=lambda began=began, number=number: _selects(folder, began, number, rng))
        in_writing["select"] += bool(_half_written(folder, since=began))
        between.add(killed.file("ladders.jsonl"))
    forks.run(folder, SELECT)

    database, checkpoints = folder / "runs/run/run.sqlite", folder / "runs/run/checkpoints"
    for number in range(KILLS["train"]):
        known, began = _steps(database), time.time()
        saves = number % 2 == 1
        kill(
            "train",
            flags=("--resume",) if number else (),
            slow=0.02,
            works=lambda known=known, began=began, saves=saves: (
                bool(_steps(database) - known)
                and (not saves or bool(_half_written(checkpoints, since=began)))
                and _nap(rng, 0.15 if saves else 0.3)
            ),
        )
        in_writing["train"] += bool(_half_written(checkpoints, since=began))
    forks.run(folder, TRAIN, *SETTINGS, "--resume")
    return Ended(whole, killed, kills, in_writing, between, before_select)


def _selects(folder: Path, began: float, number: int, rng: random.Random) -> bool:
    """For even numbers whether the ladders are being written; for odd ones a moment, wherever that falls."""
    return _nap(rng, 0.25) if number % 2 else bool(_half_written(folder, since=began)) and _nap(rng, 0.2)


def _wait_until(happens: Callable[[], bool], *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _nap(rng: random.Random, most: float) -> bool:
    time.sleep(rng.uniform(0, most))
    return True


def _num_lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


def _half_written(folder: Path, *, since: float) -> list[Path]:
    found = []
    for path in folder.glob(".*.partial"):
        with suppress(FileNotFoundError):
            found += [path] if path.stat().st_mtime >= since else []
    return found


def _steps(database: Path) -> set[tuple[int, float]]:
    """Steps on record with their durations, which tell a step from the same one done again."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return set(connection.execute("SELECT step, seconds FROM steps WHERE step > 0"))
    except sqlite3.Error:
        return set()


def _calls(side: Side, log: str) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(side.folder / log)) as connection:
        return connection.execute("SELECT request_hash, outcome FROM calls ORDER BY id").fetchall()


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


LOGS = ("novice.jsonl.calls.sqlite", "master.jsonl.calls.sqlite", "grades.jsonl.calls.sqlite", "runs/run/run.sqlite")


def test_kills_hit_processes_at_work(ended):
    assert ended.kills == KILLS
    assert ended.in_writing["select"] >= 2
    assert ended.in_writing["train"] >= 2


@pytest.mark.parametrize("name", ["master.jsonl", "grades.jsonl", "ladders.jsonl", "runs/run/recipe.yaml"])
def test_a_file_is_the_same_byte_for_byte(ended, name):
    assert without_calls(ended.killed.folder / name) == without_calls(ended.whole.folder / name)


def test_every_grade_names_the_calls_behind_it(ended):
    for side in (ended.whole, ended.killed):
        answered = {call for call, _ in _calls(side, "grades.jsonl.calls.sqlite")}
        grades = [json.loads(line) for line in side.file("grades.jsonl").splitlines()]
        assert grades
        assert all(row["calls"] and set(row["calls"]) <= answered for row in grades)


def test_ladders_are_the_old_ones_or_the_new_ones(ended):
    new = ended.whole.file("ladders.jsonl")
    assert new != ended.before_select
    assert ended.between <= {ended.before_select, new}


def test_the_checkpoints_are_the_same_byte_for_byte(ended):
    whole, killed = (_files(side.folder / "runs/run/checkpoints") for side in (ended.whole, ended.killed))
    assert {"policy/model.safetensors", "critic/model.safetensors", "optimizers.pt", "curriculum.npz"} <= {
        name.partition("/")[2] for name in whole
    }
    assert killed.keys() == whole.keys()
    assert [name for name in whole if whole[name] != killed[name]] == []
    trained = whole[f"step-{STEPS:06d}/policy/model.safetensors"]
    assert trained != ended.whole.file("start/model.safetensors"), (
        "nothing was learnt, so equal weights would say nothing"
    )


def test_the_records_of_the_runs_are_the_same(ended):
    found = []
    for side in (ended.whole, ended.killed):
        with RunDirectory.read(side.folder / "runs/run") as run:
            names = [name for name in run.database.metrics() if not name.startswith("seconds/")]
            found.append(
                (
                    verdict_export(run.database),
                    [replace(rollout, calls=()) for rollout in run.database.rollouts()],
                    run.database.promotions(),
                    [run.database.validations(step) for step in range(STEPS + 1)],
                    {name: run.database.metric(name) for name in names},
                )
            )
    for whole, killed in zip(*found, strict=True):
        assert killed == whole
    assert found[0][2], "nothing was promoted, so equal promotions would say nothing"


def test_the_costs_of_the_steps_add_up_to_what_was_paid(ended):
    with RunDirectory.read(ended.whole.folder / "runs/run") as run:
        costs = [sum(value for _, value in run.database.metric(it)) for it in ("judge/cost", "validation/cost")]
        assert min(costs) > 0
        assert sum(costs) == pytest.approx(total_calls(run.database_path).cost)


@pytest.mark.parametrize("log", LOGS)
def test_no_recorded_answer_was_asked_for_again(ended, log):
    answered = [call for call, _ in _calls(ended.killed, log)]
    assert len(answered) == len(set(answered))
    assert {outcome for _, outcome in _calls(ended.killed, log)} == {"ok"}
    assert len(answered) == len(_calls(ended.whole, log))


def test_at_most_the_calls_in_flight_were_repeated(ended):
    requests = ended.killed.chaos.requests
    assert len(requests) == len(ended.whole.chaos.requests)
    assert max(requests.values()) <= 1 + max(KILLS.values())
    repeated = requests.total() - sum(len(_calls(ended.killed, log)) for log in LOGS)
    assert 0 < repeated <= ended.kills.total() * CONCURRENCY


def test_nothing_half_written_is_left(ended):
    left = [str(path.relative_to(ended.killed.folder)) for path in ended.killed.folder.rglob("*.partial")]
    assert left == []


def test_json_lines_are_whole(ended):
    for name in ("master.jsonl", "grades.jsonl", "ladders.jsonl"):
        for line in ended.killed.file(name).splitlines():
            json.loads(line)
