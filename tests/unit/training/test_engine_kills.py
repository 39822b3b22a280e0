"""A run that is killed while an engine writes goes on from its checkpoint, with every engine; its server ends with it."""

import json
import os
import signal
import textwrap
import time
from pathlib import Path

import psutil
import pytest
from toy import save_model, train_toy

from longform.records.run_directory import RunDirectory
from served_engines import on_path

FOLDERS = [Path(__file__).parent, Path(__file__).parents[2]]
SECTIONS = {
    "method": "grpo",
    "data": {"ladders": "unused.jsonl", "per_step": 4, "group": 4},
    "optim": {"lr": 0.02, "warmup_steps": 0},
}
KILLED_IN = 4
"""The step; the newest checkpoint is behind step 2."""


@pytest.mark.parametrize(
    "engine",
    [
        "vllm",
        pytest.param("sglang", marks=pytest.mark.full),
        pytest.param("paged", marks=pytest.mark.full),
        pytest.param("own", marks=pytest.mark.full),
    ],
)
def test_a_killed_run_goes_on_and_leaves_no_server(tmp_path, monkeypatch, forks, engine):
    on_path(tmp_path, monkeypatch)
    start = save_model(tmp_path / "start")
    sections = SECTIONS | {"generation": {"max_tokens": 8, "engine": engine}}
    script = f"""
        import json, os, signal, sys
        sys.path[:0] = {[str(it) for it in FOLDERS]!r}
        from toy import train_toy
        from longform.training.policy_writer import PolicyWriter
        write = PolicyWriter.write
        def write_or_die(self, prompts, *, step, on_finished, **options):
            def finished(row, completion):
                on_finished(row, completion)
                if step == {KILLED_IN}:
                    os.kill(os.getpid(), signal.SIGKILL)
            return write(self, prompts, step=step, on_finished=finished, **options)
        PolicyWriter.write = write_or_die
        train_toy({str(start)!r}, {str(tmp_path)!r}, json.loads({json.dumps(sections)!r}), steps=6)
    """
    forks.start(tmp_path, [], first=textwrap.dedent(script), PATH=os.environ["PATH"])
    assert forks.wait().returncode == -signal.SIGKILL
    with RunDirectory.read(tmp_path / "toy") as run:
        assert run.database.last_step() == KILLED_IN - 1
    train_toy(start, tmp_path, sections, steps=6)
    with RunDirectory.read(tmp_path / "toy") as run:
        steps = [step for step, _ in run.database.metric("reward/mean")]
        assert steps == [1, 2, 3, 4, 5, 6]
        assert len(list(run.database.rollouts())) == 6 * 4 * 4
    end = time.monotonic() + 60
    while servers := _servers_of(start):
        assert time.monotonic() < end, servers
        time.sleep(0.1)


def _servers_of(start):
    """Processes that were started with the model, but for this one."""
    return [
        it.info
        for it in psutil.process_iter(["pid", "cmdline", "status"])
        if str(start) in (it.info["cmdline"] or [])
        and it.info["pid"] != os.getpid()
        and it.info["status"] != psutil.STATUS_ZOMBIE
    ]
