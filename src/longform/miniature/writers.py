"""Writers of different skill: one grammar, and flaws that become rarer from novice to master.

A text is a function of (request, level, sample). The flaws are the ones that the judge measures: a required word replaced
or left out, a hero or an object whose name changes, events missing or out of order, repeated sentences, a wrong length,
garbled wording.

A revision for a reduced request keeps the story and changes only what is no longer required.
"""

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from longform.miniature.grammar import EVENTS, FILLERS, Event, count_form, fill
from longform.miniature.trails import OPENING_WORDS, opening
from longform.miniature.world import BOYS, CLASS_OF, GIRLS, HEROES, POOLS, REQUIRED_CLASSES, StoryRequest

_WORD, _SENTENCE = re.compile(r"\w+"), re.compile(r"[^.]+\.")


class Skill(NamedTuple):
    """Probabilities of a writer's flaws."""

    miss_word: float
    """Per required word: it is replaced by another word of its class."""
    wrong_name: float
    """Per hero, place and object: its name changes from some sentence on."""
    miss_event: float
    """Per event: it is left out."""
    disorder: float
    """Per story: the events of one stretch are shuffled."""
    repeat: float
    """Per story: earlier sentences are repeated."""
    wrong_length: float
    """Per story: the target length is outside the requested range."""
    garble: float
    """Per sentence: a word is dropped, doubled or swapped with its neighbour."""


LEVELS: dict[str, Skill] = {
    "novice": Skill(0.55, 0.25, 0.20, 0.5, 0.45, 0.55, 0.12),
    "apprentice": Skill(0.35, 0.12, 0.10, 0.3, 0.25, 0.35, 0.05),
    "journeyman": Skill(0.15, 0.05, 0.04, 0.12, 0.10, 0.15, 0.02),
    "master": Skill(0.02, 0.0, 0.0, 0.02, 0.01, 0.02, 0.0),
}
LESSON_LEVELS = {"novice": 0.25, "apprentice": 0.40, "journeyman": 0.35}
"""Fraction of the policy's SFT data by writer level. The master is excluded."""


def write_story(request: StoryRequest, *, level: str, sample: int = 0) -> str:
    """Write a story for the request at a level of `LEVELS`; deterministic.

    Raises:
        KeyError: unknown level.
    """
    return compose_story(request, LEVELS[level], random.Random(f"story/{level}/{sample}/{request.text}"))


def compose_story(request: StoryRequest, skill: Skill, stream: random.Random) -> str:
    """Write a story with the flaws of a skill, drawn from a random stream; the end of a trail is always right."""
    events = _disordered([event for event in EVENTS if not _happens(stream, skill.miss_event)], stream, skill)
    target = _target_words(request, stream, skill) - (0 if request.trail is None else OPENING_WORDS)
    forms = _fitted(events, stream, target=target)
    words = _chosen_words(request, stream, skill)
    names = _drifting_names(words, len(forms), stream, skill)
    sentences = [fill(form, words | drifted) for form, drifted in zip(forms, names, strict=True)]
    sentences = [_garbled(it, stream) if _happens(stream, skill.garble) else it for it in sentences]
    if _happens(stream, skill.repeat):
        sentences = _repeated(sentences, stream)
    return " ".join(sentences if request.trail is None else [opening(request.way[-1]), *sentences])


def revise_story(story: str, request: str, *, sample: int = 0) -> str:
    """Revise a story, written for the full request, for the reduced `request`; deterministic.

    A word that the reduced request no longer asks for is replaced by another of its class; if the length is no longer
    requested, the story becomes considerably shorter or longer. Everything else stays the same.
    """
    stream = random.Random(f"revision/{sample}/{request}/{story}")
    named = {CLASS_OF[word] for word in _WORD.findall(request) if word in CLASS_OF}
    told = dict.fromkeys(word for word in _WORD.findall(story) if word in CLASS_OF and CLASS_OF[word] not in named)
    others = {word: stream.choice([it for it in _alike(word) if it != word]) for word in told}
    sentences = _SENTENCE.findall(_WORD.sub(lambda match: others.get(match[0], match[0]), story))
    if not any(word.isdecimal() for word in _WORD.findall(request)):
        sentences = _resized([it.strip() for it in sentences], stream)
    return " ".join(it.strip() for it in sentences)


def _happens(stream: random.Random, probability: float) -> bool:
    return stream.random() < probability


def _disordered(events: list[Event], stream: random.Random, skill: Skill) -> list[Event]:
    """Return the events; with the probability `disorder`, a stretch of three to six of them is shuffled."""
    if not _happens(stream, skill.disorder):
        return events
    length = stream.randint(3, 6)
    start = stream.randint(0, max(0, len(events) - length))
    stretch = events[start : start + length]
    stream.shuffle(stretch)
    return events[:start] + stretch + events[start + length :]


def _target_words(request: StoryRequest, stream: random.Random, skill: Skill) -> int:
    lo, hi = request.length_range
    if not _happens(stream, skill.wrong_length):
        return stream.randint(lo + 4, hi - 4)
    if _happens(stream, 0.5):
        return round(lo * stream.uniform(0.5, 0.9))
    return round(hi * stream.uniform(1.1, 1.3))


def _fitted(events: Sequence[Event], stream: random.Random, *, target: int) -> list[str]:
    """Return a form for each event and fillers between them, about `target` words in total (within four)."""
    forms = [stream.choice(event.forms) for event in events]
    for index in stream.sample(range(len(events)), len(events)):
        if _count(forms) > target + 4:
            forms[index] = events[index].forms[0]
    while _count(forms) > target + 4 and len(forms) > 3:
        forms.pop(stream.randrange(len(forms)))
    for filler in stream.sample(FILLERS, len(FILLERS)):
        if _count(forms) >= target - 2:
            break
        if _count(forms) + count_form(filler) <= target + 4:
            forms.insert(stream.randint(1, max(len(forms) - 1, 1)), filler)
    return forms


def _count(forms: Sequence[str]) -> int:
    return sum(map(count_form, forms))


def _chosen_words(request: StoryRequest, stream: random.Random, skill: Skill) -> dict[str, str]:
    """Return a word for each class: the requested one or, with the probability `miss_word`, another of its class."""
    words = request.entities
    for name in REQUIRED_CLASSES:
        if _happens(stream, skill.miss_word):
            words[name] = _another(words[name], name, stream)
    return words


def _drifting_names(words: dict[str, str], sentences: int, stream: random.Random, skill: Skill) -> list[dict[str, str]]:
    """Return, for each sentence, the names that differ from the request."""
    drifted: list[dict[str, str]] = [{} for _ in range(sentences)]
    for name in ("hero", "place", "object"):
        if _happens(stream, skill.wrong_name):
            other = _another(words[name], name, stream)
            for sentence in range(stream.randrange(sentences), sentences):
                drifted[sentence][name] = other
    return drifted


def _another(word: str, name: str, stream: random.Random) -> str:
    return stream.choice([it for it in POOLS[name] if it != word])


def _garbled(sentence: str, stream: random.Random) -> str:
    """Drop, double or swap a word of the sentence; its full stop stays."""
    words = sentence.removesuffix(".").split()
    index = stream.randrange(len(words) - 1)
    flaw = stream.choice(("drop", "double", "swap"))
    if flaw == "drop":
        words.pop(index)
    elif flaw == "double":
        words.insert(index, words[index])
    else:
        words[index], words[index + 1] = words[index + 1], words[index]
    return " ".join(words) + "."


def _repeated(sentences: list[str], stream: random.Random) -> list[str]:
    """Repeat one to three of the sentences later in the story."""
    repeated = list(sentences)
    for _ in range(stream.randint(1, 3)):
        index = stream.randrange(len(repeated))
        repeated.insert(stream.randint(index + 1, len(repeated)), repeated[index])
    return repeated


def _alike(word: str) -> Sequence[str]:
    """Return the words of the class of `word`; for a hero, those with the same pronouns."""
    return next((pool for pool in (GIRLS, BOYS) if word in pool), POOLS[CLASS_OF[word]])


def _resized(sentences: list[str], stream: random.Random) -> list[str]:
    """Remove some of the sentences after the first, or add filler sentences."""
    sentences, shorter = list(sentences), _happens(stream, 0.5)
    target = round(_count(sentences) * (stream.uniform(0.5, 0.8) if shorter else stream.uniform(1.25, 1.5)))
    while shorter and _count(sentences) > target and len(sentences) > 3:
        sentences.pop(stream.randrange(1, len(sentences)))
    hero = next((word for it in sentences for word in _WORD.findall(it) if word in HEROES), HEROES[0])
    for form in stream.sample(FILLERS, len(FILLERS)):
        if shorter or _count(sentences) >= target:
            break
        if (filler := fill(form, {"hero": hero})) not in sentences:
            sentences.insert(stream.randint(1, len(sentences)), filler)
    return sentences
