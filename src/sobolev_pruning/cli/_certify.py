"""The command `certify`: what can be proved of a stored surrogate."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from .._files import write_whole
from .._reading import shown
from ._ending import Refused
from ._precision import enable_double_precision
from ._storing import check_outputs, check_writable, show_and_store
from ._terminal import terminal


def certify(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Surrogate that `save` or a run wrote.")],
    region: Annotated[
        str,
        typer.Option(
            "--region",
            metavar="LOW:HIGH,…|FILE",
            help="Ranges of the inputs, separated by commas, or a file of data (CSV, NPY, NPZ) to lay a region around.",
        ),
    ],
    shape: Annotated[
        str, typer.Option("--shape", help="Of a region around data: box, aligned (with their axes) or ellipsoid.")
    ] = "box",
    scale: Annotated[float, typer.Option("--scale", help="Size of a region around data; 1 holds them all.")] = 1.0,
    budget: Annotated[
        str, typer.Option("--budget", metavar="TIME", help="Such as 60s or 5m, without compilation.")
    ] = "60s",
    order: Annotated[int, typer.Option("--order", help="Derivatives to enclose: 1, or 2 for curvature.")] = 2,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="MODEL", help="Another surrogate; bounds the largest difference to it."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE.json", help="Write the certificate there as well.")
    ] = None,
    every_claim: Annotated[bool, typer.Option("--all", help="Print every claim, however many there are.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file of --output, if it is there.")
    ] = False,
) -> None:
    """Prove ranges, errors, monotonicity and convexity of a surrogate over a region; store the certificate in it."""
    from ..certification import CertificationBar, tables
    from ..certification import certify as prove
    from ..surrogate import SurrogateChangedError, load, save, store_certificate

    console = terminal(stderr=True)
    seconds = _seconds(budget)
    inputs = {"MODEL": model, "--region": Path(region), "--against": against}
    check_outputs({"--output": output}, inputs, overwrite=overwrite, lost="certificate")
    enable_double_precision()
    try:
        surrogate = load(model)
        check_writable(model, "certificate")
        chosen = _region(region, surrogate, shape, scale)
        others = {} if against is None else {against.name: _comparable(load(against), surrogate, against)}
        with CertificationBar(console, budget) as bar:
            certificate = prove(surrogate, chosen, against=others, seconds=seconds, order=order, progress=bar.update)
    except (FileNotFoundError, PermissionError, IsADirectoryError, ValueError, TypeError) as error:
        raise Refused(str(error).replace("`order`", "--order").replace("`scale`", "--scale")) from None

    def put(path: Path) -> None:
        if path != model:
            save(surrogate, path, certificate=certificate)
            return
        try:
            store_certificate(certificate, path)
        except ValueError as error:  # what lies there now is no surrogate
            raise SurrogateChangedError(str(error)) from None

    def show() -> None:
        for table in tables(certificate, every_claim=every_claim):
            terminal().print(table)

    results: dict[Path, Callable[[Path], object]] = {model: put}
    if output is not None:
        results[output] = lambda path: write_whole(path, certificate.to_json().encode())
    show_and_store(
        show, results, lambda places: f"{certificate.boxes} boxes in {certificate.seconds:.0f} s. Stored in {places}"
    )


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(text: str) -> float:
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        seconds = float(number) * _UNITS[unit]
    except ValueError:
        raise Refused(f"--budget is {shown(text)}; give a time such as 60s, 5m or 1h") from None
    if not (0 < seconds < float("inf")):
        raise Refused(f"--budget is {shown(text)}; it must be positive")
    return seconds


def _comparable(other, surrogate, path: Path):
    """Another surrogate of the same inputs and outputs.

    Raises:
        Refused: there are more or fewer of them, or the same ones in another order.
    """
    for what, index in (("inputs", 0), ("outputs", -1)):
        there, here = other.network.widths[index], surrogate.network.widths[index]
        if there != here:
            raise Refused(f"--against {path} has {there} {what}, and MODEL has {here}; they cannot be compared")
        stored = [getattr(one, f"{what[:-1]}_names") for one in (other, surrogate)]
        if stored[0] != stored[1] and sorted(stored[0]) == sorted(stored[1]):
            told = [shown(", ".join(names)) for names in stored]
            raise Refused(f"--against {path} has the {what} {told[0]}, and MODEL {told[1]}: they are in another order")
    return other


def _held(numbers, dtype):
    """Numbers of a region in the precision of a surrogate.

    Raises:
        Refused: they are beyond its range.
    """
    import numpy as np

    with np.errstate(over="ignore"):
        held = numbers.astype(dtype)
    lost = numbers[np.isfinite(numbers) & ~np.isfinite(held)]
    if lost.size:
        raise Refused(f"--region reaches {lost[0]:g}, and the surrogate computes in {dtype}, which cannot hold that")
    return held


_SHAPES = ("box", "aligned", "ellipsoid")


def _region(text: str, surrogate, shape: str, scale: float):
    """The region that the options describe."""
    import jax.numpy as jnp
    import numpy as np

    from ..reference import read_points
    from ..regions import AlignedBox, Box, Ellipsoid

    names = surrogate.input_names if "inputs" in dict(surrogate.provenance) else None
    d, dtype = surrogate.network.widths[0], surrogate.network.layers[0].weight.dtype
    if shape not in _SHAPES:
        raise Refused(f"--shape is {shown(shape)}; it must be one of {', '.join(_SHAPES)}")
    if ":" in text and not os.path.exists(text):  # `Path.exists` raises where the text is too long for a path
        if (shape, scale) != ("box", 1.0):
            raise Refused("--shape and --scale are of regions around data; leave them out where --region has ranges")
        pairs = [part.split(":") for part in text.split(",")]
        try:
            ends = np.array([[float(low), float(high)] for low, high in pairs])
        except ValueError:
            raise Refused(f"--region is {shown(text)}; give LOW:HIGH for each input, separated by commas") from None
        if len(ends) != d:
            given = f"{len(ends)} range{'s' if len(ends) > 1 else ''}"
            raise Refused(f"--region has {given}; the surrogate has {d} inputs")
        for name, (low, high) in zip(surrogate.input_names, ends, strict=True):
            if not (np.isfinite([low, high]).all() and low <= high):
                why = "the lower end comes first" if low > high else "both must be finite"
                raise Refused(f"--region has {low:g}:{high:g} for the input {shown(name)}; {why}")
        return Box(*(jnp.asarray(end) for end in _held(ends.T, dtype)))
    points = jnp.asarray(_held(read_points(Path(text), dim=d, names=names), dtype))
    return {"box": Box, "aligned": AlignedBox, "ellipsoid": Ellipsoid}[shape].around(points, scale)
