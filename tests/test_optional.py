"""A missing extra names the line that installs it."""

import json
import sys
from pathlib import Path

import pytest

from scbig._optional import require


def test_a_module_that_is_there_is_imported() -> None:
    assert require("json", "eval") is json


def test_a_missing_module_names_its_extra() -> None:
    with pytest.raises(ImportError, match=r"pip install 'scbig\[pertpy\]'"):
        require("no_such_module_of_pertpy", "pertpy")


def test_a_fault_inside_an_optional_module_is_not_taken_for_its_absence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import no_such_dependency")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "half_installed", raising=False)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        require("half_installed", "pertpy")
