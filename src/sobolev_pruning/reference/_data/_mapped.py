"""Samples on disk as the reference model, for data that outgrow memory."""

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..._files import folder_whole
from ..._reading import reading
from .._cast import cast
from .._directions import AbstractDirections
from .._npy import map_npy
from .._reference_model import AbstractReferenceModel
from .._samples import CotangentProducts, HessianProducts, LabelWeights, Samples
from ._checks import check_learnable, without_unknown

_GROUPS = {"hvps": HessianProducts, "vjps": CotangentProducts, "weights": LabelWeights}
_MOST_ROWS = 2**31 - 1


@final
class MappedDataSet(AbstractReferenceModel):
    """A folder of NPY files from which batches are drawn uniformly, with replacement, without reading the whole.

    Each part of the samples is a file, such as `x.npy`, `dydx.npy` and `weights.y.npy`, mapped into memory: what a
    batch needs is read from disk, and the operating system keeps what is used often and has room. The same key draws
    the same rows as from a `DataSet` of the same samples. `sample` may be traced; the compiled program calls back to
    the host for every batch.

    The files must not change while they are in use. Samples are in JAX's default precision, whatever the files hold.

    Attributes:
        files: the mapped files.

    Raises:
        FileNotFoundError: the folder has no `x.npy` or no `y.npy`.
        ValueError: a file is damaged, or the files do not fit each other.
    """

    files: "_Files" = eqx.field(static=True)

    def __init__(self, folder: str | os.PathLike) -> None:
        """Open a folder that `write` made.

        Args:
            folder: of the files.
        """
        self.files = _Files(Path(folder))

    @classmethod
    def write(cls, folder: str | os.PathLike, chunks: Iterable[Samples]) -> "MappedDataSet":
        """Store samples that come some at a time, such as from `stream_table`, and open them.

        One chunk is in memory at a time. Every one is checked as a `DataSet` checks its samples. The folder appears
        when all is written, or not at all.

        Args:
            folder: to make; it must not exist.
            chunks: samples with the same parts, in the order in which they are to be stored.

        Raises:
            FileExistsError: the folder exists.
            ValueError: there are no samples, they are not finite, weights leave no label of a kind, or a chunk has
                other parts than the first.
            OSError: the disk is full, or the folder cannot be written.
        """
        folder = Path(folder)
        if folder.exists():
            raise FileExistsError(f"{folder} exists; give a folder that does not, or remove it.")
        with folder_whole(folder) as draft:
            _write(draft, chunks)
        return cls(folder)

    @property
    def dim_in(self) -> int:
        """Number of inputs, d."""
        return self.files.parts["x"].shape[1]

    @property
    def dim_out(self) -> int:
        """Number of outputs, m."""
        return self.files.parts["y"].shape[1]

    @property
    def n(self) -> int:
        """Number of samples."""
        return self.files.parts["x"].shape[0]

    def sample(self, key: PRNGKeyArray, n: int, *, directions: AbstractDirections | None = None) -> Samples:
        """`n` rows of the data, drawn with replacement and read from disk.

        Raises:
            ValueError: second derivatives are asked for, and the data hold none.
        """
        if directions is not None and not {"d2ydx2", "hvps.products"} & self.files.parts.keys():
            raise ValueError(f"{self.files.folder}: the data hold no second derivatives: no d2ydx2.npy, no hvps.*.npy.")
        rows = jax.random.randint(key, (n,), 0, self.n)
        dtype = jnp.zeros(()).dtype
        shapes = {name: jax.ShapeDtypeStruct((n, *part.shape[1:]), dtype) for name, part in self.files.parts.items()}
        return _assembled(
            jax.pure_callback(lambda rows: self.files.take(rows, dtype), shapes, rows, vmap_method="sequential")
        )

    def chunks(self, rows_at_once: int = 65_536) -> Iterator[Samples]:
        """All samples in their order, some at a time, such as for `Normalisation.from_stream`."""
        if rows_at_once < 1:
            raise ValueError(f"`rows_at_once` is {rows_at_once}; it must be at least 1.")
        for begin in range(0, self.n, rows_at_once):
            yield self.rows(begin, begin + rows_at_once)

    def rows(self, begin: int, end: int) -> Samples:
        """The samples from row `begin` up to row `end`, without it, in memory."""
        dtype = jnp.zeros(()).dtype
        parts = {name: part[begin:end] for name, part in self.files.parts.items()}
        return _assembled({name: cast(name, part, dtype, whole=False) for name, part in parts.items()})


@final
class _Files:
    """Handles of mapped files; two are equal only if they are the same, so that `jit` may key on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = sorted(path.name.removesuffix(".npy") for path in folder.glob("*.npy"))
        for name in ("x", "y"):
            if name not in names:
                raise FileNotFoundError(f"{folder}: there is no {name}.npy; give a folder that `write` made.")
        self.parts: dict[str, np.ndarray] = {}
        for name in names:
            path = folder / f"{name}.npy"
            with reading(path, "not an array of NumPy, or a damaged one"):
                self.parts[name] = map_npy(path)
            if self.parts[name].dtype.kind not in "fiu" or self.parts[name].ndim == 0:
                raise ValueError(f"{path}: it holds {self.parts[name].dtype}, not a row of numbers for each sample.")
        n = len(self.parts["x"])
        for name, part in self.parts.items():
            if len(part) != n:
                raise ValueError(f"{folder}: {name}.npy has {len(part)} rows, x.npy has {n}; write them together.")
        if not 0 < n <= _MOST_ROWS:
            raise ValueError(f"{folder}: x.npy has {n} rows; there must be at least 1 and at most {_MOST_ROWS}.")
        try:
            _assembled({name: jnp.zeros((0, *part.shape[1:])) for name, part in self.parts.items()})
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{folder}: the files are not the parts of samples that fit each other ({error})."
            ) from None

    def take(self, rows: Int[Array, " n"] | Int[np.ndarray, " n"], dtype: np.dtype) -> dict[str, np.ndarray]:
        """Rows of all parts, in memory."""
        chosen = np.asarray(rows)
        return {name: np.asarray(part[chosen], dtype) for name, part in self.parts.items()}


def _parts(samples: Samples) -> dict[str, Float[np.ndarray, "n ..."]]:
    """The arrays that are there, by names such as `y` and `weights.y`."""
    found = {}
    for name in ("x", "y", "dydx", "d2ydx2"):
        found[name] = getattr(samples, name)
    for group, kind in _GROUPS.items():
        of_group = getattr(samples, group)
        for field in dataclasses.fields(kind):
            found[f"{group}.{field.name}"] = None if of_group is None else getattr(of_group, field.name)
    return {name: np.asarray(part) for name, part in found.items() if part is not None}


def _assembled(parts: dict[str, Float[Array, "n ..."]]) -> Samples:
    """The inverse of `_parts`."""
    plain: dict[str, Any] = {name: part for name, part in parts.items() if "." not in name}
    for group, kind in _GROUPS.items():
        of_group = {name.split(".", 1)[1]: part for name, part in parts.items() if name.startswith(f"{group}.")}
        if of_group:
            plain[group] = kind(**of_group)
    return Samples(**plain)


def _write(folder: Path, chunks: Iterable[Samples]) -> None:
    files: dict[str, BinaryIO] = {}
    described: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}
    lengths: dict[str, int] = {}
    unweighted: set[str] = set()
    n = 0
    with contextlib.ExitStack() as opened:
        for samples in chunks:
            if samples.n == 0:
                continue
            check_learnable(samples, somewhere=False)
            parts = _parts(without_unknown(samples))
            found = {name: (part.dtype, part.shape[1:]) for name, part in parts.items()}
            if n == 0:
                described = found
                for name, (dtype, shape) in described.items():
                    files[name] = opened.enter_context((folder / f"{name}.npy").open("wb"))
                    lengths[name] = _write_header(files[name], 0, dtype, shape)
                unweighted = {name for name in described if name.startswith("weights.")}
            elif found != described:
                raise ValueError(
                    f"the samples from row {n} on have the parts {_listed(found)}, those before them "
                    f"{_listed(described)}; all chunks must have the same."
                )
            for name, part in parts.items():
                files[name].write(np.ascontiguousarray(part).data)
                if name.startswith("weights."):
                    unweighted = unweighted - {name} if np.any(part) else unweighted
            n += samples.n
        if n == 0:
            raise ValueError("`chunks` holds no samples: a data set needs at least one.")
        for name, (dtype, shape) in described.items():
            length = _write_header(files[name], n, dtype, shape)
            assert length == lengths[name]
        if "dydx" in described:  # derivatives say all but the level
            unweighted -= {"weights.y"}
        if unweighted:
            raise ValueError(f"`{min(unweighted)}` is zero in all {n} samples, which leaves no label to learn from.")


def _write_header(file: BinaryIO, n: int, dtype: np.dtype, shape: tuple[int, ...]) -> int:
    """Write the header at the start of a file; NumPy leaves room in it, so that its length does not depend on `n`."""
    file.seek(0)
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (n, *shape)}
    np.lib.format.write_array_header_1_0(file, described)
    return file.tell()


def _listed(parts: dict[str, tuple[np.dtype, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} (n, {', '.join(map(str, shape))}) {dtype}" for name, (dtype, shape) in parts.items())
