"""cuDNN's GRU, as PyTorch calls it on a GPU."""

from collections.abc import Callable
from typing import Any


class _Stream:
    """A handle to wait for all launched work."""

    def synchronize(self) -> None:
        import torch

        torch.cuda.synchronize()


def cudnn_calls(
    dtype: str, steps: int, batch: int, units: int, mode: str
) -> dict[str, Callable[[], Any]]:
    """Calls of `torch.nn.GRU`: forward, or with the gradients of weights and inputs.

    For "float32" there is one, without TF32. For "bfloat16" there are two, bfloat16 and float16,
    because cuDNN has kernels for float16 alone. There are none without CUDA.
    """
    try:
        import torch
    except ImportError:
        return {}
    if not torch.cuda.is_available():
        return {}
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    dtypes = (torch.float32,) if dtype == "float32" else (torch.float16, torch.bfloat16)
    calls = {}
    for kind in dtypes:
        module = torch.nn.GRU(units, units).cuda().to(kind)
        xs = torch.randn(steps, batch, units, device="cuda", dtype=kind, requires_grad=True)

        def forward(module: Any = module, xs: Any = xs) -> _Stream:
            with torch.no_grad():
                module(xs)
            return _Stream()

        def training(module: Any = module, xs: Any = xs) -> _Stream:
            module(xs)[0].sum().backward()
            return _Stream()

        calls[f"cuDNN {kind}"] = forward if mode == "forward" else training
    return calls
