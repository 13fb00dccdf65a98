"""How many steps a second does first- and second-order training make, beside its peers?

    python benchmarks/training_speed.py [--seconds 6] [--only-ours]

One step is the loss on values and gradients of a batch, its gradient by all parameters, and Adam. Ours is what `fit`
runs: one compiled scan over many steps. Beside it a double-backward loop written in PyTorch, eager and through
`torch.compile`; JENN; and GENN of SMT (the extra `bench`; a peer that is not installed is listed as missing). All have
tanh, which is the one smooth activation that JENN knows, the same weights and the same fixed batch, and must agree on
the loss and on its gradient before they are timed. Ours and PyTorch compute in float32, JENN in float64, which is all
it has. Rounds alternate between all of them; the best round of each counts. A second table compares k Hessian products
with first-order steps, a third the floating-point rate with that of bare matrix products of the same shapes.
Writes `benchmarks/results/training_speed.md`.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from sobolev_pruning.reference import HessianProducts, Samples
from sobolev_pruning.sobolev import SobolevLoss
from sobolev_pruning.study import environment
from sobolev_pruning.surrogate import MLP

RESULTS = Path(__file__).parent / "results" / "training_speed.md"
RATE = 1e-3
NETWORKS = {"20×3": [20] * 3, "128×6": [128] * 6}
SIZES = [(name, d, batch) for name in NETWORKS for d in (7, 100) for batch in (256, 4096)]
# Goals: factors over each peer, at d = 7.
GOALS = {
    ("128×6", 256): {"torch.compile": 1.0, "PyTorch": 1.7, "JENN": 14.0},
    ("128×6", 4096): {"torch.compile": 1.5, "PyTorch": 2.2, "JENN": 40.0},
    ("20×3", 256): {"PyTorch": 8.0},
}
PEERS = {"PyTorch": "torch", "torch.compile": "torch", "JENN": "jenn", "SMT GENN": "smt"}

# Takes a number of steps and makes them.
Run = Callable[[int], None]


def problem(widths: list[int], batch: int) -> tuple[MLP, Samples]:
    """A network and a batch of a smooth function, in float32."""
    d = widths[0]
    x = jax.random.normal(jax.random.key(0), (batch, d))
    a = jnp.linspace(0.5, 1.5, d) * d**-0.5
    u = x @ a
    hessians = -jnp.sin(u)[:, None, None, None] * (a[:, None] * a[None])[None, None]
    samples = Samples(x, jnp.sin(u)[:, None], (jnp.cos(u)[:, None] * a[None])[:, None], hessians)
    return MLP.create(widths, activation=jnp.tanh, key=jax.random.key(1)), samples


def ours(network: MLP, samples: Samples, loss: SobolevLoss) -> tuple[Run, float, float]:
    """Steps as `fit` makes them, the loss and the norm of its gradient at the start."""
    params, static = eqx.partition(network, eqx.is_inexact_array)
    optimizer = optax.adam(RATE)

    def value_and_gradient(params):
        return jax.value_and_grad(lambda p: loss(eqx.combine(p, static), samples))(params)

    @jax.jit
    def chunk(state, keys):
        def step(state, _):
            params, opt_state = state
            value, gradient = value_and_gradient(params)
            updates, opt_state = optimizer.update(gradient, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), value

        return jax.lax.scan(step, state, keys)

    start = (params, optimizer.init(params))

    def run(n: int) -> None:
        jax.block_until_ready(chunk(start, jnp.zeros(n)))

    value, gradient = jax.jit(value_and_gradient)(params)
    return run, float(value), float(optax.tree.norm(gradient))


def pytorch(network: MLP, samples: Samples, compiled: bool) -> tuple[Run, float, float]:
    """The usual double-backward loop; compiled, the inner gradient is `torch.func`'s, which the compiler can trace."""
    import torch

    def tensor(part: jax.Array) -> torch.Tensor:
        return torch.from_numpy(np.array(part))

    layers = [(tensor(layer.weight), tensor(layer.bias)) for layer in network.layers]
    parameters = [part.requires_grad_() for layer in layers for part in layer]
    x, y, dydx = tensor(samples.x), tensor(samples.y), tensor(samples.dydx[:, 0])

    def forward(x: torch.Tensor) -> torch.Tensor:
        for weight, bias in layers[:-1]:
            x = torch.tanh(torch.nn.functional.linear(x, weight, bias))
        return torch.nn.functional.linear(x, *layers[-1])

    def mean_square(f: torch.Tensor, df: torch.Tensor) -> torch.Tensor:
        return (((f - y) ** 2).sum() + ((df - dydx) ** 2).sum()) / len(x)

    def eager_loss() -> torch.Tensor:
        inputs = x.detach().requires_grad_()
        f = forward(inputs)
        (df,) = torch.autograd.grad(f.sum(), inputs, create_graph=True)
        return mean_square(f, df)

    def functional_loss() -> torch.Tensor:
        f, pullback = torch.func.vjp(forward, x)
        return mean_square(f, pullback(torch.ones_like(f))[0])

    loss = torch.compile(functional_loss) if compiled else eager_loss
    optimizer = torch.optim.Adam(parameters, RATE)

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        optimizer.step()
        return value

    value = loss()
    value.backward()
    norm = sum(float((part.grad**2).sum()) for part in parameters) ** 0.5

    def run(n: int) -> None:
        for _ in range(n):
            step()

    return run, float(value.detach()), norm


def jenn_parts(network: MLP, samples: Samples):
    """JENN's parameters with our weights, its data and its scratch space."""
    from jenn.core.cache import Cache
    from jenn.core.data import Dataset
    from jenn.core.parameters import Parameters

    sizes = network.widths
    parameters = Parameters(sizes, output_activation="linear")
    parameters.initialize()
    # Layer 0 stands for the inputs.
    for i, layer in enumerate(network.layers):
        parameters.W[i + 1][:] = np.asarray(layer.weight, np.float64)
        parameters.b[i + 1][:] = np.asarray(layer.bias, np.float64)[:, None]
    x, y, dydx = (np.asarray(part, np.float64) for part in (samples.x, samples.y, samples.dydx))
    data = Dataset(x.T, y.T, dydx.transpose(1, 2, 0))
    data.set_weights(1.0, 1.0)
    return parameters, data, Cache(sizes, samples.n)


def jenn(network: MLP, samples: Samples) -> tuple[Run, float, float]:
    """JENN's own training function, without its line search: a step is a gradient, Adam and a cost."""
    from jenn.core.cost import Cost
    from jenn.core.training import objective_function, objective_gradient, train_model

    parameters, data, cache = jenn_parts(network, samples)
    flat = parameters.stack()
    # Its cost is half of ours.
    value = 2 * objective_function(data.X, Cost(data, parameters), parameters, cache, flat)
    gradient = 2 * objective_gradient(data, parameters, cache, 0.0, flat)

    def run(n: int) -> None:
        train_model(data, parameters, alpha=RATE, max_iter=n, epsilon_absolute=0.0, epsilon_relative=0.0)

    return run, float(value), float(np.linalg.norm(gradient))


def genn(network: MLP, samples: Samples) -> tuple[Run, float, float]:
    """SMT's GENN, which draws its own weights and calls JENN; its loss is checked at those."""
    from jenn.core.cost import Cost
    from jenn.core.propagation import model_partials_forward
    from smt.surrogate_models.genn import GENN

    x, y, dydx = (np.asarray(part, np.float64) for part in (samples.x, samples.y, samples.dydx))
    model = GENN()
    for name, choice in (
        ("alpha", RATE),
        ("lambd", 0.0),
        ("gamma", 1.0),
        ("hidden_layer_sizes", network.widths[1:-1]),
        ("is_normalize", False),
        ("seed", 0),
    ):
        model.options[name] = choice
    model.load_data(x, y, dydx[:, 0])

    def run(n: int) -> None:
        model.options["num_iterations"] = n
        model._train()

    run(1)
    parameters, (_, data, cache) = model.model.parameters, jenn_parts(network, samples)
    theirs = 2 * Cost(data, parameters).evaluate(*model_partials_forward(data.X, parameters, cache))
    same = eqx.tree_at(
        lambda net: [part for layer in net.layers for part in (layer.weight, layer.bias)],
        network,
        [
            jnp.asarray(part, jnp.float32)
            for w, b in zip(parameters.W[1:], parameters.b[1:], strict=True)
            for part in (w, b[:, 0])
        ],
    )
    _, at_theirs, _ = ours(same, samples, SobolevLoss())
    _, value, norm = ours(network, samples, SobolevLoss())
    if abs(theirs - at_theirs) > 1e-3 * abs(at_theirs):
        raise AssertionError(f"GENN says that the loss is {theirs}, we say {at_theirs}")
    return run, value, norm


MAKERS = {
    "PyTorch": lambda network, samples: pytorch(network, samples, compiled=False),
    "torch.compile": lambda network, samples: pytorch(network, samples, compiled=True),
    "JENN": jenn,
    "SMT GENN": genn,
}


def interleaved(runs: dict[str, Run], seconds: float, most_rounds: int = 9) -> dict[str, float]:
    """Steps a second of each: the best of rounds in turn, after one to warm up."""
    steps, best = {}, dict.fromkeys(runs, 0.0)
    share = seconds / len(runs) / 5
    for name, run in runs.items():
        run(2)
        begin = time.perf_counter()
        run(2)
        # A chunk of ours has a length that is compiled in, so it is chosen once.
        steps[name] = int(np.clip(share * 2 / (time.perf_counter() - begin), 2, 400))
        run(steps[name])
    end = time.perf_counter() + seconds
    for _ in range(most_rounds):
        for name, run in runs.items():
            begin = time.perf_counter()
            run(steps[name])
            best[name] = max(best[name], steps[name] / (time.perf_counter() - begin))
        if time.perf_counter() > end:
            break
    return best


def products(network: MLP, samples: Samples) -> tuple[Run, float]:
    """The matrix products of a step and nothing else, by their shapes; and how many operations they are.

    A first-order step makes six for each layer: forward, adjoint, the backward pass of both, and two for the gradient
    by the weights.
    """
    weights = [layer.weight for layer in network.layers]
    nodes = [jax.random.normal(jax.random.key(2), (width, samples.n)) for width in network.widths]

    @jax.jit
    def chunk(weights, nodes, scales):
        def step(carry, scale):
            total = carry
            for w, below, above in zip(weights, nodes[:-1], nodes[1:], strict=True):
                # The scale keeps the products inside the loop, the sums all of them alive.
                w, below, above = scale * w, scale * below, scale * above
                for a, b in ((w, below), (w, -below), (w.T, above), (w.T, -above), (above, below.T), (-above, below.T)):
                    total += jax.lax.optimization_barrier(a @ b)[0, 0]
            return total, None

        return jax.lax.scan(step, jnp.zeros(()), scales)

    operations = 6 * sum(2 * w.size * samples.n for w in weights)
    return (lambda n: jax.block_until_ready(chunk(weights, nodes, jnp.ones(n))) and None), float(operations)


def main() -> None:
    """Measure everything and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="of timing, for each size")
    parser.add_argument("--only-ours", action="store_true")
    arguments = parser.parse_args()
    missing = [name for name, module in PEERS.items() if importlib.util.find_spec(module) is None]
    makers = {} if arguments.only_ours else {n: make for n, make in MAKERS.items() if n not in missing}
    names = ["ours", *makers]
    lines, notes, rates = [], [], {}
    for name, d, batch in SIZES:
        network, samples = problem([d, *NETWORKS[name], 1], batch)
        run, value, norm = ours(network, samples, SobolevLoss())
        runs = {"ours": run}
        for peer, make in makers.items():
            try:
                runs[peer], *found = make(network, samples)
            except Exception as error:
                notes.append(f"{peer} failed on {d}-{name}-1 at {batch}: {type(error).__name__}: {error}"[:300])
                continue
            if not np.allclose(found, [value, norm], rtol=1e-3):
                raise AssertionError(f"{peer}: loss and norm of its gradient {found}, ours {[value, norm]}")
        rates[name, d, batch] = interleaved(runs, arguments.seconds)
        row = rates[name, d, batch]
        cells = [f"{row['ours']:.4g}"]
        cells += [f"{row[n]:.4g} (×{row['ours'] / row[n]:.1f})" if n in row else "–" for n in names[1:]]
        lines.append(f"| {d}-{name}-1 | {batch} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)

    goals = []
    for (name, batch), asked in GOALS.items():
        row = rates[name, 7, batch]
        for peer, factor in asked.items():
            if peer in row:
                reached = row["ours"] / row[peer]
                word = "met" if reached >= factor else "missed"
                goals.append(f"| 7-{name}-1 | {batch} | {factor:g} × {peer} | {reached:.2f} | {word} |")
            else:
                goals.append(f"| 7-{name}-1 | {batch} | {factor:g} × {peer} | not measured | |")
    for name, d, batch in SIZES:
        if batch < 4096:
            continue
        network, samples = problem([d, *NETWORKS[name], 1], batch)
        bare, operations = products(network, samples)
        pair = interleaved({"ours": ours(network, samples, SobolevLoss())[0], "bare": bare}, arguments.seconds / 2)
        share = pair["ours"] / pair["bare"]
        word = ("met" if share >= 0.6 else "missed") if (name, d) == ("20×3", 7) else ""
        measured = (
            f"{share:.0%}: {pair['ours'] * operations / 1e9:.0f} of {pair['bare'] * operations / 1e9:.0f} Gflop/s"
        )
        goals.append(f"| {d}-{name}-1 | {batch} | 60 % of the rate of bare matrix products | {measured} | {word} |")
        print(goals[-1], flush=True)

    second = []
    for name, d, batch in (("128×6", 7, 256), ("20×3", 7, 256), ("20×3", 7, 4096), ("128×6", 100, 256)):
        network, samples = problem([d, *NETWORKS[name], 1], batch)
        runs = {"first": ours(network, samples, SobolevLoss())[0]}
        for k in (1, 3, 7):
            v = jax.random.normal(jax.random.key(3), (batch, k, d))
            hvps = HessianProducts(v, jnp.einsum("nmij,nkj->nmki", samples.d2ydx2, v))
            along = Samples(samples.x, samples.y, samples.dydx, hvps=hvps)
            runs[f"{k}"] = ours(network, along, SobolevLoss(1.0, 1.0))[0]
        row = interleaved(runs, arguments.seconds)
        costs = [f"{row['first'] / row[f'{k}']:.2f}" for k in (1, 3, 7)]
        second.append(f"| {d}-{name}-1 | {batch} | {' | '.join(costs)} |")
        print(second[-1], flush=True)

    versions = [f"{m} {importlib.metadata.version(m)}" for m in ("torch", "jenn", "smt") if importlib.util.find_spec(m)]
    machine = ", ".join([*(f"{key} {fact}" for key, fact in environment().items()), *versions])
    listed = ", ".join(missing) if missing else "none"
    text = [
        "# Speed of training",
        "",
        f"{machine}. Load of the machine at the end: {os.getloadavg()[0]:.1f}.",
        "",
        f"Made by `python benchmarks/training_speed.py --seconds {arguments.seconds:g}`. Peers missing: {listed}.",
        *[f"{note}." for note in notes],
        "",
        "## Steps a second, values and gradients, Adam",
        "",
        "In brackets, how many times as fast ours is. JENN and GENN compute in float64.",
        "",
        f"| network | batch | {' | '.join(names)} |",
        f"|---|---|{'---|' * len(names)}",
        *lines,
        "",
        "## Goals",
        "",
        "| network | batch | goal | measured | |",
        "|---|---|---|---|---|",
        *goals,
        "",
        "## Cost of a step with k Hessian products, in first-order steps",
        "",
        "The goal is at most 1 + 1.3 k: 2.3, 4.9 and 10.1.",
        "",
        "| network | batch | k = 1 | k = 3 | k = 7 |",
        "|---|---|---|---|---|",
        *second,
    ]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(text) + "\n", encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()
