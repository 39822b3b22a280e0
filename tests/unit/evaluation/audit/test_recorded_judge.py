"""The recorded answers of a real small judge to groups of texts: what an audit of it finds, without its server.

`python benchmarks/small_judge.py --record` writes them; so it must where a wording or a request changes.
"""

from pathlib import Path
from shutil import copytree

import pytest

from longform.evaluation.audit.groups import audit_groups
from longform.records.calls import SqliteCallLog

RECORDED = Path(__file__).parents[3] / "fixtures" / "small-judge"


@pytest.mark.parametrize(
    ("by", "leads"),
    [("peer", 0.5), ("round-robin", 0.5), ("list", 0.0)],
)
def test_a_model_of_135_million_parameters_prefers_the_first_text_and_agrees_with_nobody(by, leads, tmp_path):
    folder = copytree(RECORDED, tmp_path / "judge")
    out = folder / "by.jsonl"
    with SqliteCallLog(folder / "by.jsonl.calls.sqlite") as log:
        before = log.totals().calls
    models = folder / "models.yaml"
    audited = audit_groups([folder / "groups.jsonl"], methods=[by], judges=["small"], models=models, out=out)
    with SqliteCallLog(folder / "by.jsonl.calls.sqlite") as log:
        assert log.totals().calls == before, "nothing was asked"
    (figures,) = audited.figures
    assert figures.agreement is not None and figures.first_lead is not None
    assert figures.agreement.value.estimate == pytest.approx(0.5), "chance"
    assert figures.first_lead.value.estimate == pytest.approx(leads)
    assert audited.advice.by is None, "no way is recommended"
