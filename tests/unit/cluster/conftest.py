"""These tests need verl, which only the extra `cluster` installs."""

from importlib.util import find_spec

import pytest


def pytest_pycollect_makemodule() -> None:
    if find_spec("verl") is None:
        pytest.skip("longform[cluster] is not installed")
