/* Local: every work-group adds a tile of pixels into a histogram in its local memory.
 *
 * For GPUs. All is integer arithmetic: shares are fixed point, so that the sums are the same
 * whatever the order, to the last bit. A pixel is keyed by the first bin it touches; what belongs
 * to its second bin is brought there by the host.
 *
 * PIXEL   type of a pixel, an integer of at most 32 bits
 * KEY     type of a key
 * LANES   numbers at a key, see below: 1, 2 or 3
 * OWN     whether keys are numbered within each tile, 0 or 1
 * COPIES  histograms of a group that its work-items share, so that fewer meet at one number
 * BAD(v)  whether a value is bad
 *
 * The lanes of a key, with v the value and u the share in the second bin, 2^31 standing for one:
 * v (2 words), v u (3 words), v u^2 (3 words). A word has 32 bits, and all words of a number are
 * its two's complement, that of lower value first. An addition carries from word to word, which
 * needs no atomics but those of 32 bits that every device has; usually one or two of them, as most
 * additions do not reach the upper words.
 *
 * None overflows: |v| < 2^32, so that |v u| and |v u^2| are at most 2^63 - 2^31, which a long
 * holds. A frame has fewer than 2^31 pixels: |sum of v| < 2^63, and |sum of v u| < 2^94.
 */
#define ONE_BITS 31
#define WORDS (3 * LANES - 1)

/* Add to a number of some words, `stride` apart. */
static inline void add(volatile local uint *number, const int words, const int stride, long value)
{
    uint carry = 0;
    for (int k = 0; k < words; k++) {
        const uint part = (uint)value + carry;
        // Where nothing is left to add, either there was nothing, or the carry went through.
        if (part != 0)
            carry = atomic_add(number + k * stride, part) + part < part;
        value >>= 32;
    }
}

/* Add a number of all copies, whose words are `stride` apart, to one whose are `far` apart. */
static inline void hand_over(local const uint *number, const int words, const int stride,
                             volatile global uint *total, const int far)
{
    ulong carry = 0;
    for (int k = 0; k < words; k++) {
        ulong sum = carry;
        for (int copy = 0; copy < COPIES; copy++)
            sum += number[(copy * WORDS + k) * stride];
        const uint part = (uint)sum;
        carry = sum >> 32;
        if (part != 0)
            carry += atomic_add(total + (size_t)k * far, part) + part < part;
    }
}

/* One group per tile; sums: WORDS rows of all bins, zero at the beginning, as n_bad. */
kernel void sum_tiles(global const PIXEL *restrict frame,
                      global const KEY *restrict first,
                      global const uint *restrict shares,
                      global const int *restrict tiles,
                      global const int *restrict slots,
                      global const int *restrict bins,
                      const int n_bins,
                      local uint *numbers,
                      volatile global uint *sums,
                      global int *restrict bad,
                      volatile global int *n_bad)
{
    const int tile = get_group_id(0), item = get_local_id(0), size = get_local_size(0);
    const int n_slots = OWN ? slots[tile + 1] - slots[tile] : n_bins;

    for (int i = item; i < COPIES * WORDS * n_slots; i += size)
        numbers[i] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);

    local uint *copy = numbers + item % COPIES * WORDS * n_slots;
    for (int i = tiles[tile] + item; i < tiles[tile + 1]; i += size) {
        const int key = first[i];
        if (key == n_slots)  // not used
            continue;
        const PIXEL v = frame[i];
        if (BAD(v)) {
            bad[atomic_inc(n_bad)] = i;
            continue;
        }
        add(copy + key, 2, n_slots, v);
#if LANES > 1
        const ulong u = shares[i];
        add(copy + 2 * n_slots + key, 3, n_slots, (long)v * (long)u);
#endif
#if LANES > 2
        const ulong u2 = (u * u + (1UL << (ONE_BITS - 1))) >> ONE_BITS;
        add(copy + 5 * n_slots + key, 3, n_slots, (long)v * (long)u2);
#endif
    }
    barrier(CLK_LOCAL_MEM_FENCE);

    // Groups begin at different slots, so that they do not all meet at the same sums.
    const int begin = (int)((long)tile * n_slots / get_num_groups(0));
    for (int i = item; i < n_slots; i += size) {
        const int slot = i + begin < n_slots ? i + begin : i + begin - n_slots;
        volatile global uint *total = sums + (OWN ? bins[slots[tile] + slot] : slot);
        hand_over(numbers + slot, 2, n_slots, total, n_bins);
        for (int lane = 1; lane < LANES; lane++) {
            const int row = 3 * lane - 1;
            hand_over(numbers + row * n_slots + slot, 3, n_slots, total + (size_t)row * n_bins,
                      n_bins);
        }
    }
}
