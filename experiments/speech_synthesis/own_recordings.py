"""The user's recordings and their transcripts, as a voice to learn."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.data.splits import hold_out, merge_groups, note_equal
from experiments.common.report.counts import count
from experiments.speech.pauses import find_pauses, frame_hop
from experiments.speech.recorded_texts import check_number, read_recordings
from experiments.speech_synthesis.audio import HOP, RATE
from experiments.speech_synthesis.data import Recorded
from experiments.speech_synthesis.settings import Settings

SHARE = 0.1  # of the recordings in the validation part, and in the test part
PEAK = 0.7  # of the audio, where 1 is full scale
FEW_TEXTS = 10
MARGIN = 4  # frames of 25 ms that are kept before and after the speech


class OwnVoice(NamedTuple):
    """A user's recordings, in three parts."""

    train: Recorded
    validation: Recorded
    test: Recorded
    alphabet: str  # the letters of all texts
    notes: list[str]  # one sentence per thing that the user may not expect

    def digest(self) -> str:
        """Identifies the recordings and their texts."""
        found = hashlib.sha256(repr([part.texts for part in self[:3]]).encode())
        for part in self[:3]:
            for sound in part.audio:
                found.update(sound.tobytes())
        return found.hexdigest()[:16]

    def longest(self) -> int:
        """The letters of the longest training text."""
        return max(map(len, self.train.texts))

    def steps_per_letter(self, settings: Settings) -> int:
        """The most steps of a training recording, for each letter of its text."""
        seconds_per_step = settings.reduction * HOP / RATE
        pairs = zip(self.train.texts, self.train.audio, strict=True)
        most = max(len(sound) / RATE / len(text) for text, sound in pairs)
        return int(np.ceil(most / seconds_per_step))


def trim(audio: np.ndarray) -> np.ndarray | None:
    """Audio [N] at one loudness, without the silence at both ends; None if there is no speech."""
    is_pause = find_pauses(audio, RATE)
    if is_pause is None:
        return None
    spoken, hop = np.flatnonzero(~is_pause), frame_hop(RATE)
    kept = audio[max(spoken[0] - MARGIN, 0) * hop : (spoken[-1] + MARGIN + 1) * hop]
    return PEAK * kept / np.abs(kept).max()


def read_folder(folder: Path) -> OwnVoice:
    """Reads and splits the recordings of a folder and its subfolders.

    The texts of the parts differ if they combine the same words in several ways; else the network
    could not learn the words of the held-out texts.

    Raises:
      InputError: it holds too few recordings with a transcript, or one that cannot be read.
    """
    read = read_recordings(folder, RATE, trim)
    sounds = [sound.tobytes() for sound in read.sounds]
    groups = merge_groups(sounds)
    check_number(folder, len(np.unique(groups)))
    words = Counter(word for text in read.texts for word in text.split())
    is_combined = len(set(read.texts)) > max(len(words), FEW_TEXTS)
    by_text = merge_groups(sounds, read.texts) if is_combined else groups
    parts = [read.select(indices) for indices in hold_out(by_text, SHARE)]
    train, validation, test = (Recorded(part.texts, part.sounds) for part in parts)
    alphabet = "".join(sorted(set("".join(read.texts))))
    minutes = sum(map(len, read.sounds)) / RATE / 60
    known = sum(text in train.texts for text in test.texts)
    notes = [
        *read.notes,
        *note_equal(groups, "recording"),
        f"{count(len(groups), 'recording')} of {minutes:.1f} minutes, without the silence at both "
        f"ends: {len(train.texts)} for training, {len(validation.texts)} for validation, "
        f"{len(test.texts)} for testing.",
        f"The texts have {count(len(words), 'different word')}, each said "
        f"{words.total() / len(words):.1f} times on average; {known or 'none'} of the "
        f"{len(test.texts)} test texts are also for training.",
    ]
    return OwnVoice(train, validation, test, alphabet, notes)
