"""Looking inside a GRU: what its gates do, and why its training is hard.

Everything here is a pure function of `GRUParams` (of both reset forms) and of inputs: it can be
jitted, and vmapped over a population of models that share a leading axis. One layer of a stack is
looked at by itself, with the inputs that `layer_inputs` gives.

    gates           traces of the gates, memory time scales, saturation
    jacobians       ∂h_t/∂h_{t−1}, products over spans, singular values, spectral radius
    gradient_flow   the norm of a loss's gradient by every state: where it vanishes
    lyapunov        the largest exponents along a driven trajectory, the attractor's dimension
    fixed_points    fixed and slow points under a constant input, and their stability
    attribution     which inputs an answer rests on
    plots           one function a figure; they alone need matplotlib
    saliency_plots  contributions over a text, a series or an image
"""

from grujax.analysis.attribution import (
    Attribution,
    gate_relevance,
    integrated_gradients,
    occlusion,
)
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
from grujax.analysis.gradient_flow import GradientFlow, cell_gradient_flow, gradient_flow
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
