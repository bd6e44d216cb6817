"""The selective scan of S6: fast on a CPU, fast on a GPU, and slow and clear to compare them with.

The recurrence (Gu & Dao 2023, Mamba, equation 2 and algorithm 2), per channel d and state n::

    h[t] = exp(dt[t] A) h[t-1] + dt[t] B[t] u[t]
    y[t] = sum over n of C[t] h[t]

The paper discretises B by zero-order hold, (dt A)^-1 (exp(dt A) - 1) dt B (equation 4); here, as
in the authors' own code, B takes its first-order term dt B, and only A the exact exponential.

A CPU takes one step after the other, in chunks that stay in its cache. A GPU would wait for the start of
every kernel: there the steps of a long chunk are taken together, each doubling joining spans twice as long
(Hillis & Steele 1986), in log2(l) kernels over all of it.
"""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffsynth.models.parts.precision import full_precision

# Steps worked on at a time: few enough to stay in the cache, many enough to hide the cost of a call.
CHUNK = 16
# At once where steps are joined by doubling: as many as a sequence of the training has.
SPAN = 256


def selective_scan(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
    doubling: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the recurrence over a sequence.

    With gradients enabled it is a function with a backward pass of its own, which keeps only the
    state before every chunk and recomputes the rest. Without, on a CPU, it is a plain loop, which
    `torch.onnx.export` can follow.

    Args:
        u: Input [b, l, d].
        dt: Step sizes, positive [b, l, d].
        A: Negative real diagonal [d, n].
        B: Input weights [b, l, n].
        C: Output weights [b, l, n].
        state: h before the first step [b, d, n].
        doubling: how steps are taken, see above; None: as suits the device.

    Returns:
        y [b, l, d] and the state after the last step [b, d, n].
    """
    if doubling is None:
        doubling = u.device.type != "cpu"
    if not doubling and not torch.is_grad_enabled():
        return _scan(u, dt, A, B, C, state)
    scan = partial(_SelectiveScan.apply, doubling)
    y, state = full_precision(scan, u, dt, A, B, C, state)
    return y, state


def selective_scan_reference(
    u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The same as `selective_scan`, one step after the other in plain autograd, slowly."""
    ys = []
    for u_t, dt_t, B_t, C_t in zip(u.unbind(1), dt.unbind(1), B.unbind(1), C.unbind(1), strict=True):
        state = torch.exp(dt_t[..., None] * A) * state + (dt_t * u_t)[..., None] * B_t[:, None]
        ys.append((state * C_t[:, None]).sum(-1))
    return torch.stack(ys, 1), state


def _scan(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The scan without gradients, in chunks of [b, l, n, d]: d is innermost, so that loops are long."""
    At, state = A.t().contiguous(), state.transpose(1, 2)
    ys = []
    for dt_c, x_c, B_c, C_c in zip(*(z.split(CHUNK, 1) for z in (dt, dt * u, B, C)), strict=True):
        a, x = torch.exp(dt_c.unsqueeze(2) * At), x_c.unsqueeze(2) * B_c.unsqueeze(3)
        states = []
        for a_t, x_t in zip(a.unbind(1), x.unbind(1), strict=True):
            state = torch.addcmul(x_t, a_t, state)
            states.append(state)
        ys.append(torch.matmul(C_c.unsqueeze(2), torch.stack(states, 1)).squeeze(2))
    return torch.cat(ys, 1), state.transpose(1, 2)


class _SelectiveScan(torch.autograd.Function):
    """`selective_scan` under autograd; inside, all is time-major: [l, b, d], [l, b, n], [l, b, n, d]."""

    @staticmethod
    def forward(
        ctx: Any, doubling: bool, u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        u, dt, B, C = _swap(u, dt, B, C)
        At, h = A.t().contiguous(), state.transpose(1, 2).contiguous()
        x = dt * u
        size = SPAN if doubling else CHUNK
        work = _workspace(2, size, x, B)
        ys, starts = [], []
        for dt_c, x_c, B_c, C_c in zip(*(z.split(size) for z in (dt, x, B, C)), strict=True):
            starts.append(h)
            _, states = _advance(dt_c, x_c, At, B_c, h, work, doubling)
            ys.append(torch.matmul(C_c[:, :, None], states)[:, :, 0])
            h = states[-1].clone()
        ctx.save_for_backward(u, dt, x, At, B, C, *starts)
        ctx.doubling = doubling
        return torch.cat(ys).transpose(0, 1), h.transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, dstate: Tensor) -> tuple[Tensor | None, ...]:
        u, dt, x, At, B, C, *starts = ctx.saved_tensors
        (dy,) = _swap(dy)
        size = SPAN if ctx.doubling else CHUNK
        work = _workspace(3, size, x, B)
        carry = dstate.transpose(1, 2).contiguous()
        dA = torch.zeros_like(At)
        chunks = list(zip(*(z.split(size) for z in (dt, x, B, C, dy)), starts, strict=True))
        parts = []
        for dt_c, x_c, B_c, C_c, dy_c, start in reversed(chunks):
            a, h = _advance(dt_c, x_c, At, B_c, start, work, ctx.doubling)
            dC = torch.mul(h, dy_c[:, :, None], out=work[2][: len(h)]).sum(-1)
            g, carry = _retreat(a, dy_c, C_c, carry, work[2], ctx.doubling)
            dx = torch.matmul(B_c[:, :, None], g)[:, :, 0]
            a[0].mul_(start)
            a[1:].mul_(h[:-1])
            a.mul_(g)  # now the gradient of the exponent dt A
            dB = g.mul_(x_c[:, :, None]).sum(-1)
            dA += torch.mul(a, dt_c[:, :, None], out=h).flatten(0, 1).sum(0)
            parts.append((dx, a.mul_(At).sum(2), dB, dC))
        dx, ddt, dB, dC = (torch.cat(part[::-1]) for part in zip(*parts, strict=True))
        ddt.addcmul_(dx, u)
        du, ddt, dB, dC = (z.transpose(0, 1) for z in (dx.mul_(dt), ddt, dB, dC))
        return None, du, ddt, dA.t().contiguous(), dB, dC, carry.transpose(1, 2)


def _swap(*tensors: Tensor) -> list[Tensor]:
    return [tensor.transpose(0, 1).contiguous() for tensor in tensors]


def _workspace(count: int, size: int, x: Tensor, B: Tensor) -> list[Tensor]:
    """Tensors for one chunk, to be used for all: fresh pages cost more than what is done on them."""
    steps, b, d = x.shape
    return [x.new_empty(min(steps, size), b, B.shape[-1], d) for _ in range(count)]


def _advance(
    dt: Tensor, x: Tensor, At: Tensor, B: Tensor, state: Tensor, work: list[Tensor], doubling: bool
) -> tuple[Tensor, Tensor]:
    """exp(dt A) and the states of a chunk, in the first two tensors of `work`."""
    a, h = (z[: len(x)] for z in work[:2])
    # exp2 takes half the time of exp on a CPU.
    torch.mul(dt[:, :, None], At * math.log2(math.e), out=a).exp2_()
    torch.mul(x[:, :, None], B[..., None], out=h)
    if doubling:
        h[0].addcmul_(a[0], state)
        _join(a, h)
        return a, h
    for a_t, h_t in zip(a.unbind(0), h.unbind(0), strict=True):
        state = h_t.addcmul_(a_t, state)
    return a, h


def _retreat(
    a: Tensor, dy: Tensor, C: Tensor, carry: Tensor, work: Tensor, doubling: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of a chunk's states, in `work`, and that of the state before it."""
    g = torch.mul(dy[:, :, None], C[..., None], out=work[: len(a)])
    if doubling:
        g[-1].add_(carry)
        # Backwards: g[t] takes up a[t + 1] g[t + 1].
        g.copy_(_join(torch.cat([a[:1], a[1:].flip(0)]), g.flip(0)).flip(0))
        return g, a[0] * g[0]
    for a_t, g_t in zip(reversed(a.unbind(0)), reversed(g.unbind(0)), strict=True):
        carry = torch.mul(a_t, g_t.add_(carry))
    return g, carry


def _join(a: Tensor, h: Tensor) -> Tensor:
    """Solve g[t] = h[t] + a[t] g[t - 1] for all steps, in the place of h; a[0] does not count."""
    span = 1
    while span < len(h):
        h[span:] += a[span:] * h[:-span]
        # Of spans that reach the beginning nothing more is asked.
        a = torch.cat([a[:span], a[span:] * a[:-span]])
        span *= 2
    return h
