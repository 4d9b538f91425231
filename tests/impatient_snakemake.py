"""Snakemake as from the command line, but asking for the state of its cluster jobs every half second.

The executor waits 10 s longer after each time that none has finished; jobs of a test are done before.
"""

import asyncio
import sys

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


async def half_a_second(executor: RemoteExecutor) -> None:
    await asyncio.sleep(0.5)


RemoteExecutor.sleep = half_a_second
sys.exit(main())
