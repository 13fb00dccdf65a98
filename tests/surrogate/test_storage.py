"""What is saved is loaded, bit by bit, and nothing else is."""

import functools
import json
import os
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate, load, save
from sobolev_pruning.surrogate._activations import ACTIVATIONS


def surrogate(activation=jax.nn.silu, widths=(3, 4, 2, 2)):
    network = MLP.create(widths, activation=activation, key=jax.random.key(0))
    units = Normalisation(jnp.arange(3.0), jnp.arange(1.0, 4.0), jnp.arange(2.0), jnp.arange(2.0, 4.0))
    return Surrogate(network, units, (("made by", "a test"), ("Größe", '"7" µm')))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Metadata and tensors of a good file, to be damaged."""
    path = tmp_path_factory.mktemp("stored") / "good.safetensors"
    save(surrogate(), path)
    with safe_open(path, framework="numpy") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}


def same(a, b):
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        x.dtype == y.dtype and np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in leaves
    )


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
def test_round_trip_is_exact(tmp_path, x64):
    with jax.enable_x64(x64):
        model = surrogate()
        save(model, tmp_path / "a.safetensors")
        loaded = load(str(tmp_path / "a.safetensors"))
    assert loaded.network.layers[0].weight.dtype == (jnp.float64 if x64 else jnp.float32)
    assert same(loaded, model)
    assert loaded.provenance == model.provenance
    assert os.listdir(tmp_path) == ["a.safetensors"]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_named_activation_comes_back(tmp_path, name):
    save(surrogate(ACTIVATIONS[name]), tmp_path / "a")
    assert load(tmp_path / "a").network.activation is ACTIVATIONS[name]


@pytest.mark.parametrize(
    "own", [lambda x: x * 2, functools.partial(jax.nn.gelu, approximate=False)], ids=["lambda", "partial"]
)
def test_an_own_activation_must_be_given_again(tmp_path, own):
    save(surrogate(own), tmp_path / "a")
    with pytest.raises(ValueError, match=r"a: the activation .* pass the function as `activation=`"):
        load(tmp_path / "a")
    assert load(tmp_path / "a", activation=own).network.activation is own


def test_metadata_can_be_read_without_the_library(stored):
    metadata, tensors = stored
    config = json.loads(metadata["config"])
    assert config["widths"] == [3, 4, 2, 2]
    assert config["activation"] == "jax.nn.silu"
    assert config["provenance"]["Größe"] == '"7" µm'
    assert tensors["layers.0.weight"].shape == (4, 3)


def test_a_name_in_a_file_runs_nothing(tmp_path, stored):
    metadata, tensors = stored
    for name in ("os.system", "jax.numpy.load", "__import__('os')", "jax.nn.silu.__class__"):
        config = json.loads(metadata["config"]) | {"activation": name}
        save_file(tensors, tmp_path / "a", metadata | {"config": json.dumps(config)})
        with pytest.raises(ValueError, match="none that a name can stand for"):
            load(tmp_path / "a")


def with_config(**changes):
    def damage(metadata, tensors):
        config = {k: v for k, v in (json.loads(metadata["config"]) | changes).items() if v is not None}
        return metadata | {"config": json.dumps(config)}, tensors

    return damage


def with_tensors(**changes):
    """Tensors replaced, or removed by None; `__` stands for a dot."""

    def damage(metadata, tensors):
        new = tensors | {name.replace("__", "."): array for name, array in changes.items()}
        return metadata, {name: array for name, array in new.items() if array is not None}

    return damage


def with_text(old, new):
    def damage(metadata, tensors):
        assert old in metadata["config"]
        return metadata | {"config": metadata["config"].replace(old, new)}, tensors

    return damage


def many_layers(metadata, tensors):
    n = 5000
    layers = {f"layers.{i}.{name}": np.ones((1, 1)[:k]) for i in range(n) for k, name in ((2, "weight"), (1, "bias"))}
    units = {name: np.ones(1) for name in ("x_mean", "x_scale", "y_mean", "y_scale")}
    return with_config(widths=[1] * (n + 1))(metadata, units | layers)


def with_few_bytes(width):
    """One weight of that width squared, all zeros but the last."""

    def damage(metadata, tensors):
        units = {name: part for name, part in tensors.items() if "." not in name}
        gaps = np.array([width * width - 1], np.uint32)
        weights = {f"layers.{i}.weight": np.zeros(shape) for i, shape in ((0, (width, 3)), (2, (2, width)))}
        biases = {f"layers.{i}.bias": np.zeros(n) for i, n in enumerate((width, width, 2))}
        packed = {"layers.1.weight.values": np.ones(1), "layers.1.weight.gaps": gaps}
        metadata, _ = with_config(widths=[3, width, width, 2])(metadata, {})
        return metadata, units | weights | biases | packed

    return damage


DAMAGES = {
    "another format": lambda metadata, tensors: (metadata | {"format": "sobolev-pruning/99"}, tensors),
    "no metadata": lambda metadata, tensors: (None, tensors),
    "no configuration": lambda metadata, tensors: ({"format": metadata["format"]}, tensors),
    "configuration is no JSON": lambda metadata, tensors: (metadata | {"config": "{"}, tensors),
    "configuration is a list": lambda metadata, tensors: (metadata | {"config": "[]"}, tensors),
    "no widths": with_config(widths=None),
    "widths are a number": with_config(widths=3),
    "widths are words": with_config(widths=["a", "b", "c", "d"]),
    "one width": with_config(widths=[3]),
    "empty widths": with_config(widths=[]),
    "other widths": with_config(widths=[3, 5, 2, 2]),
    "fewer widths": with_config(widths=[3, 4, 2]),
    "no activation": with_config(activation=None),
    "activation is a list": with_config(activation=["jax.nn.silu"]),
    "provenance is a list": with_config(provenance=["a"]),
    "a weight is missing": with_tensors(layers__1__weight=None),
    "a bias is missing": with_tensors(layers__1__bias=None),
    "a mean is missing": with_tensors(x_mean=None),
    "a bias of another length": with_tensors(layers__1__bias=np.zeros(3)),
    "a bias is a matrix": with_tensors(layers__1__bias=np.zeros((2, 1))),
    "a mean of another length": with_tensors(x_mean=np.zeros(4)),
    "a scale of another length": with_tensors(y_scale=np.ones(3)),
    "a weight of whole numbers": with_tensors(layers__1__weight=np.zeros((2, 4), np.int64)),
    "infinite widths": with_text('"widths": [3, 4, 2, 2]', '"widths": [3, 1e999, 2, 2]'),
    "a fraction for a width": with_config(widths=[3, 4.5, 2, 2]),
    "truth for a width": with_config(widths=[3, 4, True, 2]),
    "a negative width": with_config(widths=[3, -4, 2, 2]),
    "a width beyond any memory": with_config(widths=[3, 10**30, 2, 2]),
    "a million widths": with_config(widths=[1] * 10**6),
    "more layers than could be compiled": many_layers,
    "deeply nested widths": with_text('"widths": [3', '"widths": ' + "[" * 10**5 + "3"),
    "a key twice": with_text('"widths": [3', '"widths": [1], "widths": [3'),
    "digits beyond what Python reads": with_text('"widths": [3', '"widths": [' + "3" * 5000),
    "an endless activation": with_config(activation="a" * 10**6),
    "a tensor of an endless name": lambda metadata, tensors: (metadata, tensors | {"a\n" * 3000: np.ones(2)}),
    "few bytes for many zeros": with_few_bytes(30_000),
    "a weight of half precision": with_tensors(layers__1__weight=np.zeros((2, 4), np.float16)),
    "a mean of another precision": with_tensors(x_mean=np.zeros(3, np.float32)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.usefixtures("unchecked_shapes")
def test_a_damaged_file_is_one_clear_error(tmp_path, stored, damage):
    metadata, tensors = damage(*stored)
    save_file(tensors, tmp_path / "bad.safetensors", metadata)
    with pytest.raises(ValueError, match=r"bad\.safetensors: ") as error:
        load(tmp_path / "bad.safetensors")
    assert len(str(error.value)) < 800
    assert "\n" not in str(error.value)


def test_a_tensor_that_is_described_twice_is_refused(tmp_path):
    """Readers differ in which description they believe."""
    save(surrogate(), tmp_path / "a")
    data = (tmp_path / "a").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].rstrip()
    again = re.search(rb'"layers\.0\.bias":\{[^}]*\}', header).group()
    header = header[:-1] + b"," + again + b"}"
    (tmp_path / "a").write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])
    with pytest.raises(ValueError, match=r"a: not a safetensors file, or a damaged one \(a key is given twice"):
        load(tmp_path / "a")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not ours", b"\xff" * 200], ids=["empty", "foreign", "noise"])
def test_a_foreign_file_is_one_clear_error(tmp_path, content):
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(ValueError, match="bad: not a safetensors file"):
        load(tmp_path / "bad")


@pytest.mark.parametrize("part", [0.02, 0.5, 0.999])
def test_a_truncated_file_is_one_clear_error(tmp_path, part):
    save(surrogate(), tmp_path / "bad")
    content = (tmp_path / "bad").read_bytes()
    (tmp_path / "bad").write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match="bad: not a safetensors file, or a damaged one"):
        load(tmp_path / "bad")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere")


def test_float64_is_refused_in_a_float32_session(tmp_path):
    save(surrogate(), tmp_path / "a")
    with jax.enable_x64(False), pytest.raises(ValueError, match="jax_enable_x64"):
        load(tmp_path / "a")


def test_float32_loads_in_a_float64_session(tmp_path):
    with jax.enable_x64(False):
        save(surrogate(), tmp_path / "a")
    assert load(tmp_path / "a").network.layers[0].weight.dtype == jnp.float32


BAD_NUMBERS = {
    "a scale of zero": with_tensors(x_scale=np.array([1.0, 0.0, 1.0])),
    "a scale below all normal numbers": with_tensors(y_scale=np.array([1.0, 1e-310])),
    "a scale that is NaN": with_tensors(y_scale=np.array([1.0, np.nan])),
    "an infinite scale": with_tensors(x_scale=np.array([1.0, np.inf, 1.0])),
    "an infinite mean": with_tensors(y_mean=np.array([np.inf, 1.0])),
    "a weight that is NaN": with_tensors(layers__1__bias=np.array([0.0, np.nan])),
}


@pytest.mark.parametrize("damage", BAD_NUMBERS.values(), ids=BAD_NUMBERS)
def test_numbers_that_make_no_function_are_refused(tmp_path, stored, damage):
    metadata, tensors = damage(*stored)
    save_file(tensors, tmp_path / "bad", metadata)
    with pytest.raises(ValueError, match=r"bad: .*must be finite"):
        load(tmp_path / "bad")


def test_numbers_that_are_not_finite_are_not_stored(tmp_path):
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, surrogate().network)
    with pytest.raises(ValueError, match=r"`layers\.0`; its numbers must be finite"):
        save(Surrogate(broken, surrogate().normalisation), tmp_path / "a")
    assert os.listdir(tmp_path) == []


def test_units_of_zero_are_refused_and_under_jit_not_looked_at():
    units = surrogate().normalisation
    with pytest.raises(ValueError, match=r"`x_scale` is 0\.0 for input 2; means must be finite"):
        Normalisation(units.x_mean, units.x_scale.at[2].set(0), units.y_mean, units.y_scale)
    jax.jit(lambda scale: Normalisation(units.x_mean, scale, units.y_mean, units.y_scale))(jnp.zeros(3))


def test_an_activation_that_is_another_is_refused(tmp_path):
    save(surrogate(), tmp_path / "named")
    save(surrogate(functools.partial(jax.nn.leaky_relu, negative_slope=0.1)), tmp_path / "partial")
    for name, other in (("named", jnp.tanh), ("partial", functools.partial(jax.nn.leaky_relu, negative_slope=0.2))):
        with pytest.raises(ValueError, match="`activation` is another"):
            load(tmp_path / name, activation=other)
    assert load(tmp_path / "named", activation=jax.nn.silu).network.activation is jax.nn.silu


def test_an_activation_of_another_version_of_jax_is_warned_about(tmp_path, stored):
    save(surrogate(lambda x: 2 * x), tmp_path / "a")
    with safe_open(tmp_path / "a", framework="numpy") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}
    config = json.loads(metadata["config"])
    config["activation_program"]["jax"] = "0.1"
    save_file(tensors, tmp_path / "a", metadata | {"config": json.dumps(config)})
    with pytest.warns(UserWarning, match="could not be compared .* JAX 0.1 wrote the file"):
        load(tmp_path / "a", activation=lambda x: 2 * x)


def test_names_are_stored_and_may_hold_commas(tmp_path):
    named = surrogate().named(inputs=["a, b", 'the "x"', "c"], outputs=["y", "z"])
    save(named, tmp_path / "a")
    loaded = load(tmp_path / "a")
    assert loaded.input_names == ("a, b", 'the "x"', "c")
    assert loaded.output_names == ("y", "z")
    assert surrogate().input_names == ("x0", "x1", "x2")
    with pytest.raises(ValueError, match="give 2 different names"):
        named.named(inputs="abc", outputs=["y", "y"])


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    save(surrogate(), path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        save(surrogate(jnp.tanh), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a"]


def test_a_missing_folder_is_an_error_and_makes_nothing(tmp_path):
    with pytest.raises(FileNotFoundError):
        save(surrogate(), tmp_path / "none" / "a")
    assert os.listdir(tmp_path) == []


def test_rights_of_a_file_are_those_of_any_new_file(tmp_path):
    save(surrogate(), tmp_path / "a")
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode
