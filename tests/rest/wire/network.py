"""Rows for virtual private networks, under both of their paths."""

from __future__ import annotations

from golem_nb.rest import Net
from golem_nb.rest.errors import BadRequestError, NotFoundError
from tests.rest.wire.recorded import (
    BAD_JSON,
    ID,
    NO_ROUTE,
    Api,
    Calls,
    Case,
    Compare,
    Errors,
    asked,
    each,
    equal,
    raw,
    whole,
)

_NET = r"/net-api/(?:v1/net|v2/vpn/net)"


def net(api: Api, case: Case) -> Net:
    return api.net_v2 if "/net-api/v2/" in case["request"]["path"] else api.net


CALLS: Calls = {
    f"POST {_NET}": lambda a, c: net(a, c).create_network(
        asked(c).get("ip", ""), asked(c).get("mask"), asked(c).get("gateway")
    ),
    f"GET {_NET}": lambda a, c: net(a, c).networks(),
    f"GET {_NET}{ID}": lambda a, c, i: net(a, c).network(i),
    f"DELETE {_NET}{ID}": lambda a, c, i: net(a, c).remove_network(i),
    f"POST {_NET}{ID}/addresses": lambda a, c, i: net(a, c).add_address(i, asked(c)["ip"]),
    f"GET {_NET}{ID}/addresses": lambda a, c, i: net(a, c).addresses(i),
    f"POST {_NET}{ID}/nodes": lambda a, c, i: net(a, c).add_node(i, asked(c)["id"], asked(c)["ip"]),
    f"GET {_NET}{ID}/nodes": lambda a, c, i: net(a, c).nodes(i),
    f"DELETE {_NET}{ID}/nodes{ID}": lambda a, c, i, n: net(a, c).remove_node(i, n),
    f"GET {_NET}{ID}/tcp": raw,  # not in this build of the daemon
    "GET /net-api/v2/net/status": raw,
}

ERRORS: Errors = {
    **{
        f"{group}/{name}": expected
        for group in ("net", "net-v1")
        for name, expected in {
            "address-add-outside": (BadRequestError, "Network not found for IP address: 10.0.0.1"),
            "address-add-invalid": (BadRequestError, "Invalid IP address"),
            "node-add-outside": (BadRequestError, "Invalid network IP address: 10.1.1.1"),
            "connections": NO_ROUTE,
            "get-unknown": (NotFoundError, "Network not found"),
            "create-invalid-ip": (BadRequestError, "Creating network nope failed: Invalid IP address"),
            "create-no-ip": BAD_JSON,
        }.items()
    },
}


NETWORK = {"id": "id", "ip": "ip", "mask": "mask", "gateway": "gateway"}


SUCCESS: dict[str, Compare] = {
    f"POST {_NET}": whole(NETWORK),
    f"GET {_NET}": each(NETWORK),
    f"GET {_NET}{ID}": whole(NETWORK),
    f"GET {_NET}{ID}/addresses": lambda r, c: equal([{"ip": ip} for ip in r], c),
    f"GET {_NET}{ID}/nodes": each({"id": "id", "ip": "ip"}),
}
