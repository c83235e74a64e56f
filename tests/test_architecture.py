"""The source keeps its floors and habits (docs/developer/architecture.md)."""

import ast
import graphlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "scbig"

FLOORS = {
    9: {"__main__", "cli"},
    8: {"benchmark"},
    7: {"pl"},
    6: {"pp", "tl"},
    5: {"model", "baselines"},
    4: {"predictor"},
    3: {"regression", "metrics", "splits", "programs"},
    2: {"data", "priors"},
    1: {"nn", "ot", "flow", "cells", "labels"},
    0: {
        "_annotations",
        "_arguments",
        "_console",
        "_constants",
        "_scvi_arguments",
        "_scvi_tools",
        "_types",
        "_writing",
        "_protocols",
        "_reading",
        "_optional",
    },
}
# Imports between rooms of one floor; all others point downward.
SIDEWAYS = {("__main__", "cli"), ("data", "priors"), ("_annotations", "_arguments")}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
PURE_ROOMS = {"nn", "ot", "flow", "cells", "labels"}
ANNDATA_LIBRARIES = {"anndata", "mudata", "scanpy", "scvi"}
SCVI_PRIVATE_HOLDERS = (("predictor",),)
MAX_LINES = 400


# A module of scbig, as its path inside the package: ("ot", "_exact"); () is scbig itself.
Module = tuple[str, ...]
Check = Callable[[Module, ast.Module], Iterator[str]]


def get_module(root: Path, file: Path) -> Module:
    parts = file.relative_to(root).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def get_imports(root: Path, file: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every import in a file, inside functions too, as (line, absolute dotted name)."""
    module = get_module(root, file)
    package = module if file.name == "__init__.py" else module[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [node.module] if node.module else []
            if node.level:
                base = ["scbig", *package[: len(package) - node.level + 1], *base]
            yield from ((node.lineno, ".".join([*base, alias.name])) for alias in node.names)


def read_sources(root: Path) -> dict[Path, ast.Module]:
    return {file: ast.parse(file.read_text("utf-8")) for file in sorted(root.rglob("*.py"))}


def find_broken_floors(root: Path) -> list[str]:
    """Imports that point upward, circles between rooms, and rooms that have no floor."""
    problems: list[str] = []
    uses: dict[str, set[str]] = {}
    for file, tree in read_sources(root).items():
        module = get_module(root, file)
        if not module:
            continue
        room = module[0]
        where = file.relative_to(root)
        if room not in FLOOR_OF:
            problems.append(f"{where}: the room {room!r} has no floor")
            continue
        for line, name in get_imports(root, file, tree):
            target = name.split(".")[1:]
            if not name.startswith("scbig.") or target[0] == room or target[0] == "__version__":
                continue
            floor = FLOOR_OF.get(target[0], 99)
            if floor > FLOOR_OF[room]:
                problems.append(f"{where}:{line}: {room} looks up to {target[0]}")
            elif floor == FLOOR_OF[room] and (room, target[0]) not in SIDEWAYS:
                problems.append(f"{where}:{line}: {room} looks sideways to {target[0]}")
            uses.setdefault(room, set()).add(target[0])
    return problems + find_circles(uses)


def find_circles(uses: dict[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(uses).prepare()
    except graphlib.CycleError as error:
        return ["circle: " + " -> ".join(reversed(error.args[1]))]
    return []


def find_foreign_knowledge(root: Path) -> list[str]:
    """Imports that a room may not know, although they point downward or outward."""
    problems = []
    for file, tree in read_sources(root).items():
        module = get_module(root, file)
        for line, name in get_imports(root, file, tree):
            problem = describe_foreign_import(module, name.split("."))
            if problem:
                problems.append(f"{file.relative_to(root)}:{line}: {problem}")
    return problems


def describe_foreign_import(module: Module, name: list[str]) -> str | None:
    if module[:1] and module[0] in PURE_ROOMS and name[0] in ANNDATA_LIBRARIES:
        return f"{module[0]} works on plain values and knows no {name[0]}"
    is_private = name[0] == "scvi" and any(is_private_name(part) for part in name[1:])
    if is_private and not any(module[: len(h)] == h for h in SCVI_PRIVATE_HOLDERS):
        return f"{'.'.join(name)} is private to scvi-tools"
    is_sibling = name[:2] == ["scbig", "model"] and len(name) > 2 and len(module) > 1
    if is_sibling and module[0] == "model" and name[2] != module[1]:
        return f"the model {module[1]} knows the model {name[2]}"
    if module[:1] == ("model",) and name[:2] == ["scbig", "baselines"]:
        return f"the model {'.'.join(module[1:])} knows the baselines"
    return None


def find_circles_of_files(root: Path) -> list[str]:
    """Files of a room that import each other, for the sake of a type or not."""
    modules = {".".join(("scbig", *get_module(root, file))) for file in root.rglob("*.py")}
    uses: dict[str, set[str]] = {}
    for file, tree in read_sources(root).items():
        if file.name == "__init__.py":
            continue
        own = ".".join(("scbig", *get_module(root, file)))
        named = {name.rpartition(".")[0] for _, name in get_imports(root, file, tree)}
        uses[own] = {name for name in named if name in modules and name != own}
    return find_circles(uses)


def find_shared_names(root: Path) -> list[str]:
    """Classes that have the same name as another."""
    homes: dict[str, list[str]] = {}
    for file, tree in read_sources(root).items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(str(file.relative_to(root)))
    return [f"{name}: {', '.join(files)}" for name, files in homes.items() if len(files) > 1]


def is_private_name(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def check_calls(_: Module, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "print":
            yield f"{node.lineno}: print"


def check_exceptions(_: Module, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        for kind in kinds:
            if kind is None:
                yield f"{node.lineno}: bare except"
            elif isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"}:
                yield f"{node.lineno}: except {kind.id}"


def check_asserts(_: Module, tree: ast.Module) -> Iterator[str]:
    yield from (f"{n.lineno}: assert" for n in ast.walk(tree) if isinstance(n, ast.Assert))


def check_warning_filters(_: Module, tree: ast.Module) -> Iterator[str]:
    """Filters that a mere import sets; inside a function they are that function's business."""
    for node in walk_module_level(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            if name in {"filterwarnings", "simplefilter"}:
                yield f"{node.lineno}: {name} at import"


def walk_module_level(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from walk_module_level(child)


CHECKS: tuple[Check, ...] = (check_calls, check_exceptions, check_asserts, check_warning_filters)


def find_broken_habits(root: Path) -> list[str]:
    problems = []
    for file, tree in read_sources(root).items():
        where = file.relative_to(root)
        module = get_module(root, file)
        problems += [f"{where}:{found}" for check in CHECKS for found in check(module, tree)]
        n_lines = len(file.read_text("utf-8").splitlines())
        if n_lines > MAX_LINES:
            problems.append(f"{where}: {n_lines} lines, at most {MAX_LINES}")
        if file.name in {"_utils.py", "utils.py"}:
            problems.append(f"{where}: name the file after what it does")
    return problems


@pytest.mark.parametrize(
    "find_problems",
    [
        find_broken_floors,
        find_circles_of_files,
        find_foreign_knowledge,
        find_broken_habits,
        find_shared_names,
    ],
)
def test_source_keeps_the_rules(find_problems: Callable[[Path], list[str]]):
    assert find_problems(SOURCE) == []


def test_floors_are_those_of_the_documentation():
    page = (SOURCE.parents[1] / "docs" / "developer" / "architecture.md").read_text("utf-8")
    plan = page.split("```")[1]
    numbers = [int(line[0]) for line in plan.splitlines() if line[:1].isdigit()]
    assert numbers == sorted(FLOORS, reverse=True)
    for above, below in pairwise([*sorted(FLOORS, reverse=True), None]):
        end = None if below is None else plan.index(f"\n{below} ")
        block = plan[plan.index(f"\n{above} ") : end]
        assert [room for room in FLOORS[above] if room not in block] == []
    stated = [f"`{one}` uses `{other}`" for one, other in SIDEWAYS]
    assert [sentence for sentence in stated if sentence not in page] == []


@pytest.fixture
def make_tree(tmp_path: Path) -> Callable[..., Path]:
    def make(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path.joinpath(*name.split("__in__")[::-1]).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


UPWARD = [
    "from scbig.pl import scores",
    "import scbig.pl",
    "from scbig import pl",
    "from ..pl import scores",
    "from .. import pl",
    "def f():\n    from scbig.pl._scores import scores",
    "if TYPE_CHECKING:\n    from scbig.pl import scores",
]


@pytest.mark.parametrize("text", UPWARD)
def test_an_upward_import_is_found(make_tree: Callable[..., Path], text: str):
    [problem] = find_broken_floors(make_tree(_exact__in__ot=text))
    assert problem.startswith("ot/_exact.py:")
    assert problem.endswith("ot looks up to pl")


def test_relative_imports_of_a_package_file_are_resolved(make_tree: Callable[..., Path]):
    assert find_broken_floors(make_tree(__init____in__ot="from ._exact import pair")) == []
    [problem] = find_broken_floors(make_tree(__init____in__ot="from ..pl import scores"))
    assert problem == "ot/__init__.py:1: ot looks up to pl"


def test_downward_and_own_imports_pass(make_tree: Callable[..., Path]):
    names = ("numpy", "scbig.__version__", "scbig.ot.exact", "scbig.pl._axes")
    text = "\n".join(f"import {name}" for name in names)
    assert find_broken_floors(make_tree(_scores__in__pl=text)) == []


def test_a_circle_on_one_floor_is_found(make_tree: Callable[..., Path]):
    root = make_tree(
        a__in__metrics="from scbig.splits import x",
        a__in__splits="from scbig.programs import x",
        a__in__programs="from scbig.metrics import x",
    )
    problem = find_broken_floors(root)[-1]
    assert problem.startswith("circle: ")
    assert {"metrics", "splits", "programs"} <= set(problem.replace("->", "").split())


def test_a_room_without_a_floor_is_found(make_tree: Callable[..., Path]):
    assert find_broken_floors(make_tree(a__in__attic="")) == [
        "attic/a.py: the room 'attic' has no floor"
    ]


@pytest.mark.parametrize(
    ("room", "text", "problem"),
    [
        ("ot", "import anndata as ad", "ot works on plain values and knows no anndata"),
        (
            "nn",
            "def f():\n    from scvi import settings",
            "nn works on plain values and knows no scvi",
        ),
        ("data", "from scvi.data._x import y", "scvi.data._x.y is private to scvi-tools"),
        ("data", "from scvi.data import _y", "scvi.data._y is private to scvi-tools"),
    ],
)
def test_foreign_knowledge_is_found(
    make_tree: Callable[..., Path], room: str, text: str, problem: str
):
    [found] = find_foreign_knowledge(make_tree(**{f"a__in__{room}": text}))
    assert found.endswith(f": {problem}")


def test_the_holder_of_private_names_may_use_them(make_tree: Callable[..., Path]):
    assert find_foreign_knowledge(make_tree(a__in__predictor="from scvi.data._x import y")) == []


def test_models_know_neither_each_other_nor_the_baselines(make_tree: Callable[..., Path]):
    text = (
        "from scbig.predictor import x\nfrom scbig.model.strand import y\nimport scbig.baselines"
    )
    root = make_tree(_model__in__scbig__in__model=text)
    assert find_foreign_knowledge(root) == [
        "model/scbig/_model.py:2: the model scbig knows the model strand",
        "model/scbig/_model.py:3: the model scbig._model knows the baselines",
    ]


def test_sideways_imports_are_those_that_are_stated(make_tree: Callable[..., Path]):
    root = make_tree(a__in__ot="from scbig.nn import x", b__in__data="from scbig.priors import x")
    assert find_broken_floors(root) == ["ot/a.py:1: ot looks sideways to nn"]


def test_a_circle_of_files_is_found(make_tree: Callable[..., Path]):
    root = make_tree(
        a__in__ot="from scbig.ot.b import x",
        b__in__ot="def f():\n    from scbig.ot.a import y",
    )
    [problem] = find_circles_of_files(root)
    assert {"scbig.ot.a", "scbig.ot.b"} <= set(problem.split())


def test_shared_class_names_are_found(make_tree: Callable[..., Path]):
    root = make_tree(
        a__in__ot="class A: ...", b__in__nn="def f():\n    class A: ...", c__in__nn=""
    )
    assert find_shared_names(root) == ["A: nn/b.py, ot/a.py"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("def f():\n    print(1)", "2: print"),
        ("try:\n    f()\nexcept:\n    pass", "3: bare except"),
        ("try:\n    f()\nexcept Exception:\n    pass", "3: except Exception"),
        (
            "try:\n    f()\nexcept (ValueError, BaseException):\n    pass",
            "3: except BaseException",
        ),
        ("def f(x):\n    assert x", "2: assert"),
        ("import warnings\nwarnings.filterwarnings('ignore')", "2: filterwarnings at import"),
        ("if True:\n    simplefilter('ignore')", "2: simplefilter at import"),
    ],
)
def test_a_broken_habit_is_found(make_tree: Callable[..., Path], text: str, problem: str):
    assert find_broken_habits(make_tree(a__in__ot=text)) == [f"ot/a.py:{problem}"]


def test_a_filter_inside_a_function_passes(make_tree: Callable[..., Path]):
    text = "import warnings\ndef f():\n    warnings.simplefilter('ignore')"
    assert find_broken_habits(make_tree(a__in__ot=text)) == []


def test_long_and_nameless_files_are_found(make_tree: Callable[..., Path]):
    root = make_tree(a__in__ot="x = 1\n" * 400, b__in__ot="x = 1\n" * 401, _utils__in__ot="")
    assert find_broken_habits(root) == [
        "ot/_utils.py: name the file after what it does",
        "ot/b.py: 401 lines, at most 400",
    ]
