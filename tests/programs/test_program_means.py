import numpy as np
import pytest
from scipy import sparse

from scbig.programs import compute_program_means


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array, sparse.csc_matrix])
def test_means_against_loops(convert: type) -> None:
    x = np.random.default_rng(0).poisson(1.0, size=(6, 9)).astype(np.float32)
    labels = np.array([0, 2, 2, 0, -1, 0, 2, -1, 0])
    expected = np.array(
        [[row[labels == k].mean() if k != 1 else 0 for k in range(3)] for row in x]
    )
    found = compute_program_means(convert(x), labels, 3)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_wrong_number_of_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="Found 2 labels for 3 genes"):
        compute_program_means(np.ones((1, 3)), np.zeros(2, int), 1)
