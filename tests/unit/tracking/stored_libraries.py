"""The calls of four tracking libraries that longform makes, each storing what it is given in the same form."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any


@dataclass
class StoredRun:
    """What a library holds of one run."""

    name: str = ""
    project: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    metrics: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    tables: list[tuple[int, Any]] = field(default_factory=list)
    alerts: list[tuple[str, str]] = field(default_factory=list)
    ends: list[Any] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)
    """Of each start."""


@dataclass
class Library:
    """One library as modules for `sys.modules`.

    Args:
        is_down: whether it can store nothing.
    """

    runs: dict[str, StoredRun] = field(default_factory=dict)
    """By the id under which longform finds a run again."""
    is_down: bool = False
    login: bool = True
    mode: str = "offline"

    def reach(self) -> None:
        if self.is_down:
            raise ConnectionError("no answer")

    def modules(self, name: str) -> dict[str, ModuleType]:
        return getattr(self, f"_{name}")()

    def _trackio(self) -> dict[str, ModuleType]:
        library = self

        def init(*, project: str, name: str, config: dict[str, Any], **options: Any) -> Any:
            library.reach()
            vars(top).get("print", print)("* Trackio project initialized")
            assert options["resume"] == ("allow" if name in library.runs else "never")
            run = library.runs.setdefault(name, StoredRun(name, project, config))
            run.options.append(options)

            def log(values: dict[str, Any], *, step: int) -> None:
                (run.tables if "texts" in values else run.metrics).append((step, values.get("texts", values)))

            return SimpleNamespace(
                log=log,
                alert=lambda *, title, text: run.alerts.append((title, text)),
                finish=lambda: run.ends.append("finished"),
                _next_step=max((step for step, _ in run.metrics), default=-1) + 1,
            )

        def runs(project: str) -> list[Any]:
            if not library.runs:
                raise ValueError(f"project {project} does not exist")
            return [SimpleNamespace(name=name) for name in library.runs]

        top = _module("trackio", init=init, Table=_table, Api=lambda: SimpleNamespace(runs=runs))
        parts = {f"trackio.{name}": _module(f"trackio.{name}") for name in ("run", "utils", "deploy")}
        return {"trackio": top, **parts}

    def _wandb(self) -> dict[str, ModuleType]:
        library = self

        def init(*, project: str, id: str, name: str, config: dict[str, Any], **options: Any) -> Any:
            library.reach()
            assert options["resume"] == "allow"
            is_resumed = id in library.runs and library.mode == "online"
            run = library.runs.setdefault(id, StoredRun(name, project, config))
            run.options.append(options)

            def log(values: dict[str, Any], *, step: int) -> None:
                (run.tables if "texts" in values else run.metrics).append((step, values.get("texts", values)))

            return SimpleNamespace(
                log=log,
                alert=lambda *, title, text, level: run.alerts.append((title, f"{level} {text}")),
                finish=lambda *, exit_code: run.ends.append(exit_code),
                step=max((step for step, _ in run.metrics), default=-1) + 1,
                resumed=is_resumed,
                offline=library.mode == "offline",
                dir=f"wandb/offline-run-{id}/files",
                url=f"https://tracker.example/{id}",
            )

        def setup(*, settings: Any) -> Any:
            assert (settings.silent, settings.console) == (True, "off")
            return SimpleNamespace(settings=SimpleNamespace(mode=library.mode))

        return {
            "wandb": _module(
                "wandb",
                init=init,
                setup=setup,
                Settings=SimpleNamespace,
                Table=_table,
                login=lambda *, prompt: library.login and not prompt,
            )
        }

    def _tensorboard(self) -> dict[str, ModuleType]:
        library = self

        class SummaryWriter:
            def __init__(self, place: str, *, purge_step: int | None) -> None:
                library.reach()
                Path(place).mkdir(parents=True, exist_ok=True)
                self.run = library.runs.setdefault(Path(place).name, StoredRun())
                self.run.options.append({"purge_step": purge_step})
                if purge_step is not None:
                    self.run.metrics = [it for it in self.run.metrics if it[0] < purge_step]

            def add_scalar(self, name: str, value: float, step: int) -> None:
                if not self.run.metrics or self.run.metrics[-1][0] != step:
                    self.run.metrics.append((step, {}))
                self.run.metrics[-1][1][name] = value

            def add_text(self, name: str, text: str, step: int) -> None:
                kind, _, rest = name.partition("/")
                if kind == "recipe":
                    self.run.config = {"recipe": text}
                elif kind == "texts":
                    self.run.tables.append((step, text))
                else:
                    self.run.alerts.append((rest, text))

            def flush(self) -> None: ...

            def close(self) -> None:
                self.run.ends.append("closed")

        return {"torch.utils.tensorboard": _module("torch.utils.tensorboard", SummaryWriter=SummaryWriter)}

    def _mlflow(self) -> dict[str, ModuleType]:
        library, experiments, tags = self, {}, {}

        class MlflowClient:
            def get_experiment_by_name(self, name: str) -> Any:
                library.reach()
                return SimpleNamespace(experiment_id=experiments[name]) if name in experiments else None

            def create_experiment(self, name: str) -> str:
                return experiments.setdefault(name, f"experiment {name}")

            def create_run(self, experiment: str, *, run_name: str) -> Any:
                run_id = f"run-{len(library.runs)}"
                library.runs[run_id] = StoredRun(run_name, experiment.removeprefix("experiment "))
                return SimpleNamespace(info=SimpleNamespace(run_id=run_id))

            def update_run(self, run_id: str, *, status: str) -> None:
                library.reach()
                library.runs[run_id].options.append({"status": status})

            def get_run(self, run_id: str) -> Any:
                return SimpleNamespace(data=SimpleNamespace(tags=tags))

            def log_batch(self, run_id: str, *, metrics: Any = (), params: Any = (), tags: Any = ()) -> None:
                run = library.runs[run_id]
                assert len(params) <= 100, "a store takes no more"
                run.config |= {it.key: it.value for it in params}
                for it in metrics:
                    if not run.metrics or run.metrics[-1][0] != it.step:
                        run.metrics.append((it.step, {}))
                    run.metrics[-1][1][it.key] = it.value
                for it in tags:
                    self.set_tag(run_id, it.key, it.value)

            def set_tag(self, run_id: str, name: str, value: str) -> None:
                tags[name] = value
                if name.startswith("finding."):
                    library.runs[run_id].alerts.append((name.removeprefix("finding."), value))

            def log_dict(self, run_id: str, content: dict[str, Any], file: str) -> None:
                step = int(file.removeprefix("texts/step-").removesuffix(".json"))
                library.runs[run_id].tables.append((step, content))

            def set_terminated(self, run_id: str, status: str) -> None:
                library.runs[run_id].ends.append(status)

        def metric(key: str, value: float, timestamp: int, step: int) -> Any:
            assert timestamp > 1e12, "milliseconds"
            return SimpleNamespace(key=key, value=value, step=step)

        def pair(key: str, value: str) -> Any:
            return SimpleNamespace(key=key, value=value)

        return {
            "mlflow": _module("mlflow", MlflowClient=MlflowClient, get_tracking_uri=lambda: "file:mlruns"),
            "mlflow.entities": _module("mlflow.entities", Metric=metric, Param=pair, RunTag=pair),
        }


def install(monkeypatch: Any, name: str, **settings: Any) -> Library:
    """Put a library where `import` finds it, for the length of a test."""
    library = Library(**settings)
    for module, content in library.modules(name).items():
        monkeypatch.setitem(sys.modules, module, content)
    return library


def _module(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(content)
    return module


def _table(*, columns: list[str], data: list[list[Any]]) -> dict[str, Any]:
    return {"columns": columns, "data": data}
