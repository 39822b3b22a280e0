"""The base model of the world with trails: its documents and think prompts as files, and its examination before any RL.

A base that has read documents with worked plans and as many direct answers is asked for the end of trails both ways. The
world is one in which thinking can matter only if the plan is needed: direct answers must be far below planned ones at
planning need 2, and equal at 0.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from longform.miniature.base import build_base_tokenizer
from longform.miniature.corpus import DIRECT_PROMPT, THINK_PROMPT
from longform.miniature.policy import build_model
from longform.miniature.trail_corpus import documents_with_trails, prompts_with_trails
from longform.miniature.trails import DIRECTIONS, NOWHERE, PLACES, STEPS, opening, split_opening, trail_text
from longform.miniature.world import parse_request
from longform.records.files import write_rows, write_text
from longform.records.schemas import Prompt, Response, TrainingRow
from longform.text.structure import Thinking

EXAMINED_SEED = 900_000
"""Seed of the requests that a model is examined on."""
_WORDS = (" ".join((*PLACES, *DIRECTIONS, NOWHERE)), f"From the mill. {trail_text(())}", opening("mill"))
_WINDOW = 128
"""Documents that are put in order of their length together, which saves padding."""
Write = Callable[[Sequence[Prompt], Thinking], Sequence[Response]]
"""Writes the beginning of a response to each prompt, with a plan (`on`) or without (`direct`)."""


class EndsNamed(NamedTuple):
    """How many stories of a model begin with the end of their trail."""

    planned: dict[int, float]
    """Fraction by planning need, with a plan."""
    direct: dict[int, float]
    """Fraction by planning need, without one."""
    prompts: int
    """Requests of each planning need."""


def write_trail_documents(folder: Path, *, seed: int, count: int) -> None:
    """Write the base's documents, its think prompts, and the untrained model in untrained/."""
    texts = _alike_in_length(documents_with_trails(seed=seed, count=count), seed=seed)
    write_rows(folder / "documents.jsonl", [TrainingRow.model_validate({"text": it}) for it in texts])
    write_text(folder / "think.txt", f"{THINK_PROMPT}\n")
    write_text(folder / "direct.txt", f"{DIRECT_PROMPT}\n")
    tokenizer = build_base_tokenizer(more=_WORDS)
    build_model(tokenizer, seed=seed).save_pretrained(folder / "untrained")
    tokenizer.save_pretrained(folder / "untrained")


def examine_ends(write: Write, *, prompts: int = 100) -> EndsNamed:
    """Ask a model for stories with trails, with a plan and without; a response without tags names nothing.

    Args:
        write: The model.
        prompts: Requests of each planning need.
    """
    rows = prompts_with_trails(seed=EXAMINED_SEED, split="held-out", count=prompts * len(STEPS))
    ends = [parse_request(row.request).way[-1] for row in rows]

    def named(thinking: Thinking) -> dict[int, float]:
        written = write(rows, thinking)
        right = [split_opening(it.text)[0] == end for it, end in zip(written, ends, strict=True)]
        return {need: sum(right[need :: len(STEPS)]) / prompts for need in range(len(STEPS))}

    return EndsNamed(named("on"), named("direct"), prompts)


def _alike_in_length(texts: Sequence[str], *, seed: int, batch: int = 16) -> list[str]:
    """Order texts so that a batch holds texts of similar length; batches are shuffled within a window."""
    stream, ordered = random.Random(f"trail-batches/{seed}"), list[str]()
    for start in range(0, len(texts), _WINDOW):
        window = sorted(texts[start : start + _WINDOW], key=len)
        batches = [window[first : first + batch] for first in range(0, len(window), batch)]
        stream.shuffle(batches)
        ordered += [text for it in batches for text in it]
    return ordered
