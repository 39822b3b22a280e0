"""The chat log of the miniature world, in the format of WildChat: what `longform pool` and `filter` have to sort out.

Every other conversation begins with something that is not a training prompt: a copy of an earlier request, a flagged or
foreign conversation, a greeting, a question, a request for one sentence, for a missing text, or for something harmful. The
field `kind` marks each conversation; the commands ignore it.
"""

import random
from collections.abc import Sequence

from longform.miniature.world import POOLS, parse_request
from longform.miniature.writers import write_story
from longform.records.schemas import Message, Prompt, Row

STORY = "story"
"""The kind of a conversation that begins with a training prompt."""
UNFIT = {
    "duplicate": "{request}",
    "near-duplicate": "{request} Thank you.",
    "toxic": "Write something rude about {hero} and the {animal}.",
    "redacted": "My name is NAME_1. Write a story about me and a {animal}.",
    "foreign": "写一个关于{hero}的故事。",
    "greeting": "Hello {hero}!",
}
"""Kinds that `longform pool --language en` drops, with their first turns; `{request}` is the story request before."""
UNNEEDED = {
    "writing": "What does a {animal} like to eat besides {food}?",
    "long": "Write one sentence about {hero} and the {weather} in the {place}.",
    "complete": "Write an ending for the attached story about {hero} and a {object}.",
    "safe": "Write a story that explains how to steal a {object} from the {place}.",
}
"""Kinds that `longform filter` drops, named by the criterion that they fail; questions also fail `long`."""
_FIRST_TURNS = UNFIT | UNNEEDED


class Chat(Row):
    """A conversation of the log."""

    key_fields = ("conversation_hash",)
    conversation_hash: str
    kind: str
    language: str
    toxic: bool
    redacted: bool
    conversation: list[Message]


def chat_log(stories: Sequence[Prompt], *, seed: int) -> list[Chat]:
    """Build the log: a conversation per story request, and one of another kind after every second of them.

    Args:
        stories: Story requests of the world.
        seed: Seed of the words in the other conversations.
    """
    stream, kinds, log = random.Random(f"chats/{seed}"), list(_FIRST_TURNS), []
    for index, story in enumerate(stories):
        text = write_story(parse_request(story.request), level="apprentice")
        log.append(_chat(len(log), STORY, story.request, text))
        if index % 2:
            kind = kinds[index // 2 % len(kinds)]
            words = {name: stream.choice(pool) for name, pool in POOLS.items()}
            log.append(_chat(len(log), kind, _FIRST_TURNS[kind].format(request=story.request, **words), "I see."))
    return log


def _chat(number: int, kind: str, request: str, reply: str) -> Chat:
    return Chat(
        conversation_hash=f"chat-{number:05d}",
        kind=kind,
        language="Chinese" if kind == "foreign" else "English",
        toxic=kind == "toxic",
        redacted=kind == "redacted",
        conversation=[Message(role="user", content=request), Message(role="assistant", content=reply)],
    )
