"""A small RTSP server for tests and `make bench-rtsp`: what is published is played on.

Publish to rtsp://HOST:PORT/in/NAME and play rtsp://HOST:PORT/out/NAME. Made of Debian's GStreamer
server, so that our client side meets somebody else's server side; run it with the system's Python
(packages: .ci/run lists them). As media servers do, it cuts its readers off when their publisher
leaves. It prints "ready PORT" once it listens.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstApp, GstRtspServer  # noqa: E402, F401

THREADS = 8  # with fewer, a reader waits for a publisher's thread and never gets a picture
ENTRY = (
    "( rtph264depay name=depay0 ! video/x-h264,stream-format=byte-stream,alignment=au"
    " ! h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au"
    " ! appsink name=end sync=false emit-signals=true max-buffers=50 )"
)
EXIT = (
    "( appsrc name=begin is-live=true do-timestamp=true format=time"
    " caps=video/x-h264,stream-format=byte-stream,alignment=au"
    " ! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)


class Relay:
    """All paths of one server."""

    def __init__(self, port: int, login: str, names: list[str], tls: str = "") -> None:
        self.readers: dict[str, list[Any]] = {}
        self.server = GstRtspServer.RTSPServer.new()
        self.server.set_service(str(port))
        self.server.set_address("127.0.0.1")
        pool = GstRtspServer.RTSPThreadPool.new()
        pool.set_max_threads(THREADS)
        self.server.set_thread_pool(pool)
        self.mounts = self.server.get_mount_points()
        self.clients: list[Any] = []
        self.server.connect("client-connected", self._connected)
        self.guarded = bool(login or tls)
        if self.guarded:
            self._guard(login, tls)
        for name in names:
            entry = Entry(self, name)
            entry.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
            entry.set_latency(0)
            self._allow(entry)
            self.mounts.add_factory(f"/in/{name}", entry)

    def _guard(self, login: str, tls: str) -> None:
        """tls: a PEM file with a certificate and its key; then all connections are encrypted."""
        auth = GstRtspServer.RTSPAuth.new()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        if login:
            user, _, password = login.partition(":")
            auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        else:
            auth.set_default_token(token)
        if tls:
            auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(tls))
        self.server.set_auth(auth)

    def _allow(self, factory: Any) -> None:
        if self.guarded:
            permissions = GstRtspServer.RTSPPermissions()
            for what in ("media.factory.access", "media.factory.construct"):
                permissions.add_permission_for_role("user", what, True)
            factory.set_permissions(permissions)

    def open(self, name: str) -> None:
        """Somebody publishes under this name."""
        self.readers[name] = []
        factory = Exit(self, name)
        factory.set_shared(False)
        factory.set_latency(0)
        self._allow(factory)
        self.mounts.add_factory(f"/out/{name}", factory)

    def pass_on(self, name: str, buffer: Any) -> None:
        for source in list(self.readers.get(name, ())):
            copy = buffer.copy_deep()
            copy.pts = copy.dts = Gst.CLOCK_TIME_NONE
            source.emit("push-buffer", copy)

    def close(self, name: str) -> None:
        """Its publisher has gone: so do its readers."""
        self.mounts.remove_factory(f"/out/{name}")
        for source in self.readers.pop(name, []):
            source.emit("end-of-stream")
        for client, path in list(self.clients):
            if path[0] == f"/out/{name}":
                client.close()

    def _connected(self, server: Any, client: Any) -> None:
        entry = (client, [""])
        self.clients.append(entry)

        def played(_client: Any, context: Any) -> None:
            entry[1][0] = context.uri.abspath.split("/stream=")[0]

        client.connect("setup-request", played)
        client.connect("closed", lambda _: self.clients.remove(entry))


class Entry(GstRtspServer.RTSPMediaFactory):  # type: ignore[misc]
    """Takes what is published."""

    def __init__(self, relay: Relay, name: str) -> None:
        super().__init__()
        self.relay, self.name = relay, name

    def do_create_element(self, url: Any) -> Any:
        element = Gst.parse_launch(ENTRY)
        end = element.get_by_name("end")

        def came(sink: Any) -> Any:
            sample = sink.emit("pull-sample")
            if sample is not None:
                self.relay.pass_on(self.name, sample.get_buffer())
            return Gst.FlowReturn.OK

        end.connect("new-sample", came)
        return element

    def do_configure(self, media: Any) -> None:
        GstRtspServer.RTSPMediaFactory.do_configure(self, media)
        media.set_latency(0)
        media.connect("prepared", lambda _: GLib.idle_add(self.relay.open, self.name))
        media.connect("unprepared", lambda _: GLib.idle_add(self.relay.close, self.name))


class Exit(GstRtspServer.RTSPMediaFactory):  # type: ignore[misc]
    """Plays it on, to each reader for himself."""

    def __init__(self, relay: Relay, name: str) -> None:
        super().__init__()
        self.relay, self.name = relay, name

    def do_create_element(self, url: Any) -> Any:
        element = Gst.parse_launch(EXIT)
        source = element.get_by_name("begin")
        self.relay.readers.get(self.name, []).append(source)
        return element


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8554, help="0 takes a free one")
    parser.add_argument("--login", default="", help="USER:PASSWORD that everybody has to give")
    parser.add_argument("--tls", default="", help="PEM file: certificate and key, for rtsps://")
    parser.add_argument("--names", default="camera,restored", help="NAMEs, with commas between")
    options = parser.parse_args()
    Gst.init(None)
    relay = Relay(options.port, options.login, options.names.split(","), options.tls)
    relay.server.attach(None)
    sys.stdout.write(f"ready {relay.server.get_bound_port()}\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
