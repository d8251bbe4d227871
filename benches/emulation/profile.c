/* A TCG plugin of QEMU: executed instructions and bytes of memory accessed, by function and by kind of instruction.
 *
 * Lines of `FUNCTION \t KIND \t INSTRUCTIONS \t BYTES` at exit. A kind is a mnemonic of the vector instructions that the
 * kernels are made of, or `memory`, `vector`, `scalar`. The interface (version 1) is that of QEMU 7.2 and is
 * declared here, since Debian does not package its header. */

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t plugin_id;
typedef uint32_t meminfo;
enum { OP_ADD_U64 = 0, NO_REGISTERS = 0, READ_AND_WRITE = 3 };

extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int, void *, uint64_t);
extern void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, void (*)(unsigned, meminfo, uint64_t, void *),
                                             int, int, void *);
extern unsigned qemu_plugin_mem_size_shift(meminfo);
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);

EXPORT int qemu_plugin_version = 1;

struct counter {
    char *function;
    const char *kind;
    uint64_t instructions, bytes;
    struct counter *next;
};

static struct counter *counters;

/* Masks and values of the encodings, from the Arm Architecture Reference Manual for A-profile (C4.1). */
static const struct {
    uint32_t mask, value;
    const char *kind;
} kinds[] = {
    {0xbf20fc00, 0x0e009400, "sdot"},
    {0xbf20fc00, 0x0e20c000, "smull"},  /* SMULL, SMULL2 */
    {0xbf20fc00, 0x0e208000, "smlal"},  /* SMLAL, SMLAL2 */
    {0xbf3ffc00, 0x0e206800, "sadalp"},
    {0xbfa0fc00, 0x0e20cc00, "fmla"},   /* by vector */
    {0xbf80f400, 0x0f801000, "fmla"},   /* by element */
    {0x0a000000, 0x08000000, "memory"}, /* loads and stores: bits 27 and 25 are 1 and 0 */
    {0x0e000000, 0x0e000000, "vector"}, /* data processing, floating point and SIMD */
    {0, 0, "scalar"},
};

static struct counter *find(const char *function, const char *kind) {
    for (struct counter *c = counters; c; c = c->next)
        if (c->kind == kind && strcmp(c->function, function) == 0)
            return c;
    struct counter *c = calloc(1, sizeof *c);
    *c = (struct counter){strdup(function), kind, 0, 0, counters};
    return counters = c;
}

static void on_memory(unsigned cpu, meminfo info, uint64_t address, void *counter) {
    ((struct counter *)counter)->bytes += UINT64_C(1) << qemu_plugin_mem_size_shift(info);
}

static void on_translation(plugin_id id, struct qemu_plugin_tb *tb) {
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint32_t code;
        memcpy(&code, qemu_plugin_insn_data(insn), sizeof code);
        size_t k = 0;
        while ((code & kinds[k].mask) != kinds[k].value)
            k++;
        const char *symbol = qemu_plugin_insn_symbol(insn);
        struct counter *c = find(symbol ? symbol : "?", kinds[k].kind);
        qemu_plugin_register_vcpu_insn_exec_inline(insn, OP_ADD_U64, &c->instructions, 1);
        qemu_plugin_register_vcpu_mem_cb(insn, on_memory, NO_REGISTERS, READ_AND_WRITE, c);
    }
}

static void write_counters(plugin_id id, void *path) {
    FILE *file = fopen(path, "w");
    if (!file)
        return;
    for (struct counter *c = counters; c; c = c->next)
        fprintf(file, "%s\t%s\t%" PRIu64 "\t%" PRIu64 "\n", c->function, c->kind, c->instructions, c->bytes);
    fclose(file);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    if (argc != 1 || strncmp(argv[0], "out=", 4) != 0) {
        fprintf(stderr, "usage: -plugin FILE.so,out=FILE\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_atexit_cb(id, write_counters, strdup(argv[0] + 4));
    return 0;
}
