"""The ingest endpoints: encodings, responses, limits, malformed input, and priority of pages."""

from __future__ import annotations

import base64
import gzip
import json
import os
import threading
import zlib

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

from somatrace.local.ingest.page_priority import PagePriority
from somatrace.local.otlp.decode import (
    ExportError,
    Limits,
    TooLargeError,
    from_json,
    from_protobuf,
    gunzip,
)

LANGFUSE = "/api/public/otel/v1/traces"
PATHS = pytest.mark.parametrize("path", [LANGFUSE, "/v1/traces"])


def otlp_json(export) -> dict:
    """The request as an OTLP/JSON exporter writes it: protobuf's JSON with IDs in hex."""
    found = MessageToDict(export.message)
    for span in found["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for key in ("traceId", "spanId", "parentSpanId"):
            if key in span:
                span[key] = base64.b64decode(span[key]).hex()
    return found


def stored(server, span) -> list:
    return server.api.observations.get_many(trace_id=span.trace_id.hex()).data


@PATHS
@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_the_stock_exporter_succeeds_and_its_spans_are_stored(shared_server, path, compression):
    results = []

    class Watched(OTLPSpanExporter):
        def export(self, spans):
            results.append(super().export(spans))
            return results[-1]

    provider = TracerProvider()
    headers = {"Authorization": shared_server.keys.basic()}
    exporter = Watched(shared_server.url + path, headers=headers, compression=compression)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("tests").start_as_current_span("from the stock exporter") as span:
        pass
    provider.shutdown()
    assert results == [SpanExportResult.SUCCESS]
    found = shared_server.api.observations.get_many(trace_id=f"{span.get_span_context().trace_id:032x}").data
    assert [observation.name for observation in found] == ["from the stock exporter"]


@pytest.mark.parametrize("compressed", [False, True])
def test_json_is_accepted_like_protobuf(shared_server, export, compressed):
    request = export()
    parent = request.span("parent")
    request.span(
        "child", parent=parent, attributes={"gen_ai.usage.input_tokens": 7, "gen_ai.request.model": "m"}
    )
    body = json.dumps(otlp_json(request)).encode()
    answer = shared_server.post(
        gzip.compress(body) if compressed else body,
        Content_Type="application/json",
        Content_Encoding="gzip" if compressed else "",
    )
    assert answer.status_code == 200
    child, found = sorted(stored(shared_server, parent), key=lambda observation: observation.name)
    assert (child.name, child.parent_observation_id) == ("child", found.id)
    assert found.id == parent.span_id.hex()


def test_both_encodings_decode_to_the_same_spans(export):
    request = export(cloud=["a", "b"])
    request.span(
        "s",
        failed="no",
        attributes={"i": 3, "f": 1.5, "b": True, "s": "é", "bytes": b"\0\xff", "l": ["x", 1]},
    )
    limits = Limits()
    assert from_json(json.dumps(otlp_json(request)).encode(), limits) == from_protobuf(
        request.bytes(), limits
    )


def test_langfuses_path_always_responds_with_json(shared_server, export):
    request = export()
    request.span()
    answer = shared_server.post(request.bytes())
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["name"] == "otel-ingestion-job"


def test_otlps_own_path_responds_in_the_encoding_of_the_request(shared_server, export):
    request = export()
    request.span()
    protobuf = shared_server.post(request.bytes(), "/v1/traces")
    assert protobuf.headers["content-type"] == "application/x-protobuf"
    assert ExportTraceServiceResponse.FromString(protobuf.content) == ExportTraceServiceResponse()
    in_json = shared_server.post(
        json.dumps(otlp_json(request)).encode(), "/v1/traces", Content_Type="application/json; charset=utf-8"
    )
    assert in_json.json() == {}


def test_an_export_without_spans_is_accepted(shared_server):
    assert shared_server.post(b"").json() == {}
    assert shared_server.post(b'{"resourceSpans": []}', Content_Type="application/json").json() == {}


@PATHS
@pytest.mark.parametrize(
    ("authorization", "status", "message"),
    [
        ("", 401, "No authorization header"),
        ("Basic !!!", 401, "Invalid credentials. Confirm that you've configured the correct host."),
        (
            "Basic cGstbGYteDpzay1sZi15",
            401,
            "Invalid credentials. Confirm that you've configured the correct host.",
        ),
        ("Bearer nobody", 401, "Invalid credentials. Confirm that you've configured the correct host."),
        ("Bearer {public}", 403, "Access denied - insufficient permissions for this endpoint"),
    ],
)
def test_requests_without_the_key_pair_get_langfuses_errors(
    shared_server, path, authorization, status, message
):
    answer = shared_server.post(
        b"", path, Authorization=authorization.format(public=shared_server.keys.public_key)
    )
    assert (answer.status_code, answer.json()) == (status, {"message": message})


@PATHS
@pytest.mark.parametrize(
    ("body", "headers", "error"),
    [
        (b"", {"Content_Type": "text/plain"}, "Invalid content type"),
        (b"", {"Content_Type": ""}, "Invalid content type"),
        (b"{", {"Content_Type": "application/json"}, "Failed to parse OTel JSON Trace"),
        (b"null", {"Content_Type": "application/json"}, "Failed to parse OTel JSON Trace"),
        (b"\xff\xff", {}, "Failed to parse OTel Protobuf Trace"),
        (b"no gzip", {"Content_Encoding": "gzip"}, "Failed to decompress request body"),
        (
            gzip.compress(b"x" * 100, mtime=0)[:-12],
            {"Content_Encoding": "gzip"},
            "Failed to decompress request body",
        ),
        (
            b"",
            {"x_langfuse_ingestion_version": "5"},
            'Unsupported x-langfuse-ingestion-version: "5". Maximum supported: "4".',
        ),
    ],
)
def test_unreadable_requests_get_langfuses_errors(shared_server, path, body, headers, error):
    answer = shared_server.post(body, path, **headers)
    assert (answer.status_code, answer.json()) == (400, {"error": error})


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("trace_id", b"", "traceId:absent"),
        ("trace_id", bytes(16), "traceId:not_an_id"),
        ("trace_id", b"\1" * 15, "traceId:not_an_id"),
        ("span_id", b"", "spanId:absent"),
        ("span_id", b"\1" * 16, "spanId:not_an_id"),
    ],
)
def test_one_span_with_a_bad_id_rejects_the_whole_batch(shared_server, export, field, value, reason):
    request = export()
    good, bad = request.span("good"), request.span("bad")
    setattr(bad, field, value)
    answer = shared_server.post(request.bytes())
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(
        f"Invalid OTLP trace export: 1 of 2 span(s) cannot be processed ({reason})"
    )
    assert stored(shared_server, good) == []


@pytest.mark.parametrize("bad", ["xyz", "00", 7, None, "", "0" * 32, ["a"], "é" * 32])
def test_a_bad_id_in_json_rejects_the_whole_batch(shared_server, export, bad):
    request = export()
    good = request.span("good")
    request.span("bad")
    content = otlp_json(request)
    content["resourceSpans"][0]["scopeSpans"][0]["spans"][1]["traceId"] = bad
    answer = shared_server.post(json.dumps(content).encode(), Content_Type="application/json")
    assert answer.status_code == 400
    assert "1 of 2 span(s)" in answer.json()["error"]
    assert stored(shared_server, good) == []


@PATHS
def test_only_post_is_accepted(shared_server, path):
    assert shared_server.get(path).status_code == 405
    assert httpx.delete(shared_server.url + path).status_code == 405


def test_a_body_over_the_configured_size_is_413(shared_server):
    assert shared_server.post(b"x" * 1_000_001).status_code == 413

    def pieces():
        yield from (b"x" * 100_000 for _ in range(11))

    assert shared_server.post(pieces()).status_code == 413


def test_a_decompression_bomb_is_413(shared_server):
    bomb = gzip.compress(b"\0" * 200_000_000, compresslevel=9)
    assert len(bomb) < 1_000_000
    assert shared_server.post(bomb, Content_Encoding="gzip").status_code == 413


def test_decompression_counts_the_members_of_one_body_together():
    member = gzip.compress(b"a" * 60)
    assert gunzip(member * 2, 120) == b"a" * 120
    with pytest.raises(TooLargeError):
        gunzip(member * 2, 119)


def test_a_body_of_very_many_gzip_members_is_413(shared_server):
    empty = gzip.compress(b"", mtime=0)
    assert gunzip(empty * 1024 + b"", 10) == b""
    assert shared_server.post(empty * 45_000, Content_Encoding="gzip").status_code == 413


def test_a_member_may_end_anywhere_in_a_body():
    texts = [bytes([number % 7]) * number * 37 for number in range(60)]
    members = b"".join(gzip.compress(text, compresslevel=number % 10) for number, text in enumerate(texts))
    assert gunzip(members, 10_000_000) == b"".join(texts)
    for rest in (b"x", members[:5]):
        with pytest.raises(ExportError):
            gunzip(members + rest, 10_000_000)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("langfuse.observation.usage_details", '{"input": 3, "\\ud800": 1, "b": 1e999}'),
        ("langfuse.observation.cost_details", '{"total": 0.5, "\\udfff": Infinity}'),
        ("langfuse.observation.model.parameters", '{"stop": "\\ud800", "seed": 1e999}'),
        ("langfuse.trace.metadata", '{"\\ud800": "\\udfff"}'),
        ("langfuse.trace.tags", '["\\ud800", -1e999]'),
        ("langfuse.trace.metadata.note", '{"text": "\\ud800", "number": [1e999, NaN]}'),
        ("langfuse.observation.completion_start_time", "0001-01-01T00:00:00Z"),
        ("langfuse.observation.completion_start_time", "9999-12-31T23:59:59-14:00"),
    ],
)
def test_values_that_no_store_can_hold_are_replaced_and_the_rest_is_kept(server, export, key, value):
    request = export()
    request.span("call", attributes={key: value, "langfuse.observation.type": "generation"})
    server.send(request)
    fields = "basic,time,io,metadata,model,usage,metrics,trace_context"
    answer = server.get("/api/public/v2/observations", fields=fields, expandMetadata="note")
    assert answer.status_code == 200
    (found,) = answer.json()["data"]
    assert found["name"] == "call"
    with server.browser() as client:
        assert client.get(f"/trace/{found['traceId']}?span={found['id']}").status_code == 200


def test_too_many_spans_in_one_request_are_rejected(export):
    request = export()
    for _ in range(3):
        request.span()
    with pytest.raises(TooLargeError):
        from_protobuf(request.bytes(), Limits(spans=2))


@pytest.mark.parametrize(
    "body",
    [b"\x0a\x00" * 100, b"\x0a\xc8\x01" + b"\x12\x00" * 100, b"\x0a\xcb\x01\x12\xc8\x01" + b"\x12\x00" * 100],
    ids=["resources", "scopes", "spans"],
)
def test_small_bodies_with_too_many_objects_are_rejected_before_parsing(body):
    with pytest.raises(TooLargeError):
        from_protobuf(body, Limits(spans=50))
    with pytest.raises(TooLargeError):
        from_json(b'{"resourceSpans":[' + b"{}," * 100 + b"{}]}", Limits(containers=50))


@pytest.mark.parametrize("body", [b"\x0b\x0c", b"\x0a\x02\x13\x14", b"\x0a\x7f", b"\xff" * 20])
def test_groups_and_broken_lengths_are_rejected(body):
    with pytest.raises(ExportError):
        from_protobuf(body, Limits())


def test_metrics_are_accepted_and_discarded_and_other_signals_are_404(shared_server):
    assert shared_server.post(b"", "/api/public/otel/v1/metrics").json() == {"message": "OK"}
    assert shared_server.post(b"", "/api/public/otel/v1/logs").status_code == 404
    assert shared_server.post(b"", "/api/public/otel").status_code == 404


def test_deep_nesting_is_rejected_or_cut(export):
    deep = b"[" * 100_000
    with pytest.raises(ExportError):
        from_json(b'{"resourceSpans":' + deep, Limits())
    with pytest.raises(ExportError):
        from_json(b'{"resourceSpans":' + b"[" * 200 + b"]" * 200 + b"}", Limits())
    request = export()
    value = "bottom"
    for _ in range(20):
        value = [value]
    request.span(attributes={"deep": value})
    (span,) = from_protobuf(request.bytes(), Limits(depth=3))
    assert span.attributes["deep"] == [[["[nested too deeply]"]]]


def test_attributes_events_and_values_are_bounded_and_drops_are_counted(export):
    request = export()
    span = request.span("n" * 100, attributes={f"key{number}": "v" * 100 for number in range(10)})
    for _ in range(5):
        span.events.add(name="e" * 100)
    (found,) = from_protobuf(request.bytes(), Limits(attributes=4, events=2, value=10, name=20))
    assert len(found.attributes) == 4
    assert found.attributes["key0"] == "v" * 10 + "… [90 more characters]"
    assert found.name == "n" * 20 + "… [80 more characters]"
    assert len(found.events) == 2
    assert found.dropped == 6 + 3


def test_values_that_json_cannot_represent_become_text(shared_server, export):
    request = export()
    span = request.span(
        attributes={"nan": float("nan"), "inf": float("-inf"), "nul": "a\0b", "bytes": b"\xff"}
    )
    shared_server.send(request)
    answer = shared_server.get("/api/public/v2/observations", traceId=span.trace_id.hex(), fields="metadata")
    metadata = json.loads(answer.content, parse_constant=pytest.fail)["data"][0]["metadata"]
    assert metadata["attributes.nan"] == "nan"
    assert metadata["attributes.inf"] == "-inf"
    assert metadata["attributes.nul"] == "a\0b"
    assert metadata["attributes.bytes"] == "/w=="


def test_lone_surrogates_in_json_are_replaced(shared_server):
    span = {"traceId": os.urandom(16).hex(), "spanId": os.urandom(8).hex(), "name": "a\ud800b\udfff"}
    span["attributes"] = [{"key": "\udc00", "value": {"stringValue": "\ud83d"}}]
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    assert shared_server.post(body, Content_Type="application/json").status_code == 200
    (found,) = shared_server.api.observations.get_many(trace_id=span["traceId"]).data
    assert found.name == "a?b?"


def test_times_out_of_range_are_accepted(shared_server, export):
    request = export()
    span = request.span()
    span.start_time_unix_nano = 2**64 - 1
    span.end_time_unix_nano = 0
    shared_server.send(request)
    answer = shared_server.get("/api/public/v2/observations", traceId=span.trace_id.hex())
    assert len(answer.json()["data"]) == 1


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_either_decoded_or_rejected(body):
    for read in (from_protobuf, from_json):
        try:
            read(body, Limits())
        except (ExportError, TooLargeError):
            pass
    try:
        gunzip(body, 1000)
    except (ExportError, TooLargeError):
        pass


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    json_values, st.sampled_from(["resourceSpans", "scopeSpans", "spans", "attributes", "traceId", "name"])
)
def test_any_json_in_any_place_is_either_decoded_or_rejected(value, place):
    span = {"traceId": "11" * 16, "spanId": "22" * 8, "attributes": [], "name": "n"}
    scope = {"spans": [span]}
    resource = {"scopeSpans": [scope]}
    whole = {"resourceSpans": [resource]}
    for level in (whole, resource, scope, span):
        if place in level:
            level[place] = value
    try:
        from_json(json.dumps(whole).encode(), Limits())
    except (ExportError, TooLargeError):
        pass


def test_deflate_is_not_gzip(shared_server, export):
    request = export()
    request.span()
    answer = shared_server.post(zlib.compress(request.bytes()), Content_Encoding="deflate")
    assert answer.status_code == 400


def test_a_batch_waits_for_a_page_but_not_forever():
    priority = PagePriority()
    order: list[str] = []

    def batch() -> None:
        priority.wait(60)
        order.append("batch")

    with priority.page():
        thread = threading.Thread(target=batch)
        thread.start()
        priority.wait(0.05)
        order.append("page")
    thread.join(60)
    assert order == ["page", "batch"]


def test_a_batch_lets_later_pages_go_first_until_its_wait_budget_is_spent():
    priority = PagePriority()
    items = priority.budget(0.05).between(range(100))
    taken = [next(items)]

    with priority.page():
        taken.extend(items)

    assert taken == list(range(100))


def test_a_waiting_batch_continues_when_the_page_is_done():
    priority = PagePriority()
    taken: list[int] = []
    page = priority.page()
    page.__enter__()
    thread = threading.Thread(target=lambda: taken.extend(priority.budget(30).between(range(100))))

    thread.start()
    priority.wait(0.05)
    before = list(taken)
    page.__exit__(None, None, None)
    thread.join(60)

    assert before == []
    assert taken == list(range(100))
