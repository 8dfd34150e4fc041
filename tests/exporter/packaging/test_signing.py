"""Signatures by our command and by the format's own tool, each verified by the other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from signers import SIGNATURE, Signer

from exporter.packaging.mlflow_pyfunc import _load_pyfunc
from exporter.packaging.package import next_step, package_bundle
from exporter.signing import sign_bundle
from runtime.bundle.reading import read_bundle
from runtime.errors import ArtifactError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exporter.packaging.kinds import Kind

CURVES = [ec.SECP256R1(), ec.SECP521R1()]


@pytest.fixture
def bundle(sales: Path, tmp_path: Path) -> Path:
    """A bundle to sign."""
    return Path(shutil.copytree(sales, tmp_path / "bundle"))


@pytest.fixture(params=CURVES, ids=[curve.name for curve in CURVES])
def signer(request: pytest.FixtureRequest, tmp_path: Path) -> Signer:
    """The owner of a key on the smallest and the largest curve."""
    return Signer(tmp_path / "keys", request.param)


def test_the_same_bundle_and_key_give_the_same_signature(
    bundle: Path, signer: Signer, sales: Path
) -> None:
    """Nothing else in the bundle changes, and signing again changes nothing."""
    made = sign_bundle(bundle, signer.private)
    content = made.signature.read_bytes()
    assert made.signature == bundle / SIGNATURE
    assert set(made.files) == {path.name for path in sales.iterdir()}
    again = sign_bundle(bundle, signer.private)
    assert again.signature.read_bytes() == content
    assert {path.name for path in bundle.iterdir()} == {*made.files, SIGNATURE}
    for name in made.files:
        assert (bundle / name).read_bytes() == (sales / name).read_bytes()
    assert read_bundle(bundle, signer.public).signature == content


def _tool(program: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False)


def test_model_signing_verifies_what_we_sign_and_we_what_it_signs(
    bundle: Path, signer: Signer, tool: Callable[[str], Path]
) -> None:
    """The format's own tool accepts our signature and refuses a change; we do both of its."""
    program, where = tool("model_signing"), bundle / SIGNATURE
    verify = ("verify", "key", bundle, "--signature", where, "--public_key", signer.public)
    (bundle / "README.md").write_text("a model card")
    assert sign_bundle(bundle, signer.private).unlisted == ("README.md",)
    done = _tool(program, *verify)
    assert done.returncode == 0, done.stderr
    (bundle / "README.md").write_text("another")
    assert _tool(program, *verify).returncode != 0
    with pytest.raises(ArtifactError, match=r"changed 'README\.md'"):
        read_bundle(bundle, signer.public)
    where.unlink()
    sign = ("sign", "key", bundle, "--signature", where, "--private_key", signer.private)
    done = _tool(program, *sign)
    assert done.returncode == 0, done.stderr
    assert read_bundle(bundle, signer.public).signature_state == "verified"
    (bundle / "added").touch()
    with pytest.raises(ArtifactError, match="added 'added'"):
        read_bundle(bundle, signer.public)


def test_a_passphrase_comes_from_a_file_the_environment_or_a_prompt(
    bundle: Path, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """Never from an argument; without one, or with a wrong one, exit 2 and one line."""
    signer = Signer(tmp_path / "keys")
    signer.write_private(BestAvailableEncryption(b"correct horse"))
    word = tmp_path / "passphrase"
    word.write_text("correct horse\n")
    command = [sys.executable, "-m", "exporter", "sign", str(bundle), "--key", str(signer.private)]

    def sign(*more: str, said: str, given: str = "") -> int:
        (bundle / SIGNATURE).unlink(missing_ok=True)
        done = subprocess.run(
            [*command, *more],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**environment, "ONNXFERRY_KEY_PASSPHRASE": given},
            check=False,
        )
        assert said in done.stderr
        assert (bundle / SIGNATURE).exists() == (not done.returncode)
        return done.returncode

    assert sign(said="7 files signed on P-256", given="correct horse") == 0
    assert sign("--passphrase-file", str(word), said="7 files signed") == 0
    assert sign(said="is encrypted: give --passphrase-file") == 2
    assert sign(said="is not opened by this", given="wrong") == 2
    assert _type(command, b"correct horse\n", environment) == 0
    assert read_bundle(bundle, signer.public).signature_state == "verified"


_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


def _type(command: list[str], answer: bytes, environment: Mapping[str, str]) -> int:
    """Run a command on a terminal and answer its question, which is not echoed."""
    with subprocess.Popen(
        [sys.executable, "-c", _TERMINAL, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        bufsize=0,
    ) as process:
        assert process.stdin
        assert process.stdout
        shown = b""
        while b"passphrase of" not in shown:
            more = process.stdout.read(1000)
            assert more, shown
            shown += more
        process.stdin.write(answer)
        while more := process.stdout.read(1000):
            shown += more
        process.stdin.close()
    assert answer.strip() not in shown
    return process.returncode


KEYS: list[Any] = [
    pytest.param(lambda signer: signer.public, "has no private key in PEM", id="public"),
    pytest.param(lambda signer: signer.private.with_name("x"), "cannot read", id="missing"),
    pytest.param(lambda _: Path("/dev/null"), "has no private key in PEM", id="empty"),
]


@pytest.mark.parametrize(("choose", "said"), KEYS)
def test_a_file_without_a_private_key_is_refused(
    bundle: Path, tmp_path: Path, choose: Callable[[Signer], Path], said: str
) -> None:
    """The message says how to make one; nothing is written."""
    with pytest.raises(UsageError, match=said):
        sign_bundle(bundle, choose(Signer(tmp_path / "keys")))
    assert not (bundle / SIGNATURE).exists()


def test_a_name_that_a_signature_cannot_hold_is_refused(bundle: Path, tmp_path: Path) -> None:
    """JSON is UTF-8, names of files may be any bytes."""
    (bundle / os.fsdecode(b"card\xff")).touch()
    with pytest.raises(ArtifactError, match=r"not UTF-8: 'card\\udcff'; rename or remove"):
        sign_bundle(bundle, Signer(tmp_path / "keys").private)
    assert not (bundle / SIGNATURE).exists()


def test_what_a_signature_does_not_state_is_not_packaged(bundle: Path, tmp_path: Path) -> None:
    """Without a key, too: a link in a bundle from elsewhere could bring along any file."""
    Signer(tmp_path / "keys").sign(bundle)
    (tmp_path / "secret").write_text("of this machine")
    (bundle / "card.md").symlink_to(tmp_path / "secret")
    with pytest.raises(ArtifactError, match=r"not what was signed: added 'card\.md'"):
        package_bundle(bundle, "oci", tmp_path / "out")
    (bundle / SIGNATURE).write_bytes(b"{}")
    with pytest.raises(ArtifactError, match="is no signature"):
        package_bundle(bundle, "oci", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_key_as_openssl_writes_it_signs(bundle: Path, tmp_path: Path) -> None:
    """With the parameters of its curve before it."""
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    make: list[str | Path] = [
        "openssl",
        "ecparam",
        "-name",
        "secp384r1",
        "-genkey",
        "-out",
        private,
    ]
    subprocess.run(make, check=True, capture_output=True)
    assert b"EC PARAMETERS" in private.read_bytes()
    show: list[str | Path] = ["openssl", "pkey", "-in", private, "-pubout", "-out", public]
    subprocess.run(show, check=True, capture_output=True)
    assert sign_bundle(bundle, private).curve == "P-384"
    assert read_bundle(bundle, public).signature_state == "verified"


def test_an_image_of_oci_has_the_signature(bundle: Path, tmp_path: Path) -> None:
    """The layer with the bundle, unpacked."""
    signer = Signer(tmp_path / "keys")
    sign_bundle(bundle, signer.private)
    made = package_bundle(bundle, "oci", tmp_path / "out", key=signer.public)
    (layer,) = (name for name in made.files if tarfile.is_tarfile(made.path / name))
    with tarfile.open(made.path / layer) as archive:
        archive.extractall(tmp_path / "image")  # noqa: S202 - our own
    assert read_bundle(tmp_path / "image" / "models", signer.public).signature_state == "verified"


@pytest.mark.parametrize(("kind", "folder"), [("image", "bundle"), ("mlflow", "bundle")])
def test_a_package_has_the_signature(bundle: Path, tmp_path: Path, kind: Kind, folder: str) -> None:
    """What a platform gets is verified with the same key; an altered bundle is not packaged."""
    signer = Signer(tmp_path / "keys")
    (bundle / "cards").mkdir()
    (bundle / "cards" / "card.md").write_text("signed, although the manifest does not list it")
    sign_bundle(bundle, signer.private)
    made = package_bundle(bundle, kind, tmp_path / "out", key=signer.public)
    assert read_bundle(made.path / folder, signer.public).signature_state == "verified"
    assert "cryptography==" in (made.path / "requirements.txt").read_text()
    (bundle / "added").touch()
    with pytest.raises(ArtifactError, match="added 'added'"):
        package_bundle(bundle, kind, tmp_path / "another", key=signer.public)


def test_an_mlflow_model_that_demands_a_key_is_loaded_with_one(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow passes it on, or the environment has it; without one it is refused, with the words."""
    signer, other = Signer(tmp_path / "keys"), Signer(tmp_path / "other")
    monkeypatch.delenv("ONNXFERRY_KEY", raising=False)
    signer.sign(bundle)
    made = package_bundle(bundle, "mlflow", tmp_path / "a", key=signer.public)
    demanding = made.path
    assert next_step(made, signer.public).startswith(f"ONNXFERRY_KEY={signer.public} mlflow ")
    with pytest.raises(UsageError, match=r'give model_config=\{"key": "FILE"\}, or set'):
        load(demanding)
    load(demanding, {"key": str(signer.public)})
    with pytest.raises(
        ArtifactError, match=r'signer\'s public key, model_config=\{"key": "FILE"\}'
    ):
        load(demanding, {"key": str(other.public)})
    monkeypatch.setenv("ONNXFERRY_KEY", str(signer.public))
    load(demanding)
    with pytest.raises(ArtifactError, match="made with another key"):
        load(demanding, {"key": str(other.public)})  # before the variable
    (demanding / "bundle" / SIGNATURE).unlink()
    with pytest.raises(ArtifactError, match="is not signed"):
        load(demanding)
    monkeypatch.delenv("ONNXFERRY_KEY")
    tolerant = package_bundle(bundle, "mlflow", tmp_path / "b").path
    load(tolerant)
    with pytest.raises(ArtifactError, match="made with another key"):
        load(tolerant, {"key": str(other.public)})


def load(model: Path, given: Mapping[str, str] | None = None) -> None:
    """Load a model as MLflow does: an entry that it is given must be in its configuration."""
    yaml = pytest.importorskip("yaml")
    (flavor,) = yaml.safe_load((model / "MLmodel").read_bytes())["flavors"].values()
    config = flavor["config"]
    assert set(given or ()) <= set(config)
    _load_pyfunc(str(model / flavor["data"]), config | dict(given or {}))
