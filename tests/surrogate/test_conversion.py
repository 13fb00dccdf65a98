"""Another object where a surrogate is wanted is refused with the way to one, and that way is one call."""

import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate, load, save
from sobolev_pruning.surrogate._conversion import check_network, check_surrogate

KEY = jax.random.key(0)


def of_equinox(inputs=2, outputs=1, depth=2, **options):
    return eqx.nn.MLP(inputs, outputs, 3, depth, key=KEY, **options)


SHAPES = {
    "usual": {},
    "no hidden layer": {"depth": 0},
    "scalar input": {"inputs": "scalar"},
    "scalar output": {"outputs": "scalar"},
    "no biases": {"use_bias": False, "use_final_bias": False},
    "another activation": {"activation": jax.nn.gelu},
    "an activation of numbers": {"activation": lambda x: jnp.where(x < 0, jnp.sin(x), x)},
}


@pytest.mark.parametrize("options", SHAPES.values(), ids=SHAPES)
def test_a_network_of_equinox_computes_the_same(options):
    theirs = of_equinox(**options)
    ours = MLP.from_equinox(theirs)
    x = jax.random.normal(KEY, (5, ours.widths[0]))
    given = x[:, 0] if options.get("inputs") == "scalar" else x
    np.testing.assert_allclose(
        jax.vmap(Surrogate.of(theirs))(x), jax.vmap(theirs)(given).reshape(5, -1), rtol=1e-12, atol=1e-12
    )
    assert jax.vmap(ours)(x).shape == (5, ours.widths[-1])


def test_a_converted_network_is_stored_and_comes_back(tmp_path):
    surrogate = Surrogate.of(of_equinox(activation=jax.nn.tanh))
    save(surrogate, tmp_path / "a")
    assert load(tmp_path / "a").network.activation is jax.nn.tanh


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (of_equinox(final_activation=jax.nn.sigmoid), "an activation after its last layer"),
        (of_equinox(activation=eqx.nn.PReLU()), "has arrays of its own"),
    ],
    ids=["final", "learned"],
)
def test_what_an_mlp_cannot_be_is_refused(network, message):
    with pytest.raises(ValueError, match=message):
        MLP.from_equinox(network)


FOREIGN = {
    "equinox": (of_equinox(), "`Surrogate.of(network)` converts it"),
    "mlp": (MLP.create([1, 1], key=KEY), "`Surrogate.of(network)` takes units of one"),
    "sequential": (eqx.nn.Sequential([]), "takes the weights of a dense network"),
    "path": ("model.safetensors", "`load(path)` reads one"),
    "function": (jnp.sin, "train one on samples of it"),
    "class": (Surrogate, "give an instance"),
    "nothing": (None, "is None"),
    "array": (np.zeros(3), "is ndarray of numpy"),
    "part": (Normalisation.identity(1, 1), "give its `.surrogate`"),
}


@pytest.mark.parametrize(("foreign", "message"), FOREIGN.values(), ids=FOREIGN)
def test_another_object_is_refused_with_the_way_to_one(foreign, message):
    with pytest.raises(TypeError) as refused:
        check_surrogate(foreign)
    assert message in str(refused.value)
    if not isinstance(foreign, MLP):
        with pytest.raises(TypeError, match="an `MLP` is wanted"):
            check_network(foreign)


# The checks of the annotated types come first inside of the tests, so these run as a user runs them.
AS_A_USER = """
import equinox as eqx, jax, jax.numpy as jnp, optax
import sobolev_pruning as sp
from sobolev_pruning.exchange import export_onnx
from sobolev_pruning.reference import Samples
from sobolev_pruning.regions import Box
from sobolev_pruning.surrogate import GuardedSurrogate, Normalisation, fingerprint, load_certificate
key = jax.random.key(0)
foreign = eqx.nn.MLP(1, 1, 2, 1, key=key)
box = Box(jnp.zeros(1), jnp.ones(1))
x = jnp.linspace(0, 1, 20)[:, None]
samples = Samples(x, x**2)
for call in (
    lambda: sp.save(foreign, "no"),
    lambda: export_onnx(foreign, "no"),
    lambda: sp.certify(foreign, box),
    lambda: sp.significance(foreign, box),
    lambda: sp.prune(foreign, None, None),
    lambda: sp.shrink(foreign, samples, tolerance=sp.Tolerance(values=1e-3), key=key),
    lambda: sp.fit(foreign, samples, sp.ValueLoss(), key=key, steps=1, batch_size=2, optimizer=optax.sgd(0.1)),
    lambda: sp.fit_levenberg_marquardt(foreign, samples, sp.ValueLoss()),
    lambda: sp.Surrogate(foreign, Normalisation.identity(1, 1)),
    lambda: GuardedSurrogate(foreign, box),
    lambda: load_certificate("no", foreign),
    lambda: fingerprint(foreign),
):
    try:
        call()
        print("accepted")
    except TypeError as error:
        print(error)
"""


def test_every_door_says_so():
    done = subprocess.run([sys.executable, "-c", AS_A_USER], capture_output=True, text=True, check=True)
    messages = done.stdout.splitlines()
    assert len(messages) == 12
    for message in messages:
        assert "is MLP of equinox, and" in message
        assert "converts it" in message
