"""The same routes in FastAPI for speed alone: uvicorn over SQLite, for `cargo xtask bench rest`.

`fill DATABASE FOLDER` makes a database of the bodies that Portmeter has answered, `serve DATABASE PORT WORKERS` serves it.
Everything in an answer comes from the database, row by row, at each request; texts such as `36.69 MB` are made from the
numbers. Handlers are coroutines that ask SQLite directly: a query takes less than handing it to a thread would. Answers are
written by orjson, past FastAPI's own conversion, which would cost several times as much.
"""

import contextlib
import json
import os
import secrets
import sqlite3
import sys
import time
from datetime import datetime, timezone

SCHEMA = """
CREATE TABLE keys (
    id TEXT PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT NOT NULL, created_at TEXT NOT NULL,
    is_active INTEGER NOT NULL, port INTEGER
);
CREATE TABLE counters (
    port INTEGER PRIMARY KEY, uuid TEXT NOT NULL, rx_bytes INTEGER NOT NULL, tx_bytes INTEGER NOT NULL,
    rx_packets INTEGER NOT NULL, tx_packets INTEGER NOT NULL, connections INTEGER NOT NULL,
    connections_opened INTEGER NOT NULL, traffic_rate REAL NOT NULL
);
CREATE TABLE interfaces (name TEXT PRIMARY KEY, rx_bytes INTEGER NOT NULL, tx_bytes INTEGER NOT NULL);
CREATE TABLE totals (
    uuid TEXT PRIMARY KEY, last_activity TEXT, is_active INTEGER NOT NULL, rx_bytes INTEGER NOT NULL,
    tx_bytes INTEGER NOT NULL, max_connections INTEGER NOT NULL
);
CREATE TABLE months (
    month TEXT NOT NULL, uuid TEXT NOT NULL, rx_bytes INTEGER NOT NULL, tx_bytes INTEGER NOT NULL,
    max_connections INTEGER NOT NULL, sessions INTEGER NOT NULL, PRIMARY KEY (month, uuid)
);
"""


def fill(database, folder):
    def body(name):
        with open(os.path.join(folder, name + ".json"), encoding="utf-8") as file:
            return json.load(file)

    connection = sqlite3.connect(database)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(SCHEMA)
    insert = lambda table, rows: rows and connection.executemany(
        f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows
    )
    keys = body("keys")
    insert("keys", [[k["id"], k["uuid"], k["name"], k["created_at"], k["is_active"], k["port"]] for k in keys])
    ports = body("simple")["data"]["ports"].values()
    insert("counters", [[
        p["port"], p["uuid"], p["rx_bytes"], p["tx_bytes"], p["rx_packets"], p["tx_packets"], p["connections"],
        p["connections_opened"], p["traffic_rate"],
    ] for p in ports])
    whole = next(iter(ports))["interface_traffic"]
    insert("interfaces", [["eth0", whole["rx_bytes"], whole["tx_bytes"]]])
    insert("totals", [[
        k["key_uuid"], k["last_activity"], k["is_active"], k["total_traffic"]["rx_bytes"], k["total_traffic"]["tx_bytes"],
        k["total_traffic"]["total_connections"],
    ] for k in body("history")["data"]["keys"]])
    monthly = body("monthly")["data"]
    insert("months", [[
        monthly["year_month"], k["key_uuid"], k["monthly_traffic"]["rx_bytes"], k["monthly_traffic"]["tx_bytes"],
        k["monthly_traffic"]["max_connections"], k["monthly_traffic"]["sessions"],
    ] for k in monthly["keys"]])
    connection.commit()
    connection.close()


def size(count):
    if count < 1024:
        return f"{count} B"
    for unit in ("KB", "MB", "GB"):
        count /= 1024
        if count < 1024:
            return f"{count:.2f} {unit}"
    return f"{count / 1024:.2f} TB"


def now():
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")


def application():
    from fastapi import Depends, FastAPI, Header, HTTPException, Query
    from fastapi.responses import Response
    import orjson

    api_key = os.environ["PORTMETER_API_KEY"]
    connection = sqlite3.connect(f"file:{os.environ['BENCH_DATABASE']}?mode=ro", uri=True, check_same_thread=False)

    async def check_key(x_api_key: str | None = Header(default=None)):
        if x_api_key is None or not secrets.compare_digest(x_api_key, api_key):
            raise HTTPException(401, "Invalid API key. Use X-API-Key header with the correct key.")

    def answer(body):
        return Response(orjson.dumps(body), media_type="application/json")

    app = FastAPI(dependencies=[Depends(check_key)], openapi_url=None)

    @app.get("/api/keys")
    async def list_keys():
        rows = connection.execute("SELECT id, name, uuid, created_at, is_active, port FROM keys ORDER BY rowid")
        return answer([
            {"id": id, "name": name, "uuid": uuid, "created_at": created_at, "is_active": bool(is_active), "port": port}
            for id, name, uuid, created_at, is_active, port in rows
        ])

    @app.get("/api/traffic/simple")
    async def simple():
        moment = time.time()
        rx, tx = connection.execute("SELECT sum(rx_bytes), sum(tx_bytes) FROM interfaces").fetchone()
        interfaces = {"rx_bytes": rx, "tx_bytes": tx, "total_bytes": rx + tx, "timestamp": moment}
        rows = connection.execute(
            "SELECT c.port, c.uuid, k.name, c.rx_bytes, c.tx_bytes, c.rx_packets, c.tx_packets, c.connections,"
            " c.connections_opened, c.traffic_rate FROM counters c JOIN keys k ON k.uuid = c.uuid ORDER BY k.rowid"
        )
        ports, total_bytes, total_connections = {}, 0, 0
        for port, uuid, name, rx, tx, rx_packets, tx_packets, connections, opened, rate in rows:
            total_bytes += rx + tx
            total_connections += connections
            ports[str(port)] = {
                "port": port, "connections": connections, "total_bytes": rx + tx, "rx_bytes": rx, "tx_bytes": tx,
                "total_formatted": size(rx + tx), "rx_formatted": size(rx), "tx_formatted": size(tx),
                "rx_packets": rx_packets, "tx_packets": tx_packets, "connections_opened": opened, "traffic_rate": rate,
                "uuid": uuid, "key_name": name, "interface_traffic": interfaces, "connection_details": [],
                "timestamp": moment, "source": "ebpf", "method": "ebpf_port_counters",
            }
        data = {
            "ports": ports, "total_connections": total_connections, "total_bytes": total_bytes, "timestamp": moment,
        }
        return answer({"status": "success", "data": data, "timestamp": now()})

    def figures(rows, field, of_row):
        """The keys of a list, and what they come to."""
        keys, active, all_rx, all_tx = [], 0, 0, 0
        for uuid, name, port, created_at, last_activity, is_active, rx, tx, *rest in rows:
            active += is_active
            all_rx += rx
            all_tx += tx
            keys.append({
                "key_uuid": uuid, "key_name": name, "port": port, "created_at": created_at,
                "last_activity": last_activity, "is_active": bool(is_active),
                field: {
                    "total_bytes": rx + tx, "rx_bytes": rx, "tx_bytes": tx, **of_row(*rest),
                    "total_formatted": size(rx + tx), "rx_formatted": size(rx), "tx_formatted": size(tx),
                },
            })
        return {
            "total_keys": len(keys), "active_keys": active, "total_traffic_bytes": all_rx + all_tx,
            "total_rx_bytes": all_rx, "total_tx_bytes": all_tx, "keys": keys,
            "total_traffic_formatted": size(all_rx + all_tx), "total_rx_formatted": size(all_rx),
            "total_tx_formatted": size(all_tx),
        }

    @app.get("/api/traffic/history")
    async def history():
        rows = connection.execute(
            "SELECT k.uuid, k.name, k.port, k.created_at, t.last_activity, t.is_active, t.rx_bytes, t.tx_bytes,"
            " t.max_connections FROM keys k JOIN totals t ON t.uuid = k.uuid ORDER BY k.rowid"
        )
        data = figures(rows, "total_traffic", lambda most: {"total_connections": most})
        return answer({"status": "success", "data": data, "timestamp": now()})

    @app.get("/api/traffic/monthly")
    async def monthly(year_month: str | None = Query(default=None, pattern=r"^\d{4}-\d{2}$")):
        month = year_month or datetime.now(timezone.utc).strftime("%Y-%m")
        rows = connection.execute(
            "SELECT k.uuid, k.name, k.port, k.created_at, t.last_activity, t.is_active, coalesce(m.rx_bytes, 0),"
            " coalesce(m.tx_bytes, 0), coalesce(m.max_connections, 0), coalesce(m.sessions, 0) FROM keys k"
            " JOIN totals t ON t.uuid = k.uuid LEFT JOIN months m ON m.uuid = k.uuid AND m.month = ? ORDER BY k.rowid",
            (month,),
        )
        data = figures(rows, "monthly_traffic", lambda most, sessions: {"max_connections": most, "sessions": sessions})
        sums = connection.execute(
            "SELECT coalesce(max(max_connections), 0), coalesce(sum(sessions), 0) FROM months WHERE month = ?", (month,)
        )
        most, sessions = sums.fetchone()
        data = {"year_month": month, **data, "total_connections": most, "total_sessions": sessions}
        return answer({"status": "success", "data": data, "timestamp": now()})

    return app


def serve(database, port, workers):
    import uvicorn

    os.environ["BENCH_DATABASE"] = database
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    uvicorn.run(
        "fastapi_tuned:application", factory=True, host="127.0.0.1", port=int(port), workers=int(workers),
        loop="uvloop", http="httptools", access_log=False, log_level="warning",
    )


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        {"fill": fill, "serve": serve}[sys.argv[1]](*sys.argv[2:])
