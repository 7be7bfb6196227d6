"""bench/restart/client.py: calls two bridges in turn, as a program with grpcio does, and checks each answer.

Prints what became of the calls as one line of JSON on stdout, when all are made.
"""

import argparse
import json
import random
import threading
import time
from collections import defaultdict
from pathlib import Path

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

OPTIONS = [
    # No retryPolicy: what a call meets is what is counted.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    # Else it is the list of both addresses, whose comma no authority can have.
    ("grpc.default_authority", "shop"),
]
SLOW_SECONDS = "0.5"
DEADLINE_SECONDS = 10
PAUSE_AFTER_FAILURE_SECONDS = 0.1


def main() -> None:
    args = arguments()
    shop = Shop(args.descriptor_set, json.loads(args.answers.read_text()))
    with grpc.insecure_channel(f"ipv4:{','.join(args.addresses)}", OPTIONS) as channel:
        callers = [Caller(shop, channel, f"{args.name}@{number}", args) for number in range(args.threads)]
        begun = time.monotonic()
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        print(json.dumps({"begun": begun, "ended": time.monotonic()} | report(callers)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("addresses", nargs=2)
    parser.add_argument("--name", required=True, help="what the ids of its requests begin with")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--calls-per-thread", type=int, required=True)
    parser.add_argument("--products", type=int, required=True, help="how many are asked for")
    parser.add_argument("--slow-one-in", type=int, required=True, help="how many calls there are for a Slow one")
    parser.add_argument("--descriptor-set", type=Path, required=True)
    parser.add_argument("--answers", type=Path, required=True, help="what Rails says, by path")
    return parser.parse_args()


def report(callers: list) -> dict:
    latencies = defaultdict(list)
    for caller in callers:
        for method, of_caller in caller.latencies_ms.items():
            latencies[method] += of_caller
    return {"latencies_ms": latencies, "failures": [failure for caller in callers for failure in caller.failures]}


class Shop:
    """The contract, and what Rails says of each product."""

    def __init__(self, descriptor_set: Path, answers: dict[str, str]) -> None:
        self.pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set.read_bytes()).file:
            self.pool.Add(file)
        self.requests = {"Get": self.message("GetRequest"), "Slow": self.message("SlowRequest")}
        self.answer = self.message("GetResponse")
        self.products = {
            int(path.removeprefix("/products/")): json_format.Parse(body, self.answer())
            for path, body in answers.items()
            if path != "/products"
        }

    def message(self, name: str) -> type:
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(f"bench.v1.{name}"))

    def methods(self, channel: grpc.Channel) -> dict[str, grpc.UnaryUnaryMultiCallable]:
        return {
            name: channel.unary_unary(f"/bench.v1.Shop/{name}", request.SerializeToString, self.answer.FromString)
            for name, request in self.requests.items()
        }

    def request(self, method: str, product: int):
        own = {"seconds": SLOW_SECONDS} if method == "Slow" else {}
        return self.requests[method](id=product, **own)


class Caller(threading.Thread):
    """Waits for each answer before it calls again."""

    def __init__(self, shop: Shop, channel: grpc.Channel, name: str, args: argparse.Namespace) -> None:
        super().__init__()
        self.shop, self.methods = shop, shop.methods(channel)
        self.id, self.calls, self.slow_one_in = name, args.calls_per_thread, args.slow_one_in
        self.products = sorted(shop.products)[: args.products]
        self.random = random.Random(name)
        self.latencies_ms = defaultdict(list)
        self.failures = []

    def run(self) -> None:
        for number in range(self.calls):
            request_id = f"{self.id}-{number}"
            if self.random.randrange(self.slow_one_in) == 0:
                # All for one product, so that they share requests and leave Rails threads for the others.
                self.call("Slow", self.products[0], request_id)
            else:
                self.call("Get", self.random.choice(self.products), request_id)

    def call(self, method: str, product: int, request_id: str) -> None:
        begun = time.monotonic()
        failure = self.failure(method, product, request_id)
        took = time.monotonic() - begun
        self.latencies_ms[method].append(took * 1000)
        if failure is not None:
            call = {"method": method, "request_id": request_id, "begun": begun, "seconds": took}
            self.failures.append(call | failure)
            time.sleep(PAUSE_AFTER_FAILURE_SECONDS)

    def failure(self, method: str, product: int, request_id: str) -> dict | None:
        """None if the answer is what Rails says, which is never nothing."""
        request = self.shop.request(method, product)
        try:
            answer = self.methods[method](request, DEADLINE_SECONDS, [("x-request-id", request_id)])
        except grpc.RpcError as error:
            return {"code": error.code().name, "message": error.details(), "more": error.debug_error_string()}
        if answer == self.shop.products[product]:
            return None
        return {"code": "WRONG", "message": f"product {product}", "more": str(answer)}


if __name__ == "__main__":
    main()
