"""A full disk, a folder that cannot be written, a second process: one clear line, nothing half-written, and a way on.

Disks are filled in two ways: a limit on the size of every file, which works anywhere, and a small file system of its own
(tmpfs), which only the superuser may mount. Each command is run with more and more room until it succeeds; what it then
holds must be what a command with room enough writes at once.
"""

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import copy, copytree
from typing import NamedTuple

import pytest
from chaos import Chaos
from world import GRADE, SELECT, START, TRAIN, build_world, generate, without_calls

from artifacts import verdict_export
from forks import Forks
from longform.cli import main
from longform.records.run_directory import RunDirectory

pytestmark = pytest.mark.slow
STEPS = 3
SETTINGS = ("--set", f"run.steps={STEPS}", "--set", "run.checkpoint_every=1")
SMALL_FILES = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"
KIB = 1024


class World(NamedTuple):
    """A folder in which every command has been run with room enough."""

    folder: Path
    chaos: Chaos
    forks: Forks


@pytest.fixture(scope="module")
def world(tmp_path_factory, forks) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("whole")
    with Chaos() as chaos:
        build_world(folder, chaos.url, num_prompts=20)
        for command in (START, generate("novice"), generate("master"), GRADE, SELECT, [*TRAIN, *SETTINGS]):
            forks.run(folder, command)
        yield World(folder, chaos, forks)


@pytest.fixture
def inputs(world, tmp_path) -> Callable[..., Path]:
    """`inputs(*names)`: a fresh folder with these files of the whole one, and all that is no command's result."""

    def make(*names: str) -> Path:
        folder = tmp_path / "again"
        copytree(world.folder / "start", folder / "start")
        for name in ("prompts.jsonl", "validation.jsonl", "models.yaml", "recipe.yaml", *names):
            copy(world.folder / name, folder)
        return folder

    return make


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Callable[[Path, int], None]]:
    """`small_disk(folder, size)` puts a file system of so many bytes there, or gives the one that is there another size."""
    mounted: set[Path] = set()

    def mount(folder: Path, size: int) -> None:
        folder.mkdir(exist_ok=True)
        options = f"size={size}" if folder not in mounted else f"remount,size={size}"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
        if done.returncode and folder not in mounted:
            pytest.skip("this user may not mount a file system")
        assert not done.returncode, done.stderr
        mounted.add(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _fails_cleanly(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line with which a command ended."""
    notices = ("stopped before its first checkpoint",)
    lines = [line for line in done.stderr.splitlines() if line.startswith("longform: ")]
    lines = [line for line in lines if not any(notice in line for notice in notices)]
    assert len(lines) == 1, done.stderr
    assert done.stderr.splitlines()[-1] == lines[0]
    assert done.returncode in (2, 3)
    return lines[0].removeprefix("longform: ")


def _result(folder: Path) -> tuple[object, ...]:
    """What a training run comes to."""
    path = folder / "run"
    checkpoint = path / "checkpoints" / f"step-{STEPS:06d}"
    with RunDirectory.read(path) as run:
        records = verdict_export(run.database), run.database.promotions(), run.database.validations(STEPS)
    files = {file.relative_to(checkpoint): file.read_bytes() for file in checkpoint.rglob("*") if file.is_file()}
    assert len(files) > 4
    return *records, files, [it.name for it in (path / "checkpoints").iterdir()]


def _grow(start: int, *, factor: float) -> list[int]:
    """Sizes that grow by `factor`, up to far more than any command here needs."""
    sizes = [start]
    while sizes[-1] < 2**30:
        sizes.append(int(sizes[-1] * factor))
    return sizes


def _fill_and_grow(sizes: Sequence[int], attempt: Callable[[int], "subprocess.CompletedProcess[str]"]) -> list[str]:
    """Try with more and more room until it is enough; how it failed before."""
    failures: list[str] = []
    for size in sizes:
        done = attempt(size)
        if done.returncode == 0:
            return failures
        failures.append(_fails_cleanly(done))
    raise AssertionError(failures)


GATHERING = [
    pytest.param(generate("master"), "master.jsonl", (), id="generate"),
    pytest.param(GRADE, "grades.jsonl", ("start.jsonl", "novice.jsonl", "master.jsonl"), id="grade"),
]


@pytest.mark.parametrize(("command", "out", "needs"), GATHERING)
def test_a_command_that_finds_no_room_goes_on_where_it_stopped(world, inputs, command, out, needs):
    folder, before = inputs(*needs), len(world.chaos.asked)

    def attempt(limit):
        assert not (folder / out).exists(), "a file appears only when it is whole"
        world.forks.start(folder, command, first=SMALL_FILES.format(limit))
        return world.forks.wait()

    failures = _fill_and_grow([0, 1, 500, *_grow(8 * KIB, factor=2)], attempt)
    assert len(failures) > 5
    assert without_calls(folder / out) == without_calls(world.folder / out)
    assert not list(folder.rglob("*.partial"))
    asked = world.chaos.asked[before:]
    assert len(asked) - len({it.key for it in asked}) <= 16 * len(failures), "only what was in flight is asked again"


@pytest.mark.parametrize(
    ("command", "out", "needs"), [pytest.param(*GATHERING[0].values, marks=pytest.mark.full), GATHERING[1]]
)
def test_a_full_file_system_stops_a_command_that_then_goes_on(world, inputs, small_disk, command, out, needs):
    folder = inputs(*needs)
    place = folder / "disk"
    command = [*command[:-1], f"disk/{out}"]

    def attempt(size):
        small_disk(place, size)
        assert not (place / out).exists()
        world.forks.start(folder, command)
        return world.forks.wait()

    failures = _fill_and_grow(_grow(8 * KIB, factor=2), attempt)
    assert len(failures) > 3
    assert all(place.name in message for message in failures)
    assert without_calls(place / out) == without_calls(world.folder / out)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_ladders_stay_the_old_ones_while_there_is_no_room(world, inputs, suffix):
    folder = inputs("start.jsonl", "novice.jsonl", "master.jsonl", "grades.jsonl")
    command = [*SELECT[:-1], f"ladders.{suffix}"]
    out = folder / command[-1]
    world.forks.run(folder, command, "--top-k", "2")
    old = out.read_bytes()
    for limit in (0, 1, 100, len(old) - 1, len(old)):
        done = world.forks.run(folder, command, code=2, first=SMALL_FILES.format(limit))
        assert _fails_cleanly(done) == f"ladders.{suffix}: cannot be written: File too large"
        assert out.read_bytes() == old
    world.forks.run(folder, command)
    assert out.read_bytes() != old
    assert suffix == "parquet" or out.read_bytes() == (world.folder / "ladders.jsonl").read_bytes()
    assert not list(folder.rglob("*.partial"))


def test_a_run_that_finds_no_room_goes_on_where_it_stopped(world, inputs):
    folder = inputs("ladders.jsonl")

    def attempt(limit):
        resume = ["--resume"] if (folder / "runs" / "run").exists() else []
        world.forks.start(folder, TRAIN, *SETTINGS, *resume, first=SMALL_FILES.format(limit))
        return world.forks.wait()

    failures = _fill_and_grow([0, 10, *_grow(20 * KIB, factor=5)], attempt)
    assert len(failures) > 4
    assert all(message.startswith("runs/run") for message in failures), failures
    assert _result(folder / "runs") == _result(world.folder / "runs")


def test_a_full_file_system_stops_a_run_that_then_goes_on(world, inputs, small_disk):
    folder = inputs("ladders.jsonl")

    def attempt(size):
        small_disk(folder / "disk", size)
        resume = ["--resume"] if (folder / "disk" / "run").exists() else []
        world.forks.start(folder, TRAIN, *SETTINGS, "--set", "run.folder=disk", *resume)
        done = world.forks.wait()
        left = [path.name for path in (folder / "disk").rglob("*.partial")]
        assert left == [], "what was half-written is taken away, so that the disk has its room back"
        return done

    failures = _fill_and_grow(_grow(8 * KIB, factor=4), attempt)
    assert len(failures) > 5
    assert all("disk/run" in message for message in failures), failures
    assert any("checkpoints" in message for message in failures), "no checkpoint met a full disk"
    assert _result(folder / "disk") == _result(world.folder / "runs")


def test_a_folder_that_may_only_be_read_is_named(world, inputs, small_disk):
    folder = inputs("start.jsonl", "novice.jsonl", "master.jsonl", "grades.jsonl", "ladders.jsonl")
    small_disk(folder / "disk", 64 * KIB)
    done = subprocess.run(["mount", "-o", "remount,ro", str(folder / "disk")], capture_output=True)
    assert not done.returncode, done.stderr
    commands = [[*command[:-1], f"disk/{command[-1]}"] for command in (generate("master"), GRADE, SELECT)]
    for command in (*commands, [*TRAIN, *SETTINGS, "--set", "run.folder=disk"]):
        done = world.forks.run(folder, command, code=2)
        assert "disk" in _fails_cleanly(done)
    assert list((folder / "disk").iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_a_folder_without_permission_is_named(world, inputs):
    folder = inputs("start.jsonl", "novice.jsonl", "master.jsonl", "grades.jsonl", "ladders.jsonl")
    (folder / "disk").mkdir(mode=0o555)
    commands = [[*command[:-1], f"disk/{command[-1]}"] for command in (generate("master"), GRADE, SELECT)]
    for command in (*commands, [*TRAIN, *SETTINGS, "--set", "run.folder=disk"]):
        assert "disk" in _fails_cleanly(world.forks.run(folder, command, code=2))


def test_a_place_below_a_file_is_named(world, inputs):
    folder = inputs("start.jsonl", "novice.jsonl", "master.jsonl", "grades.jsonl", "ladders.jsonl")
    (folder / "disk").write_text("in the way")
    commands = [[*command[:-1], f"disk/{command[-1]}"] for command in (generate("master"), GRADE, SELECT)]
    for command in (*commands, [*TRAIN, *SETTINGS, "--set", "run.folder=disk"]):
        assert "disk" in _fails_cleanly(world.forks.run(folder, command, code=2))
    assert (folder / "disk").read_text() == "in the way"


@contextmanager
def _held_at_work(world: World, command: Sequence[str], folder: Path, *, after: int) -> Iterator[int]:
    """The command under way, its judge silent, so that it cannot end; then it goes on, and must end well."""
    before = len(world.chaos.asked)
    pid = world.forks.start(folder, command)
    try:
        while len(world.chaos.asked) < before + after:
            assert not world.forks.has_ended()
        world.chaos.answering.clear()
        yield pid
        assert not world.forks.has_ended()
    finally:
        world.chaos.answering.set()
        done = world.forks.wait()
    assert done.returncode == 0, done.stderr


@pytest.fixture
def refused(monkeypatch, capsys) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """`refused(folder, command)`: a command in this process, the second one, which has to end with code 2."""

    def run(folder: Path, command: Sequence[str], *flags: str) -> "subprocess.CompletedProcess[str]":
        monkeypatch.chdir(folder)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*command, *flags])
        assert ended.value.code == 2
        return subprocess.CompletedProcess([], 2, *capsys.readouterr())

    return run


def test_a_second_process_on_a_run_is_refused_with_the_pid_of_the_first_which_goes_on(world, inputs, refused):
    folder = inputs("ladders.jsonl")
    with _held_at_work(world, [*TRAIN, *SETTINGS], folder, after=20) as pid:
        second = refused(folder, TRAIN, *SETTINGS, "--resume")
        assert _fails_cleanly(second) == f"runs/run: another process (pid {pid}) is writing this run"
        assert second.stdout == ""
    assert _result(folder / "runs") == _result(world.folder / "runs")


def test_a_second_command_on_a_file_is_refused_and_the_first_goes_on(world, inputs, refused):
    folder, before = inputs("start.jsonl", "novice.jsonl", "master.jsonl"), len(world.chaos.asked)
    with _held_at_work(world, GRADE, folder, after=3):
        assert _fails_cleanly(refused(folder, GRADE)) == "grades.jsonl.partial: another process is writing this file"
    assert without_calls(folder / "grades.jsonl") == without_calls(world.folder / "grades.jsonl")
    assert max(Counter(it.key for it in world.chaos.asked[before:]).values()) == 1, "nothing was paid for twice"


def test_a_run_that_lies_where_nothing_can_be_written_can_be_looked_at(world, small_disk, tmp_path):
    disk = tmp_path / "disk"
    small_disk(disk, 50_000 * KIB)
    copy(world.folder / "runs" / "run" / "run.sqlite", disk)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with RunDirectory.read(world.folder / "runs" / "run") as here, RunDirectory.read(disk) as there:
        assert verdict_export(there.database) == verdict_export(here.database)
        assert there.database.last_step() == STEPS
