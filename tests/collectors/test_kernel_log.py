"""The kernel's own messages."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collectors import kernel_log
from collectors.base import Context, Paths
from collectors.kernel_log import collect
from collectors.kernel_log_classes import CLASSES, LEVELS, classify, parse_record
from collectors.model import Cause, Unavailable

BOOT = "proc/sys/kernel/random/boot_id"
KMSG = Path("/dev/kmsg")
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def lines(*messages, start=0, prefix=3):
    return "".join(
        f"{prefix},{n},{n * 1_000_000},-;{text}\n" for n, text in enumerate(messages, start)
    )


def sweep(host, *logs, memory=None, boot="one\n"):
    ctx = host(*({"root/dev/kmsg": log, BOOT: boot} for log in logs))
    ctx.memory = {} if memory is None else memory
    return collect(ctx)


def seen(sample):
    return {name: n for name, n in sample.increases.items() if n}


def total(sample):
    return {name: n for name, n in sample.totals.items() if n}


IO = "I/O error, dev sda, sector 8 op 0x0:(READ) flags 0x800 phys_seg 1 prio class 2"
OOM = "Out of memory: Killed process 12 (java) total-vm:1kB, anon-rss:1kB"
SEGV = "nginx[77]: segfault at 8 ip 00007f sp 00007f error 4 in libc.so.6[1,2]"


def test_a_record_is_taken_apart():
    record = parse_record(b"30,718,5000000,-,caller=T1;hello; world\n SUBSYSTEM=pci\n")
    assert record == (3, 6, 718, 5_000_000, b"hello; world")


@pytest.mark.parametrize("raw", [b"", b"x,1,2,-;a", b"3,1,2;a", b"3,1,-2,-;a", b" KEY=value", b"3"])
def test_what_is_no_record_is_refused(raw):
    with pytest.raises(ValueError, match="not a record"):
        parse_record(raw)


ERRORS = [
    (OOM, "oom_kill", "java"),
    ("Memory cgroup out of memory: Killed process 9 (a b) total-vm:1kB", "oom_kill", "a b"),
    ("INFO: task kworker/u4:2:123 blocked for more than 120 seconds.", "hung_task", "kworker/u4:2"),
    ("watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [stress:9]", "soft_lockup", None),
    ("NMI watchdog: Watchdog detected hard LOCKUP on cpu 3", "hard_lockup", None),
    ("watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3", "hard_lockup", None),
    ("rcu: INFO: rcu_preempt self-detected stall on CPU", "rcu_stall", None),
    ("rcu: INFO: rcu_sched detected expedited stalls on CPUs/tasks: {", "rcu_stall", None),
    ("Oops: 0002 [#1] PREEMPT SMP NOPTI", "oops", None),
    ("Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#2] SMP",
     "oops", None),
    ("general protection fault: 0000 [#1] SMP PTI", "oops", None),
    ("Internal error: Oops: 0000000096000004 [#1] SMP", "oops", None),
    ("BUG: Bad page state in process swapper/0  pfn:1234", "bug", None),
    ("BUG: scheduling while atomic: swapper/0/0x00000100", "bug", None),
    ("WARNING: CPU: 1 PID: 9 at kernel/fork.c:12 copy_process+0x1/0x2", "kernel_warning", None),
    (IO, "io_error", "sda"),
    ("blk_update_request: critical medium error, dev sdb, sector 5", "io_error", "sdb"),
    ("print_req_error: I/O error, dev vda, sector 5", "io_error", "vda"),
    ("Buffer I/O error on dev dm-0, logical block 3, lost async page write", "lost_write", "dm-0"),
    ("ata3.00: exception Emask 0x0 SAct 0x0 SErr 0x0 action 0x6 frozen", "storage_reset", "ata3"),
    ("nvme nvme0: I/O tag 12 (100c) opcode 0x2 (I/O Cmd) QID 3 timeout, aborting",
     "storage_reset", "nvme0"),
    ("sd 0:0:0:0: [sdc] tag#5 FAILED Result: hostbyte=DID_TIME_OUT driverbyte=DRIVER_OK",
     "storage_reset", "sdc"),
    ("md/raid1:md0: Disk failure on sdb1, disabling device.", "disk_gone", "sdb1"),
    ("nvme nvme1: Removing after probe failure status: -19", "disk_gone", "nvme1"),
    ("EXT4-fs error (device sda1): ext4_lookup:1855: inode #2", "filesystem_error", "sda1"),
    ("XFS (dm-1): Metadata corruption detected at xfs_agf_verify", "filesystem_error", "dm-1"),
    ("BTRFS error (device sdb state EA): bdev /dev/sdb errs: wr 1", "filesystem_error", "sdb"),
    ("BTRFS warning (device sdb): csum failed root 5 ino 257 off 0", "filesystem_error", "sdb"),
    ("mce: [Hardware Error]: Machine check events logged", "machine_check", None),
    ("EDAC MC0: 1 CE memory read error on CPU_SrcID#0", "edac_corrected", "MC0"),
    ("EDAC MC1: 1 UE memory read error on CPU_SrcID#0", "edac_uncorrected", "MC1"),
    ("Memory failure: 0x1234: recovery action for dirty LRU page: Recovered", "memory_error", None),
    ("pcieport 0000:00:1c.0: AER: Uncorrected (Fatal) error received: 0000:01:00.0",
     "pcie_error", "0000:00:1c.0"),
    (SEGV, "segfault", "nginx"),
    ("traps: a[5] general protection fault ip:1 sp:2 error:0 in a", "segfault", "a"),
    ("traps: a[5] trap divide error ip:1 sp:2 error:0 in a", "segfault", "a"),
    ("swapper/0: page allocation failure: order:0, mode:0x820", "page_allocation_failure",
     "swapper/0"),
    ("NETDEV WATCHDOG: eth0 (e1000e): transmit queue 0 timed out", "nic_hang", "eth0"),
    ("e1000e 0000:00:1f.6 eno1: NETDEV WATCHDOG: CPU: 1: transmit queue 0 timed out 5000 ms",
     "nic_hang", "eno1"),
    ("CPU0: Package temperature above threshold, cpu clock throttled (total events = 3)",
     "thermal_throttle", None),
    ("NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus.", "gpu_fault",
     "0000:3b:00"),
    ("NVRM: Xid (PCI:0000:3b:00): 31, pid=1, Ch 1", "gpu_application_fault", "0000:3b:00"),
    ("nf_conntrack: nf_conntrack: table full, dropping packet", "conntrack_table_full", None),
    ("neighbour: arp_cache: neighbor table overflow!", "neighbour_overflow", None),
    ("TCP: request_sock_TCP: Possible SYN flooding on port 0.0.0.0:80. Sending cookies.",
     "tcp_syn_flooding", None),
    ("TCP: out of memory -- consider tuning tcp_mem", "tcp_out_of_memory", None),
    ("VFS: file-max limit 1000 reached", "files_exhausted", None),
    ("clocksource: timekeeping watchdog on CPU1: Marking clocksource 'tsc' as unstable because",
     "clocksource_unstable", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "error", "subject"), ERRORS)
def test_what_the_kernel_writes_has_its_class_and_names_its_subject(text, error, subject):
    assert classify(text, 4) == (error, subject)


def test_what_follows_an_error_of_ext4_is_no_alarm_of_its_own():
    assert classify("EXT4-fs (sda1): Remounting filesystem read-only", 2) is None
    assert classify("something nobody knows", 2)[0] == "alarm"


def test_every_class_has_an_example():
    assert {error for _, error, _ in ERRORS} | {"alarm"} == set(CLASSES)


@pytest.mark.parametrize(
    "text",
    [
        "operation not supported error, dev loop0, sector 0 op 0x9:(WRITE_ZEROES) flags 0x800",
        "critical target error, dev sdb, sector 0 op 0x3:(DISCARD) flags 0x800",
        "EXT4-fs (sda1): mounted filesystem with ordered data mode",
        "BTRFS info (device sda1): using crc32c (crc32c-intel) checksum algorithm",
        "BTRFS error (device sda1): unrecognized mount option 'x'",
        "XFS (sda1): User initiated shutdown received.",
        "pcieport 0000:00:1c.0: AER: Corrected error received: 0000:01:00.0",
        "java invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        "ata1: SATA link up 6.0 Gbps (SStatus 133 SControl 300)",
        "usb 1-1: reset high-speed USB device number 2 using xhci_hcd",
        "usb 1-1: Product: Oops: 0000 [#1] SMP",
        'audit: type=1400 audit(1.1:2): apparmor="DENIED" comm="BUG: soft lockup"',
        "perf: interrupt took too long (2505 > 2500), lowering",
        "CPU: 1 UID: 0 PID: 2733 Comm: python Not tainted 6.18.44 #1",
        # The line after it, "Oops: ... [#1]", is the one that counts.
        "BUG: kernel NULL pointer dereference, address: 0000000000000000",
        "kernel BUG at mm/slub.c:12!",
    ],
)
def test_what_is_no_error_or_only_leads_up_to_one_has_no_class(text):
    assert classify(text, 4) is None


@pytest.mark.parametrize(
    "name", ["Oops: 0000 [#1]", "BUG: x", "I/O error, dev ", "WARNING: x:1 at"]
)
@pytest.mark.parametrize(
    ("form", "error"),
    [
        ("{}[12]: segfault at 8 ip 00 sp 00 error 4", "segfault"),
        ("{}[12]: bad frame in rt_sigreturn frame:00 ip:00", None),
        ("{} invoked oom-killer: gfp_mask=0x0, order=0", None),
        ("{}: page allocation failure: order:0", "page_allocation_failure"),
    ],
)
def test_no_program_gets_an_error_counted_by_its_name(name, form, error):
    assert (classify(form.format(name), 4) or (None,))[0] == error


def test_what_no_class_explains_is_an_alarm_when_critical():
    assert classify("something unheard of", 2) == ("alarm", None)
    assert classify("something unheard of", 3) is None


def test_what_is_in_the_log_already_counts_since_boot_and_what_comes_later_is_new(host):
    before = lines(OOM, IO)
    sample = sweep(host, before, before + lines(IO, IO.replace("sda", "sdb"), start=2))
    assert seen(sample) == {"io_error": 2}
    assert total(sample) == {"io_error": 3, "oom_kill": 1}
    assert [(s.name, s.count) for s in sample.subjects] == [("sda", 1), ("sdb", 1)]
    assert [m.new for m in sample.messages] == [False, False, True, True]
    assert sample.complete


def test_each_message_counts_once_and_none_twice(host):
    memory, log = {}, lines(IO)
    assert seen(sweep(host, log, log, memory=memory)) == {}
    later = log + lines(SEGV, start=1)  # between two sweeps
    last = later + lines(OOM, OOM, start=2)  # and in the second one's window
    assert seen(sweep(host, later, last, memory=memory)) == {"segfault": 1, "oom_kill": 2}
    quiet = sweep(host, last, last, memory=memory)
    assert seen(quiet) == {}
    assert total(quiet) == {"io_error": 1, "segfault": 1, "oom_kill": 2}
    assert [m.new for m in quiet.messages] == [False] * 4


def test_after_a_reboot_counting_starts_over(host):
    memory = {}
    sweep(host, lines(IO, IO, IO), memory=memory)
    sample = sweep(host, lines(OOM), lines(OOM, IO), memory=memory, boot="two\n")
    assert (total(sample), seen(sample)) == ({"oom_kill": 1, "io_error": 1}, {"io_error": 1})


def test_a_gap_in_the_sequence_is_lost_messages(host):
    memory = {}
    first = sweep(host, lines(IO, start=5), memory=memory)
    assert (first.lost, first.lost_increase, first.complete) == (5, 0, False)
    second = sweep(host, lines(IO, start=9), memory=memory)
    assert (second.lost, second.lost_increase) == (8, 3)
    assert total(second) == {"io_error": 2}


def test_what_programs_write_there_never_counts(host):
    forged = "".join(lines(IO, start=n, prefix=p) for n, p in enumerate((8, 11, 24, 2051), 1))
    sample = sweep(host, lines(IO), lines(IO) + forged)
    assert (sample.records, total(sample), seen(sample)) == (5, {"io_error": 1}, {})
    assert sum(sample.levels.values()) == 1


def test_levels_of_the_kernel_are_counted_and_a_devices_properties_are_not_messages(host):
    log = "".join(lines("x", start=n, prefix=n) for n in range(8)) + " SUBSYSTEM=3,9,1,-;x\n"
    sample = sweep(host, log, log + lines("y", start=8, prefix=4))
    assert sample.levels == {"emerg": 1, "alert": 1, "crit": 1, "err": 1, "warning": 2}
    assert sample.levels_increase["warning"] == 1
    assert sample.records == 9


def test_messages_are_the_ten_newest_safe_to_show_and_alarms_leave_room(host):
    log = lines(*[f"{IO} {n}" for n in range(8)])
    log += lines(*["\x1b[31mred\r" + "x" * 500] * 30, start=8, prefix=1)
    sample = sweep(host, log)
    assert [m.error for m in sample.messages] == ["io_error"] * 5 + ["alarm"] * 5
    assert [m.sequence for m in sample.messages][-6:] == [7, 33, 34, 35, 36, 37]
    text = sample.messages[-1].text
    assert (len(text), text[:9]) == (200, "\\x1b[31mr")
    assert (sample.messages[0].since_boot, sample.messages[0].level) == (3.0, "err")


def test_subjects_are_few_however_many_are_named(host):
    names = [*range(100), *[1] * 5]
    log = lines("a") + lines(*[IO.replace("sda", f"sd{n}") for n in names], start=1)
    sample = sweep(host, lines("a"), log)
    assert len(sample.subjects) == 32
    assert (sample.subjects[0].name, sample.subjects[0].count) == ("sd1", 6)


def test_reading_stops_at_its_limit_says_so_and_goes_on_in_the_next_sweep(host, monkeypatch):
    monkeypatch.setattr(kernel_log, "_MOST_RECORDS", 4)
    memory, log = {}, lines("a")
    sweep(host, log, memory=memory)
    log = lines("a", *[IO] * 6)
    ctx = host({"root/dev/kmsg": log, BOOT: "one\n"})
    ctx.memory = memory
    sample = collect(ctx)
    assert (sample.increases["io_error"], sample.caught_up) == (4, False)
    assert "stopped after 4" in ctx.problems[0].text
    rest = sweep(host, log, memory=memory)
    assert (rest.increases["io_error"], rest.caught_up, rest.lost) == (2, True, 0)


def test_old_messages_beyond_the_limit_are_left_out_and_never_new(host, monkeypatch):
    monkeypatch.setattr(kernel_log, "_MOST_RECORDS", 4)
    old = lines(*[IO] * 9)
    sample = sweep(host, old, old + lines(OOM, start=9))
    assert (seen(sample), sample.lost_increase, sample.complete) == ({"oom_kill": 1}, 0, False)
    assert total(sample) == {"io_error": 4, "oom_kill": 1}


def test_a_garbled_line_costs_only_itself(host):
    ctx = host({"root/dev/kmsg": lines(IO) + "garbage\n" + lines(OOM, start=1), BOOT: "one\n"})
    assert total(collect(ctx)) == {"io_error": 1, "oom_kill": 1}
    assert {p.cause for p in ctx.problems} == {Cause.GARBLED}


def test_no_log_or_another_thing_in_its_place_is_no_silence(host, tmp_path):
    with pytest.raises(Unavailable, match="no such file"):
        collect(host({}))
    with pytest.raises(Unavailable, match="holds no message"):
        sweep(host, "")
    root = tmp_path / "other"
    (root / "dev").mkdir(parents=True)
    (root / "dev/kmsg").symlink_to("/dev/null")
    with pytest.raises(Unavailable, match="not the kernel's log"):
        collect(Context(paths=Paths(root=root), duration=0.0))


# From here on the kernel's real log.


def real(memory, duration=0.0):
    """Watch the real log; the first sweep of a memory takes the old messages."""
    try:
        return collect(Context(duration=duration, memory=memory))
    except Unavailable as answer:
        if "notes" in memory:
            raise  # it was readable a moment ago
        pytest.skip(str(answer))


def wait_for(memory, error, name=None):
    """Sweep until an error is reported, and add up what the sweeps found of it."""
    found = 0
    for _ in range(30):
        sample = real(memory, 0.1)
        if name is None:
            found += sample.increases[error]
        found += sum(s.count for s in sample.subjects if (s.error, s.name) == (error, name))
        if found:
            break
    return found + sum(
        s.count for s in real(memory, 0.2).subjects if (s.error, s.name) == (error, name)
    )


def test_the_real_log_agrees_with_what_dmesg_reads_through_another_door():
    sample = real({})
    if not sample.complete:
        pytest.skip("the oldest messages are gone")
    out = subprocess.run(["dmesg", "-S", "-r"], capture_output=True, check=True).stdout
    found = [int(n) for n in re.findall(rb"^<(\d+)>\[ *\d+\.\d+\] (?=.)", out, re.MULTILINE)]
    # A message of several lines has its prefix before each of them.
    counts = {LEVELS[n]: found.count(n) for n in range(5)}
    assert all(sample.levels[name] <= n for name, n in counts.items())
    assert sum(counts.values()) - sum(sample.levels.values()) <= 0.1 * len(found)


@ROOT
def test_no_program_can_forge_an_error_of_the_real_kernel():
    memory = {}
    before = real(memory)
    with KMSG.open("wb", buffering=0) as log:
        log.write(b"<3>" + IO.encode() + b"\n")
        log.write(b"<0>Oops: 0000 [#1] SMP (a test of sysdx)\n")
    after = real(memory)
    # Others may write meanwhile; these two at least were read.
    assert after.records >= 2
    for name in ("oops", "io_error"):
        assert after.totals[name] == before.totals[name]
    assert after.levels["emerg"] == before.levels["emerg"]


@ROOT
def test_a_program_that_really_crashes_is_counted_by_name_and_once():
    if Path("/proc/sys/debug/exception-trace").read_text().strip() != "1":
        pytest.skip("the kernel does not report crashes of programs")
    memory = {}
    real(memory)
    code = (
        "import ctypes, resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "open('/proc/self/comm', 'w').write('sysdx-crash')\nctypes.string_at(8)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -11
    assert wait_for(memory, "segfault", "sysdx-crash") == 1
    assert all(s.name != "sysdx-crash" for s in real(memory).subjects)


@pytest.fixture
def small_group():
    """Make a memory cgroup of 24 MiB, of either version."""
    name = f"sysdx-test-log-{os.getpid()}"
    for parent, limit in (("memory", "memory.limit_in_bytes"), ("", "memory.max")):
        group = Path("/sys/fs/cgroup", parent, name)
        with contextlib.suppress(OSError):
            group.mkdir()
            if (group / limit).exists():
                break
            group.rmdir()
    else:
        pytest.skip("no memory cgroup can be made here")
    (group / limit).write_text(str(24 << 20))
    for swap in ("memory.memsw.limit_in_bytes", "memory.swap.max"):
        with contextlib.suppress(OSError):
            (group / swap).write_text("0" if swap.endswith("max") else str(24 << 20))
    yield group
    for _ in range(50):
        with contextlib.suppress(OSError):
            group.rmdir()
            break
        time.sleep(0.05)


@ROOT
def test_a_real_kill_for_want_of_memory_is_counted_by_name_and_once(small_group):
    memory = {}
    real(memory)
    code = (
        "import os\nopen('/proc/self/comm', 'w').write('sysdx-hungry')\n"
        f"open({str(small_group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
        "x = bytearray(os.urandom(1 << 20)) * 100\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert wait_for(memory, "oom_kill", "sysdx-hungry") == 1


def attach(image, *options):
    """Make a loop device of a file."""
    command = ["losetup", "--find", "--show", *options, str(image)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"no loop device: {result.stderr.strip()}")
    return Path(result.stdout.strip())


@ROOT
def test_a_device_that_really_fails_to_read_is_named(tmp_path):
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    device = attach(image, "--direct-io=on")
    memory = {}
    try:
        real(memory)
        os.truncate(image, 0)
        handle = os.open(device, os.O_RDONLY)
        with pytest.raises(OSError, match="Input/output"):
            os.pread(handle, 4096, 65536)
        os.close(handle)
        assert wait_for(memory, "io_error", device.name) >= 1
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@ROOT
def test_a_file_system_that_is_really_damaged_is_named(tmp_path):
    image, mount = tmp_path / "image", tmp_path / "mount"
    image.write_bytes(bytes(4 << 20))
    mount.mkdir()
    try:
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        damage = ["debugfs", "-w", "-R", "zap_block -p 255 -f <2> 0", image]
        subprocess.run(damage, check=True, capture_output=True)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    device = attach(image)
    memory = {}
    real(memory)
    try:
        subprocess.run(["mount", "-o", "errors=continue", device, mount], check=True)
        with contextlib.suppress(OSError):
            list(mount.iterdir())
        assert wait_for(memory, "filesystem_error", device.name) >= 1
    finally:
        subprocess.run(["umount", mount], check=False)
        subprocess.run(["losetup", "--detach", device], check=True)


def descriptors():
    targets = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            targets.append(entry.readlink())
    return targets.count(KMSG)


def test_one_descriptor_is_kept_from_sweep_to_sweep_and_closed_in_the_end():
    before, memory = descriptors(), {}
    for _ in range(20):
        real(memory)
        assert descriptors() == before + 1
    memory.clear()
    assert descriptors() == before


def test_later_sweeps_do_not_read_the_whole_log_again():
    memory = {}
    assert real(memory).records > 5 * real(memory).records


@ROOT
def test_messages_overwritten_under_the_reader_are_lost_and_reading_goes_on(monkeypatch):
    memory = {}
    real(memory)
    last = memory["notes"].last
    answers = [BrokenPipeError(), lines(IO, start=last + 41).encode(), BlockingIOError()]

    def read(handle, size):
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(kernel_log.os, "read", read)
    monkeypatch.setattr(Context, "try_read", lambda *_: memory["notes"].boot_id)
    sample = real(memory)
    assert (sample.lost_increase, sample.increases["io_error"]) == (40, 1)


@ROOT
def test_without_the_right_it_says_which():
    if Path("/proc/sys/kernel/dmesg_restrict").read_text().strip() != "1":
        pytest.skip("everybody may read the log here")
    os.seteuid(65534)
    try:
        with pytest.raises(Unavailable, match=r"CAP_SYSLOG.*dmesg_restrict") as refused:
            collect(Context(duration=0.0))
    finally:
        os.seteuid(0)
    assert refused.value.cause is Cause.PERMISSION
