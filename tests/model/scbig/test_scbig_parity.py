"""The modules of ``preset="paper"`` beside those of arXiv 2602.04901, with their weights.

Twice: against plain NumPy written from their description, and against arrays that the published
code made (``data_kit``).
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scbig.model.scbig import PRESETS
from scbig.model.scbig._module import (
    ConditionEncoder,
    FlowCondition,
    FlowSizes,
    ProgramDecoder,
    ProgramEncoder,
    ProgramSemantics,
    SCBIGModule,
)
from scbig.model.scbig._stages import correlation_loss, pathway_loss
from scbig.nn import (
    Attention,
    GeometricTime,
    InducedBlock,
    ProgramLinear,
    ProgramUnlinear,
    SeedPooling,
    VelocityNet,
)
from scbig.ot import balanced_capacities, entropic_plan
from scbig.programs import ProgramConfig, _clustering as clustering
from scbig.programs._clustering import (
    compute_assignment_cost,
    make_evidence,
    make_membership,
    normalize_rows,
)

PAPER = PRESETS["paper"]
DOUBLE, SINGLE = torch.float64, torch.float32

Case = dict[str, np.ndarray]
Load = Callable[[str], Case]


@pytest.fixture(params=["numpy", pytest.param("kit", marks=pytest.mark.data_kit)])
def load(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return a case by its name, drawn and computed here or stored."""
    if request.param == "numpy":
        monkeypatch.syspath_prepend(Path(__file__).parent)
        from published_scbig import CASES

        return lambda name: CASES[name]()
    folder = request.getfixturevalue("data_kit") / "parity_scbig"
    if not folder.is_dir():
        pytest.skip("the folder of real screens has no parity_scbig")
    return lambda name: dict(np.load(folder / f"{name}.npz", allow_pickle=False))


@pytest.fixture(params=[DOUBLE, SINGLE], ids=["double", "single"])
def dtype(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


def _tensor(values: np.ndarray) -> torch.Tensor:
    values = torch.from_numpy(np.asarray(values))
    return values.to(torch.get_default_dtype()) if values.is_floating_point() else values


def _assert_near(found: torch.Tensor, expected: np.ndarray, atol: float) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=atol)


@torch.no_grad()
def _load(part: torch.nn.Module, case: Case, key: str) -> None:
    """Give a linear or normalising layer its weights; no bias is a bias of zero."""
    weight = _tensor(case[f"w.{key}.weight"])
    part.weight.copy_(weight.T if weight.ndim == 2 else weight)
    bias = case.get(f"w.{key}.bias")
    part.bias.zero_() if bias is None else part.bias.copy_(_tensor(bias))


# --- encoder and decoder ----------------------------------------------------------------------


@torch.no_grad()
def _load_attention(attention: Attention, case: Case, key: str) -> None:
    _load(attention.query, case, f"{key}.query")
    _load(attention.output, case, f"{key}.output")
    both = [_tensor(case[f"w.{key}.{name}.weight"]).T for name in ("key", "value")]
    attention.key_value.weight.copy_(torch.cat(both))
    attention.key_value.bias.zero_()


@torch.no_grad()
def _load_block(block: InducedBlock, case: Case, key: str) -> None:
    block.points.copy_(_tensor(case[f"w.{key}.inducing_points"]))
    names = ("gather", "mix", "scatter", "feed_forward")
    for norm, name in zip(block.norms, names, strict=True):
        _load(norm, case, f"{key}.{name}.norm")
    for name in names[:3]:
        _load_attention(getattr(block, name), case, f"{key}.{name}")
    layers = [layer for layer in block.feed_forward if isinstance(layer, torch.nn.Linear)]
    for layer, name in zip(layers, ("wide", "narrow"), strict=True):
        _load(layer, case, f"{key}.feed_forward.{name}")


@torch.no_grad()
def _load_side(side: ProgramEncoder | ProgramDecoder, case: Case, key: str) -> None:
    _load(side.latent, case, f"{key}.latent")
    _load(side.semantics.project, case, f"{key}.semantics.projection")
    _load(side.semantics.norm, case, f"{key}.semantics.norm")
    for i, block in enumerate(side.blocks):
        _load_block(block, case, f"{key}.block{i}")
    # Published are one map and one bias for all programs; ours has one a program.
    weight = _tensor(case[f"w.{key}.expression.weight"])
    bias = _tensor(case[f"w.{key}.expression.bias"])
    n_programs = len(case["in.semantic_embedding"])
    if isinstance(side, ProgramEncoder):
        side.expression.weight.copy_(weight.repeat(n_programs, 1))
        side.expression.bias.copy_(bias)
    else:
        side.expression.weight.copy_(weight.T.repeat(n_programs, 1))
        side.expression.bias.copy_(bias.repeat(n_programs))


@pytest.fixture
def gcae(load: Load, dtype: torch.dtype) -> tuple[Case, ProgramEncoder, ProgramDecoder]:
    case = load("gcae_small")
    embedding, x = case["in.semantic_embedding"], case["in.expression"]
    n_hidden, n_latent = case["w.encoder.latent.weight"].shape
    n_inducing = len(case["w.encoder.block0.inducing_points"])
    config = replace(
        PAPER, n_hidden=n_hidden, n_latent=n_latent, n_layers=2, n_heads=4, n_inducing=n_inducing
    )
    labels = torch.arange(len(embedding)).repeat_interleave(x.shape[1] // len(embedding))
    sides = []
    for kind, key in ((ProgramEncoder, "encoder"), (ProgramDecoder, "decoder")):
        # Semantics are shared in the model; the published ones are apart.
        side = kind(labels, ProgramSemantics(_tensor(embedding), n_hidden), config).eval()
        _load_side(side, case, key)
        sides.append(side)
    return case, *sides


def test_encoder_and_decoder(gcae: tuple, dtype: torch.dtype) -> None:
    case, encoder, decoder = gcae
    atol = 1e-10 if dtype is DOUBLE else 1e-5
    expression = _tensor(case["in.expression"])
    projected = encoder.expression(expression)
    _assert_near(projected, case["out.encoder.projected_expression"], atol)
    for side, key in ((encoder, "encoder"), (decoder, "decoder")):
        _assert_near(side.semantics(), case[f"out.{key}.semantics"], atol)
        tokens = _tensor(case[f"out.{key}.tokens"])
        for i, block in enumerate(side.blocks):
            tokens = block(tokens)
            _assert_near(tokens, case[f"out.{key}.block{i}"], atol)
    latent = encoder(expression)
    _assert_near(latent, case["out.latent"], atol)
    _assert_near(decoder(_tensor(case["out.latent"])), case["out.reconstruction"], atol)


def test_steps_of_a_block(gcae: tuple, dtype: torch.dtype) -> None:
    case, encoder, decoder = gcae
    atol = 1e-10 if dtype is DOUBLE else 1e-5
    for side, key in ((encoder, "out.encoder"), (decoder, "out.decoder")):
        tokens = _tensor(case[f"{key}.tokens"])
        for i, block in enumerate(side.blocks):
            seen: dict[int, torch.Tensor] = {}
            for number, norm in enumerate(block.norms):
                norm.register_forward_hook(
                    lambda *args, number=number, seen=seen: seen.update({number: args[2]})
                )
            tokens, _ = block.attend(tokens)
            _assert_near(seen[2], case[f"{key}.block{i}.attended"], atol)
            if key == "out.encoder":
                _assert_near(seen[0], case[f"{key}.block{i}.points_after_gather"], atol)
                _assert_near(seen[1], case[f"{key}.block{i}.points_after_mix"], atol)


def test_attention_maps(gcae: tuple, dtype: torch.dtype) -> None:
    case, encoder, _ = gcae
    for i, maps in enumerate(encoder.attend(_tensor(case["in.expression"]))):
        for name, weights in zip(("gather", "mix", "scatter"), maps, strict=True):
            expected = case[f"out.encoder.block{i}.{name}.attention"].mean(axis=1)
            _assert_near(weights, expected, 1e-10 if dtype is DOUBLE else 1e-5)


# --- clustering -------------------------------------------------------------------------------


def test_clustering_from_the_same_start(load: Load) -> None:
    case = load("grc_small")
    labels = case["in.labels_start"]
    n_genes, n_programs = len(labels), int(labels.max()) + 1
    names = [f"GENE{i:04d}" for i in range(n_genes)]
    evidence = make_evidence(names, case["in.embedding"], None, None, case["in.adjacency"])
    config = ProgramConfig(n_programs=n_programs)
    for i in range(3):
        capacities = balanced_capacities(n_genes, np.bincount(labels))
        np.testing.assert_array_equal(capacities, case["out.capacities"])
        centroids = normalize_rows(make_membership(labels, n_programs).T @ evidence.embedding)
        np.testing.assert_allclose(centroids, case["out.centroids"][i], atol=1e-6)
        cost = compute_assignment_cost(evidence, labels, config)
        np.testing.assert_allclose(cost, case["out.cost"][i], atol=1e-6)
        plan = entropic_plan(
            torch.from_numpy(cost),
            epsilon=config.epsilon,
            column_mass=torch.from_numpy(capacities / n_genes),
        ).plan
        np.testing.assert_allclose(plan, case["out.plan"][i], atol=1e-6)
        labels = clustering._reassign(evidence, labels, config)
        np.testing.assert_array_equal(labels, case["out.labels"][i])


# --- losses -----------------------------------------------------------------------------------


def _differentiate(loss: Callable, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = x.requires_grad_()
    value = loss(x)
    return value, torch.autograd.grad(value, x)[0]


@pytest.mark.parametrize("prefix", ["", "clipped_"])
def test_correlation_of_programs(load: Load, dtype: torch.dtype, prefix: str) -> None:
    case = load("correlation_loss")
    labels = case["in.labels"]
    programs = _tensor(np.stack([(labels == k) / (labels == k).sum() for k in np.unique(labels)]))
    real = _tensor(case["in.real"])
    value, gradient = _differentiate(
        lambda x: correlation_loss(x, real, programs), _tensor(case[f"in.{prefix}predicted"])
    )
    # Central differences are good to nine places, no more.
    atol = 1e-6 if dtype is SINGLE else 1e-10
    _assert_near(value, case[f"out.{prefix}loss"], atol)
    is_stored = "out.correlation_real" in case
    _assert_near(gradient, case[f"out.{prefix}gradient"], atol if is_stored else 1e-6)


@pytest.mark.parametrize(("prefix", "name"), [("", ""), ("large_", "large_log_domain_")])
def test_transport_of_pathways(load: Load, dtype: torch.dtype, prefix: str, name: str) -> None:
    """At the larger scale the published form is zero; ours is its form on logarithms."""
    case = load("pathway_loss")
    pathways = _tensor(case["in.membership"])
    pathways = pathways / pathways.sum(1, keepdim=True)
    real = _tensor(case[f"in.{prefix}real"])
    value, gradient = _differentiate(
        lambda x: pathway_loss(x, real, pathways), _tensor(case[f"in.{prefix}predicted"])
    )
    expected, slope = case[f"out.{name}loss"], case[f"out.{name}gradient"]
    atol = 1e-8 if dtype is DOUBLE else 1e-6 if not prefix else 1e-3
    is_stored = "out.cost" in case
    # What is drawn here is larger, and its central differences are good to seven places.
    unit = 0.0 if is_stored else float(expected)
    _assert_near(value, expected, max(atol, unit * (1e-8 if dtype is DOUBLE else 1e-4)))
    _assert_near(gradient, slope, max(atol, unit * (1e-6 if dtype is DOUBLE else 1e-4)))
    assert value > 0
    assert gradient.abs().max() > 0


def test_losses_are_finite_where_a_program_is_constant(dtype: torch.dtype) -> None:
    """The published gradient is NaN in every entry there."""
    programs = torch.eye(3).repeat_interleave(2, 1) / 2
    for predicted in (torch.rand(8, 6), torch.zeros(8, 6)):
        predicted[:, :2] = 0.4
        for real in (torch.rand(5, 6), torch.zeros(5, 6), predicted.clone()):
            value, gradient = _differentiate(
                lambda x, real=real: correlation_loss(x, real, programs), predicted.clone()
            )
            assert torch.isfinite(value)
            assert torch.isfinite(gradient).all()


# --- velocity and condition -------------------------------------------------------------------


@pytest.mark.parametrize("is_given", [True, False], ids=["their frequencies", "own frequencies"])
def test_velocity(load: Load, dtype: torch.dtype, is_given: bool) -> None:
    case = load("velocity_small")
    n_latent, n_condition = case["in.latent_point"].shape[1], len(case["in.condition"])
    hidden = tuple(len(case[f"w.joint.{name}.bias"]) for name in ("first", "second"))
    time = GeometricTime(2 * len(case["in.time_frequencies"]))
    if is_given:
        time.frequencies.copy_(_tensor(case["in.time_frequencies"]))
    net = VelocityNet(
        n_latent, n_condition, hidden, dropout=PAPER.dropout, zero_last=False, time=time
    )
    net = net.to(dtype).eval()
    if is_given:
        time.frequencies = _tensor(case["in.time_frequencies"])
    branches = {"time": net.time, "latent": net.latent, "joint": net.velocity}
    for branch, part in branches.items():
        layers = [layer for layer in part.modules() if isinstance(layer, torch.nn.Linear)]
        for layer, name in zip(layers, ("first", "second", "output"), strict=False):
            _load(layer, case, f"{branch}.{name}")
    t, z = _tensor(case["in.time"])[:, 0], _tensor(case["in.latent_point"])
    is_exact = dtype is DOUBLE and is_given
    _assert_near(time(t), case["out.time_features"], 1e-10 if is_exact else 1e-3)
    _assert_near(net.time(t), case["out.time_code"], 1e-10 if is_exact else 1e-3)
    _assert_near(net.latent(z), case["out.latent_code"], 1e-10 if dtype is DOUBLE else 1e-4)
    velocity = net(t, z, _tensor(case["in.condition"]))
    _assert_near(velocity, case["out.velocity"], 1e-10 if is_exact else 1e-4)


@pytest.mark.data_kit
def test_published_number_of_time_features(load: Load, dtype: torch.dtype) -> None:
    case = load("velocity_small")
    if "out.time_features_1024" not in case:
        pytest.skip("stored arrays alone have them")
    found = GeometricTime(PAPER.n_time_features)(_tensor(case["in.time"])[:4, 0])
    _assert_near(found, case["out.time_features_1024"], 1e-3)


@pytest.fixture
def pooled(load: Load, dtype: torch.dtype) -> tuple[Case, SeedPooling]:
    case = load("condition_pool")
    n_seed, width = case["w.pool.query.weight"].shape
    n_member, n_out = case["in.targets"].shape[2], case["w.output.weight"].shape[1]
    pooling = SeedPooling(n_member, n_out, n_seed=n_seed, width=width, n_heads=4)
    with torch.no_grad():
        pooling.seed.copy_(_tensor(case["w.pool.seed"]))
    for name in ("query", "key", "value"):
        _load(getattr(pooling, name), case, f"pool.{name}")
    _load(pooling.output, case, "output")
    return case, pooling


def test_condition_pooling(pooled: tuple, dtype: torch.dtype) -> None:
    case, pooling = pooled
    atol = 1e-10 if dtype is DOUBLE else 1e-5
    targets, mask = _tensor(case["in.targets"]), torch.from_numpy(case["in.mask"])
    _assert_near(pooling.attend(targets, mask), case["out.pooled"], atol)
    _assert_near(pooling(targets, mask), case["out.condition"], atol)
    # One set at a time, without the padding, is the same as all in one call.
    for members, is_member, expected in zip(targets, mask, case["out.condition"], strict=True):
        alone = pooling(members[is_member][None], torch.ones(1, int(is_member.sum()), dtype=bool))
        _assert_near(alone[0], expected, atol)
    empty = pooling(targets, torch.zeros_like(mask))
    _assert_near(empty, np.tile(case["out.condition_of_empty_set"], (len(mask), 1)), atol)


def test_condition_encoder_of_the_paper_is_the_pooling(dtype: torch.dtype) -> None:
    encoder = ConditionEncoder(4, 1, 9, PAPER).eval()
    assert (encoder.pool.seed.numel(), encoder.pool.query.out_features) == (64, 64)
    assert (encoder.pool.n_heads, encoder.dropout.p) == (8, 0.9)
    embedding, mask = torch.randn(3, 2, 9), torch.tensor([[1, 1], [1, 0], [0, 0]]).bool()
    condition = FlowCondition(
        target=torch.zeros(3, 2, dtype=torch.int64),
        is_seen=torch.ones(3, 2, dtype=torch.bool),
        embedding=embedding,
        mask=mask,
        context=torch.zeros(3, dtype=torch.int64),
        anchor=torch.randn(3, 50),
    )
    torch.testing.assert_close(encoder(condition), encoder.pool(embedding, mask))
    encoder.train()
    dropped = encoder(condition)
    kept = dropped != 0
    assert kept.double().mean().item() == pytest.approx(0.1, abs=0.04)
    torch.testing.assert_close(dropped[kept], 10 * encoder.pool(embedding, mask)[kept])


# --- how it starts ----------------------------------------------------------------------------


def test_networks_start_as_published() -> None:
    torch.manual_seed(0)
    labels = torch.arange(8).repeat_interleave(torch.tensor([40, 70, 64, 64, 64, 64, 64, 64]))
    sizes = FlowSizes(n_targets=4, n_contexts=1, n_embedding=128)
    module = SCBIGModule(labels, torch.randn(8, 96), torch.rand(len(labels)), sizes, PAPER)
    for part in module.modules():
        if isinstance(part, torch.nn.Linear | ProgramUnlinear):
            scaled = part.weight * part.weight.shape[1] ** 0.5
        elif isinstance(part, ProgramLinear):
            scaled = part.weight * labels.bincount()[labels].sqrt()[:, None]
        elif isinstance(part, InducedBlock):
            assert part.points.std().item() == pytest.approx(0.02, rel=0.1)
            continue
        else:
            continue
        assert scaled.std().item() == pytest.approx(1.0, rel=0.05)
        # Cut off at two standard deviations of the normal that is not.
        assert scaled.abs().max() <= 2 / 0.8796
        assert scaled.abs().max() > 2.1
        assert not part.bias.any()
    uniform = SCBIGModule(labels, torch.randn(8, 96), module.gene_mean, sizes, PRESETS["default"])
    assert uniform.velocity.time[1][0].bias.any()
    assert not uniform.velocity.velocity[-1].weight.any()
