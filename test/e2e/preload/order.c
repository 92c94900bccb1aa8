/*
 * A call for tests, preloaded into an SPDK application (20.07 and later):
 *
 *   test_write_then {name, writes, then, delay_ms}   submits that many writes of one block each; after the delay a
 *                                                    reset, or an abort of all of them (then: reset, abort). The answer
 *                                                    {ended_before, ended_after, failed, other} counts the writes that
 *                                                    ended before and after the other, and those that failed; and
 *                                                    says whether the other was a success.
 *
 * It runs on the thread that serves RPC.
 */
#include <errno.h>

#include "spdk/bdev.h"
#include "spdk/env.h"
#include "spdk/json.h"
#include "spdk/jsonrpc.h"
#include "spdk/rpc.h"
#include "spdk/string.h"
#include "spdk/thread.h"
#include "spdk/util.h"

struct order {
	struct spdk_jsonrpc_request *request;
	char *name;
	char *then;
	uint32_t writes;
	uint32_t delay_ms;
	struct spdk_bdev_desc *desc;
	struct spdk_io_channel *channel;
	void *data;
	struct spdk_poller *later;

	uint32_t left; /* what has not ended */
	bool other_ended;
	uint32_t ended_before;
	uint32_t ended_after;
	uint32_t failed;
	bool other;
	int rc;
};

static const struct spdk_json_object_decoder g_decoders[] = {
	{"name", offsetof(struct order, name), spdk_json_decode_string, false},
	{"writes", offsetof(struct order, writes), spdk_json_decode_uint32, false},
	{"then", offsetof(struct order, then), spdk_json_decode_string, false},
	{"delay_ms", offsetof(struct order, delay_ms), spdk_json_decode_uint32, false},
};

static void
answer(struct order *o)
{
	struct spdk_json_write_ctx *w;

	if (o->rc != 0) {
		spdk_jsonrpc_send_error_response_fmt(o->request, o->rc, "test_write_then: %s",
						     spdk_strerror(-o->rc));
	} else {
		w = spdk_jsonrpc_begin_result(o->request);
		spdk_json_write_object_begin(w);
		spdk_json_write_named_uint32(w, "ended_before", o->ended_before);
		spdk_json_write_named_uint32(w, "ended_after", o->ended_after);
		spdk_json_write_named_uint32(w, "failed", o->failed);
		spdk_json_write_named_bool(w, "other", o->other);
		spdk_json_write_object_end(w);
		spdk_jsonrpc_end_result(o->request, w);
	}
	spdk_dma_free(o->data);
	if (o->channel) {
		spdk_put_io_channel(o->channel);
	}
	if (o->desc) {
		spdk_bdev_close(o->desc);
	}
	free(o->name);
	free(o->then);
	free(o);
}

static void
ended(struct order *o)
{
	if (--o->left == 0) {
		answer(o);
	}
}

static void
write_ended(struct spdk_bdev_io *io, bool success, void *arg)
{
	struct order *o = arg;

	spdk_bdev_free_io(io);
	o->failed += !success;
	if (o->other_ended) {
		o->ended_after++;
	} else {
		o->ended_before++;
	}
	ended(o);
}

static void
other_ended(struct spdk_bdev_io *io, bool success, void *arg)
{
	struct order *o = SPDK_CONTAINEROF(arg, struct order, other);

	spdk_bdev_free_io(io);
	o->other_ended = true;
	o->other = success;
	ended(o);
}

static void
on_event(enum spdk_bdev_event_type type, struct spdk_bdev *bdev, void *arg)
{
	(void)type, (void)bdev, (void)arg;
}

static int
submit_other(void *arg)
{
	struct order *o = arg;

	spdk_poller_unregister(&o->later);
	if (strcmp(o->then, "abort") == 0) {
		/* All writes have this context; the abort must not, or it would be one of those that it aborts. */
		o->rc = spdk_bdev_abort(o->desc, o->channel, o, other_ended, &o->other);
	} else {
		o->rc = spdk_bdev_reset(o->desc, o->channel, other_ended, &o->other);
	}
	o->left += o->rc == 0;
	ended(o);
	return 1;
}

static void
submit(struct order *o)
{
	struct spdk_bdev *bdev = spdk_bdev_desc_get_bdev(o->desc);
	uint32_t i;

	/* One for the other, which submit_other() gives back: nothing that ends at once answers too early. */
	o->left = 1;
	for (i = 0; i < o->writes && o->rc == 0; i++) {
		o->rc = spdk_bdev_write_blocks(o->desc, o->channel, o->data, i % spdk_bdev_get_num_blocks(bdev), 1,
					       write_ended, o);
		o->left += o->rc == 0;
	}
	if (o->rc == 0) {
		o->later = SPDK_POLLER_REGISTER(submit_other, o, o->delay_ms * 1000 + 1);
		o->rc = o->later ? 0 : -ENOMEM;
	}
	if (o->rc != 0) {
		ended(o);
	}
}

static void
rpc_test_write_then(struct spdk_jsonrpc_request *request, const struct spdk_json_val *params)
{
	struct order *o = calloc(1, sizeof(*o));

	if (!o) {
		spdk_jsonrpc_send_error_response(request, -ENOMEM, "out of memory");
		return;
	}
	o->request = request;
	if (spdk_json_decode_object(params, g_decoders, SPDK_COUNTOF(g_decoders), o)) {
		o->rc = -EINVAL;
		answer(o);
		return;
	}
	o->rc = spdk_bdev_open_ext(o->name, true, on_event, NULL, &o->desc);
	if (o->rc == 0) {
		o->channel = spdk_bdev_get_io_channel(o->desc);
		o->data = spdk_dma_zmalloc(spdk_bdev_get_block_size(spdk_bdev_desc_get_bdev(o->desc)), 4096, NULL);
		o->rc = o->channel && o->data ? 0 : -ENOMEM;
	}
	if (o->rc != 0) {
		answer(o);
		return;
	}
	submit(o);
}
SPDK_RPC_REGISTER("test_write_then", rpc_test_write_then, SPDK_RPC_RUNTIME)
