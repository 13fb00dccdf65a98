"""A fit with checkpoints, run as a process of its own that may be killed: folder, result, and seconds a chunk."""

import sys
import time
from pathlib import Path

import jax
import numpy as np
from fit_problem import parameters, points, train

from sobolev_pruning.sobolev import Checkpoints, SobolevLoss

jax.config.update("jax_enable_x64", True)


def run(folder, seconds=0.0):
    return train(
        loss=SobolevLoss(),
        steps=60,
        evaluation=points(7, 30),
        patience=50,
        checkpoints=Checkpoints(folder, every=10),
        on_chunk=lambda *_: time.sleep(seconds),
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
    np.savez(Path(sys.argv[2]), **as_arrays(run(sys.argv[1], float(sys.argv[3]))))
