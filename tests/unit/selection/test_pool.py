"""Each prompt has one fate, the earlier of two like ones stays, and the same command gives the same pool."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longform.records.adapting import Reading
from longform.records.errors import BadInputError
from longform.records.files import read_rows, write_rows
from longform.records.schemas import Response
from longform.selection.pool import PoolOutcome, PoolSettings, build_pool, gather

STORY = "Write a long story about the keeper of a lighthouse in the north"
ESSAY = "Explain in an essay of two thousand words why rivers bend"
CHINESE = "请写一篇关于北方海边灯塔最后一个冬夜的散文"


@pytest.fixture
def source(tmp_path):
    """`source(name, *rows)`: the path of a file of rows; a text is a row with a prompt alone."""

    def source(name, *rows):
        path = tmp_path / name
        rows = [{"prompt": row} if isinstance(row, str) else row for row in rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return source


def _chat(number, text, **flags):
    return {"conversation_id": str(number), "conversation": [{"role": "user", "content": text}], **flags}


def _fates(pool):
    return {it.reason: it.id for it in pool.dropped}


def test_answers_of_the_sources_become_responses_without_their_thoughts(source, tmp_path):
    def row(text, *answers):
        turns = [{"role": "user", "content": text}, *({"role": "assistant", "content": it} for it in answers)]
        return {"messages": turns}

    talk = source(
        "talk.jsonl",
        row(STORY, "<think>A lamp.</think>The lamp went out.", "A second answer."),
        row(STORY + " again", "A near duplicate."),
        row(ESSAY),
        row(CHINESE, "<think>only thoughts"),
    )
    out, responses = tmp_path / "prompts.jsonl", tmp_path / "responses.jsonl"
    pool = build_pool([talk], PoolSettings(), out=out, responses=responses)
    (response,) = read_rows(responses, Response)
    assert (response.prompt_id, response.model) == (pool.prompts[0].id, "talk.jsonl")
    assert response.text == "The lamp went out."
    with pytest.raises(BadInputError, match="no kept prompt has an answer"):
        build_pool([source("prompts-only.jsonl", STORY)], PoolSettings(), out=tmp_path / "p.jsonl", responses=responses)
    with pytest.raises(BadInputError, match=r"--responses .*the same file as --out"):
        build_pool([talk], PoolSettings(), out=out, responses=out)


def test_each_cause_drops_a_prompt(source):
    log = source(
        "log.jsonl",
        _chat(0, STORY, language="English"),
        _chat(1, " ?! \n", language="English"),
        _chat(2, ESSAY, language="English", toxic=True),
        _chat(3, ESSAY, language="English", redacted=True),
        _chat(4, ESSAY, language="German"),
        _chat(5, "Write a poem", language="English"),
        _chat(6, "word " * 101, language="English"),
        _chat(7, f"{ESSAY}, as in the test", language="English"),
        _chat(8, STORY.upper() + "!", language="English"),
        _chat(9, f"{STORY} sea", language="English"),
        _chat(10, CHINESE),
    )
    test = source("test.jsonl", {"id": "t1", "prompt": ESSAY})
    allowed = PoolSettings(languages=frozenset({"en", "zh"}), max_words=100)
    pool = gather([log], allowed, decontaminate=[test])
    assert [it.id for it in pool.prompts] == ["0", "10"]
    assert _fates(pool) == {
        PoolOutcome.EMPTY: "1",
        PoolOutcome.TOXIC: "2",
        PoolOutcome.REDACTED: "3",
        PoolOutcome.LANGUAGE: "4",
        PoolOutcome.SHORT: "5",
        PoolOutcome.LONG: "6",
        PoolOutcome.BENCHMARK: "7",
        PoolOutcome.DUPLICATE: "8",
        PoolOutcome.NEAR: "9",
    }
    related = {it.id: (it.of, it.place) for it in pool.dropped if it.of}
    assert related == {
        "7": ("test.jsonl:t1", f"{log}:8"),
        "8": ("0", f"{log}:9"),
        "9": ("0", f"{log}:10"),
    }
    assert pool.total() == {**dict.fromkeys(_fates(pool), 1), PoolOutcome.KEPT: 2}


def test_a_prompt_says_where_it_is_from_and_how_its_language_is_known(source):
    pool = gather([source("log.jsonl", _chat(0, STORY, language="English"), _chat(1, CHINESE))], PoolSettings())
    assert [it.meta for it in pool.prompts] == [
        {"source": "log.jsonl", "language": "en", "language_from": "source"},
        {"source": "log.jsonl", "language": "zh", "language_from": "text"},
    ]


def test_redacted_prompts_are_kept_where_that_is_wanted(source):
    log = source("log.jsonl", _chat(0, STORY, redacted=True))
    assert len(gather([log], PoolSettings(keep_redacted=True)).prompts) == 1


def test_a_dropped_prompt_drops_no_other(source):
    flagged = source("a.jsonl", _chat(0, STORY, toxic=True), _chat(1, STORY))
    assert [it.id for it in gather([flagged], PoolSettings()).prompts] == ["1"]


def test_the_earlier_source_wins(source):
    first, second = source("a.jsonl", _chat(0, STORY)), source("b.jsonl", _chat(1, STORY), _chat(2, ESSAY))
    pool = gather([first, second], PoolSettings())
    assert [it.id for it in pool.prompts] == ["0", "2"]
    assert pool.sources == {first: {PoolOutcome.KEPT: 1}, second: {PoolOutcome.KEPT: 1, PoolOutcome.DUPLICATE: 1}}


def test_ids_do_not_collide(source):
    queries = [{"index": 1, "domain1": "d", "query": text} for text in (STORY, ESSAY)]
    files = [source(f"{i}.jsonl", query) for i, query in enumerate(queries)]
    own = source("own.jsonl", {"id": "1", "prompt": CHINESE}, "Tell the tale of a fox who learned to count")
    first, second, third, fourth = (it.id for it in gather([*files, own], PoolSettings()).prompts)
    assert first == "writingbench-1"
    assert second.startswith("writingbench-1-")
    assert third == "1"
    assert fourth.startswith("prompt-")


def test_a_russian_prompt_is_not_too_short(source):
    log = source("log.jsonl", "Напиши длинный рассказ о смотрителе маяка на севере")
    assert len(gather([log], PoolSettings()).prompts) == 1


def test_a_limit_draws_from_the_whole_and_the_same_each_time(source):
    texts = [f"Write about {' '.join(random.Random(i).choices('abcdefghijklmnopqrstuvwxyz', k=12))}" for i in range(60)]
    log = source("log.jsonl", *(_chat(i, text) for i, text in enumerate(texts)))

    def drawn(seed):
        return [it.id for it in gather([log], PoolSettings(limit=20, seed=seed)).prompts]

    assert len(drawn(0)) == 20
    assert drawn(0) == drawn(0) != drawn(1)
    assert drawn(0) == sorted(drawn(0), key=int)
    assert max(map(int, drawn(0))) > 40
    pool = gather([log], PoolSettings(limit=20))
    assert pool.total() == {PoolOutcome.KEPT: 20, PoolOutcome.NOT_DRAWN: 40}
    assert len(pool.dropped) == 40


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.lists(st.sampled_from(["write", "a", "story", "about", "the", "sea", "诗", "!", "Moon"]), max_size=12),
        ),
        min_size=1,
        max_size=15,
    )
)
def test_every_prompt_has_one_fate_and_a_pool_pooled_again_is_itself(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("pool")
    log = folder / "log.jsonl"
    log.write_text("".join(json.dumps(_chat(number, " ".join(words))) + "\n" for number, words in rows))
    pool = gather([str(log)], PoolSettings(min_words=1))
    places = {it.place for it in pool.dropped} | {it.place for it in pool.kept}
    assert len(places) == len(rows) == len(pool.dropped) + len(pool.kept) == pool.total().total()
    ids = [it.id for it in pool.prompts]
    assert len(set(ids)) == len(ids)
    assert {it.of for it in pool.dropped if it.of} <= set(ids)
    if ids:
        write_rows(folder / "pool.jsonl", pool.prompts)
        assert gather([str(folder / "pool.jsonl")], PoolSettings(min_words=1)).prompts == pool.prompts


def test_the_system_turn_of_messages_is_kept(source):
    turns = [{"role": "system", "content": "Answer in verse."}, {"role": "user", "content": STORY}]
    log = source("log.jsonl", {"messages": [*turns, {"role": "assistant", "content": "No."}]}, {"messages": turns[1:]})
    first, *others = gather([log], PoolSettings()).prompts
    assert first.messages == turns
    assert others == []  # a duplicate by its request


def test_the_published_creative_writing_prompts_are_read_as_benchmark_prompts(tmp_path, source):
    published = {"1": {"category": "Story", "writing_prompt": STORY, "seed_modifiers": ["a", "b"]}}
    (tmp_path / "creative_writing_prompts_v3.json").write_text(json.dumps(published))
    log = source("log.jsonl", STORY, ESSAY)
    pool = gather([log], PoolSettings(), decontaminate=[str(tmp_path / "creative_writing_prompts_v3.json")])
    assert [it.prompt for it in pool.prompts] == [ESSAY]
    assert [it.of for it in pool.dropped] == ["creative_writing_prompts_v3.json:1"]


def test_prompts_of_a_csv_file_with_other_columns_are_pooled(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text(f"key,question\n1,{STORY}\n2,{ESSAY}\n2,\n")
    columns = {"prompt": "question", "id": "key"}
    assert [it.id for it in gather([str(path)], PoolSettings(), reading=Reading(columns)).prompts] == ["1", "2"]


def test_turns_of_text_parts_are_read(source):
    parts = [{"type": "text", "text": STORY}]
    log = source("log.jsonl", {"messages": [{"role": "user", "content": parts}]})
    assert [it.prompt for it in gather([log], PoolSettings()).prompts] == [STORY]
