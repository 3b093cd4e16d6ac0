"""The extra `rl`, and that gymnax does not hold JAX back where a newer one runs."""

import tomllib

import pytest
from packaging.requirements import Requirement

from tests.helpers import ROOT


def installed_by(extra: str, python_version: str) -> set[str]:
    """The names of all packages that an extra asks for itself."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    names = set()
    for text in extras[extra]:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate(
            {"python_version": python_version}
        ):
            continue
        if requirement.name == "grujax":
            names.update(*(installed_by(name, python_version) for name in requirement.extras))
        else:
            names.add(requirement.name)
    return names


@pytest.mark.parametrize(("python_version", "has_gymnax"), [("3.11", True), ("3.12", False)])
def test_gymnax_is_for_the_python_of_its_jax(python_version, has_gymnax):
    for extra in ("rl", "dev"):
        assert ("gymnax" in installed_by(extra, python_version)) == has_gymnax
