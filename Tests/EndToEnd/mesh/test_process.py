"""The control plane as a program: its command line, its end."""

import subprocess

import pytest

from harness.control import ads_cluster, control_binary


def run(*arguments):
    """Runs it to its end."""
    return subprocess.run([control_binary(), *arguments], capture_output=True, text=True,
                          timeout=20, check=False)


def test_help_and_version():
    assert run("--help").returncode == 0
    assert "--grpc-addr" in run("--help").stdout
    assert run("--version").stdout.startswith("fairlead-control  version: ")


@pytest.mark.parametrize("arguments, words", [
    ([], "--config-path"), (["-c", "x", "--grpc-addr", "nowhere"], "'nowhere' is no address"),
    (["-c", "x", "-l", "loud"], "unexpected log level 'loud'"),
])
def test_a_wrong_command_line_is_refused(arguments, words):
    done = run(*arguments)
    assert done.returncode == 64
    assert words in done.stderr


def test_a_file_is_validated(control):
    one = control(ads_cluster("a"), start=False)
    assert run("-c", str(one.file), "--mode", "validate").stdout.endswith("OK\n")
    one.write("""resources:
- {"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: a, type: EDDS}
- {"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, nam: b}
- {"@type": type.googleapis.com/envoy.config.listener.v3.Listener, name: c}
- {"@type": type.googleapis.com/envoy.config.listener.v3.Listener, name: c}
- {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, name: d}
""")
    done = run("-c", str(one.file), "--mode", "validate")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert any(line.startswith(f"{one.file}:2:") and "EDDS" in line for line in lines)
    assert any(line.startswith(f"{one.file}:3:") and "'name'" in line for line in lines)
    assert any(line.startswith(f"{one.file}:6:") and "FileAccessLog" in line for line in lines)


def test_two_resources_of_one_name_are_one_too_many(control):
    one = control(ads_cluster("a"), ads_cluster("a"), start=False)
    done = run("-c", str(one.file), "--mode", "validate")
    assert done.returncode == 1
    assert "there is already a 'a' of this type" in done.stderr


@pytest.mark.parametrize("text", ["", "resources: []"])
def test_nothing_to_serve_is_fine(control, text):
    one = control(start=False)
    one.write(text)
    assert one.start().stop() == 0


def test_a_missing_file_is_told(tmp_path):
    done = run("-c", str(tmp_path / "none.yaml"), "--grpc-addr", "127.0.0.1:0")
    assert done.returncode == 1
    assert "cannot open" in done.stderr


def test_a_taken_port_is_told(control):
    one = control(ads_cluster("a"))
    done = run("-c", str(one.file), "--grpc-addr", f"127.0.0.1:{one.port}")
    assert done.returncode == 1
    assert f"cannot bind 127.0.0.1:{one.port}" in done.stderr


def test_sigterm_ends_it_in_order(control):
    one = control(ads_cluster("a"))
    assert one.stop() == 0
    assert one.output().rstrip().endswith("exiting")
