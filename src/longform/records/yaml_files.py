"""Reads YAML files that people write: every error is one line, and duplicate keys are errors.

Aliases and merge keys (`<<`) that refer to each other stand for exponentially many values, so the size of the whole is
computed, without expanding it, before anything is built.
"""

from pathlib import Path
from typing import Any

import yaml

from longform.records.errors import BadInputError

MAX_VALUES = 100_000
"""Most values of a file, with aliases and merge keys expanded."""
_BROKEN_TAGS = (ValueError, RecursionError, KeyError, IndexError, AttributeError, TypeError, OverflowError)
"""What values that do not fit their tag raise, such as `!!bool maybe`."""


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file.

    Errors quote none of the content, which may contain an API key.

    Raises:
        BadInputError: `FILE:LINE: problem`; the file cannot be read, is not YAML, or has a duplicate key.
    """
    try:
        return _load(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror}") from error
    except _DuplicateKeyError as error:
        raise BadInputError(f"{path}:{error.line}: {error.key}: duplicate key") from None
    except _TooLargeError as error:
        raise BadInputError(f"{path}:{error.line}: {error}") from None
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BadInputError(f"{path}{line}: not YAML") from None
    except (yaml.YAMLError, *_BROKEN_TAGS):
        raise BadInputError(f"{path}: not YAML") from None


class _DuplicateKeyError(Exception):
    def __init__(self, key: str, line: int) -> None:
        super().__init__(key)
        self.key, self.line = key, line


class _TooLargeError(Exception):
    def __init__(self, problem: str, node: yaml.Node) -> None:
        super().__init__(problem)
        self.line = node.start_mark.line + 1


def _load(text: str) -> Any:
    loader = _UniqueKeyLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count_values(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _count_values(node: yaml.Node, known: dict[int, int | None]) -> int:
    """Number of values under a node, where an alias counts as often as it is used; `known` holds those counted so far."""
    if id(node) in known:
        count = known[id(node)]
        if count is None:
            raise _TooLargeError("an alias refers to a value that contains it", node)
        return count
    known[id(node)] = None
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    count = 1 + sum(_count_values(child, known) for child in children)
    if count > MAX_VALUES:
        raise _TooLargeError(f"aliases and merge keys (<<) stand for more than {MAX_VALUES:,} values", node)
    known[id(node)] = count
    return count


class _UniqueKeyLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise _DuplicateKeyError(key.value, key.start_mark.line + 1)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)
