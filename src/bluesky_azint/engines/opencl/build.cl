/* Build: where pixels lie, what they weigh, and which bins they touch; in double precision.
 *
 * The place of a pixel of a regular detector is the sum of one for its row and one for its column,
 * which the host computes, as it does the constants: so only additions, multiplications, divisions
 * and roots are left, in the order in which NumPy does them, and results are the same to the bit.
 * Angles are the exception, which differ in the last digit.
 *
 * A work-group takes a block of rows. For each row it writes the values at the corners of the pixels
 * down, then tells the pixels: on a CPU a work-item alone, whose loops along the row the compiler
 * turns into vectors; on a GPU work-items side by side. Pixels that are not plain (see plain.py and
 * the conditions below) are marked as odd, and told by the host.
 *
 * GROUP    work-items of a group             ROWS   rows of a block
 * BOXES    whether pixels are boxes          FULL   whether they are polygons
 * AROUND   whether the azimuth is one of the axes
 * VALUE(p, k)   radial coordinate of a place, with k = 4e-9 pi / wavelength
 * PERIOD   of that, where it is an angle that comes back to itself
 * For `table` also
 * KEY      type of a bin number              COLUMNS  as in stream.cl
 * CELLS    whether shares are those of two bins by two
 */
#pragma OPENCL FP_CONTRACT OFF

#if defined(__clang__) && GROUP == 1
/* The compiler knows these; PoCL calls its own as functions. (Of many distances the largest is found
 * in vectors only so.) */
#define SQRT __builtin_sqrt
#define FLOOR __builtin_floor
#define RINT __builtin_rint
#define ABS __builtin_fabs
#define FMAX __builtin_fmax
#else
#define SQRT sqrt
#define FLOOR floor
#define RINT rint
#define ABS fabs
#define FMAX fmax
#endif
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define FINITE(v) (ABS(v) <= DBL_MAX)

/* A call in a loop keeps it from becoming one of vectors. */
#define INLINE __attribute__((always_inline)) static inline

#if GROUP == 1
#define ALONG(j, n) for (int j = 0; j < (n); j++)
#define SYNC
#else
#define ALONG(j, n) for (int j = get_local_id(0); j < (n); j += GROUP)
#define SYNC barrier(CLK_GLOBAL_MEM_FENCE)
#endif

struct place {
    double y, x, z;
};

/* Of row i and column j: each an array of y, then of x, then of z. */
INLINE struct place place_of(global const double *restrict rows, const int i, const int n1,
                                    global const double *restrict columns, const int j,
                                    const int n2)
{
    return (struct place){rows[i] + columns[j], rows[n1 + i] + columns[n2 + j],
                          rows[2 * n1 + i] + columns[2 * n2 + j]};
}

INLINE double square(const double v)
{
    return v * v;
}

INLINE double radius(const struct place p)
{
    return SQRT(p.x * p.x + p.y * p.y);
}

/* q, with k = 4e-9 pi / wavelength. */
INLINE double q_nm(const struct place p, const double k)
{
    const double r2 = p.x * p.x + p.y * p.y;
    const double total = SQRT(r2 + p.z * p.z);
    const double forward = 2.0 * total * (total + p.z);
    return k * (forward > 0 ? SQRT(r2 / forward) : 1.0);
}

/* The polynomial goes through arctan(u) / u in the Chebyshev nodes of |u| < tan(pi/8). */
INLINE double arctan2(const double y, const double x)
{
    const double a = ABS(x), b = ABS(y), larger = MAX(a, b), smaller = MIN(a, b);
    const double t = larger > 0 ? smaller / larger : 0.0;
    const int steep = t > 0.41421356237309503;
    const double u = steep ? (t - 1.0) / (t + 1.0) : t, z = u * u;
    const double sum = -0.33333333333333326 + z * (0.1999999999999733 + z * (-0.14285714285353543
        + z * (0.11111111086335691 + z * (-0.09090908086144035 + z * (0.07692281575973935
        + z * (-0.06666210824659782 + z * (0.05876877120085241 + z * (-0.052175285156949934
        + z * (0.045001606096564666 + z * (-0.0333986746539993 + z * 0.015120667592739846))))))))));
    double angle = (steep ? 0.78539816339744830962 : 0.0) + (u + u * z * sum);
    angle = b > a ? 1.57079632679489661923 - angle : angle;
    angle = x < 0 ? 3.14159265358979323846 - angle : angle;
    angle = larger <= DBL_MAX ? angle : NAN;
    return y < 0 ? -angle : angle;
}

/* The coordinates at the corners of a row of pixels. */
INLINE void write_corners(global const double *restrict rows, const int i, const int n1,
                                 global const double *restrict columns, const int n2,
                                 const double k, const double degrees,
                                 global double *restrict radial, global double *restrict around)
{
    ALONG(j, n2) {
        const struct place p = place_of(rows, i, n1, columns, j, n2);
        radial[j] = VALUE(p, k);
#if AROUND
        around[j] = arctan2(p.y, p.x) * degrees;
#endif
    }
}

/* The same and, as pyFAI has corners, in single precision, in the first unit of the quantity. */
INLINE void write_rounded(global const double *restrict rows, const int i, const int n1,
                                 global const double *restrict columns, const int n2,
                                 const double k, const double scale,
                                 global double *restrict radial, global double *restrict rounded)
{
    ALONG(j, n2) {
        const struct place p = place_of(rows, i, n1, columns, j, n2);
        const double value = VALUE(p, k);
        radial[j] = value;
        rounded[j] = (double)(float)(value / scale) * scale;
    }
}

/* From one value to another; of angles, the shorter way round. */
INLINE double apart(const double value, const double from)
{
    const double distance = value - from;
#ifdef PERIOD
    return distance - PERIOD * RINT(distance / PERIOD);
#else
    return distance;
#endif
}

/* The largest distance of one of four values from another. */
INLINE double farthest(const double c, const double a0, const double a1, const double b0,
                       const double b1)
{
    const double da = ABS(apart(a0, c)), ea = ABS(apart(a1, c)), db = ABS(apart(b0, c)),
                 eb = ABS(apart(b1, c));
    const double a = FMAX(da, ea), b = FMAX(db, eb);
    return FMAX(a, b);
}

/* Smallest and largest value that the pixels of each column of a block cover.
 * ends: for each block a row of the smallest and one of the largest. */
kernel void extent(global const double *restrict rows, global const double *restrict columns,
                   global const double *restrict knot_rows,
                   global const double *restrict knot_columns,
                   const int n1, const int n2, const double k, const double scale,
                   global double *restrict scratch, global double *restrict ends)
{
    const int group = get_group_id(0), m = n2 + 1;
    const int start = group * ROWS, stop = MIN(start + ROWS, n1);
    global double *restrict low = ends + (size_t)group * 2 * n2;
    global double *restrict high = low + n2;
    global double *restrict above = scratch + (size_t)group * 4 * m;
    global double *restrict below = above + m;
    global double *restrict above_rounded = above + 2 * m;
    global double *restrict below_rounded = above + 3 * m;
    ALONG(j, n2) {
        low[j] = INFINITY;
        high[j] = -INFINITY;
    }
#if BOXES || FULL
    write_rounded(knot_rows, start, n1 + 1, knot_columns, m, k, scale, above, above_rounded);
#endif
    for (int i = start; i < stop; i++) {
#if BOXES || FULL
        write_rounded(knot_rows, i + 1, n1 + 1, knot_columns, m, k, scale, below, below_rounded);
        SYNC;
#endif
        ALONG(j, n2) {
            const struct place p = place_of(rows, i, n1, columns, j, n2);
            const double c = VALUE(p, k);
            double lower = c, upper = c;
#if BOXES || FULL
            const double a0 = above[j], a1 = above[j + 1], b0 = below[j], b1 = below[j + 1];
            const double r0 = above_rounded[j], r1 = above_rounded[j + 1],
                         s0 = below_rounded[j], s1 = below_rounded[j + 1];
#if FULL
            const double d0 = apart(a0, c), d1 = apart(a1, c), d2 = apart(b0, c),
                         d3 = apart(b1, c);
            const double e0 = apart(r0, c), e1 = apart(r1, c), e2 = apart(s0, c),
                         e3 = apart(s1, c);
            const double a = MIN(d0, d1), b = MIN(d2, d3), r = MAX(e0, e1), s = MAX(e2, e3);
            lower = c + MIN(a, b);
            upper = c + MAX(r, s);
#else
            lower = c - farthest(c, a0, a1, b0, b1);
            upper = c + farthest(c, r0, r1, s0, s1);
#endif
#endif
            low[j] = ((lower < low[j]) & (lower >= -DBL_MAX)) ? lower : low[j];
            high[j] = ((upper > high[j]) & (upper <= DBL_MAX)) ? upper : high[j];
        }
        SYNC;
#if BOXES || FULL
        global double *swap = above;
        above = below;
        below = swap;
        swap = above_rounded;
        above_rounded = below_rounded;
        below_rounded = swap;
#endif
    }
}

/* Solid angle and polarization of each pixel, see `Geometry.solid_angle` and corrections.py. */
kernel void weigh(global const double *restrict rows, global const double *restrict columns,
                  global const double *restrict knot_rows,
                  global const double *restrict knot_columns,
                  const int n1, const int n2, const double distance, const double squared,
                  const int solid, const int polarized, const double factor,
                  const double cosine, const double sine, global float *restrict weights)
{
    const int start = get_group_id(0) * ROWS, stop = MIN(start + ROWS, n1);
    for (int i = start; i < stop; i++) {
        global float *restrict row = weights + (size_t)i * n2;
        ALONG(j, n2) {
            const struct place p = place_of(rows, i, n1, columns, j, n2);
            const double x2 = p.x * p.x, y2 = p.y * p.y, z2 = p.z * p.z, r2 = x2 + y2 + z2;
            const double r = SQRT(r2);
            const double along = (x2 - y2) * cosine - 2.0 * p.x * p.y * sine;
            double weight = solid ? squared / (r * r) * (distance / r) : 1.0;
            weight *= polarized ? 0.5 * (1.0 + (z2 - factor * along) / r2) : 1.0;
            row[j] = (float)weight;
        }
    }
}

#ifdef KEY
#define N_SHARES (COLUMNS == 0 || (CELLS && COLUMNS == 4) ? 2 : COLUMNS - 1)

struct axis {
    double lower, step;  // the first end, and the width of a bin
    double start, end;   // where plain boxes begin and end, in bins
    double turn;         // a full turn in bins, of an angle
};

struct interval {
    double lower, upper, first, last;
    int plain, touching;
};

INLINE struct interval interval_of(const double position, const double reach,
                                          const struct axis axis, const int wraps)
{
    const double lower = position - reach, upper = position + reach;
    const double first = FLOOR(lower), last = FLOOR(upper);
    const int plain = (lower >= axis.start) & (upper < axis.end) & (lower < upper)
                      & (upper != last);
    int touching = !(upper < 0) & !(lower >= axis.end);
    if (wraps)
        touching |= (lower < 0) | (upper >= axis.turn);
    return (struct interval){lower, upper, first, last, plain, touching};
}

/* Share of a box in the bin that is some after its first one. */
INLINE double share_after(const struct interval box, const double some)
{
    const double start = box.first + some;
    const double overlap = MIN(box.upper, start + 1.0) - start;
    return MAX(overlap, 0.0) / (box.upper - box.lower);
}

/* Distance between two angles in bins, the shorter way round. */
INLINE double turned(const double corner, const double centre, const struct axis axis)
{
    const double distance = (corner - centre) / axis.step;
    return ABS(distance - axis.turn * RINT(distance / axis.turn));
}

/* Where an angle lies on its axis, in bins. */
INLINE double angle_position(const double angle, const struct axis axis)
{
    const double position = (angle - axis.lower) / axis.step;
    return position - axis.turn * FLOOR(position / axis.turn);
}

/* Angle of a corner from the centre, as seen from the beam; small ones alone are right. */
INLINE double small_angle(const struct place corner, const struct place c,
                                 int *restrict small)
{
    const double cross = corner.y * c.x - corner.x * c.y, dot = corner.x * c.x + corner.y * c.y;
    const double t = cross / dot, z = t * t;
    *small &= (dot > 0) & (ABS(t) < 0.1);
    return t + t * z * (-1 / 3. + z * (1 / 5. + z * (-1 / 7. + z * (1 / 9. + z * (-1 / 11.
           + z * (1 / 13. - z * (1 / 15.)))))));
}

/* What a side adds to the area of a polygon between two values of the radial coordinate. */
INLINE double under_side(const double p, const double angle, const double p_next,
                                const double angle_next, const double low, const double high)
{
    const double begin = MIN(MAX(p, low), high), end = MIN(MAX(p_next, low), high);
    const double length = p_next - p;
    const double slope = length != 0 ? (angle_next - angle) / length : 0.0;
    return -((end - begin) * (angle + slope * (0.5 * (begin + end) - p)));
}

/* The table: see `Lookup`; odd: which pixels the host has to tell. */
kernel void table(global const double *restrict rows, global const double *restrict columns,
                  global const double *restrict knot_rows,
                  global const double *restrict knot_columns,
                  const int n1, const int n2, const double k,
                  global const double *restrict axes, const double degrees,
                  global const uchar *restrict mask, const int npt, const uint n_bins,
                  global double *restrict scratch,
                  global KEY *restrict all_first, global float *restrict all_shares,
                  global ushort *restrict all_spans, global uchar *restrict all_odd)
{
    const int group = get_group_id(0), m = n2 + 1;
    const int start = group * ROWS, stop = MIN(start + ROWS, n1);
    global double *restrict above = scratch + (size_t)group * 4 * m;
    global double *restrict below = above + m;
    global double *restrict above_around = above + 2 * m;
    global double *restrict below_around = above + 3 * m;
    const struct axis radial = {axes[0], axes[1], axes[2], axes[3], axes[4]};
    const struct axis azimuthal = {axes[5], axes[6], axes[7], axes[8], axes[9]};
#if BOXES || FULL
    write_corners(knot_rows, start, n1 + 1, knot_columns, m, k, degrees, above, above_around);
#endif
    for (int i = start; i < stop; i++) {
        const size_t row = (size_t)i * n2;
        global KEY *restrict firsts = all_first + row;
        global uchar *restrict odds = all_odd + row;
        global const uchar *restrict masked = mask + row;
        global float *restrict shares = all_shares + row * N_SHARES;
        global ushort *restrict spans = all_spans + row;
#if BOXES || FULL
        write_corners(knot_rows, i + 1, n1 + 1, knot_columns, m, k, degrees, below,
                      below_around);
        SYNC;
#endif
        ALONG(j, n2) {
            const struct place p = place_of(rows, i, n1, columns, j, n2);
            const double c = VALUE(p, k), position = (c - radial.lower) / radial.step;
            const int usable = !masked[j];
            double first;
            int plain, touching;
#if AROUND
            const double angle = arctan2(p.y, p.x) * degrees;
            const double where = angle_position(angle, azimuthal);
#endif
#if BOXES
            const double reach = farthest(c, above[j], above[j + 1], below[j], below[j + 1])
                                / radial.step;
            const struct interval box = interval_of(position, reach, radial, 0);
            first = box.first;
            plain = box.plain;
            touching = box.touching;
#if AROUND
            const double t0 = turned(above_around[j], angle, azimuthal),
                         t1 = turned(above_around[j + 1], angle, azimuthal),
                         t2 = turned(below_around[j], angle, azimuthal),
                         t3 = turned(below_around[j + 1], angle, azimuthal);
            const double far1 = FMAX(t0, t1), far2 = FMAX(t2, t3), far = FMAX(far1, far2);
            const struct interval across =
                interval_of(where, MIN(far, 0.5 * azimuthal.turn), azimuthal, 1);
            first += across.first * npt;
            plain &= across.plain;
            touching &= across.touching;
#endif
#if CELLS && COLUMNS == 4
            shares[2 * j] = (float)share_after(box, 1.0);
            shares[2 * j + 1] = (float)share_after(across, 1.0);
            plain &= (box.last - box.first < 2) & (across.last - across.first < 2);
#elif CELLS
            shares[j] = (float)share_after(across, 1.0);
            plain &= (box.first == box.last) & (across.last - across.first < 2);
#else
#if AROUND
            plain &= across.first == across.last;
#endif
#if COLUMNS == 0
            const double span = box.last - box.first, width = box.upper - box.lower;
            plain &= span < 65536;
            shares[2 * j] = (float)(span == 0 ? 1.0 : (box.first + 1.0 - box.lower) / width);
            shares[2 * j + 1] = (float)(span == 0 ? 0.0 : (box.upper - box.last) / width);
            spans[j] = (ushort)(int)((plain & usable) ? span : 0);
#else
            plain &= box.last - box.first < COLUMNS;
            #pragma unroll
            for (int column = 1; column < COLUMNS; column++)
                shares[(COLUMNS - 1) * j + column - 1] = (float)share_after(box, column);
#endif
#endif
#elif FULL
            /* The corners around the pixel, and their angles. */
            const double q0 = position + (above[j] - c) / radial.step,
                         q1 = position + (below[j] - c) / radial.step,
                         q2 = position + (below[j + 1] - c) / radial.step,
                         q3 = position + (above[j + 1] - c) / radial.step;
            int small = 1;
#define CORNER(i, j) \
    small_angle(place_of(knot_rows, i, n1 + 1, knot_columns, j, m), p, &small)
            const double a0 = CORNER(i, j), a1 = CORNER(i + 1, j), a2 = CORNER(i + 1, j + 1),
                         a3 = CORNER(i, j + 1);
            const double low1 = MIN(q0, q1), low2 = MIN(q2, q3), low = MIN(low1, low2);
            const double high1 = MAX(q0, q1), high2 = MAX(q2, q3), high = MAX(high1, high2);
#define AREA(low, high) (under_side(q0, a0, q1, a1, low, high) \
                         + under_side(q1, a1, q2, a2, low, high) \
                         + under_side(q2, a2, q3, a3, low, high) \
                         + under_side(q3, a3, q0, a0, low, high))
            const double total = AREA(low, high);
            first = FLOOR(low);
            plain = small & (low >= 0) & (high < radial.end) & (total != 0)
                    & (FLOOR(high) - first < COLUMNS);
            plain &= AREA(first, first + 1.0) / total > 0;
            touching = !(high < 0) & !(low >= radial.end);
            #pragma unroll
            for (int column = 1; column < COLUMNS; column++) {
                const double share = AREA(first + column, first + column + 1.0) / total;
                plain &= share >= 0;
                shares[(COLUMNS - 1) * j + column - 1] = (float)share;
            }
#else
            first = FLOOR(position);
            plain = (first >= 0) & (first < npt);
            touching = 0;
#if AROUND
            const double line = FLOOR(where);
            plain &= (line >= 0) & (line < azimuthal.end);
            first += line * npt;
#endif
#endif
            plain &= usable;
            first = plain ? first : (double)n_bins;
            firsts[j] = (KEY)(uint)first;
            odds[j] = usable & touching & !plain;
        }
        for (int column = 0; column < N_SHARES; column++)
            ALONG(j, n2) {
                const float share = shares[N_SHARES * j + column];
                shares[N_SHARES * j + column] = firsts[j] == n_bins ? 0.0f : share;
            }
        SYNC;
#if BOXES || FULL
        global double *swap = above;
        above = below;
        below = swap;
        swap = above_around;
        above_around = below_around;
        below_around = swap;
#endif
    }
}
#endif
