"""The same routes in the manner of FastAPI's own documentation, for `cargo xtask bench rest`.

SQLModel tables over SQLite, a session for each request by dependency, answers declared as models, plain `def` handlers
that FastAPI hands to its threads. History is a row for each key and day, and the database sums it up: what a program does
that keeps days. `fill DATABASE FOLDER` makes a database of the bodies that Portmeter has answered, `serve DATABASE PORT
WORKERS` serves it.
"""

import json
import os
import secrets
import sys
import time
from datetime import date, datetime, timedelta, timezone
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Query, Security
from fastapi.security import APIKeyHeader
from pydantic import BaseModel
from sqlmodel import Field, Session, SQLModel, create_engine, func, select

KEPT_DAYS = 60


class Key(SQLModel, table=True):
    number: int | None = Field(default=None, primary_key=True)
    id: str = Field(unique=True)
    uuid: str = Field(unique=True)
    name: str
    created_at: str
    is_active: bool
    port: int


class PortCounter(SQLModel, table=True):
    port: int = Field(primary_key=True)
    uuid: str
    rx_bytes: int
    tx_bytes: int
    rx_packets: int
    tx_packets: int
    connections: int
    connections_opened: int
    traffic_rate: float


class Interface(SQLModel, table=True):
    name: str = Field(primary_key=True)
    rx_bytes: int
    tx_bytes: int


class Day(SQLModel, table=True):
    uuid: str = Field(primary_key=True)
    day: str = Field(primary_key=True, index=True)
    rx_bytes: int
    tx_bytes: int
    max_connections: int
    sessions: int
    last_activity: str


class KeyAnswer(BaseModel):
    id: str
    name: str
    uuid: str
    created_at: str
    is_active: bool
    port: int


class InterfaceTraffic(BaseModel):
    rx_bytes: int
    tx_bytes: int
    total_bytes: int
    timestamp: float


class Connection(BaseModel):
    local: str
    remote: str
    state: str


class PortTraffic(BaseModel):
    port: int
    connections: int
    total_bytes: int
    rx_bytes: int
    tx_bytes: int
    total_formatted: str
    rx_formatted: str
    tx_formatted: str
    rx_packets: int
    tx_packets: int
    connections_opened: int
    traffic_rate: float
    uuid: str
    key_name: str
    interface_traffic: InterfaceTraffic
    connection_details: list[Connection]
    timestamp: float
    source: str
    method: str


class Ports(BaseModel):
    ports: dict[str, PortTraffic]
    total_connections: int
    total_bytes: int
    timestamp: float


class SimpleAnswer(BaseModel):
    status: str
    data: Ports
    timestamp: str


class TotalTraffic(BaseModel):
    total_bytes: int
    rx_bytes: int
    tx_bytes: int
    total_connections: int
    total_formatted: str
    rx_formatted: str
    tx_formatted: str


class MonthlyTraffic(BaseModel):
    total_bytes: int
    rx_bytes: int
    tx_bytes: int
    max_connections: int
    sessions: int
    total_formatted: str
    rx_formatted: str
    tx_formatted: str


class KeyIdentity(BaseModel):
    key_uuid: str
    key_name: str
    port: int
    created_at: str
    last_activity: str | None
    is_active: bool


class KeyTotal(KeyIdentity):
    total_traffic: TotalTraffic


class KeyMonth(KeyIdentity):
    monthly_traffic: MonthlyTraffic


class Sums(BaseModel):
    total_keys: int
    active_keys: int
    total_traffic_bytes: int
    total_rx_bytes: int
    total_tx_bytes: int
    total_traffic_formatted: str
    total_rx_formatted: str
    total_tx_formatted: str


class History(Sums):
    keys: list[KeyTotal]


class Monthly(Sums):
    year_month: str
    total_connections: int
    total_sessions: int
    keys: list[KeyMonth]


class HistoryAnswer(BaseModel):
    status: str
    data: History
    timestamp: str


class MonthlyAnswer(BaseModel):
    status: str
    data: Monthly
    timestamp: str


def connect(database):
    return create_engine(f"sqlite:///{database}", connect_args={"check_same_thread": False})


def fill(database, folder):
    def body(name):
        with open(os.path.join(folder, name + ".json"), encoding="utf-8") as file:
            return json.load(file)

    engine = connect(database)
    SQLModel.metadata.create_all(engine)
    today = datetime.now(timezone.utc).date()
    with Session(engine) as session:
        session.add_all(Key(**key) for key in body("keys"))
        for row in body("simple")["data"]["ports"].values():
            session.add(PortCounter(**{name: row[name] for name in PortCounter.model_fields}))
        whole = row["interface_traffic"]
        session.add(Interface(name="eth0", rx_bytes=whole["rx_bytes"], tx_bytes=whole["tx_bytes"]))
        for key in body("history")["data"]["keys"]:
            traffic = key["total_traffic"]
            for age in range(KEPT_DAYS):
                day = today - timedelta(days=age)
                session.add(Day(
                    uuid=key["key_uuid"], day=day.isoformat(), rx_bytes=traffic["rx_bytes"] // KEPT_DAYS,
                    tx_bytes=traffic["tx_bytes"] // KEPT_DAYS, max_connections=traffic["total_connections"],
                    sessions=age % 5, last_activity=key["last_activity"],
                ))
        session.commit()


def size(count: int) -> str:
    if count < 1024:
        return f"{count} B"
    for unit in ("KB", "MB", "GB"):
        count /= 1024
        if count < 1024:
            return f"{count:.2f} {unit}"
    return f"{count / 1024:.2f} TB"


def formatted(rx_bytes: int, tx_bytes: int) -> dict[str, str]:
    return {
        "total_formatted": size(rx_bytes + tx_bytes), "rx_formatted": size(rx_bytes), "tx_formatted": size(tx_bytes),
    }


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")


engine = connect(os.environ.get("BENCH_DATABASE", ""))
api_key_header = APIKeyHeader(name="X-API-Key", auto_error=False)


def check_key(api_key: Annotated[str | None, Security(api_key_header)]):
    if api_key is None or not secrets.compare_digest(api_key, os.environ["PORTMETER_API_KEY"]):
        raise HTTPException(401, "Invalid API key. Use X-API-Key header with the correct key.")


def get_session():
    with Session(engine) as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session)]
app = FastAPI(dependencies=[Depends(check_key)])


@app.get("/api/keys")
def list_keys(session: SessionDep) -> list[KeyAnswer]:
    keys = session.exec(select(Key).order_by(Key.number)).all()
    return [KeyAnswer(**key.model_dump(exclude={"number"})) for key in keys]


@app.get("/api/traffic/simple")
def simple(session: SessionDep) -> SimpleAnswer:
    moment = time.time()
    rx, tx = session.exec(select(func.sum(Interface.rx_bytes), func.sum(Interface.tx_bytes))).one()
    interfaces = InterfaceTraffic(rx_bytes=rx, tx_bytes=tx, total_bytes=rx + tx, timestamp=moment)
    rows = session.exec(
        select(PortCounter, Key.name).join(Key, Key.uuid == PortCounter.uuid).order_by(Key.number)
    ).all()
    ports = {
        str(counter.port): PortTraffic(
            **counter.model_dump(), **formatted(counter.rx_bytes, counter.tx_bytes),
            total_bytes=counter.rx_bytes + counter.tx_bytes, key_name=name, interface_traffic=interfaces,
            connection_details=[], timestamp=moment, source="ebpf", method="ebpf_port_counters",
        )
        for counter, name in rows
    }
    data = Ports(
        ports=ports, total_connections=sum(port.connections for port in ports.values()),
        total_bytes=sum(port.total_bytes for port in ports.values()), timestamp=moment,
    )
    return SimpleAnswer(status="success", data=data, timestamp=now())


def figures(session: Session, first: date | None, last: date | None):
    """Every key with what its days come to."""
    days = select(
        Day.uuid, func.sum(Day.rx_bytes).label("rx_bytes"), func.sum(Day.tx_bytes).label("tx_bytes"),
        func.max(Day.max_connections).label("max_connections"), func.sum(Day.sessions).label("sessions"),
        func.max(Day.last_activity).label("last_activity"),
    )
    if first and last:
        days = days.where(Day.day >= first.isoformat(), Day.day <= last.isoformat())
    days = days.group_by(Day.uuid).subquery()
    query = select(
        Key, PortCounter.connections, func.coalesce(days.c.rx_bytes, 0), func.coalesce(days.c.tx_bytes, 0),
        func.coalesce(days.c.max_connections, 0), func.coalesce(days.c.sessions, 0), days.c.last_activity,
    )
    query = query.join(PortCounter, PortCounter.uuid == Key.uuid).join(days, days.c.uuid == Key.uuid, isouter=True)
    return session.exec(query.order_by(Key.number)).all()


def identity(key: Key, connections: int, last_activity: str | None) -> dict:
    return {
        "key_uuid": key.uuid, "key_name": key.name, "port": key.port, "created_at": key.created_at,
        "last_activity": last_activity, "is_active": connections > 0,
    }


def sums(rows) -> dict:
    rx, tx = sum(row[2] for row in rows), sum(row[3] for row in rows)
    return {
        "total_keys": len(rows), "active_keys": sum(row[1] > 0 for row in rows), "total_traffic_bytes": rx + tx,
        "total_rx_bytes": rx, "total_tx_bytes": tx, "total_traffic_formatted": size(rx + tx),
        "total_rx_formatted": size(rx), "total_tx_formatted": size(tx),
    }


@app.get("/api/traffic/history")
def history(session: SessionDep) -> HistoryAnswer:
    rows = figures(session, None, None)
    keys = [
        KeyTotal(
            **identity(key, connections, last_activity),
            total_traffic=TotalTraffic(
                total_bytes=rx + tx, rx_bytes=rx, tx_bytes=tx, total_connections=most, **formatted(rx, tx)
            ),
        )
        for key, connections, rx, tx, most, _, last_activity in rows
    ]
    return HistoryAnswer(status="success", data=History(**sums(rows), keys=keys), timestamp=now())


@app.get("/api/traffic/monthly")
def monthly(
    session: SessionDep, year_month: Annotated[str | None, Query(pattern=r"^\d{4}-\d{2}$")] = None
) -> MonthlyAnswer:
    month = year_month or datetime.now(timezone.utc).strftime("%Y-%m")
    first = date.fromisoformat(month + "-01")
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    rows = figures(session, first, last)
    keys = [
        KeyMonth(
            **identity(key, connections, last_activity),
            monthly_traffic=MonthlyTraffic(
                total_bytes=rx + tx, rx_bytes=rx, tx_bytes=tx, max_connections=most, sessions=sessions,
                **formatted(rx, tx),
            ),
        )
        for key, connections, rx, tx, most, sessions, last_activity in rows
    ]
    data = Monthly(
        year_month=month, **sums(rows), keys=keys, total_connections=max((row[4] for row in rows), default=0),
        total_sessions=sum(row[5] for row in rows),
    )
    return MonthlyAnswer(status="success", data=data, timestamp=now())


def serve(database, port, workers):
    os.environ["BENCH_DATABASE"] = database
    folder, file = os.path.split(os.path.abspath(__file__))
    os.execv(sys.executable, [
        sys.executable, "-m", "uvicorn", os.path.splitext(file)[0] + ":app", "--app-dir", folder, "--port", port,
        "--workers", workers, "--no-access-log", "--log-level", "warning",
    ])


if __name__ == "__main__":
    {"fill": fill, "serve": serve}[sys.argv[1]](*sys.argv[2:])
