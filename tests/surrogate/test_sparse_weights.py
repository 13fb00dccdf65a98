"""Sparse weights are stored in fewer bytes, and come back to the bit; dense ones are stored as they always were."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate, load, save
from sobolev_pruning.surrogate._sparse_weights import packed, unpacked

WIDTHS = (3, 64, 64, 1)


def sparse(share, dtype=jnp.float32):
    network = MLP.create(WIDTHS, key=jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 3)
    for i, key in enumerate(keys[:2]):
        weight = network.layers[i].weight
        zeroed = jnp.where(jax.random.uniform(key, weight.shape) < share, 0, weight)
        network = jax.tree.map(lambda leaf, w=weight, z=zeroed: z if leaf is w else leaf, network)
    network = jax.tree.map(lambda leaf: leaf.astype(dtype), network)
    return Surrogate(network, jax.tree.map(lambda leaf: leaf.astype(dtype), Normalisation.identity(3, 1)))


def names(path):
    return {name.removeprefix("layers.1.weight") for name in load_file(path) if name.startswith("layers.1.weight")}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(
    ("share", "form"),
    [(0.0, {""}), (0.7, {".values", ".bits"}), (0.95, {".values", ".gaps"})],
    ids=["dense", "bits", "gaps"],
)
def test_the_smallest_form_is_stored_and_the_same_bits_come_back(tmp_path, share, form, dtype):
    model, dense = sparse(share, dtype), sparse(0.0, dtype)
    save(model, tmp_path / "model")
    save(dense, tmp_path / "dense")
    assert names(tmp_path / "model") == form
    sizes = [(tmp_path / name).stat().st_size for name in ("model", "dense")]
    weights = [layer.weight for layer in model.network.layers]
    n, size = sum(weight.size for weight in weights), sum(int(jnp.sum(weight != 0)) for weight in weights)
    # A bit for each weight or a byte for each that is left, and up to two tensors more in the header.
    positions = 0 if share == 0 else min(n / 8, size)
    assert sizes[0] <= sizes[1] - (n - size) * weights[0].itemsize + positions + 2 * 96
    for a, b in zip(jax.tree.leaves(load(tmp_path / "model")), jax.tree.leaves(model), strict=True):
        assert a.dtype == b.dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize(
    "weight",
    [
        np.r_[np.zeros(3000), 1.0].reshape(1, -1),
        np.r_[2.0, np.zeros(100_000), -0.0].reshape(2, -1),
        np.zeros((40, 40)),
        np.eye(37),
        np.r_[np.nan, np.zeros(1000), 5e-324].reshape(1, -1),
        np.ones((1, 1)),
    ],
    ids=["the last", "negative zero after a long gap", "nothing", "not a whole byte", "NaN and subnormal", "one"],
)
def test_what_is_hard_to_pack_comes_back(weight):
    form = packed("w", weight)
    assert sum(part.nbytes for part in form.values()) <= weight.nbytes
    assert unpacked(form, {"w": weight.shape})["w"].tobytes() == weight.tobytes()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("values", lambda part: part[:-1]),
        ("gaps", lambda part: part + np.uint8(100)),
        ("gaps", lambda part: part.astype(np.int64)),
        ("gaps", lambda part: part.reshape(1, -1)),
        ("gaps", None),
    ],
)
def test_damaged_positions_are_refused(tmp_path, name, change):
    path = tmp_path / "model"
    save(sparse(0.95), path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    tensors, key = load_file(path), f"layers.1.weight.{name}"
    part = tensors.pop(key)
    if change is not None:
        tensors[key] = change(part)
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match=r"model: `layers.1.weight` is damaged: .* do not fit the shape \(64, 64\)"):
        load(path)
