"""No tracked file holds a credential, as far as detect-secrets sees."""

import subprocess
from pathlib import Path

import pytest

detect_secrets = pytest.importorskip("detect_secrets", reason="detect-secrets brings the scanner")
from detect_secrets.settings import default_settings  # noqa: E402

ROOT = Path(__file__).parents[2]
HASHES = "locks/"
"""Digests of packages look like keys, and nothing else is in there."""

EXCEPTIONS = {
    "crds/trainingjob_api/reasons.py": "the name of a reason",
    "docs/verification.md": "the name of a test file",
    "e2e/kit/bucket.py": "keys of a throw-away server that the suite starts",
    "tests/charts/test_charts.py": "the name of a Secret",
    "tests/contract/test_storage.py": "an address with a password, which has to be refused",
    "tests/contract/test_resolve.py": "the name of a Secret",
    "tests/dask_cluster/test_compose.py": "keys of a throw-away server that the test starts",
    "tests/dask_cluster/test_connection.py": "the heading of a private key, looked for in a file made there",
    "tests/data/test_sources.py": "an address with a password, which has to be refused",
    "tests/cli/test_command.py": "a made-up secret, which must not show in a message",
    "tests/cli/test_run_log.py": "made-up keys, which must not show in a message",
    "tests/operator/golden/dask_cluster.yaml": "the name of a Secret",
    "tests/operator/golden/job-large.yaml": "names of Secrets, a digest",
    "tests/operator/golden/job-small.yaml": "a digest",
    "tests/operator/test_waiting_pods.py": "the name of a Secret",
    "tests/storage/test_cloud.py": "made-up keys of a made-up server",
    "tests/storage/test_folder.py": "an address with a password, which has to be left out",
    "tests/storage/test_s3_credentials.py": "made-up keys of a made-up server",
    "tests/storage/test_s3_output.py": "keys of a throw-away server that the test starts",
    "tests/storage/test_store_contract.py": "made-up keys of a made-up server",
    "tests/run/test_publish.py": "a forged signature",
    "tests/run/test_pod.py": "a made-up digest",
    "tests/support/charts.py": "the name of a Secret",
    "tests/support/fake_kubernetes/store.py": "the plural of a kind",
    "tests/support/jobs.py": "an address with a password, which has to be refused",
}


def scanned(paths):
    secrets = detect_secrets.SecretsCollection(root=str(ROOT))
    with default_settings():
        for path in paths:
            secrets.scan_file(path)
    return {filename for filename, _ in secrets}


@pytest.fixture(scope="module")
def found():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    if listed.returncode != 0:
        pytest.skip("not a Git checkout: there is no list of tracked files")
    return scanned(path for path in listed.stdout.split("\0") if path and not path.startswith(HASHES))


def test_no_file_holds_a_credential(found):
    assert found <= set(EXCEPTIONS), "a secret? If it is none, list the file with a reason"


def test_no_exception_is_idle(found):
    assert set(EXCEPTIONS) <= found


def test_a_credential_would_be_found(tmp_path):
    # Joined here so that this file is no exception itself.
    (tmp_path / "config.py").write_text('key = "AKIA' + 'IOSFODNN7EXAMPL3"\n')
    secrets = detect_secrets.SecretsCollection(root=str(tmp_path))
    with default_settings():
        secrets.scan_file("config.py")
    assert {kind.type for _, kind in secrets} == {"AWS Access Key"}
