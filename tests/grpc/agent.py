"""A gRPC client of an agent that knows nothing beforehand: services and messages come by reflection."""

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

DOMAIN = "portmeter"
TIMEOUT_SECONDS = 30


class Refused(Exception):
    """A call that failed: its code, its sentence, and the reason in its details."""

    def __init__(self, error):
        self.code = error.code()
        self.sentence = error.details()
        self.reason = None
        self.violations = []
        status = rpc_status.from_call(error)
        for detail in status.details if status else []:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo()
                detail.Unpack(info)
                assert info.domain == DOMAIN, info
                self.reason = info.reason
            if detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                request = error_details_pb2.BadRequest()
                detail.Unpack(request)
                self.violations = [violation.field for violation in request.field_violations]
        super().__init__(f"{self.code.name} {self.reason}: {self.sentence}")


class WithKey(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Sends the API key with every call, reflection's own among them."""

    def __init__(self, api_key):
        self.metadata = [("x-api-key", api_key)]

    def _with_key(self, details):
        return details._replace(metadata=list(details.metadata or []) + self.metadata)

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(self._with_key(details), request)

    def intercept_unary_stream(self, continuation, details, request):
        return continuation(self._with_key(details), request)

    def intercept_stream_stream(self, continuation, details, requests):
        return continuation(self._with_key(details), requests)


class Agent:
    """An agent at `address`; requests and answers are dictionaries with the fields' names of the .proto files."""

    def __init__(self, address, api_key):
        plain = grpc.insecure_channel(address)
        self.channel = grpc.intercept_channel(plain, WithKey(api_key)) if api_key is not None else plain
        self.database = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = descriptor_pool.DescriptorPool(self.database)
        self.called = set()

    def methods(self, package):
        """Every method of the services in a package, as `package.Service/Method`."""
        names = [name for name in self.database.get_services() if name.startswith(package + ".")]
        services = [self.pool.FindServiceByName(name) for name in names]
        return {f"{service.full_name}/{method.name}" for service in services for method in service.methods}

    def call(self, name, request=None, timeout=TIMEOUT_SECONDS):
        """The answer to a call, for example of `KeyService/GetKey`."""
        method, message = self._prepared(name, request)
        assert not method.server_streaming, name
        call = self.channel.unary_unary(*self._codec(method))
        try:
            return as_dictionary(call(message, timeout=timeout))
        except grpc.RpcError as error:
            raise Refused(error) from None

    def watch(self, name, request, count, timeout=TIMEOUT_SECONDS):
        """The first messages of a stream, which is then left."""
        method, message = self._prepared(name, request)
        assert method.server_streaming, name
        stream = self.channel.unary_stream(*self._codec(method))(message, timeout=timeout)
        messages = []
        try:
            for message in stream:
                messages.append(as_dictionary(message))
                if len(messages) == count:
                    break
        except grpc.RpcError as error:
            raise Refused(error) from None
        stream.cancel()
        return messages

    def refusal(self, name, request=None, timeout=TIMEOUT_SECONDS):
        """How a call that must fail does so."""
        try:
            answer = self.call(name, request, timeout)
        except Refused as refused:
            return refused
        raise AssertionError(f"{name} {request} is answered with {answer}")

    def _prepared(self, name, request):
        full_name = name if name.startswith("grpc.") else f"portmeter.v1.{name}"
        self.called.add(full_name)
        service, _, method = full_name.partition("/")
        method = self.pool.FindServiceByName(service).methods_by_name[method]
        message = message_factory.GetMessageClass(method.input_type)()
        return method, json_format.ParseDict(request or {}, message, descriptor_pool=self.pool)

    @staticmethod
    def _codec(method):
        answer = message_factory.GetMessageClass(method.output_type)
        path = f"/{method.containing_service.full_name}/{method.name}"
        return path, lambda message: message.SerializeToString(), answer.FromString


def as_dictionary(message):
    """With every field that has a value, and zeros of those that always have one."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
