"""The same fit on one device, on several of one process, or on several processes: result, then rank, size and port."""

import re
import sys
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
from fit_problem import ADAM, TEACHER, parameters, points, start, train
from jax.sharding import Mesh

from sobolev_pruning.reference import BachelierBasket, DataSet
from sobolev_pruning.sobolev import Checkpoints, SobolevLoss
from sobolev_pruning.sobolev._sharding import everywhere
from sobolev_pruning.sobolev._steps import Task, Weights, run_chunk

jax.config.update("jax_enable_x64", True)

REFERENCES = {
    "simulator": lambda: BachelierBasket.random(jax.random.key(0), 2),
    "data": points,
}
N_SHARED = 26


def fits(mesh, folder=None):
    """Parameters and losses, reference by reference."""
    arrays = {}
    for name, reference in REFERENCES.items():
        checkpoints = None if folder is None or name != "data" else Checkpoints(folder, every=5)
        result = train(
            reference(),
            SobolevLoss(),
            batch_size=6,
            mesh=mesh,
            evaluation=points(7, 10),
            patience=50,
            checkpoints=checkpoints,
        )
        arrays |= {f"{name}.p{i}": leaf for i, leaf in enumerate(parameters(result.surrogate))}
        arrays[f"{name}.losses"] = result.losses
        arrays[f"{name}.evaluations"] = result.history.metrics["loss"]
    return arrays


def shapes(reference, mesh):
    """How many arrays of a compiled chunk have the samples of a whole batch on an axis, and how many those of half."""
    network, units = start().network, start().normalisation
    static = eqx.filter(network, eqx.is_inexact_array, inverse=True)
    task = Task(reference, SobolevLoss(), units, static, ADAM, N_SHARED, None, mesh)
    keys = jax.random.split(jax.random.key(0), 3)
    arguments = everywhere((Weights.start(network, ADAM), keys, task), mesh)
    text = run_chunk.lower(*arguments).compile().compiled.as_text()
    return [len(re.findall(rf"[\[,]{n}[\],]", text)) for n in (N_SHARED, N_SHARED // 2)]


if __name__ == "__main__":
    path, *distributed = sys.argv[1:]
    if distributed:
        rank, size, port = map(int, distributed)
        jax.distributed.initialize(f"127.0.0.1:{port}", size, rank)
    assert len(jax.devices()) == 2
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    arrays = fits(mesh, Path(path).parent / "checkpoints")
    if not distributed:
        references = {"simulator": REFERENCES["simulator"](), "data": DataSet(points()), "teacher": TEACHER}
        arrays |= {f"shapes.{name}": shapes(reference, mesh) for name, reference in references.items()}
    np.savez(Path(path), **arrays)
