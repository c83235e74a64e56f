import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

from scbig.priors._safe_loading import load_plain_pickle


class Runs:
    """Pickles as a call, the way a harmful file does."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def save(folder: Path, content: object, protocol: int = 4) -> Path:
    path = folder / "table.pkl"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "<i8", "?", "<U3"])
def test_arrays_of_every_protocol(tmp_path: Path, protocol: int, dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    for value in (array, np.asfortranarray(array), array[:, ::2]):
        loaded = np.asarray(load_plain_pickle(save(tmp_path, {"A": value}, protocol))["A"])
        np.testing.assert_array_equal(loaded, value)
        assert loaded.dtype == value.dtype


@given(hnp.arrays(hnp.floating_dtypes(sizes=(16, 32, 64)), hnp.array_shapes(max_dims=3)))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray) -> None:
    path = save(tmp_path_factory.mktemp("pickle"), {"A": array})
    np.testing.assert_array_equal(np.asarray(load_plain_pickle(path)["A"]), array)


@pytest.mark.parametrize("core", ["core", "_core"])
def test_module_names_of_both_numpy_versions(tmp_path: Path, core: str) -> None:
    written = pickle.dumps({"A": np.ones(2), "B": np.float32(3)}, protocol=0)
    other = written.replace(b"numpy._core.", f"numpy.{core}.".encode())
    assert f"cnumpy.{core}.multiarray".encode() in other
    loaded = load_plain_pickle(save(tmp_path, other))
    np.testing.assert_array_equal(np.asarray(loaded["A"]), [1, 1])
    assert loaded["B"] == 3


def test_scalars_and_containers(tmp_path: Path) -> None:
    table = OrderedDict({np.str_("A"): [1.5, np.float64(2)], "B": (1, True, None)})
    assert load_plain_pickle(save(tmp_path, table)) == table


def test_system_call_is_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "was_run"
    path = save(tmp_path, {"A": Runs(os.system, f"touch {marker}")})
    with pytest.raises(ValueError, match=r"is refused: it asks for \w+\.system\. A pickle can"):
        load_plain_pickle(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes())
    assert marker.exists()  # the file is a true attack on the plain reader


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (Runs(eval, "1"), r"builtins\.eval"),
        (Runs(getattr, "a", "upper"), r"builtins\.getattr"),
        (Decimal(1), r"decimal\.Decimal"),
        (np.random.default_rng, r"numpy\.random\.default_rng"),
        (np.ma.masked_array([1.0]), r"numpy\.ma\.core"),
        (b"cnumpy\nload\n.", r"numpy\.load"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__call__\x93.", r"numpy\.dtype\.__call__"),
        (np.array([None, "A"], dtype=object), "array of type 'O8'"),
        (np.zeros(1, dtype="f4,O"), "array of type 'V12'"),
        (np.array(["2020"], dtype="M8[D]"), "array of type 'M8'"),
        (b"c_codecs\nencode\n(Va\nVrot13\ntR.", "encoding 'rot13'"),
    ],
)
def test_refused(tmp_path: Path, content: object, match: str) -> None:
    with pytest.raises(ValueError, match=f"is refused: it .*({match})"):
        load_plain_pickle(save(tmp_path, content))


def test_object_flags_are_not_believed(tmp_path: Path) -> None:
    # A float type whose state claims to be something else stays a float type.
    state = b"(I3\nV<\nNNNI1\nI1\nI63\nt"
    dtype = b"cnumpy\ndtype\n(Vf8\nI0\nI1\ntR" + state + b"b"
    scalar = b"cnumpy._core.multiarray\nscalar\n(" + dtype + b"C\x08" + b"\0" * 8 + b"tR."
    assert load_plain_pickle(save(tmp_path, scalar)) == 0.0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        pickle.dumps({"A": [1.0, 2.0]})[:-4],
        pickle.dumps(np.ones(3), 4).replace(b"K\x03\x85", b"K\x09\x85"),
        b"cnumpy\ndtype\n(tR.",
        b"cnumpy\nndarray\n)\x81(I1\ntb.",
        b"cnumpy._core.multiarray\nscalar\n(I1\nI2\ntR.",
        b"\x8d" + b"\xff" * 8,
    ],
    ids=[
        "empty",
        "garbage",
        "cut",
        "shape too large",
        "no type",
        "bad state",
        "no dtype",
        "length",
    ],
)
def test_damaged(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match=r"table\.pkl is (refused|not a readable pickle)"):
        load_plain_pickle(save(tmp_path, content))


WHOLE = pickle.dumps({"A": np.ones(3), "B": [1.0, np.float32(2)]})


@given(st.integers(0, len(WHOLE) - 1))
def test_cut_anywhere(tmp_path_factory: pytest.TempPathFactory, end: int) -> None:
    path = save(tmp_path_factory.mktemp("pickle"), WHOLE[:end])
    with pytest.raises(ValueError, match=path.name):
        load_plain_pickle(path)
