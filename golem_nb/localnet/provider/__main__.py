"""`python -m golem_nb.localnet.provider`: the provider agent's process."""

from __future__ import annotations

from golem_nb.localnet.provider.agent import main

if __name__ == "__main__":
    main()
