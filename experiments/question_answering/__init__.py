"""Questions about stories: GRUs read the sentences, episodic attention selects them."""
