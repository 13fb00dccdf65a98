"""What a run found, as `summary.json` and the report hold it."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import jax

from .._version import __version__
from ._stages import Stage

# R² as published (Kichler et al., PASC '24, doi 10.1145/3659914.3659915, the table of the case study).
PUBLISHED: dict[str, dict[str, float]] = {
    "oversized": {"values": 0.999545, "deltas": 0.998700, "gammas": 0.997033},
    "pruned": {"values": 0.999296, "deltas": 0.996718, "gammas": 0.902470},
    "finetuned_nn_data": {"values": 0.999805, "deltas": 0.999479, "gammas": 0.987393},
    "finetuned_reference": {"values": 0.999962, "deltas": 0.999863, "gammas": 0.997374},
}


def summarise(stages: Sequence[Stage], seed: int, seconds: float) -> dict[str, Any]:
    """The numbers of a run; R², RMSE and largest error on the published set, and beside them over the training law."""
    return {
        "seed": seed,
        "seconds": seconds,
        "stages": [
            {
                "name": stage.name,
                "network": stage.widths,
                "parameters": stage.surrogate.network.n_parameters,
                "seconds": stage.seconds,
                **stage.cube.table(),
                "training_law": stage.training_law.table(),
                "r2_of_each_delta": list(stage.cube.each_delta),
            }
            for stage in stages
        ],
        "published": PUBLISHED,
        "environment": environment(),
    }


def is_published_case(summary: dict[str, Any]) -> bool:
    """Whether the oversized network is the published one, so that the published table may stand beside it."""
    return summary["stages"][0]["network"] == [7, *[128] * 6, 1]


def environment() -> dict[str, str]:
    """Versions and machine, as far as they can matter to the numbers."""
    device = jax.devices()[0]
    return {
        "sobolev-pruning": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "jaxlib", "equinox", "optax", "diffrax", "numpy")},
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "device": f"{len(jax.devices())} x {device.device_kind}",
        "precision": "float64" if jax.numpy.zeros(()).dtype == "float64" else "float32",
    }
