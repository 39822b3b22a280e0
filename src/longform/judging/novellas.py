"""Stories of several chapters: the turns of their writer, and the questions to a judge about a chapter and the whole.

The turns follow longform-writing-bench (ideas, outline, critique, plan, characters, then the chapters), in our own wording.
"""

from collections.abc import Mapping

from longform.judging.answers import fence
from longform.judging.rubrics import CHAPTER, NOVELLA, rubric_slots
from longform.wording import Wording, load_wording

NUM_CHAPTERS = 8
CHAPTER_WORDS = 1000
PLANNING = ("brainstorm", "outline", "critique", "plan", "characters")
"""The turns before the first chapter."""
CHAPTERS = tuple(f"chapter-{number}" for number in range(1, NUM_CHAPTERS + 1))
TURNS = (*PLANNING, *CHAPTERS)


def ask_turn(turn: str, *, request: str, wording: Wording | None = None) -> str:
    """The writer's message for one of `TURNS`; that of the first turn contains the request."""
    number = CHAPTERS.index(turn) + 1 if turn in CHAPTERS else None
    name = {None: turn, 1: "first", NUM_CHAPTERS: "last"}.get(number, "next")
    text = (wording or load_wording()).text(f"novella.turns.{name}")
    return text.format(request=request, chapters=NUM_CHAPTERS, words=CHAPTER_WORDS, number=number)


def ask_chapter(
    *,
    request: str,
    plan: str,
    characters: str,
    chapter: str,
    number: int,
    tag: str,
    wording: Wording | None = None,
) -> str:
    """The message that asks for the scores of a chapter by all criteria of `CHAPTER`."""
    wording = wording or load_wording()
    return wording.text("novella.chapter").format(
        request=fence("REQUEST", request, tag=tag),
        plan=fence("PLAN", plan, tag=tag),
        characters=fence("CHARACTERS", characters, tag=tag),
        chapter=fence("CHAPTER", chapter, tag=tag),
        number=number,
        **rubric_slots(CHAPTER, wording),
    )


def ask_novella(*, request: str, story: str, tag: str, wording: Wording | None = None) -> str:
    """The message that asks for the scores of a whole story by all criteria of `NOVELLA`."""
    wording = wording or load_wording()
    return wording.text("novella.whole").format(
        request=fence("REQUEST", request, tag=tag),
        story=fence("STORY", story, tag=tag),
        **rubric_slots(NOVELLA, wording),
    )


def join_chapters(chapters: Mapping[int, str]) -> str:
    """The chapters by number as one text, each under its heading."""
    return "\n\n".join(f"# Chapter {number}\n\n{text.strip()}" for number, text in sorted(chapters.items()))
