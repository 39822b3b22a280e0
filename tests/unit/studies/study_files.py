"""Studies for tests, whose tasks write small files instead of training."""

from pathlib import Path
from typing import Any

import yaml

from longform.studies.plan import plan_study
from longform.studies.settings import Study, load_study
from longform.studies.tasks import StudyPlan

RECIPE = {
    "policy": "start",
    "policy_name": "start",
    "data": {"ladders": "ladders.jsonl", "per_step": 4},
    "rewards": [{"kind": "pairwise", "judge": "judge"}],
    "run": {"name": "base", "steps": 6},
}
STUDY: dict[str, Any] = {
    "study": "tested",
    "base": "base.yaml",
    "seeds": [1, 2],
    "prepare": {
        "start": {"sft": "sft.yaml"},
        "candidates": {"generate": "prompts.jsonl", "writers": ["$start", "big"], "max_tokens": 50},
        "grades": {"grade": "$candidates", "prompts": "prompts.jsonl", "judge": "judge"},
        "ladders": {
            "select": "$candidates",
            "grades": "$grades",
            "prompts": "prompts.jsonl",
            "policy": "start",
            "top_k": 2,
        },
    },
    "train": {"policy": "$start", "data.ladders": "$ladders"},
    "arms": {"dynamic": {}, "mixed": {"curriculum.mode": "mixed"}, "random": {"ladders.strategy": "random"}},
    "examine": [
        {"name": "grade", "at": [0, "every 2", "last"], "grade": True, "prompts": "held-out.jsonl", "judge": "exam"},
        {"compare": "start", "prompts": "held-out.jsonl", "judge": ["exam", "other"]},
    ],
}
SFT = {
    "policy": "model",
    "data": {"rows": ["rows.jsonl"]},
    "out": "out",
    "settings": {"steps": 2, "batch_size": 2, "max_tokens": 64, "lr": 1e-3},
}


def write_study(folder: Path, study: dict[str, Any] | None = None) -> Path:
    """Write a study with the files that it names; returns its path."""
    for name, rows in {"prompts": 3, "held-out": 2}.items():
        lines = (f'{{"id": "{name}-{number}", "prompt": "Write {number}."}}\n' for number in range(rows))
        (folder / f"{name}.jsonl").write_text("".join(lines))
    (folder / "rows.jsonl").write_text('{"prompt": "a", "completion": " b"}\n')
    names = ("big", "judge", "exam", "other", "anchor")
    models = {name: {"base_url": "http://127.0.0.1:9/v1", "model": name} for name in names}
    for name, content in {"base": RECIPE, "sft": SFT, "models": models, "study": study or STUDY}.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / "study.yaml"


def planned(folder: Path, study: dict[str, Any] | None = None) -> StudyPlan:
    """The plan of a study in a folder."""
    source = write_study(folder, study)
    return plan_study(load_study(source), folder / "out", source=source)


def changed(**parts: Any) -> dict[str, Any]:
    """The study with other parts."""
    return {**STUDY, **parts}


def validated(**parts: Any) -> Study:
    """The same, read."""
    return Study.model_validate(changed(**parts))
