"""A build context: Dockerfile, our wheel, pinned requirements and the bundle.

The image serves on port 8080 as a user without rights, on a read-only root, without torch.
``docker run IMAGE serve`` starts it, too, as SageMaker does; Vertex AI's variables choose the port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from exporter.packaging.keys import KEY_FILE, KEY_FOLDER
from exporter.packaging.kubernetes import BUNDLE_PATH, PORT
from exporter.packaging.names import kubernetes_name
from exporter.packaging.wheel import build_wheel, pinned_requirements
from runtime.bundle.manifest import MANIFEST, SIGNATURE
from runtime.bundle.reading import read_unlisted

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
{copy_key}RUN chmod -R a+rX {bundle}{key_folder}

FROM ${{BASE}}
COPY --from=build /opt/onnxferry /opt/onnxferry
COPY --from=build {bundle} {bundle}
{take_key}ENV PATH=/opt/onnxferry/bin:$PATH \\
    PYTHONDONTWRITEBYTECODE=1 \\
    ONNXFERRY_BUNDLE={bundle} \\
    ONNXFERRY_HOST=0.0.0.0 \\
    ONNXFERRY_PORT={port}{set_key}
USER {user}:{user}
RUN ["runtime", "verify"]
EXPOSE {port}
LABEL org.opencontainers.image.title="{name}" \\
      org.opencontainers.image.version="{version}" \\
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true"
ENTRYPOINT ["runtime"]
CMD ["serve"]
"""


# Where a key is demanded, by its default, of every bundle that the image opens.
_KEY_LINES: Final = {
    "copy_key": f"COPY {KEY_FILE} {KEY_FOLDER}/\n",
    "key_folder": f" {KEY_FOLDER}",
    "take_key": f"COPY --from=build {KEY_FOLDER} {KEY_FOLDER}\n",
    "set_key": f" \\\n    ONNXFERRY_KEY={KEY_FOLDER}/{KEY_FILE}",
}


def image_files(bundle: BundleFiles, _options: PackageOptions) -> dict[str, bytes]:
    """Write the context from which an image is built."""
    model = bundle.manifest.model
    wheel, content = build_wheel()
    key = {} if bundle.signer is None else {KEY_FILE: bundle.signer.pem}
    dockerfile = _DOCKERFILE.format(
        base=BASE_IMAGE,
        wheel=wheel,
        bundle=BUNDLE_PATH,
        port=PORT,
        user=USER,
        name=kubernetes_name(model.name),
        version=model.version,
        **{name: line if key else "" for name, line in _KEY_LINES.items()},
    )
    return {
        "Dockerfile": dockerfile.encode(),
        ".dockerignore": "\n!".join(["*", "bundle", "requirements.txt", wheel, *key]).encode()
        + b"\n",
        "requirements.txt": pinned_requirements(extras_for(bundle, *_EXTRAS)),
        wheel: content,
        **key,
        **{f"bundle/{name}": content for name, content in bundle_files(bundle).items()},
    }


def bundle_files(bundle: BundleFiles) -> dict[str, bytes]:
    """Return the files of a bundle as they were read; of a signed one, all that is signed.

    Raises ``ArtifactError`` when a file that is not in the manifest has changed since.
    """
    files = {**bundle.files, MANIFEST: bundle.content}
    if bundle.signature is None:
        return files
    return {**files, **read_unlisted(bundle), SIGNATURE: bundle.signature}


def extras_for(bundle: BundleFiles, *extras: str) -> tuple[str, ...]:
    """Return the extras that a package needs: a signed bundle adds that which verifies it."""
    return extras if bundle.signature is None else (*extras, "sign")
