"""Sentence embeddings of the demonstration's examiner, from a sentence-transformers model (`longform[semantic]`)."""

from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from longform.records.errors import BadInputError
from longform.records.optional import require

_FLAG = "--embeddings"


class SentenceEncoder(Protocol):
    """A model of sentence embeddings."""

    def encode(self, sentences: list[str]) -> NDArray[np.floating]:
        """Return embeddings, [sentences, dimensions]; they need not be normalized but must not be zero."""
        ...


def load_encoder(name: str) -> SentenceEncoder:
    """Load a sentence-transformers model.

    Args:
        name: Folder or hub id.

    Raises:
        BadInputError: sentence-transformers is not installed, or there is no such model.
    """
    require("sentence_transformers", _FLAG)
    package: Any = import_module("sentence_transformers")  # of an extra that the checks do without
    try:
        model: SentenceEncoder = package.SentenceTransformer(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise BadInputError(f"{_FLAG}: cannot load {name}: {reason}") from error
    return model
