"""A client with generated code, as most are written: makes it from the .proto files, then sells a key and watches it.

    with_stubs.py PROTO_FOLDER ADDRESS API_KEY
"""

import importlib
import pathlib
import sys
import tempfile
import uuid

import grpc
import grpc_tools
from grpc_tools import protoc


def generate(proto_folder, to):
    """What `python -m grpc_tools.protoc` does; fails where a file does not stand by itself."""
    files = sorted(pathlib.Path(proto_folder).rglob("*.proto"))
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{proto_folder}", f"-I{well_known}", f"--python_out={to}", f"--grpc_python_out={to}"]
    if protoc.main(arguments + [str(file) for file in files]) != 0:
        sys.exit("the .proto files are refused")
    sys.path.insert(0, to)
    for file in files:
        name = ".".join(file.relative_to(proto_folder).with_suffix("").parts)
        importlib.import_module(name + "_pb2_grpc")


def main(proto_folder, address, api_key):
    with tempfile.TemporaryDirectory() as folder:
        generate(proto_folder, folder)
        from portmeter.v1 import key_service_pb2 as key_messages
        from portmeter.v1 import key_service_pb2_grpc as key_stubs
        from portmeter.v1 import traffic_service_pb2 as traffic_messages
        from portmeter.v1 import traffic_service_pb2_grpc as traffic_stubs

        metadata = [("x-api-key", api_key)]
        with grpc.insecure_channel(address) as channel:
            keys = key_stubs.KeyServiceStub(channel)
            request = key_messages.CreateKeyRequest(name="with stubs", request_id=str(uuid.uuid4()))
            key = keys.CreateKey(request, metadata=metadata, timeout=30).key
            assert key.port and key.is_active, key
            request = key_messages.UpdateKeyRequest(key_id=key.id, name="renamed")
            request.update_mask.paths.append("name")
            assert keys.UpdateKey(request, metadata=metadata, timeout=30).key.name == "renamed"
            traffic = traffic_stubs.TrafficServiceStub(channel)
            request = traffic_messages.WatchTrafficRequest(key_id=key.uuid)
            watch = traffic.WatchTraffic(request, metadata=metadata, timeout=30)
            assert next(watch).key_traffic[0].key.id == key.id
            watch.cancel()
            keys.DeleteKey(key_messages.DeleteKeyRequest(key_id=key.id), metadata=metadata, timeout=30)
            try:
                keys.GetKey(key_messages.GetKeyRequest(key_id=key.id), metadata=metadata, timeout=30)
                sys.exit("a deleted key is there")
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.NOT_FOUND, error


if __name__ == "__main__":
    main(*sys.argv[1:])
