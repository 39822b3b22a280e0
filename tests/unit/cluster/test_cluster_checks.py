"""What is checked before Ray starts: each failure is one line that says what to do."""

import os
import subprocess
import sys

import pytest
from small_run import cluster_recipe

from forks import WITHOUT_SKLEARN
from longform.cluster import checks, launch
from longform.cluster.launch import train_on_cluster
from longform.recipe.begin import begin_run
from longform.records.errors import BadInputError
from longform.records.run_directory import RunDirectory
from longform.writers.settings import GenerationSettings

MOUNTS = """\
/dev/sda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb /home/local\\040disk xfs rw 0 0
"""


@pytest.mark.parametrize("found", ["0.8.0", "0.9.0", "0.10.0", "1.0"])
def test_another_version_of_verl_is_named(monkeypatch, found):
    monkeypatch.setattr(checks, "version", lambda _: found)
    with pytest.raises(BadInputError, match=f">=0.9.1,<0.10; verl {found} is installed"):
        checks.check_version()


def test_no_verl_says_what_to_install(monkeypatch):
    def missing(_):
        raise checks.PackageNotFoundError

    monkeypatch.setattr(checks, "version", missing)
    with pytest.raises(BadInputError, match=r"longform\[cluster\]"):
        checks.check_version()


@pytest.mark.parametrize("found", ["0.9.1", "0.9.2.dev1", "0.9.14"])
def test_versions_in_the_range_are_taken(monkeypatch, found):
    monkeypatch.setattr(checks, "version", lambda _: found)
    checks.check_version()


def _looked_for(**environment):
    code = f"{WITHOUT_SKLEARN}\nfrom longform.cluster.checks import check_plugin; check_plugin()"
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.full  # an import of verl of its own; the runs of tests/verl_runs need it too
def test_the_plugin_registers_in_a_fresh_process():
    found = _looked_for()
    assert found.returncode == 0, found.stderr


@pytest.mark.full  # another import of verl
def test_a_plugin_that_verl_leaves_out_is_named():
    found = _looked_for(VERL_USE_EXTERNAL_PLUGINS="none")
    assert "trainer 'longform' is not registered" in found.stderr
    assert "VERL_USE_EXTERNAL_PLUGINS" in found.stderr


def test_too_few_gpus_are_counted(tmp_path):
    with pytest.raises(BadInputError, match=r"cluster\.gpus_per_node is 512; this machine has"):
        checks.check_devices(cluster_recipe(tmp_path, cluster={"gpus_per_node": 512}))


def test_several_nodes_need_a_cluster_that_stands(tmp_path):
    with pytest.raises(
        BadInputError, match=r"cluster\.nodes is 2: start Ray on all nodes, and set cluster\.ray_address"
    ):
        checks.check_devices(cluster_recipe(tmp_path, cluster={"nodes": 2}))
    checks.check_devices(cluster_recipe(tmp_path, cluster={"nodes": 2, "ray_address": "auto"}))


def test_a_run_on_a_network_file_system_is_refused(tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    kinds = {
        "/home/me/runs/a": "nfs4",
        "/home/local disk/runs": "xfs",
        "/homes/me": "ext4",
        "/": "ext4",
    }
    for folder, kind in kinds.items():
        assert checks.file_system(checks.Path(folder), mounts=mounts)[0] == kind, folder
    with pytest.raises(BadInputError, match=r"network file system \(nfs4 at /home\).*cluster\.checkpoints"):
        checks.check_local_disk(checks.Path("/home/me/runs/a"), mounts=mounts)
    checks.check_local_disk(tmp_path, mounts=tmp_path / "not there")


def test_there_is_nothing_to_resume_where_nothing_was_begun(tmp_path):
    with pytest.raises(BadInputError, match="no such run to resume"):
        train_on_cluster(cluster_recipe(tmp_path), resume=True, on_step=lambda report: None)


@pytest.fixture
def begun(tmp_path):
    """A recipe whose run stands at step 20, with a checkpoint every 10 steps."""
    (tmp_path / "ladders.jsonl").write_text("")
    data = {"ladders": str(tmp_path / "ladders.jsonl"), "per_step": 4}
    run = {"name": "run", "folder": str(tmp_path / "runs"), "steps": 40, "checkpoint_every": 10}
    recipe = cluster_recipe(tmp_path, data=data, run=run)
    with RunDirectory.open(recipe.run_path) as opened:
        begin_run(opened, recipe, resume=False)
        opened.database.record_step(20, seconds=1, metrics={})
    return recipe


def test_a_run_that_exists_is_refused_before_ray_starts(begun):
    with pytest.raises(BadInputError, match="this run exists; continue it with --resume"):
        launch._check_run(begun, resume=False)


def test_a_run_whose_checkpoints_are_gone_is_not_taken_back_to_its_start(begun):
    with pytest.raises(BadInputError, match="contains no checkpoint, but the run is at step 20"):
        launch._check_run(begun, resume=True)
    folder = launch.checkpoint_folder(begun)
    folder.mkdir(exist_ok=True)
    (folder / "latest_checkpointed_iteration.txt").write_text("20")
    assert launch._check_run(begun, resume=True) == 20


def test_a_new_run_does_not_take_over_what_another_has_left(tmp_path):
    (tmp_path / "ladders.jsonl").write_text("")
    data = {"ladders": str(tmp_path / "ladders.jsonl"), "per_step": 4}
    recipe = cluster_recipe(tmp_path, data=data, cluster={"checkpoints": str(tmp_path / "shared")})
    folder = launch.checkpoint_folder(recipe)
    assert folder == tmp_path / "shared" / "run", "runs that share a folder have places of their own"
    folder.mkdir(parents=True)
    (folder / "latest_checkpointed_iteration.txt").write_text("20")
    with pytest.raises(BadInputError, match="contains checkpoints of another run"):
        launch._check_run(recipe, resume=False)


def test_a_template_that_opens_the_plan_is_found():
    class Tokenizer:
        def __init__(self, end):
            self.end = end

        def apply_chat_template(self, messages, **_):
            return f"user: {messages[0]['content']}{self.end}"

    assert checks.opens_a_plan(Tokenizer("<think>\n"), GenerationSettings())
    assert not checks.opens_a_plan(Tokenizer("\nassistant:"), GenerationSettings())
