"""The parts stand on one another as the design draws them, and keep the conventions that no tool checks."""

import ast
import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

import equinox as eqx
import pytest

import sobolev_pruning

ROOT = Path(sobolev_pruning.__file__).parent
FILES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in sorted(ROOT.rglob("*.py"))}

# Bottom up; what each part may import of the others.
ALLOWED = {
    "intervals": set(),
    "reference": set(),
    "regions": {"intervals"},
    "surrogate": {"reference", "regions"},
    "metrics": {"reference"},
    "sobolev": {"reference", "surrogate"},
    "pruning": {"intervals", "reference", "regions", "surrogate", "metrics", "sobolev"},
    "certification": {"intervals", "regions", "surrogate"},
    "exchange": {"reference", "surrogate", "sobolev", "pruning"},
    "study": {
        "intervals",
        "reference",
        "regions",
        "surrogate",
        "metrics",
        "sobolev",
        "pruning",
        "certification",
        "exchange",
    },
    "cli": {"reference", "regions", "surrogate", "metrics", "sobolev", "pruning", "certification", "study", "exchange"},
}
PARTS = [part for part in ALLOWED if part != "cli"]
# Facts about the library itself, and helpers that know none of its parts; every part may use them.
COMMON = {
    "_columns",
    "_compat",
    "_digest",
    "_files",
    "_lock",
    "_programs",
    "_reading",
    "_safetensors",
    "_version",
    "_work",
}


def imported(file):
    """Dotted names of every module that a file imports, relative ones in full."""
    package = ["sobolev_pruning", *file.split("/")[:-1]]
    for node in ast.walk(FILES[file]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            # `from .. import surrogate` names a part as well.
            yield from (f"{module}.{alias.name}" for alias in node.names)


def part_of(file):
    return file.split("/")[0].removesuffix(".py")


def test_the_table_of_parts_is_complete():
    found = {part_of(file) for file in FILES} - COMMON - {"__init__", "__main__"}
    assert found == set(ALLOWED)


@pytest.mark.parametrize("file", FILES)
def test_imports_go_downwards(file):
    """And to public faces: what begins with an underscore is imported within its own part alone."""
    part = part_of(file)
    if part not in ALLOWED:
        return
    for name in imported(file):
        if not name.startswith("sobolev_pruning."):
            continue
        _, other, *rest = name.split(".")
        if other in {part, *COMMON}:
            continue
        assert other in ALLOWED[part], f"{file} imports {name}"
        assert not any(piece.startswith("_") for piece in rest), f"{file} imports {name}, which is private"


# What is read of JAX stands beside it, since other parts read JAX as well.
@pytest.mark.parametrize("file", [file for file in FILES if part_of(file) in ("intervals", "_compat")])
def test_intervals_can_be_used_alone(file):
    known = {"jax", "jaxtyping", "numpy"} | sys.stdlib_module_names
    own = ("sobolev_pruning.intervals", "sobolev_pruning._compat")
    for name in imported(file):
        assert name.startswith(own) or name.split(".")[0] in known, f"{file} imports {name}"


@pytest.mark.parametrize("file", FILES)
def test_nothing_private_unsafe_or_starred_is_imported(file):
    for node in ast.walk(FILES[file]):
        if isinstance(node, ast.ImportFrom):
            assert "*" not in [alias.name for alias in node.names], f"{file}, line {node.lineno}: a star import"
            assert node.module != "__future__", f"{file}, line {node.lineno}: it hides annotations from their checks"
        if isinstance(node, ast.Attribute):
            assert not (node.attr == "_src" and isinstance(node.value, ast.Name)), f"{file}, line {node.lineno}"
    for name in imported(file):
        pieces = name.split(".")
        assert not {"pickle", "cloudpickle", "dill", "joblib", "marshal"} & set(pieces), f"{file} imports {name}"
        if pieces[0] != "sobolev_pruning":
            private = [piece for piece in pieces if piece.startswith("_") and not piece.startswith("__")]
            assert not private, f"{file} imports {name}, which is private"


def test_numpy_files_are_not_unpickled():
    for file, tree in FILES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant), file
                assert node.value.value is False, file


@pytest.mark.parametrize("part", PARTS)
def test_the_public_face_is_sorted_and_documented(part):
    module = importlib.import_module(f"sobolev_pruning.{part}")
    assert module.__doc__

    # Constants, then classes, then functions: the order in which the linter sorts.
    def kind(name):
        return (not name.isupper(), not name[0].isupper(), name)

    assert module.__all__ == sorted(set(module.__all__), key=kind)
    for name in module.__all__:
        assert not name.startswith("_")
        public = getattr(module, name)
        if not inspect.isclass(public) and not inspect.isroutine(inspect.unwrap(public)):
            continue  # a constant or an alias
        assert inspect.getdoc(public), f"{part}.{name} has no docstring"


def modules():
    for info in pkgutil.walk_packages([str(ROOT)], "sobolev_pruning."):
        if not info.name.endswith("__main__"):
            yield importlib.import_module(info.name)


def test_classes_are_abstract_or_final():
    """Nothing between: a child's parents have abstract methods or none at all, and are named so."""
    found = {
        value
        for module in modules()
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, eqx.Module) and value.__module__.startswith("sobolev_pruning")
    }
    assert len(found) > 20
    for cls in found:
        parents = [p for p in cls.__mro__[1:] if p.__module__.startswith("sobolev_pruning")]
        for parent in parents:
            assert parent.__name__.startswith("Abstract"), f"{cls} inherits from the concrete {parent}"
        is_abstract = cls.__name__.startswith("Abstract")
        assert is_abstract == inspect.isabstract(cls), cls
        assert is_abstract != getattr(cls, "__final__", False), f"{cls} is neither abstract nor final, or both"


def test_long_tests_are_there(request):
    """A name in the list of long tests that no test has any more would hide nothing, and say that it does."""
    conftest = next(p for p in request.config.pluginmanager.get_plugins() if hasattr(p, "LONG"))
    for file, names in conftest.LONG.items():
        text = (conftest.TESTS / file).read_text(encoding="utf-8")
        for name in names:
            assert f"def {name.split('[')[0]}(" in text, f"{file}: {name}"
