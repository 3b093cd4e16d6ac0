"""Reinforcement learning in environments that need memory: recurrent PPO."""

from experiments.memory_rl.networks import ActorCritic, GRUCore, make_core
from experiments.memory_rl.ppo import Settings, make_train, ppo_phases, ppo_training
from experiments.memory_rl.train import Command, main

__all__ = [
    "ActorCritic",
    "Command",
    "GRUCore",
    "Settings",
    "main",
    "make_core",
    "make_train",
    "ppo_phases",
    "ppo_training",
]
