/* Chunks: frames as detectors pack them, bits shuffled and LZ4, summed without ever being frames.
 *
 * For CPUs. A chunk is a chain of blocks of some thousand pixels. Each work-item takes a stretch of
 * blocks, the same one of FRAMES chunks, unpacks a block into its cache, and adds it into its
 * histograms. In an unpacked block the bits of one significance stand together, a plane after the
 * other.
 *
 * Sums are linear in the counts, and so in their bits: where there are few counts, their bits are
 * added one by one, 2^plane each. Else the counts are put together again, 256 at once. Counts with
 * the highest bit are rare: masked pixels, saturated ones, dummies. Those are looked at one by one.
 *
 * Files may be damaged: nothing is read outside a chunk, nor written outside a block.
 *
 * PIXEL    type of a pixel, unsigned      KEY      type of a bin number
 * SUM      type of a sum                  COLUMNS  bins a pixel may touch, 1, 2, 4 or 8;
 *                                                  0 for wide boxes
 * WANT     0 the signal; 1 squares, too   FRAMES   chunks side by side, 1 or 4
 * BYTES    of a pixel                     SIZE     most bytes in a block
 * FEW      which part of the pixels, in 1/64, is few
 * BAD(v)   whether a value is bad; those that are have the highest bit
 *
 * The lanes of a bin, with v the value and u its share in the other bin: v, v u, of squares v u^2;
 * of more columns, with c the share in each: v c, of squares v c^2; of boxes as in stream.cl.
 */
#define BITS (8 * BYTES)
#define PAD 32 // what is copied at once, and so what a copy may write too much

#define LANES (COLUMNS == 1 ? 1 : COLUMNS == 2 ? 2 + WANT : (COLUMNS ? COLUMNS : 2) * (1 + WANT))
/* Of one frame, lanes fill whole vectors. */
#define STRIDE (FRAMES == 1 && LANES == 3 ? 4 : LANES)

#if FRAMES == 1
#define EACH(what) what(0)
#define LANE(v, f) v
#else
#define EACH(what) what(0), what(1), what(2), what(3)
#define LANE(v, f) v[f]
#endif
#define CHUNK(f) global const uchar *chunk##f, const int size##f
#define THIS_CHUNK(f) chunk##f
#define THIS_SIZE(f) size##f

/* What may be wrong with a block; chunks.py has the words. */
enum { FINE, CUT_OFF, LENGTH, LITERALS, OFFSET, MATCH };

/* PoCL calls vload and its like as functions; these are one instruction each. */
#define VECTOR(type, n) type __attribute__((ext_vector_type(n), aligned(1)))
typedef VECTOR(uchar, 8) bytes8;
typedef VECTOR(uchar, 16) bytes16;
typedef VECTOR(uchar, 32) bytes32;
typedef VECTOR(char, 16) chars16;
typedef VECTOR(ushort, 16) shorts16;
typedef VECTOR(int, 4) ints4;
typedef VECTOR(uint, 8) ints8;
typedef VECTOR(ulong, 4) longs4;
typedef VECTOR(float, 4) floats4;
typedef SUM sums4 __attribute__((ext_vector_type(4), aligned(8)));
#if FRAMES == 1
typedef SUM V;
#else
typedef sums4 V;
#endif
#define AS(type, x) __builtin_astype(x, type)
#define READ(type, from) (*(const type *)(from))
#define WRITE(type, to) (*(type *)(to))

static inline int big_endian(global const uchar *at)
{
    return at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

/* Follow the chain: where each block begins and how long it is, then where the last one ends.
 * One work-item per chunk.
 *
 * size, left_over: bytes of an unpacked block, and those that no block has
 * wrong: the block, and what is wrong with it */
kernel void find_blocks(EACH(CHUNK), global int2 *blocks, const int n_blocks, const int size,
                        const int left_over, global int2 *wrong)
{
    const int f = get_global_id(0);
    global const uchar *const chunks[FRAMES] = {EACH(THIS_CHUNK)};
    const int sizes[FRAMES] = {EACH(THIS_SIZE)};
    global const uchar *chunk = chunks[f];
    int left = sizes[f] - 12, at = 12, problem = FINE, b = 0;

    for (; b < n_blocks; b++) {
        const int length = left < 4 ? -1 : big_endian(chunk + at);
        at += 4;
        left -= 4;
        if (left < 0 || length > left)
            problem = CUT_OFF;
        else if (length <= 0 || length > size + size / 255 + 16)
            problem = LENGTH;
        if (problem)
            break;
        blocks[f * (n_blocks + 1) + b] = (int2)(at, length);
        at += length;
        left -= length;
    }
    if (!problem && left < left_over)
        problem = CUT_OFF;
    blocks[f * (n_blocks + 1) + n_blocks] = (int2)(at, 0);
    wrong[f] = (int2)(b, problem);
}

/* For 32 bytes that repeat the first `n` of them: which ones. */
#define FROM(n) {0 % n, 1 % n, 2 % n, 3 % n, 4 % n, 5 % n, 6 % n, 7 % n, 8 % n, 9 % n, 10 % n, \
    11 % n, 12 % n, 13 % n, 14 % n, 15 % n, 16 % n, 17 % n, 18 % n, 19 % n, 20 % n, 21 % n, \
    22 % n, 23 % n, 24 % n, 25 % n, 26 % n, 27 % n, 28 % n, 29 % n, 30 % n, 31 % n}
constant uchar repeated[16][32] = {FROM(1), FROM(1), FROM(2), FROM(3), FROM(4), FROM(5), FROM(6),
    FROM(7), FROM(8), FROM(9), FROM(10), FROM(11), FROM(12), FROM(13), FROM(14), FROM(15)};

/* Copy `n` bytes from `offset` before: where that is less than `n`, they repeat themselves. */
static inline void repeat(uchar *to, const int offset, const int n)
{
    const uchar *from = to - offset;
    uchar *const end = to + n;
    if (offset >= 16) {
        do {
            WRITE(bytes16, to) = READ(bytes16, from);
            WRITE(bytes16, to + 16) = READ(bytes16, from + 16);
            to += 32;
            from += 32;
        } while (to < end);
        return;
    }
#ifdef __SSSE3__
#define PICK(bytes, which) \
    AS(bytes16, __builtin_ia32_pshufb128(bytes, *(constant const chars16 *)(which)))
    const chars16 known = READ(chars16, from);
    const bytes16 low = PICK(known, repeated[offset]), high = PICK(known, repeated[offset] + 16);
    const int step = 32 - 32 % offset;
    do {
        WRITE(bytes16, to) = low;
        WRITE(bytes16, to + 16) = high;
        to += step;
    } while (to < end);
#else
    while (to < end)
        *to++ = *from++;
#endif
}

/* The rest of a length of which the first part is full; what is too long is found out later. */
static inline int more(global const uchar *in, int *i, const int size)
{
    int sum = 0, part = 255;
    while (part == 255 && *i < size) {
        part = in[(*i)++];
        sum += part;
    }
    return sum;
}

/* Unpack a block that gives `length` bytes; `reach` bytes of the chunk are there from `in` on.
 * The rules are those of LZ4: the last sequence is of literals, the last 5 bytes are literals, and
 * no match begins within the last 12. */
static int unpack(global const uchar *in, const int size, const int reach, uchar *out,
                  const int length)
{
    int i = 0, o = 0;
    for (;;) {
        if (i >= size)
            return CUT_OFF;
        const int token = in[i++];
        int literals = token >> 4;
        if (literals == 15)
            literals += more(in, &i, size);
        if (literals > size - i)
            return CUT_OFF;
        if (literals > length - o)
            return LITERALS;
        if (literals <= reach - i - PAD) {
            int k = 0;
            do {
                WRITE(bytes32, out + o + k) = *(global const bytes32 *)(in + i + k);
                k += 32;
            } while (k < literals);
        } else
            for (int k = 0; k < literals; k++)
                out[o + k] = in[i + k];
        i += literals;
        o += literals;
        if (i == size)
            return o == length ? FINE : CUT_OFF;
        if (o > length - 12 || i > size - 8)
            return LITERALS;
        const int offset = in[i] | in[i + 1] << 8;
        i += 2;
        if (offset == 0 || offset > o)
            return OFFSET;
        int match = (token & 15) + 4;
        if (match == 19)
            match += more(in, &i, size);
        if (match > length - 5 - o)
            return MATCH;
        repeat(out + o, offset, match);
        o += match;
    }
}

/* An unpacked block. */
struct block {
    int start;   // its first pixel
    int stride;  // bytes in a plane
    int bytes;   // a bit for each byte of the pixels that is not zero in all
    int count;   // pixels in which it is not, summed over the bytes
    uchar use[SIZE / BYTES / 8 + PAD]; // pixels that are used, and have not the highest bit
    uchar data[SIZE + 2 * PAD];
};

static inline int bits_of(const bytes32 bytes)
{
    const longs4 x = AS(longs4, bytes);
    return __builtin_popcountl(x.x) + __builtin_popcountl(x.y) + __builtin_popcountl(x.z)
           + __builtin_popcountl(x.w);
}

/* See which pixels are to be used, and how many of those hold counts. Returns whether there are
 * used ones with the highest bit. */
static int survey(struct block *block, global const uchar *used)
{
    const int stride = block->stride;
    longs4 odd = 0;
    for (int j = 0; j < stride; j += 32) {
        const bytes32 known = *(global const bytes32 *)(used + block->start / 8 + j),
                      top = READ(bytes32, block->data + (BITS - 1) * stride + j);
        WRITE(bytes32, block->use + j) = known & ~top;
        odd |= AS(longs4, known & top);
    }
    for (int j = stride; j % 32; j++)
        block->use[j] = 0;
    block->bytes = block->count = 0;
    for (int b = 0; b < BYTES; b++) {
        int count = 0;
        for (int j = 0; j < stride; j += 32) {
            bytes32 any = 0;
            #pragma unroll
            for (int p = 8 * b; p < 8 * b + 8; p++)
                any |= READ(bytes32, block->data + p * stride + j);
            count += bits_of(any & READ(bytes32, block->use + j));
        }
        block->bytes |= (count != 0) << b;
        block->count += count;
    }
    return (odd.x | odd.y | odd.z | odd.w) != 0;
}

/* What all pixels are added with. */
struct table {
    global const KEY *first;
    global const float *shares;
    global const ushort *spans;
    global V *histogram;
    global int *bad;
    int n_bad;
    int n_bins;  // also the key of unused pixels
    int n_pixels;
};

static inline void add(const struct table *table, const int pixel, const V v)
{
    global V *lanes = table->histogram + (size_t)table->first[pixel] * STRIDE;
#if COLUMNS == 0
    global const float *ends = table->shares + (size_t)pixel * 2;
    /* Of unused pixels the table says nothing. */
    const int span = table->first[pixel] == table->n_bins ? 0 : table->spans[pixel];
    global V *last = lanes + span * STRIDE;
    const SUM b = ends[1];
    const SUM m = span > 1 ? (1 - (SUM)ends[0] - b) / (span - 1) : 0;
    const SUM a = span > 1 ? (SUM)ends[0] : 1 - b;
#if FRAMES == 1 && WANT
    *(global sums4 *)lanes += v * (sums4){a - m, m, a * a - m * m, m * m};
    *(global sums4 *)last += v * (sums4){b, -m, b * b, -m * m};
#else
    lanes[0] += v * (a - m);
    lanes[1] += v * m;
    last[0] += v * b;
    last[1] -= v * m;
#if WANT
    lanes[2] += v * (a * a - m * m);
    lanes[3] += v * (m * m);
    last[2] += v * (b * b);
    last[3] -= v * (m * m);
#endif
#endif
#elif COLUMNS > 2
    global const float *others = table->shares + (size_t)pixel * (COLUMNS - 1);
    SUM shares[COLUMNS];
    shares[0] = 1;
    #pragma unroll
    for (int c = 1; c < COLUMNS; c++) {
        shares[c] = others[c - 1];
        shares[0] -= shares[c];
    }
    #pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        lanes[c] += v * shares[c];
#if WANT
        lanes[COLUMNS + c] += v * (shares[c] * shares[c]);
#endif
    }
#else
    lanes[0] += v;
#endif
#if COLUMNS == 2
    const SUM share = table->shares[pixel];
    const V part = v * share;
    lanes[1] += part;
#if WANT
    lanes[2] += part * share;
#endif
#endif
}

/* Add a pixel of one frame if it is good, else write it down. */
static void add_checked(struct table *table, const int pixel, const int f, const PIXEL value)
{
    if (BAD(value)) {
        table->bad[table->n_bad++] = pixel + f * table->n_pixels;
        return;
    }
    V v = 0;
    LANE(v, f) = value;
    add(table, pixel, v);
}

/* The value of a pixel, counted from the start of its block. */
static PIXEL value_of(const struct block *block, const int i)
{
    PIXEL value = 0;
    for (int p = 0; p < BITS; p++)
        value |= (PIXEL)(block->data[p * block->stride + i / 8] >> i % 8 & 1) << p;
    return value;
}

/* Look at the used pixels with the highest bit. */
static void add_odd(const struct block *block, struct table *table, const int f,
                    global const uchar *used)
{
    const int stride = block->stride;
    for (int j = 0; j < stride; j++) {
        int odd = used[block->start / 8 + j] & block->data[(BITS - 1) * stride + j];
        for (; odd; odd &= odd - 1) {
            const int i = 8 * j + __builtin_ctz(odd);
            add_checked(table, block->start + i, f, value_of(block, i));
        }
    }
}

/* Add bit by bit. */
static void add_bits(const struct block *block, const struct table *table, const int f)
{
    const int stride = block->stride;
    ushort found[SIZE / BYTES + 8];
    for (int p = 0; p < BITS - 1; p++) {
        const uchar *plane = block->data + p * stride;
        longs4 any = 0;
        if (block->bytes >> p / 8 & 1)
            for (int j = 0; j < stride; j += 32)
                any |= AS(longs4, READ(bytes32, plane + j) & READ(bytes32, block->use + j));
        if (!(any.x | any.y | any.z | any.w))
            continue;
        int n = 0;
        for (int j = 0; j < stride; j += 8) {
            ulong bits = READ(ulong, plane + j) & READ(ulong, block->use + j);
            const int some = __builtin_popcountl(bits);
            /* Eight at a time, needed or not, so that there is little to guess. */
            for (int k = 0; k < some; k += 8)
                #pragma unroll
                for (int m = 0; m < 8; m++) {
                    found[n + k + m] = 8 * j + __builtin_ctzl(bits);
                    bits &= bits - 1;
                }
            n += some;
        }
        V v = 0;
        LANE(v, f) = 1u << p;
        for (int k = 0; k < n; k++)
            add(table, block->start + found[k], v);
    }
}

/* Eight times eight bits with rows and columns exchanged. */
static inline longs4 transpose(longs4 x)
{
    longs4 t = (x ^ x >> 7) & 0x00AA00AA00AA00AAUL;
    x ^= t ^ t << 7;
    t = (x ^ x >> 14) & 0x0000CCCC0000CCCCUL;
    x ^= t ^ t << 14;
    t = (x ^ x >> 28) & 0x00000000F0F0F0F0UL;
    return x ^ t ^ t << 28;
}

/* Zip the lower or the upper halves of both halves of two vectors, as AVX2 does. */
#define LOW8(a, b) __builtin_shufflevector(a, b, 0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, \
    38, 7, 39, 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55)
#define HIGH8(a, b) __builtin_shufflevector(a, b, 8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, \
    14, 46, 15, 47, 24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63)
#define LOW16(a, b) __builtin_shufflevector(AS(shorts16, a), AS(shorts16, b), \
    0, 16, 1, 17, 2, 18, 3, 19, 8, 24, 9, 25, 10, 26, 11, 27)
#define HIGH16(a, b) __builtin_shufflevector(AS(shorts16, a), AS(shorts16, b), \
    4, 20, 5, 21, 6, 22, 7, 23, 12, 28, 13, 29, 14, 30, 15, 31)
#define LOW32(a, b) __builtin_shufflevector(AS(ints8, a), AS(ints8, b), 0, 8, 1, 9, 4, 12, 5, 13)
#define HIGH32(a, b) __builtin_shufflevector(AS(ints8, a), AS(ints8, b), \
    2, 10, 3, 11, 6, 14, 7, 15)

static inline void put(uint *values, const bytes8 bytes, const int shift)
{
    const ints8 wide = __builtin_convertvector(bytes, ints8) << shift;
    WRITE(ints8, values) = shift ? wide | READ(ints8, values) : wide;
}

/* Put together one byte, that of a shift, of 256 pixels. */
static inline void join(const uchar *planes, const int stride, const bytes32 use, const int shift,
                        uint *values)
{
#define PLANE(p) (READ(bytes32, planes + (shift + p) * stride) & use)
    const bytes32 p0 = PLANE(0), p1 = PLANE(1), p2 = PLANE(2), p3 = PLANE(3), p4 = PLANE(4),
                  p5 = PLANE(5), p6 = PLANE(6), p7 = PLANE(7);
    const bytes32 a0 = LOW8(p0, p1), a1 = LOW8(p2, p3), a2 = LOW8(p4, p5), a3 = LOW8(p6, p7),
                  b0 = HIGH8(p0, p1), b1 = HIGH8(p2, p3), b2 = HIGH8(p4, p5), b3 = HIGH8(p6, p7);
    const shorts16 c0 = LOW16(a0, a1), c1 = LOW16(a2, a3), d0 = HIGH16(a0, a1),
                   d1 = HIGH16(a2, a3), e0 = LOW16(b0, b1), e1 = LOW16(b2, b3),
                   f0 = HIGH16(b0, b1), f1 = HIGH16(b2, b3);
    const ints8 zipped[8] = {LOW32(c0, c1), HIGH32(c0, c1), LOW32(d0, d1), HIGH32(d0, d1),
                             LOW32(e0, e1), HIGH32(e0, e1), LOW32(f0, f1), HIGH32(f0, f1)};
    #pragma unroll
    for (int k = 0; k < 8; k++) {
        const bytes32 v = AS(bytes32, transpose(AS(longs4, zipped[k])));
        uint *to = values + 16 * k;
        put(to, v.lo.lo, shift);
        put(to + 8, v.lo.hi, shift);
        put(to + 128, v.hi.lo, shift);
        put(to + 136, v.hi.hi, shift);
    }
}

#define ZIP __builtin_shufflevector
#define LANES_OF(bin) (*(global sums4 *)(table->histogram + (size_t)(bin) * STRIDE))

/* Add what is put together again. */
static void add_values(const struct block *blocks, const struct table *table)
{
    const int stride = blocks->stride;
    uint values[FRAMES][256];
    for (int j = 0; j < stride; j += 32) {
        for (int f = 0; f < FRAMES; f++) {
            const struct block *block = blocks + f;
            const bytes32 use = READ(bytes32, block->use + j);
            join(block->data + j, stride, use, 0, values[f]);
            for (int b = 1; b < BYTES; b++)
                if (block->bytes >> b & 1)
                    join(block->data + j, stride, use, 8 * b, values[f]);
        }
        const int pixel = blocks->start + 8 * j, n = stride - j < 32 ? 8 * (stride - j) : 256;
        for (int i = 0; i < n; i += 4) {
#if FRAMES == 1 && COLUMNS == 2 && WANT
            global const KEY *first = table->first + pixel + i;
            const sums4 v = __builtin_convertvector(READ(ints4, values[0] + i), sums4);
            const sums4 u = __builtin_convertvector(
                *(global const floats4 *)(table->shares + pixel + i), sums4);
            const sums4 p = v * u, q = p * u;
            const sums4 even = ZIP(v, p, 0, 4, 2, 6), odd = ZIP(v, p, 1, 5, 3, 7);
            LANES_OF(first[0]) += ZIP(even, q, 0, 1, 4, 4);
            LANES_OF(first[1]) += ZIP(odd, q, 0, 1, 5, 5);
            LANES_OF(first[2]) += ZIP(even, q, 2, 3, 6, 6);
            LANES_OF(first[3]) += ZIP(odd, q, 2, 3, 7, 7);
#elif FRAMES == 1
            /* Neighbours are often in one bin, and an addition waits for the one before it. */
            #pragma unroll
            for (int k = 0; k < 4; k++) {
                const int far = i / 4 + k * (n / 4);
                add(table, pixel + far, (int)values[0][far]);
            }
#else
            const ints4 a = READ(ints4, values[0] + i), b = READ(ints4, values[1] + i),
                        c = READ(ints4, values[2] + i), d = READ(ints4, values[3] + i);
            #pragma unroll
            for (int k = 0; k < 4; k++)
                add(table, pixel + i + k,
                        __builtin_convertvector(((ints4){a[k], b[k], c[k], d[k]}), V));
#endif
        }
    }
}

/* Which of the pixels that are wanted as they are is the first not before `start`. */
static int first_wanted(global const int *pixels, const int n, const int start)
{
    int low = 0, high = n;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (pixels[middle] < start)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* in_block: pixels in a block, a multiple of 8.
 * rest, values: pixels that are wanted as they are, and their values, frame after frame.
 * wrong: of each work-item, the frame, the block and what is wrong with it. */
__attribute__((reqd_work_group_size(1, 1, 1)))
kernel void sum_blocks(EACH(CHUNK), global const int2 *blocks, const int n_blocks,
                       const int in_block, global const KEY *first, global const float *shares,
                       global const ushort *spans, global const uchar *used,
                       global const int *rest, const int n_rest, global PIXEL *values,
                       global V *histograms, global int *bad, global int *n_bad,
                       global int4 *wrong, const int n_bins, const int n_pixels)
{
    const int item = get_global_id(0), stretch = (n_blocks - 1) / (int)get_global_size(0) + 1;
    const int end = min((item + 1) * stretch, n_blocks), size = (n_bins + 1) * STRIDE;
    const int full = n_pixels / 8 * 8, start = min(item * stretch * in_block, full);
    global const uchar *const chunks[FRAMES] = {EACH(THIS_CHUNK)};
    const int sizes[FRAMES] = {EACH(THIS_SIZE)};
    struct table table = {first, shares, spans, histograms + (size_t)item * size,
                          bad + (size_t)start * FRAMES, 0, n_bins, n_pixels};
    struct block unpacked[FRAMES];
    int r = first_wanted(rest, n_rest, start);

    for (int i = 0; i < size; i++)
        table.histogram[i] = 0;
    wrong[item] = (int4)(0);
    for (int b = item * stretch; b < end; b++) {
        const int pixel = b * in_block, pixels = min(in_block, full - pixel);
        int few = 1;
        for (int f = 0; f < FRAMES; f++) {
            struct block *block = unpacked + f;
            const int2 place = blocks[f * (n_blocks + 1) + b];
            block->start = pixel;
            block->stride = pixels / 8;
            const int problem = unpack(chunks[f] + place.x, place.y, sizes[f] - place.x,
                                       block->data, pixels * BYTES);
            if (problem) {
                wrong[item] = (int4)(f, b, problem, 0);
                return;
            }
            if (survey(block, used))
                add_odd(block, &table, f, used);
            few &= 64 * block->count <= FEW * pixels;
        }
        if (few)
            for (int f = 0; f < FRAMES; f++)
                add_bits(unpacked + f, &table, f);
        else
            add_values(unpacked, &table);
        for (; r < n_rest && rest[r] < pixel + pixels; r++)
            for (int f = 0; f < FRAMES; f++)
                values[f * n_rest + r] = value_of(unpacked + f, rest[r] - pixel);
    }
    /* What does not fill eight pixels stands behind the last block as it is. */
    if (item == get_global_size(0) - 1)
        for (int pixel = full; pixel < n_pixels; pixel++) {
            const int wanted = r < n_rest && rest[r] == pixel;
            for (int f = 0; f < FRAMES; f++) {
                global const uchar *at = chunks[f] + blocks[f * (n_blocks + 1) + n_blocks].x;
                PIXEL value = 0;
                for (int b = 0; b < BYTES; b++)
                    value |= (PIXEL)at[(pixel - full) * BYTES + b] << 8 * b;
                if (wanted)
                    values[f * n_rest + r] = value;
                else if (first[pixel] != n_bins)
                    add_checked(&table, pixel, f, value);
            }
            r += wanted;
        }
    n_bad[item] = table.n_bad;
}

/* The sum of a lane of a bin over all work-items. */
static inline V total(global const V *histograms, const int items, const int n_bins,
                      const int bin, const int lane)
{
    V sum = 0;
    for (int item = 0; item < items; item++)
        sum += histograms[((size_t)item * (n_bins + 1) + bin) * STRIDE + lane];
    return sum;
}

/* What belongs to each bin, one work-item per bin. sums: the signal, then the squares; of boxes
 * lane after lane.
 * offsets: how far from its first bin the bins of a pixel are. */
kernel void collect(global const V *histograms, const int items, global const int *offsets,
                    global V *sums)
{
    const int bin = get_global_id(0), n_bins = get_global_size(0);
#define TOTAL(bin, lane) ((bin) < 0 ? 0 : total(histograms, items, n_bins, bin, lane))
#if COLUMNS < 2
    for (int lane = 0; lane < LANES; lane++)
        sums[lane * n_bins + bin] = TOTAL(bin, lane);
#elif COLUMNS == 2
    const V all = TOTAL(bin, 0), parts = TOTAL(bin, 1);
    sums[bin] = all - parts + TOTAL(bin - offsets[1], 1);
#if WANT
    sums[n_bins + bin] = all - 2 * parts + TOTAL(bin, 2) + TOTAL(bin - offsets[1], 2);
#endif
#else
    for (int kind = 0; kind <= WANT; kind++) {
        V sum = 0;
        for (int c = 0; c < COLUMNS; c++)
            sum += TOTAL(bin - offsets[c], kind * COLUMNS + c);
        sums[kind * n_bins + bin] = sum;
    }
#endif
}
