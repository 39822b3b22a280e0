"""Reads YAML files that people write: every error is one line, and duplicate keys are errors."""

from pathlib import Path
from typing import Any

import yaml

from longform.records.errors import BadInputError


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file.

    Errors quote none of the content, which may contain an API key.

    Raises:
        BadInputError: `FILE:LINE: problem`; the file cannot be read, is not YAML, or has a duplicate key.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), _UniqueKeyLoader)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror}") from error
    except _DuplicateKeyError as error:
        raise BadInputError(f"{path}:{error.line}: {error.key}: duplicate key") from None
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BadInputError(f"{path}{line}: not YAML") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise BadInputError(f"{path}: not YAML") from None


class _DuplicateKeyError(Exception):
    def __init__(self, key: str, line: int) -> None:
        super().__init__(key)
        self.key, self.line = key, line


class _UniqueKeyLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise _DuplicateKeyError(key.value, key.start_mark.line + 1)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)
