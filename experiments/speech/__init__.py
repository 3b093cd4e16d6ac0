"""Parts that speech recognition and speech synthesis share.

Data: `spoken_digits` (the recordings), `digit_strings` (strings joined from them). Model:
`recognizer`, trained and decoded with `ctc`. Evaluation: `scores`, and `dtw` to align sequences.
"""
