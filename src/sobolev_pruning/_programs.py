"""A bound on the compiled programs that a process keeps, so that it may train and certify for days.

JAX keeps what it compiles, for arguments of every shape, and maps every program into memory several times. Linux allows
a process `vm.max_map_count` mappings, 65 530 unless it was told otherwise. One that asks for more ends in a
segmentation fault: after about two hundred fits of different widths. So what compiles much asks here before it begins.
"""

import gc
import threading
import time
from pathlib import Path

import jax
from jax.core import Tracer

_MAPPINGS, _LIMIT = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")
_SHARE = 4
# A second of compiling maps some hundreds.
_SECONDS_BETWEEN_COUNTS = 1.0


class _Guard:
    """When mappings were last counted, and how many are too many."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.next_count = 0.0
        self.kept = 0


_guard = _Guard()


def limit_programs() -> None:
    """Forget all compiled programs if they fill a quarter of the mappings that Linux allows; elsewhere do nothing.

    What is called again is compiled again. What a caller holds on to, such as `jax.jit(f).lower(x).compile()`, stays,
    and so do programs that are running. Counting takes milliseconds and is done once a second at most. What is still
    mapped afterwards belongs to others and is not counted again, or it would be a reason to forget at every call.
    """
    now = time.monotonic()
    # Another thread may be at it, and so may a finalizer that runs while this one collects.
    if now < _guard.next_count or not _guard.lock.acquire(blocking=False):
        return
    try:
        _guard.next_count = now + _SECONDS_BETWEEN_COUNTS
        share = _most_mappings() // _SHARE
        if share and _n_mappings() > min(_guard.kept, 2 * share) + share and not _is_tracing():
            jax.clear_caches()
            gc.collect()
            _guard.kept = _n_mappings()
    finally:
        _guard.lock.release()


def _n_mappings() -> int:
    with _MAPPINGS.open("rb") as mappings:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: mappings.read(1 << 20), b""))


def _most_mappings() -> int:
    """Zero where the system does not say."""
    try:
        return int(_LIMIT.read_text())
    except (OSError, ValueError):
        return 0


def _is_tracing() -> bool:
    """Programs that are being traced lean on what has been traced before."""
    return isinstance(jax.lax.add(0.0, 0.0), Tracer)
