"""A fit with checkpoints, a process of its own that may be killed: folder, result, seconds a chunk, file limit."""

import resource
import sys
import time
from pathlib import Path

import jax
import numpy as np
from fit_problem import parameters, points, train

from sobolev_pruning.sobolev import Checkpoints, SobolevLoss

jax.config.update("jax_enable_x64", True)


def run(folder, seconds=0.0, *, limited=False, seen=None):
    """A limit on the size of files, if there is to be one, comes after 25 steps."""

    def on_chunk(done, surrogate):
        time.sleep(seconds)
        if seen is not None:
            seen.append(done)
        if limited and done == 25:
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))

    return train(
        loss=SobolevLoss(),
        steps=60,
        evaluation=points(7, 30),
        patience=50,
        checkpoints=Checkpoints(folder, every=10),
        on_chunk=on_chunk,
    )


def as_arrays(result):
    history = result.history
    arrays = dict(enumerate(parameters(result.surrogate)))
    return {f"p{i}": leaf for i, leaf in arrays.items()} | {
        "losses": history.losses,
        "evaluated": history.evaluated,
        **history.metrics,
    }


if __name__ == "__main__":
    folder, path, seconds, *limit = sys.argv[1:]
    seen = []
    arrays = as_arrays(run(folder, float(seconds), limited=bool(limit), seen=seen))
    print(seen[0])
    # The limit cuts off every file of this process.
    if not limit:
        np.savez(Path(path), **arrays)
