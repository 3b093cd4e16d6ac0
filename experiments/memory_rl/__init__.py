"""Reinforcement learning in environments that need memory: recurrent PPO."""
