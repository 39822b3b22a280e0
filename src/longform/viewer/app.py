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
"""Interval between updates of the indexes of running runs."""
_ROWS = 20
"""Rows of a file of results on one page."""
_WATCHED = ("run.sqlite", "run.sqlite-wal", "recipe.yaml")
ComputedT = TypeVar("ComputedT")
LINKS = ServerLinks()


class RunCache(Generic[ComputedT]):
    """A cached value of each run, computed again when the run's files have changed.

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
    """A value that changes with a run's records, recipe or index, and when the run starts or stops."""
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
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current batch."""
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
                    if seen.get(path) == state_of_files(path):
                        continue
                    self.index(path).update(is_wanted=lambda: not self._ended.is_set())
                    self.problems.pop(path, None)
                    state = state_of_files(path)
                    if (path / INDEX_NAME).exists():  # else it was deleted meanwhile, and is built again
                        seen[path] = state
                except (BadInputError, OSError) as error:  # the other runs are indexed anyway
                    self.problems[path] = str(error)
            self._ended.wait(SECONDS_BETWEEN_UPDATES)


def _prompts_of(path: Path) -> dict[str, PromptRow]:
    with RunDirectory.read(path) as run:
        return recorded_prompts(run, stored_recipe(run))


class ViewerPages:
    """The pages of the viewer, each a handler of one address.

    Each page with live content carries a state that was read before its content, so that the page asks again if a step was
    recorded in between.

    Args:
        collection: What is shown.
        indexing: The full-text indexes of the runs.
        token: Required of requests that write.
    """

    def __init__(self, collection: ViewerCollection, indexing: Indexing, *, token: str) -> None:
        self._collection, self._indexing = collection, indexing
        self._shared = {"links": LINKS, "token": token}
        self._prompts = RunCache(_prompts_of)
        self._verdicts = RunCache(judge_path)
        self._lines = RunCache(run_line)

    def routes(self) -> list[Route]:
        """The addresses with their handlers."""
        return [
            Route("/", self.home),
            Route("/overlay", self.overlay),
            Route("/run/{key}", self._of_run(self.run)),
            Route("/run/{key}/state", self._of_run(self.run_state)),
            Route("/run/{key}/rollouts", self._of_run(self.rollouts)),
            Route("/run/{key}/rollout/{step:int}/{row:int}", self._of_run(self.rollout)),
            Route("/run/{key}/prompt", self._of_run(self.prompt)),
            Route("/study/{key}", self.study),
            Route("/study/{key}/state", self.study_state),
            Route("/file/{key}", self.file),
        ]

    def home(self, request: Request) -> Response:  # noqa: ARG002
        """All runs, studies and files."""
        runs = {key: self._lines.of(path) for key, path in self._collection.runs().items()}
        content = {
            "runs": runs,
            "studies": list(self._collection.studies()),
            "files": self._collection.files(),
            "folders": [str(it) for it in self._collection.paths],
        }
        return self._page("home.html.j2", content)

    def overlay(self, request: Request) -> Response:
        """The curves of several runs in the same charts."""
        runs = self._collection.runs()
        chosen = {key: runs[key] for key in request.query_params.getlist("run") if key in runs}
        try:
            return self._page("overlay.html.j2", overlay_content(chosen, LINKS))
        except BadInputError as error:
            raise HTTPException(409, str(error)) from None

    def run(self, request: Request, key: str, run: RunDirectory) -> Response:  # noqa: ARG002
        """One run."""
        state = self._state_of(run)
        content = run_content(run, key, LINKS, verdict=self._verdicts.of(run.path))
        return self._page("run.html.j2", content | {"state": state})

    def run_state(self, request: Request, key: str, run: RunDirectory) -> Response:  # noqa: ARG002
        """The state of a run's pages, which ask for it at intervals."""
        return JSONResponse({"state": self._state_of(run)})

    def rollouts(self, request: Request, key: str, run: RunDirectory) -> Response:
        """The rollouts of a run that meet the conditions of the query."""
        state = self._state_of(run)
        share = self._indexing.index(run.path).share()
        content = list_content(run, key, request.query_params, LINKS, indexed=share)
        content["problem"] = content["problem"] or self._indexing.problems.get(run.path, "")
        return self._page("rollouts.html.j2", content | {"state": state})

    def rollout(self, request: Request, key: str, run: RunDirectory) -> Response:
        """One rollout."""
        step, row = request.path_params["step"], request.path_params["row"]
        prompts = self._prompts.of(run.path)
        content = rollout_content(run, key, step, row, request.query_params, LINKS, prompts=prompts)
        return self._page("rollout.html.j2", content)

    def prompt(self, request: Request, key: str, run: RunDirectory) -> Response:
        """The history of a prompt in a run."""
        prompt_id = request.query_params.get("id", "")
        content = prompt_content(run, key, prompt_id, LINKS, prompts=self._prompts.of(run.path))
        return self._page("prompt.html.j2", content)

    def study(self, request: Request) -> Response:
        """One study."""
        path = self._study_file(request)
        shown = {"study": request.path_params["key"], "state": str(path.stat().st_mtime_ns)}
        try:
            return self._page("study.html.j2", study_content(path, self._collection, LINKS) | shown)
        except BadInputError as error:
            raise HTTPException(409, str(error)) from None

    def study_state(self, request: Request) -> Response:
        """The state of a study's page, which asks for it at intervals."""
        return JSONResponse({"state": str(self._study_file(request).stat().st_mtime_ns)})

    def file(self, request: Request) -> Response:
        """The rows of a file of results, or its tables."""
        key = request.path_params["key"]
        files = self._collection.files()
        found = next((it for it in files if it.key == key), None)
        if found is None:
            raise HTTPException(404, f"not found: {key}")
        find, at = request.query_params.get("q", ""), request.query_params.get("at", "0")
        offset = int(at) if at.isdecimal() and len(at) < 12 else 0
        return self._page(
            "file.html.j2", file_content(found, LINKS, files=files, limit=_ROWS, find=find, offset=offset)
        )

    def problem(self, request: Request, error: Exception) -> Response:  # noqa: ARG002
        """The page of an error."""
        assert isinstance(error, HTTPException)
        content = {"problem": error.detail} | self._shared
        return HTMLResponse(render_page("problem.html.j2", content), error.status_code, error.headers)

    def _page(self, name: str, content: dict[str, Any]) -> HTMLResponse:
        return HTMLResponse(render_page(name, content | self._shared))

    def _of_run(self, show: Callable[[Request, str, RunDirectory], Response]) -> Callable[[Request], Response]:
        """A handler that opens the run of the address for `show`."""

        def handle(request: Request) -> Response:
            key = request.path_params["key"]
            try:
                with RunDirectory.read(self._collection.run(key)) as run:
                    return show(request, key, run)
            except KeyError as error:
                raise HTTPException(404, f"not found: {error.args[0]}") from None
            except OverflowError:  # a number that no database holds
                raise HTTPException(404, f"not found: {request.url.path}") from None
            except BadInputError as error:
                raise HTTPException(409, str(error)) from None

        return handle

    def _state_of(self, run: RunDirectory) -> str:
        """A text that changes with each step, and once more when the index, from which lists are made, has caught up."""
        return state_text(run) + (":indexed" if self._indexing.index(run.path).share() == 1 else "")

    def _study_file(self, request: Request) -> Path:
        key = request.path_params["key"]
        try:
            return self._collection.studies()[key]
        except KeyError:
            raise HTTPException(404, f"not found: {key}") from None


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
    pages = ViewerPages(collection, indexing, token=token)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:  # noqa: ARG001
        indexing.start()
        yield
        indexing.stop()

    return Starlette(
        routes=[*pages.routes(), *more_routes],
        middleware=[Middleware(Guard, hosts=hosts, token=token, password=password)],
        exception_handlers={HTTPException: pages.problem},
        lifespan=lifespan,
    )
