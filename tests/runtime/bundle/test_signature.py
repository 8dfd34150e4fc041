from __future__ import annotations

import base64
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from mounts import config_map, snapshot, storage_initializer, switch_config_map
from signers import SIGNATURE, Signer, state, statement
from typer.testing import CliRunner

from runtime.bundle import reading, signature
from runtime.bundle.manifest import GOLDEN, MANIFEST, ONNX_MODEL
from runtime.bundle.reading import digest, read_bundle
from runtime.bundle.signature import verify_signature
from runtime.cli.app import app
from runtime.errors import ArtifactError, UnavailableError, UsageError
from runtime.io.paths import parse_location
from runtime.predictor import Predictor
from runtime.scorer.scorer import Scorer

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from s3_server import ObjectStore

    Change = Callable[[Path], object]
    Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """The owner of a key."""
    return Signer(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def signed(bundle_copy: Path, signer: Signer) -> Path:
    """A signed bundle to change."""
    signer.sign(bundle_copy)
    return bundle_copy


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a_signed_bundle_opens_with_its_key(
    bundle: Path, bundle_copy: Path, tmp_path: Path, curve: ec.EllipticCurve
) -> None:
    """Each curve of the format; version and digest are those of the unsigned bundle."""
    signer = Signer(tmp_path / "keys", curve)
    signer.sign(bundle_copy)
    predictor = Predictor(bundle_copy, provider="cpu", key=signer.public)
    assert predictor.signature == "verified"
    assert predictor.manifest == read_bundle(bundle).manifest
    assert Scorer(bundle_copy, key=signer.public).digest == Scorer(bundle).digest


def test_without_a_key_a_signature_is_reported_but_not_verified(
    bundle: Path, signed: Path, signer: Signer
) -> None:
    """Bundles work as before; who asks learns that there is a signature."""
    Signer(signed.parent / "other").sign(signed)
    assert Predictor(signed, provider="cpu").signature == "unchecked"
    assert Predictor(bundle, provider="cpu").signature == "none"
    with pytest.raises(ArtifactError, match="not signed"):
        read_bundle(bundle, signer.public)
    with pytest.raises(ArtifactError, match="not signed"):
        Scorer(bundle, key=signer.public)


@pytest.mark.parametrize("mount", [config_map, snapshot, storage_initializer])
def test_a_signed_bundle_of_links_opens(
    signed: Path, signer: Signer, tmp_path: Path, mount: Callable[[Path, Path], Path]
) -> None:
    """Volumes and caches consist of links, and have entries of their own."""
    assert read_bundle(mount(signed, tmp_path), signer.public).signature_state == "verified"


def test_a_signed_bundle_in_a_store_opens_until_an_object_is_added(
    bucket: str, object_store: ObjectStore, signed: Path, signer: Signer
) -> None:
    """All objects below the prefix are the bundle's files, and no others."""
    client = object_store.client(bucket.removeprefix("s3://"))
    for path in signed.iterdir():
        client.put(f"models/one/{path.name}", path.read_bytes())
    client.put("models/other/file", b"")
    where = parse_location(f"{bucket}/models/one")
    assert read_bundle(where, signer.public).signature_state == "verified"
    client.put("models/one/deep/added", b"")
    with pytest.raises(ArtifactError, match="added 'deep/added'"):
        read_bundle(where, signer.public)


def test_files_of_git_and_signed_ones_beside_the_bundle_are_welcome(
    signed: Path, signer: Signer
) -> None:
    """A repository has its own files, and a model card may be signed with the bundle."""
    (signed / ".git").mkdir()
    (signed / ".git" / "HEAD").write_text("ref: main")
    (signed / ".gitattributes").write_text("*.onnx filter=lfs")
    assert read_bundle(signed, signer.public).signer
    (signed / "docs").mkdir()
    (signed / "docs" / "README.md").write_text("card")
    for name in (".git", ".gitattributes"):
        path = signed / name
        path.rename(signed.parent / name.strip("."))
    signer.sign(signed)
    assert read_bundle(signed, signer.public).signer
    (signed / "docs" / "README.md").write_text("another card")
    with pytest.raises(ArtifactError, match=r"changed 'docs/README\.md'"):
        read_bundle(signed, signer.public)


def alter(name: str) -> Change:
    """Change a file, with a manifest that matches."""

    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()[:-1] + b"!"
        (folder / name).write_bytes(content)
        manifest = json.loads((folder / MANIFEST).read_bytes())
        new = digest(content)
        manifest["files"][name] = {"sha256": new.sha256, "size": new.size}
        if name == ONNX_MODEL:
            manifest["model"]["version"] = new.sha256[:12]
        (folder / MANIFEST).write_text(json.dumps(manifest))

    return change


def drop(name: str) -> Change:
    """Remove a file that no command needs, with a manifest that matches."""

    def change(folder: Path) -> None:
        (folder / name).unlink()
        manifest = json.loads((folder / MANIFEST).read_bytes())
        del manifest["files"][name]
        (folder / MANIFEST).write_text(json.dumps(manifest))

    return change


def reformat(folder: Path) -> None:
    """Write the same manifest in other bytes."""
    (folder / MANIFEST).write_text(json.dumps(json.loads((folder / MANIFEST).read_bytes())))


def add(name: str) -> Change:
    """Add a file."""

    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")

    return change


CHANGES = [
    pytest.param(alter(ONNX_MODEL), "changed 'manifest.json', 'model.onnx'", id="model"),
    pytest.param(alter(GOLDEN), "changed 'golden.npz', 'manifest.json'", id="golden rows"),
    pytest.param(alter("report.html"), "'report.html'", id="report"),
    pytest.param(reformat, "changed 'manifest.json'", id="manifest"),
    pytest.param(drop("report.html"), "missing 'report.html'", id="missing"),
    pytest.param(add("notes.txt"), "added 'notes.txt'", id="added"),
    pytest.param(add(".notes"), "added '.notes'", id="added and hidden"),
    pytest.param(add("..notes"), "added '..notes'", id="as if of a volume"),
    pytest.param(add("more/model.sig"), "added 'more/model.sig'", id="added in a folder"),
    pytest.param(
        lambda folder: (folder / "parity.json").rename(folder / "Parity.json"),
        "parity.json is missing",
        id="renamed",
    ),
    pytest.param(lambda folder: os.mkfifo(folder / "pipe"), "not a regular file", id="pipe"),
    pytest.param(
        lambda folder: (folder / "up").symlink_to(".."), "not a regular file", id="link to a folder"
    ),
    pytest.param(
        lambda folder: os.truncate(folder / "x", (folder / "x").write_bytes(b"") + 2**40),
        "more than the",
        id="huge",
    ),
    pytest.param(
        lambda folder: (folder / os.fsdecode(b"\xff\n")).touch(), "added '\\udcff\\n'", id="bytes"
    ),
    pytest.param(lambda folder: (folder / SIGNATURE).unlink(), "is not signed", id="unsigned"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_every_change_of_a_signed_bundle_is_refused(
    signed: Path, signer: Signer, change: Change, said: str
) -> None:
    """Changed, added, missing, renamed: the message names the file."""
    change(signed)
    with pytest.raises(ArtifactError) as caught:
        read_bundle(signed, signer.public)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def edit(change: Callable[[dict[str, Any]], object]) -> Change:
    """Change the JSON of the signature's file."""

    def act(folder: Path) -> None:
        values = json.loads((folder / SIGNATURE).read_bytes())
        change(values)
        (folder / SIGNATURE).write_text(json.dumps(values))

    return act


def envelope(**values: object) -> Change:
    """Replace keys of the envelope."""
    return edit(lambda signature: signature["dsseEnvelope"].update(values))


def write(content: bytes) -> Change:
    """Replace the signature's file."""
    return lambda folder: (folder / SIGNATURE).write_bytes(content)


def instead(make: Change) -> Change:
    """Put something else in the place of the signature's file."""

    def change(folder: Path) -> None:
        (folder / SIGNATURE).unlink()
        make(folder / SIGNATURE)

    return change


def forge(folder: Path) -> None:
    """Alter the signed statement."""
    signature = json.loads((folder / SIGNATURE).read_bytes())
    payload = base64.b64decode(signature["dsseEnvelope"]["payload"]).replace(b"report", b"rapport")
    envelope(payload=base64.b64encode(payload).decode())(folder)


HOSTILE = [
    pytest.param(write(b""), "is no signature", id="empty"),
    pytest.param(lambda folder: os.truncate(folder / SIGNATURE, 900), "is no sig", id="truncated"),
    pytest.param(write(b"[" * 500_000), "is no signature", id="nested lists"),
    pytest.param(write(b'{"a":' * 200_000 + b"1" + b"}" * 200_000), "is no sig", id="nested"),
    pytest.param(write(b" " * (5 << 20)), "more than the", id="huge"),
    pytest.param(write(b"\xff\x00"), "is no signature", id="binary"),
    pytest.param(instead(Path.mkdir), "not a regular file", id="folder"),
    pytest.param(instead(os.mkfifo), "not a regular file", id="pipe"),
    pytest.param(instead(lambda at: at.symlink_to("gone")), "leads nowhere", id="dangling"),
    pytest.param(edit(lambda values: values.pop("dsseEnvelope")), "dsseEnvelope", id="no envelope"),
    pytest.param(edit(lambda values: values.update(mediaType="x" * 9999)), "kind", id="media type"),
    pytest.param(envelope(payloadType="text/plain"), "another kind", id="payload type"),
    pytest.param(envelope(payload="!"), "is no signature", id="no base64"),
    pytest.param(envelope(signatures=[]), "0 signatures", id="no signature"),
    pytest.param(
        edit(
            lambda values: values["dsseEnvelope"].update(
                signatures=values["dsseEnvelope"]["signatures"] * 2
            )
        ),
        "2 signatures",
        id="two signatures",
    ),
    pytest.param(envelope(signatures=[{"sig": ""}]), "does not match", id="empty signature"),
    pytest.param(envelope(signatures=[{"sig": "AAAA"}]), "does not match", id="no signature DER"),
    pytest.param(forge, "does not match the key", id="forged statement"),
    pytest.param(
        edit(lambda values: values.update(verificationMaterial={"certificate": {"rawBytes": ""}})),
        "with a certificate",
        id="certificate",
    ),
    pytest.param(
        lambda folder: Signer(folder.parent / "other").sign(folder), "another key", id="other key"
    ),
]


@pytest.mark.parametrize(("change", "said"), HOSTILE)
def test_a_hostile_signature_is_refused(
    signed: Path, signer: Signer, change: Change, said: str
) -> None:
    """Damaged, huge, nested, of another kind or by another key: one short line."""
    change(signed)
    with pytest.raises(ArtifactError) as caught:
        read_bundle(signed, signer.public)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_signature_that_hides_its_key_is_verified_with_the_one_given(
    signed: Path, signer: Signer
) -> None:
    """The fingerprint is a hint: without it, or with ours, a forger gains nothing."""
    edit(lambda values: values["verificationMaterial"]["publicKey"].pop("hint"))(signed)
    assert read_bundle(signed, signer.public).signer
    ours = json.loads((signed / SIGNATURE).read_bytes())
    other = Signer(signed.parent / "other")
    other.sign(signed)
    signer_hint = ours["verificationMaterial"]
    edit(lambda values: values.update(verificationMaterial=signer_hint))(signed)
    with pytest.raises(ArtifactError, match="does not match the key"):
        read_bundle(signed, signer.public)


def _resources(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = statement(folder)["predicate"]["resources"]
    return found


def _named(name: str) -> Callable[[Path], object]:
    entry = {"name": name, "algorithm": "sha256", "digest": "00" * 32}
    return lambda folder: state([*_resources(folder), entry])


STATEMENTS = [
    pytest.param(lambda _: b"{}", "is no signature", id="nothing"),
    pytest.param(lambda _: b"[" * 500_000, "is no signature", id="nested"),
    pytest.param(lambda f: statement(f, _type="x"), "states", id="no statement"),
    pytest.param(
        lambda f: statement(f, predicateType="https://model_signing/Digests/v0.1"),
        "states 'https://model_signing/Digests/v0.1'",
        id="before 1.0",
    ),
    pytest.param(lambda f: statement(f, hash_type="blake2b"), "with blake2b", id="hash type"),
    pytest.param(
        lambda f: state([{**one, "algorithm": "sha1"} for one in _resources(f)]), "sha1", id="sha1"
    ),
    pytest.param(lambda f: statement(f, method="shards"), "digests of shards", id="shards"),
    pytest.param(lambda f: state(_resources(f) * 2), "lists a file twice", id="doubled"),
    pytest.param(lambda f: statement(f, subject=[]), "contradicts itself", id="no subject"),
    pytest.param(
        lambda f: statement(f, subject=[{"name": "x", "digest": {"sha256": "00" * 32}}]),
        "contradicts itself",
        id="other root",
    ),
    pytest.param(
        lambda f: statement(f, resources=[{"name": "a", "algorithm": "sha256", "digest": "x"}]),
        "lists a digest that is none",
        id="no digest",
    ),
    pytest.param(
        lambda f: state(
            [one for one in _resources(f) if one["name"] != ONNX_MODEL], ignore_paths=[ONNX_MODEL]
        ),
        "added 'model.onnx'",
        id="ignored path",
    ),
    pytest.param(_named("../../etc/passwd"), "missing '../../etc/passwd'", id="traversal"),
    pytest.param(_named("/etc/hostname"), "missing '/etc/hostname'", id="absolute"),
    pytest.param(_named("./model.onnx"), "missing './model.onnx'", id="two spellings"),
    pytest.param(_named("a\0\n"), "missing 'a\\x00\\n'", id="control characters"),
    pytest.param(_named(SIGNATURE), "missing 'model.sig'", id="itself"),
]


@pytest.mark.parametrize(("make", "said"), STATEMENTS)
def test_a_signed_statement_that_does_not_cover_the_bundle_is_refused(
    bundle_copy: Path, signer: Signer, make: Callable[[Path], Any], said: str
) -> None:
    """Who signs may err: ignored files, other digests, names that lead elsewhere."""
    signer.seal(bundle_copy, make(bundle_copy))
    with pytest.raises(ArtifactError) as caught:
        read_bundle(bundle_copy, signer.public)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_bytes_that_were_verified_are_those_that_serve(
    signed: Path, signer: Signer, make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle that is replaced once its files are read has no effect."""
    other, before = make_bundle(name="simplenet"), read_bundle(signed)

    def replace_and_verify(content: bytes, key: Any, *, where: str) -> dict[str, str]:  # noqa: ANN401
        shutil.copytree(other, signed, dirs_exist_ok=True)
        return verify_signature(content, key, where=where)

    monkeypatch.setattr(signature, "verify_signature", replace_and_verify)
    found = read_bundle(signed, signer.public)
    assert (signed / ONNX_MODEL).read_bytes() == (other / ONNX_MODEL).read_bytes()
    assert (found.files, found.manifest) == (before.files, before.manifest)


@pytest.mark.parametrize("switches", [1, 2, 3], ids=["to the new", "and back", "and forth"])
def test_a_switched_volume_is_verified_as_a_whole(
    signed: Path,
    signer: Signer,
    make_bundle: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    switches: int,
) -> None:
    """Signature and files are of the same version of a ConfigMap."""
    bundles = [signed, make_bundle(name="simplenet")]
    for path in signed.iterdir():  # kubelet would remove the links that lead nowhere then
        if not (bundles[1] / path.name).exists():
            shutil.copy(path, bundles[1])
    signer.sign(bundles[1])
    folder = config_map(signed, tmp_path)
    waiting = list(range(1, switches + 1))
    read = reading.read_regular_file

    def read_and_switch(path: Path, *, limit: int, advice: str) -> bytes:
        content = read(path, limit=limit, advice=advice)
        if path.name in {SIGNATURE, GOLDEN} and waiting:
            switch_config_map(folder, bundles[waiting.pop(0) % 2])
        return content

    monkeypatch.setattr(reading, "read_regular_file", read_and_switch)
    found = read_bundle(folder, signer.public)
    assert not waiting
    assert found.signature in [(bundle / SIGNATURE).read_bytes() for bundle in bundles]
    names = {bundle: read_bundle(bundle, signer.public).files for bundle in bundles}
    assert found.files in names.values()


def _public(key: object, path: Path) -> Path:
    assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    public = key.public_key()
    path.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def _twice(path: Path) -> Path:
    path.write_bytes(path.read_bytes() * 2)
    return path


def _certificate(path: Path) -> Path:
    path.write_text("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n")
    return path


KEYS = [
    pytest.param(lambda f: f / "nowhere", "cannot read key .*No such file", id="missing"),
    pytest.param(lambda f: f, "cannot read key .*Is a directory", id="folder"),
    pytest.param(lambda _: "/dev/null", "has no public key in PEM", id="empty"),
    pytest.param(lambda _: "/dev/zero", "larger than", id="endless"),
    pytest.param(lambda f: Signer(f).private, "has a private key", id="private"),
    pytest.param(lambda f: _twice(Signer(f).public), "has several keys", id="several"),
    pytest.param(lambda f: _certificate(f / "cert"), "openssl x509 -in", id="certificate"),
    pytest.param(
        lambda f: _public(rsa.generate_private_key(65537, 2048), f / "rsa"), "kind", id="RSA"
    ),
    pytest.param(
        lambda f: _public(ec.generate_private_key(ec.SECP256K1()), f / "k1"), "kind", id="curve"
    ),
]


@pytest.mark.parametrize(("make", "said"), KEYS)
def test_a_file_without_a_public_key_is_refused(
    signed: Path, tmp_path: Path, make: Callable[[Path], Path], said: str
) -> None:
    """The message says what to give instead."""
    with pytest.raises(UsageError, match=said):
        read_bundle(signed, make(tmp_path))


def test_without_cryptography_a_key_is_refused(
    signed: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra is named; nothing is opened unverified."""
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(UnavailableError, match=r'pip install "onnxferry\[sign\]"'):
        Predictor(signed, key=signer.public)


def test_commands_verify_with_a_key(
    signed: Path, signer: Signer, run_command: Run, products: bytes, tmp_path: Path
) -> None:
    """Exit 4 and one line where the signature does not hold; the variable is the option."""
    (tmp_path / "products.csv").write_bytes(products)
    done = run_command("verify", signed, "--json", "--key", signer.public)
    assert json.loads(done.stdout)["signature"] == "verified"
    assert b"; signed, not checked: give --key FILE" in run_command("verify", signed).stdout
    alter(ONNX_MODEL)(signed)
    predict = ("predict", "--bundle", signed, "--file", "products.csv", "--out", "scored.csv")
    for words in (predict, ("serve", "--bundle", signed)):
        done = run_command(*words, env={"ONNXFERRY_KEY": str(signer.public)})
        assert (done.returncode, done.stdout) == (4, b""), done.stderr
        assert b"is not what was signed: changed" in done.stderr
        assert done.stderr.count(b"\n") == 1
    assert not (tmp_path / "scored.csv").exists()


def test_inspect_says_whether_the_signature_was_verified(signed: Path, signer: Signer) -> None:
    """With the key, and without."""
    runner = CliRunner()
    found = runner.invoke(app, ["inspect", str(signed), "--key", str(signer.public)])
    assert "sha256 checked; signature verified" in found.stdout
    assert (
        "sha256 checked; signed, not checked" in runner.invoke(app, ["inspect", str(signed)]).stdout
    )
