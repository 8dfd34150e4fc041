"""The model files of a bundle: made from a run, and proven.

In: a run, or layers and the files' content. Out: the files, or the report of their proof. A file
that breaks the model contract is a ``ParityError``, one that cannot be loaded an
``ArtifactError``.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.failure.explain import explain
from exporter.formats.deployed import Deployed
from exporter.formats.onnx_model import write_onnx
from exporter.formats.program import capture_program, write_program
from exporter.formats.torchscript import write_torchscript
from exporter.proof import contenders
from exporter.proof.parity import prove
from exporter.truth.layers import model_of
from exporter.truth.oracle import ask_oracle
from runtime.manifest import ONNX_MODEL, PROGRAM_MODEL, TORCHSCRIPT_MODEL
from trainer.device import reproducible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.proof.matrix import Watch
    from exporter.proof.parity import Report
    from exporter.rows.blocks import ProofRows
    from exporter.rows.plan import Plan
    from exporter.truth.layer import Layer
    from trainer.run import Run


@dataclass(frozen=True)
class ModelFiles:
    """The model files' content.

    Attributes:
        onnx: of ``model.onnx``.
        torchscript: of ``model.torchscript.pt``.
        program: of ``model.pt2``.
    """

    onnx: bytes
    torchscript: bytes
    program: bytes

    def write(self, folder: Path) -> None:
        """Write the files into a folder."""
        (folder / ONNX_MODEL).write_bytes(self.onnx)
        (folder / TORCHSCRIPT_MODEL).write_bytes(self.torchscript)
        (folder / PROGRAM_MODEL).write_bytes(self.program)

    @classmethod
    def read(cls, folder: Path) -> ModelFiles:
        """Read the files from a folder."""
        return cls(
            onnx=(folder / ONNX_MODEL).read_bytes(),
            torchscript=(folder / TORCHSCRIPT_MODEL).read_bytes(),
            program=(folder / PROGRAM_MODEL).read_bytes(),
        )


def convert_run(run: Run) -> ModelFiles:
    """Write a run's model in every form; nothing is proven yet."""
    # A copy without gradients: what is served should not record how to differentiate it.
    deployed = Deployed(copy.deepcopy(run.model)).eval().requires_grad_(requires_grad=False)
    program = capture_program(deployed, run.record.schema)
    return ModelFiles(
        onnx=write_onnx(program, run.record.schema, name=run.record.model),
        torchscript=write_torchscript(deployed, run.record.schema),
        program=write_program(program),
    )


def prove_files(
    files: ModelFiles,
    layers: Sequence[Layer],
    rows: ProofRows,
    *,
    plan: Plan,
    watch: Watch | None = None,
    where: Path = Path(),
) -> Report:
    """Run PyTorch, numpy and every file, ONNX in every setting of this machine.

    Args:
        files: to prove.
        layers: of the model that they must compute.
        rows: to run.
        plan: which batch sizes run how many of them.
        watch: told after every step.
        where: the bundle's folder, for messages.

    Returns:
        The report.

    Raises:
        ArtifactError: when a file cannot be loaded.
        UnavailableError: when onnxruntime is missing or a provider does not really run.
        ParityError: when nothing can be proven of the model.
        UsageError: when the plan asks for a contender or row that is not there.
    """
    matrix = [
        contenders.eager(model_of(layers)),
        contenders.torchscript(files.torchscript, where=str(where / TORCHSCRIPT_MODEL)),
        contenders.program(files.program, where=str(where / PROGRAM_MODEL)),
        contenders.numpy(layers),
        *contenders.onnx_everywhere(files.onnx, where=str(where / ONNX_MODEL)),
    ]
    chosen = contenders.choose(matrix, plan.contender)
    with reproducible("cpu"):  # a second thread helps no batch here and can cost a hundredfold
        report = prove(chosen, rows, partial(ask_oracle, layers), plan=plan, watch=watch)
        return explain(report, chosen, layers, rows, plan)
