"""The package offers its main names, and imports nothing before one is used."""

import subprocess
import sys

import pytest

import sobolev_pruning

LIGHT = """
import sys
import sobolev_pruning as sp
assert "fit" in dir(sp) and "SobolevRegressor" in dir(sp)
heavy = {"jax", "numpy", "equinox", "sklearn", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""


def test_import_is_light():
    subprocess.run([sys.executable, "-c", LIGHT], check=True)


@pytest.mark.parametrize("name", [name for name in sobolev_pruning.__all__ if name != "__version__"])
def test_every_name_is_that_of_its_part(name):
    found = getattr(sobolev_pruning, name)
    part = sys.modules[f"sobolev_pruning.{sobolev_pruning._PART_OF[name]}"]
    assert name in part.__all__
    assert found is getattr(part, name)


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="'sobolev_pruning' has no attribute 'fitt'"):
        _ = sobolev_pruning.fitt
