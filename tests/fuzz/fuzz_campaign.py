"""Damaged files for every reader, in processes that are watched: `python tests/fuzz/fuzz_campaign.py --help`.

A case fails if its reader raises what it does not promise, or a message that is long, of several lines or without the
name of the file; if it takes longer than 20 s or more than 2 GiB; if it ends the process; and if anything is written,
run or connected to. Cases are made from the seed, the reader and their number, so that each can be had again.
"""

import argparse
import faulthandler
import multiprocessing
import os
import queue
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

LONGEST_SECONDS, MOST_BYTES, LONGEST_MESSAGE = 20.0, 2**31, 1500
# Of a process; XLA keeps what it compiles for every new shape.
CASES_OF_A_WORKER = 4_000

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src" / "sobolev_pruning"


class Watch:
    """What a reader does to the system, by Python's audit hook."""

    FORBIDDEN = (
        "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen", "socket.connect",
        "pickle.find_class", "code.__new__",
    )  # fmt: skip
    CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod")

    def __init__(self):
        self.on, self.allowed, self.seen = False, (), []
        sys.addaudithook(self._note)

    def _note(self, event, arguments):
        if not self.on:
            return
        if event == "open":
            path, mode, flags = arguments
            if isinstance(path, int) or not (set(mode or "") & set("wax+") or (flags or 0) & (os.O_WRONLY | os.O_RDWR)):
                return
        elif event in self.CHANGES and not isinstance(arguments[0], int):  # that was opened, and seen, before
            path = arguments[0]
            if isinstance(arguments[-1], int) and arguments[-1] > 0 and event in ("os.remove", "os.rmdir"):
                # Whole folders are removed by names within an open one.
                path = os.path.join(os.readlink(f"/proc/self/fd/{arguments[-1]}"), os.fsdecode(path))
        elif event in self.FORBIDDEN:
            self.seen.append(event)
            return
        else:
            return
        if not os.path.abspath(os.fsdecode(path)).startswith(self.allowed):
            self.seen.append(f"{event} {path!r}")


WATCH = None


def run_case(target, name, number, seed, box):
    """One case, in the empty folder `box`; returns what was wrong with it, if anything, and whether it was read."""
    import jax  # once the process has been set up (`prepare`)

    global WATCH
    WATCH = Watch() if WATCH is None else WATCH
    source = random.Random(f"{seed}/{name}/{number}")
    folder = box / "case"
    shutil.rmtree(box, ignore_errors=True)
    folder.mkdir(parents=True)
    target.write(source, folder)
    before = listing(box)
    WATCH.seen, WATCH.allowed = [], (str(folder),) if target.drafts or target.own_folder else ()
    WATCH.allowed += tuple(filter(None, [jax.config.jax_compilation_cache_dir]))
    wrong, was_read = "", False
    WATCH.on = True
    try:
        target.read(source, folder)
        was_read = True
    except BaseException as error:
        wrong = judged(error, target, folder)
    finally:
        WATCH.on = False
    if not wrong and WATCH.seen:
        wrong = f"did {', '.join(WATCH.seen[:3])}"
    after = listing(box)
    if target.own_folder:
        before, after = (
            {path: what for path, what in found.items() if not path.startswith("case/")} for found in (before, after)
        )
    if not wrong and after != before:
        wrong = f"changed {sorted(set(after.items()) ^ set(before.items()))[:3]}"
    return wrong, was_read


def judged(error, target, folder):
    """What is wrong with an error, if anything is."""
    if type(error) not in target.errors:
        return "".join(traceback.format_exception(error, limit=-8))
    message = str(error)
    frames = traceback.extract_tb(error.__traceback__)
    if not Path(frames[-1].filename).is_relative_to(SOURCE) and Path(frames[-1].filename).parent != HERE:
        return f"an error of another library: {message[:300]} ({frames[-1].filename}:{frames[-1].lineno})"
    if len(message) > LONGEST_MESSAGE:
        return f"a message of {len(message)} characters: {message[:200]}"
    if "\n" in message or not message.isprintable():
        return f"a message that is not one line: {message[:300]!r}"
    if "MemoryError" in message or "llocat" in message:
        return f"too much memory: {message[:300]}"
    if target.named and not any(path.name in message for path in (folder, *folder.rglob("*"))):
        return f"a message without the name of the file: {message[:300]}"
    return ""


def listing(folder):
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            found[str(path.relative_to(folder))] = None
        else:
            status = path.stat()
            found[str(path.relative_to(folder))] = (status.st_size, status.st_mtime_ns)
    return found


def prepare(scratch):
    """Set a process up for reading; returns the targets."""
    os.environ["FUZZ_SCRATCH"] = str(scratch)
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_most_optimizations", True)
    jax.config.update("jax_compilation_cache_dir", None)  # it is written to while a case is read
    from fuzz_targets import TARGETS

    return TARGETS


def work(name, seed, numbers, at, since, results, scratch):
    """A worker: cases with these numbers, in turn."""
    faulthandler.enable()
    os.nice(5)
    scratch = Path(scratch)
    box, away = scratch / "box", scratch / "away"
    away.mkdir(parents=True, exist_ok=True)
    os.chdir(away)
    target = prepare(scratch)[name]
    # Libraries load parts of themselves at the first case, and reserve room.
    run_case(target, name, -1, seed, box)
    limit = memory("VmSize") + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    highest = memory("VmHWM")
    n_read = 0
    for number in numbers:
        at.value, since.value = number, time.monotonic()
        wrong, was_read = run_case(target, name, number, seed, box)
        n_read += was_read
        if not wrong and memory("VmHWM") - highest > MOST_BYTES:
            wrong = "more than 2 GiB of memory"
        if not wrong and list(away.iterdir()):
            wrong = f"wrote {list(away.iterdir())}"
        if wrong:
            results.put((number, wrong))
    since.value = 0.0
    results.put((None, n_read))
    results.close()
    results.join_thread()
    os._exit(0)  # threads of libraries may be busy still


def memory(kind):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(kind))


class Job:
    """A stretch of the cases of one reader, in a process of its own; another one goes on after a case that ends it."""

    def __init__(self, name, seed, numbers):
        self.name, self.seed, self.numbers = name, seed, list(numbers)
        self.failures, self.n_read, self.n_done = [], 0, len(self.numbers)
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def _start(self):
        self._at, self._since = self._context.Value("q", self.numbers[0]), self._context.Value("d", 0.0)
        self._results = self._context.Queue()
        self.scratch = tempfile.mkdtemp(prefix="fuzz-")
        arguments = (self.name, self.seed, self.numbers, self._at, self._since, self._results, self.scratch)
        self._process = self._context.Process(target=work, args=arguments)
        self._process.start()
        self._has_ended = False

    def _collect(self):
        while True:
            try:
                number, what = self._results.get(timeout=0.01 if self._process.is_alive() or self._has_ended else 0.5)
            except queue.Empty:
                return
            if number is None:
                self.n_read += what
                self._has_ended = True
            else:
                self.failures.append((self.name, number, what))

    def is_done(self):
        """Look after the process."""
        slow = self._since.value and time.monotonic() - self._since.value > LONGEST_SECONDS
        if slow:
            self._process.kill()
        if self._process.is_alive() and not slow:
            self._collect()
            return False
        self._process.join()
        self._collect()
        shutil.rmtree(self.scratch, ignore_errors=True)
        if self._has_ended:
            return True
        number = self._at.value
        why = f"took longer than {LONGEST_SECONDS:g} s" if slow else f"ended the process ({self._process.exitcode})"
        self.failures.append((self.name, number, why))
        self.numbers = self.numbers[self.numbers.index(number) + 1 :]
        if not self.numbers:
            return True
        self._start()
        return False


def campaign(cases, seed=0, workers=2, say=print):
    """Run cases of every reader; returns the failures as (reader, number of the case, what was wrong).

    Args:
        cases: number of cases by reader.
        seed: of all of them.
        workers: processes at a time.
        say: prints a line for every reader, and the total.
    """
    stretches = [
        (name, range(begin, min(begin + CASES_OF_A_WORKER, n)))
        for name, n in cases.items()
        for begin in range(0, n, CASES_OF_A_WORKER)
    ]
    left = dict.fromkeys(cases, 0)
    for name, _ in stretches:
        left[name] += 1
    begin, running, done = time.monotonic(), [], {name: [] for name in cases}
    while stretches or running:
        while stretches and len(running) < workers:
            name, numbers = stretches.pop(0)
            running.append(Job(name, seed, numbers))
        time.sleep(0.05)
        for job in [job for job in running if job.is_done()]:
            running.remove(job)
            done[job.name].append(job)
            if len(done[job.name]) == left[job.name]:
                failed = sum(len(job.failures) for job in done[job.name])
                read = sum(job.n_read for job in done[job.name])
                took = time.monotonic() - begin
                say(f"{job.name:24} {cases[job.name]:7} cases, {read:6} read, {failed:4} failed; {took:5.0f} s so far")
    failures = [failure for jobs in done.values() for job in jobs for failure in job.failures]
    say(f"{'in all':24} {sum(cases.values()):7} cases, {len(failures)} failed, {time.monotonic() - begin:.0f} s")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the cases of the whole campaign")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--reader", action="append", help="this one alone; may be given several times")
    parser.add_argument("--case", type=int, help="this case alone, in this process; its folder is kept")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="fuzz-"))
    targets = prepare(scratch)
    chosen = arguments.reader or list(targets)
    if arguments.case is not None:
        wrong, was_read = run_case(targets[chosen[0]], chosen[0], arguments.case, arguments.seed, scratch / "box")
        sys.exit(f"{wrong or ('read' if was_read else 'refused')}: {scratch / 'box'}")
    shutil.rmtree(scratch)
    cases = {name: max(1, round(arguments.share * targets[name].cases)) for name in chosen}
    failures = campaign(cases, arguments.seed, arguments.workers, lambda line: print(line, flush=True))
    for name, number, what in failures:
        print(f"\n--reader '{name}' --seed {arguments.seed} --case {number}\n{what}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
