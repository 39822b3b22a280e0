"""The public names of the package are those of the documentation, and cost nothing until they are used."""

import subprocess
import sys

import pytest

import longform
from longform.records.errors import BadInputError

NAMES = [
    *("Endpoint", "Recipe", "Reward", "RewardResult", "audit", "compare", "generate", "grade", "load_recipe"),
    *("open_run", "run_benchmark", "select", "train"),
]
HEAVY = ("torch", "transformers", "aiohttp", "pydantic", "numpy")


def test_the_public_names_are_pinned():
    assert longform.__all__ == NAMES
    assert set(NAMES) <= set(dir(longform))


@pytest.mark.parametrize("name", NAMES)
def test_each_name_resolves_and_stays_what_it_is(name):
    found = getattr(longform, name)
    assert found is getattr(longform, name)
    assert found.__name__ == name
    assert found.__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'longform' has no attribute 'trian'"):
        longform.trian  # noqa: B018


def test_importing_the_package_loads_nothing_heavy_and_reading_names_no_torch():
    source = f"""
import sys, longform
assert not [it for it in {HEAVY} if it in sys.modules]
for name in longform.__all__:
    getattr(longform, name)
assert not [it for it in ("torch", "transformers") if it in sys.modules]
import longform.training, longform.selection
assert callable(longform.train) and callable(longform.select)
"""
    subprocess.run([sys.executable, "-c", source], check=True, timeout=120)


def test_a_run_is_opened_for_reading(tmp_path):
    with pytest.raises(BadInputError, match="not a run directory"):
        longform.open_run(tmp_path)
