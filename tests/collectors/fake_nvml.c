/*
 * A stand-in for NVIDIA's management library, for tests on hosts without its cards.
 *
 * Every call looks its key up in the file named by FAKE_NVML: lines of a key and
 * one value per call, the last of which stays. "!15" is an error code, "-" leaves
 * the key unsupported. FAKE_NVML_LOG gets a line for each opening and closing.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, NOT_SUPPORTED = 3, TOO_SMALL = 7 };

static struct {
    char key[64];
    int calls;
} seen[256];

static int turn(const char *key)
{
    int n;
    for (n = 0; n < 255 && seen[n].key[0] && strcmp(seen[n].key, key); n++)
        ;
    snprintf(seen[n].key, sizeof seen[n].key, "%s", key);
    return seen[n].calls++;
}

static int find(const char *key, int call, char *value, size_t size)
{
    char line[512], *word, *rest;
    int found = 0, n = 0;
    FILE *file = fopen(getenv("FAKE_NVML"), "r");
    if (!file)
        return 0;
    while (!found && fgets(line, sizeof line, file)) {
        word = strtok_r(line, " \n", &rest);
        if (!word || strcmp(word, key))
            continue;
        while ((word = strtok_r(NULL, " \n", &rest)) && n++ <= call) {
            snprintf(value, size, "%s", word);
            found = 1;
        }
    }
    fclose(file);
    return found;
}

static int text(char *out, size_t size, const char *format, ...)
{
    char key[64], value[128];
    va_list list;
    va_start(list, format);
    vsnprintf(key, sizeof key, format, list);
    va_end(list);
    if (!find(key, turn(key), value, sizeof value) || !strcmp(value, "-"))
        return NOT_SUPPORTED;
    if (value[0] == '!')
        return atoi(value + 1);
    snprintf(out, size, "%s", value);
    return OK;
}

#define NUMBER(target, ...)                                        \
    do {                                                           \
        char value_[128];                                          \
        int code_ = text(value_, sizeof value_, __VA_ARGS__);      \
        if (code_)                                                 \
            return code_;                                          \
        *(target) = strtoull(value_, NULL, 10);                    \
    } while (0)

#define ID(device) ((int)(long)(device) - 1)
typedef void *device_t;
typedef unsigned int u32;
typedef unsigned long long u64;

static int note(const char *word)
{
    FILE *file = fopen(getenv("FAKE_NVML_LOG"), "a");
    if (file) {
        fprintf(file, "%s\n", word);
        fclose(file);
    }
    return OK;
}

int nvmlInitWithFlags(u32 flags)
{
    char value[128];
    int code = text(value, sizeof value, "init");
    (void)flags;
    return code == OK || code == NOT_SUPPORTED ? note("open") : code;
}

int nvmlShutdown(void) { return note("close"); }
const char *nvmlErrorString(int code) { (void)code; return "An error of the stand-in"; }
int nvmlSystemGetDriverVersion(char *out, u32 n) { return text(out, n, "driver"); }
int nvmlDeviceGetCount_v2(u32 *out) { NUMBER(out, "count"); return OK; }

int nvmlDeviceGetHandleByIndex_v2(u32 index, device_t *out)
{
    char value[128];
    int code = text(value, sizeof value, "%u.handle", index);
    if (code != OK && code != NOT_SUPPORTED)
        return code;
    *out = (device_t)(long)(index + 1);
    return OK;
}

int nvmlDeviceGetName(device_t d, char *out, u32 n) { return text(out, n, "%d.name", ID(d)); }
int nvmlDeviceGetUUID(device_t d, char *out, u32 n) { return text(out, n, "%d.uuid", ID(d)); }

struct pci { char legacy[16]; u32 domain, bus, device, id, subsystem; char bus_id[32]; };
int nvmlDeviceGetPciInfo_v3(device_t d, struct pci *out)
{
    return text(out->bus_id, sizeof out->bus_id, "%d.pci", ID(d));
}

struct rates { u32 gpu, memory; };
int nvmlDeviceGetUtilizationRates(device_t d, struct rates *out)
{
    NUMBER(&out->gpu, "%d.utilization", ID(d));
    NUMBER(&out->memory, "%d.memory_utilization", ID(d));
    return OK;
}

struct memory { u32 version; u64 total, reserved, free, used; };
int nvmlDeviceGetMemoryInfo_v2(device_t d, struct memory *out)
{
    if (out->version != (sizeof *out | 2u << 24))
        return 25; /* NVML_ERROR_ARGUMENT_VERSION_MISMATCH */
    NUMBER(&out->total, "%d.memory_total", ID(d));
    NUMBER(&out->used, "%d.memory_used", ID(d));
    return OK;
}

struct old_memory { u64 total, free, used; };
int nvmlDeviceGetMemoryInfo(device_t d, struct old_memory *out)
{
    NUMBER(&out->total, "%d.old_memory_total", ID(d));
    NUMBER(&out->used, "%d.old_memory_used", ID(d));
    return OK;
}

int nvmlDeviceGetTemperature(device_t d, int sensor, u32 *out)
{
    NUMBER(out, "%d.temperature.%d", ID(d), sensor);
    return OK;
}

int nvmlDeviceGetTemperatureThreshold(device_t d, int kind, u32 *out)
{
    NUMBER(out, "%d.threshold.%d", ID(d), kind);
    return OK;
}

struct margin { u32 version; int margin; };
int nvmlDeviceGetMarginTemperature(device_t d, struct margin *out)
{
    NUMBER(&out->margin, "%d.margin", ID(d));
    return OK;
}

int nvmlDeviceGetPowerUsage(device_t d, u32 *out) { NUMBER(out, "%d.power", ID(d)); return OK; }
int nvmlDeviceGetEnforcedPowerLimit(device_t d, u32 *out)
{
    NUMBER(out, "%d.power_limit", ID(d));
    return OK;
}

int nvmlDeviceGetClockInfo(device_t d, int kind, u32 *out)
{
    NUMBER(out, "%d.clock.%d", ID(d), kind);
    return OK;
}

int nvmlDeviceGetMaxClockInfo(device_t d, int kind, u32 *out)
{
    NUMBER(out, "%d.clock_max.%d", ID(d), kind);
    return OK;
}

/* As drivers before 535 have it: the newer name is missing. */
int nvmlDeviceGetCurrentClocksThrottleReasons(device_t d, u64 *out)
{
    NUMBER(out, "%d.reasons", ID(d));
    return OK;
}

int nvmlDeviceGetTotalEccErrors(device_t d, int kind, int counter, u64 *out)
{
    NUMBER(out, "%d.ecc.%d.%d", ID(d), kind, counter);
    return OK;
}

int nvmlDeviceGetEccMode(device_t d, u32 *now, u32 *later)
{
    NUMBER(now, "%d.ecc_mode", ID(d));
    *later = *now;
    return OK;
}

int nvmlDeviceGetRemappedRows(device_t d, u32 *corrected, u32 *uncorrected, u32 *pending, u32 *failed)
{
    NUMBER(corrected, "%d.rows_corrected", ID(d));
    NUMBER(uncorrected, "%d.rows_uncorrected", ID(d));
    NUMBER(pending, "%d.rows_pending", ID(d));
    NUMBER(failed, "%d.rows_failed", ID(d));
    return OK;
}

int nvmlDeviceGetRetiredPages(device_t d, int cause, u32 *count, u64 *pages)
{
    u32 held = 0;
    NUMBER(&held, "%d.retired.%d", ID(d), cause);
    if (pages)
        memset(pages, 0, held * sizeof *pages);
    *count = held;
    return pages || !held ? OK : TOO_SMALL;
}

int nvmlDeviceGetRetiredPagesPendingStatus(device_t d, u32 *out)
{
    NUMBER(out, "%d.retired_pending", ID(d));
    return OK;
}

int nvmlDeviceGetPcieReplayCounter(device_t d, u32 *out) { NUMBER(out, "%d.replay", ID(d)); return OK; }
int nvmlDeviceGetCurrPcieLinkGeneration(device_t d, u32 *out) { NUMBER(out, "%d.gen", ID(d)); return OK; }
int nvmlDeviceGetMaxPcieLinkGeneration(device_t d, u32 *out) { NUMBER(out, "%d.gen_max", ID(d)); return OK; }
int nvmlDeviceGetCurrPcieLinkWidth(device_t d, u32 *out) { NUMBER(out, "%d.width", ID(d)); return OK; }
int nvmlDeviceGetMaxPcieLinkWidth(device_t d, u32 *out) { NUMBER(out, "%d.width_max", ID(d)); return OK; }
int nvmlDeviceGetPersistenceMode(device_t d, u32 *out) { NUMBER(out, "%d.persistence", ID(d)); return OK; }

int nvmlDeviceGetMigMode(device_t d, u32 *now, u32 *later)
{
    NUMBER(now, "%d.mig", ID(d));
    *later = *now;
    return OK;
}

struct field {
    u32 id, scope;
    long long timestamp, latency;
    int type, code;
    union { double real; u32 natural; long long whole; int integer; } value;
};
int nvmlDeviceGetFieldValues(device_t d, int count, struct field *fields)
{
    for (int n = 0; n < count; n++) {
        char value[128];
        fields[n].code = text(value, sizeof value, "%d.field.%u", ID(d), fields[n].id);
        fields[n].type = fields[n].code ? 1 : value[0] == '-' ? 5 : 1;
        if (!fields[n].code && fields[n].type == 5)
            fields[n].value.integer = atoi(value);
        else if (!fields[n].code)
            fields[n].value.natural = (u32)atoi(value);
    }
    return OK;
}

struct process { u32 pid; u64 used; u32 instance, compute; };
static int processes(const char *kind, device_t d, u32 *count, struct process *out)
{
    u32 held = 0, room = *count;
    NUMBER(&held, "%d.%s", ID(d), kind);
    *count = held;
    if (held && (!out || room < held))
        return TOO_SMALL;
    for (u32 n = 0; n < held; n++) {
        NUMBER(&out[n].pid, "%d.%s.%u.pid", ID(d), kind, n);
        NUMBER(&out[n].used, "%d.%s.%u.used", ID(d), kind, n);
        out[n].instance = out[n].compute = 0xffffffffu;
    }
    return OK;
}

int nvmlDeviceGetComputeRunningProcesses_v3(device_t d, u32 *count, struct process *out)
{
    return processes("compute", d, count, out);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(device_t d, u32 *count, struct process *out)
{
    return processes("graphics", d, count, out);
}
