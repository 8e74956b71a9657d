/* Clip: robust sums of every bin, from a frame that is sorted by bin (see rows.py).
 *
 * Each work-item takes a stretch of bins, and reads the row of each again and again while it is in
 * the cache. What is kept of a row lies in an interval of intensities, so that nothing need be
 * written down.
 *
 * PIXEL    type of a pixel             PIXELS   of four
 * FLOATING whether that is one of real numbers
 * SHARES   columns of shares           WHOLE    whether all shares are one
 * DARK     whether there is a dark     SIGNED   whether some weight is negative
 * SPREAD   whether the spread of the pixels around the mean of their bin is wanted
 * COUNTS   whether the variance of the pixels themselves is: the value, or
 * GIVEN    given; to which is
 * ADDED    added the variance of the dark
 * BAD(v)   whether a value is bad
 * CPU      whether arrays are those of the host, which need not be aligned
 */
#define PARTS (SHARES + 1 + !WHOLE)

#define ROUNDING 1e-12     /* relative, of what is equal but for rounding */
#define DIGITS_LOST 1e3    /* how much larger terms may be than their difference */
#define FIRST 256          /* entries of a row that tell what to expect of it */
#define CENTRAL 0.8        /* parts of the spread and of the limit that are expected to be inside */
#define CALM 0.9           /* the real ones, although a guess is uncertain */
#define SAMPLE 64          /* entries that tell about where quantiles are, */
#define SAMPLE_ERROR 0.15  /* to this part of all entries */

typedef double4 Real;
typedef long4 Mask;

/* Functions of the library, such as vload4, are calls in PoCL; compilers for CPUs are Clang. */
#if CPU
typedef PIXEL Pixels __attribute__((ext_vector_type(4), aligned(sizeof(PIXEL))));
typedef float Floats __attribute__((ext_vector_type(4), aligned(4)));
typedef double Doubles __attribute__((ext_vector_type(4), aligned(8)));
typedef int Ints __attribute__((ext_vector_type(4), aligned(4)));
#define READ(Type, array, i) (*(global const Type *)((array) + (i)))
#else
typedef PIXELS Pixels;
#define READ(Type, array, i) vload4(0, (array) + (i))
#endif
#undef isfinite
#define isfinite(v) ((v) - (v) == 0)
#define ANY(mask) ((mask).x | (mask).y | (mask).z | (mask).w)
#define SUM(v) ((v).x + (v).y + (v).z + (v).w)
#define ONLY(mask, v) as_double4(as_long4(v) & (mask))

typedef struct {
    global const PIXEL *frame;
    global const float *weight;
    global const double *dark, *given, *added;
    global const float *shares;
    global const double *entry_shares;
    global const int *pixels, *groups, *entries, *offsets;
    int n_bins, n_grouped;
} Slots;

typedef struct {
    int begin[PARTS], end[PARTS];
} Row;

/* Four entries of a row: signal and weight of the pixel, its share, the variance of its counts. */
typedef struct {
    Real signal, weight, share, variance;
    Mask good;
} Entries;

/* What is kept; of entries at its ends, those from the one to the other number. */
typedef struct {
    double low, high;
    long first, last;
} Interval;

typedef struct {
    double signal, weight, weight2, share, share2, counts, spread;
    long number;
    long central, calm;                /* of them, in the intervals of the guess */
} Sums;

/* What is expected of a row: its mean, an interval around it in which more than half of it should
 * lie, and one that all should lie in. */
typedef struct {
    double mean, central, calm;
} Guess;

/* Place for the entries of a row among which some are sought. */
typedef struct {
    global double *intensity, *weight;
    global long *number, *touched;
    int size;
    double total;                      /* weight of all */
} List;

#define EVERYTHING ((Interval){-INFINITY, INFINITY, 0, 0})

static double ratio(double numerator, double denominator)
{
    return denominator != 0 ? numerator / denominator : 0;
}

/* Where the parts of a row are: a group for each offset, then entries. */
static Row row_of(const Slots *slots, int bin)
{
    Row row;
    #pragma unroll
    for (int part = 0; part <= SHARES; part++) {
        const int group = bin - slots->offsets[part];
        row.begin[part] = group < 0 ? 0 : slots->groups[group];
        row.end[part] = group < 0 ? 0 : slots->groups[group + 1];
    }
#if !WHOLE
    row.begin[PARTS - 1] = slots->entries[bin];
    row.end[PARTS - 1] = slots->entries[bin + 1];
#endif
    return row;
}

static int length_of(const Row *row)
{
    int length = 0;
    for (int part = 0; part < PARTS; part++)
        length += row->end[part] - row->begin[part];
    return length;
}

static Entries read(const Slots *slots, int part, int i)
{
    Entries entries;
    const int n_grouped = slots->n_grouped;
    const Pixels value = READ(Pixels, slots->frame, i);
    entries.signal = convert_double4(value);
    entries.weight = convert_double4(READ(Floats, slots->weight, i));
#if FLOATING
    entries.good = ~(BAD(entries.signal)); // limits may lie between floats
#else
    entries.good = ~convert_long4(BAD(value));
#endif
    entries.share = 1;
#if !WHOLE
    if (part == PARTS - 1)
        entries.share = READ(Doubles, slots->entry_shares, i - n_grouped);
#if SHARES
    else if (part > 0)
        entries.share = convert_double4(READ(Floats, slots->shares, (size_t)n_grouped * (part - 1) + i));
    else {
        Real others = 0;
        #pragma unroll
        for (int k = 0; k < SHARES; k++)
            others += convert_double4(READ(Floats, slots->shares, (size_t)n_grouped * k + i));
        entries.share -= others;
    }
#endif
    entries.good &= entries.share != 0;
#endif
#if COUNTS
    entries.variance = GIVEN ? READ(Doubles, slots->given, i) : entries.signal;
#if ADDED
    entries.variance += READ(Doubles, slots->added, i);
#endif
#endif
#if DARK
    entries.signal -= READ(Doubles, slots->dark, i);
#endif
    return entries;
}

/* Which entries have an intensity from `low` to `high`. */
static Mask between(const Entries *entries, double low, double high)
{
    Real signal = entries->signal, weight = entries->weight;
#if SIGNED
    signal = as_double4(as_long4(signal) ^ (as_long4(weight) & LONG_MIN));
    weight = ONLY((Mask)LONG_MAX, weight);
#endif
    return entries->good & (signal >= low * weight) & (signal <= high * weight);
}

/* Numbers in which entries of equal intensity follow each other: as the pixels do. */
static Mask numbers(const Slots *slots, int i)
{
#if WHOLE
    return i + (Mask)(0, 1, 2, 3);
#else
    return convert_long4(READ(Ints, slots->pixels, i));
#endif
}

/* Which entries are in an interval; with `exact`, looking at their numbers at its ends. */
static Mask inside(const Slots *slots, const Entries *entries, int i, Interval kept, int exact)
{
    if (!exact)
        return between(entries, kept.low, kept.high);
    const double low = kept.low - ROUNDING * fabs(kept.low);
    const double high = kept.high + ROUNDING * fabs(kept.high);
    const Mask near = between(entries, low, high);
    if (!ANY(near))
        return near;
    const Real intensity = entries->signal / entries->weight;
    const Mask number = numbers(slots, i);
    return near & ((intensity > kept.low) | ((intensity == kept.low) & (number >= kept.first)))
                & ((intensity < kept.high) | ((intensity == kept.high) & (number <= kept.last)));
}

/* Sums over the entries in an interval; the spread about a guess. */
static Sums sums_about(const Slots *slots, const Row *row, Interval kept, int exact, Guess guess)
{
    Real signal = 0, weight = 0, weight2 = 0, share = 0, share2 = 0;
    Real counts = 0, spread = 0, mixed = 0;
    Mask number = 0, central = 0, calm = 0;
    #pragma unroll
    for (int part = 0; part < PARTS; part++)
        for (int i = row->begin[part]; i < row->end[part]; i += 4) {
            const Entries entries = read(slots, part, i);
            const Mask in = inside(slots, &entries, i, kept, exact);
            Real s = ONLY(in, entries.signal), w = ONLY(in, entries.weight);
            number -= in;
            calm -= in & between(&entries, guess.mean - guess.calm, guess.mean + guess.calm);
#if !SPREAD
            central -= in & between(&entries, guess.mean - guess.central, guess.mean + guess.central);
#endif
#if !WHOLE
            const Real c = ONLY(in, entries.share);
            s *= c;
            w *= c;
            share += c;
            share2 += c * c;
#endif
            signal += s;
            weight += w;
            weight2 += w * w;
#if COUNTS
#if WHOLE
            counts += ONLY(in, entries.variance);
#else
            counts += c * c * ONLY(in, entries.variance);
#endif
#endif
#if SPREAD
            const Real distance = s - guess.mean * w;
            spread += distance * distance;
            mixed += distance * w;
#endif
        }
    Sums sums;
    sums.number = SUM(number);
    sums.signal = SUM(signal);
    sums.weight = SUM(weight);
    sums.weight2 = SUM(weight2);
    sums.share = WHOLE ? sums.number : SUM(share);
    sums.share2 = WHOLE ? sums.number : SUM(share2);
    sums.counts = SUM(counts);
    sums.central = SUM(central);
    sums.calm = SUM(calm);
    const double off = ratio(sums.signal, sums.weight) - guess.mean;
    sums.spread = SUM(spread) - 2 * off * SUM(mixed) + off * off * sums.weight2;
    return sums;
}

static double spread_of(Sums sums)
{
    return sqrt(ratio(SPREAD ? sums.spread : sums.counts, sums.weight2));
}

static double chauvenet(double count)
{
    return sqrt(2 * log(fmax(count, 3.0) / sqrt(2 * M_PI)));
}

static Guess guess_from(Sums sums, double threshold)
{
    const double spread = spread_of(sums);
    return (Guess){ratio(sums.signal, sums.weight), CENTRAL * spread, CALM * threshold * spread};
}

/* What the first entries of a row tell; nothing of a row so short that two looks cost little. */
static Guess guess_of(const Slots *slots, const Row *row, double threshold)
{
    const Guess none = {0, INFINITY, INFINITY};
    Row sample = *row;
    if (length_of(row) < 4 * FIRST)
        return none;
    for (int part = 0; part < PARTS; part++)
        if (sample.end[part] - sample.begin[part] > FIRST)
            sample.end[part] = sample.begin[part] + FIRST;
    return guess_from(sums_about(slots, &sample, EVERYTHING, 0, none), threshold);
}

/* Whether an interval around the guess lies in another around the mean. */
static int within(Guess guess, double part, double mean, double limit)
{
    return mean - limit <= guess.mean - part && guess.mean + part <= mean + limit;
}

/* Sums, the spread about the mean: again, where the guess was so bad that digits are lost. */
static Sums sums_in(const Slots *slots, const Row *row, Interval kept, int exact, Guess guess)
{
    Sums sums = sums_about(slots, row, kept, exact, guess);
#if SPREAD
    const double off = ratio(sums.signal, sums.weight) - guess.mean;
    if (off * off * sums.weight2 > DIGITS_LOST * sums.spread)
        sums = sums_about(slots, row, kept, exact, guess_from(sums, 0));
#endif
    return sums;
}

static long count_in(const Slots *slots, const Row *row, Interval kept)
{
    Mask number = 0;
    #pragma unroll
    for (int part = 0; part < PARTS; part++)
        for (int i = row->begin[part]; i < row->end[part]; i += 4) {
            const Entries entries = read(slots, part, i);
            number -= between(&entries, kept.low, kept.high);
        }
    return SUM(number);
}

#define APPEND(lane)                  \
    intensity[size] = ratios.lane;    \
    weight[size] = parts.lane;        \
    number[size] = places.lane;       \
    size += in.lane & 1;

/* List the kept entries from `low` to `high`, every one, or the first of every `stride`; returns what those
 * below weigh. In place of its weight, each may count as one. */
static double list(const Slots *slots, const Row *row, Interval kept, double low, double high,
                   int stride, int unit, List *found)
{
    global double *restrict intensity = found->intensity, *restrict weight = found->weight;
    global long *restrict number = found->number, *restrict touched = found->touched;
    const double from = fmax(low, kept.low), to = fmin(high, kept.high);
    const Mask lanes = (Mask)(1, stride == 4, stride == 4, stride == 4) * -1;
    int size = 0;
    Real lower = 0, total = 0;
    #pragma unroll
    for (int part = 0; part < PARTS; part++) {
        int n = 0;
        for (int i = row->begin[part]; i < row->end[part]; i += stride) {
            const Entries entries = read(slots, part, i);
            const Mask in = between(&entries, from, to) & lanes;
            const Real parts = unit ? (Real)1 : entries.share * entries.weight;
            lower += ONLY(between(&entries, kept.low, low) & ~in, parts);
            total += ONLY(in, parts);
            touched[n] = i;
            n += ANY(in) != 0;
        }
        for (int k = 0; k < n; k++) {
            const int i = touched[k];
            const Entries entries = read(slots, part, i);
            const Mask in = between(&entries, from, to) & lanes;
            const Real parts = unit ? (Real)1 : entries.share * entries.weight;
            const Real ratios = entries.signal / entries.weight;
            const Mask places = numbers(slots, i);
            APPEND(x) APPEND(y) APPEND(z) APPEND(w)
        }
    }
    found->size = size;
    found->total = SUM(total);
    return SUM(lower);
}

/* Which entry, in order of intensity, is the first with which the weight reaches a target; the
 * last one if none does. Reorders the list (quickselect). `reached`: the weight with it. */
static int find(List *in, double target, double *reached)
{
    global double *intensity = in->intensity, *weight = in->weight;
    global long *number = in->number;
    int begin = 0, end = in->size;
    double before = 0;
    while (end - begin > 1) {
        const int last = end - 1;
        const double a = intensity[begin], b = intensity[begin + (end - begin) / 2];
        const double c = intensity[last];
        const int chosen = (a < b) == (b < c) ? begin + (end - begin) / 2
                         : (b < a) == (a < c) ? begin : last;
        const double x = intensity[chosen], w = weight[chosen];
        const long n = number[chosen];
        intensity[chosen] = intensity[last];
        weight[chosen] = weight[last];
        number[chosen] = number[last];
        int pivot = begin;
        double lower = 0;
        for (int i = begin; i < last; i++) {
            const double x_i = intensity[i], w_i = weight[i];
            const long n_i = number[i];
            const int less = (x_i < x) | ((x_i == x) & (n_i < n));
            intensity[i] = intensity[pivot];
            weight[i] = weight[pivot];
            number[i] = number[pivot];
            intensity[pivot] = x_i;
            weight[pivot] = w_i;
            number[pivot] = n_i;
            pivot += less;
            lower += less * w_i;
        }
        intensity[last] = intensity[pivot];
        weight[last] = weight[pivot];
        number[last] = number[pivot];
        intensity[pivot] = x;
        weight[pivot] = w;
        number[pivot] = n;
        if (pivot > begin && before + lower >= target)
            end = pivot;
        else {
            before += lower;
            begin = pivot;
            if (before + w >= target || pivot == last)
                break;
            before += w;
            begin = pivot + 1;
        }
    }
    *reached = before + weight[begin];
    return begin;
}

/* Narrow an interval to those of its quarters in which the targets are. */
static void narrow(const Slots *slots, const Row *row, Interval kept, int unit, double target,
                   double other, double *low, double *high)
{
    const double step = (*high - *low) / 4;
    const double ends[3] = {*low + step, *low + 2 * step, *low + 3 * step};
    Real below[3] = {0, 0, 0};
    #pragma unroll
    for (int part = 0; part < PARTS; part++)
        for (int i = row->begin[part]; i < row->end[part]; i += 4) {
            const Entries entries = read(slots, part, i);
            const Real weight = unit ? (Real)1 : entries.share * entries.weight;
            #pragma unroll
            for (int k = 0; k < 3; k++)
                below[k] += ONLY(between(&entries, kept.low, ends[k]), weight);
        }
    #pragma unroll
    for (int k = 0; k < 3; k++) {
        const double weight = SUM(below[k]);
        if (weight < target)
            *low = ends[k];
        else if (weight >= other && ends[k] < *high)
            *high = ends[k];
    }
}

typedef struct {
    double intensity;
    long number;
} Entry;

/* The entries with which the weight of what is kept reaches two targets that are close together.
 *
 * A sample tells about where they are, so that few of the row need be listed.
 */
static void find_both(const Slots *slots, const Row *row, Interval kept, int unit, double total,
                      double target, double other, List *found, Entry *entry, Entry *second)
{
    double low = -INFINITY, high = INFINITY, reached;
    const int length = length_of(row);
    if (length > 8 * SAMPLE) {
        list(slots, row, kept, low, high, length / (4 * SAMPLE) * 4, unit, found);
        const double sampled = found->total;
        const double part = target / total, margin = SAMPLE_ERROR;
        if (found->size && part > margin)
            low = found->intensity[find(found, (part - margin) * sampled, &reached)];
        if (found->size && part < 1 - margin)
            high = found->intensity[find(found, (part + margin) * sampled, &reached)];
        if (part > margin && part < 1 - margin)
            narrow(slots, row, kept, unit, target, other, &low, &high);
    }
    double below = list(slots, row, kept, low, high, 4, unit, found);
    if (below >= target || below + found->total < other)
        below = list(slots, row, kept, -INFINITY, INFINITY, 4, unit, found);
    int i = find(found, target - below, &reached);
    *entry = (Entry){found->intensity[i], found->number[i]};
    if (below + reached < other)
        i = find(found, other - below, &reached);
    *second = (Entry){found->intensity[i], found->number[i]};
}

/* Median in place of the mean where they are farther apart than no values can be: they are not
 * where more than half of the values are less than the spread away from the mean. */
static double centre_of(const Slots *slots, const Row *row, Interval kept, Guess guess, Sums sums,
                        List *found)
{
    const double mean = ratio(sums.signal, sums.weight), spread = spread_of(sums);
    const long number = sums.number;
    const int told = within(guess, guess.central, mean, spread);
    if (number == 0 || (told && 2 * sums.central > number))
        return mean;
    Interval near = kept;
    near.low = fmax(kept.low, mean - spread);
    near.high = fmin(kept.high, mean + spread);
    if (2 * count_in(slots, row, near) > number)
        return mean;
    Entry low, high;
    find_both(slots, row, kept, 1, number, 0.5 * number - 0.25, 0.5 * number + 0.25, found, &low,
              &high);
    const double median = 0.5 * (low.intensity + high.intensity);
    return fabs(mean - median) > spread ? median : mean;
}

static void report(global double *sums, int bin, int n_bins, Sums of)
{
    sums[bin] = of.signal;
    sums[n_bins + bin] = COUNTS ? of.counts : of.spread;
    sums[2 * n_bins + bin] = of.weight;
    sums[3 * n_bins + bin] = of.weight2;
    sums[4 * n_bins + bin] = of.share;
    sums[5 * n_bins + bin] = of.share2;
}

static List place_of(global double *place, global const long *places, int item)
{
    const long size = places[item + 1] - places[item];
    List list;
    list.intensity = place + 4 * places[item];
    list.weight = list.intensity + size;
    list.number = (global long *)(list.weight + size);
    list.touched = list.number + size;
    list.size = 0;
    return list;
}

#define ROWS                                                                                     \
    global const PIXEL *frame, global const float *weight, global const double *dark,             \
    global const double *given, global const double *added, global const float *shares,           \
    global const double *entry_shares, global const int *pixels, global const int *groups,        \
    global const int *entries, global const int *offsets, global const int *stretches,           \
    global const long *places, global double *place, global double *result, const int n_bins
#define SLOTS {frame, weight, dark, given, added, shares, entry_shares, pixels, groups, entries,   \
    offsets, n_bins, groups[n_bins]}

kernel void sigma_clip(ROWS, const double threshold, const int max_iterations)
{
    const int item = get_global_id(0);
    const Slots slots = SLOTS;
    List found = place_of(place, places, item);
    for (int bin = stretches[item]; bin < stretches[item + 1]; bin++) {
        const Row row = row_of(&slots, bin);
        Interval kept = EVERYTHING;
        Guess guess = guess_of(&slots, &row, threshold);
        Sums sums = sums_in(&slots, &row, kept, 0, guess);
        for (int i = 0; i < max_iterations; i++) {
            const double centre = SPREAD ? ratio(sums.signal, sums.weight)
                                         : centre_of(&slots, &row, kept, guess, sums, &found);
            const double limit = spread_of(sums) * fmax(threshold, chauvenet(sums.share));
            if (sums.calm == sums.number && within(guess, guess.calm, centre, limit))
                break;
            const double margin = ROUNDING * (limit + fabs(centre));
            kept.low = fmax(kept.low, centre - limit - margin);
            kept.high = fmin(kept.high, centre + limit + margin);
            const Guess next = guess_from(sums, threshold);
            if (next.calm < guess.calm) // outliers make it wider
                guess = next;
            const Sums left = sums_in(&slots, &row, kept, 0, guess);
            if (left.number == sums.number)
                break;
            sums = left;
        }
        report(result, bin, n_bins, sums);
    }
}

kernel void quantile_mean(ROWS, const double low, const double high)
{
    const int item = get_global_id(0);
    const Slots slots = SLOTS;
    const double margin = low == high ? ROUNDING : -ROUNDING;
    List found = place_of(place, places, item);
    for (int bin = stretches[item]; bin < stretches[item + 1]; bin++) {
        const Row row = row_of(&slots, bin);
        Interval kept = EVERYTHING;
        const Guess none = {0, INFINITY, INFINITY};
        Sums sums = sums_about(&slots, &row, kept, 0, none);
        if (sums.number) {
            const double from = (low - margin) * sums.weight, to = (high + margin) * sums.weight;
            Entry first, last;
            find_both(&slots, &row, kept, 0, sums.weight, from, low == high ? to : from, &found,
                      &first, &last);
            if (low < high)
                find_both(&slots, &row, kept, 0, sums.weight, to, to, &found, &last, &last);
            kept = (Interval){first.intensity, last.intensity, first.number, last.number};
            const Guess middle = {0.5 * (kept.low + kept.high), INFINITY, INFINITY};
            sums = sums_in(&slots, &row, kept, 1, middle);
        }
        report(result, bin, n_bins, sums);
    }
}
