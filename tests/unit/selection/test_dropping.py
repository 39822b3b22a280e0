import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.endpoints.client import Endpoint
from longform.endpoints.models import ModelSpec
from longform.judging.answers import read_fences
from longform.judging.rewriting import Rewriter
from longform.records.calls import MemoryCallLog
from longform.records.errors import BadInputError
from longform.records.files import read_rows, write_rows
from longform.records.schemas import Prompt, Response
from longform.selection.dropping import (
    ONE_SENTENCE,
    DroppingFiles,
    WritingRecord,
    ask_for_revisions,
    leave_out_sentences,
    prefer_full,
    read_reduced,
    record_writing,
    reduce_by_model,
    reduce_by_rule,
    reduced_id,
    rule_name,
)
from longform.selection.preferences import LeftOut
from longform.text.words import sentences

SENTENCES = (
    "Write letter {}.",
    "Name town {}!",
    "写第{}封信。",
    "Is {} short?",
    "Use {} words",
    "请用敬语{}。",
    "Dr. No {} is in.",
)
PROMPTS = [
    Prompt(id="a", prompt="Write a letter. Name the town. Use 300 words."),
    Prompt(id="b", prompt="Write a poem."),
    Prompt(id="c", prompt="写一封信。要用敬语。不超过三百字。", criteria="敬语", length_range=(0, 300), meta={"k": 1}),
]


@given(
    st.lists(
        st.tuples(st.sampled_from(SENTENCES), st.sampled_from([" ", "\n\n", "\r\n\r\n", "  "])), min_size=1, max_size=9
    ),
    st.integers(),
)
def test_the_plain_rule_keeps_the_first_sentence_and_leaves_out_at_least_one(parts, seed):
    request = "".join(sentence.format(number) + gap for number, (sentence, gap) in enumerate(parts))
    whole, reduced = sentences(request), leave_out_sentences(request, random.Random(seed))
    if reduced is None:
        assert len(whole) == 1
        return
    kept = [sentence for sentence in whole if sentence in reduced]
    assert kept[0] == whole[0]
    assert len(kept) < len(whole)
    assert "".join(reduced.split()) == "".join("".join(kept).split())


def test_the_plain_rule_keeps_paragraphs_and_takes_any_sentence_after_the_first():
    request = "One.\n\nTwo. Three."
    found = {leave_out_sentences(request, random.Random(seed)) for seed in range(40)}
    assert found == {"One.", "One.\n\nTwo.", "One.\n\nThree."}


def test_the_plain_rule_counts_requests_of_one_sentence(tmp_path):
    result = reduce_by_rule(PROMPTS, seed=0, out=tmp_path / "r.jsonl")
    assert (result.rows, result.added, result.failures) == (2, 2, {ONE_SENTENCE: 1})
    again = reduce_by_rule(PROMPTS, seed=0, out=tmp_path / "r.jsonl")
    assert (again.rows, again.added) == (2, 0)
    pairs = read_reduced(tmp_path / "r.jsonl", PROMPTS, by=rule_name(0))
    assert [prompt.id for prompt, _ in pairs] == ["a", "c"]
    assert all(len(reduced.request) < len(prompt.request) for prompt, reduced in pairs)


def test_a_reduced_prompt_does_not_tell_what_was_left_out_of_it(tmp_path):
    reduce_by_rule(PROMPTS, seed=0, out=tmp_path / "r.jsonl")
    (_, reduced) = read_reduced(tmp_path / "r.jsonl", PROMPTS, by=rule_name(0))[1]
    assert (reduced.criteria, reduced.length_range, reduced.meta) == (None, None, {"k": 1})


def test_only_the_last_user_message_is_reduced(tmp_path):
    turns = [("system", "Be kind. Be brief."), ("user", "Hi. You."), ("assistant", "Yes? No."), ("user", "Write. Now.")]
    prompt = Prompt(id="t", prompt=[{"role": role, "content": text} for role, text in turns])  # type: ignore[list-item]
    reduce_by_rule([prompt], seed=0, out=tmp_path / "r.jsonl")
    ((_, reduced),) = read_reduced(tmp_path / "r.jsonl", [prompt], by=rule_name(0))
    assert [(it["role"], it["content"]) for it in reduced.messages] == [*turns[:-1], ("user", "Write.")]


def test_a_prompt_without_a_user_message_is_named(tmp_path):
    prompt = Prompt.model_validate({"id": "t", "prompt": [{"role": "system", "content": "Be kind. Be brief."}]})
    with pytest.raises(BadInputError, match="prompt t: has no user message"):
        reduce_by_rule([prompt], seed=0, out=tmp_path / "r.jsonl")


def test_a_reduced_prompt_of_another_request_rule_or_seed_is_another_prompt():
    prompt, other = PROMPTS[0], PROMPTS[0].model_copy(update={"prompt": "Write. Now."})
    ids = {reduced_id(it, by=by) for it in (prompt, other) for by in (rule_name(0), rule_name(1), "model")}
    assert len(ids) == 6


def reduce_with(server, out, log):
    async def ask():
        spec = ModelSpec(base_url=server.url, model="m", retries=0)
        async with Endpoint("cutter", spec, call_log=log) as endpoint:
            rewriter = Rewriter(endpoint, secret=b"s")
            return await reduce_by_model(PROMPTS, rewriter, out=out, on_progress=lambda done, total: None)

    return asyncio.run(ask())


def test_a_model_reduces_requests_and_what_it_cannot_reduce_is_counted(tmp_path, serve, reply):
    def answer(request, number):
        asked = read_fences(request["messages"][0]["content"])["REQUEST"]
        return f"<reduced>{asked}</reduced>" if "poem" in asked else f"<reduced>{asked[:6]}</reduced>"

    server, log = serve(answer), MemoryCallLog()
    result = reduce_with(server, tmp_path / "r.jsonl", log)
    assert (result.rows, result.added, result.failures) == (2, 2, {"no_reduction": 1})
    assert len(server.requests) == 2 + 3, "an answer that is no reduction is asked for again twice"
    pairs = read_reduced(tmp_path / "r.jsonl", PROMPTS, by="cutter")
    assert [(prompt.id, reduced.request) for prompt, reduced in pairs] == [("a", "Write"), ("c", "写一封信。要")]
    again = reduce_with(server, tmp_path / "r.jsonl", log)
    assert (again.rows, again.added) == (2, 0)
    assert len(server.requests) == 5, "answers on record are not asked for again"


def test_a_model_and_the_plain_rule_share_a_file_and_are_told_apart(tmp_path, serve):
    reduce_by_rule(PROMPTS, seed=0, out=tmp_path / "r.jsonl")
    reduce_with(serve(lambda request, number: "<reduced>Say it</reduced>"), tmp_path / "r.jsonl", MemoryCallLog())
    assert len(list(read_rows(tmp_path / "r.jsonl", Prompt))) == 5
    found = [reduced.request for _, reduced in read_reduced(tmp_path / "r.jsonl", PROMPTS, by="cutter")]
    assert found == ["Say it"] * 3


def pair_texts(tmp_path, full, reduced, *, samples=1):
    """Pairs of prompt `a`; a response is its text, (text, finish_reason), or None where there is none."""
    prompt, shorter = PROMPTS[0], PROMPTS[0].model_copy(update={"id": "a-reduced", "prompt": "Write a letter."})
    files = DroppingFiles.next_to(tmp_path / "out.jsonl")
    other = Response(prompt_id="z", model="w", text="of another prompt")
    for path, id_, found in ((files.full_responses, "a", full), (files.reduced_responses, "a-reduced", reduced)):
        given_ = [it if isinstance(it, tuple) else (it, "stop") for it in found]
        rows = [
            Response(prompt_id=id_, model="w", sample=sample, text=text, finish_reason=reason)
            for sample, (text, reason) in enumerate(given_)
            if text is not None
        ]
        write_rows(path, [*rows, other])
    return prefer_full([(prompt, shorter)], files, model="w", samples=samples)


def test_what_was_written_for_the_whole_request_is_chosen_sample_by_sample(tmp_path):
    made = pair_texts(tmp_path, ["x", "y"], ["u", "v"], samples=2)
    assert [(it.chosen, it.rejected) for it in made.rows] == [("x", "u"), ("y", "v")]
    (row, _) = made.rows
    assert (row.prompt, row.prompt_id, row.source) == (PROMPTS[0].prompt, "a", "dropping")
    assert (row.chosen_model, row.rejected_model, row.margin) == ("w", "w", None)


@pytest.mark.parametrize(
    ("full", "reduced", "cause"),
    [
        ("x", None, LeftOut.NOT_WRITTEN),
        (None, "x", LeftOut.NOT_WRITTEN),
        ("x", ("y", "length"), LeftOut.CUT_OFF),
        (("x", "length"), "y", LeftOut.CUT_OFF),
        ("x", " x\n", LeftOut.EQUAL),
        ("", "x", LeftOut.EMPTY),
    ],
)
def test_what_would_not_differ_in_requirements_alone_is_left_out(tmp_path, full, reduced, cause):
    made = pair_texts(tmp_path, [full], [reduced])
    assert not made.rows
    assert made.left_out == {cause: 1}


def test_two_policies_of_one_name_are_told_apart_once_there_is_a_response(tmp_path):
    out, files = tmp_path / "out.jsonl", DroppingFiles.next_to(tmp_path / "out.jsonl")
    first, second = (
        WritingRecord(writer="policy", model=f"/{run}/policy", max_tokens=60, temperature=1.0, seed=0) for run in "ab"
    )
    for way in (first, second, first):
        record_writing(way, out=out)
    partial = files.full_responses.with_name(files.full_responses.name + ".partial")
    for begun in (partial, files.reduced_responses, files.revisions):
        begun.touch()
        record_writing(first, out=out)
        with pytest.raises(
            BadInputError, match="the writing: was begun with model /a/policy, not /b/policy; choose another file"
        ):
            record_writing(second, out=out)
        with pytest.raises(BadInputError, match="seed 0, not 1"):
            record_writing(first.model_copy(update={"seed": 1}), out=out)
        begun.unlink()


def revise(tmp_path, texts, answer):
    """Pairs of texts of prompt `a`, each (text, finish_reason), and of what `answer` makes of the questions about them."""
    prompt, shorter = PROMPTS[0], PROMPTS[0].model_copy(update={"id": "a-reduced", "prompt": "Write a letter."})
    files = DroppingFiles.next_to(tmp_path / "out.jsonl")
    written = [
        Response(prompt_id="a", model="w", sample=sample, text=text, finish_reason=reason)
        for sample, (text, reason) in enumerate(texts)
    ]
    write_rows(files.full_responses, written)
    asked = ask_for_revisions([(prompt, shorter)], files, model="w", samples=len(texts), secret=b"s")
    fenced = [read_fences(it.request) for it in asked]
    assert all(it["REQUEST"] == "Write a letter." for it in fenced)
    answers = [
        Response(prompt_id=it.id, model="w", text=answer(found["TEXT"]), finish_reason="stop")
        for it, found in zip(asked, fenced, strict=True)
    ]
    write_rows(files.revisions, answers)
    return prefer_full([(prompt, shorter)], files, model="w", samples=len(texts), revised=True)


def test_a_text_is_chosen_before_its_own_revision(tmp_path):
    made = revise(tmp_path, [("x", "stop"), ("y", "stop")], lambda text: f"{text} but less")
    assert [(it.chosen, it.rejected) for it in made.rows] == [("x", "x but less"), ("y", "y but less")]
    assert not made.left_out.total()


def test_what_cannot_be_revised_or_was_not_changed_is_left_out_and_counted(tmp_path):
    made = revise(tmp_path, [("x", "length"), ("", "stop"), ("y", "stop")], lambda text: text)
    assert not made.rows
    assert made.left_out == {LeftOut.CUT_OFF: 1, LeftOut.NOT_WRITTEN: 1, LeftOut.EQUAL: 1}


def test_the_revision_of_another_text_is_never_taken_for_a_text_s_own(tmp_path):
    revise(tmp_path, [("x", "stop")], lambda text: "less")
    prompt, shorter = PROMPTS[0], PROMPTS[0].model_copy(update={"id": "a-reduced", "prompt": "Write a letter."})
    files = DroppingFiles.next_to(tmp_path / "out.jsonl")
    write_rows(files.full_responses, [Response(prompt_id="a", model="w", text="new", finish_reason="stop")])
    made = prefer_full([(prompt, shorter)], files, model="w", samples=1, revised=True)
    assert made.left_out == {LeftOut.NOT_WRITTEN: 1}
