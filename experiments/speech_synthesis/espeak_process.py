"""Loads espeak-ng's library and speaks; run by `experiments.speech_synthesis.espeak`.

    espeak_process.py LIBRARY FOLDER RESULT < job

The job is JSON: {"seed": 0, "rate": 22050, "texts": [[text, [voice, speed, pitch]], ...]}. The
speech is written to the .npz file RESULT: "audio", int16, all texts concatenated, and "lengths",
the samples of each.
"""

import ctypes
import json
import os
import sys

import numpy as np

# From speak_lib.h: output mode, two parameters, unit of positions, encoding
SYNCHRONOUS, SPEED, PITCH, CHARACTERS, UTF8 = 2, 1, 3, 1, 1


def serve(library: str, folder: str, result: str) -> None:
    """Speaks the texts of the job on standard input; exits with a sentence if it fails."""
    job = json.load(sys.stdin)
    espeak = ctypes.CDLL(library)
    parts: list[np.ndarray] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def keep(samples, count, _) -> int:
        if samples and count > 0:
            parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    rate = espeak.espeak_Initialize(SYNCHRONOUS, 0, os.fsencode(folder), 0)
    if rate != job["rate"]:
        sys.exit(f"its sampling rate is {rate}, not {job['rate']}")
    espeak.espeak_SetSynthCallback(keep)
    espeak.espeak_ng_SetRandSeed(ctypes.c_long(job["seed"]))
    spoken = []
    for text, (name, speed, pitch) in job["texts"]:
        parts.clear()
        if espeak.espeak_SetVoiceByName(name.encode()) != 0:
            sys.exit(f"there is no voice {name!r}")
        espeak.espeak_SetParameter(SPEED, speed, 0)
        espeak.espeak_SetParameter(PITCH, pitch, 0)
        content = text.encode() + b"\0"
        size = ctypes.c_size_t(len(content))
        if espeak.espeak_Synth(content, size, 0, CHARACTERS, 0, UTF8, None, None) != 0:
            sys.exit(f"{text!r} could not be spoken")
        spoken.append(np.concatenate([np.zeros(0, np.int16), *parts]))
    lengths = np.array([len(audio) for audio in spoken], int)
    np.savez(result, audio=np.concatenate([np.zeros(0, np.int16), *spoken]), lengths=lengths)


if __name__ == "__main__":
    serve(*sys.argv[1:])
