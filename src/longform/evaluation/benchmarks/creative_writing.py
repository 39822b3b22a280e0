"""EQ-Bench creative writing v3: stories scored by 22 criteria, pairwise comparisons, and stock phrases.

Each request has three iterations with different seeds in its text, so responses refer to ITEM#ITERATION. The
comparisons are a second round of questions, because the pairs depend on the rubric scores.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any

from pydantic import Field

from longform.evaluation.benchmarks.benchmark import About, Answers, Benchmark, JudgePrompt, JudgeQuestion, Material
from longform.evaluation.benchmarks.card import BenchmarkCard, JudgeSettings, SamplingSettings
from longform.evaluation.benchmarks.creative_games import (
    MAX_CHARACTERS,
    Matchup,
    ModelTexts,
    pairwise_tables,
    plan_meetings,
    play,
    settle,
    split_id,
)
from longform.evaluation.benchmarks.grouping import ScoredItem, TableMeasure, tabulate
from longform.evaluation.benchmarks.sets import made_id
from longform.evaluation.benchmarks.stock import stock_table
from longform.evaluation.tables import Table
from longform.judging.margins import MARGINS_SHAPE, MarginPoints, ask_margins, count_points, parse_margins
from longform.judging.pairwise import in_order
from longform.judging.rubrics import (
    CREATIVE_WRITING,
    ask_rubric,
    describe_rubric,
    parse_rubric,
    parse_tuned_rubric,
    rubric_shape,
)
from longform.records.schemas import ORDERS, Game, Order, Prompt, PromptRow, Response

ITERATIONS = 3
SEED = "<SEED>"
_OF_V2 = ("judging_criteria", "judging_prompt", "reference_output")
_FILES = "https://raw.githubusercontent.com/EQ-bench/creative-writing-bench/main/data"


class Story(PromptRow):
    """A request with a slot for a seed, and the seeds."""

    seeds: list[str] = Field(min_length=1)

    def seeded(self, iteration: int) -> str:
        """Return the request of an iteration, counted from 1."""
        return self.request.replace(SEED, self.seeds[(iteration - 1) % len(self.seeds)])


class CreativeWriting(Benchmark[Story]):
    """Rubric score, ratings from comparisons, and stock phrases."""

    card = BenchmarkCard(
        name="creative-writing",
        measures="Stories by 22 criteria and in pairwise comparisons (EQ-Bench creative writing v3), and stock phrases.",
        home="https://github.com/EQ-bench/creative-writing-bench",
        licence="none stated",
        files={"creative_writing_prompts_v3.json": f"{_FILES}/creative_writing_prompts_v3.json"},
        fields=frozenset({"writing_prompt", "seed_modifiers"}),
        writing=SamplingSettings(max_tokens=4000, temperature=0.7),
        judging=JudgeSettings(max_tokens=1000, temperature=0.0, retries=2, optional_slots=("criteria",)),
        comparing=JudgeSettings(max_tokens=2048, temperature=0.0, retries=2),
        deviations=(
            "The judge gets longform's own prompt with fenced texts, and its answers end in JSON.",
            "Only scores named after a criterion count; the published parser accepts every 'text: number', which "
            "changes a piece by up to 22 points and a model by up to 0.23.",
            "An answer with a score outside 0 to 20, or with fewer than half of the criteria, is malformed and retried.",
            "The judge sees the request with its seed; upstream shows the placeholder.",
            "An empty response scores 0 and loses its comparisons by the maximum margin without a judge call. A short "
            "one is judged as it is; upstream regenerates one below 500 characters and finally leaves it out.",
            "Ratings are Bradley-Terry with the published pseudo-wins, averaging 1000, with intervals from a "
            "bootstrap over requests; upstream uses TrueSkill and rescales two models to 1500 and 200. An even "
            "comparison counts as one tie; by the published formula it counts for nothing.",
            "Models one, two and three ranks apart are compared 48, 24 and 12 times, others 4 times; upstream places "
            "a new model in several rounds. Judges with a custom template get longform's prompt in this stage.",
            "A comparison's answer is limited to 2,048 tokens (upstream: 16,000).",
            "Slop follows the published formula with longform's own lists, so values can be compared between models "
            "but not with published ones.",
            "Pet words are ranked by count: a model's 100 most frequent words that are not on longform's list of "
            "common words. Upstream ranks by overuse, the ratio of a word's frequency to that in the wordfreq "
            "package. Overused common words are therefore missed, and the share of pet words is not comparable with "
            "published figures.",
            "The older slop score with weighted phrases and the complexity index are not implemented.",
            "Responses are sampled without min_p (upstream: 0.1).",
        ),
    )
    schema = Story

    def layout(self, row: dict[str, Any], number: int) -> dict[str, Any]:
        """Return the fields of a story; its id is `prompt_id`, its name in the published object, or a hash."""
        if strange := [name for name in _OF_V2 if name in row]:
            raise ValueError(f"{strange[0]}: belongs to version 2 of the data, which is judged differently")
        if not isinstance(row["writing_prompt"], str):
            raise TypeError("writing_prompt: not a text")
        own = row.get("prompt_id", row.get("id"))
        named = {"id": str(own)} if own is not None else made_id("", [row["writing_prompt"]], str(number + 1))
        return named | {"prompt": row["writing_prompt"], "seeds": row["seed_modifiers"]}

    def prompts(self, items: Sequence[Story]) -> list[Prompt]:
        """Return each request three times with different seeds."""
        rounds = range(1, ITERATIONS + 1)
        return [Prompt(id=f"{item.id}#{number}", prompt=item.seeded(number)) for number in rounds for item in items]

    def questions(self, material: Material[Story], answers: Answers, wording: JudgePrompt) -> Iterable[JudgeQuestion]:
        """Return the rubric questions of all non-empty responses and, once these are answered, the comparisons."""
        parse = parse_rubric if wording.template is None else parse_tuned_rubric
        written = [response for response in material.responses if response.text.strip()]
        for response in written:
            asked = partial(_ask_rubric, material, response, wording)
            yield JudgeQuestion(
                _about(response), asked, partial(parse, CREATIVE_WRITING), shape=rubric_shape(CREATIVE_WRITING)
            )
        if all(_about(response) in answers for response in written):
            texts = _texts(material)
            for meeting in _meetings(material, answers):
                if settle(meeting, texts) is None:
                    for a, b in (in_order(meeting.a, meeting.b, order) for order in ORDERS):
                        asked = partial(_ask_margins, material, meeting.prompt_id, texts[a], texts[b], wording)
                        about = _about_order(meeting.prompt_id, a, b)
                        yield JudgeQuestion(about, asked, parse_margins, self.card.comparing, MARGINS_SHAPE)

    def games(self, material: Material[Story], answers: Answers) -> list[Game]:
        """Return one game per comparison judged in both orders."""
        return play(_held(material, answers)[0], _texts(material))

    def scored(self, material: Material[Story], answers: Answers) -> list[ScoredItem]:
        """Return the rubric score of each text."""
        scored = []
        for response in material.responses:
            scores = answers.values.get(_about(response)) if response.text.strip() else CREATIVE_WRITING.lowest
            if scores is not None:
                item = split_id(response.prompt_id)[0]
                scored.append(ScoredItem(response.model, item, {"score": CREATIVE_WRITING.piece_score(scores)}))
        return scored

    def tables(self, material: Material[Story], answers: Answers) -> list[Table]:
        """Return rubric scores, ratings and win rates of several models, stock phrases, and scores by criterion."""
        criteria = []
        for response in material.responses:
            scores = answers.values.get(_about(response)) if response.text.strip() else CREATIVE_WRITING.lowest
            if scores is None:
                continue
            item = split_id(response.prompt_id)[0]
            for name, score in scores.items():
                value = {"score": CREATIVE_WRITING.value(name, score)}
                criteria.append(ScoredItem(response.model, item, value, {"criterion": name}))
        held, incomplete = _held(material, answers)
        measures = [TableMeasure("score")]
        notes = ["score: 0 to 100, the mean over criteria with negative ones inverted; n: texts"]
        turned = ["scores from 0 to 20; negative criteria are inverted, so higher is better"]
        order = tuple(CREATIVE_WRITING.criteria)
        return [
            tabulate("EQ-Bench creative writing v3", self.scored(material, answers), measures, notes=notes),
            *pairwise_tables(play(held, _texts(material)), incomplete=len(incomplete)),
            stock_table(_by_item(material)),
            tabulate("By criterion", criteria, measures, by="criterion", order=order, notes=turned),
        ]


def _request(material: Material[Story], prompt_id: str) -> str:
    item, iteration = split_id(prompt_id)
    return material.items[item].seeded(iteration)


def _ask_rubric(material: Material[Story], response: Response, wording: JudgePrompt) -> str:
    request = _request(material, response.prompt_id)
    if wording.template is not None:
        return wording.template.fill(request=request, text=response.text, criteria=describe_rubric(CREATIVE_WRITING))
    return ask_rubric(CREATIVE_WRITING, request=request, text=response.text, tag=wording.tag(response.prompt_id))


def _ask_margins(
    material: Material[Story], prompt_id: str, a: Mapping[str, str], b: Mapping[str, str], wording: JudgePrompt
) -> str:
    return ask_margins(
        request=_request(material, prompt_id),
        text_a=a[prompt_id][:MAX_CHARACTERS],
        text_b=b[prompt_id][:MAX_CHARACTERS],
        tag=wording.tag(prompt_id),
    )


def _about(response: Response) -> About:
    return "rubric", response.prompt_id, response.model, str(response.sample)


def _about_order(prompt_id: str, a: str, b: str) -> About:
    return "margins", prompt_id, a, b


def _texts(material: Material[Story]) -> ModelTexts:
    """Return each model's text for each prompt; the first of several samples."""
    texts: dict[str, dict[str, str]] = {}
    for response in sorted(material.responses, key=lambda it: it.sample):
        texts.setdefault(response.model, {}).setdefault(response.prompt_id, response.text)
    return texts


def _meetings(material: Material[Story], answers: Answers) -> list[Matchup]:
    """Plan comparisons by the models' rubric ranking; models without a score come last."""
    scores: dict[str, list[float]] = {response.model: [] for response in material.responses}
    for response in material.responses:
        rubric = answers.values.get(_about(response)) if response.text.strip() else CREATIVE_WRITING.lowest
        if rubric is not None:
            scores[response.model].append(CREATIVE_WRITING.piece_score(rubric))
    ranked = sorted(scores, key=lambda model: (-fmean(scores[model]) if scores[model] else 1.0, model))
    return plan_meetings(ranked, _texts(material))


def _held(material: Material[Story], answers: Answers) -> tuple[dict[Matchup, MarginPoints], list[Matchup]]:
    """Return the combined margins of each comparison, and the comparisons that lack an order."""
    texts = _texts(material)
    held, incomplete = {}, []
    for meeting in _meetings(material, answers):
        settled = settle(meeting, texts)
        orders: dict[Order, About] = {
            order: _about_order(meeting.prompt_id, *in_order(meeting.a, meeting.b, order)) for order in ORDERS
        }
        if settled is not None:
            held[meeting] = settled
        elif not all(about in answers.values for about in orders.values()):
            incomplete.append(meeting)
        else:
            one, other = (in_order(*count_points(answers.values[about]), order) for order, about in orders.items())
            held[meeting] = MarginPoints(one[0] + other[0], one[1] + other[1])
    return held, incomplete


def _by_item(material: Material[Story]) -> dict[str, dict[str, list[str]]]:
    """Return each model's texts by item."""
    texts: dict[str, dict[str, list[str]]] = {}
    for response in material.responses:
        item = split_id(response.prompt_id)[0]
        texts.setdefault(response.model, {}).setdefault(item, []).append(response.text)
    return texts
