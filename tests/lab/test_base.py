"""What every host of the lab is, before anything is applied to it.

To add a suite: a file `tests/lab/test_NAME.py` of plain pytest functions that take `host`
(https://testinfra.readthedocs.io/en/7.0.1/modules.html has all that can be asked of it), and a Rust test that boots a
lab host, applies what the suite expects, and asserts on `lab.testinfra(&[&host], "tests/lab/test_NAME.py")`. A suite
says what must be true in words of its own; it never reads the fleet's YAML, nor anything that Weiche wrote, so that the
two can disagree.
"""

import pytest


def test_debian_12(host):
    assert host.system_info.distribution == "debian"
    assert host.system_info.release.split(".")[0] == "12"


@pytest.mark.parametrize("name", ["ssh", "systemd-journald"])
def test_services_run(host, name):
    assert host.service(name).is_running


def test_ssh_listens_and_serves_root(host):
    assert host.socket("tcp://0.0.0.0:22").is_listening
    assert host.user().name == "root"


@pytest.mark.parametrize("name", ["cups", "nginx", "postgresql", "samba"])
def test_nothing_is_installed_beforehand(host, name):
    assert not host.package(name).is_installed
