"""What is published: an exact list of files, from which everything private has been taken out.

Never published: models.yaml, addresses, headers, keys, folders of this machine. Prompts, judges' answers and files of rows
are published only if texts are asked for.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from longform.evaluation.tables import stored_table
from longform.publishing.card import Benchmarked, CardFacts, model_card, rows_card, win_rates
from longform.recipe.begin import MADE_WITH
from longform.recipe.loading import load_stored_recipe
from longform.recipe.public import public_recipe
from longform.recipe.recipe import Recipe
from longform.records.errors import BadInputError
from longform.records.files import read_rows
from longform.records.recorded_calls import models_of
from longform.records.row_kinds import RowKind, kind_of_row
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Game, Ladder, Pair, Preference, Row
from longform.records.tables import raw_rows, read_fields
from longform.report.page import before_after
from longform.report.verdict import judge_run

POLICY_FILES = (
    *("*.safetensors", "*.safetensors.index.json", "*.jinja", "*.model", "merges.txt", "vocab.txt", "*.tiktoken"),
    *("config.json", "*_config.json", "tokenizer.json", "chat_template.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json"),
)
"""Files of a policy's folder in Hugging Face format; all others stay, such as the state of a trainer."""
ADAPTER = "adapter_config.json"
_BASE_OF_ADAPTER = "base_model_name_or_path"
_PLACE = re.compile(r"(^|_)(path|file|dir|folder)s?$")
"""Names of settings that hold a file or folder, such as the one that a model was loaded from."""
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_PUBLISHED_ROWS: Mapping[RowKind, type[Row]] = {
    "ladders": Ladder,
    "preferences": Preference,
    "games": Game,
    "pairs": Pair,
}


class ReleasedFile(NamedTuple):
    """One file of a repository: a file of this machine, or content that was made for it."""

    name: str
    """In the repository."""
    source: Path | None
    content: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return self.source.stat().st_size if self.source else len(self.content or b"")


class Release(NamedTuple):
    """Everything that is published."""

    kind: Literal["model", "dataset"]
    files: list[ReleasedFile]
    card: str
    left_out: list[str]
    """Files of the policy's folder that are not published."""


def plan_policy(
    source: Path,
    *,
    base: str | None = None,
    benchmarks: Sequence[Path] = (),
    games: Sequence[Path] = (),
    with_texts: bool = False,
) -> Release:
    """List what is published of a run's newest policy, or of a policy's folder.

    Args:
        source: Run directory, or folder of a policy in Hugging Face format; within a run, the run's facts go into the card.
        base: Hub id of the model that it was trained from; without it, the recipe's policy if that is one.
        benchmarks: Folders of `longform bench run`, whose tables go into the card.
        games: Games files of `longform compare`, whose win rates go into the card.
        with_texts: Also publish prompts, with the texts before and after.

    Raises:
        BadInputError: there is no policy, a result cannot be read, or `base` is no id of the hub.
    """
    if base is not None and not _HUB_ID.fullmatch(base):
        raise BadInputError(f"--base {base}: must be an id of the hub, such as Qwen/Qwen2.5-7B-Instruct")
    run, folder = _find_policy(source)
    facts = CardFacts(
        base=base,
        benchmarks=[it for path in benchmarks for it in _tables(path)],
        win_rates=win_rates([it for path in games for it in read_rows(path, Game)]),
    )
    files: list[ReleasedFile] = []
    if run is not None:
        with RunDirectory.read(run) as opened:
            recipe = load_stored_recipe(opened.recipe_path, Recipe)
            pairs = before_after(opened, thinking=recipe.generation.think)
            facts = facts._replace(
                base=facts.base or (recipe.policy if _is_hub_id(recipe.policy) else None),
                judge_models=models_of(opened.database_path),
                recipe=recipe,
                version=opened.database.fact(MADE_WITH) or "",
                data_hash=opened.database.fact("prompts") or "",
                verdict=judge_run(opened),
                pairs=pairs[:2],
                with_prompts=with_texts,
                run=opened.path.name,
            )
            files.append(ReleasedFile("recipe.yaml", None, public_recipe(opened.recipe_path).encode()))
            if with_texts and pairs:
                rows = [{"prompt": it.prompt, "before": it.before.text, "after": it.after.text} for it in pairs]
                lines = "".join(json.dumps(it, ensure_ascii=False) + "\n" for it in rows)
                files.append(ReleasedFile("texts.jsonl", None, lines.encode()))
    present = sorted(it for it in folder.iterdir() if it.is_file())
    wanted = [it for it in present if any(it.match(pattern) for pattern in POLICY_FILES)]
    files = [*(_released(it, facts.base) for it in wanted), *files]
    card = model_card(facts._replace(is_adapter=any(it.name == ADAPTER for it in wanted)))
    left_out = [it.name for it in present if it not in wanted]
    return Release("model", [ReleasedFile("README.md", None, card.encode()), *files], card, left_out)


def plan_rows(path: Path, *, with_texts: bool = False) -> Release:
    """List what is published of a file of ladders, preferences, games or pairs, as a dataset.

    Raises:
        BadInputError: the file is none of these, a row is invalid, or texts were not asked for.
    """
    first = next(raw_rows(path), None)
    kind = kind_of_row(read_fields(first) or ()) if first else None
    if kind is None or kind not in _PUBLISHED_ROWS:
        *others, last = _PUBLISHED_ROWS
        raise BadInputError(f"{path}: holds neither {', '.join(others)} nor {last}")
    if kind != "games" and not with_texts:
        raise BadInputError(f"{path}: {kind} consist of texts; publish them with --with-texts")
    count = sum(1 for _ in read_rows(path, _PUBLISHED_ROWS[kind]))
    suffix = ".parquet" if path.suffix == ".parquet" else ".jsonl"
    card = rows_card(kind, count, suffix=suffix)
    files = [ReleasedFile("README.md", None, card.encode()), ReleasedFile(f"data/train{suffix}", path)]
    return Release("dataset", files, card, [])


def _is_hub_id(value: str) -> bool:
    return bool(_HUB_ID.fullmatch(value)) and not Path(value).exists()


def _find_policy(source: Path) -> tuple[Path | None, Path]:
    """The run, if there is one, and the folder of the policy."""
    if (source / "run.sqlite").exists():
        with RunDirectory.read(source) as run:
            steps = run.checkpoint_steps()
            if not steps:
                raise BadInputError(f"{source}: has no checkpoint yet, so there is no policy to publish")
            return source, run.checkpoint_path(steps[-1]) / "policy"
    if (source / "config.json").exists() or (source / "adapter_config.json").exists():
        run = next((it for it in source.resolve().parents if (it / "run.sqlite").exists()), None)
        return run, source
    raise BadInputError(f"{source}: neither a run directory nor a policy (it has no config.json)")


def _released(path: Path, base: str | None) -> ReleasedFile:
    """A file of the policy; a configuration that names folders of this machine is published without them.

    Raises:
        BadInputError: a configuration is not JSON, or an adapter's base is a folder of this machine.
    """
    if not path.match("*config.json"):
        return ReleasedFile(path.name, path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInputError(f"{path}: not JSON: {error}") from error
    trained_on = content.get(_BASE_OF_ADAPTER) if path.name == ADAPTER and isinstance(content, dict) else None
    if trained_on and base is None and not _is_hub_id(str(trained_on)):
        raise BadInputError(
            f"{path}: the adapter was trained on a folder of this machine; name the hub id of its base with --base"
        )
    public = _without_folders(content, base)
    if public == content:
        return ReleasedFile(path.name, path)
    return ReleasedFile(path.name, None, (json.dumps(public, ensure_ascii=False, indent=2) + "\n").encode())


def _without_folders(value: Any, base: str | None) -> Any:
    """A configuration in which a place is an id of the hub, the base, or the name of a file or folder."""
    if isinstance(value, list):
        return [_without_folders(it, base) for it in value]
    if not isinstance(value, dict):
        return value
    public = {key: _without_folders(it, base) for key, it in value.items()}
    for key, it in public.items():
        if isinstance(it, str) and it and _PLACE.search(key) and not _is_hub_id(it):
            public[key] = (base if key.endswith("name_or_path") else None) or Path(it).name
    return public


def _tables(folder: Path) -> list[Benchmarked]:
    """The tables of a benchmark's result, without the address of its judge."""
    path = folder / "result.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        judge = result.get("judge") or {}
        about = f"{result['benchmark']}" + (f", judged by {judge['model']}" if judge else "")
        return [Benchmarked(about, stored_table(it)) for it in result["tables"]]
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror}; name the --out folder of bench run") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError(f"{path}: not a result of bench run: {error!r}") from error
