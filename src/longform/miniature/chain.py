"""The full LongWriter-Zero pipeline in the miniature world: the stages before RL, each run from a recipe in the folder.

    base -> pretrain -> preferences -> reward models -> GRPO with their scores -> arena

The stages match the commands `longform pretrain`, `preferences`, `reward-model`, `train` and `arena` and write the same
files, so each can be inspected or rerun by hand. Preferences come from the judge's grades of texts by writers of all levels
and by the base itself, and from requests that a rewriter has shortened. The examiner is not involved in them.
"""

import asyncio
import json
import random
from collections.abc import Sequence
from importlib.resources import as_file, files
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from longform.endpoints.client import Endpoint
from longform.endpoints.models import read_models
from longform.evaluation.head_to_head import compare_writers
from longform.judging.pairwise import PairwiseJudge
from longform.judging.pointwise import PointwiseJudge
from longform.judging.rewriting import Rewriter
from longform.miniature.corpus import SKETCH_PROMPT, THINK_PROMPT, outline
from longform.miniature.judge import EXAMINER, pointwise_score
from longform.miniature.quickstart import Stage, write_remotely
from longform.miniature.world import WIDE_RANGES, parse_request, prompts
from longform.miniature.writers import LEVELS, write_story
from longform.recipe.loading import RecipeT, dump_recipe, load_recipe
from longform.records.calls import SqliteCallLog
from longform.records.files import read_rows, write_rows, write_text
from longform.records.schemas import Game, Preference, Prompt, Response, Row
from longform.selection.dropping import DroppingFiles, ask_for_revisions, prefer_full, read_reduced, reduce_by_model
from longform.selection.generate import collect_responses_locally
from longform.selection.grade import collect_grades
from longform.selection.preferences import prefer_by_score
from longform.training.pretrain_recipe import PretrainRecipe
from longform.training.pretrain_run import PretrainResult, run_pretraining
from longform.training.reward_model_recipe import RewardModelRecipe, read_split, run_reward_model
from longform.writers.local import LocalWriter
from longform.writers.settings import GenerationSettings

PRETRAINED, WRITING = "pretrained", ("writing-grades", "writing-requirements")
"""Output folders of the stages."""
SHARES = (2.0, 1.0)
"""Weights of the two reward models. Equal weights decide worse than the first model alone if the second learned little."""
SOURCES = {"grades-model": "scores", "requirements-model": "dropping"}
"""Recipes of the reward models, and the preference pairs of each."""
OWN = "own"
"""Model name of the pretrained base in responses files."""
MAX_TOKENS = 220
MIN_MARGIN = 0.8
"""Minimum grade difference of a preference pair, in points (1 to 10). The judge's error has a standard deviation of 0.4."""


class ChainScale(NamedTuple):
    """Sizes of the stages before RL."""

    documents: int
    """Pretraining documents of each kind."""
    graded_prompts: int
    """Prompts of the graded pairs: writers of all levels and the base write for each."""
    dropped_prompts: int
    """Prompts of the reduced pairs: the best writer writes for each and revises its text for the reduced prompt. Most ask
    for a short story, in which a missing requirement is easier to detect."""
    pretrain: tuple[str, ...] = ()
    """Overrides of recipes/pretrain.yaml."""
    reward_model: tuple[str, ...] = ()
    """Overrides of recipes/grades-model.yaml and recipes/requirements-model.yaml."""


FULL = ChainScale(documents=3000, graded_prompts=3000, dropped_prompts=20_000)
SMOKE = ChainScale(
    documents=60,
    graded_prompts=12,
    dropped_prompts=40,
    pretrain=("tokens=8192", "max_epochs=9"),
    reward_model=("settings.steps=3", "settings.evaluate_every=2", "held_out=0.3"),
)


class Text(Row):
    """A raw text document."""

    text: str


def write_texts(folder: Path, *, scale: ChainScale, seed: int) -> None:
    """Write the texts for continued pretraining: stories by good writers, outlines with stories, and planned answers.

    Planned answers play the part of those by a reasoning model, as `longform generate --think on` writes them.
    """
    rows = prompts(seed=seed + 300_000, split="train", count=3 * scale.documents, ranges=WIDE_RANGES)
    stories, pages, planned = (rows[start::3] for start in range(3))
    write_rows(folder / "stories.jsonl", [Text(text=f"{row.request} {_good_story(row)}") for row in stories])
    write_rows(folder / "pages.jsonl", [Text(text=_workshop_page(row)) for row in pages])
    planned = planned[: max(1, scale.documents // 4)]
    write_rows(folder / "planned-prompts.jsonl", planned)
    write_rows(folder / "planned-responses.jsonl", [_planned_answer(row) for row in planned])
    write_text(folder / "think.txt", THINK_PROMPT + "\n")


def pretrain(folder: Path, *, scale: ChainScale, seed: int, stage: Stage) -> PretrainResult:
    """Continue pretraining the base; save it in `folder`/pretrained."""
    paths = {
        "policy": "base",
        "sources.0.path": "stories.jsonl",
        "sources.1.path": "pages.jsonl",
        "sources.2.prompts": "planned-prompts.jsonl",
        "sources.2.think_prompt": "think.txt",
        "out": PRETRAINED,
    }
    responses = f"sources.2.responses={json.dumps([str(folder / 'planned-responses.jsonl')])}"
    overrides = [responses, f"settings.seed={seed}", *scale.pretrain]
    recipe = _placed(folder, "pretrain", PretrainRecipe, paths, overrides)
    with stage("pretraining on better texts") as advance:
        return run_pretraining(
            recipe, on_training=lambda update, updates, loss: advance(update, updates, f"loss {loss:.2f}")
        )


def gather_preferences(folder: Path, *, scale: ChainScale, seed: int, stage: Stage) -> None:
    """Build pairs from the judge's grades and from requests with requirements removed: `folder`/pairs-*.jsonl."""
    graded = prompts(seed=seed + 400_000, split="train", count=scale.graded_prompts, ranges=WIDE_RANGES)
    count = scale.dropped_prompts
    short = prompts(seed=seed + 500_000, split="train", count=3 * count // 4, ranges=WIDE_RANGES[:1])
    dropped = short + prompts(seed=seed + 550_000, split="train", count=count // 4, ranges=WIDE_RANGES)
    write_rows(folder / "graded-prompts.jsonl", graded)
    models = read_models(folder / "models.yaml")
    with SqliteCallLog(folder / "preferences.sqlite") as log:
        endpoints = {name: Endpoint(name, models[name], call_log=log) for name in ("judge", "rewriter", *LEVELS)}
        with stage("writing texts to be graded") as advance:
            _write_own(folder, graded, seed=seed, advance=advance)
            asyncio.run(
                write_remotely(
                    graded, [endpoints[name] for name in LEVELS], lambda name: _graded(folder, name), advance=advance
                )
            )
        with stage("grades") as advance:
            asyncio.run(_grade(folder, graded, endpoints["judge"], advance, secret=log.secret()))
        with stage("reducing requests and writing for them") as advance:
            asyncio.run(_drop(folder, dropped, endpoints, advance, secret=log.secret()))
    scored = prefer_by_score(
        folder / "graded-prompts.jsonl",
        responses=[_graded(folder, name) for name in (OWN, *LEVELS)],
        grades=[folder / "graded-scores.jsonl"],
        margin=MIN_MARGIN,
        seed=seed,
    )
    write_rows(_pairs(folder, "scores"), scored.rows)


def train_writing_models(folder: Path, *, scale: ChainScale, seed: int, stage: Stage) -> None:
    """Train two reward models in the folders `WRITING`: one on grades, one on dropped requirements.

    A single model trained on both learned neither well: events, length and order, which dominate grades, take a few hundred
    steps; whether the required words are the right ones takes many more.
    """
    for out, (name, kind) in zip(WRITING, SOURCES.items(), strict=True):
        named = json.dumps([str(_pairs(folder, kind))])
        overrides = [f"preferences={named}", f"settings.seed={seed}", *scale.reward_model]
        recipe = _placed(folder, name, RewardModelRecipe, {"base": PRETRAINED, "out": out}, overrides)
        with stage(f"training a reward model: {out}") as advance:

            def on_progress(step: int, steps: int, loss: float, advance: Any = advance) -> None:
                advance(step, steps, f"loss {loss:.2f}")

            run_reward_model(recipe, read_split(recipe), on_progress=on_progress)


def learning_overrides(folder: Path) -> list[str]:
    """Return the overrides of the RL recipe in this pipeline: initial policy, reward models, and a stronger KL penalty.

    The KL penalty keeps the policy close to its start because reward models are unreliable far from their training texts.
    """
    models = json.dumps([str(folder / name) for name in WRITING])
    changes = [
        f"policy={json.dumps(str(folder / PRETRAINED))}",
        f"rewards.2={{kind: writing, model: {models}, shares: {list(SHARES)}}}",
    ]
    return [*changes, "optim.kl_coef=0.05", "optim.lr=7.0e-4"]


def examiner_pairs(rows: Sequence[Prompt], *, seed: int, margin: float = EXAMINER.tie_band) -> list[Preference]:
    """Pair texts by writers of two random levels, ordered by the examiner, to evaluate a reward model.

    Args:
        rows: Prompts; each gives at most one pair.
        seed: Seed of the choice of writers.
        margin: Minimum grade difference; by default, pairs that the examiner calls a tie are left out.
    """
    result = []
    for row in rows:
        request, stream = parse_request(row.request), random.Random(f"examined/{seed}/{row.id}")
        texts = [
            write_story(request, level=stream.choice(list(LEVELS)), sample=1000 * side + stream.randrange(1000))
            for side in range(2)
        ]
        one, other = (pointwise_score(request, text, EXAMINER) for text in texts)
        if abs(one - other) >= margin:
            chosen, rejected = texts if one > other else reversed(texts)
            result.append(Preference(prompt=row.request, chosen=chosen, rejected=rejected))
    return result


async def play_all(
    rows: Sequence[Prompt], texts: dict[str, dict[str, str]], examiner: Endpoint, *, advance: Any, secret: bytes
) -> list[Game]:
    """Play every writer against every other in both orders; return the games. `examiner` must be open."""
    pairings, games = list(combinations(texts, 2)), []
    for index, (one, other) in enumerate(pairings):
        result = await compare_writers(
            [row for row in rows if row.id in texts[one] and row.id in texts[other]],
            texts[one],
            texts[other],
            PairwiseJudge(examiner, secret=secret),
            model_a=one,
            model_b=other,
            on_progress=lambda done, total, index=index: advance(index * total + done, len(pairings) * total),
        )
        games += result.games
    return games


def _placed(folder: Path, name: str, schema: type[RecipeT], paths: dict[str, str], overrides: Sequence[str]) -> RecipeT:
    """Load a recipe of the miniature world, set its paths to `folder`, and save a copy there."""
    placed = [f"{key}={json.dumps(str(folder / path))}" for key, path in paths.items()]
    with as_file(files("longform.miniature") / "recipes" / f"{name}.yaml") as source:
        recipe = load_recipe(source, schema, [*placed, *overrides])
    write_text(folder / f"{name}.yaml", dump_recipe(recipe))
    return recipe


def _good_story(row: Prompt) -> str:
    level = random.Random(f"good/{row.id}").choice(("journeyman", "master", "master"))
    return write_story(parse_request(row.request), level=level)


def _workshop_page(row: Prompt) -> str:
    story = _good_story(row)
    return f"{SKETCH_PROMPT.format(request=row.request)} {outline(story)}. {story}"


def _planned_answer(row: Prompt) -> Response:
    story = _good_story(row)
    meta = {"plan": outline(story), "well_formed": True}
    return Response(prompt_id=row.id, model="thinker", text=story, finish_reason="stop", meta=meta)


def _write_own(folder: Path, rows: list[Prompt], *, seed: int, advance: Any) -> None:
    writer, settings = LocalWriter(str(folder / PRETRAINED)), GenerationSettings(max_tokens=MAX_TOKENS)
    out = _graded(folder, OWN)
    collect_responses_locally(
        rows, writer, name=OWN, samples=1, settings=settings, seed=seed, out=out, on_progress=advance
    )


async def _grade(folder: Path, rows: list[Prompt], judge: Endpoint, advance: Any, *, secret: bytes) -> None:
    responses = [row for name in (OWN, *LEVELS) for row in read_rows(_graded(folder, name), Response)]
    async with judge:
        pointwise = PointwiseJudge(judge, secret=secret)
        by_id = {row.id: row for row in rows}
        await collect_grades(responses, by_id, pointwise, out=folder / "graded-scores.jsonl", on_progress=advance)


async def _drop(
    folder: Path, rows: list[Prompt], endpoints: dict[str, Endpoint], advance: Any, *, secret: bytes
) -> None:
    beside = DroppingFiles.next_to(_pairs(folder, "dropping"))
    async with endpoints["rewriter"] as rewriter:
        await reduce_by_model(rows, Rewriter(rewriter, secret=secret), out=beside.reduced, on_progress=advance)
    pairs, best = read_reduced(beside.reduced, rows, by="rewriter"), list(LEVELS)[-1]
    writer = [endpoints[best]]
    await write_remotely([prompt for prompt, _ in pairs], writer, lambda _: beside.full_responses, advance=advance)
    revisions = ask_for_revisions(pairs, beside, model=best, samples=1, secret=secret)
    await write_remotely(revisions, writer, lambda _: beside.revisions, advance=advance)
    made = prefer_full(pairs, beside, model=best, samples=1, revised=True)
    write_rows(_pairs(folder, "dropping"), made.rows)


def _pairs(folder: Path, kind: str) -> Path:
    return folder / f"pairs-{kind}.jsonl"


def _graded(folder: Path, name: str) -> Path:
    return folder / f"graded-{name}.jsonl"
