"""Sources of pretraining documents: files of raw text, hub datasets, and planned responses.

A source is streamed from beginning to end, as many times as the mixture needs, and never held in memory.

A planned response is formatted as for a thinking writer without a chat template: the think prompt, then plan and answer in
their tags (in LongWriter-Zero, arXiv 2506.18841, such distilled data is 1% of the tokens). Prompt and response are tokenized
separately, as in generation.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from longform.records.adapting import replace_surrogates
from longform.records.errors import BadInputError
from longform.records.files import read_all, read_rows
from longform.records.optional import require
from longform.records.schemas import Prompt, Response, Row
from longform.records.tables import SUFFIXES, files_of, read_text_file, row_files
from longform.text.structure import is_well_formed
from longform.writers.think import ThinkPrompt

_SUFFIXES = (".jsonl", ".parquet")
"""Suffixes of the files that are read from a folder. Other formats are read only if it has no file with one of these."""


class Source(BaseModel):
    """A source of documents and its share: raw text at a `path`, or planned responses to prompts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    share: float = Field(gt=0, le=1)
    """Fraction of all tokens."""
    path: str | None = None
    """A file in any format that prompts are read from, a folder of such files, or the id of a hub dataset. A `.txt` file is
    one document."""
    field: str = Field(default="text", min_length=1)
    """Field with the text of a row."""
    subset: str | None = None
    """Subset of a hub dataset, if it has several."""
    split: str = "train"
    """Split of a hub dataset."""
    prompts: Path | None = None
    responses: list[Path] = Field(default_factory=list)
    """Responses to `prompts`, generated with `longform generate --think on`."""
    think_prompt: Path | None = None
    """Text file with {request} in it, if the writer used a custom think prompt."""

    @model_validator(mode="after")
    def _check_kind(self) -> "Source":
        planned = self.prompts is not None and bool(self.responses)
        partly = self.prompts is not None or bool(self.responses) or self.think_prompt is not None
        if (self.path is not None) == planned or (self.path is not None and partly):
            raise ValueError("needs either `path`, or `prompts` and `responses`")
        return self


class Document(NamedTuple):
    """A document: a text, or a prompt with its response."""

    text: str
    response: str = ""


class Documents(Protocol):
    """A source that can be read repeatedly."""

    @property
    def files(self) -> Sequence[Path]:
        """The files of the source; empty for a hub dataset."""
        ...

    def read(self, stream: random.Random) -> Iterator[Document]:
        """Read all non-empty documents once; the order of the files is drawn from `stream`."""
        ...


@dataclass(frozen=True, slots=True)
class TextFiles:
    """Text rows of files; a `.txt` file is one text."""

    files: list[Path]
    field: str

    def read(self, stream: random.Random) -> Iterator[Document]:  # noqa: D102
        # Errors name the alias.
        schema: Any = create_model("TextRow", __base__=Row, text=(str, Field(validation_alias=self.field)))
        schema.text_field = self.field
        texts = chain.from_iterable(self._texts(file, schema) for file in stream.sample(self.files, len(self.files)))
        return (Document(text) for text in texts if text.strip())

    def _texts(self, file: Path, schema: Any) -> Iterator[str]:
        if file.suffix.lower() == ".txt":
            return iter([replace_surrogates(read_text_file(file))])
        return (row.text for row in read_rows(file, schema))


@dataclass(frozen=True, slots=True)
class HubTexts:
    """Text rows of a hub dataset, streamed."""

    path: str
    subset: str | None
    split: str
    field: str

    @property
    def files(self) -> list[Path]:  # noqa: D102
        return []

    def check(self) -> None:
        """Read the first row.

        Raises:
            BadInputError: no row has a text.
        """
        if next(self.read(random.Random(0)), None) is None:
            raise BadInputError(f"{self.path}: {self.field}: no row has a text in this field")

    def read(self, stream: random.Random) -> Iterator[Document]:  # noqa: ARG002, D102
        require("datasets", self.path)
        import datasets
        import huggingface_hub

        # Both libraries print to stderr what becomes the one-line error below.
        datasets.logging.set_verbosity_error()
        huggingface_hub.logging.set_verbosity_error()
        try:
            for row in datasets.load_dataset(self.path, self.subset, split=self.split, streaming=True):
                text = row.get(self.field)
                if not isinstance(text, str):
                    known = ", ".join(map(str, row))
                    raise BadInputError(f"{self.path}: {self.field}: no such text field; available: {known}")
                if text.strip():
                    yield Document(text)
        except BadInputError:
            raise
        except Exception as error:  # the hub and a dataset's files raise exceptions of any type
            reason = " ".join(str(error).split())[:200]
            here = "" if Path(self.path).exists() else "; no local file or folder has this name either"
            raise BadInputError(f"{self.path}: cannot be read as a hub dataset: {reason}{here}") from error


@dataclass(frozen=True, slots=True)
class PlannedResponses:
    """Responses with a well-formed plan, each with its think prompt."""

    prompts: Mapping[str, Prompt]
    think_prompt: ThinkPrompt
    files: list[Path]
    """Prompts, then responses, then the think prompt if there is one."""
    responses: list[Path]

    def read(self, stream: random.Random) -> Iterator[Document]:  # noqa: ARG002, D102
        for response in read_all(self.responses, Response):
            if why_left_out(response) is None:
                asked = self.think_prompt.text(self._prompt(response))
                yield Document(asked, f"<think>{response.meta['plan']}</think><answer>{response.text}</answer>")

    def count_left_out(self) -> Counter[str]:
        """Count the skipped responses by cause."""
        causes = [why_left_out(response) for response in read_all(self.responses, Response)]
        return Counter(cause for cause in causes if cause is not None)

    def _prompt(self, response: Response) -> Prompt:
        if response.prompt_id not in self.prompts:
            raise BadInputError(f"sources: responses: prompt_id {response.prompt_id!r} is not an id in {self.files[0]}")
        return self.prompts[response.prompt_id]


def why_left_out(response: Response) -> str | None:
    """Why a response is skipped: it was `cut off`, has `no plan`, or is `malformed`; None if it is used."""
    if response.finish_reason == "length":
        return "cut off"
    if not str(response.meta.get("plan", "")).strip():
        return "no plan"
    return None if is_well_formed(response.meta) and response.text.strip() else "malformed"


def open_source(source: Source) -> Documents:
    """Open a source without reading its dataset or responses.

    Raises:
        BadInputError: a file is missing, a folder has no rows files, or the prompts or the think prompt are invalid.
    """
    if source.path is None:
        assert source.prompts is not None
        prompts = {prompt.id: prompt for prompt in read_rows(source.prompts, Prompt)}
        think_prompt = ThinkPrompt.read("on", source.think_prompt)
        others = [] if source.think_prompt is None else [source.think_prompt]
        files = [source.prompts, *source.responses, *others]
        return PlannedResponses(prompts, think_prompt, files, source.responses)
    path = Path(source.path)
    if path.is_dir():
        return TextFiles(row_files(path, _SUFFIXES) or files_of(path), source.field)
    if (
        path.exists()
        or path.suffix.lower() in SUFFIXES
        or source.path.startswith((".", "/", "~"))
        or len(path.parts) != 2
    ):
        return TextFiles([path], source.field)
    return HubTexts(source.path, source.subset, source.split, source.field)
