"""The devices and hosts of a run, from its command line."""

import contextlib
import dataclasses
import os
import pathlib
import re
import tempfile

import jax
import platformdirs
from jax.sharding import Mesh

from vaells_jax.runs.command import Flags
from vaells_jax.sharding import make_mesh

_ADDRESS = re.compile(r"[\w.\-]+:\d{1,5}|\[[0-9a-fA-F:.]+\]:\d{1,5}")
MOST_DEVICES = 1024
"""More of one host are a slip: JAX would make as many of a CPU's cores."""
PATIENCE = 300
"""Seconds that hosts wait for each other when they start."""
CACHE_BYTES = 2**30
"""Most bytes of compiled programs at a start; the oldest go first."""


@dataclasses.dataclass(frozen=True)
class Resources:
    """The devices of a run and its debugging flags, which do not affect results.

    Attributes:
        mesh: Devices that share each batch; None for one device.
        debug_nans: Where a number fails, look for the operation that did it.
    """

    mesh: Mesh | None = None
    debug_nans: bool = False

    @property
    def host(self) -> int:
        """This host's number; 0 where there is but one."""
        return jax.process_index() if self.mesh is not None else 0


def claim_devices(arguments: Flags) -> Resources:
    """Find the devices that the flags ask for, and connect to the other hosts.

    Call it before JAX is first used, or its CPU cores are one device for good.

    Raises:
        ValueError: If a flag makes no sense, lacks its companions or asks for more
            than there is; names it.
    """
    wanted = arguments.devices
    if wanted is not None and not 1 <= wanted <= MOST_DEVICES:
        raise ValueError(f"--devices: wanted 1 to {MOST_DEVICES}; got {wanted}.")
    several = _check_hosts(arguments)
    _show_cores(wanted or 1)
    if arguments.compile_cache:
        keep_compiled()
    if several:
        _meet_hosts(arguments)
    try:
        found = jax.local_devices()
    except (RuntimeError, AssertionError) as error:  # JAX's own, some without words
        words = (str(error).splitlines() or ["no device of that kind"])[0]
        raise ValueError(
            f"JAX cannot start (JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}): "
            f"{words}"
        ) from error
    wanted = wanted or (len(found) if several else 1)
    if wanted > len(found):
        raise ValueError(
            f"--devices: wanted {wanted} {found[0].platform} devices; this host has "
            f"{len(found)}."
        )
    mesh = None
    if several:
        mesh = make_mesh(_of_every_host(wanted))
    elif wanted > 1:
        mesh = make_mesh(found[:wanted])
    return Resources(mesh, arguments.debug_nans)


def keep_compiled() -> None:
    """Keep compiled programs in the user's cache folder, for a quick next start.

    A folder that JAX was given otherwise (JAX_COMPILATION_CACHE_DIR) stays, and one
    that cannot be written is done without. Results are the same to the bit.
    """
    if jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        return
    folder = platformdirs.user_cache_path("vaells_jax", appauthor=False) / "compiled"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        _remove_oldest(folder)
    except OSError as error:
        print(f"  compiled programs cannot be cached: {error}")
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # A limit of JAX's own would read the whole folder, locked, at each program.
    jax.config.update("jax_compilation_cache_max_size", -1)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _remove_oldest(folder: pathlib.Path) -> None:
    """Remove a folder's oldest files until the rest are few enough."""
    with os.scandir(folder) as entries:
        files = [(entry.stat(), entry.path) for entry in entries if entry.is_file()]
    total = sum(found.st_size for found, _ in files)
    for found, path in sorted(files, key=lambda file: file[0].st_mtime):
        if total <= CACHE_BYTES:
            break
        with contextlib.suppress(FileNotFoundError):  # another process was first
            os.unlink(path)
        total -= found.st_size


def _check_hosts(arguments) -> bool:
    """Say whether there are several hosts; raise a ValueError where flags disagree."""
    flags = {
        "--coordinator": arguments.coordinator,
        "--hosts": arguments.hosts,
        "--host-index": arguments.host_index,
    }
    missing = [name for name, value in flags.items() if value is None]
    if len(missing) == len(flags):
        return False
    if missing:
        raise ValueError(
            "--coordinator, --hosts and --host-index go together; missing: "
            f"{', '.join(missing)}."
        )
    address, hosts, index = flags.values()
    port = int(address.rpartition(":")[2]) if _ADDRESS.fullmatch(address) else 0
    if not 0 < port < 65_536:
        raise ValueError(f"--coordinator: wanted ADDRESS:PORT; got {address!r}.")
    if hosts < 1:
        raise ValueError(f"--hosts: wanted at least 1; got {hosts}.")
    if not 0 <= index < hosts:
        raise ValueError(f"--host-index: wanted 0 to {hosts - 1}; got {index}.")
    return True


def _show_cores(count):
    """Make a CPU's cores devices, unless JAX has looked at them already."""
    forced = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if count > 1 and not forced:
        with contextlib.suppress(RuntimeError):  # what there is will be counted
            jax.config.update("jax_num_cpu_devices", count)


def _meet_hosts(arguments):
    try:
        jax.distributed.initialize(
            arguments.coordinator,
            arguments.hosts,
            arguments.host_index,
            initialization_timeout=PATIENCE,
        )
    except RuntimeError as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise ValueError(
            f"--coordinator: {arguments.hosts} hosts did not connect at "
            f"{arguments.coordinator} ({reason})."
        ) from error


def _of_every_host(count):
    """Take the first devices of each host, host by host."""
    chosen: list[jax.Device] = []
    for host in range(jax.process_count()):
        own = [device for device in jax.devices() if device.process_index == host]
        if len(own) < count:
            raise ValueError(
                f"--devices: wanted {count} of each host; host {host} has {len(own)}."
            )
        chosen += own[:count]
    return chosen
