"""What the Python client `etcd3gw`, which speaks JSON over HTTP, makes of a served member; the test that runs it gives the
port. Ends with 0 when all is as with etcd."""

import sys
import threading
import time

import etcd3gw
import requests

port = int(sys.argv[1])
client = etcd3gw.client(host="127.0.0.1", port=port, api_path="/v3/", timeout=20)

events, cancel = client.watch_prefix("a/")
seen = []
threading.Thread(target=lambda: seen.extend((e.get("type", "PUT"), e["kv"]["key"]) for e in events), daemon=True).start()
time.sleep(0.3)
assert client.put("a/1", "x")
assert client.get("a/1") == [b"x"], client.get("a/1")
assert client.put("a/2", "y")
assert [meta["key"] for _, meta in client.get_prefix("a/")] == [b"a/1", b"a/2"]
assert client.delete("a/1")
deadline = time.time() + 10
while len(seen) < 3 and time.time() < deadline:
    time.sleep(0.05)
cancel()
assert seen == [("PUT", b"a/1"), ("PUT", b"a/2"), ("DELETE", b"a/1")], seen

assert client.create("made", "once") and not client.create("made", "twice")
assert client.replace("made", "once", "more") and client.get("made") == [b"more"]

lease = client.lease(60)
assert client.put("leased", "v", lease=lease)
assert lease.keys() == [b"leased"] and 0 < lease.ttl() <= 60
assert lease.refresh() == 60
assert lease.revoke() and client.get("leased") == []

with client.lock("mutex", ttl=5) as lock:
    assert lock.is_acquired()
    assert not client.lock("mutex", ttl=5).acquire()
assert int(client.status()["dbSize"]) > 0 and [member["name"] for member in client.members()]

# With users: who has no token is nobody, and whose token is another's may not.
base = f"http://127.0.0.1:{port}/v3/"


def post(path, body, token=None):
    headers = {"Authorization": token} if token else {}
    answer = requests.post(base + path, json=body, headers=headers, timeout=20)
    return answer.status_code, answer.json()


for name in ("root", "reader"):
    assert post("auth/user/add", {"name": name, "password": "p"})[0] == 200
    assert post("auth/role/add", {"name": name})[0] == 200
    assert post("auth/user/grant", {"user": name, "role": name})[0] == 200
permission = {"permType": "READ", "key": "YS8=", "range_end": "YTA="}
assert post("auth/role/grant", {"name": "reader", "perm": permission})[0] == 200
assert post("auth/enable", {})[0] == 200
assert post("auth/authenticate", {"name": "reader", "password": "wrong"})[0] == 400
tokens = {name: post("auth/authenticate", {"name": name, "password": "p"})[1]["token"] for name in ("root", "reader")}
get, put = {"key": "YS8y"}, {"key": "YS8y", "value": "eg=="}
assert post("kv/range", get)[0] == 400
assert post("kv/range", get, tokens["reader"])[1]["kvs"][0]["value"] == "eQ=="
status, refusal = post("kv/put", put, tokens["reader"])
assert (status, refusal["code"]) == (403, 7) and "permission denied" in refusal["message"], (status, refusal)
assert post("kv/put", put, "nonsense")[0] == 401
assert post("kv/put", put, tokens["root"])[0] == 200
assert post("auth/disable", {}, tokens["root"])[0] == 200
print("ok")
