"""Supervised fine-tuning from a recipe, on ladders or on responses to prompts.

Of each ladder, only the best reference is used for training.
"""

from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator
from transformers import AutoTokenizer

from longform.recipe.loading import dump_recipe
from longform.records.adapting import Reading
from longform.records.errors import BadInputError
from longform.records.files import read_all, read_rows
from longform.records.folders import write_folder
from longform.records.interchange import read_ladders
from longform.records.schemas import Prompt, PromptRow, Response
from longform.training.optimizer import LossCallback
from longform.training.sft import SftReport, SftSettings, train_sft
from longform.writers.loading import load_model
from longform.writers.paths import check_model_path


class SftData(BaseModel):
    """Training data: `ladders`, or `prompts` with `responses`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ladders: Path | None = None
    """A ladders file; the best reference of each ladder is used."""
    prompts: Path | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    """Columns of `prompts` and `responses` that are called otherwise, such as {prompt: question, text: answer}."""
    responses: list[Path] = Field(default_factory=list)
    """Responses files; responses to prompts that are not in `prompts` are an error."""
    model: str | None = None
    """Use only the responses of this model."""

    @model_validator(mode="after")
    def _check_source(self) -> "SftData":
        from_ladders, from_responses = self.ladders is not None, self.prompts is not None and bool(self.responses)
        partly = self.prompts is not None or self.responses or self.model is not None
        if from_ladders == from_responses or (from_ladders and partly):
            raise ValueError("needs either `ladders`, or `prompts` and `responses`")
        return self


class SftRecipe(BaseModel):
    """Recipe of supervised fine-tuning."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: str
    """Folder or hub id of the writer to start from; its tokenizer needs a chat template."""
    data: SftData
    out: Path
    """Folder of the tuned writer, in Hugging Face format; must not exist."""
    settings: SftSettings = SftSettings()


class SftResult(NamedTuple):
    """A finished fine-tuning."""

    path: Path
    rows: int
    report: SftReport


def read_lessons(recipe: SftRecipe) -> list[dict[str, Any]]:
    """Read the training conversations, and check everything that the recipe names before a model is loaded.

    Raises:
        BadInputError: a file is missing or invalid, there are no training texts, there is no model at `policy`, or `out`
            exists.
    """
    check_model_path(recipe.policy)
    if recipe.out.exists():
        raise BadInputError(f"out: {recipe.out} exists; choose another folder")
    data = recipe.data
    if data.ladders is not None:
        pairs = [(ladder, ladder.references[-1].text) for ladder in read_ladders(data.ladders)]
    else:
        pairs = _answered_prompts(data)
    lessons = [_lesson(prompt, text) for prompt, text in pairs if text.strip()]
    if not lessons:
        of_model = f" of model {data.model!r}" if data.model else ""
        raise BadInputError(f"data: no training texts{of_model}")
    _check_chat_template(recipe.policy)
    return lessons


def run_sft(recipe: SftRecipe, *, on_progress: LossCallback) -> SftResult:
    """Fine-tune a writer. `out` is created atomically at the end, with the resolved recipe in `sft.yaml`.

    Raises:
        BadInputError: something the recipe names cannot be used.
        StoppedError: the disk is full.
    """
    lessons = read_lessons(recipe)
    tokenizer, model = load_model(recipe.policy, device="cpu")  # the trainer moves it to the device
    reports = []

    def write(folder: Path) -> None:
        reports.append(train_sft(model, tokenizer, lessons, recipe.settings, out=folder, on_progress=on_progress))
        (folder / "sft.yaml").write_text(dump_recipe(recipe), encoding="utf-8")

    write_folder(recipe.out, write)
    return SftResult(recipe.out, len(lessons), reports[0])


def _check_chat_template(policy: str) -> None:
    try:
        tokenizer = AutoTokenizer.from_pretrained(policy)
    except (OSError, ValueError) as error:
        raise BadInputError(f"{policy}: its tokenizer cannot be loaded: {str(error).splitlines()[0]}") from error
    if not tokenizer.chat_template:
        raise BadInputError(f"{policy}: its tokenizer has no chat template, which conversations need")


def _answered_prompts(data: SftData) -> list[tuple[PromptRow, str]]:
    assert data.prompts is not None
    prompts = {prompt.id: prompt for prompt in read_rows(data.prompts, Prompt, Reading.of_recipe(data.columns))}
    pairs: list[tuple[PromptRow, str]] = []
    for response in read_all(data.responses, Response, Reading.of_recipe(data.columns)):
        if data.model is not None and response.model != data.model:
            continue
        if response.prompt_id not in prompts:
            raise BadInputError(f"data.responses: prompt_id {response.prompt_id!r} is not an id in {data.prompts}")
        pairs.append((prompts[response.prompt_id], response.text))
    return pairs


def _lesson(prompt: PromptRow, text: str) -> dict[str, Any]:
    return {"prompt": prompt.messages, "completion": [{"role": "assistant", "content": text}]}
