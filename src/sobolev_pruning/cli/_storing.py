"""What the commands do with their results: print them first, store them second, and lose none of them.

Before any work, `check_outputs` refuses outputs that cannot be written or would replace what they must not. After it,
`show_and_store` stores every result, in another place if its own fails (a full disk, a folder that is gone).
"""

import errno
import importlib.util
import io
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from pathlib import Path

from .._files import check_can_write, in_words, is_same_file, write_somewhere
from ._ending import Failed, Refused


def check_outputs(
    outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | None], *, overwrite: bool, lost: str = "surrogate"
) -> None:
    """Before hours are spent: all that will be written can be, and nothing is lost by it.

    Args:
        outputs: files that the command will write, by the option that names them; None for those that it will not.
        inputs: files that it reads, likewise.
        overwrite: whether files that are there may be replaced. Inputs are never replaced.
        lost: what could not be stored, for the message.

    Raises:
        Refused: two outputs are one file, an output is an input (by any spelling or link), a file is there and
            `overwrite` was not given, or a file cannot be written.
    """
    to_write = {option: path for option, path in outputs.items() if path is not None}
    for (one, path), (other, second) in combinations(to_write.items(), 2):
        if is_same_file(path, second):
            raise Refused(f"{one} and {other} are the same file, {second}; give each a name of its own")
    for option, path in to_write.items():
        check_keeps(option, [path], inputs)
        if path.is_file() and not overwrite:
            raise Refused(f"{path} is already there; give another name, or --overwrite")
        check_writable(path, lost)


def check_keeps(option: str, replaced: Iterable[Path], inputs: Mapping[str, Path | None]) -> None:
    """Refuse to replace what the command reads.

    Args:
        option: that names the output.
        replaced: files that would be replaced or removed.
        inputs: files that are read, by the option that names them.

    Raises:
        Refused: one of them is among those to be replaced.
    """
    for path in replaced:
        for source, read in inputs.items():
            if read is not None and is_same_file(path, read):
                raise Refused(f"{option} would replace {path}, which is the file of {source}; give another name")


def check_writable(path: Path, lost: str) -> None:
    """Refuse a file that cannot be written.

    Raises:
        Refused: so it is; the message says why.
    """
    try:
        check_can_write(path)
    except OSError as error:
        raise Refused(f"{path}: cannot be written; the {lost} would be lost ({error.strerror})") from None


def check_onnx(path: Path | None) -> None:
    """Refuse `--onnx` where it cannot be exported.

    Raises:
        Refused: a package is missing.
    """
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if path is not None and missing:
        raise Refused(f"--onnx needs {' and '.join(missing)}, not installed here: pip install 'sobolev-pruning[onnx]'")


def show_and_store(
    show: Callable[[], object],
    results: Mapping[Path, Callable[[Path], object]],
    summary: Callable[[str], str],
    *,
    overwrite: bool = True,
) -> None:
    """Print what was found, then store the results, each at its place or, if that fails, at another.

    Results are stored even if nothing can be printed, since standard output may be a pipe that was closed.

    Args:
        show: prints to standard output.
        results: for every path, what writes it to the path that it is given.
        summary: makes the last line of the output from the paths where the results lie.
        overwrite: whether files that have appeared since `check_outputs` may be replaced.

    Raises:
        Failed: a result lies elsewhere, or nowhere, or nothing could be printed; the message says which and why.
    """
    trouble: list[str] = []
    places: list[str] = []
    try:
        _printed(show, trouble)
    finally:
        for path, write in results.items():
            try:
                place, reason = write_somewhere(path, write if overwrite else _where_nothing_is(write))
            except OSError as error:
                trouble.append(f"{in_words(error)}; it is lost")
                continue
            except RuntimeError as error:  # what cannot be exported
                trouble.append(str(error).rstrip("."))
                continue
            places.append(str(place))
            if reason is not None:
                trouble.append(f"{in_words(reason)}; stored in {place} instead")
    if places:
        _printed(lambda: print(summary(" and ".join(places))), trouble)
    if trouble:
        raise Failed(". ".join(trouble))


def _where_nothing_is(write: Callable[[Path], object]) -> Callable[[Path], object]:
    def checked(path: Path) -> None:
        if path.is_file():
            raise FileExistsError(errno.EEXIST, "a file of that name has appeared meanwhile", str(path))
        write(path)

    return checked


def _printed(show: Callable[[], object], trouble: list[str]) -> None:
    try:
        show()
        sys.stdout.flush()
    except (OSError, SystemExit) as error:  # Rich leaves by `SystemExit` where a pipe was closed
        reason = in_words(error) if isinstance(error, OSError) else "closed"
        trouble.append(f"standard output cannot be written to ({reason})")
        # What is still in its buffer would fail once more when the interpreter ends.
        sys.stdout = io.StringIO()
