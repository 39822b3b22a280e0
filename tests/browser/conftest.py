"""A browser (Debian's Chromium, driven by Playwright) and a viewer with runs for it. See `make test-browser`."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from served import serving

from longform.records.files import write_rows
from longform.records.schemas import Game, Grade, Ladder, Pair, PromptRow, Reference, Response
from viewed_runs import HOSTILE, write_run, write_study

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def find_browser() -> str:
    """The path of a Chromium; it is installed if that can be done."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None and shutil.which("apt-get") and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]):
            subprocess.run(command, check=False, stdout=subprocess.DEVNULL, env=environment, timeout=600)
        found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"needs one of {', '.join(BROWSERS)}, and none can be installed here")
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A browser without a window; as root it has no sandbox of its own."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=find_browser(), args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs and files of results; one run whose texts and name are hostile."""
    folder = tmp_path_factory.mktemp("viewed") / "runs"
    write_run(folder / "calm", steps=12)
    write_run(folder / "hostile <img src=x onerror=alert(1)>", text=HOSTILE)
    write_results(folder)
    write_study(folder, arm=HOSTILE, run="calm")
    return folder


@pytest.fixture(scope="session")
def address(folder: Path) -> Iterator[str]:
    """The address of a viewer that serves them."""
    with serving([folder]) as found:
        yield found


def write_results(folder: Path) -> None:
    """One file of each kind, with hostile texts."""
    write_rows(folder / "prompts.jsonl", [PromptRow(id="p", prompt=HOSTILE)])
    write_rows(folder / "responses.jsonl", [Response(prompt_id="p", model=m, text=f"{HOSTILE} by {m}.") for m in "xy"])
    write_rows(folder / "grades.jsonl", [Grade(prompt_id="p", model="x", score=7, judge=HOSTILE)])
    write_rows(folder / "games.jsonl", [Game(prompt_id="p", model_a="x", model_b="y", winner="b", judge="critic")])
    references = [Reference(model="y", text=HOSTILE, score=3)]
    write_rows(
        folder / "ladders.jsonl", [Ladder(id="p", prompt=HOSTILE, references=references, policy_score=2, potential=1)]
    )
    write_rows(
        folder / "pairs.jsonl", [Pair(id="q", prompt=HOSTILE, response_a=HOSTILE, response_b="Thus.", label="a")]
    )
