"""A proxy gets everything from our control plane, in both variants of the protocol: Fairlead, and the
real Envoy."""

from harness.client import fetch
from harness.control import ads_cluster, ads_listener, endpoints, routes, to
from harness.ports import free_port
from harness.waiting import settled, until


def body(mesh, target="/", port=None):
    """What the proxy answers."""
    return fetch(port or mesh.port, target).body


def becomes(mesh, wanted, target="/"):
    """Waits until the proxy answers so."""
    until(lambda: body(mesh, target) == wanted, 10, f"{target} to answer {wanted}")


def test_everything_comes_from_the_control_plane(mesh):
    assert body(mesh) == b"one"
    assert mesh.rejections() == 0
    mesh.control.wait_log("node 'sidecar-1'")
    assert "refused" not in mesh.control.output()
    # It is live at once, not after the fifteen seconds that Envoy waits for what does not come.
    assert mesh.proxy.stats("init_fetch_timeout") == {}


def test_changed_routes_are_followed(mesh):
    said = {"match": {"prefix": "/"},
            "direct_response": {"status": 200, "body": {"inline_string": "said"}}}
    mesh.control.put(*mesh.resources(said))
    becomes(mesh, b"said")
    mesh.control.put(*mesh.resources())
    becomes(mesh, b"one")
    assert mesh.rejections() == 0


def test_a_file_written_in_place_is_followed(mesh):
    text = mesh.control.file.read_text().replace(str(mesh.one.port), str(mesh.two.port))
    mesh.control.file.write_text(text)
    becomes(mesh, b"two")


def test_changed_endpoints_are_followed(mesh):
    mesh.control.put(*mesh.resources(one=[mesh.two.port]))
    becomes(mesh, b"two")
    # None are an answer as well.
    mesh.control.put(*mesh.resources(one=[]))
    until(lambda: fetch(mesh.port).status == 503, 10, "no endpoint to be left")
    mesh.control.put(*mesh.resources())
    becomes(mesh, b"one")
    assert mesh.rejections() == 0


def test_only_what_has_changed_is_sent(mesh):
    name = "cluster_manager.cds.update_success" if mesh.delta else "cluster_manager.cds.update_attempt"
    before = settled(lambda: mesh.proxy.stat(name))
    mesh.control.put(*mesh.resources(one=[mesh.two.port]))
    becomes(mesh, b"two")
    assert settled(lambda: mesh.proxy.stat(name)) == before


def test_clusters_come_and_go(mesh):
    mesh.control.put(*mesh.resources(
        to("b", "/b"), to("a"), more=[ads_cluster("b"), endpoints("b", mesh.two.port)]))
    becomes(mesh, b"two", "/b")
    assert body(mesh) == b"one"
    mesh.control.put(*mesh.resources())
    becomes(mesh, b"one", "/b")
    until(lambda: mesh.proxy.stat("cluster_manager.cluster_removed") == 1, 10,
          "the cluster to be removed")
    assert mesh.rejections() == 0


def test_changed_clusters_keep_their_endpoints(mesh):
    mesh.control.put(
        ads_listener("main", mesh.port), routes("local", to("a")),
        ads_cluster("a", lb_policy="RANDOM"), endpoints("a", mesh.one.port))
    until(lambda: mesh.proxy.stat("cluster_manager.cluster_modified") == 1, 10,
          "the cluster to be modified")
    assert body(mesh) == b"one"
    # Without endpoints again it would wait for its `initial_fetch_timeout`, warming.
    until(lambda: mesh.proxy.stat("cluster_manager.warming_clusters") == 0, 5, "it to be warm")


def test_listeners_come_and_go(mesh):
    port = free_port()
    mesh.control.put(*mesh.resources(
        more=[ads_listener("other", port, "another"), routes("another", to("a"))]))
    until(lambda: mesh.proxy.stat("listener_manager.total_listeners_active") == 2, 10,
          "two listeners")
    until(lambda: body(mesh, port=port) == b"one", 10, "the other one to answer")
    mesh.control.put(*mesh.resources())
    until(lambda: mesh.proxy.stat("listener_manager.total_listeners_active") == 1, 10,
          "one listener")


def test_routes_that_do_not_exist_are_empty(mesh):
    port = free_port()
    mesh.control.put(*mesh.resources(more=[ads_listener("other", port, "nowhere")]))
    until(lambda: mesh.proxy.stat("listener_manager.total_listeners_active") == 2, 10,
          "two listeners")
    assert fetch(port).status == 404


def test_a_bad_edit_changes_nothing(mesh):
    good = mesh.control.file.read_text()
    bad = good.replace("connect_timeout", "conect_timeout").replace("prefix: /", "prefx: /")
    mesh.control.write(bad)
    mesh.control.wait_log("is not taken over")
    log = mesh.control.output()
    for mistake in ("did you mean 'connect_timeout'?", "did you mean 'prefix'?"):
        line = next(one for one in log.splitlines() if mistake in one)
        assert "][error][config] " + str(mesh.control.file) + ":" in line
    assert body(mesh) == b"one"
    mesh.control.put(*mesh.resources(one=[mesh.two.port]))
    becomes(mesh, b"two")
    assert mesh.rejections() == 0


def test_what_the_proxy_refuses_is_logged_and_not_sent_again(mesh):
    # An address that no machine here has: only the proxy can know.
    refused = ads_listener("far", 80)
    refused["address"]["socket_address"]["address"] = "192.0.2.1"
    mesh.control.put(*mesh.resources(more=[refused]))
    mesh.control.wait_log("Listener refused: ")
    assert "192.0.2.1" in mesh.control.output()
    assert settled(mesh.rejections) == 1
    # What is right goes on being taken.
    mesh.control.put(*mesh.resources(one=[mesh.two.port], more=[refused]))
    becomes(mesh, b"two")
    assert mesh.rejections() == 1


def test_a_restarted_control_plane_is_found_again(mesh):
    assert mesh.control.stop() == 0
    assert body(mesh) == b"one"
    mesh.control.put(*mesh.resources(one=[mesh.two.port]))
    mesh.control.start()
    until(lambda: body(mesh) == b"two", 40, "the proxy to come back")
    assert mesh.rejections() == 0
