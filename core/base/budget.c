/* budget.c: shares as caps, and the law from fill to pressure. See budget.h. */
#include "base/banned.h"
#include "base/budget.h"

#include "base/assert.h"

#include <fcntl.h>
#include <unistd.h>

#define GAP 50 /* thousandths between the fill that raises a level and the one that ends it */

static const struct tg_budget_info infos[] = {
#define TG_BUDGET_PART(name, field, tag, share, text) {field, text, tag, share},
#include "base/budget.def"
#undef TG_BUDGET_PART
};

/* Fill, in thousandths, from which a level holds. */
static const uint32_t rises_at[TG_PRESSURES] = {0, 800, 850, 900, 950};

const struct tg_budget_info *tg_budget_info(enum tg_budget_part part)
{
    tg_assert(part < TG_BUDGET_PARTS);
    return &infos[part];
}

uint64_t tg_budget_bytes(const struct tg_budget *budget, enum tg_budget_part part)
{
    return budget->total / 100 * budget->shares[part];
}

/* The accounts of what has no share of its own. */
static const enum tg_mem_tag reserved[] = {TG_MEM_OBSERVE, TG_MEM_LIBRARY, TG_MEM_OTHER};

static uint64_t sum(enum tg_budget_part part, uint64_t (*read)(enum tg_mem_tag tag))
{
    uint64_t found = 0;
    if (infos[part].tag != TG_MEM_TAGS)
        return read(infos[part].tag);
    for (size_t i = 0; i < TG_COUNT_OF(reserved); i++)
        found += read(reserved[i]);
    return found;
}

uint64_t tg_budget_used(enum tg_budget_part part)
{
    return sum(part, tg_mem_used);
}

uint64_t tg_budget_peak(enum tg_budget_part part)
{
    return sum(part, tg_mem_peak);
}

uint64_t tg_budget_refused(enum tg_budget_part part)
{
    return sum(part, tg_mem_refused);
}

void tg_budget_set(const struct tg_budget *budget)
{
    for (int i = 0; i < TG_BUDGET_PARTS; i++) {
        uint64_t bytes = tg_budget_bytes(budget, (enum tg_budget_part)i);
        if (infos[i].tag != TG_MEM_TAGS)
            tg_mem_set_cap(infos[i].tag, budget->total != 0 ? (size_t)bytes : SIZE_MAX);
    }
}

/* ---- Pressure ----------------------------------------------------------------------------------
 */

const char *tg_pressure_name(enum tg_pressure level)
{
    static const char *const names[TG_PRESSURES] = {"none", "shrink", "close", "wait", "shed"};
    tg_assert(level < TG_PRESSURES);
    return names[level];
}

enum tg_pressure tg_pressure_step(enum tg_pressure now, uint32_t permille)
{
    enum tg_pressure level = now;
    while (level + 1 < TG_PRESSURES && permille >= rises_at[level + 1])
        level++;
    if (level == now && level > TG_PRESSURE_NONE && permille < rises_at[level] - GAP)
        level--;
    return level;
}

static uint32_t permille(uint64_t part, uint64_t whole)
{
    if (whole == 0)
        return part > 0 ? 10000 : 0;
    uint64_t found = part / (whole / 1000 + 1);
    return (uint32_t)TG_MIN(found, UINT64_C(10000));
}

uint32_t tg_budget_fill(const struct tg_budget *budget, uint64_t resident, uint64_t connections)
{
    if (budget->total == 0)
        return 0;
    uint64_t share = tg_budget_bytes(budget, TG_BUDGET_CONNECTIONS);
    return TG_MAX(permille(resident, budget->total), permille(connections, share));
}

/* Reads a file of /proc that fits into `text`, terminated; false: it cannot be read. */
static bool slurp(const char *path, char *text, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, room - 1);
    close(fd);
    text[TG_MAX(n, 0)] = '\0';
    return n > 0;
}

/* A line such as "VmHWM:	    5884 kB", in bytes. */
static uint64_t line_of(const char *text, const char *name)
{
    const char *line = strstr(text, name);
    return line != NULL ? strtoull(line + strlen(name), NULL, 10) << 10 : 0;
}

struct tg_budget_memory tg_budget_memory(void)
{
    char text[4096];
    if (!slurp("/proc/self/status", text, sizeof(text)))
        return (struct tg_budget_memory){0};
    return (struct tg_budget_memory){line_of(text, "VmRSS:"), line_of(text, "VmHWM:")};
}

uint64_t tg_budget_resident(void)
{
    char text[128];
    if (!slurp("/proc/self/statm", text, sizeof(text)))
        return 0;
    const char *second = strchr(text, ' ');
    if (second == NULL)
        return 0;
    return strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}
