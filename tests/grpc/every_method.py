"""Calls every method of every service by reflection, and checks what is answered and refused.

    every_method.py ADDRESS API_KEY

The agent has a core and one key with traffic. What fails is listed at the end, and so is every method that was not called.
"""

import sys
import traceback
import uuid

from agent import Agent, Refused

STEPS = []


def step(function):
    STEPS.append(function)
    return function


def expect(condition, *shown):
    if not condition:
        raise AssertionError(*shown)


def refused_with(refused, code, reason):
    expect((refused.code.name, refused.reason) == (code, reason), refused)
    expect(refused.sentence, "no sentence")


class State:
    """What later steps use of earlier ones."""

    def __init__(self, agent):
        self.customer = agent.call("KeyService/ListKeys")["keys"][0]
        self.key = agent.call("KeyService/CreateKey", {"name": "by reflection"})["key"]


@step
def system(agent, state):
    version = agent.call("SystemService/GetVersion")
    expect(len(version["version"].split(".")) == 3 and len(version["kernel_source_digest"]) == 64, version)
    told = agent.call("SystemService/GetState")
    expect(told["is_ready"] and not told["problems"] and told["interfaces"], told)


@step
def host(agent, state):
    told = agent.call("SystemService/GetHostResources")
    expect(told["cpu_count"] >= 1 and 0 <= told["cpu_percent"] <= 100, told)
    expect(0 < int(told["memory_available_bytes"]) <= int(told["memory_total_bytes"]), told)
    expect(0 < int(told["disk_used_bytes"]) <= int(told["disk_total_bytes"]), told)


@step
def services(agent, state):
    told = agent.call("SystemService/ListManagedServices")["services"]
    states = {service["name"]: service["state"] for service in told}
    expect(states["agent"] == states["xray"] == "SERVICE_STATE_ACTIVE", told)
    refused_with(agent.refusal("SystemService/RestartManagedService", {"name": "sshd"}), "NOT_FOUND", "SERVICE_NOT_FOUND")
    agent.call("SystemService/RestartManagedService", {"name": "xray"})


@step
def keys(agent, state):
    for key_id in (state.key["id"], state.key["uuid"]):
        expect(agent.call("KeyService/GetKey", {"key_id": key_id})["key"] == state.key, key_id)
    updated = agent.call("KeyService/UpdateKey", {"key_id": state.key["id"], "is_active": False})["key"]
    expect(not updated["is_active"] and updated["port"] == state.key["port"], updated)
    agent.call("KeyService/UpdateKey", {"key_id": state.key["id"], "is_active": True})
    for request in ({"name": ""}, {"name": "x" * 256}):
        refused_with(agent.refusal("KeyService/CreateKey", request), "INVALID_ARGUMENT", "INVALID_ARGUMENT")
    refused_with(agent.refusal("KeyService/GetKey", {"key_id": "nobody"}), "NOT_FOUND", "KEY_NOT_FOUND")


@step
def key_masks(agent, state):
    """Only what the mask names changes."""
    named = {"key_id": state.key["id"], "name": "renamed", "alias": "R", "update_mask": "alias"}
    key = agent.call("KeyService/UpdateKey", named)["key"]
    expect(key["alias"] == "R" and key["name"] == state.key["name"], key)
    key = agent.call("KeyService/UpdateKey", {"key_id": state.key["id"], "alias": ""})["key"]
    expect(key["alias"] == "", key)
    wrong = {"key_id": state.key["id"], "update_mask": "port"}
    refused_with(agent.refusal("KeyService/UpdateKey", wrong), "INVALID_ARGUMENT", "INVALID_ARGUMENT")


@step
def key_requests(agent, state):
    """A create that is repeated makes one key; an id that was used for another name is refused."""
    request = {"name": "once", "request_id": str(uuid.uuid4()), "is_name_unique": True}
    first = agent.call("KeyService/CreateKey", request)["key"]
    expect(agent.call("KeyService/CreateKey", request)["key"] == first, "made twice")
    other = {**request, "name": "another"}
    refused_with(agent.refusal("KeyService/CreateKey", other), "INVALID_ARGUMENT", "REQUEST_ID_REUSED")
    again = {"name": "once", "is_name_unique": True}
    refused_with(agent.refusal("KeyService/CreateKey", again), "ALREADY_EXISTS", "KEY_NAME_TAKEN")
    agent.call("KeyService/DeleteKey", {"key_id": first["id"]})


@step
def key_pages(agent, state):
    """Pages are the whole list, in its order, each key once."""
    made = [agent.call("KeyService/CreateKey", {"name": f"page {number}"})["key"]["id"] for number in range(5)]
    everyone = [key["id"] for key in agent.call("KeyService/ListKeys")["keys"]]
    for page_size in (1, 2, 3, 1000):
        paged = in_pages(agent, "KeyService/ListKeys", {"page_size": page_size}, "keys", page_size)
        expect([key["id"] for key in paged] == everyone, page_size)
    wrong = {"page_size": 1, "page_token": "no token"}
    refused_with(agent.refusal("KeyService/ListKeys", wrong), "INVALID_ARGUMENT", "INVALID_ARGUMENT")
    for key_id in made:
        agent.call("KeyService/DeleteKey", {"key_id": key_id})


def in_pages(agent, method, request, field, page_size):
    rows, token = [], ""
    while True:
        page = agent.call(method, {**request, "page_token": token})
        expect(len(page[field]) <= page_size, page)
        rows += page[field]
        token = page["next_page_token"]
        if not token:
            return rows


@step
def links(agent, state):
    link = agent.call("KeyService/GetKeyLink", {"key_id": state.key["uuid"]})
    expect(link["vless_url"].startswith(f"vless://{state.key['uuid']}@") and link["short_id"] in link["vless_url"], link)
    for form, kind in (("QR_CODE_FORMAT_PNG", "image/png"), ("QR_CODE_FORMAT_SVG", "image/svg+xml")):
        code = agent.call("KeyService/GetKeyQrCode", {"key_id": state.key["id"], "format": form})
        expect(code["content_type"] == kind and len(code["image"]) > 100, code)
    subscription = agent.call("KeyService/GetSubscription", {"token": link["subscription_token"]})
    expect(subscription["body"] and subscription["title"], subscription)
    unknown = agent.refusal("KeyService/GetSubscription", {"token": "f" * 32})
    refused_with(unknown, "NOT_FOUND", "SUBSCRIPTION_NOT_FOUND")


@step
def traffic(agent, state):
    told = agent.call("TrafficService/GetTraffic", {"key_id": state.customer["id"], "include_connections": True})
    figures = told["key_traffic"]["traffic"]
    expect(int(figures["tx_bytes"]) > int(figures["rx_bytes"]) > 0, told)
    everyone = agent.call("TrafficService/ListTraffic")
    ports = [row["key"]["port"] for row in everyone["key_traffic"]]
    expect(state.customer["port"] in ports and state.key["port"] in ports and everyone["interfaces"], everyone)
    for key_id in ("", state.customer["uuid"]):
        messages = agent.watch("TrafficService/WatchTraffic", {"key_id": key_id}, 2)
        expect(messages[0]["read_at"] < messages[1]["read_at"], messages)


@step
def history(agent, state):
    one = agent.call("HistoryService/GetHistory", {"key_id": state.customer["id"], "include_days": True, "month": ""})
    total = one["history"]["total"]
    of_days = sum(int(day["tally"]["tx_bytes"]) for day in one["days"])
    expect(of_days == int(total["tx_bytes"]) == int(one["month"]["tally"]["tx_bytes"]) > 0, one)
    everyone = agent.call("HistoryService/ListHistories")["histories"]
    expect(everyone[0]["total"]["tx_bytes"] == total["tx_bytes"], everyone)
    for granularity in ("MINUTE", "HOUR", "DAY", "MONTH"):
        request = {"key_id": state.customer["id"], "granularity": f"GRANULARITY_{granularity}"}
        periods = agent.call("HistoryService/ListPeriods", request)["periods"]
        expect(sum(int(period["tally"]["tx_bytes"]) for period in periods) == int(total["tx_bytes"]), periods)
    rows = agent.call("HistoryService/ListKeyPeriods", {"granularity": "GRANULARITY_DAY", "page_size": 1})
    expect(rows["periods"][0]["key_id"] == state.customer["id"], rows)
    series = agent.call(
        "HistoryService/ListSeries", {"metric": "METRIC_TRAFFIC", "period_seconds": 3600, "granularity_seconds": 60}
    )
    expect(len(series["points"]) == 60, series)
    top = agent.call("HistoryService/ListTop", {"metric": "METRIC_TRAFFIC", "period_seconds": 3600})
    expect(top["top"][0]["key"]["id"] == state.customer["id"], top)


@step
def activity(agent, state):
    everyone = agent.call("HistoryService/ListHistories", {"include_activity": True})
    expect(everyone["histories"][0]["activity"]["active_days"] >= 1, everyone)
    expect(everyone["histories"][0]["activity"]["first_active_day"] <= everyone["today"], everyone)


@step
def cycles(agent, state):
    request = {"key_id": state.customer["id"], "rule": {"monthly_day": 31, "time_zone": "Europe/Berlin"}}
    rule = agent.call("HistoryService/UpdateCycle", request)["rule"]
    listed = agent.call("HistoryService/ListCycles", {"key_id": state.customer["id"], "limit": 3})
    expect(listed["rule"] == rule and int(listed["cycles"][0]["usage"]["tx_bytes"]) > 0, listed)
    wrong = {"key_id": state.customer["id"], "rule": {"monthly_day": 32}}
    refused_with(agent.refusal("HistoryService/UpdateCycle", wrong), "INVALID_ARGUMENT", "INVALID_ARGUMENT")
    expect("rule" not in agent.call("HistoryService/UpdateCycle", {"key_id": state.customer["id"]}), "it has a cycle")


@step
def bookings(agent, state):
    """A snapshot and what is booked after it are the whole story, as a follower gets it."""
    snapshot = agent.call("HistoryService/GetBookingSnapshot")
    expect(state.customer["id"] in str(snapshot), snapshot)
    missed = agent.watch("HistoryService/WatchBookings", {"after_sequence": 0}, 1)[0]
    expect(int(missed["sequence"]) > 0 and missed["keys"], missed)


@step
def resets(agent, state):
    for method in ("TrafficService/ResetTraffic", "HistoryService/ResetHistory"):
        expect(agent.call(method, {"key_id": state.key["id"]})["key"]["id"] == state.key["id"], method)
        refused_with(agent.refusal(method, {"key_id": "nobody"}), "NOT_FOUND", "KEY_NOT_FOUND")
    expect(agent.call("HistoryService/CleanUpDays", {"days_to_keep": 30})["removed_rows"] == "0", "today is gone")
    wrong = agent.refusal("HistoryService/CleanUpDays", {"days_to_keep": 0})
    refused_with(wrong, "INVALID_ARGUMENT", "INVALID_ARGUMENT")


@step
def ports(agent, state):
    listed = agent.call("PortService/ListPorts")
    used = {row["key_id"]: row["port"] for row in listed["assignments"]}
    expect(used[state.key["id"]] == state.key["port"] and listed["max_ports"] == 100, listed)
    expect(agent.call("PortService/CheckPorts")["issues"] == [], "issues")
    cleared = agent.call("PortService/ResetPorts")["cleared_count"]
    expect(cleared == len(used), cleared)
    without_port = agent.refusal("KeyService/GetKeyLink", {"key_id": state.key["id"]})
    refused_with(without_port, "FAILED_PRECONDITION", "KEY_HAS_NO_PORT")
    expect(agent.call("PortService/AssignPorts")["assigned_count"] == cleared, "not all have a port again")


@step
def core(agent, state):
    told = agent.call("XrayService/GetXrayState")
    expect((told["mode"], told["state"]) == ("supervised", "running"), told)
    agent.call("XrayService/Synchronize")
    compared = agent.call("XrayService/CheckSynchronization")
    expect(compared["synchronized"] and state.key["uuid"] in compared["key_uuids"], compared)
    configuration = agent.call("XrayService/GetConfiguration")
    expect(configuration["is_valid"] and '"***"' in configuration["json"], configuration)
    expect(agent.call("XrayService/VerifyReality")["repairs"] == [], "repairs of what is well")
    reality = agent.call("XrayService/GetReality")
    expect(len(reality["public_key"]) == 43 and reality["server_name"], reality)
    rotate = {"key_id": state.key["id"], "grace_seconds": 3600}
    rotated = agent.call("XrayService/RotateReality", rotate)
    link = agent.call("KeyService/GetKeyLink", {"key_id": state.key["id"]})
    expect(rotated["short_id"] == link["short_id"] and "old_accepted_until" in rotated, rotated)
    agent.call("XrayService/RestartCore")
    expect(int(agent.call("XrayService/GetXrayState")["restart_count"]) >= 1, "no restart")


@step
def backups(agent, state):
    listed = agent.call("BackupService/ListBackups")["backups"]
    name = listed[0]["name"]
    preview = agent.call("BackupService/PreviewBackup", {"name": name})
    expect(len(preview["inbounds"]) >= 1, preview)
    told = agent.call("BackupService/RestoreBackup", {"name": name, "dry_run": True})
    expect(told["has_current"] and "saved_as" not in told, told)
    agent.call("BackupService/DeleteBackup", {"name": name})
    gone = agent.refusal("BackupService/DeleteBackup", {"name": name})
    refused_with(gone, "NOT_FOUND", "BACKUP_NOT_FOUND")
    outside = agent.refusal("BackupService/PreviewBackup", {"name": "../api.key"})
    refused_with(outside, "INVALID_ARGUMENT", "INVALID_BACKUP_NAME")


@step
def events(agent, state):
    """Pages and the watch from the first one tell the same, in opposite order."""
    listed = in_pages(agent, "EventService/ListEvents", {"page_size": 3}, "events", 3)
    ids = [int(event["id"]) for event in listed]
    expect(len(ids) >= 3 and ids == sorted(set(ids), reverse=True), ids)
    users = agent.call("EventService/ListEvents", {"type": "EVENT_TYPE_USER", "key_id": state.key["id"]})["events"]
    expect(users and all(event["key_id"] == state.key["id"] for event in users), users)
    watched = agent.watch("EventService/WatchEvents", {"after_id": "0"}, len(ids))
    expect([int(message["event"]["id"]) for message in watched] == ids[::-1], watched)


@step
def event_statistics(agent, state):
    told = agent.call("EventService/GetEventStatistics")
    total = int(told["total"])
    for group in ("types", "severities", "hours"):
        expect(sum(int(row["count"]) for row in told[group]) == total > 0, told)


@step
def settings(agent, state):
    before = agent.call("SettingsService/GetSettings")["settings"]
    request = {"settings": {"ui": {"theme": "light", "lang": "en"}}, "update_mask": "ui.theme"}
    after = agent.call("SettingsService/UpdateSettings", request)["settings"]
    expect(after["ui"]["theme"] == "light" and after["ui"]["lang"] == before["ui"]["lang"], after)
    expect(after["version"] == before["version"] + 1, after)
    for changed, mask in (
        ({"ui": {"theme": "blue"}}, "ui.theme"),
        ({"xray": {"service_name": "sshd"}}, "xray.service_name"),
        ({"paths": {"data_dir": "/etc"}}, "paths.data_dir"),
        ({}, "no.such_field"),
    ):
        wrong = agent.refusal("SettingsService/UpdateSettings", {"settings": changed, "update_mask": camel(mask)})
        refused_with(wrong, "INVALID_ARGUMENT", "INVALID_ARGUMENT")


def camel(path):
    """JSON has the paths of a mask in lowerCamelCase."""
    head, *tail = path.split("_")
    return head + "".join(word.capitalize() for word in tail)


@step
def collector(agent, state):
    told = agent.call("CollectorService/GetCollector")["collector"]
    expect(told["is_enabled"] and told["lag_days"] == 0 and not told["disabled_reason"], told)
    paused = agent.call("CollectorService/SetCollectorEnabled", {"is_enabled": False})["collector"]
    expect(not paused["is_enabled"] and paused["disabled_reason"], paused)
    resumed = agent.call("CollectorService/SetCollectorEnabled", {"is_enabled": True})["collector"]
    expect(resumed["is_enabled"], resumed)
    expect("booked_bytes" in agent.call("CollectorService/RunCollector"), "nothing told")


@step
def checks(agent, state):
    listed = agent.call("CheckService/ListChecks")
    expect(listed["checks"] and not listed["is_running"], listed)
    name = listed["checks"][0]["name"]
    ran = agent.call("CheckService/RunChecks", {"names": [name]})["checks"]
    expect([check["name"] for check in ran] == [name] and ran[0]["last_run_at"], ran)
    refused_with(agent.refusal("CheckService/RunChecks", {"names": ["nothing"]}), "NOT_FOUND", "CHECK_NOT_FOUND")


@step
def domains(agent, state):
    told = agent.call("DomainService/ListDomains", {"by_key": True, "limit": 5})
    expect(not told["is_enabled"] and told["domains"] == [], told)


@step
def new_uuid_and_end(agent, state):
    regenerated = agent.call("KeyService/RegenerateKey", {"key_id": state.key["id"]})["key"]
    expect(regenerated["id"] == state.key["id"] and regenerated["uuid"] != state.key["uuid"], regenerated)
    deleted = agent.call("KeyService/DeleteKey", {"key_id": regenerated["uuid"]})["key"]
    expect(deleted["id"] == state.key["id"], deleted)
    for method in ("GetKey", "UpdateKey", "DeleteKey", "RegenerateKey", "GetKeyLink", "GetKeyQrCode"):
        gone = agent.refusal(f"KeyService/{method}", {"key_id": state.key["id"]})
        refused_with(gone, "NOT_FOUND", "KEY_NOT_FOUND")


@step
def deadlines(agent, state):
    """A stream ends at the caller's deadline; a call whose time is up is not answered. The agent goes on."""
    try:
        agent.watch("TrafficService/WatchTraffic", {}, 1000, timeout=1.5)
        raise AssertionError("a watch outlives its deadline")
    except Refused as refused:
        expect(refused.code.name == "DEADLINE_EXCEEDED", refused)
    late = agent.refusal("CheckService/RunChecks", timeout=0.001)
    expect(late.code.name == "DEADLINE_EXCEEDED", late)
    expect(agent.call("SystemService/GetState")["is_ready"], "not ready any more")


@step
def health(agent, state):
    told = agent.call("grpc.health.v1.Health/Check")
    expect(told["status"] == "SERVING", told)
    watched = agent.watch("grpc.health.v1.Health/Watch", {}, 1)
    expect(watched[0]["status"] == "SERVING", watched)


def strangers(address, agent):
    """Without the right key nothing is answered, whatever is asked."""
    for api_key in (None, "", "another-key-for-the-stories"):
        stranger = Agent(address, api_key)
        # It cannot ask which services there are either, so it uses what a friend has learned.
        stranger.pool = agent.pool
        for method in ("KeyService/ListKeys", "SystemService/GetVersion", "grpc.health.v1.Health/Check"):
            refused = stranger.refusal(method)
            expect((refused.code.name, refused.reason) == ("UNAUTHENTICATED", "INVALID_API_KEY"), refused)
        try:
            names = stranger.database.get_services()
            raise AssertionError(f"a stranger is told of {names}")
        except Exception as error:  # pylint: disable=broad-except
            expect("UNAUTHENTICATED" in repr(error), error)


def main(address, api_key):
    agent = Agent(address, api_key)
    state = State(agent)
    failures = []
    for function in STEPS:
        try:
            function(agent, state)
        except Exception as error:  # pylint: disable=broad-except
            at = traceback.extract_tb(error.__traceback__)
            line = [frame.lineno for frame in at if frame.filename == __file__][-1]
            failures.append(f"{function.__name__}, line {line}: {type(error).__name__}: {error}")
    strangers(address, agent)
    never = agent.methods("portmeter.v1") - agent.called
    failures += [f"never called: {method}" for method in sorted(never)]
    print("\n".join(sorted(method for method in agent.called if method.startswith("portmeter.v1."))))
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main(*sys.argv[1:])
