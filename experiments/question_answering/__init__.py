"""Questions about stories: GRUs read the sentences, episodic attention finds those that matter."""

from experiments.question_answering.train import Command, Settings, main

__all__ = ["Command", "Settings", "main"]
