"""Reinforcement learning in environments that need memory: recurrent PPO."""

from experiments.common.doors import open_door

__getattr__ = open_door(
    __name__,
    {
        "networks": ["ActorCritic", "GRUCore", "make_core"],
        "ppo": ["make_train", "ppo_phases", "ppo_training"],
        "settings": ["Settings"],
    },
)
