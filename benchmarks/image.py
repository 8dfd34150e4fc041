"""The image of ``exporter package --to image``, built by buildah and run as users without rights.

Needs root, Debian's buildah and mmdebstrap, and pip's registry; minutes. The base is a Debian of
today, since no registry of images is needed then.

python benchmarks/image.py [--bundle DIR] [--write]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import measure

from exporter.packaging.package import package_bundle

TOOLS = ("buildah", "mmdebstrap")
PACKAGES = "python3-venv,python3-pip,python-is-python3,ca-certificates"
# What pip reads on this machine, so that the build finds the same registry.
MOUNTED = (Path("/etc/pip.conf"), Path("/etc/ssl/certs"), Path.home() / ".config" / "pip")
ASK = """
import json, time, urllib.request
body = json.dumps({"price": 7.5, "rating": 3.0}).encode()
for _ in range(120):
    try:
        answer = urllib.request.urlopen("http://127.0.0.1:8080/predict", body).read()
        break
    except OSError:
        time.sleep(0.5)
print(answer.decode())
"""
SERVE = f"""runtime serve 2>/dev/null &
python -c '{ASK}'
kill $!; wait $!; echo "exit code $?"
touch /bundle/x 2>&1 | grep -c denied; python -c 'import torch' 2>&1 | tail -n 1"""


def run(*words: str | Path) -> str:
    """Run a command; what it prints."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{words}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def expect(text: str, *words: str | Path) -> str:
    """Run a command that prints a text; on a busy machine buildah loses output: then again."""
    for _ in range(3):
        if text in (printed := run(*words)):
            return printed
    raise SystemExit(f"{words} did not print {text!r}:\n{printed}")


def build(bundle: Path, folder: Path) -> str:
    """Build a base from Debian's packages and the image upon it; the image's name."""
    run("mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", folder / "base.tar")
    base = run("buildah", "from", "scratch")
    run("buildah", "add", "-q", base, folder / "base.tar", "/")
    run("buildah", "config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", base)
    run("buildah", "commit", "-q", base, "localhost/base")
    run("buildah", "rm", base)
    context = package_bundle(bundle, "image", folder / "context").path
    mounted = [part for path in MOUNTED if path.exists() for part in ("-v", f"{path}:{path}:ro")]
    argument = ("--build-arg", "BASE=localhost/base")
    run("buildah", "bud", *mounted, *argument, "--tag", "localhost/packaged", context)
    return "localhost/packaged"


def main() -> None:
    """Build, verify, serve, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("artifacts/bundle"))
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    if missing := [name for name in TOOLS if shutil.which(name) is None]:
        print(f"skipped: {' and '.join(missing)} of Debian are not installed")
        return
    os.environ |= {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
    with tempfile.TemporaryDirectory() as folder:
        image = build(args.bundle, Path(folder))
        images = run("buildah", "images")
        sizes = dict(re.findall(r"^localhost/(\w+) .* (\d+ MB)$", images, re.MULTILINE))
        container = run("buildah", "from", image)
        lines = [f"base {sizes['base']}, image {sizes['packaged']}", ""]
        for user in ("65532:65532", "123456:0"):
            as_user = ("buildah", "run", "--user", user, container, "--")
            lines += [
                f"As {user}:",
                "",
                "```",
                expect(" verified; ", *as_user, "runtime", "verify"),
            ]
            lines += [expect('"label"', *as_user, "sh", "-c", SERVE), "```", ""]
        run("buildah", "rm", container)
    measure.report(
        "image",
        "The image, built by buildah and run as users without rights",
        "\n".join(lines).rstrip(),
        ("onnxferry",),
        note="Each user verifies the bundle and serves it; a write to it is refused (1), "
        "torch is absent.",
        write=args.write,
    )


if __name__ == "__main__":
    main()
