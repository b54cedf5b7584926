"""Compiling the modules that mail goes through with mypyc, for this machine and this Python (`gsmtp compile`).

Which modules: those that run for every command, message or delivery. What reads the configuration, serves the console
or runs once is as well off in Python. What compiled code asks of its sources:

* A compiled class derives from compiled ones only, and nobody derives from it in Python or replaces its methods.
* Fields of a dataclass have types that are imported when the module is, not under TYPE_CHECKING.
* Compiled functions borrow their arguments from the caller. gevent drops those of a green thread that is killed while
  it runs; so a compiled function with arguments is run by `gsmtp.runtime.greens`, as a `functools.partial`, which keeps
  them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable

from gsmtp import compiled
from gsmtp.core.errors import GsmtpError
from gsmtp.training import TrainingFailed, train

MODULES: tuple[str, ...] = tuple(
    f"gsmtp.{package}.{name}"
    for package, names in {
        "core": "reply envelope records ids domains",
        "smtp": "abnf buffer body events facts transaction trace parser message state machine text answers session "
        "verbs profile traced",
        "server": "accepting channel outbox service connection acceptance reception limits peering sink login opening "
        "securing throttle",
        "policy": "chain context decision keep checks.relay checks.blackhole",
        "observe": "journal logs",
        "config": "scopes view",
        "delivery": "admission backoff bounces client commands connection deferrals dots failures gates hops job lanes "
        "line mailer pool queue quotas rates recorder replies router runner sockets steps terms transaction window "
        "worker",
        "spool": "bodies codec health leases recent sqlite writer",
        "runtime": "deadline later native usage",
    }.items()
    for name in names.split()
)

_BUILD = """
import os
import sys
from multiprocessing.pool import ThreadPool
from setuptools import setup
from mypyc.build import mypycify
from distutils.ccompiler import CCompiler  # that of setuptools, which stands in for it

def compile_side_by_side(self, sources, output_dir=None, macros=None, include_dirs=None, debug=0, extra_preargs=None,
                         extra_postargs=None, depends=None):
    # as CCompiler.compile, which uses one processor for all the files of an extension
    macros, objects, extra_postargs, pp_opts, build = self._setup_compile(
        output_dir, macros, include_dirs, sources, depends, extra_postargs
    )
    cc_args = self._get_cc_args(pp_opts, debug, extra_preargs)
    with ThreadPool(os.cpu_count()) as pool:
        pool.map(lambda name: self._compile(name, *build[name], cc_args, extra_postargs, pp_opts), build, chunksize=1)
    return objects

CCompiler.compile = compile_side_by_side
work, target, group = sys.argv[1:4]
flags = ["--config-file=", "--ignore-missing-imports", "--cache-dir", work + "/cache", *sys.argv[4:]]
modules = mypycify(flags, opt_level="3", debug_level="0", group_name=group, target_dir=work, multi_file=True)
setup(
    name="gsmtp-compiled",
    ext_modules=modules,
    script_args=["-q", "build_ext", "--force", "--build-lib", target, "--build-temp", work + "/temp"],
)
"""


_COUNTING = "-fvisibility=hidden -fprofile-generate"
_GUIDED = (
    "-fvisibility=hidden -fprofile-use -fprofile-partial-training -fprofile-correction -Wno-missing-profile "
    "-Wno-coverage-mismatch"
)
"""For gcc. Code that served no mail in the training is compiled as without a profile, not for size."""


class CannotCompile(GsmtpError):
    """Why nothing was compiled; gsmtp runs in Python as before."""


def check_tools() -> None:
    """Raises CannotCompile when a part is missing, saying which."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(os.environ.get("CC", compiler).split()[0]) is None:
        raise CannotCompile("there is no C compiler; on Debian: apt-get install gcc")
    if not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")):
        raise CannotCompile("Python's headers are missing; on Debian: apt-get install python3-dev")
    try:
        import mypyc  # noqa: F401
        import setuptools  # noqa: F401
    except ImportError as error:
        raise CannotCompile("mypyc is missing; pip install 'gsmtp[compile]'") from error


def compile_modules(tell: Callable[[str], None], *, is_guided: bool = False) -> int:
    """Compile all modules and put them in place, in one step at the end.

    Args:
        tell: gets each step, in a few words.
        is_guided: compile twice: first code that counts what is done, which `gsmtp.training` has serve some mail, then
            the code that is put in place, laid out for what was counted.

    Returns:
        How many there are.

    Raises:
        CannotCompile: a tool is missing, or the compiler's words.
        OSError: the package's folder can't be written.
    """
    check_tools()
    new = tempfile.mkdtemp(prefix="_compiled-", dir=os.path.dirname(compiled.FOLDER))
    try:
        with tempfile.TemporaryDirectory(prefix="gsmtp-compile-") as work:
            if is_guided:
                _count(work, tell)
            tell(f"compiling {len(MODULES)} modules, about a minute …")
            _build(work, new, _GUIDED if is_guided else "", is_guided=is_guided)
        os.chmod(new, 0o755)  # noqa: S103 - as packages are; mkdtemp gave 0700
        _replace(new)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return len(MODULES)


def _count(work: str, tell: Callable[[str], None]) -> None:
    """Have a copy of the package leave beside its object files, in `work`, what its code did with some mail."""
    copy = os.path.join(work, "copy")
    package = os.path.dirname(compiled.FOLDER)
    shutil.copytree(package, os.path.join(copy, "gsmtp"), ignore=shutil.ignore_patterns("_compiled*", "__pycache__"))
    tell(f"compiling {len(MODULES)} modules so that they count, one to two minutes …")
    _build(work, os.path.join(copy, "gsmtp", os.path.basename(compiled.FOLDER)), _COUNTING, is_guided=False)
    tell("sending mail to them, some seconds …")
    try:
        train(copy)
    except TrainingFailed as error:
        raise CannotCompile(f"no profile: {error}") from error
    if not any(name.endswith(".gcda") for _, _, names in os.walk(work) for name in names):
        raise CannotCompile("no profile: the compiler left none, which only gcc does; on Debian: apt-get install gcc")


def _build(work: str, target: str, flags: str, *, is_guided: bool) -> None:
    """Compile all modules into a folder, with its manifest.

    Args:
        work: for what lies between; the same for two builds of which the second wants what the first left.
        target: the folder.
        flags: for the compiler, besides those of the environment.
        is_guided: what the manifest is to say.
    """
    root = os.path.dirname(os.path.dirname(compiled.FOLDER))
    hashes = {name: compiled.fingerprint(compiled.source(name)) for name in MODULES}
    files = [os.path.relpath(compiled.source(name), root) for name in MODULES]
    done = subprocess.run(  # noqa: S603 - this interpreter, our own words
        [sys.executable, "-c", _BUILD, work, target, compiled.GROUP.removesuffix("__mypyc"), *files],
        cwd=root,
        env={**os.environ, "GSMTP_PURE": "1", "CFLAGS": f"{os.environ.get('CFLAGS', '')} {flags}".strip()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotCompile(f"the compiler says:\n{(done.stdout + done.stderr).strip()[-4000:]}")
    with open(os.path.join(target, "manifest"), "w", encoding="utf-8") as file:
        file.write(f"{compiled.SUFFIX} {compiled.GUIDED}\n" if is_guided else f"{compiled.SUFFIX}\n")
        file.writelines(f"{name} {hashed}\n" for name, hashed in hashes.items())


def _replace(new: str) -> None:
    """Put a folder in the place of what was compiled before. Servers that run keep what they have loaded."""
    old = f"{new}.old"
    try:
        os.rename(compiled.FOLDER, old)
    except FileNotFoundError:
        pass
    os.rename(new, compiled.FOLDER)
    shutil.rmtree(old, ignore_errors=True)
