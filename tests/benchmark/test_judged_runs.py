"""What a benchmark keeps of the judge: failures are tried again, and parts not joined."""

from pathlib import Path

import pandas as pd
import pytest
from anndata import AnnData

from scbig import benchmark
from scbig.benchmark import BenchmarkSettings, _folder
from scbig.benchmark._field_judge import FieldJudge
from scbig.splits import Split, make_split

pytest.importorskip("cell_eval2", reason="the extra 'vcc' is not installed")


@pytest.fixture(scope="module")
def seen(screen: AnnData) -> Split:
    return make_split(screen, "seen", seed=0)


def run(screen: AnnData, split: Split, out: Path, judge: str | None) -> benchmark.BenchmarkResult:
    settings = BenchmarkSettings(metrics=("mse",), n_cells=20, n_resamples=20, judge=judge)
    return benchmark.run(screen, [split], ["no_change"], out=out, settings=settings)


def test_what_the_judge_fails_at_is_tried_again(
    screen: AnnData, seen: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    score = FieldJudge.score

    def fail(self: FieldJudge, predicted: AnnData, layer: str | None = None) -> pd.DataFrame:
        if layer != "prediction":  # the ceiling
            return self.get_failed("not asked here")
        raise MemoryError("no room")

    monkeypatch.setattr(FieldJudge, "score", fail)
    result = run(screen, seen, tmp_path, "vcc2026")
    name = f"{seen.name}, seed 0, no_change"
    assert result.failures == {name: "vcc2026: MemoryError: no room"}
    of_it = result.judged[result.judged["predictor"] == "no_change"]
    assert of_it["status"].eq("vcc2026: MemoryError: no room").all()
    assert set(result.scores["status"]) >= {"ok"}
    assert result.scores.loc[result.scores["predictor"] == "no_change", "value"].notna().all()
    parts = {path.name for path in (tmp_path / "parts").iterdir()}
    assert not any("no_change" in part or part.endswith(".tmp") for part in parts)
    monkeypatch.setattr(FieldJudge, "score", score)
    again = run(screen, seen, tmp_path, "vcc2026")
    assert again.failures == {}
    of_it = again.judged[again.judged["predictor"] == "no_change"]
    assert not of_it["status"].str.contains("MemoryError").any()
    assert of_it.set_index("metric")["value"].notna()["pds_cosine"]


def test_what_was_not_judged_is_not_joined_with_what_is(
    screen: AnnData, seen: Split, tmp_path: Path
):
    run(screen, seen, tmp_path, None)
    with pytest.raises(
        ValueError,
        match=r"judge was None and is 'vcc2026, .*to go on with these, leave the judge out\. "
        r"Begin anew with use_overwrite=True, or choose another folder",
    ):
        run(screen, seen, tmp_path, "vcc2026")


def test_an_interruption_leaves_no_half_of_what_the_judge_said(
    screen: AnnData, seen: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(table: object, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(FieldJudge, "score", lambda self, *_: self.get_failed("not asked here"))
    monkeypatch.setattr(_folder.pq, "write_table", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(screen, seen, tmp_path, "vcc2026")
    assert not list((tmp_path / "parts").glob("*.parquet"))
