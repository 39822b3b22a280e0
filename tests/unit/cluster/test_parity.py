"""Parity: for the same stored rollouts, verl's trainer and the local engine learn from the same numbers.

The trainer is the real one with verl's own advantages behind it; only verl's queue and Ray's actor are in-process fakes.
"""

import asyncio
import random
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from small_run import cluster_recipe, ladder
from transfer_queue import KVBatchMeta
from verl.trainer.ppo import core_algos
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from longform.cluster import actor_client, trainer
from longform.cluster.prompt_table import read_prompt
from longform.cluster.reward_payload import RewardPayload, extra_fields
from longform.cluster.run_actor import RunActor, build_group_rewards
from longform.cluster.step import DrawnPrompt
from longform.curriculum.criteria import judged_by
from longform.curriculum.schedule import Curriculum, PromptDraw
from longform.endpoints.client import Endpoint
from longform.endpoints.models import ModelSpec
from longform.endpoints.request import estimate_prompt_tokens
from longform.judging.listwise import ListJudge
from longform.records.calls import MemoryCallLog
from longform.records.database import text_hash
from longform.records.errors import BadInputError, StoppedError
from longform.records.schemas import Criterion, Prompt
from longform.rewards.judged import VALUES
from longform.rewards.reward import PromptVisit, RewardResult, calls_of, missing_cause, outcome_of, scores_by_kind
from longform.rewards.reward_set import ArrivingGroup, RewardSet
from longform.rl.advantages import generalised_advantages, kl_shaped_rewards, whitened
from longform.rl.group_advantages import group_advantages
from longform.steps.metrics import finalize_step
from longform.steps.recorder import record_rollout
from longform.text.structure import ParsedResponse
from longform.wording import load_wording

KINDS = ("pairwise", "length", "format")
OUTCOMES = ("win", "tie", "loss", None)


class Queue:
    """verl's queue as a dictionary: fields of rows by key."""

    def __init__(self, rows):
        self.rows = rows

    def kv_batch_get(self, *, keys, partition_id, select_fields):
        return list_of_dict_to_tensordict(
            [{name: self.rows[key][name] for name in select_fields if name in self.rows[key]} for key in keys]
        )

    def kv_batch_put(self, *, keys, partition_id, fields):
        for n, key in enumerate(keys):
            self.rows[key] |= {name: fields[name][n].clone() for name in fields.keys()}  # noqa: SIM118
        return SimpleNamespace(keys=keys, partition_id=partition_id)


class Local:
    """The host without Ray: every method answers at once."""

    def __init__(self, actor):
        self._actor = actor

    def __getattr__(self, name):
        method = getattr(self._actor, name)
        return SimpleNamespace(remote=lambda *args, **kwargs: asyncio.run(method(*args, **kwargs)))


def _recipe(folder, method):
    rewards = [{"kind": "pairwise", "judge": "judge", "weight": 2.0}, {"kind": "length"}, {"kind": "format"}]
    more = {
        "grpo": {"optim": {"mini_batch": 8}},
        "ppo": {"optim": {"kl_coef": 0.05, "mini_batch": 4, "gamma": 0.98, "lam": 0.9}},
    }
    return cluster_recipe(folder, method=method, rewards=rewards, **more[method])


def _scored(draw, number, length, *, silent):
    outcome = None if silent else OUTCOMES[draw.integers(3)]
    pairwise = (
        RewardResult(None, None, "timeout") if outcome is None else RewardResult(VALUES["paper"][outcome], outcome)
    )
    by_reward = {"pairwise": pairwise} | {kind: RewardResult(float(draw.random())) for kind in KINDS[1:]}
    text = f"Text {number}."
    return RewardPayload(text, ParsedResponse("", text, True), by_reward, "stop", length)


def _stored(recipe, seed):
    """Rollouts of one step as verl's queue has them, in an order of its own and with a row of padding."""
    draw = np.random.default_rng(seed)
    groups = {
        f"uid-{n}": DrawnPrompt(draw, ladder(draw.prompt_index), "faced") for n, draw in enumerate(_draws(recipe))
    }
    rows, payloads = {}, []
    for uid in groups:
        for session in range(recipe.data.group):
            length = int(draw.integers(2, 7))
            one = _scored(draw, len(payloads), length, silent=len(payloads) % 5 == 3)
            tokens = {name: torch.from_numpy(draw.normal(size=length)).float() for name in ("old_log_probs", "values")}
            tokens["ref_log_prob"] = tokens["old_log_probs"] + 0.1 * torch.from_numpy(draw.normal(size=length)).float()
            score = 0.0 if scores_by_kind(one.results) is None else _mean(recipe, one.results)
            rm_scores = torch.zeros(length)
            rm_scores[-1] = score
            rows[f"{uid}_{session}_0"] = tokens | {
                "uid": uid,
                "response_mask": torch.ones(length, dtype=torch.int64),
                "loss_mask": torch.ones(length, dtype=torch.int64),
                "rm_scores": rm_scores,
                "extra_fields": {"reward_extra_info": extra_fields(one)},
            }
            payloads.append(one)
    keys = list(rows)
    padding = {name: value for name, value in rows[keys[0]].items() if name != "extra_fields"}
    rows["padding_0_0"] = padding | {"response_mask": torch.zeros_like(padding["response_mask"]), "extra_fields": {}}
    order = [*draw.permutation(keys), "padding_0_0"]
    tags = [{"is_padding": key == "padding_0_0"} for key in order]
    return groups, rows, payloads, KVBatchMeta(partition_id="train", keys=order, tags=tags)


def _mean(recipe, results):
    return sum(weight * results[kind].score for kind, weight in zip(KINDS, recipe.weights, strict=True)) / sum(
        recipe.weights
    )


def _curriculum(recipe):
    rungs = [(f"p{n}", ["weak", "policy", "strong"]) for n in range(8)]
    return Curriculum.of(rungs, recipe.curriculum, policy="policy", seed=0, steps=10)


def _draws(recipe):
    return _curriculum(recipe).draw(1, recipe.data.per_step)


def _trainer(recipe, groups, rows, monkeypatch):
    """verl's trainer between its samples and its update."""
    queue = Queue(rows)
    monkeypatch.setattr(trainer, "tq", queue)
    monkeypatch.setattr("verl.trainer.ppo.v1.trainer_base.tq", queue)
    monkeypatch.setattr(actor_client.ray, "get", lambda found: found)
    actor = RunActor()
    actor._recipe, actor._curriculum, actor._group_rewards = recipe, _curriculum(recipe), None
    built: Any = object.__new__(trainer.LongformTrainer)
    built._recipe, built._run_actor, built._groups, built.global_steps = recipe, Local(actor), groups, 1
    optim = recipe.optim
    algorithm = {"adv_estimator": "gae", "gamma": getattr(optim, "gamma", 1), "lam": getattr(optim, "lam", 1)}
    algorithm |= {"use_kl_in_reward": True, "kl_penalty": "kl"}
    built.config = OmegaConf.create(
        {"algorithm": algorithm, "actor_rollout_ref": {"rollout": {"n": recipe.data.group}}}
    )
    built.kl_ctrl_in_reward = core_algos.FixedKLController(optim.kl_coef)
    return built, actor


def _closed_locally(recipe, payloads):
    curriculum = _curriculum(recipe)
    closed = finalize_step(
        [it.results for it in payloads],
        _draws(recipe),
        [text_hash(it.text) for it in payloads],
        curriculum,
        weights=recipe.weights,
        min_responses=recipe.min_responses,
    )
    return closed, curriculum


def _padded(rows, keys, name):
    return torch.nn.utils.rnn.pad_sequence([rows[key][name] for key in keys], batch_first=True).double()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("method", ["ppo", "grpo"])
def test_masks_rewards_and_promotions_are_those_of_the_local_engine(tmp_path, monkeypatch, method, seed):
    recipe = _recipe(tmp_path, method)
    groups, rows, payloads, batch = _stored(recipe, seed)
    built, actor = _trainer(recipe, groups, rows, monkeypatch)
    built._compute_advantage(batch, {})
    closed, curriculum = _closed_locally(recipe, payloads)
    for number, key in enumerate(sorted(key for key in rows if "padding" not in key)):
        weight = 1 if closed.mask[number] else 0
        assert rows[key]["response_mask"].tolist() == [weight] * payloads[number].tokens
        assert rows[key]["loss_mask"].tolist() == [weight] * payloads[number].tokens
        assert built._closed.rollouts[number].reward == closed.reward(number)
        assert float(rows[key]["rm_scores"].sum()) == pytest.approx(closed.reward(number) or 0.0, abs=1e-6)
    assert actor._staged == (1, closed.updates)
    promoted = actor._curriculum.commit(actor._staged[1])
    assert promoted == curriculum.commit(closed.updates)
    assert (actor._curriculum.rungs == curriculum.rungs).all()


@pytest.mark.parametrize("seed", range(5))
def test_ppo_advantages_are_those_of_the_local_engine(tmp_path, monkeypatch, seed):
    recipe = _recipe(tmp_path, "ppo")
    groups, rows, payloads, batch = _stored(recipe, seed)
    keys = sorted(key for key in rows if "padding" not in key)
    closed, _ = _closed_locally(recipe, payloads)
    mask, scores = _padded(rows, keys, "response_mask"), torch.from_numpy(closed.scores).double()
    log_probs, values = _padded(rows, keys, "old_log_probs"), _padded(rows, keys, "values")
    shaped = kl_shaped_rewards(
        scores, log_probs, _padded(rows, keys, "ref_log_prob"), mask, kl_coefficient=recipe.ppo.kl_coef
    )
    advantages, returns = generalised_advantages(shaped, values, mask, gamma=recipe.ppo.gamma, lam=recipe.ppo.lam)
    kept = mask * torch.from_numpy(closed.mask)[:, None]
    expected = whitened(advantages, kept)

    built, _ = _trainer(recipe, groups, rows, monkeypatch)
    built._compute_advantage(batch, {})
    assert not closed.mask.all(), "some are masked"
    torch.testing.assert_close(_padded(rows, keys, "advantages") * kept, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(_padded(rows, keys, "returns") * kept, returns * kept, atol=1e-6, rtol=0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("how", ["balanced", "summed"])
def test_grpo_advantages_are_those_of_the_local_engine(tmp_path, monkeypatch, seed, how):
    recipe = _recipe(tmp_path, "grpo").model_copy(update={"advantages": how})
    groups, rows, payloads, batch = _stored(recipe, seed)
    built, _ = _trainer(recipe, groups, rows, monkeypatch)
    built._compute_advantage(batch, {})
    closed, _ = _closed_locally(recipe, payloads)
    expected = group_advantages(
        closed.by_reward.reshape(4, 4, 3), closed.mask.reshape(4, 4), weights=recipe.weights, how=how
    ).advantages.reshape(-1)
    for number, key in enumerate(sorted(key for key in rows if "padding" not in key)):
        assert rows[key]["advantages"].tolist() == pytest.approx([expected[number]] * payloads[number].tokens, abs=1e-6)


def test_balanced_advantages_are_the_mean_of_verls_own_for_each_reward(tmp_path, monkeypatch):
    recipe = _recipe(tmp_path, "grpo")
    recipe = recipe.model_copy(update={"rewards": [it.model_copy(update={"weight": 1.0}) for it in recipe.rewards]})
    groups, rows, payloads, batch = _stored(recipe, 0)
    for number, one in enumerate(payloads):
        whole = one._replace(results={**one.results, "pairwise": RewardResult(number % 3 / 2, "tie")})
        rows[f"uid-{number // 4}_{number % 4}_0"]["extra_fields"] = {"reward_extra_info": extra_fields(whole)}
        payloads[number] = whole
    built, _ = _trainer(recipe, groups, rows, monkeypatch)
    built._compute_advantage(batch, {})
    uids = np.repeat(np.arange(4), 4).astype(object)
    parts = []
    for kind in KINDS:
        token_rewards = torch.zeros(16, 1)
        token_rewards[:, 0] = torch.tensor([it.results[kind].score for it in payloads])
        parts.append(core_algos.compute_grpo_outcome_advantage(token_rewards, torch.ones(16, 1), uids)[0][:, 0])
    expected = torch.stack(parts).mean(0)
    found = [float(rows[f"uid-{n // 4}_{n % 4}_0"]["advantages"][0]) for n in range(16)]
    assert found == pytest.approx(expected.tolist(), abs=1e-6)


def test_a_response_that_verl_lost_takes_no_part_and_is_counted(tmp_path, monkeypatch):
    recipe = _recipe(tmp_path, "grpo")
    groups, rows, _, batch = _stored(recipe, 1)
    gone = batch.keys.index("uid-0_0_0")
    keys = [key for n, key in enumerate(batch.keys) if n != gone]
    tags = [tag for n, tag in enumerate(batch.tags) if n != gone]
    built, _ = _trainer(recipe, groups, rows, monkeypatch)
    built._compute_advantage(KVBatchMeta(partition_id="train", keys=keys, tags=tags), {})
    assert len(built._closed.rollouts) == 16
    assert (built._closed.rollouts[0].cause, built._closed.rollouts[0].reward) == ("not_written", None)
    assert built._closed.metrics["no_verdict/not_written"] == 1


@pytest.mark.parametrize(("needs_fix", "error"), [(False, StoppedError), (True, BadInputError)])
def test_what_stops_a_run_in_a_worker_stops_it_in_the_trainer(tmp_path, monkeypatch, needs_fix, error):
    recipe = _recipe(tmp_path, "ppo")
    groups, rows, payloads, batch = _stored(recipe, 2)
    ended = payloads[0]._replace(stopped="the budget is spent", needs_fix=needs_fix)
    rows["uid-0_0_0"]["extra_fields"] = {"reward_extra_info": extra_fields(ended)}
    built, _ = _trainer(recipe, groups, rows, monkeypatch)
    with pytest.raises(error, match="the budget is spent"):
        built._compute_advantage(batch, {})


def test_too_many_missing_verdicts_stop_the_run(tmp_path, monkeypatch):
    recipe = _recipe(tmp_path, "ppo")
    strict = recipe.rewards[0].model_copy(update={"max_judge_failure_rate": 0.1})
    recipe = recipe.model_copy(update={"rewards": [strict, *recipe.rewards[1:]]})
    groups, rows, _, batch = _stored(recipe, 3)
    built, _ = _trainer(recipe, groups, rows, monkeypatch)
    with pytest.raises(StoppedError, match="step 1: 1 of 4 rollouts have no score"):
        built._compute_advantage(batch, {})


def test_a_lost_worker_is_no_silent_judge(tmp_path, monkeypatch):
    recipe = _recipe(tmp_path, "grpo")
    groups, rows, _, batch = _stored(recipe, 1)
    kept = [n for n, key in enumerate(batch.keys) if not key.startswith(("uid-0_0", "uid-1_0"))]
    few = KVBatchMeta(partition_id="train", keys=[batch.keys[n] for n in kept], tags=[batch.tags[n] for n in kept])
    built, _ = _trainer(recipe, groups, rows, monkeypatch)
    with pytest.raises(StoppedError, match="step 1: verl lost 2 of 16 responses"):
        built._compute_advantage(few, {})


# Groups that a judge compares. The workers return what they see of one response; the actor adds the group's reward.


class StoredReward:
    """What a reward was worth in the stored step, by text."""

    def __init__(self, kind, payloads):
        self._results = {it.text: it.results[kind] for it in payloads}

    async def score(self, prompt, *, response, reference, step):
        return self._results[response.answer]


class Table:
    """Prompts by index."""

    def prompt_at(self, index):
        return ladder(index)


def _opinion(request, number):
    """A verdict or an order that depends on the question alone; some are missing."""
    message = request["messages"][0]["content"]
    draw = random.Random(f"{request['model']}/{request.get('seed')}/{message}")
    if draw.random() < 0.15:
        return "I cannot say."
    letters = re.findall(r"^<<<TEXT ([A-Z])", message, re.MULTILINE)
    if "[[X]]" in message:
        return f"[[{draw.choice('ABC')}]]"
    shuffled = draw.sample(letters, len(letters))
    return f"[[{shuffled[0]}{''.join(draw.choice('>>=') + letter for letter in shuffled[1:])}]]"


def _group_recipe(folder, by, *, settings=None, **sections):
    group = {"kind": "group", "judge": "judge", "by": by, "weight": 2.0, "max_judge_failure_rate": 1.0}
    rewards = [group | (settings or {})]
    rewards += [{"kind": "length"}, {"kind": "format"}]
    return cluster_recipe(folder, method="grpo", rewards=rewards, optim={"mini_batch": 8}, **sections)


def _lengthened(payload):
    text = f"{payload.text} {'word ' * 400}".strip()
    return payload._replace(text=text, response=ParsedResponse("", text, True))


def _without_group(payloads):
    """What the workers return; one response has no score of another reward."""
    own = [{kind: it.results[kind] for kind in KINDS[1:]} for it in payloads]
    own[13]["length"] = RewardResult(None, cause="timeout")
    return [it._replace(results=results) for it, results in zip(payloads, own, strict=True)]


def _endpoints(server, log, *, room=None):
    """Two judges; lists of the second one have `room` tokens for their texts, or as many as any list needs."""
    found = {}
    for name, context in (("judge", 100_000), ("other", 100_000 if room is None else _context(server, room))):
        spec = ModelSpec(base_url=server.url, model=name, retries=0, context=context)
        found[name] = Endpoint(name, spec, call_log=log, backoff_seconds=0.0)
    return found


def _context(server, room):
    """The context, in tokens, of a judge whose lists have room for `room` tokens of texts."""
    spec = ModelSpec(base_url=server.url, model="other", context=100_000)
    lists = ListJudge(Endpoint("other", spec, call_log=MemoryCallLog()), secret=b"secret", wording=load_wording())
    return int(100_000 - asyncio.run(lists.room(ladder(0))) + room)


async def _close(endpoints):
    for endpoint in endpoints.values():
        await endpoint.close()


def _let_compare(actor, recipe, endpoints):
    """Give the actor its group rewards; the endpoints are closed in the loop that used them."""

    async def close(*args):
        try:
            return await RunActor.close(actor, *args)
        finally:
            await _close(endpoints)

    actor._prompts, actor.close = Table(), close
    actor._group_rewards = build_group_rewards(recipe, endpoints, secret=b"secret", wording=load_wording())


def _scored_locally(recipe, payloads, endpoints):
    """As the local engine scores them: each response when it is there, each group when its last one is."""
    wording = load_wording()

    async def scored():
        groups = build_group_rewards(recipe, endpoints, secret=b"secret", wording=wording)
        assert groups is not None
        own = {kind: StoredReward(kind, payloads) for kind in KINDS[1:]}
        rewards = RewardSet(own, groups=groups._groups, flat_groups_only=recipe.data.flat_groups is not None)
        waiting, size = [], recipe.data.group
        for number, draw in enumerate(_draws(recipe)):
            prompt = ladder(draw.prompt_index)
            visit = PromptVisit(prompt, prompt.references[draw.rung].text, draw.rung, 1)
            group = ArrivingGroup(rewards, visit, size)
            waiting += [group.score(place, payloads[number * size + place].response) for place in range(size)]
        found = await asyncio.gather(*waiting)
        await _close(endpoints)
        return found

    return asyncio.run(scored())


GROUP_CASES = [
    (more, by, seed)
    for more, seeds in {"all": 3, "flat": 3, "sample": 3, "panel": 1}.items()
    for by in ("peer", "anchors", "list", "round-robin", "elimination")
    for seed in range(seeds)
    if (more, by) != ("sample", "anchors")  # anchors include the rung that is faced
]


@pytest.mark.parametrize(("more", "by", "seed"), GROUP_CASES)
def test_group_rewards_are_those_of_the_local_engine(tmp_path, monkeypatch, serve, by, more, seed):
    sections: dict[str, Any] = {}
    if more == "sample":
        sections["curriculum"] = {"promote_by": "sample"}
    if more == "panel":
        pairs = {"position": "both", "combine": "mean"}
        sections["settings"] = {"judge": ["judge", "other"], "samples": 2} | (pairs if by != "list" else {})
    recipe = _group_recipe(tmp_path, by, **sections)
    groups, rows, payloads, batch = _stored(recipe, seed)
    room = None
    if more == "panel" and by == "list":
        payloads = [_lengthened(it) for it in payloads]
        room = int(2.5 * estimate_prompt_tokens([{"content": payloads[0].text}]))
    if more == "flat":
        recipe = recipe.changed("data.flat_groups", "judge")
        flat = {kind: RewardResult(0.5) for kind in KINDS[1:]}
        payloads = [it._replace(results=flat) if n < 8 else it for n, it in enumerate(payloads)]
    payloads = _without_group(payloads)
    for number, one in enumerate(payloads):
        rows[f"uid-{number // 4}_{number % 4}_0"]["extra_fields"] = {"reward_extra_info": extra_fields(one)}

    server, log = serve(_opinion), MemoryCallLog()
    found = _scored_locally(recipe, payloads, _endpoints(server, log, room=room))
    asked = len(server.requests)
    assert asked > 0
    if more == "panel":
        assert {it["model"] for it in server.requests} == {"judge", "other"}
        assert {it.get("seed") for it in server.requests} == {None, 1}, "two samples"
    if room is not None:
        listed = [re.findall(r"^<<<TEXT", it["messages"][0]["content"], re.MULTILINE) for it in server.requests]
        assert {len(it) for it in listed} >= {2, 4}, "the second judge's lists are split"
    built, actor = _trainer(recipe, groups, rows, monkeypatch)
    _let_compare(actor, recipe, _endpoints(server, log, room=room))
    built._compute_advantage(batch, {})

    assert len(server.requests) == asked, "the cluster asks the same questions, whose answers are on record"
    curriculum = _curriculum(recipe)
    closed = finalize_step(
        found,
        _draws(recipe),
        [text_hash(it.text) for it in payloads],
        curriculum,
        weights=recipe.weights,
        kinds=recipe.kinds,
        min_responses=recipe.min_responses,
    )
    expected = group_advantages(
        closed.by_reward.reshape(4, 4, 3), closed.mask.reshape(4, 4), weights=recipe.weights, how="balanced"
    ).advantages.reshape(-1)
    for number, one in enumerate(built._closed.rollouts):
        assert one.scores == pytest.approx(scores_by_kind(found[number]), abs=1e-6)
        assert (one.outcome, one.cause, one.calls) == _of_record(found[number])
        assert one.compared == _compared_locally(found[number], payloads[number], number)
        mask = [1 if closed.mask[number] else 0] * payloads[number].tokens
        key = f"uid-{number // 4}_{number % 4}_0"
        assert rows[key]["response_mask"].tolist() == mask
        assert rows[key]["advantages"].tolist() == pytest.approx([expected[number]] * payloads[number].tokens, abs=1e-6)
    assert actor._staged == (1, closed.updates)
    if more == "flat":
        assert ["group" in (it.scores or {"group": 0}) for it in built._closed.rollouts[8:]] != [True] * 8


def _compared_locally(results, payload, row):
    place = {"step": 1, "row": row, "group": 4, "prompt_id": "p", "rung": 0}
    texts = {"text": payload.text, "reference": "", "tokens": 1, "finish_reason": "stop"}
    return record_rollout(results, payload.response, reward=None, **place, **texts).compared


def _of_record(results):
    return outcome_of(results), missing_cause(results), calls_of(results)


def test_a_budget_that_ends_in_a_group_stops_the_run(tmp_path, monkeypatch):
    class Spent:
        def sees_group(self, prompt):
            return True

        async def add_group_rewards(self, visit, responses, results):
            raise StoppedError("the budget is spent")

    recipe = _group_recipe(tmp_path, "peer")
    groups, rows, payloads, batch = _stored(recipe, 2)
    for number, one in enumerate(_without_group(payloads)):
        rows[f"uid-{number // 4}_{number % 4}_0"]["extra_fields"] = {"reward_extra_info": extra_fields(one)}
    built, actor = _trainer(recipe, groups, rows, monkeypatch)
    built_actor: Any = actor
    built_actor._prompts, built_actor._group_rewards = Table(), Spent()
    with pytest.raises(StoppedError, match="the budget is spent"):
        built._compute_advantage(batch, {})


def test_a_silent_judge_of_groups_stops_the_run(tmp_path, monkeypatch, serve):
    recipe = _group_recipe(tmp_path, "peer")
    groups, rows, payloads, batch = _stored(recipe, 2)
    recipe = recipe.changed("rewards", [{"kind": "group", "judge": "judge", "by": "peer"}])
    for number, one in enumerate(payloads):
        only = one._replace(results={})
        rows[f"uid-{number // 4}_{number % 4}_0"]["extra_fields"] = {"reward_extra_info": extra_fields(only)}
    built, actor = _trainer(recipe, groups, rows, monkeypatch)
    _let_compare(actor, recipe, _endpoints(serve(lambda request, number: "I cannot say."), MemoryCallLog()))
    with pytest.raises(StoppedError, match="step 1: 16 of 16 rollouts have no score"):
        built._compute_advantage(batch, {})


def test_a_prompt_is_judged_by_the_criteria_that_the_curriculum_chose():
    """As on the local engine; the prompt reaches the reward worker with these alone."""
    criteria = [Criterion(name="wit"), Criterion(name="form", hard=True), Criterion(name="grace")]
    prompt = Prompt(id="p", prompt="Write.", criteria=criteria)
    built: Any = object.__new__(trainer.LongformTrainer)
    built.train_dataset = [{"extra_info": {"rungs": [], "row": prompt.model_dump_json()}}]
    built.global_steps = 3
    drawn, row = built._prepare(PromptDraw(0, 0, None, (1,)))
    told = read_prompt(row["extra_info"])
    assert [it.name for it in told.criteria or () if isinstance(it, Criterion)] == ["grace", "form"]
    assert told == judged_by(prompt, (1,)) == drawn.prompt
