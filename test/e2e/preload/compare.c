/*
 * A call for tests, preloaded into an SPDK application (20.07 and later):
 *
 *   test_compare_bdevs {a, b, num_blocks?}   reads two bdevs, metadata included, and compares block by block:
 *                                            {blocks, differing, first, nonzero}. It opens read-only, so it may
 *                                            look at a bdev that another module claimed.
 *
 * It runs on the thread that serves RPC.
 */
#include <errno.h>
#include <string.h>

#include "spdk/bdev.h"
#include "spdk/env.h"
#include "spdk/json.h"
#include "spdk/jsonrpc.h"
#include "spdk/rpc.h"
#include "spdk/string.h"
#include "spdk/thread.h"

#define CHUNK_BYTES (1u << 20)
#define SIDES 2

struct side {
	char *name;
	struct spdk_bdev_desc *desc;
	struct spdk_bdev *bdev;
	struct spdk_io_channel *channel;
	uint8_t *data;
	uint8_t *metadata;
};

struct comparison {
	struct spdk_jsonrpc_request *request;
	struct side side[SIDES];
	uint64_t num_blocks;
	uint32_t block_size;
	uint32_t metadata_size; /* of separate metadata */
	uint32_t chunk_blocks;

	uint64_t at;
	uint32_t chunk;
	int reads_left;
	bool failed;

	uint64_t differing;
	uint64_t first;
	uint64_t nonzero;
};

static const struct spdk_json_object_decoder g_decoders[] = {
	{"a", offsetof(struct comparison, side[0].name), spdk_json_decode_string, false},
	{"b", offsetof(struct comparison, side[1].name), spdk_json_decode_string, false},
	{"num_blocks", offsetof(struct comparison, num_blocks), spdk_json_decode_uint64, true},
};

static void next_chunk(struct comparison *c);

static void
release(struct comparison *c)
{
	for (int i = 0; i < SIDES; i++) {
		struct side *s = &c->side[i];

		spdk_dma_free(s->data);
		spdk_dma_free(s->metadata);
		if (s->channel) {
			spdk_put_io_channel(s->channel);
		}
		if (s->desc) {
			spdk_bdev_close(s->desc);
		}
		free(s->name);
	}
	free(c);
}

static void
refuse(struct comparison *c, int code, const char *what)
{
	spdk_jsonrpc_send_error_response_fmt(c->request, code, "test_compare_bdevs: %s", what);
	release(c);
}

static void
answer(struct comparison *c)
{
	struct spdk_json_write_ctx *w = spdk_jsonrpc_begin_result(c->request);

	spdk_json_write_object_begin(w);
	spdk_json_write_named_uint64(w, "blocks", c->num_blocks);
	spdk_json_write_named_uint64(w, "differing", c->differing);
	spdk_json_write_named_uint64(w, "first", c->first);
	spdk_json_write_named_uint64(w, "nonzero", c->nonzero);
	spdk_json_write_object_end(w);
	spdk_jsonrpc_end_result(c->request, w);
	release(c);
}

static bool
is_zero(const uint8_t *bytes, size_t len)
{
	return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

static void
compare_chunk(struct comparison *c)
{
	struct side *a = &c->side[0], *b = &c->side[1];

	for (uint32_t i = 0; i < c->chunk; i++) {
		size_t at = (size_t)i * c->block_size, md_at = (size_t)i * c->metadata_size;
		bool same = memcmp(a->data + at, b->data + at, c->block_size) == 0;

		if (same && c->metadata_size) {
			same = memcmp(a->metadata + md_at, b->metadata + md_at, c->metadata_size) == 0;
		}
		if (!same && c->differing++ == 0) {
			c->first = c->at + i;
		}
		if (!is_zero(a->data + at, c->block_size)) {
			c->nonzero++;
		}
	}
	c->at += c->chunk;
}

static void
read_done(struct spdk_bdev_io *io, bool success, void *arg)
{
	struct comparison *c = arg;

	spdk_bdev_free_io(io);
	c->failed |= !success;
	if (--c->reads_left > 0) {
		return;
	}
	if (c->failed) {
		refuse(c, -EIO, "a read failed");
		return;
	}
	compare_chunk(c);
	next_chunk(c);
}

static void
next_chunk(struct comparison *c)
{
	uint64_t left = c->num_blocks - c->at;

	if (left == 0) {
		answer(c);
		return;
	}
	c->chunk = left < c->chunk_blocks ? left : c->chunk_blocks;
	c->reads_left = SIDES;
	for (int i = 0; i < SIDES; i++) {
		struct side *s = &c->side[i];
		int rc = s->metadata
			 ? spdk_bdev_read_blocks_with_md(s->desc, s->channel, s->data, s->metadata, c->at,
							 c->chunk, read_done, c)
			 : spdk_bdev_read_blocks(s->desc, s->channel, s->data, c->at, c->chunk, read_done, c);

		if (rc != 0) {
			c->failed = true;
			if (--c->reads_left == 0) {
				refuse(c, rc, "a read could not be submitted");
				return;
			}
		}
	}
}

static void
on_event(enum spdk_bdev_event_type type, struct spdk_bdev *bdev, void *arg)
{
	(void)type, (void)bdev, (void)arg; /* reads fail then, and the call ends by itself */
}

static int
open_side(struct side *s)
{
	int rc = spdk_bdev_open_ext(s->name, false, on_event, NULL, &s->desc);

	if (rc != 0) {
		return rc;
	}
	s->bdev = spdk_bdev_desc_get_bdev(s->desc);
	s->channel = spdk_bdev_get_io_channel(s->desc);
	return s->channel ? 0 : -ENOMEM;
}

static int
prepare(struct comparison *c)
{
	uint64_t shortest;

	for (int i = 0; i < SIDES; i++) {
		int rc = open_side(&c->side[i]);

		if (rc != 0) {
			return rc;
		}
	}
	struct spdk_bdev *a = c->side[0].bdev, *b = c->side[1].bdev;

	c->block_size = spdk_bdev_get_block_size(a);
	c->metadata_size = spdk_bdev_is_md_separate(a) ? spdk_bdev_get_md_size(a) : 0;
	if (c->block_size != spdk_bdev_get_block_size(b) ||
	    c->metadata_size != (spdk_bdev_is_md_separate(b) ? spdk_bdev_get_md_size(b) : 0)) {
		return -EINVAL;
	}
	shortest = spdk_min(spdk_bdev_get_num_blocks(a), spdk_bdev_get_num_blocks(b));
	if (c->num_blocks == 0) {
		c->num_blocks = shortest;
	}
	if (c->num_blocks > shortest) {
		return -ERANGE;
	}
	c->chunk_blocks = CHUNK_BYTES / c->block_size;
	for (int i = 0; i < SIDES; i++) {
		struct side *s = &c->side[i];

		s->data = spdk_dma_malloc((size_t)c->chunk_blocks * c->block_size,
					  spdk_bdev_get_buf_align(s->bdev), NULL);
		if (c->metadata_size) {
			s->metadata = spdk_dma_malloc((size_t)c->chunk_blocks * c->metadata_size, 64, NULL);
		}
		if (!s->data || (c->metadata_size && !s->metadata)) {
			return -ENOMEM;
		}
	}
	return 0;
}

static void
rpc_test_compare_bdevs(struct spdk_jsonrpc_request *request, const struct spdk_json_val *params)
{
	struct comparison *c = calloc(1, sizeof(*c));
	int rc;

	if (!c) {
		spdk_jsonrpc_send_error_response(request, -ENOMEM, "out of memory");
		return;
	}
	c->request = request;
	if (spdk_json_decode_object(params, g_decoders, SPDK_COUNTOF(g_decoders), c)) {
		refuse(c, SPDK_JSONRPC_ERROR_INVALID_PARAMS, "parameters: a, b, num_blocks?");
		return;
	}
	rc = prepare(c);
	if (rc != 0) {
		refuse(c, rc, spdk_strerror(-rc));
		return;
	}
	next_chunk(c);
}
SPDK_RPC_REGISTER("test_compare_bdevs", rpc_test_compare_bdevs, SPDK_RPC_RUNTIME)
