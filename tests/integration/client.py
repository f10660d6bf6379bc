"""What the Python client `etcd3` makes of a served member; the test that runs it gives the port. Ends with 0 when all is as
with etcd. The lock and election services, which no client of etcd's own uses, are asked by their bare messages."""

import sys
import threading
import time

import etcd3
import grpc


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def text(tag, value):
    return bytes([tag << 3 | 2]) + varint(len(value)) + value


def fields(message):
    """The fields of a protobuf message, by number: bytes or numbers."""
    found, place = {}, 0

    def number():
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while place < len(message):
        key = number()
        if key & 7 == 0:
            found[key >> 3] = number()
        else:
            length = number()
            found[key >> 3] = message[place : place + length]
            place += length
    return found


port = int(sys.argv[1])
client = etcd3.client(host="127.0.0.1", port=port)

events = []
incoming, cancel = client.watch_prefix("a/")
watching = threading.Thread(target=lambda: events.extend((type(e).__name__, e.key) for e in incoming), daemon=True)
watching.start()
time.sleep(0.3)
client.put("a/1", "x")
assert client.get("a/1")[0] == b"x"
client.put("a/2", "y")
assert [meta.key for _, meta in client.get_prefix("a/")] == [b"a/1", b"a/2"]
client.delete("a/1")
deadline = time.time() + 10
while len(events) < 3 and time.time() < deadline:
    time.sleep(0.05)
cancel()
assert events == [("PutEvent", b"a/1"), ("PutEvent", b"a/2"), ("DeleteEvent", b"a/1")], events

lease = client.lease(60)
client.put("leased", "v", lease=lease)
assert list(lease.keys) == [b"leased"] and lease.granted_ttl == 60
lease.refresh()
lease.revoke()
assert client.get("leased") == (None, None)

swapped = client.transaction(
    compare=[client.transactions.value("a/2") == "y"],
    success=[client.transactions.put("a/2", "z")],
    failure=[client.transactions.get("a/2")],
)
assert swapped[0] and client.get("a/2")[0] == b"z"
with client.lock("recipe", ttl=5) as lock:
    assert lock.is_acquired()
assert client.status().db_size > 0 and [member.name for member in client.members]
client.defragment()
assert client.hash() > 0 and list(client.list_alarms()) == []

# The services, message by message.
channel = grpc.insecure_channel(f"127.0.0.1:{port}")


def call(path, message):
    raw = channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
    return fields(raw(message, timeout=20))


first, second = client.lease(60), client.lease(60)
held = call("/v3lockpb.Lock/Lock", text(1, b"service") + b"\x10" + varint(first.id))[2]
assert held == b"service/%x" % first.id, held
taken = []
waiting = threading.Thread(
    target=lambda: taken.append(call("/v3lockpb.Lock/Lock", text(1, b"service") + b"\x10" + varint(second.id))[2])
)
waiting.start()
time.sleep(0.3)
assert taken == [], "two hold the lock"
call("/v3lockpb.Lock/Unlock", text(1, held))
waiting.join(20)
assert taken == [b"service/%x" % second.id], taken

campaign = text(1, b"post") + b"\x10" + varint(first.id)
leader = call("/v3electionpb.Election/Campaign", campaign + text(3, b"one"))[2]
assert fields(leader)[2] == b"post/%x" % first.id
shown = fields(call("/v3electionpb.Election/Leader", text(1, b"post"))[2])
assert shown[5] == b"one", shown
observe = channel.unary_stream(
    "/v3electionpb.Election/Observe", request_serializer=bytes, response_deserializer=bytes
)(text(1, b"post"), timeout=20)
assert fields(fields(next(observe))[2])[5] == b"one"
call("/v3electionpb.Election/Proclaim", text(1, leader) + text(2, b"two"))
assert fields(fields(next(observe))[2])[5] == b"two"
observe.cancel()
call("/v3electionpb.Election/Resign", text(1, leader))
try:
    call("/v3electionpb.Election/Leader", text(1, b"post"))
    raise AssertionError("nobody leads, and somebody is named")
except grpc.RpcError as error:
    assert "election: no leader" in error.details(), error
print("ok")
