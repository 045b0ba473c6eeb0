//! The hit path: exact counters and the countdown. Nearly every hit ends here, so nothing else belongs here.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::pt_regs,
    helpers::{bpf_get_attach_cookie, bpf_ktime_get_ns},
};
use tracer_ebpf::abi::{
    allocation::{ClassCounter, Cookie, Delegates, MAP_ANONYMOUS, SizeFrom, counted_size, size_class},
    settings::Settings,
    tally::Tally,
};

use crate::{
    atomic, bits,
    maps::{COUNTDOWN, COUNTERS, SETTINGS, add_to},
    processes, sampling,
};

/// A call that counts, at its begin.
pub struct Entry {
    /// The registers.
    pub registers: &'static pt_regs,
    /// What is known of the function.
    pub cookie: Cookie,
    /// What user space asks for.
    pub settings: &'static Settings,
    /// The arguments.
    pub arguments: Arguments,
}

impl Entry {
    /// The call that a probe was hit by; `None` where it is not for this probe to count.
    #[inline(always)]
    pub fn of(context: *mut c_void) -> Option<Self> {
        // SAFETY: the context of a uprobe program.
        let cookie = Cookie(unsafe { bpf_get_attach_cookie(context) });
        let settings = SETTINGS.get(0)?;
        if settings.enabled == 0 {
            add_to(Tally::Closed, 1);
            return None;
        }
        // Probes for children are in every process that maps the library.
        if settings.follow_children != 0 && !processes::is_traced() {
            add_to(Tally::Foreign, 1);
            return None;
        }
        // SAFETY: the context of a uprobe program is a pt_regs.
        let registers = unsafe { &*context.cast::<pt_regs>() };
        let arguments = Arguments::of(registers);
        if arguments.delegated(cookie) {
            add_to(Tally::Delegated, 1);
            return None;
        }
        Some(Self { registers, cookie, settings, arguments })
    }

    /// Bytes that the call asks for.
    #[inline(always)]
    pub fn size(&self) -> u64 {
        counted_size(self.arguments.size(self.cookie))
    }
}

/// Handles one hit of an allocation probe; the time of the sample where it was chosen and the ring buffer took it, else 0.
#[inline(always)]
pub fn hit(entry: &Entry, size: u64) -> u64 {
    let Entry { registers, cookie, settings, .. } = *entry;
    if !count(settings, cookie.slot(), size) {
        return 0;
    }
    // SAFETY: helper without arguments.
    let begun = unsafe { bpf_ktime_get_ns() };
    let time = sampling::allocation(registers, settings, cookie, size);
    // SAFETY: as above.
    add_to(Tally::SamplingNs, unsafe { bpf_ktime_get_ns() } - begun);
    time
}

/// Counts an event exactly; true when it is to be sampled too.
#[inline(always)]
pub fn count(settings: &Settings, slot: u32, size: u64) -> bool {
    let Some(counters) = COUNTERS.get_ptr_mut(slot) else { return false };
    let class = bits::mask::<63>(size_class(size) as u64) as usize;
    // A class is below SIZE_CLASSES by construction; the verifier only sees the mask.
    if class >= tracer_ebpf::abi::allocation::SIZE_CLASSES {
        return false;
    }
    // Atomic, though per CPU: with full preemption another task may hit between load and store.
    // SAFETY: the class is below SIZE_CLASSES, and the value lives as long as the program.
    let class = unsafe { &mut *counters.cast::<ClassCounter>().wrapping_add(class) };
    // SAFETY: an aligned field of a map value.
    unsafe { atomic::add(&raw mut class.calls, 1) };
    // SAFETY: as above.
    unsafe { atomic::add(&raw mut class.bytes, size) };

    let Some(countdown) = COUNTDOWN.get_ptr_mut(0) else { return false };
    // SAFETY: this CPU's entry. A task that preempts us here makes one of the two updates vanish, which leaves a countdown
    // that is still exponentially distributed: the estimate stays unbiased.
    let countdown = unsafe { &mut *countdown };
    countdown.hits += 1;
    if settings.interval != countdown.interval {
        // The process has no memory: it may start afresh at any moment that does not depend on its own draws.
        countdown.interval = settings.interval;
        countdown.remaining = sampling::draw(settings.interval);
    }
    let remaining = countdown.remaining;
    if size < remaining {
        countdown.remaining = remaining - size;
        return false;
    }
    if settings.interval != 0 {
        if size == 0 {
            return false;
        }
        countdown.remaining = sampling::draw(settings.interval);
    }
    true
}

/// The integer arguments that sizes and blocks come from.
pub struct Arguments {
    /// System V ABI.
    first: u64,
    second: u64,
    third: u64,
    fourth: u64,
    /// The first of Go's register ABI (cmd/compile/abi-internal.md).
    go_first: u64,
}

impl Arguments {
    /// Those of a function's entry.
    #[inline(always)]
    pub fn of(registers: &pt_regs) -> Self {
        Self {
            first: registers.rdi,
            second: registers.rsi,
            third: registers.rdx,
            fourth: registers.rcx,
            go_first: registers.rax,
        }
    }

    /// The block that the call gives back; 0 for none.
    #[inline(always)]
    pub fn given_back(&self, cookie: Cookie) -> u64 {
        match cookie.given_back() {
            1 => self.first,
            2 => self.second,
            3 => self.third,
            4 => self.fourth,
            _ => 0,
        }
    }

    /// Where the callee stores the new block's address; 0 when it returns it.
    #[inline(always)]
    pub fn stored_at(&self, cookie: Cookie) -> u64 {
        if cookie.has_stored_block() { self.first } else { 0 }
    }

    #[inline(always)]
    fn delegated(&self, cookie: Cookie) -> bool {
        match cookie.delegates() {
            d if d == Delegates::NullArgument0 as u8 => self.first == 0,
            d if d == Delegates::SmallArgument0 as u8 => self.first <= 16,
            d if d == Delegates::SmallArgument1 as u8 => self.second <= 16,
            d if d == Delegates::SmallGoArgument0 as u8 => self.go_first <= 512,
            d if d == Delegates::WithoutMapAnonymous as u8 => self.fourth & MAP_ANONYMOUS == 0,
            _ => false,
        }
    }

    #[inline(always)]
    fn size(&self, cookie: Cookie) -> u64 {
        match cookie.size_from() {
            s if s == SizeFrom::Argument0 as u8 => self.first,
            s if s == SizeFrom::Argument1 as u8 => self.second,
            s if s == SizeFrom::Argument2 as u8 => self.third,
            s if s == SizeFrom::Product01 as u8 => product(self.first, self.second),
            s if s == SizeFrom::Product12 as u8 => product(self.second, self.third),
            s if s == SizeFrom::Argument3 as u8 => self.fourth,
            s if s == SizeFrom::GoArgument0 as u8 => self.go_first,
            _ => 0,
        }
    }
}

/// `a * b`, or 0 where that needs more than 64 bits: such a call fails. By halves, since BPF has no wide product.
#[inline(always)]
fn product(a: u64, b: u64) -> u64 {
    let (small, large) = if a < b { (a, b) } else { (b, a) };
    if small >> 32 != 0 {
        return 0;
    }
    let high = small * (large >> 32);
    let low = small * (large & 0xffff_ffff);
    let sum = high + (low >> 32);
    if sum >> 32 != 0 { 0 } else { sum << 32 | low & 0xffff_ffff }
}
