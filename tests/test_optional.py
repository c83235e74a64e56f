"""What is installed: a clash of names and a missing extra name the line that mends them."""

import json
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distributions, version
from pathlib import Path

import pytest

import scbig
from scbig import _optional
from scbig._optional import DISTRIBUTION, get_version, require

ROOT = Path(__file__).parents[1]
OURS = "Summary: Predict how single cells respond\nAuthor: The scbig developers\n"
STRANGERS = "Summary: Embedding of bipartite graphs\nAuthor: Somebody Else\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put fake distributions, of the files that pip writes, where scbig looks."""

    def look_up(name: str) -> Distribution:
        # Whatever is installed where the tests run, only the fake folder counts.
        for found in distributions(name=name, path=[str(tmp_path)]):
            return found
        raise PackageNotFoundError(name)

    def install(name: str, number: str, metadata: str | None) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-{number}.dist-info"
        folder.mkdir()
        if metadata is not None:
            head = f"Metadata-Version: 2.4\nName: {name}\nVersion: {number}\n"
            (folder / "METADATA").write_text(head + metadata)

    monkeypatch.setattr(_optional, "distribution", look_up)
    return install


def test_the_version_is_that_of_the_distribution():
    assert scbig.__version__ == version(DISTRIBUTION)


def test_alone_it_is_silent(install: Callable[..., None]):
    install("scbig-perturb", "9.8.7", OURS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert get_version() == "9.8.7"


@pytest.mark.parametrize("metadata", [STRANGERS, None], ids=["whole", "half removed"])
def test_another_project_of_that_name_is_a_clash(
    install: Callable[..., None], metadata: str | None
):
    install("scbig-perturb", "9.8.7", OURS)
    install("scbig", "0.1.1", metadata)
    mend = "pip uninstall scbig && pip install --force-reinstall --no-deps scbig-perturb"
    with pytest.warns(RuntimeWarning, match=f"Another project .*: {mend}") as record:
        assert get_version() == "9.8.7"
    assert len(record) == 1
    assert "\n" not in str(record[0].message)


def test_the_former_name_is_no_clash(install: Callable[..., None]):
    install("scbig-perturb", "9.8.7", OURS)
    install("scbig", "0.1.0", OURS)
    mend = r"pip uninstall scbig && pip install --force-reinstall --no-deps -e \."
    with pytest.warns(UserWarning, match=f"former name .* no harm.*: {mend}") as record:
        assert get_version() == "9.8.7"
    assert [warning.category for warning in record] == [UserWarning]


def test_the_former_name_alone_still_runs(install: Callable[..., None]):
    install("scbig", "0.1.0", OURS)
    with pytest.warns(UserWarning, match="former name"):
        assert get_version() == "0.1.0"


def test_without_an_installation_the_mend_is_named(install: Callable[..., None]):
    with pytest.raises(ImportError, match=r"scbig is not installed.*pip install -e \."):
        get_version()


def test_the_warning_points_at_the_import(tmp_path: Path):
    """In a process of its own, for scbig is imported by now."""
    folder = tmp_path / "scbig-0.1.1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Name: scbig\nVersion: 0.1.1\n{STRANGERS}")
    script = tmp_path / "analysis.py"
    script.write_text("import sys\n\nimport scbig\n")
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert f"{script}:3: RuntimeWarning: Another project" in done.stderr


def get_texts() -> Iterator[tuple[Path, str]]:
    """Every text of the project that may tell a user what to type."""
    names = ["README.md", "CHANGELOG.md", "CITATION.cff", "Makefile", "pyproject.toml"]
    files = [ROOT / name for name in names]
    for folder, pattern in (("src", "*.py"), ("docs", "*.md"), (".github", "*.yml")):
        files += sorted((ROOT / folder).rglob(pattern))
    yield from ((file.relative_to(ROOT), file.read_text("utf-8")) for file in files)


def test_nobody_is_sent_to_the_other_project():
    wrong = re.compile(r"\bscbig\[[a-z]|pip install\b[^\n|`]*\bscbig(?![-\w])")
    found = [f"{file}: {match[0]}" for file, text in get_texts() for match in wrong.finditer(text)]
    assert found == []


def test_a_module_that_is_there_is_imported() -> None:
    assert require("json", "eval") is json


def test_a_missing_module_names_its_extra() -> None:
    with pytest.raises(ImportError, match=r"pip install 'scbig-perturb\[pertpy\]'"):
        require("no_such_module_of_pertpy", "pertpy")


def test_a_fault_inside_an_optional_module_is_not_taken_for_its_absence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import no_such_dependency")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "half_installed", raising=False)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        require("half_installed", "pertpy")
