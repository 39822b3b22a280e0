"""From the chat log of the miniature world to training prompts, by the functions of `longform pool`, `filter`, `lengths`.

chats.jsonl -> pool.jsonl -> filtered.jsonl -> lengths.jsonl -> training-prompts.jsonl
"""

from pathlib import Path
from typing import NamedTuple

from longform.miniature.chain import TRAINING_PROMPTS
from longform.miniature.world import parse_request
from longform.miniature.world_files import CHATS, write_chats
from longform.records.files import read_rows, write_rows
from longform.records.progress import Stage
from longform.records.schemas import Prompt
from longform.selection.filter import filter_prompts
from longform.selection.lengths import predict_lengths
from longform.selection.pool import PoolSettings, build_pool


class PromptCounts(NamedTuple):
    """Number of prompts after each stage."""

    chats: int
    pooled: int
    filtered: int
    with_length: int


def collect_prompts(folder: Path, *, seed: int, stage: Stage) -> PromptCounts:
    """Run all stages in `folder`, from the world's prompts.jsonl to training-prompts.jsonl."""
    chats = write_chats(folder, seed=seed)
    pooled = pool_chats(folder, stage=stage)
    filtered = filter_pool(folder, stage=stage)
    return PromptCounts(chats, pooled, filtered, add_lengths(folder, stage=stage))


def pool_chats(folder: Path, *, stage: Stage) -> int:
    """Collect the English prompts of chats.jsonl in pool.jsonl; return their number."""
    pool = build_pool(
        [str(folder / CHATS)],
        PoolSettings(languages=frozenset({"en"})),
        out=folder / "pool.jsonl",
        dropped=folder / "pool-dropped.jsonl",
        progress=stage,
    )
    return len(pool.kept)


def filter_pool(folder: Path, *, stage: Stage) -> int:
    """Have the judge keep the prompts of pool.jsonl that need long writing, in filtered.jsonl; return their number."""
    models = folder / "models.yaml"
    return filter_prompts(
        folder / "pool.jsonl", judge="judge", out=folder / "filtered.jsonl", models=models, progress=stage
    ).kept


def add_lengths(folder: Path, *, stage: Stage) -> int:
    """Predict the length ranges of filtered.jsonl in lengths.jsonl, and write the narrower ones that the requests state to
    training-prompts.jsonl; return the number of prompts.

    Predicted bounds are multiples of 100 words, and the stories of this world have 30 to 100, so a predicted range would
    reward every length.
    """
    predicted, models = folder / "lengths.jsonl", folder / "models.yaml"
    predict_lengths(folder / "filtered.jsonl", judge="judge", out=predicted, models=models, progress=stage)
    rows = read_rows(predicted, Prompt)
    return write_rows(folder / TRAINING_PROMPTS, [it.model_copy(update={"length_range": _narrowed(it)}) for it in rows])


def _narrowed(prompt: Prompt) -> tuple[int, int]:
    """Return the intersection of the predicted and the stated range."""
    stated = parse_request(prompt.request).length_range
    low, high = prompt.length_range or stated
    return max(low, stated[0]), min(high, stated[1])
