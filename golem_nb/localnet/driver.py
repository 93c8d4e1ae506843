"""What the daemons' payment driver is told about its chains."""

from __future__ import annotations

from typing import Final

from golem_nb.localnet.chain import FAUCET, NETWORKS

__all__ = ["FILE_NAME", "driver_configuration"]

#: The daemon reads it from its data folder in place of its built-in configuration.
FILE_NAME: Final = "config-payments.toml"

# The faucet of the chain's currency must be named but is never asked: every account has enough of it.
# Timers in seconds, quick: a test waits for its payment. The driver looks for work on its own account only.
_ENGINE: Final = """\
[engine]
process-interval = 1
process-interval-after-send = 1
process-interval-after-error = 3
process-interval-after-no-gas-or-token-start = 3
process-interval-after-no-gas-or-token-max = 10
process-interval-after-no-gas-or-token-increase = 1.5
report-alive-interval = 30
gather-interval = 1
gather-at-start = true
automatic-recover = false
ignore-deadlines = true
"""

_CHAIN: Final = """
[chain.{name}]
chain-name = "{title}"
chain-id = {chain_id}
currency-symbol = "tETH"
priority-fee = 0.000001
max-fee-per-gas = 20.0
transaction-timeout = 100
token = {{ address = "{token}", symbol = "tGLM" }}
mint-contract = {{ address = "{faucet}", max-glm-allowed = 400 }}
faucet-client = {{ max-eth-allowed = 0.01, faucet-srv = "_no", faucet-srv-port = 1, \
faucet-host = "127.0.0.1", faucet-lookup-domain = "localhost" }}
confirmation-blocks = 0

[[chain.{name}.rpc-endpoints]]
names = "local"
endpoints = "{url}/eth/{name}"
priority = 0
max-timeout-ms = 5000
verify-interval-secs = 300
allowed-head-behind-secs = 120
"""


def driver_configuration(url: str) -> str:
    """Return the text of the configuration file: the development chain at a base address, and no other."""
    chains = (
        _CHAIN.format(
            name=network.name,
            title=network.name.capitalize(),
            chain_id=network.chain_id,
            token=network.token,
            faucet=FAUCET,
            url=url,
        )
        for network in NETWORKS.values()
    )
    return _ENGINE + "".join(chains)
