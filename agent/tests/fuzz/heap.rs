//! Counts the bytes that are alive, a thread for itself, so that a fuzz test can say how much one input may cost.
//!
//! One file for all fuzz binaries: each has it as its global allocator. A block that is moved counts twice while it is,
//! as it does in the worst case. What another thread frees is not missed here: the tests measure what starts no threads.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Runs something; with its result, the most bytes that were alive at once beyond those before it.
pub(crate) fn peak<T>(act: impl FnOnce() -> T) -> (T, usize) {
    let before = ALIVE.get();
    PEAK.set(before);
    let result = act();
    (result, usize::try_from(PEAK.get() - before).unwrap_or(0))
}

/// Runs something that may cost `bound` bytes and not one more.
pub(crate) fn within<T>(bound: usize, what: &str, act: impl FnOnce() -> T) -> T {
    let (result, peak) = peak(act);
    assert!(peak <= bound, "{what} took {peak} bytes of memory, {bound} is the bound");
    result
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(bytes: usize, sign: isize) {
    // Nothing is counted any more while a thread ends.
    let _ = ALIVE.try_with(|alive| {
        alive.set(alive.get() + sign * bytes.cast_signed());
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(alive.get())));
    });
}

#[expect(unsafe_code, reason = "an allocator is unsafe; this one only counts what the system's does")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, 1);
        let moved = unsafe { System.realloc(block, layout, size) };
        count(layout.size(), -1);
        moved
    }
}

#[test]
fn what_is_alive_at_once_is_counted() {
    let ((), peak) = peak(|| {
        drop(vec![0_u8; 1000]);
        drop(vec![0_u8; 3000]);
    });
    assert_eq!(peak, 3000);
    let (kept, peak) = self::peak(|| (vec![0_u8; 1000], vec![0_u8; 3000]));
    assert_eq!((kept.0.len(), peak), (1000, 4000));
}
