"""Speech by espeak-ng, whose library and voices come with the package espeakng-loader.

Each wheel contains the library for one platform. It is unpacked once into the cache directory, next
to the archives, because a library can only be loaded from a file. It runs in a separate process,
`espeak_process.py`, which contains its output and its crashes.

Reference: https://github.com/espeak-ng/espeak-ng (`speak_lib.h`, version 1.52)
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.data import Archive, DataError, cache_directory, fetch
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
    folder = _unpack(fetch(wheel), f"espeak-{wheel.sha256[:12]}", library)
    with tempfile.TemporaryDirectory() as workspace:
        result = Path(workspace) / "audio.npz"
        command = [sys.executable, str(PROGRAM), str(folder / library), str(folder), str(result)]
        job = json.dumps({"seed": seed, "rate": RATE, "texts": texts})
        done = subprocess.run(command, input=job, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise DataError(f"espeak-ng failed with status {done.returncode} ({last}).")
        with np.load(result) as arrays:
            audio, ends = arrays["audio"], np.cumsum(arrays["lengths"])
    return np.split(audio.astype(np.float32) / 32768, ends[:-1]) if len(ends) else []


def _unpack(wheel: Path, name: str, library: str) -> Path:
    """Returns the folder of the library and its data, unpacking the wheel the first time."""
    folder = cache_directory() / name
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpack-") as workspace:
        with zipfile.ZipFile(wheel) as opened:
            wanted = tuple(f"{FOLDER}/{part}" for part in (library, *NEEDED))
            members = [member for member in opened.namelist() if member.startswith(wanted)]
            opened.extractall(workspace, members)
        try:
            os.rename(Path(workspace) / FOLDER, folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster
                raise
    return folder
