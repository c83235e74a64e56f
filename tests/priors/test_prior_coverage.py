import logging

import pytest

from scbig.priors import Coverage
from scbig.priors._coverage import log_coverage, make_coverage


def test_counts_and_order_of_what_is_missing() -> None:
    coverage = make_coverage("STRING", ["C", "A", "B"], [False, True, False])
    assert coverage == Coverage("STRING", n_found=1, n_total=3, missing=("C", "B"))
    assert coverage.fraction == pytest.approx(1 / 3)


def test_nothing_asked_for() -> None:
    assert make_coverage("STRING", [], []).fraction == 0.0


def test_text_of_a_full_match() -> None:
    assert str(Coverage("GO", 4, 4, ())) == "GO: 4 of 4 names matched (100%)"


def test_text_is_one_line_however_much_is_missing() -> None:
    missing = tuple(f"G{i}" for i in range(48))
    text = str(Coverage("STRING", 57, 105, missing))
    assert text.startswith("STRING: 57 of 105 names matched (54%); missing: G0, G1, ")
    assert text.endswith("G9, ... and 38 more")
    assert "\n" not in text


def test_text_of_few_missing_names() -> None:
    assert str(Coverage("GO", 1, 2, ("A",))).endswith("(50%); missing: A")


@pytest.mark.parametrize(("n_found", "level"), [(1, logging.INFO), (0, logging.WARNING)])
def test_log_level(caplog: pytest.LogCaptureFixture, n_found: int, level: int) -> None:
    with caplog.at_level(logging.INFO, logger="scbig.priors"):
        log_coverage(Coverage("GO", n_found, 2, ("A", "B")[n_found:]))
    assert [record.levelno for record in caplog.records] == [level]
    assert f"GO: {n_found} of 2" in caplog.text
    assert ("load_aliases" in caplog.text) == (n_found == 0)
