//! The verification interface (step 1 of the method) for registers that are written in C or in anything that calls C:
//! two functions, JSON in and JSON out, the shape that register vendors know from other face payment devices.
//!
//! A thin, blocking client of a terminal's interface. It keeps nothing between two calls but the list of the ones that
//! run. Called by the register's own process, and must never bring it down: no panic leaves a function, no signal is
//! raised, and what comes in is checked. Must never know anything of payments but what the terminal answers; it
//! imports none of our crates, so that a vendor links a small library. The documentation is
//! `include/selfsame_terminal.h`.
//!
//! The one crate with `unsafe` in it: four places, all in this file, where pointers of the caller are followed.

mod call;
mod connection;
mod running;
#[cfg(feature = "tls")]
mod tls;

use std::ffi::{CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use zeroize::{Zeroize, Zeroizing};

use call::{Answer, Ended};

/// Longest request, in bytes. The largest that the terminal has a use for has a few hundred.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// See `include/selfsame_terminal.h`.
///
/// # Safety
///
/// `request` is null or points to `request_length` readable bytes that nobody changes meanwhile. `response` and
/// `response_length` are each null or point to a place that can be written.
#[expect(unsafe_code, reason = "the C interface: pointers come in, and the name is exported")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn selfsame_terminal_call(
    request: *const c_char,
    request_length: usize,
    response: *mut *mut c_char,
    response_length: *mut usize,
) -> c_int {
    // SAFETY: null or writable is what the caller promises, and `as_mut` looks for null.
    let response = unsafe { response.as_mut() };
    // SAFETY: as above.
    let response_length = unsafe { response_length.as_mut() };
    let (Some(response), Some(response_length)) = (response, response_length) else {
        return Ended::InvalidRequest as c_int;
    };
    (*response, *response_length) = (std::ptr::null_mut(), 0);
    let request = if request.is_null() {
        Err("`request` is a null pointer")
    } else if request_length > REQUEST_BYTES_MAX {
        Err("the request is longer than 65536 bytes")
    } else {
        // SAFETY: it is not null, the caller promises so many readable bytes, and they are fewer than `isize::MAX`.
        Ok(unsafe { std::slice::from_raw_parts(request.cast::<u8>(), request_length) })
    };
    let answer = guarded(|| match request {
        Ok(request) => call::answer(request),
        Err(detail) => Answer::invalid_request(detail),
    });
    let ended = answer.ended as c_int;
    // JSON has no zero byte: it writes one as six characters.
    let Ok(text) = CString::new(answer.into_bytes()) else { return Ended::Defect as c_int };
    *response_length = text.as_bytes().len();
    *response = text.into_raw();
    ended
}

/// See `include/selfsame_terminal.h`.
///
/// # Safety
///
/// `response` is null, or was answered by [`selfsame_terminal_call`], was not written to and not released before.
#[expect(unsafe_code, reason = "the C interface: a pointer comes back, and the name is exported")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn selfsame_terminal_release(response: *mut c_char) {
    if response.is_null() {
        return;
    }
    // SAFETY: the caller promises that it is one of ours, whole and not released before.
    let text = unsafe { CString::from_raw(response) };
    // A payment code may be in it.
    text.into_bytes().zeroize();
}

/// Runs `work`; a panic is a defect of ours, and the caller's process goes on.
fn guarded(work: impl FnOnce() -> Answer) -> Answer {
    // Nothing that the panic could leave half done is seen again: a call owns all that it changes, and the list of the
    // running ones takes itself out of a lock that was left in a panic.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Answer {
        ended: Ended::Defect,
        json: Zeroizing::new(
            br#"{"code":"internal","detail":"a defect of the library: ask for the status before you go on"}"#
                .to_vec(),
        ),
    })
}

#[cfg(all(test, unix))]
mod tests;
