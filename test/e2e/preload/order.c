/*
 * A call for tests, preloaded into an SPDK application (20.07 and later):
 *
 *   test_reset_order {name, writes}   submits that many writes of one block each and then a reset, without waiting:
 *                                     {ended_before, ended_after}, the writes that ended before and after the reset.
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

struct order {
	struct spdk_jsonrpc_request *request;
	char *name;
	uint32_t writes;
	struct spdk_bdev_desc *desc;
	struct spdk_io_channel *channel;
	void *data;

	uint32_t left; /* writes and reset that have not ended */
	bool reset_ended;
	uint32_t ended_before;
	uint32_t ended_after;
	int rc;
};

static const struct spdk_json_object_decoder g_decoders[] = {
	{"name", offsetof(struct order, name), spdk_json_decode_string, false},
	{"writes", offsetof(struct order, writes), spdk_json_decode_uint32, false},
};

static void
answer(struct order *o)
{
	struct spdk_json_write_ctx *w;

	if (o->rc != 0) {
		spdk_jsonrpc_send_error_response_fmt(o->request, o->rc, "test_reset_order: %s",
						     spdk_strerror(-o->rc));
	} else {
		w = spdk_jsonrpc_begin_result(o->request);
		spdk_json_write_object_begin(w);
		spdk_json_write_named_uint32(w, "ended_before", o->ended_before);
		spdk_json_write_named_uint32(w, "ended_after", o->ended_after);
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
	if (o->reset_ended) {
		o->ended_after++;
	} else {
		o->ended_before++;
	}
	ended(o);
}

static void
reset_ended(struct spdk_bdev_io *io, bool success, void *arg)
{
	struct order *o = arg;

	spdk_bdev_free_io(io);
	o->reset_ended = true;
	o->rc = success ? o->rc : -EIO;
	ended(o);
}

static void
on_event(enum spdk_bdev_event_type type, struct spdk_bdev *bdev, void *arg)
{
	(void)type, (void)bdev, (void)arg;
}

static void
submit(struct order *o)
{
	struct spdk_bdev *bdev = spdk_bdev_desc_get_bdev(o->desc);
	uint32_t i;

	/* One more than what is submitted, so that nothing that ends at once answers too early. */
	o->left = 1;
	for (i = 0; i < o->writes && o->rc == 0; i++) {
		o->rc = spdk_bdev_write_blocks(o->desc, o->channel, o->data, i % spdk_bdev_get_num_blocks(bdev), 1,
					       write_ended, o);
		o->left += o->rc == 0;
	}
	if (o->rc == 0) {
		o->rc = spdk_bdev_reset(o->desc, o->channel, reset_ended, o);
		o->left += o->rc == 0;
	}
	ended(o);
}

static void
rpc_test_reset_order(struct spdk_jsonrpc_request *request, const struct spdk_json_val *params)
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
SPDK_RPC_REGISTER("test_reset_order", rpc_test_reset_order, SPDK_RPC_RUNTIME)
