"""Fine-tuning inside a study, in as many processes as its recipe is planned for."""

import json
from pathlib import Path

import pytest

from artifacts import save_policy
from longform.miniature.policy import build_model, build_tokenizer, sft_rows
from longform.recipe.loading import load_recipe
from longform.records.errors import BadInputError, StoppedError
from longform.records.progress import no_progress
from longform.studies.work import SftWork, TaskContext
from longform.training.supervised.launch import LOG, check_launch
from longform.training.supervised.sft_recipe import SftRecipe


def recipe(folder: Path, *more: str) -> SftRecipe:
    tokenizer = build_tokenizer()
    save_policy(build_model(tokenizer, seed=3), tokenizer, folder / "start")
    rows = sft_rows(seed=1, count=12)
    lines = (json.dumps({"messages": row["prompt"] + row["completion"]}) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text("".join(lines))
    content = {
        "policy": str(folder / "start"),
        "data": {"rows": [str(folder / "rows.jsonl")]},
        "out": str(folder / "task" / "model"),
        "settings": {"steps": 2, "batch_size": 4, "max_tokens": 160, "lr": 1e-3},
    }
    (folder / "sft.yaml").write_text(json.dumps(content))
    return load_recipe(folder / "sft.yaml", SftRecipe, more)


@pytest.mark.full
def test_a_recipe_for_two_devices_is_fine_tuned_in_two_processes(tmp_path: Path) -> None:
    planned = recipe(tmp_path, "devices.count=2")
    SftWork(planned).do(tmp_path / "task", TaskContext(None, no_progress))
    assert (planned.out / "model.safetensors").exists()
    assert "2/2" in (tmp_path / "task" / LOG).read_text()


@pytest.mark.full
def test_what_the_processes_refuse_is_one_line_that_names_their_log(tmp_path: Path) -> None:
    planned = recipe(tmp_path, "devices.count=2")
    (tmp_path / "rows.jsonl").write_text('{"messages": 3}\n')
    with pytest.raises(StoppedError, match=r"sft.log: fine-tuning stopped: .*rows.jsonl:1"):
        SftWork(planned).do(tmp_path / "task", TaskContext(None, no_progress))


def test_devices_that_share_a_sequence_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        BadInputError, match=r"devices: 4 GPUs \(2 per sequence\) .*name the resulting folder as `model`"
    ):
        check_launch(recipe(tmp_path, "devices.count=4", "devices.per_sequence=2"))
