"""
CPU profile: which functions the CPUs spend their time in.

Event: the software clock of each CPU, 49 times a second. Cost: about 14 us per sample. Missed:
what runs with interrupts off is charged to where they are allowed again; callers behind a
function that was compiled without a frame pointer; names of processes that ended before the
window did. Values: `samples`, `frequency_hertz`, `cpu_seconds` (samples by frequency),
`stacks_lost` (samples whose stack is not known). Stacks: samples; idle CPUs are left out. Tops:
processes, and functions by what they ran themselves. Kernels: all, 4.9 and later.
"""

from __future__ import annotations

from collectors.bpf import stacks
from collectors.bpf.kernel import Kernel
from collectors.bpf.model import ProbeSample, Stack
from collectors.bpf.probe import Part, Probe, Recorder
from collectors.bpf.sampling import Ranking
from collectors.bpf.stacks import Stacks

# Prime to the scheduler's tick of 100, 250 or 1,000 Hz, so as not to march in step with it.
FREQUENCY = 49  # [1/s]

_STACKS = Stacks("profile")

_CLOCK = r"""
    if (off_() || !(u32)bpf_get_current_pid_tgid() || alien_())
        return 0;
    struct profile_place place = {};
    profile_here(args, &place);
    profile_add(&place, 1);
"""


class ProfileRecorder(Recorder):
    """Fold the stacks."""

    def sample(self, kernel: Kernel, seconds: float) -> ProbeSample:
        """
        Conclude.

        Args:
            kernel: The maps.
            seconds: Length of the window [s].

        Returns:
            The stacks, in samples.

        """
        samples, lost, nameless = kernel.counts("profile_seen")
        found = list(_STACKS.places(kernel))
        folded = stacks.fold(
            kernel, found, self.settings.stacks, lambda p: _STACKS.frames(kernel, p)
        )
        most = self.settings.tops
        return ProbeSample(
            "profile",
            seconds,
            samples,
            lost=lost,
            values={
                "samples": float(samples),
                "frequency_hertz": float(FREQUENCY),
                "cpu_seconds": samples / FREQUENCY,
                "stacks_lost": float(nameless),
            },
            tops={
                "processes": stacks.processes(found, most, "samples"),
                "functions": _functions(folded.stacks).top(most, "comm", "function"),
            },
            stacks=folded.stacks,
            stack_unit="samples",
            notes=folded.notes,
        )


def _functions(folded: tuple[Stack, ...]) -> Ranking:
    """Rank functions by the samples that hit them, not those they called."""
    ranking = Ranking()
    for stack in folded:
        if len(stack.frames) > 1:
            ranking.add((stack.frames[0], stack.frames[-1]), count=stack.value)
    return ranking


PROBE = Probe(
    category="cpu",
    recorder=ProfileRecorder,
    shared=_STACKS.c(),
    parts=(Part(f"perf:cpu_clock:{FREQUENCY}", _CLOCK),),
    optional_offsets=_STACKS.offsets(),
    filters=("pid", "cgroup"),
)
