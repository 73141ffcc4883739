//! What no agent should do.

use std::hint::black_box;

/// Never ends, and asks the host for nothing meanwhile.
pub(crate) fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Uses up the stack.
pub(crate) fn recurse(depth: u64) -> u64 {
    let room = black_box([depth; 16]);
    if depth == u64::MAX { 0 } else { recurse(depth + 1) + black_box(room[3]) }
}

/// Takes so many MiB and touches them. Carefully: stops where it gets no more, and says how many it got.
pub(crate) fn grow(mib: usize, carefully: bool) -> usize {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    while taken.len() < mib {
        let mut piece: Vec<u8> = Vec::new();
        if carefully && piece.try_reserve_exact(1 << 20).is_err() {
            break;
        }
        piece.resize(1 << 20, 1);
        taken.push(black_box(piece));
    }
    taken.len()
}
