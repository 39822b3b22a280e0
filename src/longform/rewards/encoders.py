"""Sentence embeddings for the format reward, from a sentence-transformers model (`longform[semantic]`, loaded on use).

One encoder serves all rollouts of a step from several threads. Tokenizers do not allow that, so calls wait for one another.
"""

import re
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from longform.records.errors import BadInputError
from longform.records.optional import require

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_FIELD = "rewards.format.embeddings"
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


class TransformerEncoder:
    """A sentence-transformers model as a `SentenceEncoder`."""

    def __init__(self, model: "SentenceTransformer") -> None:
        self._model = model
        self._lock = Lock()

    def encode(self, sentences: list[str]) -> NDArray[np.floating]:
        """[sentences, dimensions]."""
        with self._lock:
            return self._model.encode(sentences, show_progress_bar=False, convert_to_numpy=True)


def check_encoder(name: str) -> None:
    """Check what can be told of the encoder that a recipe names without loading it.

    Raises:
        BadInputError: sentence-transformers is not installed, or there is no such folder.
    """
    require("sentence_transformers", _FIELD, otherwise=", or set redundancy_measure: minhash")
    if not Path(name).is_dir() and not _HUB_ID.fullmatch(name):
        raise BadInputError(f"{_FIELD}: there is no folder {name}")


def load_encoder(name: str) -> TransformerEncoder:
    """The encoder that a recipe names.

    Args:
        name: folder or hub id.

    Raises:
        BadInputError: sentence-transformers is not installed, or there is no such model.
    """
    check_encoder(name)
    from sentence_transformers import SentenceTransformer

    try:
        return TransformerEncoder(SentenceTransformer(name))
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise BadInputError(f"{_FIELD}: cannot load {name}: {reason}") from error
