import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longform.endpoints.client import Endpoint
from longform.endpoints.models import ModelSpec
from longform.judging.pairwise import ask_pairwise
from longform.judging.rewriting import Rewriter
from longform.miniature.judge import EXAMINER, JUDGE, answer, grade, measure
from longform.miniature.server import serve_in_background
from longform.miniature.world import (
    LENGTH_RANGES,
    PARTS,
    WIDE_RANGES,
    complete_request,
    draw_request,
    parse_request,
    prompts,
    reduce_request,
)
from longform.miniature.writers import write_story
from longform.records.calls import MemoryCallLog
from longform.records.schemas import Prompt
from longform.selection.dropping import leave_out_sentences
from longform.writers.endpoint import EndpointWriter

FULL = "Write a story of 40 to 55 words about Mira in the mill and a key. Use the words fox, rain and jam."
REQUESTS = [parse_request(it.request) for it in prompts(seed=21, split="train", count=400)]


def told(request, text):
    """The parts of the request that its reduced text tells."""
    words = text.replace(",", "").replace(".", "").split()
    length = ["length"] if str(request.length_range[0]) in words else []
    return {*length, *(name for name, word in request.entities.items() if word in words)}


@given(st.integers(), st.integers(), st.sampled_from([LENGTH_RANGES, WIDE_RANGES]))
def test_what_is_left_of_a_request_is_kept_and_the_rest_is_made_up(drawn, seed, ranges):
    request = draw_request(random.Random(drawn), split="train", ranges=ranges)
    text = reduce_request(request, random.Random(seed))
    kept = told(request, text)
    assert 1 <= len(PARTS) - len(kept) <= 3
    assert len(text) < len(request.text)
    completed = complete_request(text, seed=seed)
    assert parse_request(completed.text) == completed
    for name in kept - {"length"}:
        assert completed.entities[name] == request.entities[name]
    assert completed.length_range in ([request.length_range] if "length" in kept else LENGTH_RANGES)


def test_every_part_is_left_out_at_times_and_made_up_anew_for_every_sample():
    texts = [reduce_request(request, random.Random(place)) for place, request in enumerate(REQUESTS)]
    missing = [set(PARTS) - told(request, text) for request, text in zip(REQUESTS, texts, strict=True)]
    for part in PARTS:
        assert 0.15 < sum(part in it for it in missing) / len(missing) < 0.45
    assert len({complete_request("Write a story.", seed=seed) for seed in range(20)}) == 20
    assert complete_request("Write a story.", seed=3) == complete_request(" Write a story.\n", seed=3)


@given(st.integers(), st.integers())
def test_a_whole_request_is_read_as_it_is(drawn, seed):
    request = draw_request(random.Random(drawn), split="held-out")
    assert complete_request(request.text, seed=seed) == request


@pytest.mark.parametrize(
    "text",
    [
        "Write a story of 40 to 55 words about Mira in the mill and a key.",
        "Write a story about Mira in the mill and a key. Use the words fox, rain and jam.",
        "Write a story of 40 to 55 words about Mira and a key. Use the words fox and jam.",
        "Write a story of 40 to 55 words about Mira in the mill. Use the word jam.",
        "Write a story of 40 to 55 words in the mill and a key.",
        "Write a story about a key.",
        "Write a story.",
    ],
)
def test_parts_may_be_missing(text):
    completed = complete_request(text, seed=0)
    assert told(completed, text) == told(parse_request(FULL), text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Write a poem.",
        "Write a story about Zoe in the mill.",
        "Write a story about key.",
        "Write a story. Use the words fox and bear.",
        "Write a story. Use the words fox, bear and jam.",
        "Write a story. Use the word Mira.",
        "Write a story. Use the word storm.",
        "Write a story of 55 to 40 words.",
        "Write a story. Use the words fox, rain and jam. Be quick.",
    ],
)
def test_what_is_no_request_of_the_world_is_refused_with_parts_missing_too(text):
    with pytest.raises(ValueError, match="request"):
        complete_request(text, seed=0)


def test_the_judge_knows_whole_requests_alone():
    reduced = Prompt(id="p", prompt="Write a story about Mira.")
    with pytest.raises(ValueError, match="not a story request"):
        answer(ask_pairwise(reduced, text_a="a", text_b="b", tag="0" * 12), JUDGE)


def test_without_the_last_sentence_a_request_is_still_one_of_the_world():
    reduced = leave_out_sentences(FULL, random.Random(0))
    assert reduced == "Write a story of 40 to 55 words about Mira in the mill and a key."
    assert complete_request(reduced, seed=1).hero == "Mira"


def test_the_examiner_finds_what_was_written_for_the_whole_request_better():
    better = 0
    for place, request in enumerate(REQUESTS):
        reduced = complete_request(reduce_request(request, random.Random(place)), seed=0)
        full, other = (write_story(it, level="master") for it in (request, reduced))
        better += grade(measure(request, full), EXAMINER) > grade(measure(request, other), EXAMINER)
    assert better / len(REQUESTS) > 0.9


def test_the_served_rewriter_reduces_and_the_served_writers_write_for_what_is_left():
    async def ask(url):
        async with (
            Endpoint("r", ModelSpec(base_url=url, model="miniature-rewriter"), call_log=MemoryCallLog()) as rewriter,
            Endpoint("w", ModelSpec(base_url=url, model="miniature-master"), call_log=MemoryCallLog()) as writer,
        ):
            source = Rewriter(rewriter, secret=b"s")
            first, again = [await source.reduce(it.text, prompt_id="p") for it in (REQUESTS[0], REQUESTS[0])]
            assert first.value
            assert first.value == again.value
            reduced = Prompt(id="r", prompt=first.value)
            texts = EndpointWriter(writer, max_tokens=200, temperature=1.0)
            return first.value, [(await texts.write(reduced, sample=sample)).text for sample in range(2)]

    with serve_in_background() as url:
        reduced, texts = asyncio.run(ask(url))
    expected = [write_story(complete_request(reduced, seed=it), level="master", sample=it) for it in range(2)]
    assert texts == expected
