"""A judge model: what it learns from, who is held out, both stages, and how it is asked afterwards."""

import asyncio
import json
from collections import Counter

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from artifacts import save_policy
from longform.endpoints.client import Endpoint
from longform.endpoints.models import read_models
from longform.evaluation.audit.pairs import AuditedPair, read_pairs
from longform.evaluation.judge_model import examine_judge_folder, examine_judge_pairs
from longform.judging.answers import fence_tag, parse_verdict
from longform.judging.pairwise import PairwiseJudge, ask_pairwise
from longform.miniature.policy import build_tokenizer
from longform.records.calls import MemoryCallLog
from longform.records.errors import BadInputError
from longform.records.files import read_rows, write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import ORDERS, PromptRow, Winner
from longform.training.judge_model import run as stages
from longform.training.judge_model.asking import judge_curve_point
from longform.training.judge_model.pairs import (
    AGAINST_LABEL,
    NO_LABEL,
    LabelledPair,
    ask_about,
    label_of,
    letter_of,
    order_of,
    questions,
    read_labelled_pairs,
    training_rows_of_pairs,
)
from longform.training.judge_model.recipe import JudgeModelRecipe, read_split
from longform.training.judge_model.run import read_facts, run_judge_model
from longform.wording import CURRENT, load_wording

WORDING = load_wording(CURRENT)


def pair(number=0, label: Winner | None = "a", **fields):
    texts = {"response_a": "The fox ran home.", "response_b": "The key."}
    return LabelledPair.model_validate(
        {"id": f"p{number}", "prompt": f"Write {number}.", "label": label, **texts, **fields}
    )


def reasons(label):
    return {order: f"One is better. [[{letter_of(label, order)}]]" for order in ORDERS}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """An untrained model whose tokenizer has a token for each word of the question."""
    question = ask_about(pair(), "ab", wording=WORDING)
    tokenizer = build_tokenizer(more=[question, "One is better. [[A]] [[B]] [[C]]"])
    torch.manual_seed(0)
    special = tokenizer.get_added_vocab()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=special["<|end|>"],
        pad_token_id=special["<|pad|>"],
        tie_word_embeddings=True,
    )
    folder = tmp_path_factory.mktemp("base")
    save_policy(LlamaForCausalLM(config), tokenizer, folder)
    return folder


@pytest.fixture
def world(tmp_path, monkeypatch, base):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").symlink_to(base)
    labels = ("a", "b", "tie")
    write_rows("pairs.jsonl", [pair(n, labels[n % 3], reasons=reasons(labels[n % 3])) for n in range(30)])
    return tmp_path


def recipe(**changes):
    content = {
        "base": "base",
        "pairs": ["pairs.jsonl"],
        "held_out": 0.3,
        "out": "judge",
        "checkpoint_every": 20,
        "sft": {"steps": 40, "batch_size": 4, "max_tokens": 2000, "lr": 2e-2, "warmup_steps": 2},
        "rl": {
            "steps": 2,
            "per_step": 2,
            "group": 4,
            "evaluate_every": 1,
            "optim": {"lr": 1e-3, "warmup_steps": 0},
        },
        "generation": {"max_tokens": 12, "max_prompt_tokens": 2000},
    }
    return JudgeModelRecipe.model_validate(content | changes)


def test_a_question_is_that_of_a_pairwise_judge_with_its_own_tag():
    row = PromptRow(id="p0", prompt="Write 0.")
    asked = ask_pairwise(row, text_a="The key.", text_b="The fox ran home.", tag="t" * 12, wording=WORDING)
    tag = fence_tag(b"judge-model", "p0", 0)
    assert ask_about(pair(), "ba", wording=WORDING) == asked.replace("t" * 12, tag)


def test_each_pair_is_asked_in_both_orders_with_the_letter_of_its_label():
    found = {
        it.id: it.meta["answer"] for it in questions([pair(0, "a"), pair(1, "b"), pair(2, "tie")], wording=WORDING)
    }
    assert found == {"p0/ab": "A", "p0/ba": "B", "p1/ab": "B", "p1/ba": "A", "p2/ab": "C", "p2/ba": "C"}


def test_without_a_persons_label_a_judge_counts_that_said_the_same_in_both_orders():
    said = {"strong": {"ab": "b", "ba": "b"}, "torn": {"ab": "a", "ba": "b"}, "half": {"ab": "a"}}
    asked = pair(0, None, verdicts=said)
    assert [label_of(asked, judge) for judge in ("strong", "torn", "half", "other", None)] == [
        "b",
        None,
        None,
        None,
        None,
    ]
    assert label_of(pair(0, "a", verdicts=said), "strong") == "a"


def test_reasons_get_the_verdict_of_the_label_and_those_against_it_are_left_out():
    left_out = Counter()
    given = pair(0, "b", reasons={"ab": "The second is longer.", "ba": "The first is good. [[B]]"})
    (row,) = training_rows_of_pairs([given], left_out, wording=WORDING)
    assert row.messages is not None
    asked, answered = row.messages
    assert asked.content == ask_about(given, "ab", wording=WORDING)
    assert answered.content == "The second is longer.\n\n[[B]]"
    assert left_out == {AGAINST_LABEL: 1}


def test_the_order_of_a_recorded_verdict_is_told_by_its_letter_or_not_at_all():
    assert [order_of("B", "a", position="second"), order_of("A", "a", position="second")] == ["ba", None]
    assert [order_of("A", "a", position="both"), order_of("B", "a", position="both")] == ["ab", "ba"]
    assert order_of("C", "tie", position="both") is None
    assert order_of("C", "tie", position="first") == "ab"


def test_pairs_without_a_label_are_counted_and_a_file_without_any_is_refused(tmp_path):
    path = tmp_path / "pairs.jsonl"
    write_rows(path, [pair(0), pair(1, None)])
    found = read_labelled_pairs([path], judge=None)
    assert ([it.id for it in found.pairs], found.left_out) == (["p0"], {NO_LABEL: 1})
    write_rows(path, [pair(1, None)])
    with pytest.raises(BadInputError, match=r"no pair of .* has a label; set `judge`"):
        read_labelled_pairs([path], judge=None)


def test_a_pair_without_a_text_and_a_folder_without_a_judge_are_one_line(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(pair(0).model_dump(mode="json") | {"response_a": " "}) + "\n", encoding="utf-8")
    with pytest.raises(BadInputError, match=r"pairs\.jsonl:1: response_a: the text is empty"):
        read_labelled_pairs([path], judge=None)
    for content in (None, "{", "[]"):
        if content is not None:
            (tmp_path / "judge.json").write_text(content)
        with pytest.raises(BadInputError, match=r"not a judge model written by `longform judge-model`: judge\.json is"):
            read_facts(tmp_path)


def test_labels_by_several_people_are_one_label_by_majority(tmp_path):
    path = tmp_path / "pairs.jsonl"
    row = pair(0, None).model_dump(mode="json") | {"labels": {"ann": "a", "ben": "a", "cy": "b"}}
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert [it.label for it in read_labelled_pairs([path], judge=None).pairs] == ["a"]


def test_held_out_prompts_are_in_no_training_row_and_no_question(world):
    split = read_split(recipe())
    held_out = {it.request.request for it in split.held_out}
    assert len(held_out) >= 2
    trained = [it.messages[0].content for it in split.rows if it.messages] + [it.prompt for it in split.questions]
    assert trained and split.pairs + len(split.held_out) == 30
    for request in held_out:
        assert not any(f"\n{request}\n" in text for text in trained)
    other = read_split(recipe(seed=1))
    assert {it.id for it in other.held_out} != {it.id for it in split.held_out}


def test_what_a_stage_lacks_is_one_line(world):
    with pytest.raises(ValueError, match="both are null"):
        recipe(sft=None, rl=None)
    with pytest.raises(BadInputError, match=r"rl\.per_step: 500"):
        read_split(recipe(rl={"per_step": 500}))
    with pytest.raises(BadInputError, match="at least 2 must be held out"):
        read_split(recipe(held_out=0.001))
    write_rows("pairs.jsonl", [pair(n) for n in range(30)])
    with pytest.raises(BadInputError, match="sft: no verdicts to learn"):
        read_split(recipe())
    assert not read_split(recipe(sft=None)).rows
    tokenizer = AutoTokenizer.from_pretrained("base")
    tokenizer.chat_template = None
    save_policy(AutoModelForCausalLM.from_pretrained("base"), tokenizer, world / "plain")
    with pytest.raises(BadInputError, match="base: plain has no chat template"):
        run_judge_model(recipe(base="plain", sft=None))


def test_a_point_of_the_curve_counts_ties_half_and_missing_verdicts_apart():
    pairs = [pair(0, "a"), pair(1, "b"), pair(2, "tie")]
    verdicts = [{"ab": "a", "ba": "tie"}, {"ab": "a", "ba": None}, {"ab": "a", "ba": "tie"}]
    point = judge_curve_point("rl", 3, pairs, verdicts)
    assert (point.accuracy, point.missing) == (pytest.approx(1.5 / 3), pytest.approx(1 / 6))


def test_the_examination_finds_a_position_bias():
    rows = [
        AuditedPair.model_validate(
            pair(n, "b" if n % 2 else "a").model_dump() | {"verdicts": {"j": {"ab": "a", "ba": "b"}}}
        )
        for n in range(12)
    ]
    figures = examine_judge_pairs(rows, "j").figures
    assert figures.accuracy and figures.first_lead and figures.consistent_and_correct
    assert figures.accuracy.value.estimate == 0.5
    assert figures.first_lead.value.estimate == 0.5
    assert figures.consistent_and_correct.value.estimate == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory, base):
    """A judge model of two stages, and the split that it was trained with."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "base").symlink_to(base)
        labels = ("a", "b", "tie")
        write_rows("pairs.jsonl", [pair(n, labels[n % 3], reasons=reasons(labels[n % 3])) for n in range(30)])
        result = run_judge_model(recipe())
        examine_judge_folder(recipe(), curve=result.curve)
    return folder, result


def test_both_stages_leave_a_folder_that_a_server_loads(trained):
    folder, result = trained
    out = folder / "judge"
    weights = AutoModelForCausalLM.from_pretrained(out).state_dict()
    before = AutoModelForCausalLM.from_pretrained(folder / "base").state_dict()
    assert any(not torch.equal(weights[name], before[name]) for name in weights)
    assert AutoTokenizer.from_pretrained(out).chat_template
    assert result.curve[0].missing == 1 and result.curve[1].missing < 0.5, "it has learned to answer"
    assert [(it.stage, it.step) for it in result.curve] == [("base", 0), ("fine-tuned", 0), ("rl", 1), ("rl", 2)]
    assert not (folder / "judge.checkpoints").exists()
    assert {it.name for it in out.iterdir()} >= {
        "judge-model.yaml",
        "judge.json",
        "models.yaml",
        "held-out.jsonl",
        "rl",
    }
    examined = json.loads((out / "examination.json").read_text())
    assert examined["judge"] == "judge" and len(examined["curve"]) == 4
    assert {it.id for it in read_pairs([out / "held-out.jsonl"])} == {it.id for it in result.split.held_out}


def test_it_is_asked_by_the_entry_with_the_very_question_of_its_training(trained, serve):
    folder, _ = trained
    out = folder / "judge"
    assert read_facts(out).wording == CURRENT
    (name,) = entry = yaml.safe_load((out / "models.yaml").read_text())
    assert entry[name]["wording"] == CURRENT and entry[name]["max_tokens"] == 12
    server = serve(lambda request, number: "[[A]]")
    (folder / "models.yaml").write_text(yaml.safe_dump({name: entry[name] | {"base_url": server.url, "retries": 0}}))
    spec = read_models(folder / "models.yaml")[name]
    (held_out,) = list(read_rows(out / "held-out.jsonl", LabelledPair))[:1]

    async def ask():
        async with Endpoint(name, spec, call_log=MemoryCallLog()) as endpoint:
            # The run that asks may have begun with another wording.
            judge = PairwiseJudge(endpoint, secret=b"s", wording=load_wording(1))
            return await judge.compare_in_order(
                held_out.request, response=held_out.response_a, reference=held_out.response_b, order="ab", step=7
            )

    asyncio.run(ask())
    (said,) = [request["messages"] for request in server.requests]
    learned = ask_about(held_out, "ab", wording=WORDING)
    tags = fence_tag(b"s", held_out.id, 7), fence_tag(b"judge-model", held_out.id, 0)
    assert said == [{"role": "user", "content": learned.replace(tags[1], tags[0])}]


def test_a_wording_that_this_version_lacks_is_refused(tmp_path):
    (tmp_path / "models.yaml").write_text("judge: {base_url: 'http://x/v1', model: m, wording: 99}\n")
    with pytest.raises(BadInputError, match=r"judge\.wording: .*unknown version 99"):
        read_models(tmp_path / "models.yaml")


def test_the_reward_is_the_label_and_nothing_else(trained):
    folder, result = trained
    expected = {it.id: it.meta["answer"] for it in result.split.questions}
    with RunDirectory.read(folder / "judge" / "rl") as run:
        rollouts = list(run.database.rollouts())
    assert len(rollouts) == 2 * 2 * 4 and {it.reward for it in rollouts} == {0.0, 1.0}
    for it in rollouts:
        is_right = it.finish_reason != "length" and parse_verdict(it.text) == expected[it.prompt_id]
        assert it.reward == float(is_right)


@pytest.mark.full  # tests/pipeline/test_stage_kills.py kills a process in each stage
@pytest.mark.parametrize("where", ["fine-tuning", "reinforcement learning"])
def test_an_interrupted_training_ends_with_the_same_weights(trained, world, where):
    # A restart reads the checkpoint before the interruption.
    first, every = {"fine-tuning": (24, 20), "reinforcement learning": (1, 1)}[where]

    def kill(stage, done, total, note):
        if stage == where and done >= first:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_judge_model(recipe(checkpoint_every=every), on_progress=kill)
    assert not (world / "judge").exists()
    with pytest.raises(BadInputError, match="contains an interrupted training of a judge model"):
        run_judge_model(recipe(checkpoint_every=every))
    with pytest.raises(BadInputError, match="seed"):
        run_judge_model(recipe(checkpoint_every=every, seed=1), resume=True)
    result = run_judge_model(recipe(checkpoint_every=every), resume=True)
    for name in ("model.safetensors", "held-out.jsonl", "judge.json"):
        assert (world / "judge" / name).read_bytes() == (trained[0] / "judge" / name).read_bytes(), name
    assert result.curve == trained[1].curve


def test_adapters_are_merged_into_the_folder(world):
    run_judge_model(recipe(lora={"rank": 2}, rl=None))
    assert not (world / "judge" / "adapter_config.json").exists()
    before, after = (AutoModelForCausalLM.from_pretrained(world / name).state_dict() for name in ("base", "judge"))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert stages.read_facts(world / "judge").max_tokens == 12
