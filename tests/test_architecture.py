"""The rules about the tree: who imports what, and what texts and mutations name exists."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import grujax
from tests.helpers import ROOT
from tests.mutations import MUTATIONS

PACKAGE = ROOT / "grujax"

# Each file or folder imports only what stands above it in this list; one line, one level.
LEVELS = [
    {"checks"},
    {"jax_support"},
    {"meshes"},
    {"params"},
    {"cell", "initializers"},
    {"implementations"},
    {"time_checks", "regularizers"},
    {"step_masks"},
    {"sequence"},
    {"layers", "newton"},
    {"baselines", "attention", "rollouts"},
    {"convert", "analysis", "online", "sweep", "testing"},
    {"flax_common", "serialization"},
    {"linen", "nnx"},
    {"__main__"},
    {"kernels"},
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
CORE = {
    "jax_support",
    "meshes",
    "params",
    "initializers",
    "cell",
    "implementations",
    "checks",
    "time_checks",
    "regularizers",
    "step_masks",
    "sequence",
    "layers",
    "newton",
    "flax_common",
}
PUBLIC = {
    "initializers",
    "linen",
    "nnx",
    "baselines",
    "attention",
    "rollouts",
    "convert",
    "analysis",
    "online",
    "sweep",
    "testing",
}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports_of(path: Path, *, lazy: bool = True) -> list[tuple[str, str]]:
    """(module, name) of every import in a file; name is "" for a module.

    `lazy`: whether to include the imports inside functions.
    """
    found = []
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found += [(node.module or "", alias.name) for alias in node.names]
        elif not is_type_checking(node) and (lazy or not isinstance(node, ast.FunctionDef)):
            pending += ast.iter_child_nodes(node)
    return found


def own_part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> set[str]:
    """The files and folders of the package that a file imports."""
    parts = set()
    for module, name in imports_of(path):
        if module == "grujax":
            assert name, f"{path} imports the whole package"
            parts.add(name)
        elif module.startswith("grujax."):
            parts.add(module.split(".")[1])
    return parts


OUTSIDE = [PACKAGE / "__init__.py", PACKAGE / "__main__.py"]  # they import the whole package
SOURCES = [path for path in sorted(PACKAGE.rglob("*.py")) if path not in OUTSIDE]
EXPERIMENTS = sorted((ROOT / "experiments").rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_imports_only_what_stands_below_it(path):
    part = own_part(path)
    assert part in LEVEL, f"give {part} its level in LEVELS"
    for imported in imported_parts(path):
        if imported == part:
            assert path.parent != PACKAGE, f"{part} imports itself"
            continue
        assert LEVEL[imported] < LEVEL[part], f"{part} imports {imported}"


@pytest.mark.parametrize("path", [path for path in SOURCES if own_part(path) in CORE], ids=name_of)
def test_the_core_needs_jax_alone(path):
    roots = {module.split(".")[0] for module, _ in imports_of(path)}
    allowed = {"grujax", "jax", "numpy", *sys.stdlib_module_names}
    assert roots <= allowed


@pytest.mark.parametrize(("view", "framework"), [("linen", "flax.linen"), ("nnx", "flax.nnx")])
def test_a_flax_view_imports_its_own_half_of_flax(view, framework):
    modules = {
        f"{module}.{name}" if module == "flax" else module
        for path in SOURCES
        if own_part(path) == view
        for module, name in imports_of(path)
    }
    flax = {module for module in modules if module.startswith("flax")}
    assert flax
    assert all(module.startswith(framework) for module in flax)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name_of)
def test_experiments_use_public_names_only(path):
    for module, name in imports_of(path):
        if module == "grujax":
            assert name == "" or name in grujax.__all__
        elif module.startswith("grujax."):
            _, part, *inner = module.split(".")
            assert part in PUBLIC
            assert not any(word.startswith("_") for word in (*inner, name))


@pytest.mark.parametrize("path", SOURCES + EXPERIMENTS, ids=name_of)
def test_plots_leave_the_backend_of_a_notebook_alone(path):
    """A figure is a `matplotlib.figure.Figure`, which belongs to no window."""
    for module, name in imports_of(path):
        assert "matplotlib.pyplot" not in (module, f"{module}.{name}")
        assert (module, name) not in (("matplotlib", ""), ("matplotlib", "use"))


def room_of(path: Path) -> str:
    """The folder of `experiments` that a file is in."""
    return path.relative_to(ROOT / "experiments").parts[0].removesuffix(".py")


COMMANDS = {path.parent.name for path in EXPERIMENTS if path.name == "__main__.py"}


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name_of)
def test_experiments_import_what_is_shared_and_of_other_commands_the_door(path):
    room = room_of(path)
    for module, name in imports_of(path):
        if not module.startswith("experiments"):
            continue
        _, *inner = f"{module}.{name}".split(".")
        if inner[0] in (room, "common"):
            continue
        assert room != "common", f"{path} imports {module}"
        if inner[0] in COMMANDS:
            assert room in COMMANDS, f"{path} imports a command"
            door = ROOT / "experiments" / inner[0] / "__init__.py"
            assert module == "experiments" or name in door.read_text(), f"{path} imports {module}"


def path_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def networks_in(path: Path) -> set[str]:
    """The Flax modules that a file defines."""
    found = {"nn.Module"}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and found & {ast.unparse(base) for base in node.bases}:
            found.add(node.name)
    return found - {"nn.Module"}


def networks_of(path: Path) -> dict[str, str]:
    """The Flax modules that a file of `experiments` imports from others, with their files."""
    imported = [pair for pair in imports_of(path) if pair[0].startswith("experiments.")]
    return {name: module for module, name in imported if name in networks_in(path_of(module))}


WITH_NETWORK = (
    *("exercises", "flip_flop", "forecasting", "images", "question_answering", "sentiment"),
    *("speech_recognition", "speech_synthesis", "summarization", "translation", "video"),
)


@pytest.mark.parametrize("command", WITH_NETWORK)
def test_the_layers_of_a_network_are_in_one_file_which_the_script_imports(command):
    networks = networks_of(ROOT / "experiments" / command / "train.py")
    assert networks
    for name, module in networks.items():
        assert not networks_of(path_of(module)), f"layers of {name} are in other files"


def test_no_folder_is_crowded():
    folders = {path.parent for path in (*SOURCES, *EXPERIMENTS, *(ROOT / "tests").rglob("*.py"))}
    for folder in folders:
        code = [path for path in folder.iterdir() if path.suffix in (".py", ".cpp", ".h", ".cuh")]
        assert len(code) <= 16, f"{folder} has {len(code)} files"  # 15 and __init__.py


def test_no_file_of_the_package_imports_itself_through_others():
    """The graph of imports between the files has no cycle."""
    files = {
        str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__")
        for path in SOURCES
    }
    graph = {}
    for path in SOURCES:
        name = str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")
        imported = set()
        for module, attribute in imports_of(path, lazy=False):
            inner = f"{module}.{attribute}"
            imported.add(inner if inner in files else module)
        graph[name.removesuffix(".__init__")] = imported & files
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_importing_grujax_loads_no_framework():
    code = (
        "import sys, grujax;"
        "print([m for m in ('flax', 'optax', 'orbax', 'torch', 'keras') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_submodules_resolve_at_first_use():
    code = (
        "import grujax; print(grujax.linen.GRU.__name__, grujax.nnx.GRU.__name__,"
        "grujax.baselines.lstm_cell.__name__, grujax.initializers.chrono.__name__)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["GRU", "GRU", "lstm_cell", "chrono"]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'grujax' has no attribute 'lstm'"):
        grujax.lstm  # noqa: B018


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_is_of_the_code_that_is_there(mutation):
    assert (ROOT / mutation.path).read_text(encoding="utf-8").count(mutation.old) == 1
