"""Paths of models, and why one could not be read."""

import json

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from longform.records.errors import BadInputError
from longform.writers.paths import (
    ADAPTER,
    adapter_rank,
    check_model_path,
    check_writer,
    load_failure,
    model_below,
    models_below,
    writer_name,
)
from longform.writers.settings import LocalOptions


def test_a_model_that_is_neither_here_nor_reachable_is_told_with_the_remedy(tmp_path):
    error = OSError("We couldn't connect to the hub ...")  # as transformers raises it, about an address
    error.__cause__ = LocalEntryNotFoundError("Please check your connection")
    said = load_failure("models/qwen", error)
    assert "no such folder here" in said
    assert "`hf download models/qwen --local-dir FOLDER`" in said
    assert load_failure(str(tmp_path), error) == str(error)
    assert load_failure("models/qwen", ValueError()) == "ValueError"


def folder(path, name="config.json", content="{}"):
    """A folder with a file that makes it a model, or adapters."""
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_text(content)
    return str(path)


def test_a_writer_that_is_no_model_is_refused_with_what_was_meant(tmp_path):
    local, served = LocalOptions(), LocalOptions(engine="vllm")
    check_writer("a-name", local)
    check_writer(folder(tmp_path / "model"), served)
    with pytest.raises(
        BadInputError, match=r"--engine vllm: only valid for a local model, but a-name is a name in models"
    ):
        check_writer("a-name", served)
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(BadInputError, match=rf"^--writer {run}: not a model folder$"):
        check_writer(str(run), local)
    for step in (5, 10):
        last = folder(run / "checkpoints" / f"step-{step:06d}" / "policy")
    with pytest.raises(BadInputError, match=rf"^--writer {run}: not a model folder; did you mean {last}\?$"):
        check_writer(str(run), local)
    with pytest.raises(BadInputError, match=rf"^{run}: not a model folder \(.*\); did you mean {last}\?$"):
        check_model_path(str(run))
    with pytest.raises(BadInputError, match="is empty; name a folder or a hub id"):
        check_model_path("")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("models/smol", "smol"),
        ("runs/a/checkpoints/step-000050/policy", "a-step-000050"),
        ("runs/a/policies/step-000010", "a-step-000010"),
        ("runs/a/checkpoints/global_step_7/actor/huggingface", "a-step-000007"),
        ("verl/global_step_7/actor/huggingface", "verl-step-000007"),
        ("actor/huggingface", "huggingface"),
    ],
)
def test_responses_are_named_after_the_run_and_the_step_of_their_writer(path, name):
    assert writer_name(path) == name


def test_adapters_without_rank_or_base_and_those_in_a_circle_are_one_line(tmp_path):
    own = tmp_path / "own"
    for content in ("{", "[]", "{}", '{"r": "many"}'):
        folder(own, ADAPTER, content)
        with pytest.raises(BadInputError, match=r"adapter_config.json: does not name the rank of its adapters \(r\)"):
            adapter_rank(own)
        with pytest.raises(BadInputError, match=r"own: adapter_config.json does not name the adapters' base model"):
            model_below(str(own))
    folder(own, ADAPTER, '{"r": 4, "rank_pattern": {"q_proj": 16}, "base_model_name_or_path": "' + str(own) + '"}')
    assert adapter_rank(own) == 16
    with pytest.raises(BadInputError, match="own: the adapters name themselves as their base model"):
        models_below(str(own))
    folder(own, ADAPTER, json.dumps({"base_model_name_or_path": str(tmp_path / "gone")}))
    with pytest.raises(BadInputError, match=r"own: the base model of its adapters is not at \S*gone; put it there"):
        check_model_path(str(own))
    with pytest.raises(BadInputError, match=r"gone: not a model folder \(it has no config.json\)"):
        check_model_path(str(tmp_path / "gone"))
    folder(own, ADAPTER, json.dumps({"base_model_name_or_path": folder(tmp_path / "gone")}))
    check_model_path(str(own))
