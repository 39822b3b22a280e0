"""The demonstration's prompts say what their requirements ask for, and the splits share nothing."""

import re
from collections import Counter

from longform.demo.prompts import length_range_of, load_prompts, requirements_of

EVERYTHING = [*load_prompts("training"), *load_prompts("held-out")]


def test_there_are_two_hundred_prompts_of_five_lengths_in_two_splits():
    assert len(EVERYTHING) == len({it.request for it in EVERYTHING}) == 200
    assert Counter(length_range_of(it) for it in load_prompts("held-out")) == dict.fromkeys(
        [(20, 40), (35, 60), (50, 80), (70, 110), (100, 160)], 12
    )


def test_a_prompt_states_its_range_and_its_requirements():
    said = {"letter": "sign-off", "question": "question", "first_person": "first person", "second_person": '"you"'}
    said |= {"dialogue": "quotation marks", "paragraphs": "paragraphs"}
    for prompt in EVERYTHING:
        low, high = length_range_of(prompt)
        assert f"{low} to {high} words" in prompt.request, prompt.id
        for requirement in requirements_of(prompt):
            for word in requirement.words:
                assert re.search(rf"\b{word}", prompt.request, re.IGNORECASE), f"{prompt.id}: {word}"
            assert said.get(requirement.rule, "") in prompt.request, prompt.id


def test_no_held_out_prompt_requires_the_words_of_a_training_prompt():
    def required(split):
        return {frozenset(word for it in requirements_of(row) for word in it.words) for row in load_prompts(split)}

    shared = required("training") & required("held-out")
    assert max(map(len, shared)) <= 1, "one word, such as a dog, may be in two requests"
