/// Gives a guest without the standard library what that would bring: an allocator, `Bump`, and a panic handler that breaks off without a message, which would bring the whole of formatting
/// into every guest. Who wants to be understood returns a [`Refusal`](crate::Refusal). Elsewhere than in WebAssembly it does nothing.
#[macro_export]
macro_rules! runtime {
    () => {
        #[cfg(target_arch = "wasm32")]
        #[global_allocator]
        static ALLOCATOR: $crate::Bump = $crate::Bump::new();

        #[cfg(target_arch = "wasm32")]
        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            core::arch::wasm32::unreachable()
        }
    };
}

#[cfg(target_arch = "wasm32")]
pub use wasm::Bump;

#[cfg(target_arch = "wasm32")]
mod wasm {

    use core::{
        alloc::{GlobalAlloc, Layout},
        arch::wasm32,
        cell::UnsafeCell,
    };

    const PAGE: usize = 64 << 10;

    /// An allocator that gives out memory from the end of what is used, and takes back only what it gave last: a task has an instance of its own, which is gone after it, so nothing has to be freed.
    pub struct Bump {
        /// Where free memory begins, 0 before the first allocation.
        next: UnsafeCell<usize>,
    }

    // SAFETY: a module of this ABI has no threads.
    unsafe impl Sync for Bump {}

    unsafe extern "C" {
        /// The end of the module's data and stack, which the linker knows.
        static __heap_base: u8;
    }

    impl Bump {
        /// Nothing is given out yet.
        #[expect(clippy::new_without_default, reason = "it is made once, in a static")]
        pub const fn new() -> Self {
            Self {
                next: UnsafeCell::new(0),
            }
        }

        #[expect(
            clippy::mut_from_ref,
            reason = "there are no threads, and no reference outlives its use"
        )]
        fn next(&self) -> &mut usize {
            // SAFETY: there are no threads, and no reference outlives the call that took it.
            unsafe { &mut *self.next.get() }
        }

        /// Takes everything from the present end up to `end`, or nothing.
        fn take(&self, end: usize) -> bool {
            let size = wasm32::memory_size(0) * PAGE;
            if end > size {
                // At least a sixteenth more, so that a growing result does not grow memory each time.
                let missing = (end - size).div_ceil(PAGE);
                let generous = missing.max(size / PAGE / 16);
                if wasm32::memory_grow(0, generous) == usize::MAX
                    && (generous == missing || wasm32::memory_grow(0, missing) == usize::MAX)
                {
                    return false;
                }
            }
            *self.next() = end;
            true
        }
    }

    // SAFETY: memory is given out once, inside the module's memory, aligned as asked for.
    unsafe impl GlobalAlloc for Bump {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let next = match *self.next() {
                0 => &raw const __heap_base as usize,
                next => next,
            };
            let Some(start) = next.checked_next_multiple_of(layout.align()) else {
                return core::ptr::null_mut();
            };
            match start.checked_add(layout.size()) {
                Some(end) if self.take(end) => start as *mut u8,
                _ => core::ptr::null_mut(),
            }
        }

        unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
            if memory as usize + layout.size() == *self.next() {
                *self.next() = memory as usize;
            }
        }

        unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
            let start = memory as usize;
            if start + layout.size() == *self.next() {
                // The last one grows where it is.
                return match start.checked_add(new_size) {
                    Some(end) if self.take(end) => memory,
                    _ => core::ptr::null_mut(),
                };
            }
            // SAFETY: the alignment was valid before, and the size is the caller's promise.
            let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
            // SAFETY: as above.
            let moved = unsafe { self.alloc(new) };
            if !moved.is_null() {
                // SAFETY: both are valid for the shorter of the two sizes and are not the same memory.
                unsafe {
                    core::ptr::copy_nonoverlapping(memory, moved, layout.size().min(new_size));
                }
            }
            moved
        }
    }
}
