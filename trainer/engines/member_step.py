"""A step of an ensemble's members, in the same ATen calls that autograd makes, on buffers.

    forward     addmm for all members at once, relu, baddbmm, ..., baddbmm, log_softmax, nll_loss2d
    backward    nll_loss2d_backward, log_softmax_backward; then for each layer from the last:
                bmm and sum (its weight and bias), bmm and threshold_backward (the layer before)

The batch is the last dimension, so that log_softmax of few classes is vectorised. As in
``trainer.engines.step``, whose updates it uses, the functions are in TorchScript's subset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainer.engines.step import update_adamw, update_sgd

if TYPE_CHECKING:
    from torch import Tensor


def run_member_steps(
    rows: list[Tensor],
    first: list[Tensor],
    layers: list[list[Tensor]],
    loss_buffers: list[Tensor],
    state: list[Tensor],
    settings: list[float],
) -> None:
    """Run a step for each whole batch in ``rows``.

    Args:
        rows: features ``(rows, n_features)``, targets and shares of ``Membership``, ``(steps,
            members, batch, 1)`` each, and losses ``(steps,)``, which are written.
        first: of the first layer, with the members' units below each other, the weight
            ``(units, n_features)``, the bias ``(units, 1)``, the gradients of both, and for a
            batch its output and the loss's gradient by it, ``(units, batch)``.
        layers: of each layer the weight ``(members, outputs, inputs)``, its transpose, the bias
            ``(members, outputs, 1)``, the gradients of weight and bias, and for a batch the
            output ``(members, outputs, batch)``, its transpose and the loss's gradient by it;
            those of the first layer share the memory of ``first``.
        loss_buffers: for a batch its log-probabilities and the loss's gradient by them, ``(members,
            classes, batch)``; both once more with a last dimension of 1; the losses of its rows,
            ``(members, batch, 1)``; an unused number, ``()``; and an aligned buffer for features,
            ``(batch, n_features)``, or ``(0, n_features)`` for none.
        state: as in ``run_steps``.
        settings: likewise.
    """
    features, targets, shares, losses = rows
    size = targets.size(2)
    for step in range(losses.size(0)):
        batch = features.narrow(0, step * size, size)  # (size, n_features)
        if loss_buffers[6].size(0) > 0:
            batch = loss_buffers[6].copy_(batch)
        compute_member_gradients(
            [batch, targets.select(0, step), shares.select(0, step), losses.select(0, step)],
            first,
            layers,
            loss_buffers,
        )
        if len(state) == 2:  # noqa: PLR2004 - parameters and gradients alone
            update_sgd(state, settings[2 + step], settings[0])
        else:
            update_adamw(state, settings[2 + step], settings[0], settings[1] + step + 1)


def compute_member_gradients(
    batch: list[Tensor],
    first: list[Tensor],
    layers: list[list[Tensor]],
    loss_buffers: list[Tensor],
) -> None:
    """Compute the sum of the members' losses and the gradients of all parameters.

    ``batch`` is features ``(size, n_features)``, targets and shares ``(members, size, 1)`` and the
    loss ``()``, which is written; see ``run_member_steps`` for the others.
    """
    features, targets, shares, loss = batch
    log_probs, log_prob_grads, log_probs_4d, log_prob_grads_4d, row_losses, unused, _ = loss_buffers
    weight, bias, weight_gradient, bias_gradient, out, delta = first
    last = len(layers) - 1
    torch.addmm(bias, weight, features.t(), out=out)
    for k in range(1, last + 1):
        torch.relu_(layers[k - 1][5])
        torch.baddbmm(layers[k][2], layers[k][0], layers[k - 1][5], out=layers[k][5])
    torch._log_softmax(layers[last][5], 1, False, out=log_probs)  # noqa: SLF001 - the call that autograd makes
    torch.ops.aten.nll_loss2d_forward(
        log_probs_4d, targets, None, 0, -100, output=row_losses, total_weight=unused
    )
    torch.dot(row_losses.view(-1), shares.view(-1), out=loss)
    torch.ops.aten.nll_loss2d_backward(
        shares, log_probs_4d, targets, None, 0, -100, unused, grad_input=log_prob_grads_4d
    )
    torch._log_softmax_backward_data(  # noqa: SLF001 - likewise
        log_prob_grads, log_probs, 1, log_probs.dtype, out=layers[last][7]
    )
    for k in range(last, 0, -1):
        torch.bmm(layers[k][7], layers[k - 1][6], out=layers[k][3])
        torch.sum(layers[k][7], [2], True, out=layers[k][4])
        torch.bmm(layers[k][1], layers[k][7], out=layers[k - 1][7])
        torch.ops.aten.threshold_backward(
            layers[k - 1][7], layers[k - 1][5], 0, grad_input=layers[k - 1][7]
        )
    torch.mm(delta, features, out=weight_gradient)
    torch.sum(delta, [1], True, out=bias_gradient)
