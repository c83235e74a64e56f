"""Regression baselines, with one intercept for each target."""

from scbig.baselines._base import Baseline
from scbig.baselines._choice import choose_on_validation
from scbig.baselines._embedding import EmbeddingBaseline
from scbig.baselines._intercept import InterceptRegression
from scbig.baselines._kernel import TargetKernel
from scbig.baselines._rule import Embeddings, Rule
from scbig.data import Effects


class RidgeIndicator(Baseline):
    """Ridge regression on indicators of the perturbed genes.

    Predicts the number of targets times the mean single effect, and for each target that was
    seen, alone or in combinations, what it adds. A target that was never seen has the mean
    single effect. Conditions weigh by their numbers of cells; the penalty is chosen on validation
    conditions by mean squared error. A linear baseline in the sense of Ahlmann-Eltze et al. 2025
    (doi:10.1038/s41592-025-02772-6).
    """

    default_key = "ridge"
    is_tuned = True

    @staticmethod
    def _choose_kernel(
        trained: Effects, held_out: Effects, embeddings: Embeddings
    ) -> TargetKernel:
        return choose_on_validation(trained, held_out, ())

    @staticmethod
    def _make_rule(effects: Effects, kernel: TargetKernel) -> Rule:
        return InterceptRegression(effects, kernel)


class KernelRidge(EmbeddingBaseline):
    """Kernel ridge regression on embeddings of the perturbed genes.

    As :class:`RidgeIndicator`, but targets of similar embedding share what they add: the kernel
    of two targets is one if they are the same, plus a weight times the cosine of their
    embeddings, and that of two conditions is the sum over their targets (Rasmussen & Williams
    2006, chapter 2). So a gene that was never perturbed is predicted from those like it, and one
    without an embedding has the mean single effect. Penalty and weight are chosen on validation
    conditions by mean squared error. The arguments are those of :class:`EmbeddingBaseline`.
    """

    default_key = "kernel_ridge"
    is_tuned = True

    @staticmethod
    def _choose_kernel(
        trained: Effects, held_out: Effects, embeddings: Embeddings
    ) -> TargetKernel:
        return choose_on_validation(trained, held_out, embeddings)

    @staticmethod
    def _make_rule(effects: Effects, kernel: TargetKernel) -> Rule:
        return InterceptRegression(effects, kernel)
