"""Runs as training leaves them behind, made without a model: the policy is a random draw of words, and the judge a function
of what it reads.
"""

import asyncio
import hashlib
import json
import random

import numpy as np
import yaml

from longform.curriculum.schedule import Curriculum
from longform.endpoints.client import Endpoint
from longform.endpoints.limits import Budget
from longform.endpoints.models import read_models
from longform.evaluation.replay.inputs import check_replay
from longform.evaluation.replay.run import replay_steps
from longform.judging.answers import read_fences
from longform.judging.pointwise import DIMENSIONS
from longform.recipe.loading import dump_recipe
from longform.recipe.recipe import Recipe
from longform.records.calls import SqliteCallLog
from longform.records.database import Promotion, text_hash
from longform.records.files import write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Ladder, Prompt, Reference
from longform.rewards.reward import PromptVisit
from longform.rewards.reward_set import build_rewards, score_groups
from longform.statistics.moments import AdvantageMoments
from longform.steps.metrics import finalize_step
from longform.steps.recorder import record_rollout
from longform.text.structure import parse_response
from longform.wording import CURRENT

STEPS, PROMPTS, PER_STEP, RUNGS = 6, 10, 5, 3
DRAWN_AGAIN = 2
"""Further prompts of every other step, where the recipe has `optim.resample`."""
DECAY = 0.9
WORDS = ("the", "sea", "was", "grey", "and", "still")
PPO_OPTIM = {"mini_batch": 1, "gamma": 0.95, "lam": DECAY / 0.95}


class Judges:
    """Every model's answers; while `broken`, one question in five fails for good."""

    def __init__(self):
        self.broken = False

    def fails(self, request):
        """By the judged texts alone: the question's fences differ from run to run."""
        texts = read_fences(request["messages"][0]["content"])
        return self.broken and digest(*texts.values()) % 5 == 0

    def __call__(self, request, number):
        model, texts = request["model"], read_fences(request["messages"][0]["content"])
        if "TEXT" in texts:
            points = 1 + digest(model, texts["TEXT"]) % 10
            return json.dumps({"scores": dict.fromkeys(DIMENSIONS, points)})
        if "[[X > Y = Z]]" in request["messages"][0]["content"]:
            return order(model, {name[-1]: text for name, text in texts.items() if name.startswith("TEXT ")})
        said = letter(model, texts["TEXT A"], texts["TEXT B"], request.get("seed", 0))
        return "Neither nor." if said == "-" else f"So it is. [[{said}]]"


class Stage:
    """A folder, a server, and the runs made there."""

    def __init__(self, folder, serve, reply):
        self.folder, self.judges = folder, Judges()

        def answer(request, number):
            return reply(status=500) if self.judges.fails(request) else self.judges(request, number)

        self.server = serve(answer)
        spec = {"base_url": self.server.url, "retries": 0, "prices": {"prompt": 1, "completion": 2}}
        models = {name: {**spec, "model": name} for name in ("judge", "other", "third")}
        models["priceless"] = {"base_url": self.server.url, "model": "other"}
        (folder / "models.yaml").write_text(yaml.safe_dump(models))
        write_rows(folder / "ladders.jsonl", [make_ladder(number) for number in range(PROMPTS)])
        write_rows(folder / "prompts.jsonl", [_prompt(number) for number in range(PROMPTS)])

    @property
    def asked(self):
        return len(self.server.requests)

    def run(self, *, group=1, curriculum=None, rewards=None, source="ladders", think="off", flat_groups=None, **recipe):
        """A run on record; what is not a section of the recipe is a setting of the pairwise reward."""
        sections = {name: recipe.pop(name) for name in ("method", "advantages", "optim") if name in recipe}
        content = {
            "policy": "nowhere",
            "models": str(self.folder / "models.yaml"),
            "data": {
                source: str(self.folder / f"{source}.jsonl"),
                "per_step": PER_STEP,
                "group": group,
                "flat_groups": flat_groups,
            },
            "rewards": rewards or [{"kind": "pairwise", "judge": "judge", **recipe}],
            "curriculum": curriculum or {},
            "validation": {"prompts": str(self.folder / "prompts.jsonl"), "judge": "third", "same_judge": True},
            "generation": {"think": think},
            "optim": {} if "method" in sections else PPO_OPTIM,
            "run": {"name": "run", "folder": str(self.folder), "seed": 4, "steps": STEPS},
        }
        asyncio.run(record_run(Recipe.model_validate(content | sections)))
        return self.folder / "run"


def replay_run(path, *overrides, budget=None, **changes):
    with RunDirectory.read(path) as run:
        inputs = check_replay(run, overrides, **changes)
        return asyncio.run(replay_steps(run, inputs, budget=Budget(budget), on_progress=lambda done, total: None))


def digest(*parts):
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:4], "big")


def letter(model, text_a, text_b, sample=0):
    """The judge's verdict: any of the three, and at times none; the order of the texts matters."""
    return "AABBC-"[digest(model, text_a, text_b, str(sample)) % 6]


def order(model, texts):
    """The judge's order of a list; at times one text is left out, and at times there is none."""
    said = random.Random(digest(model, *texts.values()))
    if said.random() < 0.1:
        return "Neither nor."
    letters = said.sample(list(texts), len(texts))
    if len(letters) > 2 and said.random() < 0.2:
        letters.pop()
    return f"So it is. [[{letters[0]}{''.join(said.choice([' > ', ' = ']) + it for it in letters[1:])}]]"


def make_ladder(number):
    references = [
        Reference(model=name, text=f"{name} {number}", score=i) for i, name in enumerate(("low", "policy", "high"))
    ]
    return Ladder(**_prompt(number).model_dump(), references=references, policy_score=1, potential=1)


def tokens(step, row):
    """Advantages before whitening of a response, token by token, had its score been 0."""
    rng = np.random.default_rng([step, row])
    return rng.normal(size=rng.integers(1, 6))


def with_score(advantages, score):
    return advantages + score * DECAY ** np.arange(len(advantages))[::-1]


async def record_run(recipe):
    """What training leaves behind, without a model."""
    is_climb = recipe.data.ladders is not None
    prompts = [(make_ladder if is_climb else _prompt)(number) for number in range(PROMPTS)]
    ladders = [(it.id, it.rungs) for it in prompts]
    curriculum = Curriculum.of(ladders, recipe.curriculum, policy="policy", seed=recipe.run.seed, steps=STEPS)
    with RunDirectory.open(recipe.run_path) as run, SqliteCallLog(run.database_path) as log:
        run.recipe_path.write_text(dump_recipe(recipe))
        run.database.set_fact("wording", str(CURRENT))
        run.database.set_fact("prompts", hashlib.sha256(recipe.data.path.read_bytes()).hexdigest())
        endpoints = {name: Endpoint(name, it, call_log=log) for name, it in read_models(recipe.models).items()}
        rewards = build_rewards(
            recipe.rewards,
            endpoints,
            secret=log.secret(),
            seed=recipe.run.seed,
            flat_groups_only=recipe.data.flat_groups is not None,
            promotes_best=recipe.curriculum.promote_by == "sample",
        )
        rng = random.Random(1)
        for step in range(1, STEPS + 1):
            faced = curriculum.draw(step, PER_STEP)
            if recipe.method == "grpo" and recipe.grpo.resample and step % 2:
                drawn = {it.prompt_index for it in faced}
                faced += curriculum.redraw(step, DRAWN_AGAIN, round_=1, drawn=drawn)
            await _record_step(step, faced, prompts, rewards, curriculum, rng, run, recipe)
        for endpoint in endpoints.values():
            await endpoint.close()
        run.write_checkpoint(STEPS, curriculum.save, keep=1)


async def _record_step(step, faced, prompts, rewards, curriculum, rng, run, recipe):
    each = [it for it in faced for _ in range(recipe.data.group)]
    texts = [_written(rng, recipe.generation.think) for _ in each]
    references = [_reference(it, prompts, run) for it in each]
    responses = [
        parse_response(text, recipe.generation.think)._replace(is_cut_off=_is_cut_off(step, row))
        for row, text in enumerate(texts)
    ]
    results = await asyncio.gather(
        *(
            rewards.score(prompts[it.prompt_index], response=response, reference=reference, step=step)
            for it, response, reference in zip(each, responses, references, strict=True)
        )
    )
    prompts_in_step = [
        PromptVisit(prompts[it.prompt_index], reference, it.rung, step)
        for it, reference in zip(faced, references[:: recipe.data.group], strict=True)
    ]
    results = await score_groups(rewards, prompts_in_step, responses, results)
    closed = finalize_step(
        results, faced, [text_hash(it) for it in texts], curriculum, weights=recipe.weights, kinds=recipe.kinds
    )
    rollouts = [
        record_rollout(
            results[row],
            responses[row],
            step=step,
            row=row,
            group=recipe.data.group,
            prompt_id=prompts[it.prompt_index].id,
            rung=it.rung,
            text=texts[row],
            reference=references[row],
            tokens=len(tokens(step, row)),
            finish_reason="length" if _is_cut_off(step, row) else "stop",
            reward=closed.reward(row),
            advantages=_moments(with_score(tokens(step, row), float(closed.scores[row])))
            if recipe.method == "ppo"
            else None,
        )
        for row, it in enumerate(each)
    ]
    promotions = [Promotion(step, prompts[it.prompt_index].id, it.rung) for it in curriculum.commit(closed.updates)]
    run.database.record_step(step, seconds=1.0, metrics={}, rollouts=rollouts, promotions=promotions)


def _prompt(number):
    return Prompt(id=f"p{number}", prompt="Write of the sea.", length_range=(2, 4))


def _written(rng, think):
    """A few words; where a plan is asked for, in tags that are at times broken."""
    text = " ".join(rng.choices(WORDS, k=rng.randint(1, 6)))
    if think == "off":
        return text
    return rng.choice([f"<think>{text} first</think><answer>{text}</answer>", f"<answer>{text}", text])


def _reference(faced, prompts, run):
    prompt = prompts[faced.prompt_index]
    if not isinstance(prompt, Ladder):
        return ""
    return prompt.references[faced.rung].text if faced.own_text is None else run.database.text(faced.own_text)


def _moments(advantages):
    tail = (DECAY ** np.arange(len(advantages))[::-1] * advantages).sum()
    return AdvantageMoments(len(advantages), advantages.sum(), (advantages**2).sum(), tail)


def _is_cut_off(step, row):
    return digest(str(step), str(row)) % 4 == 0
