#include "cmd/demo_cluster.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/prng.h"
#include "cmd/signals.h"

#define READY_TIMEOUT_MS 30000u
#define READY_POLL_MS 10u
#define STOP_TIMEOUT_MS 6000u
#define TAIL_LINES 12u
/* Below the ports that the kernel gives to outgoing connections: a killed node's port must still be
 * free when it starts again, though everybody is dialling it. */
#define PORT_FIRST 12000u
#define PORT_COUNT 18000u
#define PORT_TRIES 1000u

static bool port_is_free(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int on = 1; /* connections of an earlier life that linger are in nobody's way */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    bool is_free = bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
    (void)close(fd); /* nothing was sent or received */
    return is_free;
}

/* As people expect them: those that the servers have by default, when `port` is 7000. */
static enum status take_ports(struct demo_cluster *cluster, uint16_t port, struct buf *error) {
    cluster->router_port = port;
    cluster->placement_port = (uint16_t)(port + 1);
    for (uint32_t i = 0; i < cluster->node_count; i++)
        cluster->nodes[i].port = (uint16_t)(port + 101 + i);
    for (uint32_t i = 0; i < cluster->node_count + 2; i++) {
        uint16_t each = i < 2 ? (uint16_t)(port + i) : cluster->nodes[i - 2].port;
        if (port_is_free(each)) continue;
        buf_printf(error,
                   "port %u of 127.0.0.1 is taken, perhaps by another cluster; choose others with "
                   "--port",
                   each);
        return STATUS_UNAVAILABLE;
    }
    return STATUS_OK;
}

static enum status choose_ports(struct demo_cluster *cluster, struct buf *error) {
    uint16_t *wanted[DEMO_NODES_MAX + 2];
    uint32_t want = 0, found = 0;
    wanted[want++] = &cluster->placement_port;
    wanted[want++] = &cluster->router_port;
    for (uint32_t i = 0; i < cluster->node_count; i++)
        wanted[want++] = &cluster->nodes[i].port;
    uint64_t start = prng_seed_from_system() % PORT_COUNT;
    for (uint32_t i = 0; i < PORT_TRIES && found < want; i++) {
        uint16_t port = (uint16_t)(PORT_FIRST + (start + i) % PORT_COUNT);
        if (port_is_free(port)) *wanted[found++] = port;
    }
    if (found == want) return STATUS_OK;
    buf_printf(error, "no %u free ports on 127.0.0.1 between %u and %u", want, PORT_FIRST,
               PORT_FIRST + PORT_COUNT);
    return STATUS_UNAVAILABLE;
}

static void append_text(struct buf *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void append_text(struct buf *out, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    ASSERT(len >= 0 && (size_t)len < sizeof(text));
    buf_assign(out, slice_make(text, (size_t)len + 1)); /* with its end */
}

/* Waits until the child has written its ready file, has died, or a signal asks to stop. */
static enum status wait_ready(struct child *child, const char *ready_path, struct buf *error) {
    for (uint64_t waited_ms = 0;; waited_ms += READY_POLL_MS) {
        if (access(ready_path, F_OK) == 0) return STATUS_OK;
        if (!child_running(child)) {
            buf_printf(error, "%s did not start: it ", child->name);
            child_append_state(error, child);
            return STATUS_UNAVAILABLE;
        }
        if (signals_pending()) {
            buf_printf(error, "interrupted");
            return STATUS_SHUTDOWN;
        }
        if (waited_ms >= READY_TIMEOUT_MS) {
            buf_printf(error, "%s was not ready after %u s", child->name, READY_TIMEOUT_MS / 1000);
            return STATUS_TIMEOUT;
        }
        struct timespec pause = {.tv_nsec = READY_POLL_MS * 1000000};
        (void)nanosleep(&pause, NULL); /* cut short is fine */
    }
}

/* The paths and addresses of one process, as text. */
struct process_texts {
    struct buf data_dir, listen, ready_file;
};

static void texts_make(struct process_texts *texts, const struct demo_cluster *cluster,
                       struct child *child, const char *file_name, uint16_t port) {
    *texts = (struct process_texts){0};
    append_text(&texts->data_dir, "%s/%s", cluster->root, file_name);
    append_text(&texts->listen, "127.0.0.1:%u", port);
    append_text(&texts->ready_file, "%s/%s.ready", cluster->root, file_name);
    append_text(&child->log_path, "%s/%s.log", cluster->root, file_name);
    (void)unlink((const char *)texts->ready_file.data); /* of an earlier life, if any */
}

static void texts_done(struct process_texts *texts) {
    buf_done(&texts->data_dir);
    buf_done(&texts->listen);
    buf_done(&texts->ready_file);
}

static const char *text_of(const struct buf *buf) {
    return (const char *)buf->data;
}

static enum status start_placement(struct demo_cluster *cluster, const char *split_keys,
                                   struct buf *error) {
    struct process_texts texts;
    char nodes[16];
    snprintf(cluster->placement.name, sizeof(cluster->placement.name), "placement");
    snprintf(nodes, sizeof(nodes), "%u", cluster->node_count);
    texts_make(&texts, cluster, &cluster->placement, "placement", cluster->placement_port);
    const char *factor = cluster->node_count >= 3 ? "3" : "1";
    const char *arguments[] = {"placement",
                               "--data-dir",
                               text_of(&texts.data_dir),
                               "--listen",
                               text_of(&texts.listen),
                               "--ready-file",
                               text_of(&texts.ready_file),
                               "--replication-factor",
                               factor,
                               "--birth-nodes",
                               nodes,
                               "--split-keys",
                               split_keys,
                               NULL};
    enum status status = child_start(&cluster->placement, arguments, error);
    if (status == STATUS_OK)
        status = wait_ready(&cluster->placement, text_of(&texts.ready_file), error);
    texts_done(&texts);
    return status;
}

/* Does not wait until it is ready. */
static enum status launch_node(struct demo_cluster *cluster, uint32_t index, struct buf *error) {
    struct demo_node *node = &cluster->nodes[index];
    struct process_texts texts;
    char file_name[16];
    snprintf(node->child.name, sizeof(node->child.name), "node %u", index + 1);
    snprintf(file_name, sizeof(file_name), "node%u", index + 1);
    texts_make(&texts, cluster, &node->child, file_name, node->port);
    /* The last nodes to stop have nobody to hand leaders to: no long drain. */
    const char *arguments[] = {"node",
                               "--data-dir",
                               text_of(&texts.data_dir),
                               "--listen",
                               text_of(&texts.listen),
                               "--ready-file",
                               text_of(&texts.ready_file),
                               "--placement",
                               text_of(&cluster->placement_address),
                               "--drain-ms",
                               "500",
                               NULL};
    enum status status = child_start(&node->child, arguments, error);
    if (status == STATUS_OK) node->expected_down = false;
    texts_done(&texts);
    return status;
}

static enum status wait_node(struct demo_cluster *cluster, uint32_t index, struct buf *error) {
    struct buf ready_file = {0};
    append_text(&ready_file, "%s/node%u.ready", cluster->root, index + 1);
    enum status status = wait_ready(&cluster->nodes[index].child, text_of(&ready_file), error);
    buf_done(&ready_file);
    return status;
}

static enum status start_router(struct demo_cluster *cluster, struct buf *error) {
    struct process_texts texts;
    snprintf(cluster->router.name, sizeof(cluster->router.name), "router");
    texts_make(&texts, cluster, &cluster->router, "router", cluster->router_port);
    const char *arguments[] = {"router",
                               "--listen",
                               text_of(&texts.listen),
                               "--ready-file",
                               text_of(&texts.ready_file),
                               "--placement",
                               text_of(&cluster->placement_address),
                               NULL};
    enum status status = child_start(&cluster->router, arguments, error);
    if (status == STATUS_OK)
        status = wait_ready(&cluster->router, text_of(&texts.ready_file), error);
    texts_done(&texts);
    return status;
}

enum status demo_cluster_start(struct demo_cluster *cluster,
                               const struct demo_cluster_config *config, struct buf *error) {
    ASSERT(config->nodes > 0 && config->nodes <= DEMO_NODES_MAX);
    /* The file of our options is not theirs. Before there are other threads. */
    (void)unsetenv("FLOTILLA_CONFIG"); /* cannot fail for a good name */
    *cluster = (struct demo_cluster){.root = config->root, .node_count = config->nodes};
    enum status status =
        config->port ? take_ports(cluster, config->port, error) : choose_ports(cluster, error);
    if (status != STATUS_OK) return status;
    append_text(&cluster->placement_address, "127.0.0.1:%u", cluster->placement_port);
    append_text(&cluster->router_address, "127.0.0.1:%u", cluster->router_port);
    status = start_placement(cluster, config->split_keys, error);
    /* One after the other, so that placement's ids are the numbers that we call them by. */
    for (uint32_t i = 0; i < cluster->node_count && status == STATUS_OK; i++) {
        status = launch_node(cluster, i, error);
        if (status == STATUS_OK) status = wait_node(cluster, i, error);
    }
    if (status == STATUS_OK) status = start_router(cluster, error);
    return status;
}

enum status demo_cluster_start_node(struct demo_cluster *cluster, uint32_t index,
                                    struct buf *error) {
    return launch_node(cluster, index, error);
}

void demo_cluster_kill_node(struct demo_cluster *cluster, uint32_t index) {
    struct demo_node *node = &cluster->nodes[index];
    node->expected_down = true;
    child_signal(&node->child, SIGKILL);
}

uint32_t demo_cluster_node_at(const struct demo_cluster *cluster, struct slice address) {
    for (uint32_t i = 0; i < cluster->node_count; i++) {
        char text[32];
        snprintf(text, sizeof(text), "127.0.0.1:%u", cluster->nodes[i].port);
        if (slice_equal(address, slice_from_text(text))) return i;
    }
    return cluster->node_count;
}

static bool check_child(struct child *child, struct buf *error) {
    if (child->pid == 0 || child_running(child)) return true;
    buf_printf(error, "%s ", child->name);
    child_append_state(error, child);
    return false;
}

bool demo_cluster_healthy(struct demo_cluster *cluster, struct buf *error) {
    bool healthy = check_child(&cluster->placement, error) && check_child(&cluster->router, error);
    for (uint32_t i = 0; i < cluster->node_count && healthy; i++) {
        struct demo_node *node = &cluster->nodes[i];
        if (node->expected_down)
            (void)child_running(&node->child); /* only to take note of its end */
        else
            healthy = check_child(&node->child, error);
    }
    return healthy;
}

void demo_cluster_print_tails(const struct demo_cluster *cluster, FILE *out) {
    child_print_tail(&cluster->placement, out, TAIL_LINES);
    child_print_tail(&cluster->router, out, TAIL_LINES);
    for (uint32_t i = 0; i < cluster->node_count; i++)
        child_print_tail(&cluster->nodes[i].child, out, TAIL_LINES);
}

/* Asks, waits, insists. */
static bool stop_child(struct child *child, struct buf *error) {
    bool was_running = child->pid != 0;
    bool ended = child_wait(child, STOP_TIMEOUT_MS);
    bool clean = !was_running ||
                 (ended && WIFEXITED(child->wait_status) && WEXITSTATUS(child->wait_status) == 0);
    if (!clean) {
        buf_printf(error, "%s%s ", error->len ? "; " : "", child->name);
        if (ended)
            child_append_state(error, child);
        else
            buf_printf(error, "did not stop within %u s", STOP_TIMEOUT_MS / 1000);
    }
    child_done(child);
    return clean;
}

bool demo_cluster_stop(struct demo_cluster *cluster, struct buf *error) {
    child_signal(&cluster->router, SIGTERM);
    bool clean = stop_child(&cluster->router, error);
    for (uint32_t i = 0; i < cluster->node_count; i++)
        child_signal(&cluster->nodes[i].child, SIGTERM);
    for (uint32_t i = 0; i < cluster->node_count; i++)
        clean = stop_child(&cluster->nodes[i].child, error) && clean;
    child_signal(&cluster->placement, SIGTERM);
    clean = stop_child(&cluster->placement, error) && clean;
    buf_done(&cluster->placement_address);
    buf_done(&cluster->router_address);
    return clean;
}
