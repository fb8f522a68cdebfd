use crate::{Output, Refusal};

/// The version of the task ABI that guests of this crate are of.
pub const ABI_VERSION: i32 = 1;

/// What a guest does: reads the input, writes the result, or says why it gives up.
///
/// The input is the guest's own memory, so it may be changed. A plain function is one, and [`task!`](crate::task!) exports it.
pub type Task = fn(input: &'static mut [u8], output: &mut Output) -> Result<(), Refusal>;

/// Exports a function of the type [`Task`] as the task of this module.
///
/// ```
/// use peercompute_guest::{Output, Refusal, task};
///
/// task!(double);
///
/// fn double(input: &'static mut [u8], output: &mut Output) -> Result<(), Refusal> {
///     let (numbers, []) = input.as_chunks::<8>() else {
///         return Err("the input is not a row of numbers of 8 bytes".into());
///     };
///     for number in numbers {
///         output.f64(f64::from_le_bytes(*number) * 2.0);
///     }
///     Ok(())
/// }
/// ```
#[macro_export]
macro_rules! task {
    ($task:path) => {
        #[cfg(target_arch = "wasm32")]
        #[unsafe(no_mangle)]
        extern "C" fn abi_version() -> i32 {
            $crate::ABI_VERSION
        }

        #[cfg(target_arch = "wasm32")]
        #[unsafe(no_mangle)]
        extern "C" fn alloc(length: u32) -> u32 {
            $crate::exported::alloc(length)
        }

        #[cfg(target_arch = "wasm32")]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn run(pointer: u32, length: u32) -> u64 {
            // SAFETY: the host gives what `alloc` returned, once, with the length that it asked for.
            unsafe { $crate::exported::run($task, pointer, length) }
        }

        // Elsewhere it is checked all the same.
        #[cfg(not(target_arch = "wasm32"))]
        const _: $crate::Task = $task;
    };
}

/// What [`task!`](crate::task!) needs: no part of the API.
pub mod exported {
    #[cfg(target_arch = "wasm32")]
    use alloc::{
        alloc::{Layout, alloc as take},
        vec::Vec,
    };

    #[cfg(target_arch = "wasm32")]
    use super::Task;
    #[cfg(target_arch = "wasm32")]
    use crate::Output;

    /// Where the input goes. Aligned to 16 bytes, so that it can be looked at as numbers of any kind.
    #[cfg(target_arch = "wasm32")]
    pub fn alloc(length: u32) -> u32 {
        let Ok(layout) = Layout::from_size_align(length as usize, 16) else {
            return 0;
        };
        if layout.size() == 0 {
            return 16;
        }
        // SAFETY: the layout is not empty.
        (unsafe { take(layout) }) as u32
    }

    /// # Safety
    ///
    /// `pointer` is what [`alloc`] gave for `length`, and is given only once.
    #[cfg(target_arch = "wasm32")]
    pub unsafe fn run(task: Task, pointer: u32, length: u32) -> u64 {
        // SAFETY: this memory was allocated by `alloc`, the host has written all of it, nobody else has it, and it is never freed.
        let input = unsafe { core::slice::from_raw_parts_mut(pointer as *mut u8, length as usize) };
        let mut output = Output::new();
        match task(input, &mut output) {
            Ok(()) => leave(output.into_vec()),
            Err(refusal) => super::gave_up(leave(refusal.into_vec())),
        }
    }

    /// Leaves the bytes where they are for the host to read.
    #[cfg(target_arch = "wasm32")]
    fn leave(bytes: Vec<u8>) -> u64 {
        let bytes = bytes.leak();
        super::answer(bytes.as_ptr() as u32, bytes.len() as u32)
    }
}

/// What `run` returns: the pointer in the high 32 bits, the length in the low ones.
#[cfg(any(target_arch = "wasm32", test))]
fn answer(pointer: u32, length: u32) -> u64 {
    u64::from(pointer) << 32 | u64::from(length)
}

/// The same for a task that gave up.
#[cfg(any(target_arch = "wasm32", test))]
const fn gave_up(answer: u64) -> u64 {
    answer | 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_pointer_and_a_length_and_a_bit_for_giving_up() {
        assert_eq!(answer(0x0001_0000, 5), 0x0001_0000_0000_0005);
        assert_eq!(gave_up(answer(16, 3)), 0x0000_0010_8000_0003);
    }

    #[test]
    fn a_refusal_is_cut_at_a_characters_edge() {
        let refusal = Refusal::new("é".repeat(300));
        assert_eq!(refusal.as_str().len(), 512);
        let refusal = Refusal::new(alloc::format!("x{}", "é".repeat(300)));
        assert_eq!(refusal.into_vec().len(), 511);
    }
}
