"""What is computed in single precision also where autocast has lowered that of products."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def full_precision(function: Callable[..., Any], *tensors: Tensor) -> Any:
    """`function(*tensors)` without autocast: recurrences would add up the rounding of all their steps."""
    kind = tensors[0].device.type
    if not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
        return function(*tensors)
    with torch.autocast(kind, enabled=False):
        return function(*(tensor.float() for tensor in tensors))
