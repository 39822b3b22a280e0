"""A run's folder: one writer at a time, checkpoints whole or not at all."""

import errno
import resource
import subprocess
import sys

import pytest

from longform.records.errors import BadInputError, StoppedError
from longform.records.run_directory import RunDirectory

HOLD_A_RUN = """
import sys
from longform.records.run_directory import RunDirectory
with RunDirectory.open(sys.argv[1]):
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path):
    with RunDirectory.open(tmp_path / "run") as run:
        yield run


def _state(text):
    def write(folder):
        (folder / "policy").mkdir()
        (folder / "policy" / "weights").write_text(text)

    return write


def _full_disk(folder):
    (folder / "policy").write_text("half of it")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_run_that_another_process_writes_is_refused_with_its_pid(tmp_path):
    path = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_A_RUN, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(BadInputError, match=rf"{path}: another process \(pid {other.pid}\) is writing this run"):
            RunDirectory.open(path)
        other.communicate()
    RunDirectory.open(path).close()


def test_a_killed_writer_leaves_no_lock(tmp_path):
    path = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_A_RUN, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        other.kill()
    RunDirectory.open(path).close()


def test_a_run_can_be_read_while_it_is_written(run):
    run.database.record_step(1, seconds=1.0, metrics={"reward/mean": 0.5})
    with RunDirectory.read(run.path) as reader:
        assert reader.database.last_step() == 1


def test_what_is_no_run_is_named(tmp_path):
    with pytest.raises(BadInputError, match=r"nothing: not a run directory"):
        RunDirectory.read(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match=r"file: cannot be used as a run directory"):
        RunDirectory.open(tmp_path / "file")


def test_a_run_with_a_broken_database_is_refused_and_let_go(tmp_path):
    tmp_path.joinpath("run.sqlite").write_text("no database at all, " * 100)
    for _ in range(2):
        with pytest.raises(BadInputError, match=r"run\.sqlite: cannot be opened"):
            RunDirectory.open(tmp_path)


def test_a_checkpoint_shows_only_when_it_is_whole(run):
    def write(folder):
        _state("one")(folder)
        assert run.checkpoint_steps() == []

    place = run.write_checkpoint(1, write, keep=2)
    assert (place / "policy" / "weights").read_text() == "one"
    assert run.checkpoint_steps() == [1]


def test_only_the_newest_checkpoints_are_kept(run):
    for step in (5, 10, 1000, 1_500_000):
        run.write_checkpoint(step, _state(str(step)), keep=2)
    assert run.checkpoint_steps() == [1000, 1_500_000]
    assert len(list(run.checkpoints_path.iterdir())) == 2


def test_a_folder_that_somebody_put_beside_the_checkpoints_is_left_alone(run):
    run.checkpoint_path(1).with_name("step-000001.backup").mkdir()
    run.write_checkpoint(2, _state("two"), keep=1)
    assert run.checkpoint_steps() == [2]


def test_a_checkpoint_is_written_over_what_a_killed_one_left(run):
    (run.checkpoints_path / ".step-000003.partial").mkdir()
    (run.checkpoints_path / ".step-000003.partial" / "stale").write_text("")
    place = run.write_checkpoint(3, _state("three"), keep=1)
    assert [file.name for file in place.iterdir()] == ["policy"]


def test_a_full_disk_stops_the_run_and_leaves_the_old_checkpoints(run):
    run.write_checkpoint(1, _state("one"), keep=1)
    with pytest.raises(StoppedError, match=r"step-000002: cannot be written: No space left on device"):
        run.write_checkpoint(2, _full_disk, keep=1)
    assert run.checkpoint_steps() == [1]
    assert (run.checkpoint_path(1) / "policy" / "weights").read_text() == "one"
    assert [folder.name for folder in run.checkpoints_path.iterdir()] == ["step-000001"]


def test_a_full_disk_is_known_whatever_error_the_writing_library_raises(run):
    def write(folder):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        raise RuntimeError("unexpected pos 2432 vs 2390")

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(StoppedError, match="cannot be written: File too large"):
            run.write_checkpoint(2, write, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(run.checkpoints_path.iterdir()) == []


def test_a_full_disk_is_known_by_the_systems_error_that_a_library_names(run):
    def write(folder):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(StoppedError, match="step-000002: cannot be written: No space left on device"):
        run.write_checkpoint(2, write, keep=1)


def test_a_limit_on_one_file_is_known_from_the_file_that_was_written_last(run):
    def write(folder):
        (folder / "small").write_text("whole")
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, hard))
        (folder / "large").write_bytes(bytes(2 << 20))
        raise RuntimeError("unexpected pos 2432 vs 2390")

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(StoppedError, match="cannot be written: File too large"):
            run.write_checkpoint(2, write, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_run_whose_lock_cannot_be_written_is_named(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(BadInputError, match="run: cannot be used as a run directory: File too large"):
            RunDirectory.open(tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_error_that_is_not_the_disks_shows_itself(run):
    def write(folder):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run.write_checkpoint(1, write, keep=1)
    assert list(run.checkpoints_path.iterdir()) == []
