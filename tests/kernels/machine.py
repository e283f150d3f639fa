"""One emulated machine: an initramfs, QEMU, and what it says until it is off."""

from __future__ import annotations

import lzma
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.kernels.debian import Kernel

HERE = Path(__file__).parent
# What the guest needs before it can see the host's files; all else is found by modprobe.
_FIRST_MODULES = ("virtio_pci", "virtio_blk", "9pnet_virtio", "9p", "overlay")
_FOLDERS = ("bin", "proc", "sys", "dev", "lower", "upper", "root", "modules")
_COMMANDS = ("sh", "mount", "insmod", "mkdir", "switch_root")
_MEMORY = 2048  # [MiB]
_CPUS = 2
_DISK = 2 << 30  # [bytes], sparse


def boot(kernel: Kernel, job: str, results: Path, seconds: float) -> None:
    """
    Run a job as root on a kernel, with the host's files, and wait until the machine is off.

    Args:
        kernel: What to boot.
        job: Shell script; what it writes goes to standard output.
        results: Folder that the job sees as /run/results.
        seconds: After so long the machine is switched off.

    """
    shutil.copy(HERE / "init.sh", results)
    (results / "job.sh").write_text(job)
    (results / "modules").write_text(str(kernel.modules))
    work = results.parent
    pack(kernel, work / "initramfs")
    disk = work / "disk"
    with disk.open("wb") as file:
        file.truncate(_DISK)
    subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True)
    run(command(kernel, work / "initramfs", disk, results), seconds)


def pack(kernel: Kernel, target: Path) -> None:
    """Write the initramfs: busybox, the first modules and the first program."""
    root = target.with_suffix(".tree")
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for command in _COMMANDS:
        (root / "bin" / command).symlink_to("busybox")
    shutil.copy(HERE / "initramfs.sh", root / "init")
    (root / "init").chmod(0o755)
    names = []
    for module in _chain(kernel):
        data = module.read_bytes()
        names.append(module.name.removesuffix(".xz"))
        (root / "modules" / names[-1]).write_bytes(
            lzma.decompress(data) if module.suffix == ".xz" else data
        )
    (root / "modules/order").write_text("".join(f"{name}\n" for name in names))
    with target.open("wb") as archive:
        files = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
        command = ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"]
        subprocess.run(command, input=files.encode(), cwd=root, stdout=archive, check=True)
    shutil.rmtree(root)


def _chain(kernel: Kernel) -> Iterator[Path]:
    """Name the first modules with all they depend on, each once, in the order of loading."""
    seen = set()
    for name in _FIRST_MODULES:
        command = ["modprobe", "-d", kernel.folder, "-S", kernel.release, "--show-depends", name]
        for line in subprocess.check_output(command, text=True).splitlines():
            found = re.match(r"insmod (\S.*?)\s*$", line)
            if found and found[1] not in seen:
                seen.add(found[1])
                yield Path(found[1])


def command(kernel: Kernel, initramfs: Path, disk: Path, results: Path) -> list[str]:
    """Write the command line of QEMU."""
    words = (
        # It must not outlive this program, whatever ends that. One thread for all CPUs: before
        # 8.1, QEMU with more of them may run an int3 that the kernel has long replaced by the
        # patched instruction (static keys, tracepoints), and the kernel dies of it (2 runs of 4).
        "setpriv --pdeathsig KILL qemu-system-x86_64 -machine q35 -accel tcg,thread=single -cpu max"
        f" -m {_MEMORY} -smp {_CPUS} -nodefaults -no-reboot -display none -serial stdio"
    ).split()
    console = "console=ttyS0 panic=-1 quiet loglevel=1 tsc=reliable"
    root = "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"
    return [
        *words, "-kernel", str(kernel.image), "-initrd", str(initramfs), "-append", console,
        "-fsdev", root, "-device", "virtio-9p-pci,fsdev=root,mount_tag=root",
        "-fsdev", f"local,id=results,path={_comma(results)},security_model=none",
        "-device", "virtio-9p-pci,fsdev=results,mount_tag=results",
        "-drive", f"file={_comma(disk)},format=raw,if=virtio,cache=unsafe",
    ]  # fmt: skip


def _comma(path: Path) -> str:
    """Write a path as a part of an option of QEMU."""
    return str(path).replace(",", ",,")


def run(words: list[str], seconds: float) -> None:
    """Start a machine, pass on what it says, and see to it that it ends."""
    machine = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    limit = threading.Timer(seconds, machine.kill)
    limit.start()
    with machine:
        try:
            for line in machine.stdout or ():
                sys.stdout.write(line.decode("utf-8", "replace").rstrip("\r\n") + "\n")
                sys.stdout.flush()
        finally:
            limit.cancel()
            machine.kill()
