"""The modules of arXiv 2602.04901 in plain NumPy, and small random cases for them.

Written from a description of the published code, with no torch and nothing of the package, so
that it is an independent second opinion. Keys are those of the stored arrays: ``in.`` inputs,
``w.`` weights ``(n_in, n_out)``, ``out.`` outputs.
"""

from collections.abc import Callable

import numpy as np

Case = dict[str, np.ndarray]


class Draw:
    """Draws inputs and weights in single precision, as the stored ones are."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(3)
        self.case: Case = {}

    def normal(self, key: str, *shape: int, scale: float = 1.0) -> None:
        values = scale * self.rng.normal(size=shape)
        self.case[key] = values.astype(np.float32).astype(np.float64)

    def linear(self, key: str, n_in: int, n_out: int, *, has_bias: bool = True) -> None:
        self.normal(f"{key}.weight", n_in, n_out, scale=n_in**-0.5)
        if has_bias:
            self.normal(f"{key}.bias", n_out, scale=0.3)

    def norm(self, key: str, n: int) -> None:
        self.normal(f"{key}.weight", n)
        self.normal(f"{key}.bias", n)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def gelu(x: np.ndarray) -> np.ndarray:
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def linear(case: Case, key: str, x: np.ndarray) -> np.ndarray:
    return x @ case[f"w.{key}.weight"] + case.get(f"w.{key}.bias", 0.0)


def norm(case: Case, key: str, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-6)
    return scaled * case[f"w.{key}.weight"] + case[f"w.{key}.bias"]


# --- encoder and decoder ----------------------------------------------------------------------

N_HEADS = 4


def attend(case: Case, key: str, x: np.ndarray, context: np.ndarray) -> tuple:
    """Attention of tokens (B, Q, D) to others, before and after the softmax."""

    def split(name: str, tokens: np.ndarray) -> np.ndarray:
        y = linear(case, f"{key}.{name}", tokens)
        return y.reshape(*y.shape[:2], N_HEADS, -1).transpose(0, 2, 1, 3)

    query, keys, value = split("query", x), split("key", context), split("value", context)
    weights = softmax(query @ keys.transpose(0, 1, 3, 2) / np.sqrt(query.shape[-1]))
    heads = (weights @ value).transpose(0, 2, 1, 3)
    return linear(case, f"{key}.output", heads.reshape(*heads.shape[:2], -1)), weights


def run_block(case: Case, key: str, tokens: np.ndarray) -> np.ndarray:
    points = np.repeat(case[f"w.{key}.inducing_points"][None], len(tokens), axis=0)
    steps = (("gather", points, tokens), ("mix", None, None), ("scatter", tokens, None))
    out = f"out.{key}"
    for name, x, context in steps:
        x = points if x is None else x
        read, weights = attend(case, f"{key}.{name}", x, points if context is None else context)
        after = norm(case, f"{key}.{name}.norm", x + read)
        case[f"{out}.{name}.attention"] = weights
        if name == "scatter":
            tokens = after
        else:
            points = after
            case[f"{out}.points_after_{name}"] = points
    case[f"{out}.attended"] = tokens
    wide = gelu(linear(case, f"{key}.feed_forward.wide", tokens))
    change = linear(case, f"{key}.feed_forward.narrow", wide)
    case[out] = norm(case, f"{key}.feed_forward.norm", tokens + change)
    return case[out]


def run_gcae(case: Case) -> None:
    x = case["in.expression"]
    n_programs = len(case["in.semantic_embedding"])
    for side in ("encoder", "decoder"):
        projected = linear(case, f"{side}.semantics.projection", case["in.semantic_embedding"])
        case[f"out.{side}.semantics"] = norm(case, f"{side}.semantics.norm", projected)
    by_program = x.reshape(len(x), n_programs, -1)
    projected = linear(case, "encoder.expression", by_program)
    case["out.encoder.projected_expression"] = projected
    tokens = projected + case["out.encoder.semantics"]
    case["out.encoder.tokens"] = tokens
    for i in range(2):
        tokens = run_block(case, f"encoder.block{i}", tokens)
    case["out.latent"] = linear(case, "encoder.latent", tokens.mean(axis=1))
    start = linear(case, "decoder.latent", case["out.latent"])[:, None]
    tokens = start + case["out.decoder.semantics"]
    case["out.decoder.tokens"] = tokens
    for i in range(2):
        tokens = run_block(case, f"decoder.block{i}", tokens)
    case["out.reconstruction"] = linear(case, "decoder.expression", tokens).reshape(x.shape)


def draw_gcae() -> Case:
    n_programs, n_slots, dim, n_latent, n_semantic = 5, 6, 8, 3, 7
    draw = Draw()
    draw.normal("in.expression", 4, n_programs * n_slots)
    draw.normal("in.semantic_embedding", n_programs, n_semantic)
    draw.linear("w.encoder.expression", n_slots, dim)
    draw.linear("w.encoder.latent", dim, n_latent)
    draw.linear("w.decoder.latent", n_latent, dim)
    draw.linear("w.decoder.expression", dim, n_slots)
    for side in ("encoder", "decoder"):
        draw.linear(f"w.{side}.semantics.projection", n_semantic, dim, has_bias=False)
        draw.norm(f"w.{side}.semantics.norm", dim)
        for key in (f"w.{side}.block0", f"w.{side}.block1"):
            draw.normal(f"{key}.inducing_points", 3, dim)
            for name in ("gather", "mix", "scatter"):
                for part in ("query", "key", "value"):
                    draw.linear(f"{key}.{name}.{part}", dim, dim, has_bias=False)
                draw.linear(f"{key}.{name}.output", dim, dim)
                draw.norm(f"{key}.{name}.norm", dim)
            draw.linear(f"{key}.feed_forward.wide", dim, 2 * dim)
            draw.linear(f"{key}.feed_forward.narrow", 2 * dim, dim)
            draw.norm(f"{key}.feed_forward.norm", dim)
    run_gcae(draw.case)
    return draw.case


# --- clustering -------------------------------------------------------------------------------


def scale_rows(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def transport(cost: np.ndarray, row: np.ndarray, column: np.ndarray, epsilon: float) -> np.ndarray:
    """Entropic plan, by scaling in the plain domain: costs are at most twenty epsilons here."""
    kernel, v = np.exp(-cost / epsilon), np.ones(len(column))
    for _ in range(3000):
        u = row / (kernel @ v)
        v = column / (kernel.T @ u)
    return u[:, None] * kernel * v


def run_grc(case: Case) -> None:
    rows, labels = scale_rows(case["in.embedding"]), case["in.labels_start"]
    n_genes, n_programs = len(rows), int(labels.max()) + 1
    sizes = np.bincount(labels)
    capacities = np.full(n_programs, n_genes // n_programs)
    by_size = sorted(range(n_programs), key=lambda k: (-sizes[k], k))
    capacities[by_size[: n_genes % n_programs]] += 1
    rounds: dict[str, list[np.ndarray]] = {k: [] for k in ("centroids", "cost", "plan", "labels")}
    for _ in range(3):
        member = np.eye(n_programs)[labels]
        centroids = scale_rows(member.T @ rows / member.sum(axis=0)[:, None])
        semantic = 1 - rows @ centroids.T
        graph = np.clip(1 - case["in.adjacency"] @ member / member.sum(axis=0), 0, 1)
        cost = semantic / semantic.max() + graph
        plan = transport(cost, np.full(n_genes, 1 / n_genes), capacities / n_genes, 0.1)
        room, labels = capacities.copy(), np.full(n_genes, -1)
        entries = [(-plan[i, k], cost[i, k], i, k) for i, k in np.ndindex(*plan.shape)]
        for *_, i, k in sorted(entries):
            if labels[i] < 0 and room[k]:
                labels[i], room[k] = k, room[k] - 1
        found = {"centroids": centroids, "cost": cost, "plan": plan, "labels": labels}
        for name, value in found.items():
            rounds[name].append(value)
    case |= {f"out.{name}": np.stack(values) for name, values in rounds.items()}
    case["out.capacities"] = capacities


def draw_grc() -> Case:
    draw = Draw()
    centres, n_genes = draw.rng.normal(size=(4, 6)), 27
    truth = draw.rng.integers(4, size=n_genes)
    draw.normal("in.embedding", n_genes, 6)
    draw.case["in.embedding"] += centres[truth]
    edges = np.triu(draw.rng.random((n_genes, n_genes)) < 0.15, 1)
    draw.case["in.adjacency"] = (edges | edges.T).astype(float)
    # As bad a start as any: unequal sizes, and every program has a member.
    draw.case["in.labels_start"] = np.concatenate([np.arange(4), truth[4:]])
    run_grc(draw.case)
    return draw.case


# --- losses -----------------------------------------------------------------------------------


def get_gradient(loss: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
    """Central differences."""
    gradient, step = np.empty_like(x), 1e-6
    for place in np.ndindex(*x.shape):
        near = [x.copy(), x.copy()]
        near[0][place] += step
        near[1][place] -= step
        gradient[place] = (loss(near[0]) - loss(near[1])) / (2 * step)
    return gradient


def correlate(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    means = np.stack([x[:, labels == k].mean(axis=1) for k in range(labels.max() + 1)], axis=1)
    std = np.maximum(means.std(axis=0), 1e-6)
    scores = np.clip((means - means.mean(axis=0)) / std, -10, 10)
    return scores.T @ scores / len(scores)


def draw_correlation() -> Case:
    draw = Draw()
    labels = np.array([0, 1, 2, 0, 1, 2, 2, 2, 1])
    draw.normal("in.predicted", 11, len(labels))
    draw.normal("in.real", 8, len(labels))
    draw.normal("in.clipped_predicted", 140, len(labels))
    draw.case["in.clipped_predicted"][5] += 60
    case = draw.case | {"in.labels": labels}
    real = correlate(case["in.real"], labels)

    def loss(predicted: np.ndarray) -> float:
        return float(np.linalg.norm(correlate(predicted, labels) - real) / len(real))

    for prefix in ("", "clipped_"):
        predicted = case[f"in.{prefix}predicted"]
        case[f"out.{prefix}loss"] = np.array(loss(predicted))
        case[f"out.{prefix}gradient"] = get_gradient(loss, predicted)
    return case


def compute_pathway_loss(predicted: np.ndarray, real: np.ndarray, member: np.ndarray) -> float:
    averaging = member / member.sum(axis=1, keepdims=True)
    difference = (predicted @ averaging.T)[:, None] - (real @ averaging.T)[None]
    cost = (difference**2).sum(axis=-1)
    kernel, f, g = -cost / 0.1, np.zeros(len(predicted)), np.zeros(len(real))
    for _ in range(50):
        f = -np.log(len(f)) - np.logaddexp.reduce(kernel + g, axis=1)
        g = -np.log(len(g)) - np.logaddexp.reduce(kernel + f[:, None], axis=0)
    return float((np.exp(kernel + f[:, None] + g) * cost).sum() / len(member))


def draw_pathway() -> Case:
    draw = Draw()
    member = (draw.rng.random((4, 9)) < 0.5).astype(float)
    member[:, 0] = 1
    case = draw.case
    for prefix, scale in (("", 0.7), ("large_", 8.0)):
        draw.normal(f"in.{prefix}predicted", 6, 9, scale=scale)
        draw.normal(f"in.{prefix}real", 7, 9, scale=scale)
        case[f"in.{prefix}real"] += scale
    case["in.membership"] = member
    for prefix, name in (("", ""), ("large_", "large_log_domain_")):
        predicted, real = case[f"in.{prefix}predicted"], case[f"in.{prefix}real"]
        case[f"out.{name}loss"] = np.array(compute_pathway_loss(predicted, real, member))
        case[f"out.{name}gradient"] = get_gradient(
            lambda x, real=real: compute_pathway_loss(x, real, member), predicted
        )
    return case


# --- velocity and condition -------------------------------------------------------------------


def run_velocity(case: Case) -> None:
    angle = 1e4 * case["in.time"] * case["in.time_frequencies"]
    features = np.hstack([np.cos(angle), np.sin(angle)])
    time = linear(case, "time.second", silu(linear(case, "time.first", features)))
    latent = silu(linear(case, "latent.first", case["in.latent_point"]))
    latent = silu(linear(case, "latent.second", latent))
    condition = np.repeat(case["in.condition"][None], len(time), axis=0)
    joint = silu(linear(case, "joint.first", np.hstack([time, latent, condition])))
    joint = silu(linear(case, "joint.second", joint))
    case |= {"out.time_features": features, "out.time_code": time, "out.latent_code": latent}
    case |= {"out.velocity": linear(case, "joint.output", joint)}


def draw_velocity() -> Case:
    draw = Draw()
    draw.case["in.time"] = draw.rng.random((5, 1)).astype(np.float32).astype(float)
    draw.case["in.time_frequencies"] = (
        (1e4 ** -(np.arange(4) / 4)).astype(np.float32).astype(float)
    )
    draw.normal("in.latent_point", 5, 3)
    draw.normal("in.condition", 6)
    for branch, n_in in (("time", 8), ("latent", 3), ("joint", 7 + 7 + 6)):
        draw.linear(f"w.{branch}.first", n_in, 9)
        draw.linear(f"w.{branch}.second", 9, 7)
    draw.linear("w.joint.output", 7, 3)
    run_velocity(draw.case)
    return draw.case


def pool_condition(case: Case, targets: np.ndarray) -> np.ndarray:
    """Pool one set, without padding."""
    query = linear(case, "pool.query", case["w.pool.seed"])
    keys, values = linear(case, "pool.key", targets), linear(case, "pool.value", targets)
    width = len(query) // N_HEADS
    pooled = []
    for head in range(N_HEADS):
        part = slice(head * width, (head + 1) * width)
        weights = softmax(keys[:, part] @ query[part] / np.sqrt(len(query)))
        pooled.append(weights @ values[:, part])
    return np.concatenate(pooled)


def draw_pool() -> Case:
    draw = Draw()
    case = draw.case
    sizes = [3, 1, 2, 3, 2]
    case["in.mask"] = np.arange(3) < np.array(sizes)[:, None]
    draw.normal("in.targets", len(sizes), 3, 5)
    case["in.targets"] *= case["in.mask"][..., None]
    draw.normal("w.pool.seed", 6)
    for name, n_in in (("query", 6), ("key", 5), ("value", 5)):
        draw.linear(f"w.pool.{name}", n_in, 8)
    draw.linear("w.output", 8, 4)
    pooled = [pool_condition(case, x[:n]) for x, n in zip(case["in.targets"], sizes, strict=True)]
    case["out.pooled"] = np.stack(pooled)
    case["out.condition"] = linear(case, "output", case["out.pooled"])
    case["out.condition_of_empty_set"] = linear(case, "output", case["w.pool.value.bias"])
    return case


CASES: dict[str, Callable[[], Case]] = {
    "gcae_small": draw_gcae,
    "grc_small": draw_grc,
    "correlation_loss": draw_correlation,
    "pathway_loss": draw_pathway,
    "velocity_small": draw_velocity,
    "condition_pool": draw_pool,
}
