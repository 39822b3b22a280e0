"""What a request states about its length is found, and nothing is found where it is not certain."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost import assert_linear
from longform.text.number_words import read_number, read_span
from longform.text.stated_counts import StatedCount, find_stated_count
from longform.text.words import count_han

DATA = Path(__file__).parents[4] / "shared" / "data"

STATED = {
    "Write a 2000-word essay on rivers.": (2000, 2000),
    "A guide of about 2,000 words": (2000, 2000),
    "Write a 6000-words paper": (6000, 6000),
    "Write two thousand words about rivers.": (2000, 2000),
    "Write a two-thousand-word story.": (2000, 2000),
    "Write twenty-five hundred words on tea.": (2500, 2500),
    "A 1.5k-word article": (1500, 1500),
    "Word count: 1500": (1500, 1500),
    "Write no more than 2,000 words.": (None, 2000),
    "It should not exceed 800 words.": (None, 800),
    "Limit your essay to 500 words.": (None, 500),
    "Keep it under 800 words.": (None, 800),
    "The limit is 650 words. Write my essay": (None, 650),
    "A 1,000- to 1,200-word feature": (1000, 1200),
    "In 500 words or less, explain why.": (None, 500),
    "an essay of up to 2000 words": (None, 2000),
    "no less than 2000 words": (2000, None),
    "at least 2,000 words": (2000, None),
    "a minimum of 500 words": (500, None),
    "500 words minimum": (500, None),
    "1000+ words": (1000, None),
    "more than 3,000 words": (3000, None),
    "800 to 1,000 words": (800, 1000),
    "between 800 and 1,000 words": (800, 1000),
    "3-4k words": (3000, 4000),
    "at least 800 and at most 1000 words": (800, 1000),
    "Minimum 800 words, maximum 1000 words.": (800, 1000),
    "2000字的小说": (2000, 2000),
    "２０００字": (2000, 2000),
    "写一篇两千字的作文": (2000, 2000),
    "一万二千字": (12000, 12000),
    "1.5万字": (15000, 15000),
    "约3000字": (3000, 3000),
    "讲稿字数1400左右": (1400, 1400),
    "写一篇300词的英语作文": (300, 300),
    "不少于800字": (800, None),
    "800字以上": (800, None),
    "不超过1500字": (None, 1500),
    "控制在1500字以内": (None, 1500),
    "800-1000字": (800, 1000),
    "八百到一千字": (800, 1000),
    "3-5千字": (3000, 5000),
    "不少于800字，不超过1000字": (800, 1000),
    "扩写到八百字": (800, 800),
    # One count of the whole beside others.
    "Write a 1000-word article with a 200-word introduction.": (1000, 1000),
    "A 300-word summary of the 5,000 word text": (300, 300),
    "Summarize this 2,000-word article in 300 words.": (300, 300),
    "Each section has 2000 words, with the total text exceeding 6000 words": (6000, None),
    "2000 words total, 4 parts of 500 words each": (2000, 2000),
    "写五章，每章500字，共2500字": (2500, 2500),
    "全文5000字，其中引言500字": (5000, 5000),
    "把这篇5000字的文章缩写成500字": (500, 500),
    # A text that is there already beside what it is to become.
    "Shorten my 1,500-word essay to 500 words.": (500, 500),
    "Expand the 500-word draft I gave you to 2,000 words.": (2000, 2000),
    "Cut the entire 5,000-word report down to at most 800 words": (None, 800),
    "Turn the attached notes into an essay and keep it to 800 words": (800, 800),
    "Expand the outline to 2,000 words.": (2000, 2000),
    "Rewrite the essay in 500 words.": (500, 500),
    "Review the novel and write a 900-word essay on it": (900, 900),
    "Write the 1,500-word essay on rivers": (1500, 1500),
    "Read this and write a 600-word reply": (600, 600),
    "Analyze the poem and write a 500-word essay": (500, 500),
    "Given a 500-word limit, what would you tell of rivers?": (None, 500),
    "Write a 500-word essay about the picture below": (500, 500),
    "缩写为500字的短文": (500, 500),
    "写个年终总结2000字的": (2000, 2000),
    "Write my 1500-word essay about Gatsby": (1500, 1500),
    "把一篇2000字的文章压缩到300字以内": (None, 300),
    "总结全文，写800字": (800, 800),
    "把字数控制在800字以内": (None, 800),
    "把文章扩写到2000字": (2000, 2000),
}

STATED |= {
    "Write 500 words, but more than 5.": (500, 500),  # of something else
    "Do not write 500 words or more.": (None, 500),
    "Don't write 500 words or less.": (500, None),
}
NOT_STATED = [
    "Write at least 500 words maximum.",
    "Write 800 and 1000 words.",
    "at least 800 or at least 1,000 words",
    "For each of the three chapters write about 500 words.",
    "写3千4千字",
    "Write five chapters, each chapter 500 words.",
    "500 words per section",
    "Write 5 essays of 500 words.",
    "Write several 200-word reviews",
    "The introduction should be 300 words.",
    "- Main review (200-300 words):",
    "4,000 words for the main analysis section",
    "Summarize this 2,000-word article.",
    "My essay is 3,000 words. Write an abstract.",
    "How do I write a 2,000-word essay?",
    "Write an outline for a 2,000-word essay.",
    "Expand it by 500 words.",
    "Add another 500 words to the story.",
    "A picture is worth a thousand words; write about one.",
    "a list of 100 words that start with A",
    "I type 160 words per minute; write about that",
    "It costs $50 per 1,000 words.",
    "It costs $500-1000; words fail me.",
    "In 2021 words changed; write about it.",
    "A 10-page paper, 90 minutes of class, for $2,000",
    "a 2010 Word document",
    "slogans within 15 words",
    "Write 100 words. Write 200 words.",
    "a few thousand words",
    "Write the opening 500 words of a thriller",
    "Write a novel. Chapter length: 2000 words. 20 chapters.",
    "a man who has a 500-word vocabulary",
    "Write 10 tweets of less than 280 words",
    "He wrote a novel of 80,000 words; write a review of it",
    "写一篇读后感，原著有80万字",
    "每章500字",
    "分两部分写，各写1000字",
    "写三篇500字的作文",
    "撰写20条用户评价。评论长度在130-180字之间",
    "摘要300字",
    "增加500字",
    "写3000字论文的大纲",
    "我写了3000字，帮我续写",
    "十六字方针解读，千字文读后感",
    "两三千字，几千字都行",
    "Shorten my 1,500-word essay to half.",
    "Condense the 3000-word report below.",
    "Condense the 2000-word report below into a page.",
    "Expand the 500-word draft I gave you.",
    "Turn a 2000 word article into a tweet.",
    "Critique a 1200-word personal statement.",
    "Please proofread our rather long 2,000-word newsletter",
    "I need help with shortening his 1500 word speech.",
    "Summarise the entire 5,000-word report",
    "Shorten my essay of 1,500 words to half.",
    "Condense the 3000 words report to its main points",
    "Make my 1,500-word essay sound more formal",
    "Here is a 1,000-word story: improve it",
    "Write a tweet from it, the 900-word article I pasted",
    "Outline a 2,000-word essay on rivers.",
    "缩写一篇2000字的文章",
    "把一篇2000字的文章改写成微博",
    "把我1500字的作文缩短一半",
    "将3000字的报告压缩成一页",
    "点评一篇1200字的个人陈述",
    "请润色1500字的论文",
    "我有一篇2000字的论文，请提炼观点",
    "500字/篇",
    "稿费千字50元，1000字50元",
    "2000字节的文件，20000字符",
    "",
]


def test_a_stated_count_is_found():
    found = {request: find_stated_count(request) for request in STATED}
    assert found == STATED


def test_what_is_no_certain_count_of_the_whole_is_none():
    found = {request: find_stated_count(request) for request in NOT_STATED}
    assert found == dict.fromkeys(NOT_STATED)


PHRASES = json.loads((Path(__file__).parent / "stated_counts.json").read_text(encoding="utf-8"))
"""Phrases of our own with the count that a reader would find: [low, high], null for an open side; null for no count."""


def test_every_phrase_has_its_known_value():
    found = {phrase: find_stated_count(phrase) for phrase in PHRASES}
    wrong = {phrase: value for phrase, value in found.items() if (value and list(value)) != PHRASES[phrase]}
    assert wrong == {}


def test_the_table_of_phrases_is_large_and_in_both_languages():
    chinese = [phrase for phrase in PHRASES if count_han(phrase)]
    assert len(chinese) >= 150 and len(PHRASES) - len(chinese) >= 150


def test_a_negation_that_governs_something_else_leaves_the_side_open():
    assert find_stated_count("Don't hesitate to write more than 2,000 words.") is None
    assert find_stated_count("It has no dialogue and more than 800 words.") == (800, None)


def test_numbers_are_read_as_people_write_them():
    numbers = {
        "12,000": 12000,
        "2k": 2000,
        "1.5万": 15000,
        "a hundred and twenty": 120,
        "一百零五": 105,
        "十万": 100_000,
    }
    assert {written: read_number(written) for written in numbers} == numbers
    assert [read_number(written) for written in ("千", "两三千", "hundred")] == [None] * 3
    assert [read_span(written) for written in ("两三千", "一千二三百", "七百八百")] == [
        (2000, 3000),
        (1200, 1300),
        None,
    ]


@given(st.integers(100, 30_000).filter(lambda count: count % 50 == 0))
def test_every_count_is_read_in_every_spelling(count):
    for request in (
        f"an essay of {count} words",
        f"a {count:,}-word story",
        f"{count}字以内",
        f"{count / 10_000:g}万字",
    ):
        if "万" in request and count % 1000:
            continue  # nobody writes 0.015万
        found = find_stated_count(request)
        assert found is not None
        assert found.high == count


PIECES = (
    *"0123456789,.-一两三千万字词每共()\n 。",
    "words",
    "at least ",
    "no more than ",
    "two",
    "thousand",
    "each",
    "²",
    "٣",
)


@given(st.lists(st.sampled_from(PIECES) | st.characters(), max_size=40).map("".join))
def test_any_text_is_read_without_an_error(text):
    found = find_stated_count(text)
    assert found is None or (found != StatedCount(None, None) and 100 <= found.largest <= 50_000)


@pytest.mark.parametrize(
    "seed",
    [
        "one ",
        "一",
        "5 ",
        "5" + " " * 50,
        "a hundred and ",
        "500 words and ",
        "word count ",
        "shorten the ",
        "turn a 500-word ",
        "not ",
        "不得",
        "第一章",
        "每",
        "800字≤",
        "max. ",
        "more than ",
        "**",
        "《",
        "titled “",
        "55, 55, ",
        "write stories of ",
        "500-word essay about a ",
    ],
)
def test_hostile_text_takes_linear_time(seed):
    assert_linear(lambda length: find_stated_count(seed * (length // len(seed))), 5_000)


def _rows(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"../shared/data/{name} is not there")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


@pytest.mark.parametrize(("name", "least_found"), [("longbench_write.jsonl", 0.9), ("longwrite_ruler.jsonl", 1.0)])
def test_counts_of_real_requests_equal_the_required_length(name, least_found):
    rows = _rows(name)
    found = [(row["length"], count) for row in rows if (count := find_stated_count(row["prompt"]))]
    right = sum(length in count for length, count in found)
    assert len(found) >= least_found * len(rows)
    assert right / len(found) >= 0.97


# Requests with several counts, by their `index`, read by hand.
WRITINGBENCH = {
    **dict.fromkeys((216, 248, 249, 379, 414, 426, 451, 456, 459, 591, 697, 710, 757, 533)),
    38: (3000, 3000), 184: (6000, None), 363: (3000, 3500), 387: (1000, 1200), 393: (8000, 10000),
    584: (20000, None), 616: (3000, 3000), 798: (3000, None), 984: (5000, None),
}  # fmt: skip


def test_a_count_of_a_part_is_told_from_that_of_the_whole_in_real_requests():
    rows = {row["index"]: row["query"] for row in _rows("writingbench_v2_length.jsonl")}
    assert {index: find_stated_count(rows[index]) for index in WRITINGBENCH} == WRITINGBENCH
