"""Every README block runs: Python from top to bottom, shell against the commands that exist."""

import re
import shlex
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).parents[1]
REAL_SCREEN = "papalexi2021.h5ad"


def get_blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def get_commands(program: str) -> list[list[str]]:
    lines = "".join(get_blocks("bash")).splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in words if line[:1] == [program]]


def test_python_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    blocks = [block for block in get_blocks("python") if REAL_SCREEN not in block]
    assert len(blocks) >= 4
    namespace: dict = {"__name__": "readme"}
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"README.md, Python block {number}", "exec"), namespace)
    predicted = namespace["predicted"]
    labels = {"control", namespace["first"], f"{namespace['first']}+{namespace['second']}"}
    assert set(predicted.obs["perturbation"]) == labels
    assert predicted.layers["scbig"].min() >= 0
    assert (tmp_path / "my_model").is_dir()


@pytest.mark.data_kit
def test_the_first_genes_of_the_real_screen_are_among_the_measured_ones(
    data_kit: Path, monkeypatch: pytest.MonkeyPatch
):
    import scanpy as sc

    (script,) = [block for block in get_blocks("python") if REAL_SCREEN in block]
    assert len([line for line in script.splitlines() if line.strip()]) <= 15
    monkeypatch.chdir(data_kit)
    names: dict = {}
    exec(compile(script, "README.md, the real screen", "exec"), names)

    def rank(adata, layer: str | None = None) -> list[str]:
        sc.tl.rank_genes_groups(adata, "perturbation", layer=layer, **names["asked"])
        return sc.get.rank_genes_groups_df(adata, "JAK2")["names"].tolist()

    assert not (names["train"].obs["perturbation"] == "JAK2").any()
    real = names["adata"]
    measured = real[real.obs["perturbation"].isin(["JAK2", "control"])].copy()
    expected = set(rank(measured)[:20])
    found = rank(names["predicted"])[:10]
    assert len(expected.intersection(found)) >= 5
    assert rank(names["predicted"], "effect_regression")[:10] == found


def test_scbig_commands_exist():
    from scbig.cli import app

    known = typer.main.get_command(app).commands
    called = get_commands("scbig")
    assert {name for name, *_ in called} == {"demo", "train", "predict", "benchmark", "info"}
    for name, *arguments in called:
        options = {option for parameter in known[name].params for option in parameter.opts}
        assert {word for word in arguments if word.startswith("--")} <= options


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    known = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    called = {target for target, *_ in get_commands("make")}
    assert called == {"demo", "test"}
    assert called <= known


def test_linked_files_exist():
    text = (ROOT / "README.md").read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert len(links) >= 5
    lacking = []
    for link in links:
        path, _, heading = link.partition("#")
        lines = (ROOT / path).read_text("utf-8").lower().splitlines() if heading else []
        is_there = not heading or f"## {heading.replace('-', ' ')}" in lines
        lacking += [] if (ROOT / path).exists() and is_there else [link]
    assert lacking == []


def test_the_checks_are_described_as_they_are():
    [line] = re.findall(r"^make .*$", (ROOT / ".ci" / "run").read_text("utf-8"), re.MULTILINE)
    targets = [word for word in line.split()[1:] if not word.startswith("-")]
    page = (ROOT / "docs" / "developer" / "contributing.md").read_text("utf-8")
    assert f"`make {' '.join(targets)}`" in page
    assert targets[-1] == "test"
