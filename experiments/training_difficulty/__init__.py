"""Why recurrent networks are hard to train over long times, and how much each trick helps."""
