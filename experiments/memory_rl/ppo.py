"""Recurrent PPO in one file: environment steps, advantages and updates, all inside one `jit`.

A rollout of T steps in B environments starts with the carry that acting left. Training replays the
same sequences from this carry with the same resets, so that the first pass over a rollout gives the
probabilities with which it was acted. A minibatch is a group of environments with all of their
steps; no sequence is cut.

A time limit is not the end of the task: where an episode is truncated, the value of its last
observation, from the carry before the reset, stands for the rewards that would have followed. Where
it is terminated, nothing follows.

References: Schulman et al. 2017, "Proximal Policy Optimization", https://arxiv.org/abs/1707.06347;
Schulman et al. 2016, generalized advantages, https://arxiv.org/abs/1506.02438; Pardo et al. 2018,
"Time Limits in Reinforcement Learning", https://arxiv.org/abs/1712.00378.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from experiments.common import training
from experiments.memory_rl import actions
from experiments.memory_rl.environments import Environment, make_environment
from experiments.memory_rl.networks import ActorCritic, Core, make_core
from experiments.memory_rl.settings import Settings


class Worker(NamedTuple):
    """What acting carries from step to step: B environments and the agent's memory of them."""

    states: Any  # of the environments, [B, ...]
    observations: Array  # [B, observation_size]
    resets: Array  # [B] bool: whether the observation begins an episode
    carry: Any  # of the core
    returns: Array  # [B], the rewards of the current episodes so far


class Rollout(NamedTuple):
    """T steps of B environments, [T, B, ...]."""

    observations: Array
    resets: Array
    actions: Array
    log_probs: Array
    values: Array
    rewards: Array
    terminated: Array
    truncated: Array
    returns: Array  # of the episodes that end at this step
    final_observations: Array  # what followed the action, before a reset
    carries: Any  # after the observation; () where nothing is truncated


class Batch(NamedTuple):
    """What a loss needs; the environments are the second axis, of `carry` the first."""

    carry: Any
    rollout: Rollout
    advantages: Array  # [T, B]
    targets: Array  # [T, B]


class Phases(NamedTuple):
    """The parts of a training, as functions of its state."""

    init: Callable[[Array], training.TrainState]  # key -> state
    collect: Callable[[training.TrainState, Array], tuple[Worker, Batch]]  # state, key: a rollout
    # state, batch, key: all passes -> (parameters, optimizer state), losses [passes, minibatches]
    learn: Callable[..., tuple[tuple[Any, optax.OptState], Array]]


def make_network(settings: Settings, environment: Environment, core: Core | None) -> ActorCritic:
    """Builds the network; `core` replaces that of `settings.cell`."""
    if core is None:
        memory = settings.steps if settings.chrono else None
        core = make_core(settings.cell, memory, settings.frames)
    outputs = actions.num_outputs(environment.num_actions)
    scale = tuple(environment.observation_scale.tolist())
    return ActorCritic(core, settings.hidden_size, outputs, scale)


def begin(environment: Environment, network: ActorCritic, key: Array, batch: int) -> Worker:
    """Begins an episode in each of B environments."""
    states, observations = jax.vmap(environment.reset)(jax.random.split(key, batch))
    carry = network.initialize_carry(batch)
    return Worker(states, observations, jnp.ones(batch, bool), carry, jnp.zeros(batch))


def act(
    environment: Environment,
    network: ActorCritic,
    params: Any,
    worker: Worker,
    key: Array,
    greedy: bool = False,
) -> tuple[Worker, Rollout]:
    """Takes one step in each environment, and begins a new episode where one has ended."""
    num_actions, batch = environment.num_actions, len(worker.resets)
    carry, policy, values = network.apply(
        params, worker.carry, worker.observations[None], worker.resets[None]
    )
    policy = (policy[0][0], policy[1])
    action_key, step_key, reset_key = jax.random.split(key, 3)
    if greedy:
        chosen = actions.most_likely(policy, num_actions)
    else:
        chosen = actions.sample(action_key, policy, num_actions)
    step = jax.vmap(environment.step)(jax.random.split(step_key, batch), worker.states, chosen)
    done = step.terminated | step.truncated
    returns = worker.returns + step.reward

    fresh = jax.vmap(environment.reset)(jax.random.split(reset_key, batch))
    states, observations = jax.tree.map(
        lambda new, old: jnp.where(done.reshape(-1, *[1] * (old.ndim - 1)), new, old),
        fresh,
        (step.state, step.observation),
    )
    after = Worker(states, observations, done, carry, jnp.where(done, 0.0, returns))
    return after, Rollout(
        observations=worker.observations,
        resets=worker.resets,
        actions=chosen,
        log_probs=actions.log_prob(policy, chosen, num_actions),
        values=values[0],
        rewards=step.reward,
        terminated=step.terminated,
        truncated=step.truncated,
        returns=returns,
        final_observations=step.observation,
        carries=carry if environment.truncates else (),
    )


def next_values(network: ActorCritic, params: Any, worker: Worker, rollout: Rollout) -> Array:
    """[T, B]: the value of what follows each step; of a truncated episode, what would follow."""

    def value(carry: Any, observations: Array, resets: Array) -> Array:
        return network.apply(params, carry, observations[None], resets[None])[2][0]

    last = value(worker.carry, worker.observations, worker.resets)
    following = jnp.concatenate([rollout.values[1:], last[None]])
    if not jax.tree.leaves(rollout.carries):
        return following

    def of_final_observations() -> Array:
        flat = jax.tree.map(
            lambda x: x.reshape(-1, *x.shape[2:]), (rollout.carries, rollout.final_observations)
        )
        return value(*flat, jnp.zeros(rollout.resets.size, bool)).reshape(rollout.resets.shape)

    final = jax.lax.cond(jnp.any(rollout.truncated), of_final_observations, lambda: following)
    return jnp.where(rollout.truncated, final, following)


def estimate_advantages(
    rollout: Rollout, following: Array, discount: float | Array, gae_lambda: float | Array
) -> Array:
    """Generalized advantages [T, B]; `following` [T, B] are the values of what follows each step.

    A_t = δ_t + γλ A_{t+1} within an episode, and δ_t = r_t + γ V_{t+1} − V_t, where V_{t+1} is 0
    after a terminated step.
    """
    deltas = rollout.rewards - rollout.values
    deltas += discount * jnp.where(rollout.terminated, 0.0, following)
    goes_on = ~(rollout.terminated | rollout.truncated)

    def back(advantage: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, goes_on = step
        advantage = delta + discount * gae_lambda * jnp.where(goes_on, advantage, 0.0)
        return advantage, advantage

    return jax.lax.scan(back, jnp.zeros_like(deltas[0]), (deltas, goes_on), reverse=True)[1]


def ppo_phases(
    settings: Settings,
    environment: Environment | None = None,
    core: Core | None = None,
    learning_rate: float | Array | None = None,
    entropy_cost: float | Array | None = None,
) -> Phases:
    """Builds the parts of the training of one agent.

    Args:
      settings: see `Settings`; `learning_rate` and `entropy_cost` replace theirs and may be traced.
      environment: None builds the one of `settings.environment`.
      core: another recurrent core, see `networks`; None: that of `settings.cell`.

    Raises:
      ValueError: B is not a multiple of the number of minibatches, or the updates are not one of
        those of an epoch.
    """
    if settings.num_envs % settings.minibatches or settings.updates % settings.updates_per_epoch:
        raise ValueError(
            "`num_envs` must be a multiple of `minibatches`, and `updates` of `updates_per_epoch`, "
            f"got {settings.num_envs} and {settings.minibatches}, {settings.updates} and "
            f"{settings.updates_per_epoch}."
        )
    if environment is None:
        environment = make_environment(settings.environment, settings.memory_length)
    network = make_network(settings, environment, core)
    num_actions = environment.num_actions
    rate = settings.learning_rate if learning_rate is None else learning_rate
    entropy_cost = settings.entropy_cost if entropy_cost is None else entropy_cost
    total = settings.updates * settings.passes * settings.minibatches
    optimizer = optax.chain(
        optax.clip_by_global_norm(settings.max_gradient_norm),
        optax.adam(lambda step: rate * (1 - step / total), eps=1e-5),
    )

    def init(key: Array) -> training.TrainState:
        params_key, reset_key, key = jax.random.split(key, 3)
        worker = begin(environment, network, reset_key, settings.num_envs)
        params = network.init(
            params_key, worker.carry, worker.observations[None], worker.resets[None]
        )
        return training.init_train_state(params, optimizer, key)._replace(carried=worker)

    def loss(params: Any, batch: Batch) -> Array:
        rollout = batch.rollout
        _, policy, values = network.apply(params, batch.carry, rollout.observations, rollout.resets)
        ratio = jnp.exp(actions.log_prob(policy, rollout.actions, num_actions) - rollout.log_probs)
        advantages = (batch.advantages - batch.advantages.mean()) / (batch.advantages.std() + 1e-8)
        clipped = jnp.clip(ratio, 1 - settings.clip, 1 + settings.clip)
        gain = jnp.minimum(ratio * advantages, clipped * advantages).mean()
        change = jnp.clip(values - rollout.values, -settings.clip, settings.clip)
        errors = jnp.maximum(
            (values - batch.targets) ** 2, (rollout.values + change - batch.targets) ** 2
        )
        entropy = actions.entropy(policy, num_actions)
        return settings.value_cost * 0.5 * errors.mean() - gain - entropy_cost * entropy

    def learn_minibatch(carry, batch: Batch):
        params, optimizer_state = carry
        value, gradient = jax.value_and_grad(loss)(params, batch)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, params)
        return (optax.apply_updates(params, updates), optimizer_state), value

    def collect(state: training.TrainState, key: Array) -> tuple[Worker, Batch]:
        worker, rollout = jax.lax.scan(
            lambda worker, key: act(environment, network, state.params, worker, key),
            state.carried,
            jax.random.split(key, settings.steps),
        )
        following = next_values(network, state.params, worker, rollout)
        advantages = estimate_advantages(rollout, following, settings.discount, settings.gae_lambda)
        rollout = rollout._replace(carries=(), final_observations=())
        return worker, Batch(state.carried.carry, rollout, advantages, advantages + rollout.values)

    def learn(state: training.TrainState, batch: Batch, key: Array):
        def one_pass(carry, key: Array):
            order = jax.random.permutation(key, settings.num_envs)
            groups = order.reshape(settings.minibatches, -1)

            def learn_group(carry, rows: Array):
                by_time = jax.tree.map(lambda x: x[:, rows], batch._replace(carry=()))
                of_rows = jax.tree.map(lambda x: x[rows], batch.carry)
                return learn_minibatch(carry, by_time._replace(carry=of_rows))

            return jax.lax.scan(learn_group, carry, groups)

        return jax.lax.scan(
            one_pass, (state.params, state.optimizer_state), jax.random.split(key, settings.passes)
        )

    return Phases(init, collect, learn)


def ppo_training(
    settings: Settings,
    environment: Environment | None = None,
    core: Core | None = None,
    learning_rate: float | Array | None = None,
    entropy_cost: float | Array | None = None,
) -> training.Training:
    """Builds the training of one agent. Arguments and errors are those of `ppo_phases`."""
    phases = ppo_phases(settings, environment, core, learning_rate, entropy_cost)

    def update(state: training.TrainState, _) -> tuple[training.TrainState, tuple[Array, ...]]:
        key, act_key, order_key = jax.random.split(state.key, 3)
        worker, batch = phases.collect(state, act_key)
        (params, optimizer_state), losses = phases.learn(state, batch, order_key)
        rollout = batch.rollout
        done = rollout.terminated | rollout.truncated
        state = state._replace(
            params=params, optimizer_state=optimizer_state, key=key, carried=worker
        )
        return state, (losses.mean(), jnp.sum(rollout.returns * done), jnp.sum(done))

    def epoch(state: training.TrainState, scale: Any = None):
        state, (losses, returns, episodes) = jax.lax.scan(
            update, state, length=settings.updates_per_epoch
        )
        mean_return = returns.sum() / episodes.sum()  # NaN without the end of an episode
        metrics = {"train_loss": losses.mean(), "mean_return": mean_return}
        return training.end_epoch(state, mean_return), metrics

    epochs = settings.updates // settings.updates_per_epoch
    return training.Training(phases.init, epoch, epochs, patience=epochs)


def make_train(
    settings: Settings, environment: Environment | None = None, core: Core | None = None
) -> Callable[..., training.Metrics]:
    """Returns the pure `train(key, learning_rate, entropy_cost)` -> metrics of each epoch [E].

    `environment` and `core` are those of `ppo_training`.
    """

    def train(
        key: Array,
        learning_rate: float | Array = settings.learning_rate,
        entropy_cost: float | Array = settings.entropy_cost,
    ) -> training.Metrics:
        plan = ppo_training(settings, environment, core, learning_rate, entropy_cost)
        return training.train(plan, key)[1]

    return train


def evaluate(
    settings: Settings,
    params: Any,
    key: Array,
    episodes: int,
    environment: Environment | None = None,
    core: Core | None = None,
) -> Array:
    """The returns [episodes] of new episodes, in which the most likely actions are taken."""
    if environment is None:
        environment = make_environment(settings.environment, settings.memory_length)
    network = make_network(settings, environment, core)
    reset_key, key = jax.random.split(key)
    worker = begin(environment, network, reset_key, episodes)
    _, rollout = jax.lax.scan(
        lambda worker, key: act(environment, network, params, worker, key, greedy=True),
        worker,
        jax.random.split(key, environment.max_steps),
    )
    ends = rollout.terminated | rollout.truncated
    return jnp.take_along_axis(rollout.returns, jnp.argmax(ends, axis=0)[None], axis=0)[0]
