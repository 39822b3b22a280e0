"""Lists of phrases that models overuse, by language: `longform slop mine` writes them, the format reward penalizes them."""

from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longform.records.errors import BadInputError
from longform.records.files import describe_first_error, write_text
from longform.text.languages import guess_language
from longform.text.repetition import units
from longform.text.slop_mining import Phrase, listed_share, listed_units

OTHER = "other"
"""Name of the list for texts whose language is not recognised."""


class ListedPhrase(BaseModel):
    """One phrase of a list."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    phrase: str = Field(min_length=1)
    model: float | None = None
    """Occurrences per million words of the model."""
    human: float | None = None
    """Occurrences per million words of people."""
    keyness: float | None = None
    """Log-likelihood ratio."""


class SlopList(BaseModel):
    """The list of one language."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    allowed: float = Field(default=0.0, ge=0, lt=1)
    """Share of a text's words that may be in listed phrases without a penalty: the 90th percentile of human texts."""
    phrases: list[ListedPhrase] = Field(min_length=1)
    human_share: float | None = None
    """Mean share of words in listed phrases, in the human texts that the list was mined from."""
    model_share: float | None = None
    """The same for the model's texts."""

    @cached_property
    def grams(self) -> frozenset[Phrase]:
        """The phrases in words, or in characters of Chinese."""
        return frozenset(tuple(units(it.phrase)) for it in self.phrases)

    def share(self, text: str) -> float:
        """The share of a text's words that are part of a listed phrase."""
        return listed_share(text, self.grams, self._orders)

    def listed(self, text: str) -> list[bool]:
        """Which words of a text are part of a listed phrase."""
        return listed_units(units(text), self.grams, self._orders)

    def excess(self, text: str) -> float:
        """The share of a text in listed phrases beyond the allowed one, rescaled to 0 to 1."""
        return max(0.0, self.share(text) - self.allowed) / (1 - self.allowed)

    @property
    def _orders(self) -> list[int]:
        return sorted({len(it) for it in self.grams})


class SlopLists(BaseModel):
    """The lists of a file."""

    model_config = ConfigDict(frozen=True, extra="allow")

    languages: dict[str, SlopList] = Field(min_length=1)

    @classmethod
    def read(cls, path: Path) -> "SlopLists":
        """Read a file of `longform slop mine`.

        Raises:
            BadInputError: it cannot be read, or is not such a file.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise BadInputError(f"{path}: the list of phrases cannot be read: {error.strerror}") from error
        except ValidationError as error:
            raise BadInputError(f"{path}: not a list of `longform slop mine`: {describe_first_error(error)}") from error

    def write(self, path: Path) -> None:
        """Write the file."""
        write_text(path, self.model_dump_json(indent=1, exclude_none=True) + "\n")

    def excess(self, text: str) -> float:
        """The share of a text in listed phrases beyond the allowed share of its language, rescaled to 0 to 1.

        Without a list for the text's language, the list with the largest excess counts, because a text that consists only of
        listed phrases may not be recognised as any language.
        """
        return self.list_for(text).excess(text)

    def list_for(self, text: str) -> SlopList:
        """The list that counts for a text; see `excess`."""
        own = self.languages.get(language_of_text(text))
        return own or max(self.languages.values(), key=lambda it: it.excess(text))


def language_of_text(text: str) -> str:
    """The name of a text's language in a file of lists."""
    return guess_language(text) or OTHER
