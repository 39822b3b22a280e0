"""Selections from grades given in a line or two."""

import pytest

from longform.records.files import write_rows
from longform.records.schemas import Prompt, Response
from longform.selection.select import select
from longform.selection.settings import SelectionSettings


@pytest.fixture
def choose(tmp_path):
    """`choose(grades, ...)`: the selection; responses and prompts follow from the grades where they are not given."""

    def choose(grades, *, responses=None, prompts=None, policy="me", **rule):
        ids = dict.fromkeys(grade.prompt_id for grade in grades)
        graded = {(it.prompt_id, it.model, it.sample) for it in grades}
        texts = [
            Response(prompt_id=id_, model=model, sample=sample, text=f"{model} {sample} on {id_}")
            for id_, model, sample in sorted(graded)
        ]
        write_rows(tmp_path / "p.jsonl", prompts or [Prompt(id=id_, prompt=f"write {id_}") for id_ in ids])
        write_rows(tmp_path / "r.jsonl", responses or texts)
        write_rows(tmp_path / "g.jsonl", grades)
        return select(
            prompts=tmp_path / "p.jsonl",
            responses=[tmp_path / "r.jsonl"],
            grades=[tmp_path / "g.jsonl"],
            settings=SelectionSettings(policy, **rule),
        )

    return choose
