from collections import Counter

from longform.miniature.chats import STORY, UNFIT, UNNEEDED, Chat, chat_log
from longform.miniature.world import prompts
from longform.records.files import write_rows
from longform.selection.pool import PoolOutcome, PoolSettings, gather

STORIES = prompts(seed=5, split="train", count=80)
LOG = chat_log(STORIES, seed=1)
FATES = {
    "duplicate": PoolOutcome.DUPLICATE,
    "near-duplicate": PoolOutcome.NEAR,
    "toxic": PoolOutcome.TOXIC,
    "redacted": PoolOutcome.REDACTED,
    "foreign": PoolOutcome.LANGUAGE,
    "greeting": PoolOutcome.SHORT,
}


def test_every_story_request_begins_a_conversation_and_every_other_kind_occurs_four_times():
    assert [it.conversation[0].content for it in LOG if it.kind == STORY] == [it.request for it in STORIES]
    assert Counter(it.kind for it in LOG if it.kind != STORY) == dict.fromkeys([*UNFIT, *UNNEEDED], 4)
    assert len({it.key for it in LOG}) == len(LOG) == 120


def test_the_log_is_a_function_of_its_stories_and_the_seed():
    assert chat_log(STORIES, seed=1) == LOG
    assert chat_log(STORIES, seed=2) != LOG


def test_the_pool_drops_each_unfit_kind_for_its_own_reason_and_keeps_the_rest(tmp_path):
    write_rows(tmp_path / "chats.jsonl", LOG)
    pool = gather([str(tmp_path / "chats.jsonl")], PoolSettings(languages=frozenset({"en"})))
    kinds = {it.conversation_hash: it.kind for it in LOG}
    assert {(kinds[it.id], it.reason) for it in pool.dropped} == set(FATES.items())
    assert Counter(kinds[it.id] for it in pool.prompts) == {STORY: 80} | dict.fromkeys(UNNEEDED, 4)


def test_a_log_reads_back_as_it_was_written(tmp_path):
    from longform.records.files import read_rows

    write_rows(tmp_path / "chats.jsonl", LOG)
    assert list(read_rows(tmp_path / "chats.jsonl", Chat)) == LOG
