"""Asks the echo server of tests/rpc for health and reflection as any gRPC client would: messages are
built from the descriptors that the server itself hands out. Usage: foreign_client.py HOST:PORT"""
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

channel = grpc.insecure_channel(sys.argv[1])
raw = {"request_serializer": lambda m: m, "response_deserializer": lambda m: m}


def field(number, payload):
    """A length-delimited field; payloads here are short."""
    return bytes([number << 3 | 2, len(payload)]) + payload


def expect(condition, what):
    if not condition:
        sys.exit(f"foreign_client.py: {what}")


# Bootstrap: the reflection service's own descriptor, asked for with hand-made bytes.
PATH = "/grpc.reflection.{}.ServerReflection/ServerReflectionInfo"
first = channel.stream_stream(PATH.format("v1alpha"), **raw)
(answer,) = first(iter([field(4, b"grpc.reflection.v1alpha.ServerReflection")]), timeout=5)
pool = descriptor_pool.DescriptorPool()


def skip_varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = skip_varint(data, at)
        expect(key & 7 == 2, "an unexpected field in the first answer")
        length, at = skip_varint(data, at)
        yield key >> 3, data[at:at + length]
        at += length


for number, body in fields(answer):
    if number == 4:
        for _, proto in fields(body):
            pool.Add(descriptor_pb2.FileDescriptorProto.FromString(proto))


def message(name):
    return message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName(name))


def load(response):
    names = []
    for proto in response.file_descriptor_response.file_descriptor_proto:
        parsed = descriptor_pb2.FileDescriptorProto.FromString(proto)
        names.append(parsed.name)
        try:
            pool.FindFileByName(parsed.name)
        except KeyError:
            pool.Add(parsed)
    return names


Request = message("grpc.reflection.v1alpha.ServerReflectionRequest")
Response = message("grpc.reflection.v1alpha.ServerReflectionResponse")

for version in ("v1alpha", "v1"):
    ask = channel.stream_stream(PATH.format(version), request_serializer=Request.SerializeToString,
                                response_deserializer=Response.FromString)
    questions = [
        Request(host="h", list_services="*"),
        Request(file_by_filename="grpc/health/v1/health.proto"),
        Request(file_containing_symbol="flotilla.v1.Node.Raft"),
        Request(file_containing_symbol="no.such.Thing"),
        Request(file_by_filename="no/such.proto"),
        Request(all_extension_numbers_of_type="flotilla.v1.Frame"),
        Request(),
    ]
    answers = list(ask(iter(questions), timeout=5))
    expect(len(answers) == len(questions), f"{version}: {len(answers)} answers")
    for question, reply in zip(questions, answers):
        expect(reply.original_request == question, f"{version}: the question is not echoed")
    services = {service.name for service in answers[0].list_services_response.service}
    expect(services == {"test.Echo", "grpc.health.v1.Health",
                        "grpc.reflection.v1.ServerReflection",
                        "grpc.reflection.v1alpha.ServerReflection"}, f"{version}: {services}")
    expect(answers[0].valid_host == "h", f"{version}: host")
    expect(load(answers[1]) == ["grpc/health/v1/health.proto"], f"{version}: health.proto")
    expect(load(answers[2]) == ["flotilla/v1/node.proto"], f"{version}: node.proto")
    for i, code in ((3, 5), (4, 5), (5, 5), (6, 3)):
        expect(answers[i].error_response.error_code == code, f"{version}: answer {i}: {answers[i]}")
        expect(answers[i].error_response.error_message, f"{version}: answer {i} has no text")

# Health, with the messages that reflection gave.
Check = message("grpc.health.v1.HealthCheckRequest")
Health = message("grpc.health.v1.HealthCheckResponse")
codec = {"request_serializer": Check.SerializeToString,
         "response_deserializer": Health.FromString}
check = channel.unary_unary("/grpc.health.v1.Health/Check", **codec)
expect(check(Check(), timeout=5).status == 1, "the server is not SERVING")
expect(check(Check(service="test.Echo"), timeout=5).status == 1, "test.Echo is not SERVING")
try:
    check(Check(service="nobody"), timeout=5)
    sys.exit("foreign_client.py: an unknown service was found")
except grpc.RpcError as error:
    expect(error.code() == grpc.StatusCode.NOT_FOUND, f"unknown service: {error}")
    expect("nobody" in error.details(), f"unknown service: {error.details()}")

watch = channel.unary_stream("/grpc.health.v1.Health/Watch", **codec)
call = watch(Check(service="nobody"), timeout=5)
expect(next(iter(call)).status == 3, "a watched unknown service is not SERVICE_UNKNOWN")
call.cancel()

# A large message and a compressed one, which only a full server stack takes.
echo = channel.unary_unary("/test.Echo/Unary", **raw)
payload = b"flotilla" * 700_000
client = grpc.insecure_channel(sys.argv[1], options=[("grpc.max_receive_message_length", -1)])
large = client.unary_unary("/test.Echo/Unary", **raw)
expect(large(payload, timeout=10) == payload, "5.6 MB did not come back")
expect(large(payload, timeout=10, compression=grpc.Compression.Gzip) == payload, "gzip")
try:
    large(b"x" * (16 * 1024 * 1024 + 1), timeout=10)
    sys.exit("foreign_client.py: more than 16 MiB were taken")
except grpc.RpcError as error:
    expect(error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, f"oversized: {error}")
    expect("16777216" in error.details(), f"oversized: {error.details()}")
try:
    channel.unary_unary("/flotilla.v1.Nothing/Here", **raw)(b"", timeout=5)
    sys.exit("foreign_client.py: a missing method answered")
except grpc.RpcError as error:
    expect(error.code() == grpc.StatusCode.UNIMPLEMENTED, f"missing method: {error}")
