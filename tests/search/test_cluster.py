from pathlib import Path

import psutil
import pytest

from trainingjob_trainer.search.cluster import local_workers


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_workers_and_scheduler_listen_on_the_loopback_interface_alone(tmp_path: Path) -> None:
    with local_workers(1, memory_limit_mb=700, scratch=tmp_path):
        here = psutil.Process()
        listening = [
            found.laddr
            for process in [here, *here.children(recursive=True)]
            for found in process.net_connections()
            if found.status == psutil.CONN_LISTEN
        ]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert 8787 not in {address.port for address in listening}
