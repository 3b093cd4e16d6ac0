"""Which library of the native kernel a process opens, in every state of the machine."""

import contextlib
import errno
import fcntl
import importlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import pytest

from grujax.implementations import library_cache
from grujax.implementations.library_cache import KernelError
from grujax.implementations.native import building, compiling, loading, processor
from tests.helpers import COMPILER, ROOT

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")

RUN = """
import jax, grujax
params = grujax.init_gru(jax.random.key(0), 8, 16)
xs = jax.random.normal(jax.random.key(1), (4, 9, 8))
run = jax.jit(lambda xs: grujax.gru(params, xs)[0])
print("native" if "grujax_forward" in run.lower(xs).as_text() else "scan")
grujax.gru(params, xs)
want = grujax.gru(params, xs, implementation="plain")[0]
assert abs(run(xs) - want).max() < 1e-6
"""


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="session")
def library() -> Path:
    """A library that this machine can run."""
    usable = [path for path, refusal in loading.refusals().items() if not refusal]
    if not usable:
        pytest.skip("there is no library, and no C++ compiler")
    return usable[0]


@pytest.fixture
def cached(library, tmp_path, monkeypatch) -> Path:
    """A copy of it in a cache of its own, and no library of the wheel."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(loading, "PREBUILT", tmp_path / "prebuilt")
    folder = tmp_path / "grujax" / "kernels"
    folder.mkdir(parents=True, mode=0o700)
    path = building.local_library()
    shutil.copy(library, path)
    shutil.copy(library.with_suffix(".json"), path.with_suffix(".json"))
    return path


def describe(path: Path, **changes) -> None:
    """Changes the description of a library."""
    compiling.Description.read(path)._replace(**changes).write(path)


def describe_again(path: Path) -> None:
    """As if what is in the file now had been built."""
    content = path.read_bytes()
    describe(path, size=len(content), sha256=compiling.hashlib.sha256(content).hexdigest())


def truncate(size: float):
    def damage(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(size * len(content))])

    return damage


def link(path: Path) -> None:
    target = path.with_name("elsewhere.so")
    path.rename(target)
    path.symlink_to(target)


def link_folder(path: Path) -> None:
    elsewhere = path.parents[2] / "elsewhere"
    path.parent.rename(elsewhere)
    path.parent.symlink_to(elsewhere)


def give_away(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(path, 12345, 12345)


def without_symbols(path: Path) -> None:
    if COMPILER is None:
        pytest.skip("there is no C++ compiler")
    source = path.with_suffix(".cpp")
    source.write_text("int nothing;")
    subprocess.run([COMPILER, "-shared", str(source), "-o", str(path)], check=True)
    describe_again(path)


def garbage_with_a_description(path: Path) -> None:
    path.write_bytes(b"not a library")
    describe_again(path)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace_by(make):
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


def replace_description(make):
    return lambda path: replace_by(make)(path.with_suffix(".json"))


def listen(path: Path) -> None:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)  # a path may not be longer than 107 bytes


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def make_noexec(path: Path) -> None:
    mount = shutil.which("mount")
    content = {file.name: file.read_bytes() for file in (path, path.with_suffix(".json"))}
    command = [mount or "false", "-t", "tmpfs", "-o", "noexec,mode=700", "none", str(path.parent)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("nothing can be mounted here")
    for name, of in content.items():
        (path.parent / name).write_bytes(of)


# What is done to a library of the cache, and what is said of it.
STATES = {
    "empty": (lambda path: path.write_bytes(b""), "its size"),
    "garbage": (lambda path: path.write_bytes(b"not a library"), "its size"),
    "one flipped bit": (flip, "its content"),
    "truncated to 1 %": (truncate(0.01), "its size"),
    "truncated to 10 %": (truncate(0.1), "its size"),
    "truncated to half": (truncate(0.5), "its size"),
    "truncated to 90 %": (truncate(0.9), "its size"),
    "truncated to 99.9 %": (truncate(0.999), "its size"),
    "longer": (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "its size"),
    "no description": (lambda path: path.with_suffix(".json").unlink(), "cannot be read"),
    "a broken description": (
        lambda path: path.with_suffix(".json").write_text('{"size": 3}'),
        "not the description",
    ),
    "a list as a description": (
        lambda path: path.with_suffix(".json").write_text("[]"),
        "not the description",
    ),
    "another processor": (
        lambda path: describe(path, features=("avx1024",)),
        "another processor: this one lacks avx1024",
    ),
    "other sources": (lambda path: describe(path, sources="0" * 16), "other sources"),
    "a newer interface": (lambda path: describe(path, ffi=(0, 99)), "XLA's interface"),
    "another interface": (lambda path: describe(path, ffi=(1, 0)), "XLA's interface"),
    "a symbolic link": (link, "symbolic link"),
    "a linked folder": (link_folder, "symbolic link"),
    "another owner": (give_away, "another user"),
    "world-writable": (lambda path: path.chmod(0o777), "Other users can write"),
    "a world-writable folder": (lambda path: path.parent.chmod(0o777), "Other users can write"),
    "a folder": (replace_by(Path.mkdir), "no regular file"),
    "a FIFO": (replace_by(os.mkfifo), "no regular file"),
    "a socket": (replace_by(listen), "no regular file"),
    "a link to itself": (replace_by(link_to_itself), "symbolic link"),
    "a folder as a description": (replace_description(Path.mkdir), "no regular file"),
    "a FIFO as a description": (replace_description(os.mkfifo), "no regular file"),
    "a linked description": (lambda path: link(path.with_suffix(".json")), "symbolic link"),
    "a world-writable description": (
        lambda path: path.with_suffix(".json").chmod(0o666),
        "Other users can write",
    ),
    "a description without an end": (
        lambda path: os.truncate(path.with_suffix(".json"), 1 << 40),
        "more than",
    ),
    "a deep description": (
        lambda path: path.with_suffix(".json").write_text("[" * 200_000),
        "cannot be read",
    ),
    "no text as a description": (
        lambda path: path.with_suffix(".json").write_bytes(b"\xff\xfe\x00"),
        "cannot be read",
    ),
    "no size": (lambda path: describe(path, size=float("nan")), "its size"),
    "a list as a digest": (lambda path: describe(path, sha256=[1]), "its content"),
    "no interface": (lambda path: describe(path, ffi=()), "cannot be read"),
    "an infinite interface": (lambda path: describe(path, ffi=(float("inf"), 0)), "cannot be read"),
    "a number of features": (lambda path: describe(path, features=3), "cannot be read"),
}
# What is found only when the library is opened.
STATES_WHEN_OPENED = {
    "no symbols": (without_symbols, "cannot be opened"),
    "described garbage": (garbage_with_a_description, "cannot be opened"),
    "noexec": (make_noexec, "cannot be opened"),
}


@pytest.mark.parametrize("state", STATES)
def test_a_library_is_not_opened_in_this_state(cached, state):
    assert loading.refusals() == {cached: ""}
    damage, said = STATES[state]
    damage(cached)
    assert said in loading.refusals()[cached]


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES | STATES_WHEN_OPENED)
def test_the_result_is_right_in_this_state(cached, state):
    damage, said = (STATES | STATES_WHEN_OPENED)[state]
    damage(cached)
    try:
        run = python("-c", RUN.replace("import jax, grujax", NO_WHEEL), XDG_CACHE_HOME=root(cached))
    finally:
        if state == "noexec":
            subprocess.run(["umount", str(cached.parent)], check=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["scan"]
    assert run.stderr.count("\n") == 1, run.stderr
    assert said in run.stderr
    assert "`python -m grujax build`" in run.stderr


def test_the_twelve_states_that_are_promised_are_among_them():
    promised = """empty; garbage; truncated to 1 %; truncated to 10 %; truncated to half;
        truncated to 90 %; truncated to 99.9 %; another processor; no symbols; a symbolic link;
        another owner; world-writable; noexec"""
    names = {" ".join(name.split()) for name in promised.split(";")}
    assert names <= set(STATES | STATES_WHEN_OPENED)


NO_WHEEL = """import jax, grujax, pathlib
from grujax.implementations.native import loading
loading.PREBUILT = pathlib.Path("/nonexistent")
"""


def root(cached: Path) -> str:
    return str(cached.parents[2])


@pytest.mark.slow
def test_a_library_that_is_whole_runs(cached):
    program = RUN.replace("import jax, grujax", NO_WHEEL)
    run = python("-c", program, XDG_CACHE_HOME=root(cached))
    assert run.stdout.split() == ["native"], run.stderr
    assert run.stderr == ""
    for value in ("0", "false", "False"):
        off = python("-c", program, XDG_CACHE_HOME=root(cached), GRUJAX_NATIVE=value)
        assert (off.stdout.split(), off.stderr) == (["scan"], "")
    unknown = python("-c", program, XDG_CACHE_HOME=root(cached), GRUJAX_NATIVE="perhaps")
    assert unknown.stdout.split() == ["native"]
    assert unknown.stderr.count("\n") == 1
    assert "GRUJAX_NATIVE is none of 0, 1, false and true" in unknown.stderr


def test_a_library_of_the_wheel_is_tried_after_the_local_one(cached, monkeypatch):
    level = processor.levels()[-1]
    prebuilt = loading.PREBUILT / f"gru-{level}.so"
    prebuilt.parent.mkdir()
    shutil.copy(cached, prebuilt)
    shutil.copy(cached.with_suffix(".json"), prebuilt.with_suffix(".json"))
    assert list(loading.refusals()) == [cached, prebuilt]
    cached.write_bytes(b"")
    assert [bool(refusal) for refusal in loading.refusals().values()] == [True, False]
    monkeypatch.setattr(processor, "features", lambda: frozenset({"sse2"}))
    assert prebuilt not in loading.refusals()


@pytest.mark.parametrize("error", [RuntimeError, KeyError, OSError])
def test_without_a_home_the_wheel_is_what_there_is(cached, monkeypatch, error):
    def home():
        raise error("no home")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", home)
    assert loading.refusals() == {}
    with pytest.raises(KernelError, match="set XDG_CACHE_HOME"):
        building.build()


@pytest.fixture
def unloaded(monkeypatch):
    """A process that has not looked for a library yet."""
    monkeypatch.setattr(loading, "_loaded", None)
    monkeypatch.setattr(loading, "_failure", None)


@pytest.mark.parametrize("error", [OSError("no disk"), MemoryError(), ValueError("nonsense")])
def test_nothing_that_goes_wrong_reaches_the_user(unloaded, monkeypatch, caplog, error):
    def fail():
        raise error

    monkeypatch.setattr(building, "local_libraries", fail)
    monkeypatch.setattr(processor, "levels", fail)
    assert not loading.is_loaded()
    assert not loading.is_loaded()
    assert len(caplog.records) == 1
    assert type(error).__name__ in caplog.text


def home_is_a_file(folder: Path) -> bytes:
    path = folder / "file"
    path.write_bytes(b"")
    return os.fsencode(path)


def home_is_a_loop(folder: Path) -> bytes:
    link_to_itself(folder / "loop")
    return os.fsencode(folder / "loop")


def home_is_unreadable(folder: Path) -> bytes:
    (folder / "unreadable").mkdir(mode=0)
    return os.fsencode(folder / "unreadable")


# What HOME, or XDG_CACHE_HOME, may be; None is not set.
HOMES = {
    "not set": lambda _: None,
    "empty": lambda _: b"",
    "relative": lambda _: b"some/where",
    "the working directory": lambda _: b".",
    "a file": home_is_a_file,
    "a loop of links": home_is_a_loop,
    "unreadable": home_is_unreadable,
    "very long": lambda folder: os.fsencode(folder) + b"/x" * 4000,
    "a very long name": lambda folder: os.fsencode(folder) + b"/" + b"x" * 4000,
    "no text": lambda folder: os.fsencode(folder) + b"/\xff\xfe",
    "not there": lambda folder: os.fsencode(folder / "nothing"),
    "of no user": lambda _: b"~nobody-has-this-name/",
    "in /proc": lambda _: b"/proc/self",
    "a device": lambda _: b"/dev/null",
}


def environment_of(name: str, state: str, folder: Path) -> dict[bytes, bytes]:
    environment = dict(os.environb)
    environment.pop(b"XDG_CACHE_HOME", None)
    environment.pop(name.encode(), None)
    value = HOMES[state](folder)
    return environment if value is None else {**environment, name.encode(): value}


@pytest.mark.parametrize("state", HOMES)
@pytest.mark.parametrize("name", ["HOME", "XDG_CACHE_HOME"])
def test_no_home_stops_a_program(unloaded, monkeypatch, caplog, tmp_path, name, state):
    environment = environment_of(name, state, tmp_path)
    for variable in ("HOME", "XDG_CACHE_HOME"):
        if (value := environment.get(variable.encode())) is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, os.fsdecode(value))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "PREBUILT", tmp_path / "prebuilt")
    loading.is_loaded()
    loading.is_loaded()
    assert len(caplog.records) <= 1
    with contextlib.suppress(KernelError):
        assert library_cache.cache_directory().is_absolute()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("uid", "state"),
    [*((12345, state) for state in HOMES), (None, "not set"), (None, "no text")],
)
def test_the_result_is_right_in_this_home(tmp_path, state, uid):
    """Also of a user whom the system does not know."""
    tmp_path.chmod(0o755)
    command = [sys.executable, "-W", "error", "-c", RUN.replace("import jax, grujax", NO_WHEEL)]
    if uid is not None:
        if os.geteuid() != 0 or not (setpriv := shutil.which("setpriv")):
            pytest.skip("only root can run a program as another user")
        command = [setpriv, f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *command]
    environment = environment_of("HOME", state, tmp_path)
    environment |= {b"PYTHONPATH": os.fsencode(ROOT), b"JAX_ENABLE_COMPILATION_CACHE": b"0"}
    run = subprocess.run(command, cwd="/", env=environment, capture_output=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split()[0] in (b"scan", b"native")
    assert run.stderr.count(b"\n") <= 1, run.stderr


def test_threads_that_come_at_once_are_warned_once(unloaded, monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(loading, "PREBUILT", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    together = threading.Barrier(8)

    def find_slowly():
        time.sleep(0.05)
        return []

    monkeypatch.setattr(building, "local_libraries", find_slowly)

    def use(_):
        together.wait()
        return loading.is_loaded()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(use, range(8))) == [False] * 8
    assert len(caplog.records) == 1
    assert "No library for this machine is installed" in caplog.text


def test_nothing_is_opened_where_nothing_says_what_the_processor_can_do(
    cached, unloaded, monkeypatch, caplog
):
    """Without /proc, for example."""
    monkeypatch.setattr(processor, "_cpuinfo", list)
    monkeypatch.setattr(processor, "architecture", lambda: "x86_64")
    processor.features.cache_clear()
    try:
        assert not loading.is_loaded()
        assert "Nothing says what this processor can do" in loading.failure()
        assert building.local_library() != cached
        assert building._machine_flags() == ()
        describe(cached, features=("sse2",))
        assert "another processor" in loading._refusal(cached)
    finally:
        processor.features.cache_clear()
    assert [record.levelname for record in caplog.records] in ([], ["INFO"])


def test_only_what_all_cores_have_counts(monkeypatch):
    monkeypatch.setattr(processor, "_cpuinfo", lambda: ["flags\t: fma avx2", "flags\t: fma sse2"])
    processor.features.cache_clear()
    try:
        assert processor.features() == {"fma"}
    finally:
        processor.features.cache_clear()


def test_a_broken_local_library_is_told_where_the_wheel_has_another(
    cached, unloaded, monkeypatch, caplog
):
    prebuilt = loading.PREBUILT / f"gru-{processor.levels()[-1]}.so"
    prebuilt.parent.mkdir()
    shutil.copy(cached, prebuilt)
    shutil.copy(cached.with_suffix(".json"), prebuilt.with_suffix(".json"))
    monkeypatch.setattr(jax.ffi, "register_ffi_target", lambda *_, **__: None)
    cached.write_bytes(b"")
    assert loading.is_loaded()
    assert loading.loaded_library() == prebuilt
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "its size is not what it was" in caplog.text
    assert "`python -m grujax build`" in caplog.text


def test_missing_headers_are_a_sentence(cached, unloaded, monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(jax.ffi, "include_dir", lambda: str(tmp_path / "nothing"))
    assert not loading.is_loaded()
    assert len(caplog.records) == 1
    with pytest.raises(KernelError, match="XLA's headers, which come with jaxlib"):
        building.build()


def test_missing_sources_are_a_sentence(cached, unloaded, monkeypatch, tmp_path):
    monkeypatch.setattr(compiling, "SOURCE", tmp_path / "nothing")
    assert not loading.is_loaded()
    with pytest.raises(KernelError, match="sources cannot be read"):
        building.build()


def test_a_slow_processor_takes_the_scan_in_silence(unloaded, monkeypatch, caplog):
    monkeypatch.setattr(processor, "architecture", lambda: "x86_64")
    monkeypatch.setattr(processor, "features", lambda: frozenset({"sse2"}))
    assert not loading.is_loaded()
    assert "no AVX2" in loading.failure()
    assert [record.levelname for record in caplog.records] in ([], ["INFO"])


def test_a_library_is_opened_with_a_later_interface(cached):
    major, minor = compiling.ffi_version(jax.ffi.include_dir())
    describe(cached, ffi=(major, max(minor - 1, 0)))
    assert loading.refusals() == {cached: ""}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ('"', "is not a command"),
        (" ", "is blank"),
        ("", "is blank"),
        ("no-such-compiler", "no-such-compiler is not installed"),
        ("false", "`false --version` fails"),
        ("true", "`true` makes no library"),
    ],
)
def test_a_strange_compiler_is_a_sentence(tmp_path, monkeypatch, command, message):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", command)
    with pytest.raises(KernelError, match=message):
        building.build()
    assert [path.name for path in (tmp_path / "grujax" / "kernels").iterdir()] == ["lock"]


@pytest.fixture
def compiler(library, tmp_path, monkeypatch):
    """A function: from now on, the compiler is this shell script, and the cache is empty.

    The script has the path of a library that is right in $LIBRARY, and that of what it is to make
    in $OUT.
    """

    def choose(script: str) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("LIBRARY", str(library))
        monkeypatch.setattr(loading, "PREBUILT", tmp_path / "prebuilt")
        monkeypatch.setattr(jax.ffi, "register_ffi_target", lambda *_, **__: None)
        path = tmp_path / "compiler"
        path.write_text(f'for OUT; do :; done; PIDS="{tmp_path}/pids"\n{script}\n')
        monkeypatch.setenv("CXX", f"sh {shlex.quote(str(path))}")
        return tmp_path / "cache" / "grujax" / "kernels"

    return choose


COPIES = 'if [ "$1" = --version ]; then echo version; else cat "$LIBRARY" > "$OUT"; fi'


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("size", ["64k", "320k"])
def test_a_full_disk_is_a_sentence(tmp_path, monkeypatch, size):
    mount = shutil.which("mount") or "false"
    command = [mount, "-t", "tmpfs", "-o", f"size={size},mode=700", "none", str(tmp_path)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("nothing can be mounted here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try:
        with pytest.raises(KernelError, match=r"No space left on device|cannot hold"):
            building.build()
        assert [path.name for path in (tmp_path / "grujax" / "kernels").iterdir()] == ["lock"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("mask", [0, 0o002, 0o077])
def test_what_is_built_can_be_opened_whatever_the_umask_is(compiler, mask):
    folder = compiler(COPIES)
    before = os.umask(mask)
    try:
        path = building.build()
    finally:
        os.umask(before)
    assert loading.refusals() == {path: ""}
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        [path.name, path.with_suffix(".json").name, "lock"]
    )


def test_a_library_that_another_process_has_built_meanwhile_is_opened(
    compiler, unloaded, monkeypatch
):
    compiler(COPIES)

    @contextlib.contextmanager
    def wait_for_the_other():
        with library_cache.lock_cache():
            pass
        monkeypatch.setattr(building, "lock_cache", library_cache.lock_cache)
        building.build()
        monkeypatch.delattr(building, "compile_library")
        yield

    monkeypatch.setattr(building, "lock_cache", wait_for_the_other)
    assert loading.load_or_build() == building.local_library()


@needs_compiler
def test_a_broken_library_is_replaced_in_the_same_process(compiler, unloaded):
    """The one without symbols was opened under this name before."""
    compiler(COPIES)
    without_symbols(building.build())
    assert not loading.is_loaded()
    assert loading.load_or_build() == building.local_library()
    assert loading.is_loaded()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (r"printf '\377\n' >&2; exit 1", "fails:"),
        (r"head -c 100000 /dev/urandom; exit 1", "fails:"),
        ("kill -9 $$", "fails"),
        (COPIES.replace('cat "$LIBRARY" >', "mkdir -p"), "makes no library"),
    ],
)
def test_whatever_a_compiler_does_is_a_sentence(compiler, script, message):
    folder = compiler(script)
    with pytest.raises(KernelError, match=message):
        building.build()
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_a_compiler_waits_for_no_input(compiler, monkeypatch):
    compiler("cat; exit 1")
    monkeypatch.setattr(compiling, "COMPILE_SECONDS", 5)
    reader, writer = os.pipe()
    before = os.dup(0)
    os.dup2(reader, 0)
    try:
        with pytest.raises(KernelError, match="fails"):
            building.build()
    finally:
        os.dup2(before, 0)
        for file in (reader, writer, before):
            os.close(file)


def test_a_compiler_that_makes_garbage_is_a_sentence(compiler, unloaded):
    compiler(r"""printf '\377'; case "$OUT" in /*) echo garbage > "$OUT" ;; esac""")
    with pytest.raises(KernelError, match="cannot be opened"):
        loading.load_or_build()
    assert not loading.is_loaded()


HANGS = 'sleep 1000 & echo $! >> "$PIDS"; wait'


def is_running(pid: str) -> bool:
    """Whether a process runs on. One that was killed may take a moment to end."""
    for _ in range(200):
        try:
            if "(sleep) Z" in Path(f"/proc/{pid}/stat").read_text():
                return False
        except OSError:
            return False
        time.sleep(0.01)
    return True


def test_a_compiler_that_hangs_is_ended_with_all_that_it_started(compiler, monkeypatch, tmp_path):
    folder = compiler(HANGS)
    monkeypatch.setattr(compiling, "COMPILE_SECONDS", 0.3)
    with pytest.raises(KernelError, match=r"takes longer than 0\.3 s"):
        building.build()
    (pid,) = (tmp_path / "pids").read_text().split()
    assert not is_running(pid)
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_an_interrupted_build_leaves_nothing_behind(compiler, tmp_path):
    folder = compiler(f'if [ "$1" = --version ]; then echo version; else {HANGS}; fi')
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(KeyboardInterrupt):
            building.build()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not any(map(is_running, (tmp_path / "pids").read_text().split()))
    assert [path.name for path in folder.iterdir()] == ["lock"]
    compiler(COPIES)
    building.build()  # nobody holds the lock


def test_what_a_killed_build_left_is_removed(compiler):
    folder = compiler(COPIES)
    (folder / "building-killed").mkdir(parents=True)
    folder.parent.chmod(0o700)
    folder.chmod(0o700)
    building.build()
    assert not (folder / "building-killed").exists()


@pytest.mark.parametrize(
    "make", [os.mkfifo, link_to_itself, Path.mkdir, lambda path: path.symlink_to("/dev/null")]
)
def test_whatever_is_in_the_place_of_the_lock_does_not_block(compiler, make):
    compiler(COPIES)
    building.build()
    replace_by(make)(library_cache.cache_directory() / "lock")
    with contextlib.suppress(KernelError):
        building.build()


def test_nothing_is_written_through_a_linked_lock(compiler, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    compiler(COPIES)
    building.build()
    replace_by(lambda path: path.symlink_to(precious))(library_cache.cache_directory() / "lock")
    with pytest.raises(KernelError, match="is not writable"):
        building.build()
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.ENOLCK, errno.EWOULDBLOCK])
def test_a_lock_that_cannot_be_had_stops_no_build(compiler, monkeypatch, error):
    def fail(*_):
        raise OSError(error, os.strerror(error))

    compiler(COPIES)
    monkeypatch.setattr(fcntl, "flock", fail)
    monkeypatch.setattr(library_cache, "LOCK_SECONDS", 0.2)
    assert building.build().is_file()


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_nothing_is_built_in_a_folder_that_others_can_write(tmp_path, monkeypatch, mode):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = library_cache.cache_directory()
    folder.mkdir(parents=True)
    folder.chmod(mode)
    with pytest.raises(KernelError, match=r"Other users can write to .*`chmod go-w"):
        building.build()


def test_the_cache_is_private(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with library_cache.lock_cache():
        assert library_cache.cache_directory().stat().st_mode & 0o777 == 0o700


def test_a_relative_cache_is_ignored(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert library_cache.cache_directory() == Path.home() / ".cache" / "grujax" / "kernels"


@needs_compiler
def test_only_what_xla_calls_is_visible(library):
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("there is no nm")
    command = [nm, "--dynamic", "--defined-only", str(library)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {line.split()[-1] for line in lines} == {*compiling.TARGETS, "grujax_passes_self_test"}


@needs_compiler
def test_old_systems_have_every_symbol(library):
    """manylinux_2_28: glibc 2.28, and the libstdc++ of GCC 8."""
    objdump = shutil.which("objdump")
    if objdump is None:
        pytest.skip("there is no objdump")
    command = [objdump, "--dynamic-syms", str(library)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {
        prefix: max(version(word, prefix) for word in text.split())
        for prefix in ("GLIBC_", "GLIBCXX_")
    }
    assert (2, 2) <= found["GLIBC_"] <= (2, 28)
    assert (3, 4) <= found["GLIBCXX_"] <= (3, 4, 25)


def version(word: str, prefix: str) -> tuple[int, ...]:
    text = word.strip("()")
    return tuple(map(int, text.removeprefix(prefix).split("."))) if text.startswith(prefix) else ()


@needs_compiler
@pytest.mark.slow
def test_two_processes_build_one_library(tmp_path):
    command = [sys.executable, "-m", "grujax", "build"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    both = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert all("passes its self-test" in output for output in outputs)
    assert all("the scan" in output and "nan" not in output for output in outputs)
    assert len(list((tmp_path / "grujax" / "kernels").glob("*.so"))) == 1
    assert python("-c", RUN, XDG_CACHE_HOME=str(tmp_path)).stdout.split() == ["native"]


def test_nothing_is_compiled_unless_asked(tmp_path):
    run = python("-c", RUN.replace("import jax, grujax", NO_WHEEL), XDG_CACHE_HOME=str(tmp_path))
    assert run.stdout.split() == ["scan"], run.stderr
    assert not (tmp_path / "grujax").exists()


# --- the old module ------------------------------------------------------------------------------


def test_the_command_of_the_old_module_still_builds(tmp_path):
    run = python("-m", "grujax.kernels", XDG_CACHE_HOME=str(tmp_path), CXX="no-such-compiler")
    assert run.returncode == 1
    assert "no-such-compiler is not installed" in run.stdout


@pytest.mark.parametrize(
    ("name", "new"),
    [
        ("KernelError", KernelError),
        ("build_and_load", loading.load_or_build),
        ("is_loaded", loading.is_loaded),
    ],
)
def test_the_names_of_the_old_module_are_deprecated(name, new):
    kernels = importlib.import_module("grujax.kernels")
    with pytest.warns(DeprecationWarning, match=rf"`grujax\.kernels\.{name}` is deprecated"):
        old = getattr(kernels, name)
    assert old is new


def test_the_old_module_has_no_other_names():
    with pytest.raises(AttributeError, match=r"'grujax\.kernels' has no attribute"):
        importlib.import_module("grujax.kernels").digest  # noqa: B018
