"""A collector for OpenTelemetry traces: takes OTLP over HTTP as protobuf, and keeps the spans."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Span:
    """One span, with ids as hexadecimal digits and attributes as a dict."""

    def __init__(self, span, resource):
        self.name, self.kind, self.status = span.name, span.kind, span.status
        self.trace, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.state = span.trace_state
        self.began, self.ended = span.start_time_unix_nano, span.end_time_unix_nano
        self.attributes = _values(span.attributes)
        self.resource = _values(resource.attributes)
        self.links = [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]
        self.events = [event.name for event in span.events]

    def __repr__(self):
        return f"<{self.name} {self.trace}/{self.id} below {self.parent} {self.attributes}>"


class Collector:
    """Listens on a free port of this machine until it is closed, with TLS if it has `certificates` (a directory). What
    it gets is in `spans`, and raw in `bodies`."""

    def __init__(self, certificates=None):
        self.spans, self.bodies, self.headers = [], [], []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = collector.take(self.path, dict(self.headers), body)
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if certificates:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificates / "server.crt", certificates / "server.key")
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if certificates else 'http'}://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, path, headers, body):
        if path != "/v1/traces":
            return 404
        request = ExportTraceServiceRequest.FromString(body)
        self.bodies.append(body)
        self.headers.append(headers)
        for of_resource in request.resource_spans:
            for of_scope in of_resource.scope_spans:
                self.spans += [Span(span, of_resource.resource) for span in of_scope.spans]
        return 200

    def named(self, name):
        return [span for span in list(self.spans) if span.name == name]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def _values(attributes):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
