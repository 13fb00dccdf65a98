"""Every reader of the library with good files to begin from, ways to damage them, and the call that reads them.

A target writes one case into an empty folder and reads it. Nothing else may happen than a result, or one of the errors
that the reader promises; `fuzz_campaign` watches over that.
"""

import contextlib
import gzip
import io
import json
import os
import shutil
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from mutations import damaged, damaged_json, damaged_value
from pyarrow import parquet
from safetensors import safe_open

from sobolev_pruning import cli
from sobolev_pruning._reading import from_json
from sobolev_pruning._version import __version__
from sobolev_pruning._work import OtherWorkError, _digest, work
from sobolev_pruning.certification import tables
from sobolev_pruning.cli._certify import _region
from sobolev_pruning.cli._ending import Refused
from sobolev_pruning.pruning import Tolerance, kept_inputs
from sobolev_pruning.pruning._recorded import RecordedTrials
from sobolev_pruning.reference import CsvFormat, MappedDataSet, read_points, read_table, stream_table, table_columns
from sobolev_pruning.reference._data._row_split import RowSplit
from sobolev_pruning.regions import region_from_dict
from sobolev_pruning.sobolev import CheckpointWarning
from sobolev_pruning.study import ConfigError, StudyConfig
from sobolev_pruning.surrogate import (
    MLP,
    Bound,
    Certificate,
    Claim,
    Difference,
    Normalisation,
    Surrogate,
    Verdict,
    fingerprint,
    load,
    load_certificate,
    save,
    save_record,
)
from sobolev_pruning.surrogate._certificate import _checksum

FIRST, SECOND = "d{output}/d{input}", "d2{output}/d{input}d{other}"
COLUMNS = {
    name: np.random.default_rng(i).normal(size=7).round(6)
    for i, name in enumerate(["a", "b", "y", "dy/da", "dy/db", "d2y/dada", "w"])
}
KEY = jax.random.key(0)


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        cases: of the whole campaign.
        write: puts a damaged case into a folder, with a source of random numbers.
        read: reads the case in that folder.
        errors: what the reader may raise.
        named: whether every message names the file.
        drafts: whether it may write into the folder of the case what is then gone, to see whether it can.
        own_folder: whether it may change that folder, as the reader of checkpoints does.
    """

    cases: int
    write: Callable[[Any, Path], None]
    read: Callable[[Any, Path], None]
    errors: tuple[type[Exception], ...] = (ValueError,)
    named: bool = True
    drafts: bool = False
    own_folder: bool = False


# Configurations

CONFIGS = [
    StudyConfig().to_toml(),
    "# small\nseed = 3\n[reference]\ndim = 2\nweights = [1, 2.0]\ncorrelation = [[1.0, 0.1], [0.1, 1.0]]\n[pruning]\n"
    'keep = [[2]]\nregions = 4\nrefit_samples = 16\n[network]\nhidden = [4]\nactivation = "tanh"\n',
    'seed = 0x10\nreference.strike = 1e0\n"network".hidden = [\n  8, # nodes\n  8,\n]\n[pruning]\nkeep = [[8, 8]]\n',
    "[reference]\nstrike = 1.5\n[finetuning]\nsteps = 3\n[evaluation]\npoints = 16\n",
]
OF_TOML = (
    "[reference]", "[[pruning]]", "[a.b.c]", "keep = [[3]]", "seed = -1", "dim = 1e3", "strike = inf", "hidden = [[]]",
    "1979-05-27", "'''", "seed.a = 1", "x = {a = {b = 1}}", "\\uD800", "0xffffffffffffffffffffff", "steps = 07", "\n",
    *("[", "{", "=", "a." * 70 + "a = 1", "activation = ''", "+nan", "-inf", "9" * 5000, "[" * 3000, "\0"),
)  # fmt: skip

OF_VALUES = (
    "0", "1", "2", "3", "8", "-1", "0.5", "1e-3", "1e300", "inf", "nan", "true", '"silu"', '"x"', "2020-01-01",
    "07:32:00", "1, 2", "8, 8", "3, 3, 3", "0x7fffffff", str(2**31), str(10**400), "0x" + "f" * 5000, "{a = 1}",
    "1, [2]", "",
)  # fmt: skip


def write_config(random, folder):
    texts = [text.encode() for text in CONFIGS]
    lines = random.choice(CONFIGS).splitlines()
    if random.random() < 0.4:
        text = damaged(random, random.choice(texts), texts, OF_TOML)
    else:  # other values, each as TOML can hold it
        for at in random.sample(range(len(lines)), min(len(lines), random.choice((1, 1, 2, 4)))):
            key, sign, value = lines[at].partition("=")
            if sign:
                value = random.choice(("{}", "[{}]", "[[{}]]", value)).replace("{}", random.choice(OF_VALUES))
                lines[at] = f"{key}={value}"
        text = "\n".join(lines).encode()
    (folder / "c.toml").write_bytes(text)


def read_config(random, folder):
    try:
        config = StudyConfig.from_toml(folder / "c.toml")
    except ConfigError as error:
        if "c.toml" not in str(error):
            raise AssertionError("a message without the name of the file") from error
        raise
    config.check()


# Tables


def as_text(separator=",", decimal=".", end="\n", quote="", comment="", units=""):
    names = separator.join(f"{quote}{name}{quote}" for name in COLUMNS)
    rows = [separator.join(f"{x}".replace(".", decimal) for x in row) for row in zip(*COLUMNS.values(), strict=True)]
    return end.join([*([comment] if comment else []), names, *([units] if units else []), *rows, ""]).encode()


TEXTS = [
    as_text(),
    as_text(";", ",", "\r\n"),
    as_text("\t", quote='"'),
    as_text(comment="# from a solver", units="m,m,kg,,,,-"),
    b"\xef\xbb\xbf" + as_text(end="\r"),
    b'a,b,y\n1,2,3\n,"4",NA\n"5\n",6,nan\n',
    as_text().decode().encode("utf-16"),
    "a,b,y,größe\n1,2,3,4\n".encode("latin-1"),
]


def write_text(random, folder):
    (folder / "t.csv").write_bytes(damaged(random, random.choice(TEXTS), TEXTS))


def write_gzip(random, folder):
    text = damaged(random, random.choice(TEXTS), TEXTS) if random.random() < 0.4 else random.choice(TEXTS)
    data = gzip.compress(text, 6, mtime=0)
    if random.random() < 0.7:
        data = damaged(random, data, [data])
        if random.random() < 0.3:  # in the head, where its flags are
            data = damaged(random, data[:10]) + data[10:]
    (folder / "t.csv.gz").write_bytes(data)


def read_samples(random, folder):
    (path,) = folder.iterdir()
    kind = random.random()
    if kind < 0.2:
        table_columns(path)
    elif kind < 0.3:
        read_points(path, dim=3)
    elif kind < 0.4:
        for _ in stream_table(path, inputs=["a"], outputs=["y"], allow_missing=True, rows_at_once=3):
            pass
    elif kind < 0.5 and ".csv" in path.name:
        format = CsvFormat(
            *random.choice(((None, None), (",", "."), (";", ","), ("\t", None), (None, ","), ("|", "."))),
            random.choice((None, "#", "%")),
            random.choice(((), ("-999",))),
            random.choice((None, True, False)),
        )
        read_table(path, inputs=["a", "b"], outputs=["y"], csv=format)
    else:
        read_table(
            path,
            inputs=["a", "b"][: random.randrange(1, 3)],
            outputs=["y"],
            derivatives=random.choice((None, FIRST, {("y", "a"): "dy/da"})),
            second_derivatives=random.choice((None, None, {("y", "a", "a"): "d2y/dada"})),
            weights=random.choice((None, None, {"y": "w"})),
            errors=None,
            allow_missing=random.random() < 0.5,
        )


# NumPy's files

HEADERS = (
    "(7,)", "(7, 1)", "(1, 7)", "(3, 2)", "()", "(0,)", "(-7,)", "(7.0,)", "(True,)", f"({10**13},)", f"({2**64},)",
    "7", f"({2**32}, {2**32})", "None", "(7" * 2000, "[7]", "'a'", "(7,) * 9", "(" + "1," * 70 + ")", f"(7, {10**10})",
)  # fmt: skip
TYPES = (
    "'<f8'", "'>f8'", "'<f4'", "'<f2'", "'<f16'", "'<i8'", "'|u1'", "'|b1'", "'<c16'", "'|O'", "'<U3'", "'|S8'",
    "'<M8[s]'", "'<m8'", "[('a', '<f8')]", "('<f8', (7,))", "'|V8'", "'<U0'", "''", "None", "1", "'<f9'", "'<q8'",
    "('|O', 7)",
)  # fmt: skip


def an_array(random, rows=0.3):
    """Bytes of an NPY file, of which the header is often another than the data's."""
    array = random.choice(list(COLUMNS.values()))
    if random.random() < rows:
        array = np.stack([array, array + 1], 1)
    if random.random() < 0.2:
        array = np.asfortranarray(array.astype(random.choice((">f4", "<i2", "<f8"))))
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    data = file.getvalue()
    if random.random() < 0.35:
        shape = str(array.shape) if random.random() < 0.4 else random.choice(HEADERS)
        kind = repr(array.dtype.str) if random.random() < 0.4 else random.choice(TYPES)
        order = random.choice(("False", "True", "1", "None"))
        header = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
        if random.random() < 0.2:
            header = damaged(random, header)
        version = random.choice((1, 1, 1, 2, 3, 0, 255))
        length = len(header) if random.random() < 0.9 else random.choice((0, 65535, 10))
        length = (length % 65536).to_bytes(2, "little") if version == 1 else length.to_bytes(4, "little")
        data = b"\x93NUMPY" + bytes([version, 0]) + length + header + array.tobytes()
    return data


def write_npy(random, folder):
    data = an_array(random, rows=0.8)
    (folder / "x.npy").write_bytes(damaged(random, data) if random.random() < 0.6 else data)


def write_npz(random, folder):
    file = io.BytesIO()
    method = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(file, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name that is there twice
        for name in random.sample([*COLUMNS, "x", "a", "../up"], random.randrange(1, 9)):
            data = an_array(random) if random.random() < 0.3 else plain_array(COLUMNS.get(name, COLUMNS["a"]))
            if random.random() < 0.1:
                data = damaged(random, data)
            archive.writestr(name + random.choice((".npy", ".npy", ".npy", ".npy", ".npy", "")), data)
    data = file.getvalue()
    (folder / "t.npz").write_bytes(damaged(random, data, [data]) if random.random() < 0.7 else data)


def plain_array(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def read_array(random, folder):
    read_points(folder / "x.npy", dim=2)


# Parquet


def parquet_columns(random):
    """Columns of numbers, and now and then of what a table of numbers does not hold."""
    n = 7
    other = {
        "text": lambda: pa.array(["1", None, "x"] * 2 + ["y"]),
        "words of a dictionary": lambda: pa.array(["p", "q", None, "p", "p", "q", "q"]).dictionary_encode(),
        "numbers of a dictionary": lambda: pa.array([1.5, 2.5, None, 1.5, 2.5, 1.5, 1.5]).dictionary_encode(),
        "decimals": lambda: pa.array([1, 2, None, 4, 5, 6, 7], pa.decimal128(38, 3)),
        "times": lambda: pa.array([0, 1, None, 3, 4, 5, 6], pa.timestamp("ns", "UTC")),
        "spans": lambda: pa.array([0, 1, None, 3, 4, 5, 6], pa.duration("s")),
        "lists": lambda: pa.array([[1.0], [], None, [2.0, 3.0]] + [[4.0]] * 3),
        "records": lambda: pa.array([{"a": 1.0, "b": "x"}] * n),
        "maps": lambda: pa.array([[("k", 1)]] * n, pa.map_(pa.string(), pa.int64())),
        "nothing": lambda: pa.nulls(n),
        "bits": lambda: pa.array([True, None, False] * 2 + [True]),
        "bytes": lambda: pa.array([b"\xff"] * n),
        "small numbers": lambda: pa.array([1, None, 3, 4, 5, 6, 7], pa.uint8()),
        "half numbers": lambda: pa.array(COLUMNS["a"].astype(np.float16)),
        "holes": lambda: pa.array([1.0, None, float("nan"), float("inf"), 5.0, 6.0, 7.0]),
    }
    columns = {name: pa.array(column) for name, column in COLUMNS.items()}
    for name in columns:
        if random.random() < 0.12:
            columns[name] = random.choice(list(other.values()))()
    return columns


_parquets: dict[int, bytes] = {}


def write_parquet(random, folder):
    # Making one takes longer than reading it, so each of a few hundred serves many times.
    which = random.randrange(300)
    if which not in _parquets:
        own = type(random)(which)
        file = io.BytesIO()
        parquet.write_table(
            pa.table(parquet_columns(own)),
            file,
            row_group_size=own.choice((2, 4, 100)),
            compression=own.choice(("none", "snappy", "gzip", "zstd")),
            use_dictionary=own.random() < 0.5,
            data_page_version=own.choice(("1.0", "2.0")),
        )
        _parquets[which] = file.getvalue()
    data = _parquets[which]
    if random.random() < 0.85:
        # Half of the damage falls on the description at the end.
        cut = len(data) - int.from_bytes(data[-8:-4], "little") - 8 if random.random() < 0.5 else 0
        data = data[:cut] + damaged(random, data[cut:])
        if random.random() < 0.5:
            data = data[:-8] + (len(data) - cut - 8 & 0xFFFFFFFF).to_bytes(4, "little") + b"PAR1"
    (folder / "t.parquet").write_bytes(data)


# Model files


def bound(scale=1.0):
    return Bound(-scale, scale, -0.5 * scale, 0.5 * scale)


def certificate_of(surrogate):
    d, m = surrogate.network.widths[0], surrogate.network.widths[-1]
    claim, bent, all_bent = (
        Claim(f"y0 is {text}", Verdict.REFUTED, (0.5,) * d)
        for text in ("nondecreasing in x0", "convex in x0", "convex in all inputs together")
    )
    each = tuple((bound(),) * d for _ in range(m))
    claims, convex_in = (tuple((each,) * d for _ in range(m)) for each in (claim, bent))
    region = {"kind": "box", "lower": [0.0] * d, "upper": [1.0] * d}
    hessians = ((each[0],) * d,) * m
    differences = {"other": Difference((bound(),) * m, each)}
    made = (fingerprint(surrogate), "float64", "float64", "affine", 1.5, 12, {"jax": jax.__version__})
    values = ((bound(),) * m, each, (bound(2.0),) * m, hessians, (bound(),) * m)
    names = surrogate.input_names, surrogate.output_names
    return Certificate(region, *values, claims, convex_in, (all_bent,) * m, differences, *made, *names)


def surrogates():
    dense = Surrogate(MLP.create([2, 4, 3, 1], key=KEY), Normalisation.identity(2, 1), (("inputs", "a,b"),))
    wide = MLP.create([2, 40, 40, 1], key=KEY)
    keep = {"bits": 0.3, "gaps": 0.03}
    sparse = {}
    for name, share in keep.items():
        mask = jax.random.bernoulli(KEY, share, (40, 40))
        layers = (
            wide.layers[0],
            type(wide.layers[1])(jnp.where(mask, wide.layers[1].weight, 0.0), wide.layers[1].bias),
            wide.layers[2],
        )
        sparse[name] = Surrogate(MLP(layers, jax.nn.tanh), Normalisation.identity(2, 1))
    single = jax.tree.map(lambda x: x.astype(np.float32), dense)
    return {"dense": dense, "single": single, **sparse}


_models: list[tuple[dict[str, str], dict[str, Any], bytes]] = []


def models():
    """Metadata, header and data of good files."""
    if not _models:
        folder = Path(os.environ["FUZZ_SCRATCH"])
        for name, surrogate in surrogates().items():
            for certificate in (None, certificate_of(surrogate))[: 2 if name == "dense" else 1]:
                path = folder / f"{name}.seed"
                save(surrogate, path, certificate=certificate)
                with safe_open(path, framework="numpy") as file:
                    metadata = file.metadata()
                data = path.read_bytes()
                length = int.from_bytes(data[:8], "little")
                _models.append((metadata, json.loads(data[8 : 8 + length]), data[8 + length :]))
                path.unlink()
    return _models


def with_header(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def write_model(random, folder):
    metadata, header, data = random.choice(models())
    kind = random.random()
    if kind < 0.35:  # the description of the network
        key = "certificate" if "certificate" in metadata and random.random() < 0.5 else "config"
        text = damaged_json(random, json.loads(metadata[key]))
        changed = metadata | {key: with_digest(text) if key == "certificate" and random.random() < 0.8 else text}
        file = with_header(header | {"__metadata__": changed}, data)
    elif kind < 0.6:  # the description of the tensors
        file = with_header(damaged_json(random, header).encode("utf-8", "surrogatepass"), data)
    elif kind < 0.8:  # bytes of the header
        file = with_header(damaged(random, json.dumps(header).encode()), data)
    else:
        file = damaged(random, with_header(header, data))
    (folder / "m.safetensors").write_bytes(file)


def read_model(random, folder):
    path = folder / "m.safetensors"
    surrogate = load(path)
    show(load_certificate(path, surrogate))


def show(certificate):
    """All that is made of a certificate that was read."""
    if certificate is not None:
        for every_claim in (False, True):
            tables(certificate, every_claim=every_claim)
        certificate.where()
        assert Certificate.from_json(certificate.to_json()).to_json() == certificate.to_json()


def with_digest(text):
    """The checksum that belongs to a certificate; without it nothing else of it is looked at."""
    try:
        parts = from_json(text)
        parts.pop("digest", None)
        return json.dumps(parts | {"digest": _checksum(parts)})
    except (ValueError, AttributeError, TypeError, RecursionError):
        return text


def write_certificate(random, folder):
    text = certificate_of(surrogates_once()["dense"]).to_json()
    if random.random() < 0.8:
        text = with_digest(damaged_json(random, json.loads(text)))
    else:
        text = damaged(random, text.encode()).decode("utf-8", "replace")
    (folder / "proof.json").write_text(text, encoding="utf-8", errors="surrogatepass")


_surrogates: dict[str, Surrogate] = {}


def surrogates_once():
    if not _surrogates:
        _surrogates.update(surrogates())
    return _surrogates


def read_certificate(random, folder):
    certificate = Certificate.from_json((folder / "proof.json").read_text(encoding="utf-8", errors="surrogatepass"))
    certificate.is_of(surrogates_once()["dense"])
    show(certificate)


# Regions

REGIONS = [
    {"kind": "box", "lower": [0.0, 0.0], "upper": [1.0, 2.0]},
    {"kind": "aligned box", "centre": [0.0, 1.0], "axes": [[0.6, 0.8], [0.8, -0.6]], "radius": [1.0, 0.0]},
    {"kind": "ellipsoid", "centre": [0.0, 1.0], "axes": [[0.6, 0.8], [0.8, -0.6]], "radius": [1.0, 0.5]},
    {"kind": "trust regions", "centres": [[0.0, 1.0], [2.0, 3.0]], "radius": [0.1, 0.2]},
]


def write_region(random, folder):
    (folder / "region.json").write_text(damaged_json(random, random.choice(REGIONS)), errors="surrogatepass")


def read_region(random, folder):
    try:
        described = json.loads((folder / "region.json").read_text(errors="surrogatepass"))
    except (ValueError, RecursionError):
        return  # what reads JSON is fuzzed with certificates and model files
    region_from_dict(described, random.choice((np.float32, np.float64)))


POINTS = b"spot,vol\n0.5,1.5\n1,2\n3,0\n0.1,0.7\n"


def write_option(random, folder):
    kind = random.random()
    if kind < 0.4:
        (folder / "d.csv").write_bytes(damaged(random, POINTS))
    elif kind < 0.5:
        (folder / "d.npy").write_bytes(damaged(random, plain_array(np.random.default_rng(0).normal(size=(6, 2)))))
    else:
        text = damaged(random, random.choice((b"0:1,0:2", b"-1e3:5,0.5:.7", b"data:1.csv")), [], (":", ",", *"01.-e"))
        (folder / "option").write_bytes(text)


def read_option(random, folder):
    (path,) = folder.iterdir()
    text = path.read_bytes().decode("utf-8", "surrogateescape") if path.name == "option" else str(path)
    shape, scale = random.choice(("box", "aligned", "ellipsoid")), random.choice((1.0, 0.5, 2.0, 0.0, float("nan")))
    _region(text, surrogates_once()["dense"], shape, scale)


# Folders


def write_mapped(random, folder):
    x, y = COLUMNS["a"][:, None], COLUMNS["y"][:, None]
    parts = {"x": x, "y": y, "dydx": x[:, :, None], "weights.y": np.ones((7, 1)), "hvps.products": y}
    for name in ["x", "y", *random.sample(sorted(parts), random.randrange(3))]:
        data = an_array(random) if random.random() < 0.2 else plain_array(parts[name])
        if random.random() < 0.3:
            data = damaged(random, data)
        name = random.choice(("x", "z", "..", "weights.z", "y.npy")) if random.random() < 0.05 else name
        (folder / f"{name}.npy").write_bytes(data)


def read_mapped(random, folder):
    data = MappedDataSet(folder)
    data.rows(0, min(data.n, 20))


_checkpoints: dict[str, Any] = {}


def checkpoints():
    """Folders of checkpoints of two fits, and what goes on from them."""
    if not _checkpoints:
        sys.path.append(str(Path(__file__).parents[1] / "sobolev"))
        from fit_problem import train

        from sobolev_pruning.sobolev import Checkpoints
        from sobolev_pruning.sobolev._checkpoints import Store

        folder = Path(os.environ["FUZZ_SCRATCH"]) / "checkpoints"
        goes_on = Store.resume

        def noted(store, start, n_steps):
            _checkpoints["start"] = (store._fingerprint, start, n_steps)
            return goes_on(store, start, n_steps)

        Store.resume = noted
        try:
            train(checkpoints=Checkpoints(folder, every=10, keep=2))
        finally:
            Store.resume = goes_on
        _checkpoints["folder"] = folder
    return _checkpoints


def write_checkpoints(random, folder):
    shutil.copytree(checkpoints()["folder"], folder / "c")
    files = sorted(path for path in (folder / "c").rglob("*") if path.is_file())
    for path in random.sample(files, random.choice((1, 1, 2, len(files)))):
        how = random.random()
        if how < 0.1:
            path.unlink()
        elif how < 0.2:
            path.write_bytes(b"")
        elif how < 0.5 and path.read_bytes()[:1] == b"{":
            with contextlib.suppress(ValueError):
                path.write_text(damaged_json(random, json.loads(path.read_bytes())), errors="surrogatepass")
        else:
            path.write_bytes(damaged(random, path.read_bytes()))


def read_checkpoints(random, folder):
    from sobolev_pruning.sobolev import Checkpoints
    from sobolev_pruning.sobolev._checkpoints import Store

    fingerprint, start, n_steps = checkpoints()["start"]
    store = Store(Checkpoints(folder / "c", every=10, keep=2), fingerprint)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", CheckpointWarning)
        store.resume(start, n_steps)


# What a command keeps to go on

FACTS = {"table": "0" * 32, "order": "1", "seed": "0", "--widths": "[4, 3]", "steps": "200"}
SPLIT = RowSplit.draw(np.arange(20.0).reshape(10, 2), 0.2, seed=3)
ERRORS = {name: 0.5 for name in ("values", "gradients", "largest_value", "largest_gradient")}
TRIAL = {
    "number": 0,
    "hidden": [4, 3],
    "errors": {**ERRORS, "curvature": None, "largest_curvature": None},
    "within": True,
}


def write_work(random, folder):
    told = FACTS | {"version": f"sobolev-pruning {__version__}, JAX {jax.__version__}"}
    facts = damaged_value(random, told) if random.random() < 0.6 else told
    text = json.dumps({"facts": facts, "digest": _digest(facts)})
    if random.random() < 0.5:
        text = damaged(random, text.encode()).decode("utf-8", "replace")
    (folder / "work.json").write_text(text, errors="surrogatepass")


def read_work(random, folder):
    with work(folder, "fit", FACTS, resume=True, overwrite=False) as found:
        assert found.is_resumed
        (folder / "checkpoints").mkdir(exist_ok=True)


def write_trial(random, folder):
    facts = TRIAL
    for _ in range(random.choice((0, 1, 1, 3))):
        facts = damaged_value(random, facts)
    path = folder / "trial-0000.safetensors"
    save_record(path, surrogates_once()["dense"], facts)
    if random.random() < 0.4:
        path.write_bytes(damaged(random, path.read_bytes()))


def read_trial(random, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CheckpointWarning)
        found = RecordedTrials(folder, jax.nn.silu).read(0, (4, 3))
    if found is None:
        raise ValueError("trial-0000.safetensors: repeated")
    Tolerance(values=1e-3, largest_gradient=1.0).holds(found.errors)
    found.errors.as_dict()


def write_provenance(random, folder):
    facts = random.choice((json.loads(SPLIT.to_text()), [1, 0], [0, 1]))
    (folder / "provenance").write_text(damaged_json(random, facts), errors="surrogatepass")


def read_provenance(random, folder):
    text = (folder / "provenance").read_text(errors="surrogatepass")
    if random.random() < 0.7:
        split = RowSplit.from_text(text)
        split.held_out(np.zeros((3, 2)))
        split.is_of(np.zeros((3, 2)))
    else:
        kept_inputs(surrogates_once()["dense"].with_provenance(kept_inputs=text))


# The command

COMMANDS = {
    "run": (write_config, ("run", "bachelier", "--config", "c.toml", "--output", "there")),
    "fit": (write_text, ("fit", "t.csv", "--inputs", "a,b", "--outputs", "y", "--activation", "none")),
    "fit npz": (write_npz, ("fit", "t.npz", "--inputs", "a,b", "--outputs", "y", "--activation", "none")),
    "fit parquet": (write_parquet, ("fit", "t.parquet", "--inputs", "a", "--outputs", "y", "--activation", "0")),
    "prune": (write_model, ("prune", "m.safetensors", "good.csv", "--keep", "999", "--inputs", "a,b")),
    "shrink": (write_model, ("shrink", "m.safetensors", "good.csv", "--values", "1", "--output", "good.csv")),
    "certify": (write_model, ("certify", "m.safetensors", "--region", "0:1,0:1", "--order", "7")),
    "certify region": (write_option, ("certify", "good.safetensors", "--order", "7", "--region")),
}


def write_command(random, folder):
    name = random.choice(sorted(COMMANDS))
    COMMANDS[name][0](random, folder)
    (folder / "which").write_text(name)
    (folder / "good.csv").write_bytes(as_text())
    save(surrogates_once()["dense"], folder / "good.safetensors")
    (folder / "there").mkdir()
    (folder / "there" / "summary.json").write_text("{}")


def read_command(random, folder):
    """Every one of them is refused, at the latest by its last argument, before any work begins."""
    name = (folder / "which").read_text()
    _, arguments = COMMANDS[name]
    if name == "certify region":
        (path,) = [p for p in folder.iterdir() if p.name in ("d.csv", "d.npy", "option")]
        text = (
            path.read_bytes().decode("utf-8", "surrogateescape").replace("\0", "")
            if path.name == "option"
            else path.name
        )
        arguments = (*arguments, text or ":")
    earlier, out, err = (os.getcwd(), sys.argv), io.StringIO(), io.StringIO()
    os.chdir(folder)
    sys.argv = ["sobolev-pruning", *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
    except SystemExit as ended:
        status = ended.code
    finally:
        os.chdir(earlier[0])
        sys.argv = earlier[1]
    lines = err.getvalue().splitlines()
    assert status == 2, f"{name} ended with {status}: {lines[-1:]}"
    assert out.getvalue() == "", out.getvalue()
    assert len(lines) == 1, lines
    raise Refused(lines[0])


TARGETS = {
    "configurations": Target(30_000, write_config, read_config, (ConfigError,), named=False),
    "tables: text": Target(35_000, write_text, read_samples),
    "tables: gzip": Target(10_000, write_gzip, read_samples),
    "tables: NPZ": Target(25_000, write_npz, read_samples),
    "tables: Parquet": Target(25_000, write_parquet, read_samples),
    "points: NPY": Target(15_000, write_npy, read_array),
    "model files": Target(25_000, write_model, read_model),
    "certificates": Target(15_000, write_certificate, read_certificate, named=False),
    "regions": Target(6_000, write_region, read_region, named=False),
    "regions of the command": Target(6_000, write_option, read_option, (ValueError, FileNotFoundError, Refused), False),
    "folders of data": Target(8_000, write_mapped, read_mapped, (ValueError, FileNotFoundError)),
    "checkpoints": Target(1_000, write_checkpoints, read_checkpoints, own_folder=True),
    "folders of work": Target(4_000, write_work, read_work, (ValueError, OtherWorkError), False, own_folder=True),
    "trials": Target(2_000, write_trial, read_trial, drafts=True),
    "provenance": Target(4_000, write_provenance, read_provenance, named=False),
    "the command": Target(1_000, write_command, read_command, (Refused,), False, drafts=True),
}
