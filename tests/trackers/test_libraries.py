"""Each tracker with its real library, offline: what it has stored after a run that was killed and resumed is what run.sqlite
holds (`make test-trackers`).
"""

import importlib
import importlib.util
import json
import sqlite3
import struct
from pathlib import Path

import pytest

from longform.records.run_directory import RunDirectory
from longform.tracking.available import LIBRARIES
from tracked_run import KEY, STEPS, build_run, first_text, longform, recorded

NAMES = [name for name in LIBRARIES if importlib.util.find_spec(name) is not None]
if not NAMES:
    pytest.skip("no tracker is installed: make test-trackers", allow_module_level=True)


def environment(folder):
    """Everything stays in `folder`, and nothing is asked over a network."""
    return {
        "TRACKIO_DIR": str(folder / "trackio"),
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(folder),
        "MLFLOW_TRACKING_URI": (folder / "mlruns").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "HF_HUB_OFFLINE": "1",
        "HOME": str(folder),
    }


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A run that every installed library followed; it was killed in step 5 and resumed from step 3."""
    folder = build_run(tmp_path_factory.mktemp("tracked"), track=NAMES)
    longform(folder, "train", "recipe.yaml", code=-9, environment=environment(folder))
    done = longform(folder, "train", "recipe.yaml", "--resume", environment=environment(folder))
    assert "switched off" not in done.stderr
    assert "behind" not in done.stderr
    return folder, done


def check_metrics(stored, folder, *, is_exact=True):
    """`stored` is {step: metrics}; every step that is on record is there, with its values."""
    expected = recorded(folder)
    assert sorted(stored) == sorted(expected) == list(range(1, STEPS + 1))
    for step, metrics in expected.items():
        for name, value in metrics.items():
            if step <= 3 or step > 4 or not name.startswith("seconds/"):  # step 4 was made twice, in other times
                tolerance = 0.0 if is_exact else 1e-6  # TensorBoard keeps 32 bits
                assert stored[step][name] == pytest.approx(value, rel=tolerance, abs=tolerance), (step, name)


def state_of(folder, name):
    with RunDirectory.read(folder / "runs" / "a-run") as run:
        return json.loads(run.database.fact(f"tracker/{name}") or "{}")


def needs(name):
    return pytest.mark.skipif(name not in NAMES, reason=f"{name} is not installed: make test-trackers")


def files_of(folder):
    """What the trackers wrote."""
    places = [folder / "trackio", folder / "wandb", folder / "mlruns", folder / "runs" / "a-run" / "tensorboard"]
    return [it for place in places for it in place.rglob("*") if it.is_file()]


@needs("trackio")
def test_trackio_holds_the_metrics_of_one_run_and_its_texts(tracked):
    folder, done = tracked
    with sqlite3.connect(folder / "trackio" / "longform.db") as database:
        rows = database.execute("SELECT run_name, step, metrics FROM metrics ORDER BY step").fetchall()
        config = database.execute("SELECT config FROM configs").fetchone()[0]
    assert {name for name, _, _ in rows} == {"a-run"} == {state_of(folder, "trackio")["id"]}
    entries = [(step, json.loads(metrics)) for _, step, metrics in rows]
    numbers = [(step, metrics) for step, metrics in entries if "texts" not in metrics]
    assert [step for step, _ in numbers] == list(range(1, STEPS + 1))
    check_metrics(dict(numbers), folder)
    tables = {step: metrics["texts"]["_value"] for step, metrics in entries if "texts" in metrics}
    assert sorted(tables) == [2, 4, 6]
    assert tables[4][0]["response"] == first_text(folder, 4).text
    assert json.loads(config)["optim.lr"] == 1e-3
    assert "trackio: trackio show --project longform" in done.stderr


def wandb_records(file):
    """The records of a .wandb file: 7 bytes of header, then a log in the format of LevelDB."""
    content, place, parts = file.read_bytes(), 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:  # the end of a block is padded
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last of several parts
            yield parts
            parts = b""


@needs("wandb")
def test_wandb_holds_every_step_once_and_the_texts(tracked):
    folder, _ = tracked
    records = importlib.import_module("wandb.proto.wandb_internal_pb2")
    run_id = state_of(folder, "wandb")["id"]
    files = sorted(folder.glob(f"wandb/offline-run-*-{run_id}/run-{run_id}.wandb"))
    assert len(files) == 2 == len(list(folder.glob("wandb/offline-run-*")))  # one for each process
    stored, states = {}, []
    for data in wandb_records(files[-1]):
        record = records.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            step = record.history.step.num
            assert step not in stored
            stored[step] = {it.key or "/".join(it.nested_key): json.loads(it.value_json) for it in record.history.item}
        if record.WhichOneof("record_type") == "exit":
            states.append(record.exit.exit_code)
    check_metrics(stored, folder)
    assert [step for step, values in stored.items() if any(name.startswith("texts") for name in values)] == [4, 6]
    tables = [
        json.loads(path.read_text()) for path in folder.glob("wandb/offline-run-*/files/media/table/texts_*.json")
    ]
    assert first_text(folder, 4).text in {row[2] for table in tables for row in table["data"]}
    assert states == [0]


@pytest.mark.representative
@needs("tensorboard")
def test_tensorboard_shows_every_step_once_and_the_texts(tracked):
    folder, _ = tracked
    accumulators = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    events = accumulators.EventAccumulator(str(folder / "runs" / "a-run" / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    stored: dict[int, dict[str, float]] = {}
    for name in events.Tags()["scalars"]:
        values = events.Scalars(name)
        assert len({it.step for it in values}) == len(values)
        for it in values:
            stored.setdefault(it.step, {})[name] = it.value
    check_metrics(stored, folder, is_exact=False)
    texts = {it.step: it.tensor_proto.string_val[0].decode() for it in events.Tensors("texts/0/text_summary")}
    assert sorted(texts) == [2, 4, 6]
    assert f"    {first_text(folder, 4).text.splitlines()[0]}" in texts[4]


@needs("mlflow")
def test_mlflow_holds_every_step_once_the_texts_and_the_end(tracked, monkeypatch):
    folder, _ = tracked
    for name, value in environment(folder).items():
        monkeypatch.setenv(name, value)
    client = importlib.import_module("mlflow").MlflowClient((folder / "mlruns").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("longform").experiment_id])
    assert run.info.run_id == state_of(folder, "mlflow")["id"]
    assert (run.info.run_name, run.info.status) == ("a-run", "FINISHED")
    assert run.data.params["optim.lr"] == "0.001"
    stored: dict[int, dict[str, float]] = {}
    names = {name.replace(":", "_"): name for metrics in recorded(folder).values() for name in metrics}
    for key in run.data.metrics:
        history = client.get_metric_history(run.info.run_id, key)
        assert len({it.step for it in history}) == len(history)
        for it in history:
            stored.setdefault(it.step, {})[names[key]] = it.value
    check_metrics(stored, folder)
    texts = {Path(it.path).name for it in client.list_artifacts(run.info.run_id, "texts")}
    assert texts == {f"step-{step:06d}.json" for step in (2, 4, 6)}


def test_no_key_and_no_address_of_an_endpoint_is_in_what_they_wrote(tracked):
    folder, _ = tracked
    files = files_of(folder)
    assert len(files) >= len(NAMES)
    for path in files:
        content = path.read_bytes()
        assert KEY.encode() not in content, path
        assert b"judge.internal.example" not in content, path


def test_trackers_change_nothing_in_the_run_and_print_nothing_to_stdout(tracked):
    folder, _ = tracked
    without = ("--set", "run.name=without", "--set", "run.track=[]", "--json")
    longform(folder, "train", "recipe.yaml", *without, environment=environment(folder))
    weights = f"checkpoints/step-{STEPS:06d}/policy/model.safetensors"
    runs = folder / "runs"
    assert (runs / "a-run" / weights).read_bytes() == (runs / "without" / weights).read_bytes()
    again = longform(
        folder, "train", "recipe.yaml", "--set", "run.name=again", "--json", environment=environment(folder)
    )
    assert json.loads(again.stdout)["steps"] == STEPS


@pytest.mark.parametrize("name", NAMES)
def test_a_library_that_cannot_store_anything_stops_nothing(tracked, name):
    folder, _ = tracked
    nowhere = {
        "TRACKIO_SERVER_URL": "nowhere",
        "WANDB_MODE": "online",  # and no key
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    run = f"nowhere-{name}"
    (folder / "runs" / run).mkdir(parents=True, exist_ok=True)
    if name == "tensorboard":
        (folder / "runs" / run / "tensorboard-2").touch()
        (folder / "runs" / run / "tensorboard").touch()
        (folder / "runs" / run / "tensorboard-3").symlink_to("/proc/nowhere")
    flags = ("--set", f"run.name={run}", "--set", f"run.track=[{name}]", "--set", "run.steps=2")
    done = longform(folder, "train", "recipe.yaml", *flags, environment={**environment(folder), **nowhere})
    assert done.stderr.count(f"tracker {name} is switched off: ") == 1
    assert f"training {run} 2/2" in done.stderr
