"""The demonstration's prompts: 200 requests of five lengths, with requirements that a rule can check.

`meta` of a prompt has its `split` (training or held-out), its `kind` and its `requirements`, each with a `rule` and what the
rule needs. Everything is stated in the words of the prompt too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Literal

from longform.records.files import read_rows
from longform.records.schemas import Prompt, PromptRow

DemoSplit = Literal["training", "held-out"]
RequirementRule = Literal[
    "words", "names", "letter", "paragraphs", "question", "first_person", "second_person", "dialogue", "start"
]
"""What a text must do.

- words, names: use the given ones.
- letter: have a greeting and a sign-off.
- paragraphs: have exactly `count` paragraphs.
- question: end with a question.
- first_person, second_person: speak as "I", or to the reader as "you".
- dialogue: have speech in quotation marks.
- start: begin with the given words.
"""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement of a prompt."""

    rule: RequirementRule
    words: Sequence[str] = ()
    """The given words of the rules words, names and start."""
    count: int = 0
    """Number of paragraphs of the rule paragraphs."""


def load_prompts(split: DemoSplit) -> list[Prompt]:
    """The prompts of a split, shortest lengths first: 140 for training, 60 held out."""
    with as_file(files("longform.demo") / "prompts.jsonl") as source:
        return [row for row in read_rows(source, Prompt) if row.meta["split"] == split]


def requirements_of(prompt: PromptRow) -> list[Requirement]:
    """The requirements in a prompt's `meta`."""
    return [Requirement(**it) for it in prompt.meta["requirements"]]


def length_range_of(prompt: PromptRow) -> tuple[int, int]:
    """Minimum and maximum number of words that a prompt asks for."""
    assert prompt.length_range is not None, "every prompt of the demonstration has one"
    return prompt.length_range


def has_word(units: Sequence[str], word: str) -> bool:
    """Whether a word, or a plain inflection of it, is among the lower-case words of a text."""
    lower = word.lower()
    return not {lower, *(lower + ending for ending in ("s", "es", "d", "ed", "ing"))}.isdisjoint(units)
