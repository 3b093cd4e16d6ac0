"""What speech recognition and speech synthesis share: the recordings, CTC, the recognizer."""
