"""The admission rules about places agree with the parser of addresses."""

import posixpath
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from support.charts import OPERATOR, manifests, named
from trainingjob_api import DatasetUri, OutputUri, parse_uri
from trainingjob_api.crd import build_crd

PLACES = [
    *("s3://shared/team-a", "gs://shared/team-a", "az://shared/team-a"),
    *("pvc://shared/team-a/", "pvc://own", "https://files.example/team-a"),
]
FIELDS = {"dataset": DatasetUri, "output": OutputUri}
# Hosts of https:// addresses are the business of the rule about endpoints.
beginnings = st.sampled_from(
    [*PLACES, "s3://shared", "pvc://shared", "pvc://own2", "s3://shared/team-ab", "https://other.example"]
)
parts = st.sampled_from(
    [
        *("..", ".", "...", "", "team-a", "team-b", "x.csv", "%2e%2e", "%2E.", ".%2e", "..%2f", "%2F", "%5c"),
        *("%25", "%252e", "a%20b", "?", "?a=b", "#", "\\", "é", "\u2025", " "),
    ]
)
slashes = st.sampled_from(["/", "//", "%2f", "%2F", "\\", ""])
addresses = st.builds(
    lambda first, rest: first + "".join(slash + part for slash, part in rest),
    beginnings,
    st.lists(st.tuples(slashes, parts), max_size=5),
)


@pytest.fixture(scope="module")
def admitted():
    """Return a function that says whether definition and policy admit an address in a field."""
    cel = pytest.importorskip("cel_expr_python.cel", reason="cel-expr-python carries CEL")
    environment = cel.NewEnv(variables={"object": cel.Type.DYN, "self": cel.Type.DYN})
    admission = {"enabled": True, "datasets": PLACES, "outputs": PLACES[:5]}
    documents = manifests(OPERATOR, {"admission": admission})
    policy = named("ValidatingAdmissionPolicy", "trainingjob-places", documents)
    schema = build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema = schema["properties"]["spec"]["properties"]
    rules = {
        field: [
            *(environment.compile(rule["rule"]) for rule in schema[field]["x-kubernetes-validations"]),
            *(
                environment.compile(validation["expression"])
                for validation in policy["spec"]["validations"]
                if f"object.spec.{field}.uri" in validation["expression"]
            ),
        ]
        for field in FIELDS
    }

    def check(field, uri):
        try:
            TypeAdapter(FIELDS[field]).validate_python(uri)
        except ValidationError:
            return False
        data = {"self": {"uri": uri}, "object": {"spec": {field: {"uri": uri}}}}
        return all(rule.eval(data=data).value() for rule in rules[field])

    return check


def below(uri, place):
    """Tell whether an address, with all its escapes decoded as a careless server would, is below a place."""

    def parts(text):
        scheme, root, path = parse_uri(text)
        path = path.partition("?")[0].partition("#")[0] if scheme == "https" else path
        plain = re.sub("%2[eE]", ".", re.sub("%2[fF]|%5[cC]", "/", path))
        return scheme, root, posixpath.normpath(f"/{plain}")

    (scheme, root, path), (wanted, top, folder) = parts(uri), parts(place)
    return (scheme, root) == (wanted, top) and f"{path}/".startswith(f"{folder.rstrip('/')}/")


@pytest.mark.parametrize("field", FIELDS)
@given(addresses)
@example("pvc://shared/team-a/%2e%2e/team-b/x")
@example("pvc://shared/team-a/..%2fteam-b/x")
@example("s3://shared/team-a/%2E%2e/team-b/x")
@example("https://files.example/team-a/%2e%2e%5cteam-b")
@example("gs://shared/team-a/%2E%2e/team-b/x")
@example("az://shared/team-a/..%2fteam-b/x")
def test_the_policy_admits_only_addresses_below_a_place(admitted, field, uri):
    if admitted(field, uri):
        assert any(below(uri, place) for place in PLACES)


@pytest.mark.parametrize(
    "uri",
    [
        "pvc://shared/team-a/x y.csv",
        "s3://shared/team-a/a%20b",
        "gs://shared/team-a/a%20b",
        "az://shared/team-a/x",
        "https://files.example/team-a/x?k=a%2Fb",
        "pvc://own/x",
    ],
)
def test_the_policy_admits_plain_addresses_below_a_place(admitted, uri):
    assert admitted("dataset", uri)


@pytest.mark.parametrize(
    ("hosts", "allowed"),
    [
        ([], {"gs", "az"}),
        (["minio.example"], set()),
        (["minio.example", "storage.googleapis.com"], {"gs"}),
        (["Models.blob.core.windows.net"], {"az"}),
        (["evilblob.core.windows.net"], set()),
    ],
)
@pytest.mark.parametrize("field", FIELDS)
def test_a_list_of_hosts_admits_the_cloud_storage_that_it_names(hosts, allowed, field):
    cel = pytest.importorskip("cel_expr_python.cel", reason="cel-expr-python carries CEL")
    environment = cel.NewEnv(variables={"object": cel.Type.DYN})
    values = {"admission": {"enabled": True, "outputs": ["s3://a", "gs://a", "az://a"], "endpoints": hosts}}
    policy = named("ValidatingAdmissionPolicy", "trainingjob-places", manifests(OPERATOR, values))
    rules = [
        environment.compile(rule["expression"])
        for rule in policy["spec"]["validations"]
        if "url(" not in rule["expression"]
    ]
    for scheme in ("gs", "az", "s3"):
        data = {"object": {"spec": {field: {"uri": f"{scheme}://a/b"}}}}
        found = all(rule.eval(data=data).value() for rule in rules)
        assert found is (scheme == "s3" or scheme in allowed)
