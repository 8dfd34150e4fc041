"""A build context: Dockerfile, our wheel, pinned requirements and the bundle.

The image serves on port 8080 as a user without rights, on a read-only root, without torch.
``docker run IMAGE serve`` starts it, too, as SageMaker does; Vertex AI's variables choose the port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from exporter.packaging.kubernetes import BUNDLE_PATH, PORT
from exporter.packaging.names import kubernetes_name
from exporter.packaging.wheel import build_wheel, pinned_requirements
from runtime.bundle.manifest import MANIFEST, SIGNATURE

if TYPE_CHECKING:
    from exporter.packaging.options import PackageOptions
    from runtime.bundle.reading import BundleFiles

BASE_IMAGE: Final = "python:3.11.13-slim-bookworm"
USER: Final = 65532  # "nonroot" of distroless images
_EXTRAS: Final = ("cpu", "serve")
_DOCKERFILE: Final = """\
ARG BASE={base}

FROM ${{BASE}} AS build
COPY requirements.txt {wheel} /build/
RUN python -m venv --without-pip /opt/onnxferry \\
 && python -m pip --python /opt/onnxferry/bin/python install --no-cache-dir \\
      --requirement /build/requirements.txt \\
 && python -m pip --python /opt/onnxferry/bin/python install --no-cache-dir --no-deps \\
      /build/{wheel}
COPY bundle {bundle}
RUN chmod -R a+rX {bundle}

FROM ${{BASE}}
COPY --from=build /opt/onnxferry /opt/onnxferry
COPY --from=build {bundle} {bundle}
ENV PATH=/opt/onnxferry/bin:$PATH \\
    PYTHONDONTWRITEBYTECODE=1 \\
    ONNXFERRY_BUNDLE={bundle} \\
    ONNXFERRY_HOST=0.0.0.0 \\
    ONNXFERRY_PORT={port}
USER {user}:{user}
RUN ["runtime", "verify"]
EXPOSE {port}
LABEL org.opencontainers.image.title="{name}" \\
      org.opencontainers.image.version="{version}" \\
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true"
ENTRYPOINT ["runtime"]
CMD ["serve"]
"""


def image_files(bundle: BundleFiles, _options: PackageOptions) -> dict[str, bytes]:
    """Write the context from which an image is built."""
    model = bundle.manifest.model
    wheel, content = build_wheel()
    dockerfile = _DOCKERFILE.format(
        base=BASE_IMAGE,
        wheel=wheel,
        bundle=BUNDLE_PATH,
        port=PORT,
        user=USER,
        name=kubernetes_name(model.name),
        version=model.version,
    )
    return {
        "Dockerfile": dockerfile.encode(),
        ".dockerignore": f"*\n!bundle\n!requirements.txt\n!{wheel}\n".encode(),
        "requirements.txt": pinned_requirements(extras_for(bundle, *_EXTRAS)),
        wheel: content,
        **{f"bundle/{name}": content for name, content in bundle_files(bundle).items()},
    }


def bundle_files(bundle: BundleFiles) -> dict[str, bytes]:
    """Return the files of a bundle as they were read, its signature among them."""
    signature = {} if bundle.signature is None else {SIGNATURE: bundle.signature}
    return {**bundle.files, MANIFEST: bundle.content, **signature}


def extras_for(bundle: BundleFiles, *extras: str) -> tuple[str, ...]:
    """Return the extras that a package needs: a signed bundle adds that which verifies it."""
    return extras if bundle.signature is None else (*extras, "sign")
