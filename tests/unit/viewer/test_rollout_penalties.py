"""What a rollout is penalized for: each penalty of the format reward with its amount, and the passages it comes from."""

import hashlib
import re
import shutil
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from starlette.testclient import TestClient

from longform.records.database import RolloutRecord
from longform.records.run_directory import RunDirectory
from longform.records.schemas import PromptRow
from longform.report.page import write_report
from longform.report.rollouts import show_rollout
from longform.rewards.slop_lists import ListedPhrase, SlopList, SlopLists
from longform.viewer.app import create_app
from longform.viewer.bundle import write_bundle

FIXTURE = Path(__file__).parents[2] / "fixtures" / "run-v3"
LOOP = "on and on it went " * 12
TEXT = f"The long winter came to the valley and it would not leave. A testament to hope. {LOOP}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with a format reward, and a first rollout that it penalizes."""
    shutil.copytree(FIXTURE, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("checkpoints", "start"))
    SlopLists(languages={"en": SlopList(phrases=[ListedPhrase(phrase="a testament to")])}).write(tmp_path / "slop.json")
    recipe = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text(encoding="utf-8"))
    recipe["rewards"].append({"kind": "format", "repetition": 2.0, "slop": 1.0, "slop_list": "slop.json"})
    (tmp_path / "run" / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    hash_ = hashlib.sha256(TEXT.encode()).hexdigest()
    with closing(sqlite3.connect(tmp_path / "run" / "run.sqlite")) as database:
        database.execute("INSERT INTO texts (hash, body) VALUES (?, ?)", (hash_, zlib.compress(TEXT.encode())))
        database.execute("UPDATE rollouts SET text_hash = ?, reward = 99 WHERE step = 4 AND row = 0", (hash_,))
        database.commit()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_penalty_has_its_amount_and_its_passages_on_every_page_with_the_rollout(folder: Path) -> None:
    client = TestClient(create_app([folder], token="t", hosts=["localhost"]), base_url="http://localhost")
    pages = [client.get("/run/run/rollout/4/0").text]
    write_bundle([folder], folder / "bundle", with_texts=True)
    pages.append((folder / "bundle" / "run-run-step-000004.html").read_text(encoding="utf-8"))
    with RunDirectory.read(folder / "run") as run:
        pages.append(write_report(run).read_text(encoding="utf-8"))
    for page in pages:
        penalties = dict(re.findall(r"penalty for (\w+)</dt><dd>-([\d.]+)", page))
        assert penalties.keys() == {"repetition", "slop"}
        assert float(penalties["repetition"]) > 1, (
            "two times the share beyond the natural one, though no sentence is repeated"
        )
        assert re.search(r'<mark class="slop"[^>]*>A testament to<', page)
        assert re.search(r'<mark class="repeated"[^>]*>on and on it went', page)
        assert re.search(r"Marked: loops \(\d\d% of the four-word sequences repeat an earlier one\)", page)
        assert "1 passage of the slop list" in page


def test_a_prompt_shows_the_rungs_it_faced_with_their_references(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "run" / "run.sqlite")) as database:
        prompt, step, rung = database.execute("SELECT prompt_id, step, rung FROM promotions ORDER BY step").fetchone()
    client = TestClient(create_app([folder], token="t", hosts=["localhost"]), base_url="http://localhost")
    page = client.get(f"/run/run/prompt?id={prompt}").text
    listed = re.findall(r"<li>(.*?)</li>", page.partition("<h2>Rungs</h2>")[2].partition("</ol>")[0])
    assert listed[:2] == ["at first: rung 0 (m0, score 0)", f"after step {step}: rung {rung} (m{rung}, score {rung})"]


def test_a_rollout_shows_the_length_that_was_asked_for() -> None:
    record = RolloutRecord(1, 0, "p", 0, "A text.", "", 3, 2, 0, "stop", None, None, 0.5)
    prompt = PromptRow(id="p", prompt="Write.", length_range=(100, 200))
    assert show_rollout(record, calls={}, prompt=prompt).facts["words"] == "2 (asked for 100 to 200)"


def test_a_list_of_phrases_that_is_gone_hides_no_rollout(folder: Path) -> None:
    (folder / "slop.json").unlink()
    client = TestClient(create_app([folder], token="t", hosts=["localhost"]), base_url="http://localhost")
    page = client.get("/run/run/rollout/4/0").text
    assert "penalty for repetition" in page
    assert "penalty for slop" not in page
