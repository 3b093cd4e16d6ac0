"""Records episodes of POPGym in `popgym_episodes.npz`, which the tests replay.

Run it where these are installed:

    pip install popgym==1.0.7 gymnasium==1.2.3
    python tests/experiments/memory_rl/environments/record_popgym.py

For each environment, the file has what its start draws, and the actions, observations, rewards and
ends of every step of several episodes.
"""

from pathlib import Path

import numpy as np

EPISODES = 4
FILE = Path(__file__).with_name("popgym_episodes.npz")


def environments():
    """Name -> (environment, what its start draws, the action at random or by a rule)."""
    from popgym.envs import autoencode, count_recall, repeat_first, repeat_previous
    from popgym.envs.position_only_cartpole import PositionOnlyCartPole
    from popgym.envs.position_only_pendulum import PositionOnlyPendulum

    def suits(env):
        return env.deck.suits_idx[env.deck.idx][::-1]  # dealt from the end

    def colors(env):
        decks = (env.value_deck, env.query_deck)
        return np.stack([env.deck_idx_type[deck.idx][::-1] for deck in decks])

    def balance(env, rng):  # long episodes, that end in both ways
        _, _, angle, velocity = env.state
        push = int(angle + 0.5 * velocity > 0)
        return push if rng.random() < 0.9 else 1 - push

    def torque(env, rng):  # beyond the limits, too
        return rng.uniform(-3, 3, 1).astype(np.float32)

    def at_random(env, rng):
        return int(rng.integers(env.action_space.n))

    def answer(env, rng):  # the count, half of the time
        right = int(env.counts[env.query])
        return right if rng.random() < 0.5 else at_random(env, rng)

    def state(env):
        return env.state

    return {
        "repeat_first_easy": (repeat_first.RepeatFirstEasy(), suits, at_random),
        "repeat_previous_easy": (repeat_previous.RepeatPreviousEasy(), suits, at_random),
        "repeat_previous_medium": (repeat_previous.RepeatPreviousMedium(), suits, at_random),
        "repeat_previous_hard": (repeat_previous.RepeatPreviousHard(), suits, at_random),
        "autoencode_easy": (autoencode.AutoencodeEasy(), suits, at_random),
        "count_recall_easy": (count_recall.CountRecallEasy(), colors, answer),
        "cartpole": (PositionOnlyCartPole(), state, balance),
        "pendulum": (PositionOnlyPendulum(), state, torque),
    }


def play(env, draws, choose, seed):
    """One episode: its start, and [T] actions, [T + 1, ...] observations, [T] rewards and ends."""
    rng = np.random.default_rng(seed)
    observations, rewards, terminated, truncated, taken = [], [], [], [], []
    first, _ = env.reset(seed=seed)
    observations.append(np.ravel(first))
    drawn = np.array(draws(env))
    while not taken or not (terminated[-1] or truncated[-1]):
        action = choose(env, rng)
        observation, reward, is_terminated, is_truncated, _ = env.step(action)
        taken.append(np.squeeze(action))
        observations.append(np.ravel(observation))
        rewards.append(float(reward))
        terminated.append(is_terminated)
        truncated.append(is_truncated)
    return {
        "drawn": drawn.astype(np.int8 if drawn.dtype.kind == "i" else np.float64),
        "actions": np.array(taken),
        "observations": np.array(observations, np.float32),
        "rewards": np.array(rewards),
        "terminated": np.array(terminated),
        "truncated": np.array(truncated),
    }


def record():
    """NAME/EPISODE/FIELD -> array, of all environments."""
    return {
        f"{name}/{seed}/{field}": array
        for name, parts in environments().items()
        for seed in range(EPISODES)
        for field, array in play(*parts, seed).items()
    }


if __name__ == "__main__":
    np.savez_compressed(FILE, **record())
