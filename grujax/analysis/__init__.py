"""Analysis of trained GRUs: what the gates do, and why training is hard.

All functions but the plots are pure functions of `GRUParams` (in both reset forms) and inputs. They
can be jitted, and vmapped over a population of models. To analyze one layer of a stack, pass it the
inputs that `layer_inputs` returns.

    gates             traces of the gates, memory time scales, saturation
    jacobians         ∂h_t/∂h_{t−1}, products over spans, singular values, spectral radius
    gradient_flow     the norm of a loss's gradient with respect to each state: where it vanishes
    gradient_profile  its summary: steps back until the gradient vanishes or explodes
    lyapunov          the largest Lyapunov exponents along a trajectory, the attractor's dimension
    fixed_points      fixed and slow points under a constant input, and their stability
    attribution       the contribution of each input to a score
    relevance         how much of what each step wrote remains, according to the gates
    states            the states and inputs of one layer; the other files build on it
    plots             plots of gates, eigenvalues, gradients and trajectories; they need matplotlib
    saliency_plots    contributions drawn over a text, a series or an image
    figures           what all plots share
"""

from grujax.analysis.attribution import Attribution, integrated_gradients, occlusion
from grujax.analysis.fixed_points import (
    FixedPoints,
    Stability,
    find_fixed_points,
    sample_states,
)
from grujax.analysis.gates import (
    GateSaturation,
    GateTrace,
    gate_saturation,
    memory_time_scale,
    trace_gates,
)
from grujax.analysis.gradient_flow import cell_gradient_flow, gradient_flow
from grujax.analysis.gradient_profile import GradientFlow
from grujax.analysis.jacobians import (
    ScaledMatrix,
    jacobian_product,
    log_singular_values,
    singular_values,
    spectral_radius,
    step_jacobian,
    step_jacobians,
)
from grujax.analysis.lyapunov import kaplan_yorke_dimension, lyapunov_exponents
from grujax.analysis.plots import (
    plot_eigenvalues,
    plot_gates,
    plot_gradient_flow,
    plot_state_space,
)
from grujax.analysis.relevance import gate_relevance
from grujax.analysis.saliency_plots import (
    plot_image_saliency,
    plot_series_saliency,
    plot_text_saliency,
)
from grujax.analysis.states import layer_inputs

__all__ = [
    "Attribution",
    "FixedPoints",
    "GateSaturation",
    "GateTrace",
    "GradientFlow",
    "ScaledMatrix",
    "Stability",
    "cell_gradient_flow",
    "find_fixed_points",
    "gate_relevance",
    "gate_saturation",
    "gradient_flow",
    "integrated_gradients",
    "jacobian_product",
    "kaplan_yorke_dimension",
    "layer_inputs",
    "log_singular_values",
    "lyapunov_exponents",
    "memory_time_scale",
    "occlusion",
    "plot_eigenvalues",
    "plot_gates",
    "plot_gradient_flow",
    "plot_image_saliency",
    "plot_series_saliency",
    "plot_state_space",
    "plot_text_saliency",
    "sample_states",
    "singular_values",
    "spectral_radius",
    "step_jacobian",
    "step_jacobians",
    "trace_gates",
]
