"""The grammar of the stories: nine ordered events, each with a few sentence forms, and filler sentences.

Every event has cue verbs that occur nowhere else, so the order of events can be read from a text without a parser.
"""

from typing import NamedTuple

from longform.miniature.world import GIRLS


class Event(NamedTuple):
    """An event that every story must tell."""

    name: str
    cues: frozenset[str]
    """Verbs that identify the event; no other event or filler uses them."""
    forms: tuple[str, ...]
    """Sentences that tell the event, shortest first."""


def _event(name: str, cues: str, *forms: str) -> Event:
    return Event(name, frozenset(cues.split()), tuple(sorted(forms, key=count_form)))


def count_form(form: str) -> int:
    """Count the words of a form; every slot is filled by one word."""
    return len(form.split())


EVENTS = (
    _event(
        "opening",
        "lived dwelt grew",
        "{hero} lived in the {place}.",
        "{hero} dwelt in the quiet {place}.",
        "Once {hero} lived in the old {place}.",
        "Long ago {hero} grew up in the {place}.",
    ),
    _event(
        "treasure",
        "owned kept loved",
        "{She} owned a {object}.",
        "{hero} loved a very old {object}.",
        "{She} kept a golden {object} near the bed.",
        "{She} owned a {object} made of silver.",
    ),
    _event(
        "meal",
        "packed ate shared",
        "{She} packed some {food}.",
        "At noon {she} ate warm {food}.",
        "One morning {hero} packed some {food}.",
        "{hero} shared some {food} with a friend.",
    ),
    _event(
        "weather",
        "came struck rolled",
        "Then came {weather}.",
        "Suddenly heavy {weather} struck the land.",
        "In the evening thick {weather} rolled over the hills.",
    ),
    _event(
        "loss",
        "vanished lost missing",
        "The {object} vanished.",
        "{hero} lost the {object}.",
        "Now the {object} was missing.",
        "{hero} lost the {object} on the road.",
    ),
    _event(
        "search",
        "searched looked hunted",
        "{She} searched the whole {place}.",
        "{hero} looked behind every stone.",
        "{She} hunted all night for the {object}.",
    ),
    _event(
        "helper",
        "helped guided led",
        "A {animal} helped {her}.",
        "A wise {animal} led the way.",
        "A kind {animal} guided {her} to the river.",
    ),
    _event(
        "find",
        "found discovered spotted",
        "There {she} spotted the {object}.",
        "{hero} found the {object} under a tree.",
        "{She} discovered the {object} beside the water.",
    ),
    _event(
        "ending",
        "slept smiled celebrated",
        "At last {hero} smiled.",
        "That night {she} slept well.",
        "{She} went home and slept until morning.",
        "Back in the {place} the people celebrated.",
    ),
)

FEWEST_WORDS = sum(count_form(event.forms[0]) for event in EVENTS)
"""Words of the shortest story that tells every event."""

FILLERS = (
    "The air smelled of summer.",
    "Birds sang above the roofs.",
    "{She} felt very tired.",
    "Nobody said a word.",
    "The sun was low and red.",
    "{hero} took a deep breath.",
    "A bell rang far away.",
    "The path was long and narrow.",
    "{hero} began to cry.",
    "Children played near the well.",
    "The stars were bright.",
    "{She} drank from a cold stream.",
    "It was a strange day.",
    "Everything was still.",
    "{hero} hummed a little tune.",
    "Leaves danced across the street.",
)

EVENT_OF = {cue: index for index, event in enumerate(EVENTS) for cue in event.cues}


def fill(form: str, words: dict[str, str]) -> str:
    """Fill the slots of a form. `words` maps each class to a word; the hero determines the pronouns."""
    she, her = ("she", "her") if words["hero"] in GIRLS else ("he", "him")
    return form.format(**words, she=she, She=she.capitalize(), her=her)
