"""The PyPI SDK `cloudevents` publishes in all three modes, and parses what is received.

Nobody of Millrace wrote that SDK: where it and the broker agree, they agree on the specification.
The broker's address comes from MILLRACE_SERVER.
"""

import json
import os
import unittest
import urllib.request
from datetime import datetime, timezone

from cloudevents.core.bindings import http as binding
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

SERVER = os.environ["MILLRACE_SERVER"]
FORMAT = JSONFormat()


def call(method, path, body, headers=None):
    headers = headers or {"content-type": "application/json"}
    request = urllib.request.Request(SERVER + path, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def event(id, data, content_type="application/json", **extensions):
    attributes = {
        "specversion": "1.0",
        "id": id,
        "source": "/python/sdk",
        "type": "test.python",
        "subject": "a ünïcode subject, 100 %",
        "time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        "datacontenttype": content_type,
        **extensions,
    }
    return CloudEvent(attributes=attributes, data=data)


class Sdk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        call("PUT", "/v1/topics/python-sdk", b"{}")
        call("PUT", "/v1/queues/python-sdk", b"{}")
        call("PUT", "/v1/topics/python-sdk/subscriptions/all", b'{"to": {"queue": "python-sdk"}}')

    def publish(self, message):
        body = message.body if isinstance(message.body, bytes) else message.body.encode()
        return call("POST", "/v1/topics/python-sdk/messages", body, message.headers)

    def receive(self, count):
        """Receives and acks as many events, parsed by the SDK."""
        request = json.dumps({"max": count, "wait_seconds": 5}).encode()
        messages = call("POST", "/v1/queues/python-sdk/receive", request)["messages"]
        self.assertEqual(len(messages), count)
        receipts = json.dumps({"receipts": [one["receipt"] for one in messages]}).encode()
        acked = call("POST", "/v1/queues/python-sdk/ack", receipts)
        self.assertEqual(acked["acked"], count)
        headers = {"content-type": "application/cloudevents+json"}
        bodies = [json.dumps(one["event"]).encode() for one in messages]
        return [binding.from_structured(binding.HTTPMessage(headers, body), FORMAT) for body in bodies]

    def assert_same(self, got, sent):
        self.assertEqual(got.get_attributes(), sent.get_attributes())
        self.assertEqual(got.get_data(), sent.get_data())

    def test_binary_mode_with_json(self):
        sent = event("binary-json", {"price": 12.5, "näme": "ü"}, partitionkey="k1")
        answer = self.publish(binding.to_binary(sent, FORMAT))
        self.assertEqual(answer["messages"][0]["id"], "binary-json")
        self.assert_same(self.receive(1)[0], sent)

    def test_binary_mode_with_bytes(self):
        sent = event("binary-bytes", bytes(range(256)), "application/octet-stream")
        self.publish(binding.to_binary(sent, FORMAT))
        self.assert_same(self.receive(1)[0], sent)

    def test_structured_mode_with_json(self):
        sent = event("structured-json", {"list": [1, None, True]}, tags="a,b")
        self.publish(binding.to_structured(sent, FORMAT))
        self.assert_same(self.receive(1)[0], sent)

    def test_structured_mode_with_text(self):
        sent = event("structured-text", "plain \u2028 text", "text/plain")
        self.publish(binding.to_structured(sent, FORMAT))
        self.assert_same(self.receive(1)[0], sent)

    def test_batch_mode(self):
        sent = [event(f"batch-{n}", {"n": n}) for n in range(20)]
        structured = [binding.to_structured(one, FORMAT).body for one in sent]
        body = b"[" + b",".join(structured) + b"]"
        headers = {"content-type": "application/cloudevents-batch+json"}
        answer = self.publish(binding.HTTPMessage(headers, body))
        self.assertEqual([one["id"] for one in answer["messages"]], [f"batch-{n}" for n in range(20)])
        for got, one in zip(self.receive(20), sent, strict=True):
            self.assert_same(got, one)


if __name__ == "__main__":
    unittest.main()
