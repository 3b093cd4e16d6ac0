"""Reinforcement learning in environments that need memory: recurrent PPO."""

from experiments.memory_rl.networks import ActorCritic, GRUCore, make_core
from experiments.memory_rl.ppo import Settings, make_train, ppo_training

__all__ = ["ActorCritic", "GRUCore", "Settings", "make_core", "make_train", "ppo_training"]
