"""A certificate speaks of one function, as it was written, and of nothing else."""

import dataclasses
import functools
import io
import json
import math
import os
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from sobolev_pruning.certification import tables
from sobolev_pruning.regions import Box
from sobolev_pruning.surrogate import (
    MLP,
    Bound,
    Certificate,
    Claim,
    Normalisation,
    Surrogate,
    Verdict,
    fingerprint,
    load,
    load_certificate,
    save,
)

NETWORK = MLP.create([2, 3, 1], key=jax.random.key(0))


def model(activation=jax.nn.silu):
    return Surrogate(MLP(NETWORK.layers, activation), Normalisation.identity(2, 1))


def certificate(surrogate=None, **changes):
    """As `certify` makes it, of first order."""
    bound = Bound(-1.0, 2.0, -0.5, 1.5)
    rising, open_ = (
        Claim("y0 is nondecreasing in x0", Verdict.PROVED),
        Claim("y0 is nondecreasing in x1", Verdict.UNDECIDED),
    )
    parts = {
        "region": Box(jnp.zeros(2), jnp.ones(2)).to_dict(),
        "values": (bound,),
        "gradients": ((Bound(0.0, 1.0, 0.25, 0.5), bound),),
        "lipschitz": (Bound(0.0, math.inf, 0.0, 2.0),),
        "hessians": (),
        "curvature": (),
        "monotone": ((rising, open_),),
        "convex_in": (),
        "convex": (),
        "differences": {},
        "fingerprint": fingerprint(model() if surrogate is None else surrogate),
        "dtype": "float64",
        "arithmetic": "float64",
        "domain": "affine-32",
        "seconds": 1.0,
        "boxes": 3,
        "versions": {},
        "inputs": ("x0", "x1"),
        "outputs": ("y0",),
    }
    return Certificate(**(parts | changes))


def with_slope(slope):
    return lambda x: jnp.where(x < 0, slope * x, x)


@jax.custom_jvp
def flat(x):
    return x


flat.defjvp(lambda primals, tangents: (primals[0], 0 * tangents[0]))


class Scaled(eqx.Module):
    scale: float

    def __call__(self, x):
        return jnp.tanh(self.scale * x)


TABLE = np.arange(3.0)
OTHERS = {
    "slopes of a partial": [functools.partial(jax.nn.leaky_relu, negative_slope=s) for s in (0.1, 0.2)],
    "slopes by position": [functools.partial(lambda s, x: jax.nn.leaky_relu(x, s), s) for s in (0.1, 0.2)],
    "partial of a partial": [
        functools.partial(functools.partial(jax.nn.leaky_relu, negative_slope=0.1), negative_slope=s)
        for s in (0.1, 0.2)
    ],
    "closures": [with_slope(0.1), with_slope(0.2)],
    "lambdas": [lambda x: x * 2, lambda x: x * 3],
    "modules": [Scaled(1.0), Scaled(2.0)],
    "arrays inside": [lambda x: x * TABLE, lambda x: x * (TABLE + 1e-12)],
    "rules of derivatives": [lambda x: x, flat],
    "a name of another": [jax.nn.silu, functools.wraps(jax.nn.silu)(lambda x: jnp.tanh(x))],
    "inside of jit": [jax.jit(with_slope(0.1)), jax.jit(with_slope(0.2))],
    "what is read out of bounds": [
        lambda x, mode=mode: x * jnp.asarray(TABLE).at[jnp.int32(10 * x)].get(mode=mode)
        for mode in ("clip", "promise_in_bounds")
    ],
    "loops without a gradient": [
        lambda x, n=n: jax.lax.while_loop(lambda s: s[1] < n, lambda s: (s[0] / 2, s[1] + 1), (x, 0))[0] for n in (2, 3)
    ],
    "one width": [lambda x: x * x.shape[0], lambda x: x * 2],
}


@pytest.mark.parametrize("pair", OTHERS.values(), ids=OTHERS)
def test_another_function_has_another_fingerprint(pair):
    first, second = map(fingerprint, map(model, pair))
    assert first != second
    assert not certificate(model(pair[0])).is_of(model(pair[1]))


@pytest.mark.parametrize(
    "make",
    [lambda: with_slope(0.1), lambda: functools.partial(jax.nn.leaky_relu, negative_slope=0.1), lambda: Scaled(2.0)],
    ids=["closure", "partial", "module"],
)
def test_the_same_function_has_the_same_fingerprint(make):
    assert fingerprint(model(make())) == fingerprint(model(make()))


def test_weights_units_and_their_formats_count():
    surrogate = model()
    found = {fingerprint(surrogate)}
    for where in (lambda s: s.network.layers[1].bias, lambda s: s.normalisation.y_scale):
        found.add(fingerprint(eqx.tree_at(where, surrogate, jnp.full(1, 1.5))))
        found.add(fingerprint(eqx.tree_at(where, surrogate, jnp.full(1, 1.5, jnp.float32))))
    assert len(found) == 5
    assert fingerprint(surrogate.with_provenance(by="me")) == fingerprint(surrogate)


WRITE = """
import sys
import jax, jax.numpy as jnp
jax.config.update("jax_enable_x64", True)
from sobolev_pruning.surrogate import MLP, Normalisation, Surrogate, fingerprint, save
table = jnp.arange(4.0)
network = MLP.create([1, 4, 1], activation=lambda x: jnp.where(x < 0, table * x, jax.nn.gelu(x)), key=jax.random.key(0))
surrogate = Surrogate(network, Normalisation.identity(1, 1)).with_provenance(a="1", b="2", c="3", d="4")
save(surrogate, sys.argv[1])
print(fingerprint(surrogate))
"""


def test_another_process_writes_the_same_bytes_and_the_same_fingerprint(tmp_path):
    told = []
    for seed in "12":
        command = [sys.executable, "-c", WRITE, tmp_path / seed]
        env = os.environ | {"PYTHONHASHSEED": seed}
        told.append(subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout)
    assert told[0] == told[1] != ""
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_bytes_are_the_same_every_time_with_a_certificate_too(tmp_path):
    surrogate = model().with_provenance(**{letter: letter for letter in "abcdefgh"})
    for name in "ab":
        save(surrogate, tmp_path / name, certificate=certificate())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert load_certificate(tmp_path / "a", load(tmp_path / "a")) == certificate()


def test_what_is_written_is_read_again():
    found = Certificate.from_json(certificate().to_json())
    assert found == certificate()
    assert found.is_of(model())


EDITS = {
    "a bound": lambda c: c["values"][0].update(upper=1.6),
    "bounds in the wrong order": lambda c: c["values"][0].update(lower=3.0),
    "a bound that is no number": lambda c: c["gradients"][0][0].update(lower="nan"),
    "a verdict": lambda c: c["monotone"][0][1].update(verdict="proved"),
    "a name": lambda c: c.update(inputs=["a", "b"]),
    "the region": lambda c: c["region"].update(upper=[2.0, 2.0]),
    "the time": lambda c: c.update(seconds=2.0),
    "the checksum": lambda c: c.update(digest="0" * 64),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_what_was_edited_by_hand_is_refused(edit):
    parts = json.loads(certificate().to_json())
    edit(parts)
    with pytest.raises(ValueError, match="changed after it was written; certify the surrogate again"):
        Certificate.from_json(json.dumps(parts))


def test_what_an_earlier_version_wrote_is_to_be_certified_again():
    parts = json.loads(certificate().to_json())
    del parts["digest"], parts["inputs"], parts["outputs"]
    with pytest.raises(ValueError, match="an earlier version wrote it; certify the surrogate again"):
        Certificate.from_json(json.dumps(parts))


WRONG = {
    "wrong order": lambda c: {"values": (Bound(1.0, 0.0, 0.5, 0.5),)},
    "found beyond": lambda c: {"values": (Bound(0.0, 1.0, -1.0, 0.5),)},
    "a NaN": lambda c: {"values": (Bound(0.0, math.nan, 0.5, 0.5),)},
    "fewer values": lambda c: {"values": ()},
    "fewer derivatives": lambda c: {"gradients": (c.gradients[0][:1],)},
    "part of the second order": lambda c: {"curvature": c.values},
    "proved against its bound": lambda c: {
        "monotone": ((c.monotone[0][0], dataclasses.replace(c.monotone[0][1], verdict=Verdict.PROVED)),)
    },
    "undecided against its bound": lambda c: {
        "monotone": ((dataclasses.replace(c.monotone[0][0], verdict=Verdict.UNDECIDED), c.monotone[0][1]),)
    },
    "refuted without a witness": lambda c: {
        "monotone": ((c.monotone[0][0], dataclasses.replace(c.monotone[0][1], verdict=Verdict.REFUTED)),)
    },
    "seconds that are no number": lambda c: {"seconds": [0.5]},
    "endless seconds": lambda c: {"seconds": math.inf},
    "versions that are no texts": lambda c: {"versions": {"jax": {"version": 1}}},
    "a claim of something else": lambda c: {
        "monotone": ((c.monotone[0][0], Claim("y0 is nice in x1", Verdict.UNDECIDED)),)
    },
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.usefixtures("unchecked_shapes")
def test_parts_that_contradict_each_other_make_no_certificate(wrong):
    with pytest.raises(ValueError, match=r"order|has \d+ parts|verdict|something else|cannot be what is"):
        dataclasses.replace(certificate(), **wrong(certificate()))


def shown(tables, width=80):
    console = Console(file=io.StringIO(), width=width)
    for table in tables:
        console.print(table)
    return console.file.getvalue()


def of_many(d, m):
    """Of second order: rising and convex in the first input alone, open in the second, refuted in all others."""
    bound = Bound(-1.0, 2.0, -0.5, 1.5)
    verdicts = [Verdict.PROVED, Verdict.UNDECIDED, *[Verdict.REFUTED] * (d - 2)]
    inputs, outputs = tuple(f"input_{i}" for i in range(d)), tuple(f"out{k}" for k in range(m))
    row = tuple(Bound(0.0, 1.0, 0.25, 0.5) if v is Verdict.PROVED else bound for v in verdicts)

    def claims(y, verb):
        return tuple(
            Claim(f"{y} is {verb} in {x}", v, (0.5,) * d if v is Verdict.REFUTED else None)
            for x, v in zip(inputs, verdicts, strict=True)
        )

    return certificate(
        Surrogate(MLP.create([d, 3, m], key=jax.random.key(0)), Normalisation.identity(d, m)),
        inputs=inputs,
        outputs=outputs,
        region=Box(jnp.zeros(d), jnp.ones(d)).to_dict(),
        values=(bound,) * m,
        gradients=(row,) * m,
        lipschitz=(bound,) * m,
        hessians=(tuple(row[i : i + 1] * d for i in range(d)),) * m,
        curvature=(bound,) * m,
        monotone=tuple(claims(y, "nondecreasing") for y in outputs),
        convex_in=tuple(claims(y, "convex") for y in outputs),
        convex=tuple(Claim(f"{y} is convex in all inputs together", Verdict.UNDECIDED) for y in outputs),
    )


def test_many_claims_are_gathered_and_each_is_there_on_request():
    found = of_many(7, 3)
    claims = tables(found)[1]
    assert claims.row_count == 3 * (3 + 3)
    assert tables(found, every_claim=True)[1].row_count == 3 * (7 + 8)
    text = " ".join(shown([claims], 200).split())
    assert "out1 nondecreasing proved input_0" in text
    assert "out1 convex or concave undecided input_1, all together" in text
    assert "out2 monotone refuted input_2, input_3, input_4, input_5, input_6" in text
    assert max(map(len, shown(tables(found)).splitlines())) <= 80


def test_few_claims_are_read_one_by_one_and_names_stand_in_all_tables():
    found = of_many(2, 1)
    assert tables(found)[1].row_count == 5
    text = shown(tables(found))
    for part in ("out0", "∂out0/∂input_1", "∂²out0/∂input_0²", "curvature of out0", "out0 is convex in input_0"):
        assert part in text


def test_the_numbers_of_inputs_must_be_those_of_the_surrogate():
    wide = Surrogate(MLP.create([3, 3, 1], key=jax.random.key(0)), Normalisation.identity(3, 1))
    assert not certificate(wide).is_of(wide)
