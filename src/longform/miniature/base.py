"""The base model of the miniature world: pretrained on raw text, without chat template or SFT (as LongWriter-Zero starts).

It uses the policy's tokenizer plus one token for each of the four tags. These are ordinary tokens, so decoding keeps them.
"""

import random
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

from transformers import AddedToken, PreTrainedTokenizerFast

from longform.miniature.corpus import DIRECT_PROMPT, LIST_TITLE, SKETCH_PROMPT, TAGS, THINK_PROMPT, documents
from longform.miniature.policy import build_model, build_tokenizer
from longform.miniature.world import WIDE_RANGES
from longform.training.supervised.sft import train_sft
from longform.training.supervised.sft_recipe import SftSettings
from longform.training.supervised.stage import StageReport

PRETRAIN_SETTINGS = SftSettings(
    steps=400, batch_size=16, max_tokens=256, optimizer="muon", lr=8e-3, muon_lr=0.03, warmup_steps=10, decay=0.4
)
"""Pretraining settings of the base model: one epoch, about 90 s on one thread."""

_WINDOW = 8
_WORDS = (THINK_PROMPT, DIRECT_PROMPT, SKETCH_PROMPT, LIST_TITLE, *map(str, (*range(0, 130, 10), *chain(*WIDE_RANGES))))


def build_base_tokenizer(*, more: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """Build the policy's tokenizer without its chat template and with one token per tag of a planned answer.

    Args:
        more: Further texts whose words get one token each.
    """
    tokenizer = build_tokenizer(more=(*_WORDS, *more) * 2)
    tokenizer.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in TAGS])
    tokenizer.chat_template = None
    return tokenizer


def pretrain(
    settings: SftSettings,
    *,
    out: Path,
    more: Sequence[str] = (),
    on_progress: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> StageReport:
    """Train a base model from scratch on the documents of `settings.seed` and save it in the folder `out`.

    Args:
        settings: Optimizer, number of documents and seed.
        out: Model folder to write.
        more: Texts of later stages, whose words get one token each.
        on_progress: Called with step, number of steps and loss.
    """
    tokenizer = build_base_tokenizer(more=more)
    model = build_model(tokenizer, seed=settings.seed)
    texts = documents(seed=settings.seed, count=settings.steps * settings.batch_size)
    rows = [{"text": text} for text in _alike_in_length(texts, settings)]
    return train_sft(model, tokenizer, rows, settings, out=out, on_progress=on_progress)


def _alike_in_length(texts: Sequence[str], settings: SftSettings) -> list[str]:
    """Order the texts so that each batch holds texts of similar length; less padding saves a third of the time.

    Sorting works on windows of `_WINDOW` batches, and batches are shuffled, so that no part of the training sees only long
    or only short texts.
    """
    size, stream = settings.batch_size, random.Random(f"batches/{settings.seed}")
    ordered: list[str] = []
    for start in range(0, len(texts), _WINDOW * size):
        window = sorted(texts[start : start + _WINDOW * size], key=len)
        batches = [window[first : first + size] for first in range(0, len(window), size)]
        stream.shuffle(batches)
        ordered += [text for batch in batches for text in batch]
    return ordered
