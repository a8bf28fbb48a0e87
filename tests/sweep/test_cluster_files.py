"""The cluster files: Ray accepts them, and AWS (a mock of it) gives the nodes that they describe."""

import pytest
import yaml

from tests.helpers import ROOT

TAGS = {"ray-node-name": "n", "ray-launch-config": "x", "ray-node-status": "uninitialized"}


def prepared(name):
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(yaml.safe_load((ROOT / name).read_text()))
    validate_config(config)
    return config


def starts(config, who):
    return [c for c in config[f"{who}_start_ray_commands"] if "ray start" in c]


@pytest.mark.parametrize("name", ["cluster.yaml", "cluster-local.yaml"])
def test_ray_accepts_the_file_and_every_node_asks_for_the_token(name):
    config = prepared(name)
    setup = "\n".join(config["setup_commands"])
    assert "-c ~/study/constraints.txt" in setup
    assert "RAY_AUTH_MODE=token" in setup
    assert any(path.endswith("/.ray/auth_token") for path in config["file_mounts"])
    head, worker = (starts(config, who) for who in ("head", "worker"))
    assert len(head) == len(worker) == 1
    assert "--dashboard-host=127.0.0.1" in head[0]
    server = next(c for c in config["head_start_ray_commands"] if "mlflow server" in c)
    assert "--host 127.0.0.1 --port 5000" in server
    environment = "\n".join(config["head_setup_commands"])
    assert "RAY_ADDRESS=auto" in environment
    assert "STUDY_OUTPUT=" in environment


def test_gpu_workers_start_from_zero_on_spot_and_say_what_they_hold():
    config = prepared("cluster.yaml")
    types = config["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0, "GPU": 0}
    worker = types["gpu_worker"]
    assert (worker["min_workers"], worker["resources"]) == (0, {"CPU": 4, "GPU": 1})
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert config["idle_timeout_minutes"] == 10


@pytest.fixture
def aws(monkeypatch, tmp_path):
    """AWS as moto plays it, with the two instance profiles that docs/operations.md creates."""
    moto = pytest.importorskip("moto", reason="the extra `test` brings moto")
    monkeypatch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    (tmp_path / ".ssh").mkdir()
    with moto.mock_aws():
        import boto3

        iam = boto3.client("iam", region_name="us-east-1")
        for who in ("head", "worker"):
            iam.create_instance_profile(InstanceProfileName=f"compressibility-study-{who}")
        yield boto3.client("ec2", region_name="us-east-1")


def test_aws_makes_and_ends_a_worker_behind_a_group_that_lets_in_ssh_alone(aws, monkeypatch):
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    image = aws.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    config = prepared("cluster.yaml")
    asked = {t["node_config"]["ImageId"] for t in config["available_node_types"].values()}
    assert all(name.startswith("resolve:ssm:/aws/service/deeplearning/") for name in asked)
    for kind in config["available_node_types"].values():
        kind["node_config"]["ImageId"] = image  # the mock does not resolve parameters of AWS's own
    config = bootstrap_aws(config)
    (group,) = aws.describe_security_groups(GroupNames=["compressibility-study-ssh-only"])["SecurityGroups"]
    open_to_all = [r for r in group["IpPermissions"] if r["IpRanges"] or r["Ipv6Ranges"]]
    assert [(r["FromPort"], r["ToPort"], r["IpProtocol"]) for r in open_to_all] == [(22, 22, "tcp")]
    inside = [p["GroupId"] for r in group["IpPermissions"] for p in r["UserIdGroupPairs"]]
    assert set(inside) == {group["GroupId"]}

    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for kind, who in (("gpu_worker", "worker"), ("head", "head")):
        tags = TAGS | {"ray-node-type": who, "ray-user-node-type": kind}
        provider.create_node(config["available_node_types"][kind]["node_config"], tags, 1)
        (node,) = provider.non_terminated_nodes({"ray-user-node-type": kind})
        (found,) = aws.describe_instances(InstanceIds=[node])["Reservations"][0]["Instances"]
        assert found["IamInstanceProfile"]["Arn"].endswith(f"compressibility-study-{who}")
        assert [g["GroupId"] for g in found["SecurityGroups"]] == [group["GroupId"]]
        assert found.get("InstanceLifecycle") == ("spot" if who == "worker" else None)
        assert found["MetadataOptions"]["HttpTokens"] == "required"
        provider.terminate_nodes([node])
    assert provider.non_terminated_nodes({}) == []
