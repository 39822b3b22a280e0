"""The viewer as a web application: what each address shows."""

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from longform.records.errors import BadInputError
from longform.records.rollout_search import INDEX_NAME, RolloutIndex
from longform.records.run_directory import RunDirectory
from longform.records.run_list import is_running
from longform.records.schemas import PromptRow
from longform.report.page import recorded_prompts
from longform.report.verdict import judge_path, stored_recipe
from longform.viewer.collection import ViewerCollection
from longform.viewer.file_pages import file_content
from longform.viewer.links import ServerLinks
from longform.viewer.rendering import render_page
from longform.viewer.rollout_pages import list_content, prompt_content, rollout_content
from longform.viewer.run_pages import overlay_content, run_content, run_line, state_text
from longform.viewer.security import Guard
from longform.viewer.study_pages import study_content

SECONDS_BETWEEN_UPDATES = 2.0
"""Of the indexes of running runs."""
_ROWS = 20
_WATCHED = ("run.sqlite", "run.sqlite-wal", "recipe.yaml")
ComputedT = TypeVar("ComputedT")
LINKS = ServerLinks()


class Remembered(Generic[ComputedT]):
    """A value of each run, computed again when the run's files have changed.

    Args:
        compute: The value of a run directory.
    """

    def __init__(self, compute: Callable[[Path], ComputedT]) -> None:
        self._compute = compute
        self._known: dict[Path, tuple[object, ComputedT]] = {}

    def of(self, run: Path) -> ComputedT:
        """The value of a run; raises what computing it raises."""
        state = state_of_files(run)
        known = self._known.get(run)
        if known is None or known[0] != state:
            known = self._known[run] = state, self._compute(run)
        return known[1]


def state_of_files(run: Path) -> object:
    """Something that changes when a run's records, its recipe or its index do, or when it begins or ends."""
    stats = [(run / name).stat() for name in _WATCHED if (run / name).exists()]
    return [(it.st_size, it.st_mtime_ns) for it in stats], is_running(run), (run / INDEX_NAME).exists()


class Indexing:
    """Builds and extends the full-text indexes of runs in one background thread.

    Args:
        collection: Whose runs are indexed.
    """

    def __init__(self, collection: ViewerCollection) -> None:
        self._collection = collection
        self._ended = threading.Event()
        self._indexes: dict[Path, RolloutIndex] = {}
        self.problems: dict[Path, str] = {}
        self._thread = threading.Thread(target=self._run, name="indexing", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the present batch."""
        self._ended.set()
        self._thread.join(timeout=30)

    def index(self, run: Path) -> RolloutIndex:
        """The index of a run."""
        return self._indexes.setdefault(run, RolloutIndex(run))

    def _run(self) -> None:
        seen: dict[Path, object] = {}
        while not self._ended.is_set():
            for path in self._collection.runs().values():
                if self._ended.is_set():
                    return
                try:
                    if seen.get(path) == (state := state_of_files(path)):
                        continue
                    self.index(path).update(is_wanted=lambda: not self._ended.is_set())
                    self.problems.pop(path, None)
                    seen[path] = state_of_files(path) if (path / INDEX_NAME).exists() else state
                except (BadInputError, OSError) as error:  # of one run; the others are indexed all the same
                    self.problems[path] = str(error)
            self._ended.wait(SECONDS_BETWEEN_UPDATES)


def _prompts_of(path: Path) -> dict[str, PromptRow]:
    with RunDirectory.read(path) as run:
        return recorded_prompts(run, stored_recipe(run))


def create_app(
    paths: Sequence[Path],
    *,
    token: str,
    hosts: Sequence[str] = (),
    password: str | None = None,
    more_routes: Sequence[Route] = (),
) -> Starlette:
    """Create the application.

    Args:
        paths: Run directories, folders with runs, or files of results.
        token: Required of requests that write.
        hosts: Values of `Host` that are accepted; empty: any, for a server with a password.
        password: Required of every request; None: not needed.
        more_routes: Further pages.

    Raises:
        BadInputError: a path does not exist.
    """
    collection = ViewerCollection(paths)
    indexing = Indexing(collection)
    prompts, verdicts, lines = Remembered(_prompts_of), Remembered(judge_path), Remembered(run_line)

    shared = {"links": LINKS, "token": token}

    def page(name: str, content: dict[str, Any]) -> HTMLResponse:
        return HTMLResponse(render_page(name, content | shared))

    def of_run(show: Callable[[Request, str, RunDirectory], Response]) -> Callable[[Request], Response]:
        """A page of the run that the address names."""

        def endpoint(request: Request) -> Response:
            key = request.path_params["key"]
            try:
                with RunDirectory.read(collection.run(key)) as run:
                    return show(request, key, run)
            except (KeyError, OverflowError) as error:
                raise HTTPException(404, f"not found: {error.args[0]}") from None
            except BadInputError as error:
                raise HTTPException(409, str(error)) from None

        return endpoint

    # A page names the state from before its content was read, so that it asks again if a step came in between.

    def home(request: Request) -> Response:  # noqa: ARG001
        runs = {key: lines.of(path) for key, path in collection.runs().items()}
        folders = [str(it) for it in collection.paths]
        content = {"runs": runs, "studies": list(collection.studies()), "files": collection.files(), "folders": folders}
        return page("home.html.j2", content)

    def overlay(request: Request) -> Response:
        runs = collection.runs()
        chosen = {key: runs[key] for key in request.query_params.getlist("run") if key in runs}
        try:
            return page("overlay.html.j2", overlay_content(chosen, LINKS))
        except BadInputError as error:
            raise HTTPException(409, str(error)) from None

    def state_of(run: RunDirectory) -> str:
        """Changes with each step, and once more when the index, from which lists are made, has it."""
        return state_text(run) + (":indexed" if indexing.index(run.path).share() == 1 else "")

    def run_page(request: Request, key: str, run: RunDirectory) -> Response:  # noqa: ARG001
        state = state_of(run)
        return page("run.html.j2", run_content(run, key, LINKS, verdict=verdicts.of(run.path)) | {"state": state})

    def state(request: Request, key: str, run: RunDirectory) -> Response:  # noqa: ARG001
        return JSONResponse({"state": state_of(run)})

    def rollouts(request: Request, key: str, run: RunDirectory) -> Response:
        state = state_of(run)
        share = indexing.index(run.path).share()
        content = list_content(run, key, request.query_params, LINKS, indexed=share)
        content["problem"] = content["problem"] or indexing.problems.get(run.path, "")
        return page("rollouts.html.j2", content | {"state": state})

    def rollout(request: Request, key: str, run: RunDirectory) -> Response:
        step, row = request.path_params["step"], request.path_params["row"]
        content = rollout_content(run, key, step, row, request.query_params, LINKS, prompts=prompts.of(run.path))
        return page("rollout.html.j2", content)

    def prompt(request: Request, key: str, run: RunDirectory) -> Response:
        prompt_id = request.query_params.get("id", "")
        return page("prompt.html.j2", prompt_content(run, key, prompt_id, LINKS, prompts=prompts.of(run.path)))

    def study_file(request: Request) -> Path:
        key = request.path_params["key"]
        try:
            return collection.studies()[key]
        except KeyError:
            raise HTTPException(404, f"not found: {key}") from None

    def study(request: Request) -> Response:
        path = study_file(request)
        shown = {"study": request.path_params["key"], "state": str(path.stat().st_mtime_ns)}
        try:
            return page("study.html.j2", study_content(path, collection, LINKS) | shown)
        except BadInputError as error:
            raise HTTPException(409, str(error)) from None

    def study_state(request: Request) -> Response:
        return JSONResponse({"state": str(study_file(request).stat().st_mtime_ns)})

    def file(request: Request) -> Response:
        try:
            found = collection.file(request.path_params["key"])
        except KeyError:
            raise HTTPException(404, f"not found: {request.path_params['key']}") from None
        find, at = request.query_params.get("q", ""), request.query_params.get("at", "0")
        offset = int(at) if at.isdecimal() and len(at) < 12 else 0
        return page("file.html.j2", file_content(found, LINKS, limit=_ROWS, find=find, offset=offset))

    def problem(request: Request, error: Exception) -> Response:  # noqa: ARG001
        assert isinstance(error, HTTPException)
        return HTMLResponse(render_page("problem.html.j2", {"problem": error.detail} | shared), error.status_code)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:  # noqa: ARG001
        indexing.start()
        yield
        indexing.stop()

    return Starlette(
        routes=[
            Route("/", home),
            Route("/overlay", overlay),
            Route("/run/{key}", of_run(run_page)),
            Route("/run/{key}/state", of_run(state)),
            Route("/run/{key}/rollouts", of_run(rollouts)),
            Route("/run/{key}/rollout/{step:int}/{row:int}", of_run(rollout)),
            Route("/run/{key}/prompt", of_run(prompt)),
            Route("/study/{key}", study),
            Route("/study/{key}/state", study_state),
            Route("/file/{key}", file),
            *more_routes,
        ],
        middleware=[Middleware(Guard, hosts=hosts, token=token, password=password)],
        exception_handlers={HTTPException: problem},
        lifespan=lifespan,
    )
