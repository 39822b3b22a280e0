import random
import statistics

import pytest

from longform.judging.answers import fence_tag, parse_order, parse_scores, parse_verdict
from longform.judging.listwise import ask_order
from longform.judging.pairwise import ask_pairwise
from longform.judging.pointwise import ask_pointwise
from longform.miniature.grammar import EVENTS
from longform.miniature.judge import EXAMINER, JUDGE, answer, grade, measure, pairwise_verdict, pointwise_score
from longform.miniature.world import parse_request, prompts
from longform.miniature.writers import write_story
from longform.records.schemas import Criterion

PROMPTS = prompts(seed=21, split="held-out", count=120)
REQUESTS = [parse_request(prompt.request) for prompt in PROMPTS]
MIRA = parse_request(
    "Write a story of 40 to 55 words about Mira in the mill and a key. Use the words fox, rain and jam."
)
STORY = (
    "Mira lived in the mill. She owned a key. She packed some jam. Then came rain. The key vanished. "
    "She searched the whole mill. A fox helped her. There she spotted the key. At last Mira smiled."
)


def stories(level):
    return [write_story(request, level=level) for request in REQUESTS]


def mean_grade(texts, style):
    return statistics.mean(grade(measure(*pair), style) for pair in zip(REQUESTS, texts, strict=True))


def cue_list(request):
    words = [request.hero, request.place, request.object, *request.words]
    return " ".join([*words, *(min(event.cues) for event in EVENTS)])


HOLES = {
    "required words": lambda request, story: " ".join([request.hero, request.place, request.object, *request.words]),
    "required words in sentences": lambda request, story: " ".join(
        f"A {word}." for word in [request.hero, request.place, request.object, *request.words] * 4
    ),
    "required words and cues": lambda request, story: cue_list(request),
    "echo": lambda request, story: request.text,
    "doubled echo": lambda request, story: f"{request.text} {request.text}",
    "doubled story": lambda request, story: f"{story} {story}",
    "empty": lambda request, story: "",
    "full stops": lambda request, story: ". " * 60,
    "one sentence": lambda request, story: f"{request.hero} found the {request.object} under a tree. " * 8,
    "story then list": lambda request, story: f"{story} {cue_list(request)}",
    "shuffled": lambda request, story: " ".join(random.Random(0).sample(story.split(), len(story.split()))),
}


@pytest.mark.parametrize("style", [JUDGE, EXAMINER])
@pytest.mark.parametrize("hole", HOLES)
def test_a_cheap_text_grades_far_below_a_novice(hole, style):
    cheap = [HOLES[hole](*pair) for pair in zip(REQUESTS, stories("apprentice"), strict=True)]
    assert mean_grade(cheap, style) < mean_grade(stories("novice"), style) - 1


@pytest.mark.parametrize("style", [JUDGE, EXAMINER])
def test_a_faultless_story_for_another_request_grades_below_a_novice(style):
    others = stories("master")
    assert mean_grade([*others[1:], others[0]], style) < mean_grade(stories("novice"), style) - 0.3


def test_a_faultless_story_measures_full_marks():
    measures = measure(MIRA, STORY)
    assert measures[:6] == (1, 1, pytest.approx(1, abs=0.2), 1, 1, 1)
    assert measures.fluency > 0.95


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("coverage", lambda it: it.replace("fox", "bear")),
        ("coverage", lambda it: it + " A bear helped her."),
        ("names", lambda it: it.replace("At last Mira", "At last Ruth")),
        ("names", lambda it: it.replace("the key", "the ring")),
        ("names", lambda it: it.replace("mill", "cave")),
        ("length", lambda it: " ".join(it.split()[:20])),
        ("length", lambda it: it + " The stars were bright." * 6),
        ("order", lambda it: " ".join(reversed(it.replace(".", "..").split(". ")))),
        ("events", lambda it: it.replace("The key vanished. ", "")),
        ("freshness", lambda it: it + " A fox helped her. Then came rain."),
        ("fluency", lambda it: it.replace("lived in the", "in lived the")),
    ],
)
def test_each_flaw_lowers_its_own_measure(name, change):
    assert getattr(measure(MIRA, change(STORY)), name) < getattr(measure(MIRA, STORY), name)
    assert grade(measure(MIRA, change(STORY)), EXAMINER) < grade(measure(MIRA, STORY), EXAMINER)


def test_the_same_question_always_gets_the_same_answer_whatever_the_fences_tag():
    first, second = stories("apprentice")[0], stories("apprentice")[0] + " Everything was still."
    answers = {
        answer(ask_pairwise(PROMPTS[0], text_a=first, text_b=second, tag=fence_tag(b"key", "p", step)), JUDGE)
        for step in range(5)
    }
    assert len(answers) == 1


def test_without_noise_and_bias_swapping_the_texts_mirrors_the_verdict():
    mirror = {"A": "B", "B": "A", "C": "C"}
    for request, one, two in zip(REQUESTS, stories("novice"), stories("apprentice"), strict=True):
        verdict = pairwise_verdict(request, one, two, EXAMINER)
        assert pairwise_verdict(request, two, one, EXAMINER) == mirror[verdict]


def test_identical_texts_tie_for_the_examiner():
    assert pairwise_verdict(MIRA, STORY, STORY, EXAMINER) == "C"


def test_equals_split_evenly_and_a_better_text_wins_often():
    unbiased = JUDGE._replace(position_bias=0.0)
    even = [
        pairwise_verdict(request, story, story, unbiased)
        for request, story in zip(REQUESTS, stories("novice"), strict=True)
    ]
    assert 0.3 < even.count("A") / len(even) < 0.7
    better = zip(REQUESTS, stories("novice"), stories("journeyman"), strict=True)
    assert [pairwise_verdict(*pair, JUDGE) for pair in better].count("B") / len(REQUESTS) > 0.85


def test_the_judge_errs_more_with_noise_and_favours_the_first_with_bias():
    pairs = list(zip(REQUESTS, stories("novice"), stories("apprentice"), strict=True))

    def verdicts(**changes):
        return [pairwise_verdict(*pair, JUDGE._replace(**changes)) for pair in pairs]

    exact = verdicts(noise=0.0, position_bias=0.0)
    errors = [sum(a != b for a, b in zip(exact, verdicts(noise=noise), strict=True)) for noise in (0.2, 3.0)]
    assert 0 < errors[0] < errors[1]
    assert verdicts(position_bias=2.0).count("A") > exact.count("A") + 10
    assert verdicts(seed=1) != verdicts(seed=2)


def test_answers_stand_in_the_grammar_of_judging():
    low, high = stories("novice")[1], stories("master")[1]
    tag = fence_tag(b"key", PROMPTS[1].id, 1)
    verdict = parse_verdict(answer(ask_pairwise(PROMPTS[1], text_a=low, text_b=high, tag=tag), EXAMINER))
    assert verdict == "B"
    question = ask_pointwise(PROMPTS[1], high, tag=tag)
    scores = parse_scores(answer(question.message, EXAMINER), question.dimensions)
    assert scores is not None
    assert statistics.mean(scores.values()) == pytest.approx(grade(measure(REQUESTS[1], high), EXAMINER), abs=0.01)


def test_a_list_is_ordered_by_quality_under_any_letters():
    style = JUDGE._replace(noise=0.0, position_bias=0.0)
    by_level = [stories(level) for level in ("novice", "apprentice", "journeyman", "master")]
    agreed = 0
    for number, prompt in enumerate(PROMPTS[:40]):
        texts = [of_level[number] for of_level in by_level]
        order = parse_order(answer(ask_order(prompt, texts, tag="0" * 12), style), "ABCD")
        turned = parse_order(answer(ask_order(prompt, texts[::-1], tag="0" * 12), style), "ABCD")
        assert order is not None and turned is not None
        assert [{"ABCD"["DCBA".index(letter)] for letter in it} for it in turned] == [set(it) for it in order]
        levels = {letter: level for level, letters in enumerate(order) for letter in letters}
        agreed += levels["D"] < levels["A"]
    assert agreed > 36


def test_the_dimensions_of_criteria_are_answered():
    prompt = PROMPTS[0].model_copy(update={"criteria": [Criterion(name="wit"), Criterion(name="pace")]})
    question = ask_pointwise(prompt, STORY, tag=fence_tag(b"key", prompt.id, 1))
    assert set(parse_scores(answer(question.message, JUDGE), question.dimensions) or {}) == {"wit", "pace"}


def test_pointwise_noise_differs_by_dimension_and_stays_on_the_scale():
    scores = [
        pointwise_score(request, story, JUDGE, dimension=dimension)
        for request, story in zip(REQUESTS, stories("master"), strict=True)
        for dimension in ("style", "depth")
    ]
    assert len(set(scores)) > len(REQUESTS) / 2
    assert all(1 <= score <= 10 for score in scores)


@pytest.mark.parametrize("message", ["", "[[A]]", "Write a story."])
def test_a_message_without_texts_is_refused(message):
    with pytest.raises(ValueError):
        answer(message, JUDGE)
