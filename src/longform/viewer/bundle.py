"""The viewer's pages as static files, which open from the file system."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from longform.records.errors import BadInputError
from longform.records.files import write_text
from longform.records.folders import write_folder
from longform.records.rollout_search import FoundRollouts, RolloutFacts, RolloutFilter, find_rollouts
from longform.records.run_directory import RunDirectory
from longform.records.run_list import summarize_run
from longform.report.page import recorded_prompts
from longform.report.verdict import judge_run, stored_recipe
from longform.viewer.collection import ViewerCollection
from longform.viewer.file_pages import file_content
from longform.viewer.links import BundleLinks
from longform.viewer.rendering import render_page
from longform.viewer.rollout_pages import MAX_TEXTS, prompt_content, search_content, step_content
from longform.viewer.run_pages import RunLine, overlay_content, run_content, run_line
from longform.viewer.study_pages import study_content

MAX_ROWS = 500
"""Rows of a file of results in a bundle."""


class Bundle(NamedTuple):
    """What was written."""

    files: int
    size: int
    """Bytes."""


def write_bundle(paths: Sequence[Path], folder: Path, *, with_texts: bool = False) -> Bundle:
    """Write the pages of runs and files of results into a new folder.

    Args:
        paths: Run directories, folders with runs, or files of results.
        folder: Must not exist.
        with_texts: Include training texts, requests, and judges' answers; without it there are curves and figures only.

    Raises:
        BadInputError: a path does not exist or cannot be read, or the folder exists.
    """
    if folder.exists():
        raise BadInputError(f"--bundle {folder}: exists; name a new folder")
    collection = ViewerCollection(paths)
    collection.check()
    write_folder(folder, partial(_write_pages, collection, links=BundleLinks(with_texts=with_texts)))
    files = list(folder.iterdir())
    return Bundle(len(files), sum(it.stat().st_size for it in files))


def _write_pages(collection: ViewerCollection, folder: Path, *, links: BundleLinks) -> None:
    def write(name: str, template: str, content: dict[str, Any]) -> None:
        write_text(folder / name, render_page(template, content | {"links": links, "token": ""}, served=False))

    runs = collection.runs()
    studies = collection.studies()
    files = collection.files() if links.with_texts else []
    content = {
        "runs": {key: _public_line(path) for key, path in runs.items()},
        "studies": list(studies),
        "files": files,
        "folders": [it.name for it in collection.paths],
    }
    write(links.home(), "home.html.j2", content)
    for key, path in studies.items():
        write(links.study(key), "study.html.j2", study_content(path, collection, links))
    readable = {key: path for key, path in runs.items() if summarize_run(path).state != "damaged"}
    write(links.overlay(), "overlay.html.j2", overlay_content(readable, links))
    for key, path in readable.items():
        with RunDirectory.read(path) as run:
            content = run_content(run, key, links, verdict=judge_run(run))
            write(links.run(key), "run.html.j2", content)
            if links.with_texts:
                prompts = recorded_prompts(run, stored_recipe(run))
                rollouts = find_rollouts(path, RolloutFilter(), limit=-1).rollouts
                found = search_content(run, key, links, steps=content["steps"], total=len(rollouts))
                write(links.rollouts(key), "rollouts.html.j2", found)
                for prompt_id, own in _by_prompt(rollouts).items():
                    found = FoundRollouts(own[:MAX_TEXTS], len(own))
                    about = prompt_content(run, key, prompt_id, links, prompts=prompts, found=found)
                    write(links.prompt(key, prompt_id), "prompt.html.j2", about)
                for step in content["steps"]:
                    write(links.step(key, step), "step.html.j2", step_content(run, key, step, links, prompts=prompts))
    for file in files:
        write(links.file(file.key), "file.html.j2", file_content(file, links, files=files, limit=MAX_ROWS))


def _by_prompt(rollouts: Sequence[RolloutFacts]) -> dict[str, list[RolloutFacts]]:
    found: dict[str, list[RolloutFacts]] = {}
    for it in rollouts:
        found.setdefault(it.prompt_id, []).append(it)
    return found


def _public_line(path: Path) -> RunLine:
    """A run in the list; a problem does not name the folders of this machine."""
    line = run_line(path)
    return line._replace(problem=line.problem.replace(f"{path}{os.sep}", ""))
