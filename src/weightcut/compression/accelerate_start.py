"""`accelerate launch` for the processes of one machine: nothing listens beyond the loopback.

torchrun's own stores, by which its processes find each other, listen on every interface whatever
address they are given. This one is given a socket that is bound already.
"""

from __future__ import annotations

import socket
from typing import Any

BACKEND = "weightcut-loopback"
"""The rendezvous backend that this module registers with torch."""


class Loopback:
    """torch's RendezvousHandler for a launcher alone: there is no other one to wait for.

    The store lives as long as the launcher; the processes that it starts connect to it.
    """

    use_agent_store = True

    def __init__(self, parameters: Any) -> None:
        from torch.distributed import TCPStore

        bound = socket.create_server(("127.0.0.1", 0))
        self._run, (address, port) = parameters.run_id, bound.getsockname()
        self._store = TCPStore(
            address,
            port,
            is_master=True,
            wait_for_workers=False,
            multi_tenant=True,
            master_listen_fd=bound.detach(),
        )

    def get_backend(self) -> str:
        """Return the name that it is registered by."""
        return BACKEND

    def next_rendezvous(self) -> Any:
        """Return the store, and that this launcher is the first of one."""
        from torch.distributed import PrefixStore
        from torch.distributed.elastic.rendezvous.api import RendezvousInfo, RendezvousStoreInfo

        where = RendezvousStoreInfo(self._store.host, self._store.port)
        return RendezvousInfo(PrefixStore(self._run, self._store), 0, 1, where)

    def is_closed(self) -> bool:
        """Return that it never is."""
        return False

    def set_closed(self) -> None:
        """Do nothing: nobody else would come."""

    def num_nodes_waiting(self) -> int:
        """Return that nobody waits."""
        return 0

    def get_run_id(self) -> str:
        """Return the name of the run."""
        return str(self._run)

    def shutdown(self) -> bool:
        """Leave the store to the end of the process."""
        return True


def main() -> None:
    """Do what `accelerate launch` does, with this rendezvous at hand."""
    from accelerate.commands import launch
    from torch.distributed.elastic.rendezvous import rendezvous_handler_registry

    rendezvous_handler_registry.register(BACKEND, Loopback)
    launch.main()


if __name__ == "__main__":
    main()
