"""EQ-Bench longform writing: stories of eight chapters, planned in five turns, scored chapter by chapter and as a whole.

A writer has one conversation for each request, of 13 turns; responses refer to ITEM#TURN, such as 1#plan and 1#chapter-3. A
story's score is the mean over its chapters and the whole, each of which counts once; a model's is the mean over stories.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any, NamedTuple

from longform.evaluation.benchmarks.benchmark import About, Answers, Benchmark, JudgePrompt, JudgeQuestion, Material
from longform.evaluation.benchmarks.card import BenchmarkCard, JudgeSettings, SamplingSettings
from longform.evaluation.benchmarks.grouping import ScoredItem, TableMeasure, tabulate
from longform.evaluation.benchmarks.sets import made_id
from longform.evaluation.benchmarks.stock import stock_table
from longform.evaluation.tables import Table
from longform.judging.novellas import (
    CHAPTERS,
    TURNS,
    ask_chapter,
    ask_novella,
    ask_turn,
    join_chapters,
)
from longform.judging.rubrics import (
    CHAPTER,
    NOVELLA,
    Rubric,
    describe_rubric,
    parse_rubric,
    parse_tuned_rubric,
    rubric_shape,
)
from longform.records.schemas import Message, Prompt, PromptRow
from longform.text.words import count_words_of_any_script

WHOLE = "whole"
"""Name of the story as a whole, beside those of its chapters."""
_FILE = (
    "https://raw.githubusercontent.com/EQ-bench/longform-writing-bench/main/data/"
    "longform_creative_writing_prompts_minimalist.json"
)


class NovellaRequest(PromptRow):
    """A request for a story of several chapters."""

    category: str
    title: str


@dataclass(frozen=True, slots=True)
class Novella:
    """What a model wrote for a request, turn by turn."""

    item: str
    model: str
    sample: int
    texts: Mapping[str, str]
    """By turn."""

    def text(self, turn: str) -> str | None:
        """Text of a turn: empty at and after the first empty turn, which ends the story; None if it is missing."""
        for earlier in TURNS:
            written = self.texts.get(earlier)
            if written is None:
                return None
            if earlier == turn or not written.strip():
                return written.strip()
        raise ValueError(turn)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing: the last chapter is written, or an empty turn has ended the story."""
        return self.text(CHAPTERS[-1]) is not None

    @property
    def chapters(self) -> dict[int, str]:
        """The chapters that have a text, by number."""
        return {number: text for number, turn in enumerate(CHAPTERS, 1) if (text := self.text(turn))}

    def about(self, piece: str) -> About:
        """Key of the answer about a chapter or the whole."""
        return self.item, self.model, str(self.sample), piece


class NovellaScores(NamedTuple):
    """From 0 to 100; None where nothing was scored."""

    chapters: float | None
    """Mean of the chapters."""
    final: float | None
    """Of the story as a whole."""
    overall: float | None
    """Mean of all pieces: each chapter counts as much as the whole does."""


def novella_scores(chapters: Sequence[Mapping[str, float]], final: Sequence[Mapping[str, float]]) -> NovellaScores:
    """A story's scores from those of the judge, 0 to 20 by criterion.

    Args:
        chapters: Of each chapter; a chapter without scores is left out.
        final: Of the story as a whole, once for each judgement.
    """
    of_chapters = [CHAPTER.piece_score(scores) for scores in chapters if scores]
    of_whole = [NOVELLA.piece_score(scores) for scores in final if scores]
    return NovellaScores(*(fmean(side) if side else None for side in (of_chapters, of_whole, of_chapters + of_whole)))


class LongformWriting(Benchmark[NovellaRequest]):
    """Scores of stories: overall, of chapters by number, of the whole, and stock phrases."""

    card = BenchmarkCard(
        name="longform-writing",
        measures="Stories of eight chapters after planning, scored by chapter and as a whole (EQ-Bench longform writing).",
        home="https://github.com/EQ-bench/longform-writing-bench",
        licence="MIT",
        files={"longform_creative_writing_prompts_minimalist.json": _FILE},
        fields=frozenset({"writing_prompt", "category", "title"}),
        writing=SamplingSettings(max_tokens=4000, temperature=0.7),
        judging=JudgeSettings(
            max_tokens=16_000, temperature=0.0, retries=2, optional_slots=("criteria", "plan", "characters")
        ),
        deviations=(
            "The writer's 13 turns (five of planning, eight chapters) and both judge prompts are longform's own wording of "
            "the published steps; texts stand between fences, and the judge's answers end in JSON.",
            "The leaderboard's judge is Claude Sonnet 4, later Sonnet 4.6; scores of another judge are not comparable with "
            "published ones.",
            "All criteria weigh the same and the metaphor score is 20 (s/20)^1.7: this gives the published scores, which "
            "the weights in the published code do not.",
            "Only scores named after a criterion count; an answer with a score outside 0 to 20, or with fewer than half of "
            "the criteria, is malformed and retried. Upstream clips scores and accepts every 'text: number'.",
            "An empty turn ends the story: its chapters from there on score 0 without a judge call. Upstream writes a turn "
            "below 500 characters again, up to five times, and then leaves the story out.",
            "A story in which a turn failed is not scored until it is written; a chapter without scores is left out of its "
            "mean, as published.",
            "One iteration, as on the leaderboard. Responses are sampled without min_p (upstream: 0.1).",
            "A judge with a custom template is asked about chapters and whole with the same template.",
            "Slop and pet words use longform's own lists, so values can be compared between models but not with published "
            "ones.",
        ),
    )
    schema = NovellaRequest
    turns = len(TURNS)

    def layout(self, row: dict[str, Any], number: int) -> dict[str, Any]:
        """Return the fields of a request; its id is `prompt_id`, its name in the published object, or a hash."""
        if not isinstance(row["writing_prompt"], str):
            raise TypeError("writing_prompt: not a text")
        own = row.get("prompt_id", row.get("id"))
        named = {"id": str(own)} if own is not None else made_id("", [row["writing_prompt"]], str(number + 1))
        return named | {"prompt": row["writing_prompt"], "category": row["category"], "title": row["title"]}

    def prompts(self, items: Sequence[NovellaRequest]) -> list[Prompt]:
        """Return what each turn asks for; all but the first continue the conversation (see `turn`)."""
        return [
            Prompt(id=f"{item.id}#{turn}", prompt=ask_turn(turn, request=item.request))
            for turn in TURNS
            for item in items
        ]

    def turn(self, items: Sequence[NovellaRequest], number: int, texts: Mapping[str, str]) -> list[Prompt]:
        """Return the conversations of a turn, for the items whose earlier turns all have a text."""
        *earlier, turn = TURNS[:number]
        prompts = []
        for item in items:
            if all(texts.get(f"{item.id}#{it}", "").strip() for it in earlier):
                asked = {
                    it: Message(role="user", content=ask_turn(it, request=item.request)) for it in (*earlier, turn)
                }
                said = [
                    message
                    for it in earlier
                    for message in (asked[it], Message(role="assistant", content=texts[f"{item.id}#{it}"].strip()))
                ]
                prompts.append(Prompt(id=f"{item.id}#{turn}", prompt=[*said, asked[turn]]))
        return prompts

    def questions(
        self,
        material: Material[NovellaRequest],
        answers: Answers,  # noqa: ARG002
        wording: JudgePrompt,
    ) -> Iterable[JudgeQuestion]:
        """Return a question about each chapter with a text, and one about the whole, of each complete story."""
        for story in _stories(material):
            if story.is_complete and story.chapters:
                item = material.items[story.item]
                for number in story.chapters:
                    asked = partial(_ask_chapter, item, story, number, wording)
                    yield _question(story.about(CHAPTERS[number - 1]), asked, CHAPTER, wording)
                yield _question(story.about(WHOLE), partial(_ask_whole, item, story, wording), NOVELLA, wording)

    def scored(self, material: Material[NovellaRequest], answers: Answers) -> list[ScoredItem]:
        """Return the overall score of each story."""
        scored = _score_all(material, answers)
        return [
            ScoredItem(it.model, it.prompt_id, {"score": it.values["score"]}) for it in scored if "score" in it.values
        ]

    def tables(self, material: Material[NovellaRequest], answers: Answers) -> list[Table]:
        """Return scores overall, by chapter and by criterion, and stock phrases."""
        stories = [it for it in _stories(material) if it.is_complete]
        measures = [TableMeasure(name, 1) for name in ("score", "chapters", "whole")]
        by_chapter = [
            ScoredItem(
                story.model,
                story.item,
                {"words": float(count_words_of_any_script(story.text(turn) or ""))}
                | ({"score": CHAPTER.piece_score(scores)} if scores else {}),
                {"chapter": str(number)},
            )
            for story in stories
            for number, turn in enumerate(CHAPTERS, 1)
            for scores in (_scores(story, turn, answers),)
        ]
        numbers = tuple(str(number) for number in range(1, len(CHAPTERS) + 1))
        texts: dict[str, dict[str, list[str]]] = {}
        for story in stories:
            texts.setdefault(story.model, {}).setdefault(story.item, []).append("\n\n".join(story.chapters.values()))
        notes = [
            "score: 0 to 100, the mean of chapters and whole, each of which counts once",
            "words: of all chapters, planning left out",
        ]
        left_out = sum(not it.is_complete for it in _stories(material))
        notes += [f"stories left out because a turn is missing: {left_out}"] if left_out else []
        turned = ["scores from 0 to 20; negative criteria are inverted, so higher is better"]
        tables = [
            tabulate(
                "EQ-Bench longform writing",
                _score_all(material, answers),
                [*measures, TableMeasure("words", 0)],
                notes=notes,
            ),
            tabulate(
                "By chapter",
                by_chapter,
                [TableMeasure("score", 1), TableMeasure("words", 0)],
                by="chapter",
                order=numbers,
            ),
            stock_table(texts),
            *(
                tabulate(
                    title, _by_criterion(stories, pieces, rubric, answers), measures[:1], by="criterion", notes=turned
                )
                for title, pieces, rubric in (
                    ("Chapters by criterion", CHAPTERS, CHAPTER),
                    ("Whole by criterion", (WHOLE,), NOVELLA),
                )
            ),
        ]
        return [tables[0], *(table for table in tables[1:] if table.rows)]


def _stories(material: Material[NovellaRequest]) -> Iterator[Novella]:
    texts: dict[tuple[str, str, int], dict[str, str]] = {}
    for response in material.responses:
        item, _, turn = response.prompt_id.rpartition("#")
        texts.setdefault((item, response.model, response.sample), {})[turn] = response.text
    return (Novella(*key, written) for key, written in texts.items())


def _question(about: About, asked: partial[str], rubric: Rubric, wording: JudgePrompt) -> JudgeQuestion:
    parse = parse_rubric if wording.template is None else parse_tuned_rubric
    return JudgeQuestion(about, asked, partial(parse, rubric), shape=rubric_shape(rubric))


def _ask_chapter(item: NovellaRequest, story: Novella, number: int, wording: JudgePrompt) -> str:
    plan, characters = story.text("plan") or "", story.text("characters") or ""
    chapter = story.chapters[number]
    if wording.template is not None:
        return wording.template.fill(
            request=item.request, text=chapter, criteria=describe_rubric(CHAPTER), plan=plan, characters=characters
        )
    return ask_chapter(
        request=item.request,
        plan=plan,
        characters=characters,
        chapter=chapter,
        number=number,
        tag=wording.tag(story.item),
    )


def _ask_whole(item: NovellaRequest, story: Novella, wording: JudgePrompt) -> str:
    text = join_chapters(story.chapters)
    if wording.template is not None:
        return wording.template.fill(
            request=item.request, text=text, criteria=describe_rubric(NOVELLA), plan="", characters=""
        )
    return ask_novella(request=item.request, story=text, tag=wording.tag(story.item))


def _scores(story: Novella, piece: str, answers: Answers) -> Mapping[str, float] | None:
    """Return the scores of a chapter or the whole of a complete story; None if the judge's answer is missing."""
    is_empty = not (story.chapters if piece == WHOLE else story.text(piece))
    if is_empty:
        return (NOVELLA if piece == WHOLE else CHAPTER).lowest
    return answers.values.get(story.about(piece))


def _score_all(material: Material[NovellaRequest], answers: Answers) -> list[ScoredItem]:
    """Return the scores of each complete story."""
    scored = []
    for story in _stories(material):
        if not story.is_complete:
            continue
        chapters = [scores for turn in CHAPTERS if (scores := _scores(story, turn, answers)) is not None]
        whole = _scores(story, WHOLE, answers)
        found = novella_scores(chapters, [] if whole is None else [whole])
        named = {"score": found.overall, "chapters": found.chapters, "whole": found.final}
        values = {name: value for name, value in named.items() if value is not None}
        values["words"] = float(sum(map(count_words_of_any_script, story.chapters.values())))
        scored.append(ScoredItem(story.model, story.item, values))
    return scored


def _by_criterion(
    stories: Sequence[Novella], pieces: Sequence[str], rubric: Rubric, answers: Answers
) -> list[ScoredItem]:
    """Return the score of each criterion of each piece, in the order of the rubric."""
    known = [(story, scores) for story in stories for it in pieces if (scores := _scores(story, it, answers))]
    return [
        ScoredItem(story.model, story.item, {"score": rubric.value(name, scores[name])}, {"criterion": name})
        for name in rubric.criteria
        for story, scores in known
        if name in scores
    ]
