"""Policies: a choice among n actions, or a real number with a normal distribution.

A policy is `(outputs [..., A], log_std [])`, as `networks.ActorCritic` returns it. With
`num_actions` > 0 the outputs are logits; otherwise A is 1, and it is the mean.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.stats import norm

Policy = tuple[Array, Array]


def num_outputs(num_actions: int) -> int:
    """A, the number of outputs of a policy."""
    return num_actions or 1


def sample(key: Array, policy: Policy, num_actions: int) -> Array:
    """Draws actions [...]."""
    outputs, log_std = policy
    if num_actions:
        return jax.random.categorical(key, outputs)
    mean = outputs[..., 0]
    return mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)


def most_likely(policy: Policy, num_actions: int) -> Array:
    """The most likely actions [...]."""
    outputs, _ = policy
    return outputs.argmax(-1) if num_actions else outputs[..., 0]


def log_prob(policy: Policy, actions: Array, num_actions: int) -> Array:
    """The log-probability, or log-density, of actions [...]."""
    outputs, log_std = policy
    if num_actions:
        return jnp.take_along_axis(jax.nn.log_softmax(outputs), actions[..., None], -1)[..., 0]
    return norm.logpdf(actions, outputs[..., 0], jnp.exp(log_std))


def entropy(policy: Policy, num_actions: int) -> Array:
    """The mean entropy, []."""
    outputs, log_std = policy
    if num_actions:
        log_probs = jax.nn.log_softmax(outputs)
        return -jnp.sum(jnp.exp(log_probs) * log_probs, -1).mean()
    return log_std + 0.5 * jnp.log(2 * jnp.pi * jnp.e)
