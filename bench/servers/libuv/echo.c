/* The same bytes back, on libuv: one loop, one 64 KiB buffer to read into, a reply written at once if
 * the socket takes it, and the rest from a copy. */
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { BUFFER_SIZE = 64 * 1024, BACKLOG = 4096 };

typedef struct {
    uv_write_t request;
    char bytes[];
} Rest;

static char buffer[BUFFER_SIZE];

static void on_closed(uv_handle_t *handle) { free(handle); }

static void end(uv_stream_t *stream) {
    if (!uv_is_closing((uv_handle_t *)stream)) uv_close((uv_handle_t *)stream, on_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
    (void)handle;
    (void)suggested;
    *out = uv_buf_init(buffer, sizeof buffer);
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *read);

static void on_written(uv_write_t *request, int status) {
    uv_stream_t *stream = request->handle;
    free(request);
    if (status < 0) {
        end(stream);
    } else if (stream->write_queue_size == 0 && !uv_is_closing((uv_handle_t *)stream)) {
        uv_read_start(stream, on_alloc, on_read);
    }
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *read) {
    if (length < 0) {
        end(stream);
        return;
    }
    if (length == 0) return;
    uv_buf_t out = uv_buf_init(read->base, (unsigned int)length);
    int sent = uv_try_write(stream, &out, 1);
    if (sent == length) return;
    if (sent == UV_EAGAIN) sent = 0;
    if (sent < 0) {
        end(stream);
        return;
    }
    size_t left = (size_t)(length - sent);
    Rest *rest = malloc(sizeof *rest + left);
    if (rest == NULL) abort();
    memcpy(rest->bytes, read->base + sent, left);
    out = uv_buf_init(rest->bytes, (unsigned int)left);
    /* Not read before it has gone. */
    uv_read_stop(stream);
    if (uv_write(&rest->request, stream, &out, 1, on_written) < 0) {
        free(rest);
        end(stream);
    }
}

static void on_connection(uv_stream_t *listener, int status) {
    if (status < 0) return;
    int is_tcp = listener->type == UV_TCP;
    uv_stream_t *stream = malloc(is_tcp ? sizeof(uv_tcp_t) : sizeof(uv_pipe_t));
    if (stream == NULL) abort();
    if (is_tcp) {
        uv_tcp_init(listener->loop, (uv_tcp_t *)stream);
    } else {
        uv_pipe_init(listener->loop, (uv_pipe_t *)stream, 0);
    }
    if (uv_accept(listener, stream) < 0) {
        end(stream);
        return;
    }
    if (is_tcp) uv_tcp_nodelay((uv_tcp_t *)stream, 1);
    uv_read_start(stream, on_alloc, on_read);
}

/* Serves a bound stream socket; returns libuv's error only if it cannot. */
int bench_libuv_echo(int socket, int is_tcp) {
    static union {
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } listener;
    uv_loop_t *loop = uv_default_loop();
    int error = is_tcp ? uv_tcp_init(loop, &listener.tcp) : uv_pipe_init(loop, &listener.pipe, 0);
    if (error == 0) {
        error = is_tcp ? uv_tcp_open(&listener.tcp, socket) : uv_pipe_open(&listener.pipe, socket);
    }
    if (error == 0) error = uv_listen((uv_stream_t *)&listener, BACKLOG, on_connection);
    if (error == 0) error = uv_run(loop, UV_RUN_DEFAULT);
    return error;
}

const char *bench_libuv_version(void) { return uv_version_string(); }
