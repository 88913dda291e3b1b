"""Where the data stages run: by params.yaml, by --cluster, and for the model stages never on a cluster."""

import pytest

from dataset_tools.lib.core.cli import layout_of, stage_parser
from dataset_tools.lib.core.cluster import check_cluster, choose_cluster, chosen_cluster, read_cluster
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.params import load_params
from dataset_tools.sources.params import Params


@pytest.fixture(autouse=True)
def local_afterwards():
    yield
    choose_cluster("")


@pytest.mark.parametrize("address", ["auto", "ray://10.0.0.1:10001", "ray://head.local:10001", "ray://[::1]:10001"])
def test_addresses(address):
    assert check_cluster(address, "--cluster") == address


@pytest.mark.parametrize(
    "address", ["ray", "http://a:1", "ray://a", "ray://a:b", "10.0.0.1:6379", "ray://a:1/x", 5, True, ["auto"]]
)
def test_other_addresses_are_refused(address):
    with pytest.raises(UserError, match=r"^--cluster must be auto, ray://HOST:PORT or local, found '"):
        check_cluster(address, "--cluster")


@pytest.fixture
def choose(tmp_path):
    """What a command with these options chooses."""
    (tmp_path / "manifests" / "c").mkdir(parents=True)

    def choose(text, *options, module="dataset_tools.audio"):
        (tmp_path / "params.yaml").write_text(text)
        layout_of(stage_parser(module, "").parse_args(["--root", str(tmp_path), "--corpus", "c", *options]))
        return chosen_cluster()

    return choose


def test_the_command_line_comes_before_params(choose):
    assert choose("") == choose("cluster:\n") == choose("cluster: ''\n") == choose("cluster: local\n") == ""
    assert choose("cluster: auto\n") == "auto"
    assert choose("cluster: auto\n", "--cluster", "ray://h:1") == "ray://h:1"
    assert choose("cluster: auto\n", "--cluster", "local") == ""
    assert choose("cluster: auto\n", module="d2m_model.report") == ""


def test_a_mistake_names_its_place(choose, tmp_path):
    with pytest.raises(UserError, match=r"params.yaml: cluster must be auto"):
        choose("cluster: [auto]\n")
    assert read_cluster(tmp_path / "none.yaml") == ""
    (tmp_path / "params.yaml").write_text("clusters: auto\nsources: {}\n")
    with pytest.raises(UserError, match="section 'clusters' is not known; did you mean cluster?"):
        load_params(tmp_path / "params.yaml", "sources", Params)
