#!/usr/bin/env python3
"""A client of the shop's gRPC API.

Install what it needs and generate the stubs, at the top of the checkout:

    python3 -m venv venv
    venv/bin/pip install -r examples/python/requirements.txt grpcio-tools
    mkdir -p stubs
    venv/bin/python -m grpc_tools.protoc -I proto --python_out=stubs --grpc_python_out=stubs \
        shop/v1/product_service.proto

Only shop/v1 is generated: the modules of google/api and google/rpc come with googleapis-common-protos, and the files
of the same names below proto/ are only there to be imported. Then, with a bridge on port 50051:

    export PYTHONPATH=stubs
    venv/bin/python examples/python/shop_client.py list
    venv/bin/python examples/python/shop_client.py get 1
    venv/bin/python examples/python/shop_client.py --target shop.example.com:443 --tls --api-key KEY get 1

The answer is printed as one JSON document. An error is printed to stderr, its code and message first and then a line of
JSON for each of its details, and the exit code is 1.
"""

import argparse
import json
import sys

import grpc
from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2  # noqa: F401 (makes the details of errors known by their names)
from grpc_status import rpc_status

from shop.v1 import product_service_pb2, product_service_pb2_grpc


def main() -> int:
    args = arguments()
    call = {
        # Without it a call may wait for ever.
        "timeout": args.timeout,
        # Where an API gateway looks for the key; the bridge itself asks for none.
        "metadata": [("x-api-key", args.api_key)] if args.api_key else [],
    }
    with channel(args) as connection:
        shop = product_service_pb2_grpc.ProductServiceStub(connection)
        try:
            if args.command == "list":
                answer = shop.ListProducts(product_service_pb2.ListProductsRequest(), **call)
            else:
                answer = shop.GetProduct(product_service_pb2.GetProductRequest(id=args.id), **call)
        except grpc.RpcError as error:
            explain(error)
            return 1
    print(json.dumps(as_json(answer), indent=2, ensure_ascii=False))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Reads the products of the shop.")
    parser.add_argument("--target", default="localhost:50051", help="host and port (default: %(default)s)")
    parser.add_argument("--tls", action="store_true", help="speak TLS, as a gateway wants it")
    parser.add_argument("--timeout", type=float, default=10, metavar="S", help="in seconds (default: %(default)s)")
    parser.add_argument("--api-key", metavar="KEY", help="sent as x-api-key")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every product")
    commands.add_parser("get", help="one product").add_argument("id", type=int, metavar="ID")
    return parser.parse_args()


def channel(args: argparse.Namespace) -> grpc.Channel:
    if args.tls:
        return grpc.secure_channel(args.target, grpc.ssl_channel_credentials())
    return grpc.insecure_channel(args.target)


def explain(error: grpc.RpcError) -> None:
    print(f"{error.code().name}: {error.details()}", file=sys.stderr)
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        try:
            known = as_json(detail)
        except TypeError:
            known = {"@type": detail.type_url}
        print(json.dumps(known, ensure_ascii=False), file=sys.stderr)


def as_json(message) -> dict:
    return MessageToDict(message, preserving_proto_field_name=True)


if __name__ == "__main__":
    sys.exit(main())
