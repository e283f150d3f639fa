"""Folding: names, order, bounds."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from collectors.bpf.kernel import Kernel
from collectors.bpf.stacks import OTHER, Place, Stacks, fold


class Module(dict):
    """The stack maps of a module, with addresses as bcc gives them: innermost first."""

    class Table(dict):
        def walk(self, number):
            return iter(self[number])

    def __init__(self, **tables):
        super().__init__({name: self.Table(stacks) for name, stacks in tables.items()})


def kernel(forgot=None, names=lambda address, _pid: b"f%d" % address, **tables):
    return Kernel(
        Module(**tables),
        user_symbol=names,
        kernel_symbol=lambda address: b"k%d" % address,
        forget_symbols=(forgot if forgot is not None else []).append,
    )


def at(value, user=-14, inner=-14, process="prog", pid=1):
    return Place(process, pid, user, inner, value)


def by_place(place):
    return (place.process, str(place.user))


def test_frames_run_from_the_process_through_its_functions_to_the_kernels():
    maps = kernel(t_stacks={3: [2, 1], 4: [12, 11]})
    named = Stacks("t").frames(maps, at(1, user=3, inner=4))
    assert named == ("prog", "f1", "f2", "k11_[k]", "k12_[k]")


def test_a_kernel_thread_has_no_user_frames_and_a_user_sample_no_kernel_frames():
    maps = kernel(t_stacks={3: [1]})
    assert Stacks("t").frames(maps, at(1, inner=3)) == ("prog", "k1_[k]")
    assert Stacks("t").frames(maps, at(1, user=3)) == ("prog", "f1")


def test_a_stack_that_found_no_place_is_called_lost():
    assert Stacks("t").frames(kernel(), at(1, user=-17, inner=-17)) == ("prog", "[lost]", "[lost]")


def test_a_stack_of_the_second_table_is_read_from_there():
    maps = kernel(t_stacks={3: [1]}, t_stacks_more={3: [2]})
    assert Stacks("t").frames(maps, at(1, user=3 | 0x10000)) == ("prog", "f2")


def test_kernel_stacks_that_are_kept_apart_are_read_from_there():
    maps = kernel(t_stacks={3: [1]}, t_kernel={3: [2]}, t_kernel_more={3: [4]})
    apart = Stacks("t", apart=True)
    assert apart.frames(maps, at(1, user=3, inner=3)) == ("prog", "f1", "k2_[k]")
    assert apart.frames(maps, at(1, user=3, inner=3 | 0x10000)) == ("prog", "f1", "k4_[k]")


def test_a_run_of_unknown_frames_is_one():
    maps = kernel(names=lambda a, _pid: b"" if a < 5 else b"f", t_stacks={3: [1, 2, 9, 3, 4, 9, 9]})
    named = Stacks("t").frames(maps, at(1, user=3))
    assert named == ("prog", "f", "f", "[unknown]", "f", "[unknown]")


def test_places_that_look_alike_are_one_stack():
    found = [at(5, user=1, pid=1), at(7, user=1, pid=2), at(1, user=2, pid=1)]
    folded = fold(kernel(), found, 10, by_place)
    assert [(s.frames, s.value) for s in folded.stacks] == [(("prog", "1"), 12), (("prog", "2"), 1)]


def test_what_is_beyond_the_limit_is_summed_up_last():
    found = [at(value, user=value) for value in (1, 50, 2, 40, 3)]
    folded = fold(kernel(), found, 2, by_place)
    assert [s.value for s in folded.stacks] == [50, 40, 6]
    assert folded.stacks[-1].frames == OTHER
    assert folded.notes == ()


def test_only_the_heaviest_are_named():
    asked = []
    found = [at(1000 - n, user=n) for n in range(1000)]
    fold(kernel(), found, 10, lambda place: asked.append(place) or ("prog",))
    assert len(asked) == 40
    assert min(p.value for p in asked) == 961


def test_naming_ends_when_its_time_is_over():
    def slowly(place):
        time.sleep(0.02)
        return by_place(place)

    found = [at(1000 - n, user=n) for n in range(100)]
    folded = fold(kernel(), found, 100, slowly, budget=0.1)
    assert 0 < len(folded.stacks) - 1 < 50
    assert sum(s.value for s in folded.stacks) == sum(p.value for p in found)
    assert folded.stacks[-1].frames == OTHER
    (note,) = folded.notes
    assert f"{100 - len(folded.stacks) + 1} stacks" in note


def test_symbols_of_each_process_are_dropped_before_those_of_the_next():
    forgot, order = [], []

    def name(place):
        assert place.pid not in forgot
        order.append(place.pid)
        return by_place(place)

    fold(kernel(forgot), [at(9, pid=1), at(8, pid=2), at(7, pid=1), at(6, pid=2)], 10, name)
    assert order == [1, 1, 2, 2]
    assert forgot == [1, 2]


def test_nanoseconds_become_microseconds_after_they_are_summed_up():
    found = [at(600, user=1, pid=1), at(600, user=1, pid=2)]
    assert fold(kernel(), found, 10, by_place, unit=1000).stacks[0].value == 1


@given(
    st.lists(st.tuples(st.integers(1, 99), st.integers(0, 30)), max_size=200), st.integers(1, 20)
)
def test_nothing_is_lost_and_the_order_is_by_weight(pairs, limit):
    found = [at(value, user=user) for value, user in pairs]
    stacks = fold(kernel(), found, limit, by_place).stacks
    named = [s for s in stacks if s.frames != OTHER]
    assert sum(s.value for s in stacks) == sum(p.value for p in found)
    assert len(named) <= limit
    assert [s.value for s in named] == sorted((s.value for s in named), reverse=True)
    assert len({s.frames for s in stacks}) == len(stacks)
    assert OTHER not in [s.frames for s in stacks[:-1]]
