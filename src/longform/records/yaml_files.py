"""Reading YAML files that people write: every fault is one line, and a key that stands twice is a fault."""

from pathlib import Path
from typing import Any

import yaml

from longform.records.errors import BadInputError


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file.

    Nothing of the content is quoted in an error: somebody may have put a key there.

    Raises:
        BadInputError: `FILE:LINE: what is wrong`; the file cannot be read, is no YAML, or has a key twice in one place.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), _UniqueKeyLoader)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror}") from error
    except _DuplicateKeyError as error:
        raise BadInputError(f"{path}:{error.line}: {error.key}: this key stands there twice") from None
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BadInputError(f"{path}{line}: is no YAML") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise BadInputError(f"{path}: is no YAML") from None


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
