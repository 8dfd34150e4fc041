"""A step of gradient descent in the same ATen calls that autograd makes, on buffers.

    forward     addmm, relu, ..., addmm, log_softmax, nll_loss
    backward    nll_loss_backward, log_softmax_backward; then for each layer from the last:
                mm and sum (its weight and bias), mm and threshold_backward (the layer before)
    update      as torch.optim.SGD and AdamW do it, once for all parameters, which lie in one vector

Same calls, same operands, same order: the same bits, without autograd's graph and allocations.
The functions use only the subset of Python that TorchScript compiles
(``trainer.engines.torchscript``): no globals, and no other types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def run_steps(
    rows: list[Tensor],
    layers: list[list[Tensor]],
    loss_buffers: list[Tensor],
    class_weights: Tensor | None,
    state: list[Tensor],
    settings: list[float],
) -> None:
    """Run a step for each whole batch in ``rows``.

    Args:
        rows: features ``(rows, n_features)``, labels ``(rows,)`` int64, losses ``(steps,)``,
            which are written.
        layers: of each layer the weight, its transpose, the bias, the gradients of weight and
            bias, and for a batch the layer's output, the loss's gradient by it and its transpose.
        loss_buffers: for a batch its log-probabilities and the loss's gradient by them,
            ``(batch, classes)``; the sum of its weights and the number one, ``()``; and an aligned
            buffer for its features, ``(batch, n_features)``, or ``(0, n_features)`` for none.
        class_weights: ``(classes,)`` or None.
        state: all parameters and all their gradients; for AdamW also both moments and a scratch
            vector, ``(parameters,)`` each.
        settings: weight decay, number of completed steps, then the learning rate of each step.
    """
    features, labels, losses = rows
    size = loss_buffers[0].size(0)
    for step in range(losses.size(0)):
        batch = features.narrow(0, step * size, size)  # (size, n_features)
        if loss_buffers[4].size(0) > 0:
            batch = loss_buffers[4].copy_(batch)
        targets = labels.narrow(0, step * size, size)  # (size,)
        compute_gradients(
            [batch, targets, losses.select(0, step)], layers, loss_buffers, class_weights
        )
        if len(state) == 2:  # noqa: PLR2004 - parameters and gradients alone
            update_sgd(state, settings[2 + step], settings[0])
        else:
            update_adamw(state, settings[2 + step], settings[0], settings[1] + step + 1)


def compute_gradients(
    batch: list[Tensor],
    layers: list[list[Tensor]],
    loss_buffers: list[Tensor],
    class_weights: Tensor | None,
) -> None:
    """Compute the loss of a batch and the gradients of all parameters.

    ``batch`` is features ``(size, n_features)``, labels ``(size,)`` and the loss ``()``, which is
    written; see ``run_steps`` for the others.
    """
    features, labels, loss = batch
    log_probs, log_prob_grads, weight_sum, one, _ = loss_buffers
    last = len(layers) - 1
    inputs = features
    for k in range(last + 1):
        _, weight_t, bias, _, _, out, _, _ = layers[k]
        torch.addmm(bias, inputs, weight_t, out=out)
        if k < last:
            torch.relu_(out)
        inputs = out
    torch._log_softmax(inputs, 1, False, out=log_probs)  # noqa: SLF001 - the call that autograd makes
    torch.ops.aten.nll_loss_forward(
        log_probs, labels, class_weights, 1, -100, output=loss, total_weight=weight_sum
    )
    torch.ops.aten.nll_loss_backward(
        one, log_probs, labels, class_weights, 1, -100, weight_sum, grad_input=log_prob_grads
    )
    torch._log_softmax_backward_data(  # noqa: SLF001 - likewise
        log_prob_grads, log_probs, 1, log_probs.dtype, out=layers[last][6]
    )
    for k in range(last, -1, -1):
        weight, weight_t, _, weight_gradient, bias_gradient, _, delta, delta_t = layers[k]
        inputs = layers[k - 1][5] if k > 0 else features
        torch.mm(delta_t, inputs, out=weight_gradient)
        torch.sum(delta, [0], out=bias_gradient)
        if k > 0:
            input_delta = layers[k - 1][6]
            if inputs.numel() == 1:  # one row of one number: autograd treats it as a column
                torch.mm(weight_t, delta_t, out=input_delta)
            else:
                torch.mm(delta, weight, out=input_delta)
            torch.ops.aten.threshold_backward(input_delta, inputs, 0, grad_input=input_delta)


def update_sgd(state: list[Tensor], learning_rate: float, weight_decay: float) -> None:
    """Update the parameters as ``torch.optim.SGD`` without momentum does.

    ``state`` is parameters and gradients, ``(parameters,)`` each.
    """
    parameters, gradients = state
    if weight_decay != 0.0:
        gradients.add_(parameters, alpha=weight_decay)
    parameters.add_(gradients, alpha=-learning_rate)


def update_adamw(
    state: list[Tensor], learning_rate: float, weight_decay: float, step: float
) -> None:
    """Update the parameters by AdamW with torch's defaults: betas 0.9 and 0.999, epsilon 1e-8.

    Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019), algorithm 2; the order
    of operations is that of ``torch.optim.AdamW`` for one tensor. ``state`` is parameters,
    gradients, both moments and a scratch vector, ``(parameters,)`` each; ``step`` counts from 1.
    """
    parameters, gradients, first, second, scratch = state
    if weight_decay != 0.0:
        parameters.mul_(1.0 - learning_rate * weight_decay)
    first.lerp_(gradients, 1.0 - 0.9)
    second.mul_(0.999).addcmul_(gradients, gradients, value=1.0 - 0.999)
    torch.sqrt(second, out=scratch)
    scratch.div_((1.0 - 0.999**step) ** 0.5).add_(1e-8)
    parameters.addcdiv_(first, scratch, value=-learning_rate / (1.0 - 0.9**step))
